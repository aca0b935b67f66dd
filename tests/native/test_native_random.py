# SPDX-License-Identifier: Apache-2.0
"""Random graphs on the native backend against the interpreter: elementwise, broadcast, reduce, movement, products,
indices.

Values stay near 1 in size, so that a difference is a wrong kernel and not a lost digit; several outputs per graph, and
some values used many times, so that fusion has something to get wrong.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from native_check import compare, graph_of

from chainrule import native
from chainrule.ops import compose as C
from chainrule.ops import contract as K
from chainrule.ops import elementwise
from chainrule.ops import index as I
from chainrule.ops import movement as M
from chainrule.ops import reduce as R

EXTENTS = [1, 2, 3, 5, 8, 16, 17, 24, 33]


class Maker:
    """Grows a random program over a pool of tensors."""

    def __init__(self, seed: int, pool: list[Any]):
        self.rng, self.pool = np.random.default_rng(seed), pool

    def pick(self) -> Any:
        return self.pool[self.rng.integers(max(0, len(self.pool) - 8), len(self.pool))]

    def axis(self, x: Any) -> int:
        return int(self.rng.integers(x.ndim))

    def unary(self, x: Any) -> Any:
        return [C.tanh, elementwise.sin, C.abs, lambda v: C.exp(-C.abs(v)), C.relu, lambda v: 0.5 * v + 0.25,
                C.sigmoid][self.rng.integers(7)](x)

    def binary(self, x: Any) -> Any:
        same = [y for y in self.pool if y.shape == x.shape]
        y = same[self.rng.integers(len(same))]
        return [lambda: (x + y) * 0.5, lambda: x * y, lambda: C.maximum(x, y),
                lambda: C.where(x < y, x, 0.5 * y)][self.rng.integers(4)]()

    def reduce(self, x: Any) -> Any:
        keep = bool(self.rng.integers(2))
        axis: Any = self.axis(x) if self.rng.random() < 0.7 else tuple(sorted({self.axis(x), self.axis(x)}))
        return [R.mean, R.max, R.min,
                lambda v, **k: R.sum(v, **k) * (1 / 16)][self.rng.integers(4)](x, axis=axis, keepdims=keep)

    def center(self, x: Any) -> Any:
        axis = self.axis(x)
        d = x - R.mean(x, axis=axis, keepdims=True)
        return d / elementwise.sqrt(R.mean(d * d, axis=axis, keepdims=True) + 0.5)

    def soft(self, x: Any) -> Any:
        return [C.softmax, C.log_softmax][self.rng.integers(2)](x, axis=self.axis(x))

    def move(self, x: Any) -> Any:
        axis = self.axis(x)
        n = x.shape[axis]
        order = tuple(int(i) for i in self.rng.permutation(x.ndim))
        widths = [(int(self.rng.integers(3)), int(self.rng.integers(3))) if i == axis else (0, 0)
                  for i in range(x.ndim)]
        return [lambda: M.permute_dims(x, order), lambda: M.reshape(x, (-1, x.shape[-1])), lambda: M.flip(x, axis=axis),
                lambda: M.slice_axis(x, axis, 0, max(1, n // 2)), lambda: M.slice_axis(x, axis, n // 3, n, 2) if n > 2
                else x,
                lambda: M.pad(x, widths, 0.5), lambda: C.concat([x, x * 0.5], axis=axis),
                lambda: M.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))][self.rng.integers(8)]()

    def window(self, x: Any) -> Any:
        axis = self.axis(x)
        k, s = int(self.rng.integers(1, 4)), int(self.rng.integers(1, 3))
        return R.mean(M.window(x, (axis,), (k,), (s,)), axis=-1) if x.shape[axis] >= k else x

    def spread(self, x: Any) -> Any:
        return C.broadcast_to(x, (3, *x.shape)) * 0.9 if math.prod(x.shape) < 3000 else x

    def product(self, x: Any) -> Any:
        y = self.pick()
        for i, n in enumerate(x.shape):
            for j, m in enumerate(y.shape):
                if n == m and n > 1 and math.prod(x.shape) * math.prod(y.shape) // n // n < 20_000:
                    return K.contract(x, y, contracting=((i,), (j,))) * (1 / n)
        return x * 0.3

    def take(self, x: Any) -> Any:
        axis = self.axis(x)
        index = self.rng.integers(-x.shape[axis], x.shape[axis],
                                  tuple(self.rng.integers(1, 5, self.rng.integers(1, 3))))
        return I.take(x, index, axis=axis)

    def scatter(self, x: Any) -> Any:
        axis = self.axis(x)
        index = self.rng.integers(0, x.shape[axis], (x.shape[axis],))
        return I.scatter(x * 0.1, index, x * 0.2, axis=axis)

    def grow(self, steps: int) -> list[Any]:
        rules = [self.unary, self.binary, self.binary, self.reduce, self.center, self.soft, self.move, self.move,
                 self.window,
                 self.spread, self.product, self.take, self.scatter]
        for _ in range(steps):
            x = self.pick()
            if not x.ndim:
                self.pool.append(x + 0.5)
                continue
            y = rules[self.rng.integers(len(rules))](x)
            if 0 < math.prod(y.shape) < 20_000 and y.ndim < 6:
                self.pool.append(y)
        count = len(self.pool)
        chosen = {int(i) for i in self.rng.integers(0, count, 3)} | {count - 1}
        return [self.pool[i] for i in sorted(chosen)]


@pytest.mark.parametrize("block", range(6))
def test_random_graphs(block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        rng = np.random.default_rng(seed)
        arrays = [rng.standard_normal(tuple(rng.choice(EXTENTS, rng.integers(1, 4)))).astype("float32")
                  for _ in range(2)]
        graph = graph_of(lambda *x, seed=seed: Maker(seed, list(x)).grow(14), arrays)
        compare(graph, arrays, rtol=1e-3, atol=1e-4, threads=1 + seed % 2)


@pytest.mark.parametrize("parts", [2, 3, 9, 40])
def test_concatenation_of_many(parts: int) -> None:
    arrays = [np.random.default_rng(i).standard_normal((4, 3 + i % 5)).astype("float32") for i in range(parts)]

    def program(*x: Any) -> list[Any]:
        joined = C.concat([C.tanh(v) * 2.0 for v in x], axis=1)
        return [joined, C.softmax(joined), R.sum(joined, axis=0), C.concat([x[0], x[1], x[0]], axis=1) - 1.0]

    graph = graph_of(program, arrays)
    compare(graph, arrays, threads=2)
    shifted = graph_of(lambda a, b: [C.concat([M.slice_axis(a, 1, 1, 3), b], axis=1), a * 1.0],
                       [arrays[0], arrays[0][:, :1]], aliases=((0, 0),))
    a = arrays[0].copy()
    native.load(shifted, 1)([a, arrays[0][:, :1]])
    np.testing.assert_array_equal(a, np.concatenate([arrays[0][:, 1:], arrays[0][:, :1]], axis=1))


def test_long_chains() -> None:
    x = np.random.default_rng(0).standard_normal((5, 40)).astype("float32")

    def single(v: Any) -> Any:
        for i in range(700):
            v = v * 0.9 + 0.01 * i
        return v

    def shared(v: Any) -> Any:
        for _ in range(60):
            v = 0.5 * v * v + C.tanh(v) * 0.5
        return [v, R.sum(v, axis=1)]

    for function in (single, shared):
        graph = graph_of(function, [x])
        compare(graph, [x], rtol=1e-4, atol=1e-4)
