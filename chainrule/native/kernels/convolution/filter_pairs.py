# SPDX-License-Identifier: Apache-2.0
"""The gradient of a convolution's weights from bfloat16: the reduction runs over pairs of neighbouring output pixels.

In: the forward correlation of 16-bit operands. Out: the functions of `conv_filter`. A pair of pixels of the gradient is
two of its lines side by side. Seen from one weight, the source pixels behind them are `stride` apart, wherever the
weight's tap begins; so the padded copy that a thread keeps holds at each pixel the pair of it and the pixel `stride`
further, and every tap reads pairs. An odd last pixel is paired with zeros.
"""

from __future__ import annotations

import dataclasses

from llvmlite import ir

from ...llvm.writer import Index, Writer, constant, load_lanes, open_function, store_lanes
from ...target import Target
from ..product.pack import Panel
from ..product.pack_pairs import HALF, PAIR, emit_pairs
from .correlate import inside_axis
from .filter import ARGUMENTS, FilterPlan, _Filter, cache_lines, emit_sum, padded_strides, plan_filter, result_size
from .geometry import Correlation


def _paired(part: Correlation) -> Correlation:
    """The correlation whose output positions along a line are pairs of pixels."""
    deep, high, wide = part.axes
    pairs = dataclasses.replace(wide, out=-(-wide.out // 2), stride=2 * wide.stride)
    return dataclasses.replace(part, axes=(deep, high, pairs), pairs=True, copied=True)


def _room(part: Correlation, plan: FilterPlan) -> tuple[int, int, int]:
    """Elements of one thread's scratch: pairs of the source, pairs of the gradient, one line of 16-bit numbers."""
    deep, high, wide = part.axes
    pixels = deep.out * high.out * wide.out
    strides = padded_strides(part)
    line = strides[2] + wide.stride // 2 * strides[3]
    return (cache_lines(plan.chunk * strides[0]), cache_lines(plan.chunk * pixels * part.groups * part.columns),
            cache_lines(-(-line // 2) + 16))


def filter_pairs_scratch(part: Correlation, target: Target, threads: int) -> int:
    """Elements (of 32 bits) of scratch that all threads together need."""
    if part.empty:
        return 0
    pairs = _paired(part)
    plan = plan_filter(pairs, target)
    copies = plan.blocks * cache_lines(result_size(part)) if plan.blocks > 1 else 0
    return copies + threads * sum(_room(pairs, plan))


def emit_filter_pairs(module: ir.Module, name: str, part: Correlation, target: Target) -> list[ir.Function]:
    """Functions ``void (x, gradient of y, gradient of w, scratch, i64 thread, i64 threads)``, with barriers between."""
    if part.empty:
        from .filter import emit_filter_gradient

        return emit_filter_gradient(module, name, part, target)
    function, writer = open_function(module, name, ARGUMENTS, part.dtype, target)
    source, gradient, out, scratch, thread, threads = function.args
    pairs = _paired(part)
    plan = plan_filter(pairs, target)
    shared = plan.blocks * cache_lines(result_size(part)) if plan.blocks > 1 else 0
    mine = writer.at(scratch, writer.add(shared, writer.mul(thread, sum(_room(pairs, plan)))))
    pointers = source, gradient, scratch if plan.blocks > 1 else out, mine
    _FilterPairs(writer, pairs, plan, pointers, part).emit(thread, threads)
    writer.builder.ret_void()
    return [function] if plan.blocks == 1 else [function, emit_sum(module, f"{name}_sum", part, plan, target)]


class _FilterPairs(_Filter):
    """The same walk; what differs is how a chunk of samples gets into scratch."""

    def __init__(self, writer: Writer, part: Correlation, plan: FilterPlan, pointers: tuple[ir.Value, ...],
                 whole: Correlation):
        super().__init__(writer, part, plan, pointers)
        self.whole, self.kind = whole, HALF
        first, second, _ = _room(part, plan)
        self.right_pairs = writer.at(self.scratch, first)
        self.line = writer.at(self.right_pairs, second)

    def _right(self, sample: Index) -> ir.Value:
        """Pack the gradient of y of a chunk: two pixels of each line side by side."""
        writer, pixels = self.writer, self.whole.axes[2].out
        lines = self.part.axes[0].out * self.part.axes[1].out
        source = writer.at(self.gradient, writer.mul(sample, lines * pixels * self.channels), HALF)
        panel = Panel(self.part.dtype, self.channels, self.channels, 1, self.channels)
        pack = emit_pairs(self.module, panel, self.target)
        if pixels % 2 == 0:
            writer.builder.call(pack, [source, self.right_pairs, constant(writer.mul(self.count, lines * pixels))])
            return self.right_pairs
        with writer.loop(0, writer.mul(self.count, lines)) as line:
            here = writer.at(source, writer.mul(line, pixels * self.channels), HALF)
            there = writer.at(self.right_pairs, writer.mul(line, self.part.axes[2].out * self.channels))
            writer.builder.call(pack, [here, there, constant(pixels)])
        return self.right_pairs

    def _padded(self, image: ir.Value) -> ir.Value:
        """Copy a chunk of samples, with the zeros around them, as pairs of pixels that are `stride` apart."""
        writer, (deep, high, _), natural = self.writer, self.part.axes, self.part.source_strides
        planes, rows = deep.reach(deep.out), high.reach(high.out)
        self._clear()
        with writer.loop(0, writer.mul(self.count, planes * rows)) as line:
            sample, plane, row = writer.unravel(line, (0, planes, rows))
            depth, height = writer.sub(plane, deep.low), writer.sub(row, high.low)
            offset = writer.dot((sample, depth, height), (deep.source * natural[0], natural[0], natural[1]))
            exists = writer.builder.and_(inside_axis(writer, depth, deep), inside_axis(writer, height, high))
            there = writer.at(self.scratch, writer.mul(line, self.strides[2]))
            with writer.builder.if_else(exists) as (yes, no):
                with yes:
                    self._fill(writer.at(image, offset, HALF))
                    self._pair_line(there)
                with no:
                    self._over(self.strides[2],
                               lambda place, mask: self._put(self._zeros(PAIR), there, place, mask, PAIR))
        return self.scratch

    # ---- one line

    def _clear(self) -> None:
        """Zeros in the line of 16-bit numbers, where no pixel will be."""
        before, count, _ = self._extent()
        total = self.strides[2] + self.shift
        for first, stop in ((0, before), (before + count, total)):
            self._over(stop - first, lambda place, mask, first=first: self._put(
                self._zeros(HALF), self.writer.at(self.line, first, HALF), place, mask, HALF))

    @property
    def shift(self) -> int:
        """Elements from a pixel to the one that it is paired with."""
        return self.whole.axes[2].stride * self.strides[3]

    def _extent(self) -> tuple[int, int, int]:
        """(first element of the line that comes from the source, how many do, which of the source is the first)."""
        axis, pixel = self.part.axes[2], self.strides[3]
        total = self.strides[2] + self.shift
        before, start = min(total, max(0, axis.low) * pixel), max(0, -axis.low) * pixel
        return before, max(0, min(axis.source * pixel - start, total - before)), start

    def _fill(self, source: ir.Value) -> None:
        before, count, start = self._extent()
        here, there = self.writer.at(source, start, HALF), self.writer.at(self.line, before, HALF)
        self._over(count, lambda place, mask: self._put(self._get(here, place, mask), there, place, mask, HALF))

    def _pair_line(self, there: ir.Value) -> None:
        builder, wide = self.writer.builder, ir.VectorType(PAIR, self.writer.lanes)
        far = self.writer.at(self.line, self.shift, HALF)

        def pair(place: Index, mask: ir.Value | None) -> None:
            low, high = (builder.zext(self._get(pointer, place, mask), wide) for pointer in (self.line, far))
            both = builder.or_(low, builder.shl(high, ir.Constant(wide, [16] * self.writer.lanes)))
            self._put(both, there, place, mask, PAIR)

        self._over(self.strides[2], pair)

    def _over(self, count: int, body) -> None:  # type: ignore[no-untyped-def]
        """Call body(place, mask) for the vectors of `count` elements."""
        writer = self.writer
        stop = count // writer.lanes * writer.lanes
        with writer.loop(0, stop, writer.lanes) as place:
            body(place, None)
        if count > stop:
            body(stop, writer.mask(count - stop))

    def _zeros(self, type_: ir.Type) -> ir.Value:
        return ir.Constant(ir.VectorType(type_, self.writer.lanes), [0] * self.writer.lanes)

    def _get(self, pointer: ir.Value, place: Index, mask: ir.Value | None) -> ir.Value:
        return load_lanes(self.writer.builder, HALF, self.writer.lanes, self.writer.at(pointer, place, HALF), mask)

    def _put(self, value: ir.Value, pointer: ir.Value, place: Index, mask: ir.Value | None, type_: ir.Type) -> None:
        store_lanes(self.writer.builder, value, self.writer.at(pointer, place, type_), mask)
