# SPDX-License-Identifier: Apache-2.0
"""Attention and its gradient as nodes of ONNX, all scores at once.

In and out: as the records in `ops/attention.py`. Axes in letters: n samples, t queries, s sources, g heads of keys, r
heads of queries for each of them, d and e widths.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .lowering import Use
from .writer import Value


class _Scores:
    """softmax's numerators (n, g, r, t, s), its denominators (n, g, r, t, 1) and what is subtracted from the scores."""

    def __init__(self, use: Use, q: str, k: str, mask: tuple[Value, ...]):
        self.use, self.add = use, use.add
        self.groups = use.operand(1).shape[2]
        self.shared = use.operand(0).shape[2] // max(self.groups, 1)
        queries = self.in_front(self.add("Mul", q, use.scalar(use.node.attrs["scale"], use.operand(0).dtype)))
        keys = self.add("Unsqueeze", use.writer.transposed(k, [0, 2, 3, 1]), use.writer.integers(2))
        self.values = self._hidden(self.add("MatMul", queries, keys), mask)

    def in_front(self, x: str) -> str:
        """(n, t, g r, d) as (n, g, r, t, d)."""
        x = self.add("Reshape", x, self.use.writer.integers(0, 0, self.groups, self.shared, -1), allowzero=0)
        return self.use.writer.transposed(x, [0, 2, 3, 1, 4])

    def at_back(self, x: str) -> str:
        """(n, g, r, t, d) as (n, t, g r, d)."""
        x = self.use.writer.transposed(x, [0, 3, 1, 2, 4])
        return self.add("Reshape", x, self.use.writer.integers(0, 0, self.groups * self.shared, -1), allowzero=0)

    def _hidden(self, scores: str, mask: tuple[Value, ...]) -> str:
        nothing = self.use.scalar(-math.inf, self.use.operand(0).dtype)
        if mask:
            scores = self.add("Where", self._by_heads(mask[0]), scores, nothing)
        return self.add("Where", self._triangle(), scores, nothing) if self.use.node.attrs["causal"] else scores

    def _by_heads(self, mask: Value) -> str:
        place = len(self.use.node.inputs) - 1
        name, heads = self.use.full(mask, place), self.use.operand(place).shape[1]
        groups = (self.groups, self.shared) if heads != 1 else (1, 1)
        name = self.use.writer.transposed(name, [0, 2, 3, 1])
        name = self.add("Reshape", name, self.use.writer.integers(0, 0, 0, *groups))
        return self.use.writer.transposed(name, [0, 3, 4, 1, 2])

    def _triangle(self) -> str:
        """Whether source s lies before query t, counted from the ends."""
        writer, family = self.use.writer, self.use.family
        steps, sources = (writer.extent(family.extents(self.use.node.inputs[i])[1]) for i in (0, 1))
        zero, one = self.use.scalar(0, np.int64), self.use.scalar(1, np.int64)
        row = self.add("Range", zero, self.add("Squeeze", steps), one)
        column = self.add("Range", zero, self.add("Squeeze", sources), one)
        last = self.add("Add", row, self.add("Sub", sources, steps))
        return self.add("LessOrEqual", column, self.add("Unsqueeze", last, writer.integers(1)))


def attention(use: Use, q: Value, k: Value, v: Value, *mask: Value) -> list[Value]:
    """(what the heads give, the logarithm of each softmax's denominator)."""
    scores = _Scores(use, use.full(q, 0), use.full(k, 1), mask)
    add, dtype, last = use.add, use.operand(0).dtype, use.writer.integers(-1)
    zero, one = use.scalar(0, dtype), use.scalar(1, dtype)
    high = add("ReduceMax", scores.values, last, keepdims=1)
    high = add("Where", add("IsInf", high, detect_positive=0), zero, high)
    weights = add("Exp", add("Sub", scores.values, high))
    sums = add("ReduceSum", weights, last, keepdims=1)
    values = add("Unsqueeze", use.writer.transposed(use.full(v, 2), [0, 2, 1, 3]), use.writer.integers(2))
    safe = add("Where", add("Equal", sums, zero), one, sums)
    y = scores.at_back(add("MatMul", add("Div", weights, safe), values))
    denominator = add("Squeeze", scores.at_back(add("Add", high, add("Log", sums))), use.writer.integers(-1))
    return [Value(y), Value(denominator)]


def attention_gradient(use: Use, q: Value, k: Value, v: Value, denominator: Value, delta: Value, g: Value,
                       *mask: Value) -> list[Value]:
    """Gradients of queries, keys and values."""
    names = [use.full(value, i) for i, value in enumerate((q, k, v, denominator, delta, g))]
    scores, add, dtype = _Scores(use, names[0], names[1], mask), use.add, use.operand(0).dtype
    column = lambda x: scores.in_front(add("Unsqueeze", x, use.writer.integers(-1)))
    base, delta_column = column(names[3]), column(names[4])
    base = add("Where", add("IsInf", base, detect_positive=0), use.scalar(0, dtype), base)
    weights = add("Exp", add("Sub", scores.values, base))
    grads, queries = scores.in_front(names[5]), scores.in_front(names[0])
    keys, values = (use.writer.transposed(x, [0, 2, 1, 3]) for x in names[1:3])
    product = lambda words, a, b: _einsum(use, words, a, b)
    slopes = add("Mul", add("Sub", product("ngrte,ngse->ngrts", grads, values), delta_column), weights)
    slopes = add("Mul", slopes, use.scalar(use.node.attrs["scale"], dtype))
    return [Value(scores.at_back(product("ngrts,ngsd->ngrtd", slopes, keys))),
            Value(product("ngrts,ngrtd->nsgd", slopes, queries)),
            Value(product("ngrts,ngrte->nsge", weights, grads))]


def _einsum(use: Use, words: str, a: Any, b: Any) -> str:
    return str(use.add("Einsum", a, b, equation=words))
