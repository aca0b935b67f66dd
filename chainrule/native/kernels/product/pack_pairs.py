# SPDX-License-Identifier: Apache-2.0
"""Packing for products of bfloat16: two steps of the reduction side by side, as the processor multiplies them.

In: a strided matrix of 16-bit numbers, `valid` rows and `count` steps. Out: panel[step / 2, row], each a 32-bit pair of
two steps, with `width` rows; rows and the second step of an odd `count` that do not exist are zeros. From there on a
product of pairs is one of float32 with half as many steps and another multiply-add. Three ways: rows next to each other
in memory are interleaved, steps next to each other are pairs already and are transposed, everything else is copied one
by one.
"""

from __future__ import annotations

import dataclasses

from llvmlite import ir

from ...llvm.writer import INDEX, POINTER, Index, Writer, load_lanes, open_function, store_lanes
from ...target import Target
from .pack import Panel, emit_pack

HALF, PAIR = ir.IntType(16), ir.IntType(32)


def emit_pairs(module: ir.Module, panel: Panel, target: Target) -> ir.Function:
    """The function ``void (source, panel, i64 count)`` that packs `count` steps of 16-bit numbers; strides count these.
    """
    known = module.globals.get(f"{panel.name}_pairs")
    if known:
        return known
    name = f"{panel.name}_pairs"
    arguments = [("source", POINTER), ("panel", POINTER), ("count", INDEX)]
    function, writer = open_function(module, name, arguments, panel.dtype, target, internal=True)
    source, destination, count = function.args
    whole, rest = writer.divide(count, 2)
    pack = _Pairs(writer, panel, source, destination)
    if panel.row_stride == 1 or panel.valid == 1:
        pack.interleave(whole, rest)
    elif panel.step_stride == 1 and panel.row_stride % 2 == 0:
        pairs = dataclasses.replace(panel, row_stride=panel.row_stride // 2)
        writer.builder.call(emit_pack(module, pairs, target), [source, destination, whole])
        pack.one_by_one(whole, rest, whole)
    else:
        pack.one_by_one(whole, rest, 0)
    writer.builder.ret_void()
    return function


class _Pairs:
    """One packing function being written."""

    def __init__(self, writer: Writer, panel: Panel, source: ir.Value, destination: ir.Value):
        self.writer, self.panel, self.source, self.destination = writer, panel, source, destination

    def _from(self, step: Index, row: Index) -> ir.Value:
        """Where the number of a step and a row is."""
        writer, panel = self.writer, self.panel
        place = writer.add(writer.mul(step, panel.step_stride), writer.mul(row, panel.row_stride))
        return writer.at(self.source, place, HALF)

    def _to(self, pair: Index, row: Index) -> ir.Value:
        return self.writer.at(self.destination, self.writer.add(self.writer.mul(pair, self.panel.step), row))

    def interleave(self, whole: Index, rest: Index) -> None:
        """Rows are lanes."""
        writer = self.writer
        with writer.loop(0, whole) as pair:
            for first in range(0, self.panel.width, writer.lanes):
                step = writer.mul(pair, 2)
                self._store(pair, first, self._lanes(step, first), self._lanes(writer.add(step, 1), first))
        with writer.builder.if_then(writer.less(0, rest)):
            for first in range(0, self.panel.width, writer.lanes):
                self._store(whole, first, self._lanes(writer.mul(whole, 2), first), None)

    def _lanes(self, step: Index, first: int) -> ir.Value | None:
        """The numbers of one step in neighbouring rows; None where no row exists."""
        writer, missing = self.writer, first + self.writer.lanes - self.panel.valid
        if missing >= writer.lanes:
            return None
        mask = writer.mask(writer.lanes - missing) if missing > 0 else None
        return load_lanes(writer.builder, HALF, writer.lanes, self._from(step, first), mask)

    def _store(self, pair: Index, first: int, low: ir.Value | None, high: ir.Value | None) -> None:
        writer, builder = self.writer, self.writer.builder
        wide = ir.VectorType(PAIR, writer.lanes)
        value = builder.zext(low, wide) if low is not None else ir.Constant(wide, [0] * writer.lanes)
        if high is not None:
            shifted = builder.shl(builder.zext(high, wide), ir.Constant(wide, [16] * writer.lanes))
            value = builder.or_(value, shifted)
        left = self.panel.width - first
        store_lanes(builder, value, self._to(pair, first), writer.mask(left) if left < writer.lanes else None)

    def one_by_one(self, whole: Index, rest: Index, start: Index) -> None:
        """Pairs from `start` on, number by number."""
        writer = self.writer
        with writer.loop(start, whole) as pair:
            self._row(pair, lambda row: self._pair(pair, row, True))
        with writer.builder.if_then(writer.less(0, rest)):
            self._row(whole, lambda row: self._pair(whole, row, False))

    def _row(self, pair: Index, value) -> None:  # type: ignore[no-untyped-def]
        writer, panel = self.writer, self.panel
        with writer.loop(0, panel.valid) as row:
            writer.builder.store(value(row), self._to(pair, row), align=4)
        with writer.loop(panel.valid, panel.width) as row:
            writer.builder.store(PAIR(0), self._to(pair, row), align=4)

    def _pair(self, pair: Index, row: Index, both: bool) -> ir.Value:
        writer, builder, step = self.writer, self.writer.builder, self.writer.mul(pair, 2)
        load = lambda step: builder.zext(builder.load(self._from(step, row), typ=HALF, align=2), PAIR)
        return builder.or_(load(step), builder.shl(load(writer.add(step, 1)), PAIR(16))) if both else load(step)
