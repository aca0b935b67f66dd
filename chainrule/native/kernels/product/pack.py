# SPDX-License-Identifier: Apache-2.0
"""Packing: a panel of one operand copied so that a register tile reads it front to back.

In: a strided matrix of `valid` rows and `count` steps of the reduction. Out: panel[step, row] with `width` rows, zeros
in the rows that do not exist. Three ways: rows next to each other in memory are copied as vectors, steps next to each
other are transposed in registers, everything else is copied one by one. Copies of steps that lie far apart, which no
processor foresees, fetch what the next two panels will need.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from llvmlite import ir

from ...llvm.writer import INDEX, POINTER, SHORT, Index, Writer, constant, intrinsic, open_function
from ...target import Target

FAR = 1024  # bytes between steps from which the next panels are fetched beforehand


@dataclass(frozen=True)
class Panel:
    """The constants of one packing function; strides count elements."""

    dtype: str
    width: int
    valid: int
    row_stride: int
    step_stride: int
    pitch: int = 0  # elements from one step of the panel to the next; 0: the width

    @property
    def step(self) -> int:
        """Elements from one step of the panel to the next."""
        return self.pitch or self.width

    @property
    def name(self) -> str:
        """The name of the panel's function in its module."""
        return f"pack_{SHORT[self.dtype]}_{self.width}_{hashlib.sha256(repr(self).encode()).hexdigest()[:16]}"


def emit_pack(module: ir.Module, panel: Panel, target: Target) -> ir.Function:
    """The function ``void (source, panel, i64 count)`` that packs `count` steps."""
    known = module.globals.get(panel.name)
    if known:
        return known
    arguments = [("source", POINTER), ("panel", POINTER), ("count", INDEX)]
    function, writer = open_function(module, panel.name, arguments, panel.dtype, target, internal=True)
    source, destination, count = function.args
    if panel.row_stride == 1 or panel.valid == 1:
        _copy(writer, panel, source, destination, count)
    elif panel.step_stride == 1:
        _transpose(writer, panel, source, destination, count)
    else:
        _one_by_one(writer, panel, source, destination, 0, count)
    writer.builder.ret_void()
    return function


def _mask(writer: Writer, first: int, extent: int) -> ir.Value | None:
    """The mask of the vector that starts at `first` in a row of `extent` elements."""
    return None if first + writer.lanes <= extent else writer.mask(max(0, extent - first))


def _copy(writer: Writer, panel: Panel, source: ir.Value, destination: ir.Value, count: Index) -> None:
    is_far = panel.step_stride * writer.size >= FAR
    with writer.loop(0, count) as step:
        here = writer.at(source, writer.mul(step, panel.step_stride))
        there = writer.at(destination, writer.mul(step, panel.step))
        for first in range(0, panel.width, writer.lanes):
            value = writer.zeros()
            if first < panel.valid:
                value = writer.load_vector(writer.at(here, first), _mask(writer, first, panel.valid))
            writer.store_vector(value, writer.at(there, first), _mask(writer, first, panel.width))
        if is_far:
            _fetch(writer, panel, here)


def _fetch(writer: Writer, panel: Panel, here: ir.Value) -> None:
    """Bring the lines nearer that one step of the next two panels lies in; there may be none, a fetch never fails."""
    narrow = ir.IntType(32)
    function = intrinsic(writer.module, "llvm.prefetch.p0", ir.VoidType(), [POINTER, narrow, narrow, narrow])
    for number in range(2 * -(-panel.width // writer.lanes)):
        place = writer.at(here, panel.width + (number + 1) * writer.lanes - 1)
        writer.builder.call(function, [place, narrow(0), narrow(2), narrow(1)])


def _transpose(writer: Writer, panel: Panel, source: ir.Value, destination: ir.Value, count: Index) -> None:
    whole, _ = writer.divide(count, writer.lanes)
    stop = writer.mul(whole, writer.lanes)
    with writer.loop(0, stop, writer.lanes) as step:
        there = writer.at(destination, writer.mul(step, panel.step))
        full = panel.valid // writer.lanes
        with writer.loop(0, full) as number:
            here = writer.at(source, writer.add(writer.mul(number, writer.lanes * panel.row_stride), step))
            square = writer.at(there, writer.mul(number, writer.lanes))
            writer.builder.call(_emit_square(writer), [here, constant(panel.row_stride), square, constant(panel.step)])
        for first in range(full * writer.lanes, panel.width, writer.lanes):
            _transpose_square(writer, panel, writer.at(source, step), there, first)
    _one_by_one(writer, panel, source, destination, stop, count)


def _emit_square(writer: Writer) -> ir.Function:
    """The function ``void (source, i64 row stride, destination, i64 pitch)`` that transposes lanes x lanes elements."""
    name = f"transpose_{SHORT[writer.dtype]}"
    known = writer.module.globals.get(name)
    if known:
        return known
    arguments = [("source", POINTER), ("row_stride", INDEX), ("destination", POINTER), ("pitch", INDEX)]
    function, inner = open_function(writer.module, name, arguments, writer.dtype, writer.target, internal=True)
    source, row_stride, destination, pitch = function.args
    rows = [inner.load_vector(inner.at(source, inner.mul(row_stride, row))) for row in range(inner.lanes)]
    for step, value in enumerate(inner.transpose(rows)):
        inner.store_vector(value, inner.at(destination, inner.mul(pitch, step)))
    inner.builder.ret_void()
    return function


def _transpose_square(writer: Writer, panel: Panel, source: ir.Value, destination: ir.Value, first: int) -> None:
    rows = [writer.load_vector(writer.at(source, row * panel.row_stride)) if row < panel.valid else writer.zeros()
            for row in range(first, first + writer.lanes)]
    mask = _mask(writer, first, panel.width)
    for step, value in enumerate(writer.transpose(rows)):
        writer.store_vector(value, writer.at(destination, step * panel.step + first), mask)


def _one_by_one(writer: Writer, panel: Panel, source: ir.Value, destination: ir.Value, start: Index,
                stop: Index) -> None:
    zero = ir.Constant(writer.element, 0.0)
    with writer.loop(start, stop) as step:
        here = writer.at(source, writer.mul(step, panel.step_stride))
        there = writer.at(destination, writer.mul(step, panel.step))
        with writer.loop(0, panel.valid) as row:
            writer.store(writer.load(writer.at(here, writer.mul(row, panel.row_stride))), writer.at(there, row))
        with writer.loop(panel.valid, panel.width) as row:
            writer.store(zero, writer.at(there, row))
