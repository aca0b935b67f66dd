# SPDX-License-Identifier: Apache-2.0
"""`random_graph`: a random program of the common words, for tests that a pass or a backend keeps its meaning.

Values stay tame (bounded functions, no division by what may be 0), so that two right answers differ by rounding only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir import Graph, Tensor, Type, tracing
from ..ir.graph import close, input_node
from ..ops import compose as c
from ..ops import elementwise as e
from ..ops import movement as m
from ..ops import reduce as r
from ..ops.broadcast import broadcast_to
from ..ops.index import take
from ..typing import DTypeLike

Step = Callable[[np.random.Generator, Tensor, Tensor], Tensor]


def random_graph(seed: int, size: int = 12, dtype: DTypeLike = "float32") -> tuple[Graph, list[np.ndarray]]:
    """A graph of about `size` random operations and arrays to run it on.

    Three float inputs of random shapes (rank 0 to 3, sometimes an extent of 1 or 0); two or three outputs.

    >>> graph, arrays = cr.testing.random_graph(seed=0, size=5)
    >>> len(graph.outputs) > 0
    True
    """
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    arrays = [rng.standard_normal(_shape(rng)).astype(dtype) for _ in range(3)]
    symbols = [input_node(Type(x.shape, x.dtype)) for x in arrays]
    with tracing():
        pool = grown(rng, [Tensor(node) for node in symbols], size)
    outputs = [pool[-1], pool[-2], pool[rng.integers(len(pool))]]
    return close(symbols, [y.node for y in outputs]), arrays


def grown(rng: np.random.Generator, pool: list[Tensor], size: int) -> list[Tensor]:
    """The tensors, and so many that are made of them and of one another by random operations."""
    for _ in range(size):
        x, other = pool[rng.integers(len(pool))], pool[rng.integers(len(pool))]
        pool.append(_STEPS[rng.integers(len(_STEPS))](rng, x, other))
    return pool


def _shape(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(rng.choice([0, 1, 2, 3, 5, 8, 17], p=[0.04, 0.16, 0.2, 0.2, 0.2, 0.1, 0.1]))
                 for _ in range(rng.integers(0, 4)))


def _unary(rng: np.random.Generator, x: Tensor, other: Tensor) -> Tensor:
    functions = (e.tanh, e.sin, e.cos, c.sigmoid, c.relu, e.erf, e.negative, c.softplus)
    return functions[rng.integers(len(functions))](x)


def _binary(rng: np.random.Generator, x: Tensor, other: Tensor) -> Tensor:
    functions = (e.add, e.subtract, e.multiply, e.maximum, e.minimum, lambda a, b: a / (1 + b * b))
    return e.tanh(functions[rng.integers(len(functions))](x, _fitting(x, other)))


def _fitting(x: Tensor, other: Tensor) -> Tensor:
    """`other` where it broadcasts with `x`, else its mean."""
    try:
        np.broadcast_shapes(x.shape, other.shape)
    except ValueError:
        return r.mean(other) if other.size else r.sum(other)
    return other


def _identity(rng: np.random.Generator, x: Tensor, other: Tensor) -> Tensor:
    functions: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: x * 1.0, lambda x: x / 1.0, lambda x: x - 0.0, lambda x: e.negative(-x),
        lambda x: e.tanh(x) + e.tanh(x), lambda x: m.reshape(m.reshape(x, (x.size,)), x.shape),
        lambda x: x * (e.exp(e.ones_like(x)) * 0.5))
    return functions[rng.integers(len(functions))](x)


def _move(rng: np.random.Generator, x: Tensor, other: Tensor) -> Tensor:
    kind = rng.integers(5)
    if kind == 0:
        return m.permute_dims(x, tuple(int(a) for a in rng.permutation(x.ndim)))
    if kind == 1:
        return m.reshape(x, (x.size,))
    if kind == 2:
        return m.flip(x)
    if kind == 3:
        return m.pad(x, [(int(rng.integers(2)), int(rng.integers(2))) for _ in x.shape], 0.5)
    return broadcast_to(x, (2, *x.shape)) if x.ndim < 3 else x


def _reduce(rng: np.random.Generator, x: Tensor, other: Tensor) -> Tensor:
    if not x.ndim or not x.size:
        return x
    axis, keep = int(rng.integers(x.ndim)), bool(rng.integers(2))
    functions = (r.mean, r.max, r.min, lambda x, axis, keepdims: e.tanh(r.sum(x, axis=axis, keepdims=keepdims)))
    return functions[rng.integers(len(functions))](x, axis=axis, keepdims=keep)


def _product(rng: np.random.Generator, x: Tensor, other: Tensor) -> Tensor:
    if x.ndim < 2:
        return x
    return e.tanh(c.matmul(x, c.matrix_transpose(x)))


def _softmax(rng: np.random.Generator, x: Tensor, other: Tensor) -> Tensor:
    return c.softmax(x) if x.ndim and x.shape[-1] else x


def _choose(rng: np.random.Generator, x: Tensor, other: Tensor) -> Tensor:
    if x.ndim and x.shape[0]:
        return take(x, rng.integers(-x.shape[0], x.shape[0], size=3), axis=0)
    return c.where(e.less(x, 0), x, x * x)


_STEPS: tuple[Step, ...] = (_unary, _unary, _binary, _binary, _identity, _move, _reduce, _product, _softmax, _choose)
