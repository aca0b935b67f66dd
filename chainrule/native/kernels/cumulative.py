# SPDX-License-Identifier: Apache-2.0
"""Cumulative sums (prefix sums, a scan in the array sense) as a kernel: out[o, i, c] = x[o, 0, c] + … + x[o, i, c],
added from left to right.

In: a cumulative sum whose operand lies in row-major order. Out: code over units. Where there are enough columns `c`, a
unit is one `o` and a block of columns, and lanes are columns. Elsewhere a unit is `TOGETHER` sums (o, c), whose
additions wait for nothing but their own predecessors. Every sum has one order, so that threads and vectors never change
a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from ..llvm import operations
from ..llvm.math.lanes import splat
from ..llvm.writer import INDEX, POINTER, Index, Writer, constant
from ..target import Target

TOGETHER = 8  # sums that are made side by side
WIDE = 64  # bytes of columns from which lanes are columns
BLOCK = 256  # bytes of columns of one unit
VECTORS = 4  # of columns that are summed side by side


@dataclass(frozen=True)
class RunningSpec:
    """Extents: outer (axes before), extent (of the axis), columns (axes behind)."""

    outer: int
    extent: int
    columns: int
    dtype: str

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return operations.SIZES[self.dtype]

    @property
    def is_wide(self) -> bool:
        """Whether lanes are columns."""
        return self.columns * self.size >= WIDE

    @property
    def blocks(self) -> int:
        """Blocks of columns."""
        return -(-self.columns // (BLOCK // self.size))

    @property
    def units(self) -> int:
        """How many units of work there are to share."""
        return self.outer * self.blocks if self.is_wide else -(-self.outer * self.columns // TOGETHER)


def emit_running(module: ir.Module, name: str, spec: RunningSpec, target: Target) -> ir.Function:
    """The function ``void (x, out, status, i64 begin, i64 end)`` over units."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER] * 3 + [INDEX, INDEX]), name)
    x, out, _, begin, end = function.args
    writer = Writer(ir.IRBuilder(function.append_basic_block("entry")), "float32", target)
    with writer.loop(begin, end) as unit:
        (_columns if spec.is_wide else _few)(writer, spec, x, out, unit)
    writer.builder.ret_void()
    return function


def _columns(writer: Writer, spec: RunningSpec, x: ir.Value, out: ir.Value, unit: Index) -> None:
    """One block of columns: several vectors side by side, then vectors, then single columns."""
    width, lanes = BLOCK // spec.size, writer.target.vector_bytes // spec.size
    outer, block = writer.divide(unit, spec.blocks)
    first = writer.mul(block, width)
    count = writer.minimum(width, writer.sub(spec.columns, first))
    start, done = writer.add(writer.mul(outer, spec.extent * spec.columns), first), 0
    vector = ir.VectorType(operations.ELEMENTS[spec.dtype], lanes)
    for kind, number, step in ((vector, VECTORS, VECTORS * lanes), (vector, 1, lanes), (vector.element, 1, 1)):
        stop = writer.mul(writer.divide(count, step)[0], step)
        with writer.loop(done, stop, step) as column:
            _sums(writer, spec, x, out, [writer.add(start, writer.add(column, i * lanes)) for i in range(number)], kind)
        done = stop


def _few(writer: Writer, spec: RunningSpec, x: ir.Value, out: ir.Value, unit: Index) -> None:
    """The sums of one unit, side by side if there are as many as that, else one by one."""
    chains, kind = spec.outer * spec.columns, operations.ELEMENTS[spec.dtype]
    first = writer.mul(unit, TOGETHER)

    def place(chain: Index) -> Index:
        outer, column = writer.divide(chain, spec.columns)
        return writer.add(writer.mul(outer, spec.extent * spec.columns), column)

    last = writer.minimum(writer.add(first, TOGETHER), chains)
    is_whole = writer.builder.icmp_signed("==", constant(writer.sub(last, first)), INDEX(TOGETHER))
    with writer.builder.if_else(is_whole) as (yes, no):
        with yes:
            _sums(writer, spec, x, out, [place(writer.add(first, i)) for i in range(TOGETHER)], kind)
        with no, writer.loop(first, last) as chain:
            _sums(writer, spec, x, out, [place(chain)], kind)


def _sums(writer: Writer, spec: RunningSpec, x: ir.Value, out: ir.Value, places: list[Index], kind: ir.Type) -> None:
    """The running sums that begin at these elements; -0 is what a sum of floats begins with, because it changes
    nothing."""
    b, element = writer.builder, operations.ELEMENTS[spec.dtype]
    at = lambda pointer, place, i: b.gep(pointer, [constant(writer.add(place, writer.mul(i, spec.columns)))],
                                         source_etype=element)

    def body(i: Index, totals: list[ir.Value]) -> list[ir.Value]:
        found = []
        for place, total in zip(places, totals, strict=True):
            total = operations.OPERATIONS["add"](b, spec.dtype, total,
                                                 b.load(at(x, place, i), typ=kind, align=spec.size))
            b.store(total, at(out, place, i), align=spec.size)
            found.append(total)
        return found

    writer.fold(0, spec.extent, 1, [splat(kind, -0.0 if operations.is_float(spec.dtype) else 0)] * len(places), body)
