# SPDX-License-Identifier: Apache-2.0
"""GEMV: one row times a matrix whose rows lie in memory as they are: the rows of b, each times its factor, are added
up.

In: a product with m = 1 where b and c have unit stride along n. Out: code that takes `TOGETHER` rows of b at a time
through a block of columns, whose sums stay in the L1 cache. It reads b in long stretches, as fast as memory gives it,
where a register tile would read a few lines of every row before it comes to the next.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from llvmlite import ir

from ...llvm.writer import INDEX, POINTER, SHORT, Index, Writer, open_function
from ...target import Target

TOGETHER = 8  # rows of b in one round; more fall on one set of the L1 cache where their length is a power of two
WIDEST = 4096  # columns of one block
NARROWEST = 128


@dataclass(frozen=True)
class Row:
    """The constants of one kernel: how many columns, and the elements from one step of the reduction to the next."""

    dtype: str
    columns: int
    a_step: int
    b_step: int

    @property
    def name(self) -> str:
        """The name of the function in its module."""
        return f"row_{SHORT[self.dtype]}_{self.columns}_{hashlib.sha256(repr(self).encode()).hexdigest()[:16]}"


def block_vectors(columns: int, lanes: int) -> int:
    """How many vectors wide a block is: half of the columns, for two threads, but neither very narrow nor very wide."""
    wanted = max(NARROWEST, min(WIDEST, -(-columns // 2)))
    return -(-min(columns, wanted) // lanes)


def emit_row(module: ir.Module, row: Row, target: Target) -> ir.Function:
    """The function ``void (a, b, out, i64 count, i1 accumulate)`` that makes `columns` elements over `count` steps."""
    known = module.globals.get(row.name)
    if known:
        return known
    arguments = [("a", POINTER), ("b", POINTER), ("out", POINTER), ("count", INDEX), ("accumulate", ir.IntType(1))]
    function, writer = open_function(module, row.name, arguments, row.dtype, target, internal=True)
    a, b, out, count, accumulate = function.args
    with writer.builder.if_then(writer.builder.not_(accumulate)):
        _over(writer, row.columns,
              lambda column, mask: writer.store_vector(writer.zeros(), writer.at(out, column), mask))
    rounds, _ = writer.divide(count, TOGETHER)
    stop = writer.mul(rounds, TOGETHER)
    for start, end, step in ((0, stop, TOGETHER), (stop, count, 1)):
        with writer.loop(start, end, step) as number:
            left, right = (writer.at(x, writer.mul(number, size)) for x, size in ((a, row.a_step), (b, row.b_step)))
            _add(writer, row, step, left, right, out)
    writer.builder.ret_void()
    return function


def _add(writer: Writer, row: Row, together: int, left: ir.Value, right: ir.Value, out: ir.Value) -> None:
    """out += the next rows of b, each times its factor."""
    factors = [writer.splat(writer.load(writer.at(left, step * row.a_step))) for step in range(together)]

    def body(column: Index, mask: ir.Value | None) -> None:
        place, here = writer.at(out, column), writer.at(right, column)
        total = writer.load_vector(place, mask)
        for step, factor in enumerate(factors):
            total = writer.multiply_add(factor, writer.load_vector(writer.at(here, step * row.b_step), mask), total)
        writer.store_vector(total, place, mask)

    _over(writer, row.columns, body)


def _over(writer: Writer, columns: int, body) -> None:  # type: ignore[no-untyped-def]
    """body(first column, mask) for each vector of columns."""
    stop = columns // writer.lanes * writer.lanes
    with writer.loop(0, stop, writer.lanes) as column:
        body(column, None)
    if stop < columns:
        body(stop, writer.mask(columns - stop))
