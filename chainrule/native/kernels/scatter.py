# SPDX-License-Identifier: Apache-2.0
"""`scatter` as a kernel: rows of updates are added to (or put in) rows that indices choose.

out[o, index[i], c] (+)= updates[o, i, c]. A unit of work is one `o` and one block of columns, and goes through the
indices in order; so equal indices add up in the same order on any number of threads, and no two threads meet. An index
out of bounds is reported, or (`drop`) passed over. The mode "check" only looks whether all indices are in bounds, so
that a Variable is not touched by a step that fails.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from llvmlite import ir

from ..llvm import operations
from ..llvm.checks import report_function
from ..llvm.writer import INDEX, POINTER, Writer, constant
from ..target import Target

BYTE = ir.IntType(8)
BLOCK = 64  # columns of one unit, at least
UNITS = 8  # of work, above which the blocks are made wider: long rows are read faster


@dataclass(frozen=True)
class ScatterSpec:
    """Extents: outer (axes before), extent (of the axis), count (of indices), columns (axes behind).

    `check` is the number by which an index out of bounds is reported; 0: it was looked for before, or is passed over
    (`drop`).
    """

    outer: int
    extent: int
    count: int
    columns: int
    dtype: str
    index_dtype: str
    mode: str
    check: int
    drop: bool = False

    @property
    def block(self) -> int:
        """Columns of one block."""
        return max(BLOCK, self.outer * self.columns // UNITS // BLOCK * BLOCK)

    @property
    def blocks(self) -> int:
        """Blocks of columns."""
        return -(-self.columns // self.block)


def emit_scatter(module: ir.Module, name: str, spec: ScatterSpec, target: Target) -> ir.Function:
    """The function ``void (indices, updates, out, status, i64 begin, i64 end)`` over units; a check has no updates and
    no out."""
    if spec.mode == "check":
        return _emit_check(module, name, spec, target)
    type_ = ir.FunctionType(ir.VoidType(), [POINTER] * 4 + [INDEX, INDEX])
    function = ir.Function(module, type_, name)
    indices, updates, out, status, begin, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    writer = Writer(builder, "float32", target)
    with writer.loop(begin, end) as unit:
        outer, block = writer.divide(unit, spec.blocks)
        first = writer.mul(block, spec.block)
        stop = writer.minimum(writer.add(first, spec.block), spec.columns)
        with writer.loop(0, spec.count) as i:
            row, outside = _row(builder, spec, indices, i)
            source = writer.add(writer.mul(writer.add(writer.mul(outer, spec.count), i), spec.columns), first)
            place = writer.add(writer.mul(writer.add(writer.mul(outer, spec.extent), row), spec.columns), first)
            if spec.check:
                _report(builder, spec, status, outside)
            with builder.if_then(builder.not_(outside)) if spec.drop else contextlib.nullcontext():
                _add_row(writer, spec, updates, out, source, place, writer.sub(stop, first))
    builder.ret_void()
    return function


def _emit_check(module: ir.Module, name: str, spec: ScatterSpec, target: Target) -> ir.Function:
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, INDEX, INDEX]), name)
    indices, status, begin, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    with Writer(builder, "float32", target).loop(begin, end) as i:
        _report(builder, spec, status, _row(builder, spec, indices, i)[1])
    builder.ret_void()
    return function


def _report(b: ir.IRBuilder, spec: ScatterSpec, status: ir.Value, outside: ir.Value) -> None:
    b.call(report_function(b.module), [status, outside, INDEX(spec.check)])


def _row(b: ir.IRBuilder, spec: ScatterSpec, indices: ir.Value, i: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(the row that index i chooses, or 0; whether the index is out of bounds)."""
    type_ = operations.ELEMENTS[spec.index_dtype]
    raw = b.load(b.gep(indices, [constant(i)], source_etype=type_), typ=type_)
    index = operations.cast(b, raw, spec.index_dtype, "int64")
    index = b.select(b.icmp_signed("<", index, INDEX(0)), b.add(index, INDEX(spec.extent)), index)
    outside = b.icmp_unsigned(">=", index, INDEX(spec.extent))
    return b.select(outside, INDEX(0), index), outside


def _add_row(writer: Writer, spec: ScatterSpec, updates: ir.Value, out: ir.Value, source: ir.Value, place: ir.Value,
             count: ir.Value) -> None:
    """One row of one block, vector by vector, the rest element by element."""
    b, lanes = writer.builder, writer.target.lanes("float32")
    type_ = BYTE if spec.dtype == "bool" else operations.ELEMENTS[spec.dtype]
    size = operations.SIZES[spec.dtype]

    def step(offset: ir.Value, kind: ir.Type) -> None:
        there = b.gep(out, [constant(writer.add(place, offset))], source_etype=type_)
        value = b.load(b.gep(updates, [constant(writer.add(source, offset))], source_etype=type_), typ=kind, align=size)
        if spec.mode == "add":
            old = b.load(there, typ=kind, align=size)
            value = (b.or_(old, value) if spec.dtype == "bool"
                     else operations.OPERATIONS["add"](b, spec.dtype, old, value))
        b.store(value, there, align=size)

    if spec.columns < lanes:
        with writer.loop(0, count) as offset:
            step(offset, type_)
        return
    whole = writer.mul(writer.divide(count, lanes)[0], lanes)
    with writer.loop(0, whole, lanes) as offset:
        step(offset, ir.VectorType(type_, lanes))
    if spec.columns % lanes:
        with writer.loop(whole, count) as offset:
            step(offset, type_)
