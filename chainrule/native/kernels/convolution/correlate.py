# SPDX-License-Identifier: Apache-2.0
"""The dense correlation behind the forward convolution and the gradient of its input.

In: a correlation and its plan (`conv_plan`). Out: code that walks over units (samples, plane, band of output lines) and
fills each with register tiles. Where the kernel reaches over the edge, the taps beyond it are left out: lines of taps
by the count of a loop, single taps by tiles of their own for the ends of a line. Only where short lines of a sample are
put together, the thread first copies the band with its zeros into its own scratch.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

from llvmlite import ir

from ...llvm.writer import INDEX, Index, Writer, constant, copy_elements
from ..finish import Epilogue, emit_ahead, emit_finish
from ..tile import Tile, emit_tile, simplify
from .geometry import (
    Axis,
    Correlation,
    band_height,
    dotted,
    factors_of,
    is_swept,
    packed_weights,
    plan_lines,
    ranges_of,
    tile_columns,
)

# ---- the padded copy

def copy_padded_line(writer: Writer, axis: Axis, pixel: int, source: ir.Value, destination: ir.Value,
                     exists: ir.Value) -> None:
    """Copy one line with its zeros on both sides; a line that does not exist is all zeros."""
    reach = axis.reach(axis.out)
    before, start = min(reach, max(0, axis.low)), max(0, -axis.low)
    count = max(0, min(axis.source - start, reach - before))
    with writer.builder.if_else(exists) as (yes, no):
        with yes:
            parts = ((None, 0, before), (writer.at(source, start * pixel), before, count),
                     (None, before + count, reach - before - count))
            for origin, first, length in parts:
                if length:
                    copy_elements(writer, origin, writer.at(destination, first * pixel), length * pixel)
        with no:
            copy_elements(writer, None, destination, reach * pixel)


def inside_axis(writer: Writer, place: Index, axis: Axis) -> ir.Value:
    """0 <= place < axis.source."""
    return writer.builder.icmp_unsigned("<", constant(place), constant(axis.source))


def taps_inside(writer: Writer, axis: Axis, place: Index) -> tuple[Index, Index]:
    """(the first, how many) taps that read inside the source at an output position; perhaps none."""
    start = writer.sub(writer.mul(place, axis.stride), axis.low)  # source position of the first tap
    before = writer.divide(writer.add(writer.maximum(0, writer.sub(0, start)), axis.dilation - 1), axis.dilation)[0]
    after = writer.divide(writer.maximum(0, writer.sub(axis.source - 1 + axis.dilation, start)), axis.dilation)[0]
    first = writer.minimum(before, axis.taps)
    return first, writer.sub(writer.maximum(first, writer.minimum(after, axis.taps)), first)


def pixels_inside(writer: Writer, axis: Axis, tap: Index) -> tuple[Index, Index]:
    """(the first, how many) output positions from which a tap reads inside the source; perhaps none."""
    # of the source, seen from where the tap reads at first
    start = writer.sub(axis.low, writer.mul(tap, axis.dilation))
    first, _ = writer.divide(writer.add(writer.maximum(0, start), axis.stride - 1), axis.stride)
    last, _ = writer.divide(writer.maximum(0, writer.add(start, axis.source - 1 + axis.stride)), axis.stride)
    first = writer.minimum(first, axis.out)
    return first, writer.sub(writer.maximum(first, writer.minimum(last, axis.out)), first)


# ---- the kernel

def emit_correlation(writer: Writer, name: str, part: Correlation, epilogue: Epilogue | None, extras: list[ir.Value],
                     pointers: tuple[ir.Value, ir.Value, ir.Value, ir.Value], share: tuple[Index, Index]) -> None:
    """Write the share of one thread; pointers: source, weights, result and this thread's scratch."""
    if not part.empty:
        _Correlate(writer, name, part, epilogue, extras, pointers).emit(*share)


class _Correlate:
    """One correlation being written: units, then groups, column tiles, lines and pixel tiles."""

    def __init__(self, writer: Writer, name: str, part: Correlation, epilogue: Epilogue | None, extras: list[ir.Value],
                 pointers: tuple[ir.Value, ir.Value, ir.Value, ir.Value]):
        self.writer, self.part, self.extras = writer, part, extras
        self.module, self.target = writer.module, writer.target
        self.source, self.weights, self.out, self.scratch = pointers
        self.lines = plan_lines(part, self.target)
        self.dotted, self.swept = dotted(part, writer.lanes), is_swept(part, writer.lanes)
        if self.dotted:
            self.part = part = self._pack()
        if part.pixels > 1:
            self.part = part = self._pack_band()
        self.width = tile_columns(part, self.lines.vectors, writer.lanes)
        self.channels = part.groups * part.columns // part.pixels
        self.out_step = part.axes[2].place_step * self.channels
        self.places = part.axes[0].extent * part.place_strides[0]  # of the result from one sample to the next
        self.strides = part.source_strides
        self.direct = part.direct or self.lines.cut
        if not self.direct:
            line = part.axes[2].reach(part.axes[2].out) * self.strides[2]
            self.strides = (band_height(part, self.lines) * line, line, self.strides[2])
        self.name, self.epilogue = f"{name}_finish", epilogue
        self.samples = 1

    def _pack(self) -> Correlation:
        """Copy the weights into scratch as (repeat, tap, column, channel); the correlation that reads them there."""
        writer, part, taps = self.writer, self.part, [axis.taps for axis in self.part.axes]
        extents = (*part.repeats, *taps, part.columns, part.inside)
        strides = (*part.repeat_steps, *part.tap_steps, 1, part.channel_step)
        with writer.loop(0, math.prod(extents)) as number:
            source = writer.add(writer.dot(writer.unravel(number, extents), strides), part.first_tap)
            writer.store(writer.load(writer.at(self.weights, source)), writer.at(self.scratch, number))
        self.weights, self.scratch = self.scratch, writer.at(self.scratch, packed_weights(part, writer.lanes))
        packed = [math.prod(extents[i + 1:]) for i in range(6)]
        return dataclasses.replace(part, tap_steps=tuple(packed[3:]), repeat_steps=tuple(packed[:3]), first_tap=0,
                                   channel_step=1)

    def _pack_band(self) -> Correlation:
        """Copy the weights into scratch as (tap, channel, pixel, column), zeros where a pixel does not have a tap."""
        writer, part, taps = self.writer, self.part, [axis.taps for axis in self.part.axes]
        columns, own = part.columns // part.pixels, taps[2] - part.pixels + 1
        extents = (*taps, part.inside, part.pixels, columns)
        with writer.loop(0, math.prod(extents)) as number:
            deep, high, wide, channel, pixel, column = writer.unravel(number, extents)
            tap = writer.sub(wide, pixel)
            has = writer.builder.icmp_unsigned("<", constant(tap), INDEX(own))
            place = writer.dot((deep, high, tap, channel, column), (*part.tap_steps, part.channel_step, 1))
            place = writer.builder.select(has, constant(writer.add(place, part.first_tap)), INDEX(0))
            value = writer.builder.select(has, writer.load(writer.at(self.weights, place)), writer.element(0.0))
            writer.store(value, writer.at(self.scratch, number))
        self.weights, self.scratch = self.scratch, writer.at(self.scratch, packed_weights(part, writer.lanes))
        steps = tuple(math.prod(extents[i + 1:]) for i in range(4))
        return dataclasses.replace(part, tap_steps=steps[:3], first_tap=0, channel_step=steps[3])

    def emit(self, thread: Index, threads: Index) -> None:
        writer, part, lines = self.writer, self.part, self.lines
        tiles, size, tall = lines.samples
        for groups, samples, first in ((tall, size + 1, 0), (tiles - tall, size, tall * (size + 1))):
            if not groups:
                continue
            self.samples, self.first_sample = samples, first
            self.grid = (*part.repeats, groups, part.axes[0].out, lines.bands)
            with writer.loop(*writer.share(math.prod(self.grid), thread, threads)) as unit:
                self._groups(*self._unit(unit))

    def _unit(self, unit: Index) -> tuple[Index, Index]:
        """Set what a unit reads and writes; its first and last line."""
        writer, part, lines, deep = self.writer, self.part, self.lines, self.part.axes[0]
        *repeat, group, plane, band = writer.unravel(unit, self.grid) if math.prod(part.repeats) > 1 else (
            0, 0, 0, *writer.unravel(unit, self.grid[3:]))
        sample = writer.add(writer.mul(group, self.samples), self.first_sample)
        self.first_tap = writer.add(part.first_tap, writer.dot(repeat, part.repeat_steps))
        first = writer.mul(band, lines.lines_per_band)
        last = writer.minimum(writer.add(first, lines.lines_per_band), lines.lines)
        image = writer.at(self.source, writer.mul(sample, deep.source * part.source_strides[0]))
        self.origin = self._direct(image, plane) if self.direct else self._padded(image, plane, first, last)
        self.base = 0 if self.direct else self._row(first)
        self.plane = plane
        place = writer.add(writer.mul(plane, deep.place_step), deep.place_first)
        self.pixel = writer.mul(writer.add(writer.mul(sample, deep.extent), place), part.place_strides[0])
        self.pixel = writer.add(self.pixel, writer.dot(repeat, part.place_strides))
        return first, last

    def _row(self, line: Index) -> Index:
        """The first image line of a line of tiles."""
        writer, lines = self.writer, self.lines
        if not lines.together:
            return line
        return writer.add(writer.mul(line, lines.size), writer.minimum(line, lines.tall))

    def _direct(self, image: ir.Value, plane: Index) -> ir.Value:
        writer, axes, strides = self.writer, self.part.axes, self.strides
        start = sum(-axis.low * stride for axis, stride in zip(axes, strides, strict=True))
        return writer.at(writer.at(image, start), writer.mul(plane, axes[0].stride * strides[0]))

    def _padded(self, image: ir.Value, plane: Index, first: Index, last: Index) -> ir.Value:
        """Copy the source lines of a band, with the zeros around them, into scratch."""
        writer, (deep, high, wide), natural = self.writer, self.part.axes, self.part.source_strides
        top = writer.mul(self._row(first), high.stride)
        rows = writer.add(writer.mul(writer.sub(writer.sub(self._row(last), self._row(first)), 1), high.stride),
                          high.reach(1))
        with writer.loop(0, deep.taps) as tap:
            depth = writer.sub(writer.add(writer.mul(plane, deep.stride), writer.mul(tap, deep.dilation)), deep.low)
            with writer.loop(0, rows) as row:
                height = writer.sub(writer.add(top, row), high.low)
                offset = writer.add(writer.mul(depth, natural[0]), writer.mul(height, natural[1]))
                place = writer.add(writer.mul(tap, self.strides[0]), writer.mul(row, self.strides[1]))
                exists = writer.builder.and_(inside_axis(writer, depth, deep), inside_axis(writer, height, high))
                copy_padded_line(writer, wide, natural[2], writer.at(image, offset), writer.at(self.scratch, place),
                                 exists)
        return self.scratch

    def _groups(self, first: Index, last: Index) -> None:
        part, writer = self.part, self.writer
        if part.groups == 1:
            self._columns(0, first, last)
            return
        with writer.loop(0, part.groups) as group:
            self._columns(group, first, last)

    def _columns(self, group: Index, first: Index, last: Index) -> None:
        writer, part = self.writer, self.part
        if part.lanewise:  # the columns of a tile lie next to each other on both sides
            self._lines(group, 0, 0, first, last)
            return
        if self.dotted:
            self._lines(group, 0, part.columns, first, last)
            return
        whole, rest = divmod(part.columns, self.width)
        if whole:
            with writer.loop(0, whole) as tile:
                self._lines(group, writer.mul(tile, self.width), self.width, first, last)
        if rest:
            self._lines(group, whole * self.width, rest, first, last)

    def _lines(self, group: Index, column: Index, valid: int, first: Index, last: Index) -> None:
        writer, part, lines = self.writer, self.part, self.lines
        left = writer.at(self.origin, column if part.lanewise else writer.mul(group, part.inside))
        ahead = writer.mul(writer.divide(column, self.width)[0], part.panel) if part.panel else column
        right = writer.at(self.weights, writer.add(writer.add(writer.mul(group, part.group_step), self.first_tap),
                                                   ahead))
        channel = writer.add(writer.mul(group, part.columns), column)
        spans = ((first, writer.minimum(last, lines.tall), 1), (writer.maximum(first, lines.tall), last, 0))
        if not lines.together:
            with writer.loop(first, last) as line:
                self._line(line, left, right, channel, valid)
            return
        for begin, end, more in spans[not lines.tall:]:
            with writer.loop(begin, end) as line:
                height = lines.size + more
                full = ((0, height * part.axes[2].out),) * part.axes[2].taps
                self._tile(self._row(line), 0, height, part.axes[2].out, full, left, right, channel, valid)

    def _line(self, line: Index, left: ir.Value, right: ir.Value, channel: Index, valid: int) -> None:
        """The tiles of a line; neighbours of the same width and taps are one loop."""
        writer, lines, wide = self.writer, self.lines, self.part.axes[2]
        widths = [lines.size + (tile < lines.tall) for tile in range(lines.tiles)]
        starts = [sum(widths[:tile]) for tile in range(lines.tiles)]
        full = lambda width: ((0, width),) * wide.taps
        kinds = [(width, ranges_of(wide, start, width) if lines.cut else full(width))
                 for start, width in zip(starts, widths, strict=True)]
        tile = 0
        for (width, ranges), same in itertools.groupby(kinds):
            count, start = len(list(same)), starts[tile]
            tile += count
            if count == 1:
                self._tile(line, start, 1, width, ranges, left, right, channel, valid)
                continue
            with writer.loop(0, count) as number:
                self._tile(line, writer.add(writer.mul(number, width), start), 1, width, ranges, left, right, channel,
                           valid)

    def _tile(self, row: Index, pixel: Index, height: int, width: int, ranges: tuple[tuple[int, int], ...],
              left: ir.Value, right: ir.Value, channel: Index, valid: int) -> None:
        if valid:
            self._tile_of(row, pixel, height, width, ranges, left, right, channel, valid)
            return
        writer, (whole, rest) = self.writer, divmod(self.part.columns, self.width)
        step = self.width // self.part.shared * self.part.inside  # of the channels that a tile reads

        def columns(number: Index, valid: int) -> None:
            first = writer.mul(number, self.width)
            self._tile_of(row, pixel, height, width, ranges, writer.at(left, writer.mul(number, step)),
                          writer.at(right, first), writer.add(channel, first), valid)
        if whole:
            with writer.loop(0, whole) as number:
                columns(number, self.width)
        if rest:
            columns(whole, rest)

    def _tile_of(self, row: Index, pixel: Index, height: int, width: int, ranges: tuple[tuple[int, int], ...],
                 left: ir.Value, right: ir.Value, channel: Index, valid: int) -> None:
        writer, part = self.writer, self.part
        _, high, wide = part.axes
        offset = writer.add(writer.mul(writer.sub(row, self.base), high.stride * self.strides[1]),
                            writer.mul(pixel, wide.stride * self.strides[2]))
        place = writer.add(self.pixel, writer.mul(writer.add(writer.mul(row, high.place_step), high.place_first),
                                                  part.place_strides[1]))
        place = writer.add(place, writer.add(writer.mul(pixel, wide.place_step), wide.place_first))
        tile = self._constants(height, width, ranges, valid)
        out = writer.at(self.out, writer.add(writer.mul(place, self.channels), channel))
        function = emit_tile(self.module, tile, self.target)
        zero = ir.IntType(1)(0)
        pixels = part.pixels  # of a tile's row, each a row of the epilogue
        step, columns, apart = (1, self.channels,
                                self.channels) if pixels > 1 else (wide.place_step, valid, self.out_step)
        numbers = [[writer.add(place, sample * self.places), step, channel, height * width * pixels]
                   for sample in range(self.samples)]
        if getattr(self.epilogue, "reads_ahead", False):
            ahead = emit_ahead(self.module, self.name, part.dtype, columns, self.epilogue, len(self.extras),
                               self.target)
            for rows in numbers:
                writer.builder.call(ahead, [*map(constant, rows), *self.extras])
        counts: list[Index] = []
        for axis, position, loop in zip(self._cut_axes(), (self.plane, row)[-len(self._cut_axes()):], tile.loops,
                                        strict=False):
            skipped, count = taps_inside(writer, axis, position)
            left, right = writer.at(left, writer.mul(skipped, loop[1])), writer.at(right, writer.mul(skipped, loop[2]))
            counts.append(count)
        count, *further = counts or [tile.loops[0][0]]
        writer.builder.call(function, [writer.at(left, offset), right, out, constant(count), zero,
                                       *map(constant, further)])
        if self.epilogue:
            finish = emit_finish(self.module, self.name, part.dtype, apart, columns, self.epilogue, len(self.extras),
                                 self.target)
            for sample, rows in enumerate(numbers):
                here = writer.at(out, sample * self.places * self.channels)
                writer.builder.call(finish, [here, *map(constant, rows), *self.extras])

    def _cut_axes(self) -> tuple[Axis, ...]:
        """The axes whose loop over the taps leaves some out; the number of its rounds is an argument of the tile."""
        deep, high, _ = self.part.axes
        if not self.lines.cut or (deep.inside and high.inside):
            return ()
        return (high,) if deep.inside and deep.taps == 1 else (deep, high)

    def _constants(self, height: int, width: int, ranges: tuple[tuple[int, int], ...], valid: int) -> Tile:
        part, strides, samples = self.part, self.strides, range(self.samples)
        deep, high, wide = part.axes
        depth = strides[0] * (deep.dilation if self.direct else 1)
        steps = (depth, high.dilation * strides[1], wide.dilation * strides[2])
        loops = [(axis.taps, step, tap) for axis, step, tap in zip(part.axes, steps, part.tap_steps, strict=True)]
        apart = deep.source * part.source_strides[0]  # the samples of a tile; a pixel of all of them, then the next
        offsets = tuple(row * high.stride * strides[1] + pixel * wide.stride * strides[2] + sample * apart
                        for row in range(height) for pixel in range(width) for sample in samples)
        rows_at = tuple(pixel * self.out_step + sample * self.places * self.channels for pixel in range(width)
                        for sample in samples)
        ranges = tuple((first * self.samples, last * self.samples) for first, last in ranges)
        lanes = self.writer.lanes
        tail, last = valid % lanes, (part.inside, 1, part.channel_step)
        if self.dotted:
            tail, last = 0, (part.inside // lanes, lanes, lanes)
        taps: tuple[tuple[int, int, int, int], ...] = ()
        if self.swept or any(span != (0, len(offsets)) for span in ranges):
            taps = tuple((tap * loops[2][1], tap * loops[2][2], *span) for tap, span in enumerate(ranges))
        cut = len(self._cut_axes())
        outer, inner = tuple(loops[2 - cut:2]), [*loops[:2 - cut], *([] if taps else loops[2:])]
        nest = (*outer, *(simplify(inner) if any(count != 1 for count, _, _ in inner) else ()), last) if taps else (
            *outer, *simplify([*inner, last]))
        vectors = part.columns if self.dotted else -(-valid // lanes)
        return Tile(part.dtype, offsets, vectors, nest, self.out_step, tail, tail, part.lanewise, factors_of(part),
                    part.pairs, taps, part.inside if self.dotted else 0, self.swept,
                    rows_at if self.samples > 1 else (), open=max(1, cut))
