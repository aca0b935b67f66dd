# SPDX-License-Identifier: Apache-2.0
"""Narrow GEMM by dot products: products of a few rows with a matrix whose reduction lies next to each other in memory:
a vector of dot products.

In: a product of at most `FEW` rows where a and b both have unit stride along k. Out: code that keeps one vector of
partial sums for each of `lanes` columns, and turns these sums over and adds them at the end. It reads b once, as it
lies, where the register tile would have to transpose it first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from llvmlite import ir

from ...llvm.writer import POINTER, SHORT, Index, Writer, open_function
from ...target import Target

FEW = 4
TOGETHER = 8  # columns that are read side by side
BLOCK = 1 << 14  # elements that one set of partial sums takes in, so that long sums lose no digits


@dataclass(frozen=True)
class Dots:
    """The constants of one kernel: `columns` <= lanes dot products of length k with columns `stride` elements apart."""

    dtype: str
    columns: int
    k: int
    stride: int

    @property
    def name(self) -> str:
        """The name of the function in its module."""
        return f"dots_{SHORT[self.dtype]}_{self.columns}_{hashlib.sha256(repr(self).encode()).hexdigest()[:16]}"


def emit_dots(module: ir.Module, dots: Dots, target: Target) -> ir.Function:
    """The function ``void (a, b, out, i1 accumulate)`` that makes `columns` elements of one row of the result."""
    known = module.globals.get(dots.name)
    if known:
        return known
    arguments = [("a", POINTER), ("b", POINTER), ("out", POINTER), ("accumulate", ir.IntType(1))]
    function, writer = open_function(module, dots.name, arguments, dots.dtype, target, internal=True)
    a, b, out, accumulate = function.args
    mask = writer.mask(dots.columns) if dots.columns < writer.lanes else None
    start = writer.if_else(accumulate, lambda: [writer.load_vector(out, mask)], lambda: [writer.zeros()])[0]
    sums = _partial_sums(writer, dots, a, b)
    turned = writer.transpose(sums + [writer.zeros()] * (writer.lanes - dots.columns))
    while len(turned) > 1:
        turned = [writer.builder.fadd(one, other) for one, other in zip(turned[::2], turned[1::2], strict=True)]
    writer.store_vector(writer.builder.fadd(start, turned[0]), out, mask)
    writer.builder.ret_void()
    return function


def _partial_sums(writer: Writer, dots: Dots, a: ir.Value, b: ir.Value) -> list[ir.Value]:
    """One vector of partial sums for each column, some columns at a time: all of them may fall on one set of the cache.
    """
    return [total for first in range(0, dots.columns, TOGETHER)
            for total in _sums_of(writer, dots, a, b, range(first, min(first + TOGETHER, dots.columns)))]


def _sums_of(writer: Writer, dots: Dots, a: ir.Value, b: ir.Value, columns: range) -> list[ir.Value]:
    def step(offset: Index, sums: list[ir.Value], mask: ir.Value | None = None) -> list[ir.Value]:
        factor = writer.load_vector(writer.at(a, offset), mask)
        here = writer.at(b, offset)
        return [writer.multiply_add(factor, writer.load_vector(writer.at(here, column * dots.stride), mask), total)
                for column, total in zip(columns, sums, strict=True)]

    def steps(offset: Index, sums: list[ir.Value]) -> list[ir.Value]:
        return [*step(offset, sums[:count]), *step(writer.add(offset, writer.lanes), sums[count:])]

    def added(values: list[ir.Value], others: list[ir.Value]) -> list[ir.Value]:
        return [writer.builder.fadd(one, other) for one, other in zip(values, others, strict=True)]

    def block(first: Index, last: Index) -> list[ir.Value]:
        sums = writer.fold(first, last, pair, [writer.zeros()] * (2 * count), steps)
        return added(sums[:count], sums[count:])

    count, pair = len(columns), 2 * writer.lanes
    whole, stop = dots.k // pair * pair, dots.k // writer.lanes * writer.lanes
    blocks = whole // BLOCK * BLOCK if whole > BLOCK else 0
    sums = block(blocks, whole)
    if blocks:
        sums = writer.fold(0, blocks, BLOCK, sums,
                           lambda first, totals: added(totals, block(first, writer.add(first, BLOCK))))
    if whole < stop:
        sums = step(whole, sums)
    return step(stop, sums, writer.mask(dots.k - stop)) if stop < dots.k else sums
