# SPDX-License-Identifier: Apache-2.0
"""The workloads in plain JAX, as its users write them: a pure function of a list of arrays, one jitted step with Adam
whose
state is given away to it. JAX is imported here and nowhere else in this folder.

The list of parameters is in chainrule's order and layouts, so that both can start from the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .shapes import CLASSES, EMBEDDING, SHAPES, VOCABULARY, Shape, data, glorot_like

Parameters = list[Any]
NORMAL = {"conv": ("NHWC", "HWIO", "NHWC")}


def conv(x: Any, w: Any, stride: int = 1, padding: str = "VALID") -> Any:
    return lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=NORMAL["conv"])


# ---- the networks: shapes of the parameters, and the function

def mlp_shapes(shape: Shape) -> list[tuple[int, ...]]:
    return [(784, 128), (128,), (128, CLASSES), (CLASSES,)]


def mlp(p: Parameters, x: Any, shape: Shape, training: bool) -> Any:
    return jax.nn.relu(x @ p[0] + p[1]) @ p[2] + p[3]


def cnn_shapes(shape: Shape) -> list[tuple[int, ...]]:
    return [(3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,), (9216, 128), (128,), (128, CLASSES), (CLASSES,)]


def cnn(p: Parameters, x: Any, shape: Shape, training: bool) -> Any:
    x = jax.nn.relu(conv(x, p[0]) + p[1])
    x = jax.nn.relu(conv(x, p[2]) + p[3])
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jax.nn.relu(x.reshape(len(x), -1) @ p[4] + p[5]) @ p[6] + p[7]


WIDTHS = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]


def resnet_shapes(shape: Shape) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [(3, 3, 3, 16), (16,), (16,)]
    for a, b in pairwise(WIDTHS):
        found += [(3, 3, a, b), (b,), (b,), (3, 3, b, b), (b,), (b,)]
        found += [(1, 1, a, b), (b,), (b,)] if a != b else []
    return [*found, (64, CLASSES), (CLASSES,)]


def resnet(p: Parameters, x: Any, shape: Shape, training: bool) -> Any:
    """The statistics of inference are those of a network that was never trained: 0 and 1."""
    left: Iterator[Any] = iter(p)

    def normalised(x: Any, stride: int, padding: Any) -> Any:
        x, scale, shift = conv(x, next(left), stride, padding), next(left), next(left)
        if training:
            mean = x.mean((0, 1, 2))
            return (x - mean) * lax.rsqrt(jnp.square(x - mean).mean((0, 1, 2)) + 1e-5) * scale + shift
        return x * (scale / np.sqrt(1 + 1e-5)) + shift

    one = [(1, 1), (1, 1)]
    x = jax.nn.relu(normalised(x, 1, one))
    for a, b in pairwise(WIDTHS):
        stride = 1 if a == b else 2
        y = normalised(jax.nn.relu(normalised(x, stride, one)), 1, one)
        x = jax.nn.relu(y + (x if a == b else normalised(x, stride, "VALID")))
    return x.mean((1, 2)) @ next(left) + next(left)


def recurrent_shapes(shape: Shape) -> list[tuple[int, ...]]:
    h, gates = shape.hidden, 4 if shape.kind == "lstm" else 3
    extra = [(h,)] if shape.kind == "gru" else []
    return [(VOCABULARY, EMBEDDING), (EMBEDDING, gates * h), (h, gates * h), (gates * h,), *extra, (h, VOCABULARY),
            (VOCABULARY,)]


def lstm(p: Parameters, tokens: Any, shape: Shape, training: bool) -> Any:
    x = (p[0][tokens] @ p[1] + p[3]).swapaxes(0, 1)

    def step(state: Any, x: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(x + h @ p[2], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h
    zero = jnp.zeros((tokens.shape[0], shape.hidden))
    return lax.scan(step, (zero, zero), x)[1].swapaxes(0, 1) @ p[4] + p[5]


def gru(p: Parameters, tokens: Any, shape: Shape, training: bool) -> Any:
    x = (p[0][tokens] @ p[1] + p[3]).swapaxes(0, 1)

    def step(h: Any, x: Any) -> Any:
        (z, r, n), (hz, hr, hn) = jnp.split(x, 3, axis=-1), jnp.split(h @ p[2], 3, axis=-1)
        z, r = jax.nn.sigmoid(z + hz), jax.nn.sigmoid(r + hr)
        n = jnp.tanh(n + r * (hn + p[4]))
        h = z * h + (1 - z) * n
        return h, h
    return lax.scan(step, jnp.zeros((tokens.shape[0], shape.hidden)), x)[1].swapaxes(0, 1) @ p[5] + p[6]


def gpt_shapes(shape: Shape) -> list[tuple[int, ...]]:
    w = shape.hidden
    block = [(w,), (w,), *[(w, w), (w,)] * 4, (w,), (w,), (w, 4 * w), (4 * w,), (4 * w, w), (w,)]
    return [(VOCABULARY, w), (shape.input[1], w), *block * shape.layers, (w,), (w,), (w, VOCABULARY), (VOCABULARY,)]


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(jnp.square(x - mean).mean(-1, keepdims=True) + 1e-5) * scale + shift


def gpt(p: Parameters, tokens: Any, shape: Shape, training: bool) -> Any:
    left: Iterator[Any] = iter(p)
    take = lambda n: [next(left) for _ in range(n)]
    dense = lambda x: x @ next(left) + next(left)
    embed, position = take(2)
    x = embed[tokens] + position
    for _ in range(shape.layers):
        y = layer_norm(x, *take(2))
        q, k, v = (dense(y).reshape(*y.shape[:2], shape.heads, -1) for _ in range(3))
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + dense(y.reshape(x.shape))
        y = layer_norm(x, *take(2))
        x = x + dense(jax.nn.gelu(dense(y), approximate=True))
    return dense(layer_norm(x, *take(2)))


NETWORKS: dict[str, tuple[Callable[[Shape], list[tuple[int, ...]]], Callable[..., Any]]] = {
    "mlp": (mlp_shapes, mlp), "cnn": (cnn_shapes, cnn), "resnet": (resnet_shapes, resnet),
    "lstm": (recurrent_shapes, lstm),
    "gru": (recurrent_shapes, gru), "gpt": (gpt_shapes, gpt)}


# ---- one step of each

class Slot:
    """A parameter, as something to assign to."""

    def __init__(self, values: Parameters, place: int):
        self.values, self.place = values, place

    def assign(self, array: np.ndarray) -> None:
        self.values[self.place] = jnp.asarray(array)


class Workload:
    """`step` runs once; the rest serves the check of equality."""

    def __init__(self, name: str):
        self.shape = shape = SHAPES[name]
        self.x, self.y = (jnp.asarray(a) for a in data(shape))
        self.model: Any = None
        self.values: Parameters = []
        if shape.kind == "matmul":
            self.run = jax.jit(jnp.matmul)
            self.step = lambda: self.run(self.x, self.y).block_until_ready()
            return
        shapes, network = NETWORKS[shape.kind]
        self.model = network
        self.values = [jnp.asarray(glorot_like(s, i) if len(s) > 1 else np.zeros(s, np.float32))
                       for i, s in enumerate(shapes(shape))]
        self.derive = jax.jit(jax.value_and_grad(self._loss))
        self.infer = jax.jit(lambda p, x: network(p, x, shape, False))
        self.train = jax.jit(self._train, donate_argnums=0)
        self.state: Any = None
        self.step = self._step if shape.training else lambda: self.infer(self.values, self.x).block_until_ready()

    def _loss(self, p: Parameters, x: Any, y: Any) -> Any:
        logits = jax.nn.log_softmax(self.model(p, x, self.shape, True))
        return -jnp.take_along_axis(logits, y[..., None], -1).mean()

    def _train(self, state: Any, x: Any, y: Any) -> Any:
        """Adam, bias-corrected."""
        p, m, v, t = state
        value, g = jax.value_and_grad(self._loss)(p, x, y)
        t = t + 1
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        p = [w - 1e-3 * (a / (1 - 0.9**t)) / (jnp.sqrt(b / (1 - 0.999**t)) + 1e-8)
             for w, a, b in zip(p, m, v, strict=True)]
        return (p, m, v, t), value

    def _step(self) -> Any:
        if self.state is None:
            zeros = lambda: [jnp.zeros_like(w) for w in self.values]
            self.state = ([jnp.array(w) for w in self.values], zeros(), zeros(), jnp.float32(0))
        self.state, value = self.train(self.state, self.x, self.y)
        return value.block_until_ready()

    def value(self) -> np.ndarray:
        """The outputs."""
        return np.asarray(self.step())

    def parameters(self) -> list[Slot]:
        """In the order of the layers."""
        return [Slot(self.values, i) for i in range(len(self.values))]

    def loss_and_gradients(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Of the present weights, in training mode."""
        value, gradients = self.derive(self.values, self.x, self.y)
        return np.asarray(value), [np.asarray(g) for g in gradients]


def build(name: str, precision: str = "float32") -> Workload:
    """The workload of that name; JAX has float32 products here."""
    if precision != "float32":
        raise ValueError("no row of JAX in other precisions")
    return Workload(name)
