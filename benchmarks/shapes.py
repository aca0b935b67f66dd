# SPDX-License-Identifier: Apache-2.0
"""What both sides share: the sizes of each workload, its data, and how many floating-point operations it takes.

FLOPs count the multiply-adds of matrix products and convolutions twice, forward once and, in training, twice more for
the two gradients; attention is counted in full although a causal kernel may skip half of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

VOCABULARY, EMBEDDING, CLASSES = 65, 128, 10


@dataclass(frozen=True)
class Shape:
    """A workload: the shape of one batch of inputs, what the labels look like, and the FLOPs of a forward pass."""

    kind: str
    input: tuple[int, ...]
    forward_flops: float
    training: bool = True
    hidden: int = 0
    layers: int = 0
    heads: int = 0

    @property
    def flops(self) -> float:
        """FLOPs of one step."""
        return self.forward_flops * (3 if self.training else 1)

    @property
    def tokens(self) -> bool:
        """Whether the inputs are tokens, with a label for each."""
        return self.kind in ("lstm", "gru", "gpt", "bigru")


def mlp(batch: int, training: bool = True) -> Shape:
    """784-128-10."""
    return Shape("mlp", (batch, 784), batch * 2 * (784 * 128 + 128 * 10), training)


def cnn(batch: int, training: bool = True) -> Shape:
    """Two convolutions, max-pooling, two fully connected layers on 28 x 28 grey images."""
    flops = 2 * (26 * 26 * 9 * 32 + 24 * 24 * 9 * 32 * 64 + 9216 * 128 + 128 * 10)
    return Shape("cnn", (batch, 28, 28, 1), batch * flops, training)


def resnet(batch: int, training: bool = True) -> Shape:
    """ResNet-20 with projections as shortcuts, on 32 x 32 colour images."""
    return Shape("resnet", (batch, 32, 32, 3), batch * 2 * 40_813_184, training)


SEPARABLE = ((64, 64, 1), (64, 128, 2), (128, 128, 1))  # (channels in, channels, stride) of each block


def separable(batch: int, training: bool = True) -> Shape:
    """Three depthwise-separable blocks as in MobileNet, on 16 x 16 maps of 64 channels."""
    flops, side = 2 * 128 * CLASSES, 16
    for channels_in, channels, stride in SEPARABLE:
        side //= stride
        flops += 2 * side * side * channels_in * (9 + channels)
    return Shape("separable", (batch, 16, 16, 64), batch * flops, training)


def recurrent(kind: str, gates: int, hidden: int, batch: int, length: int) -> Shape:
    """A language model of one recurrent layer."""
    flops = 2 * (gates * hidden * (EMBEDDING + hidden) + hidden * VOCABULARY)
    return Shape(kind, (batch, length), batch * length * flops, hidden=hidden)


def gpt(width: int, layers: int, heads: int, batch: int, length: int) -> Shape:
    """A language model of causal transformer blocks."""
    flops = layers * (24 * width * width + 4 * length * width) + 2 * width * VOCABULARY
    return Shape("gpt", (batch, length), batch * length * flops, hidden=width, layers=layers, heads=heads)


SHAPES: dict[str, Shape] = {
    "mlp-b32": mlp(32),
    "mlp-b128": mlp(128),
    "mnist-cnn-b64": cnn(64),
    "resnet20-b128": resnet(128),
    "lstm256-b32-t64": recurrent("lstm", 4, 256, 32, 64),
    "gru128-b16-t100": recurrent("gru", 3, 128, 16, 100),
    "gpt-d128-l4-b16-t128": gpt(128, 4, 4, 16, 128),
    "gpt-d384-l6-b8-t256": gpt(384, 6, 6, 8, 256),
    "infer-mlp-b1": mlp(1, training=False),
    "infer-mnist-cnn-b1": cnn(1, training=False),
    "infer-resnet20-b1": resnet(1, training=False),
    "matmul-2048": Shape("matmul", (2048, 2048), 2 * 2048**3, training=False),
}
TWELVE = tuple(SHAPES)


# ---- further rows, `--more`: what the twelve do not show

FEATURES, LETTERS, SPELLED = 40, 29, 20  # of sound; classes and label length of connectionist temporal classification


def bidirectional(hidden: int, batch: int, length: int) -> Shape:
    """A language model of one GRU each way."""
    flops = 2 * (2 * 3 * hidden * (EMBEDDING + hidden) + 2 * hidden * VOCABULARY)
    return Shape("bigru", (batch, length), batch * length * flops, hidden=hidden)


def norm(width: int, layers: int, rows: int) -> Shape:
    """The networks of transformer blocks alone: x + down(gelu(up(norm(x))))."""
    return Shape("norm", (rows, width), rows * 2 * (layers * 8 * width * width + width * CLASSES), hidden=width,
                 layers=layers)


def ctc(hidden: int, batch: int, length: int) -> Shape:
    """Speech to letters: a GRU, a projection, connectionist temporal classification."""
    flops = 2 * (3 * hidden * (FEATURES + hidden) + hidden * LETTERS)
    return Shape("ctc", (batch, length, FEATURES), batch * length * flops, hidden=hidden)


def gqa(width: int, layers: int, heads: int, batch: int, length: int) -> Shape:
    """Causal attention whose keys and values have a quarter of the heads."""
    flops = 2 * (layers * (2.5 * width * width + 2 * length * width) + width * CLASSES)
    return Shape("gqa", (batch, length, width), batch * length * flops, hidden=width, layers=layers, heads=heads)


def lbfgs(features: int, rows: int, iterations: int) -> Shape:
    """Logistic regression on all data, so many iterations of L-BFGS; one evaluation for each."""
    return Shape("lbfgs", (rows, features), iterations * rows * 2 * features * CLASSES, layers=iterations)


SHAPES |= {
    "depthwise-b64": separable(64),
    "infer-depthwise-b1": separable(1, training=False),
    "gru128-b64-t100": recurrent("gru", 3, 128, 64, 100),
    "bigru128-b32-t100": bidirectional(128, 32, 100),
    "norm-mlp-d256-l4": norm(256, 4, 2048),
    "ctc-gru128-b16-t100": ctc(128, 16, 100),
    "gqa-d256-l2-h8-b8-t256": gqa(256, 2, 8, 8, 256),
    "lbfgs-784x10-n2000": lbfgs(784, 2000, 20),
}
MORE = tuple(name for name in SHAPES if name not in TWELVE)


def data(shape: Shape, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, labels) of one batch, images channels-last; for the product of two matrices, both of them."""
    random = np.random.default_rng(seed)
    if shape.tokens:
        return random.integers(0, VOCABULARY, shape.input), random.integers(0, VOCABULARY, shape.input)
    x = random.standard_normal(shape.input, np.float32)
    if shape.kind == "matmul":
        return x, random.standard_normal(shape.input, np.float32)
    if shape.kind == "ctc":
        return x, random.integers(1, LETTERS, (shape.input[0], min(SPELLED, shape.input[1] // 3)))
    return x, random.integers(0, CLASSES, shape.input[:2] if shape.kind == "gqa" else shape.input[0])


def glorot_like(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers for a weight: uniform, of the size that suits its fan-in."""
    limit = 1 / math.sqrt(max(math.prod(shape[:-1]), 1))
    return np.random.default_rng(seed).uniform(-limit, limit, shape).astype(np.float32)
