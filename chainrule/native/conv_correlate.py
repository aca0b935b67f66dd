# SPDX-License-Identifier: Apache-2.0
"""The dense correlation behind the forward convolution and the gradient of its input.

In: three axes with stride, dilation and padding, and where weights and results lie. Out: code that walks over units
(sample, plane, band of output lines) and fills each with register tiles. The law: a line of pixels is cut into the fewest
tiles whose widths differ by at most one, short lines are put together into one tile, so no pixel is computed twice. Where
the kernel reaches over the edge, the taps beyond it are left out: lines of taps by the count of a loop, single taps by
tiles of their own for the ends of a line. Only where short lines are put together, the thread first copies the band with
its zeros into its own scratch.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass

from llvmlite import ir

from chainrule.native.kernel_build import Index, Writer, constant, copy_elements
from chainrule.native.kernel_finish import Epilogue, emit_ahead, emit_finish
from chainrule.native.kernel_tile import ENOUGH, Tile, emit_tile, simplify, split, tile_rows
from chainrule.native.target import Target

ENOUGH_UNITS = 16
BAND_BYTES = 1 << 17  # of padded copy that one thread keeps in its second cache level
MOST_SWEPT = 8  # taps of a line that stay in registers where channels are lanes on both sides
WIDEST_SWEEP = 24


@dataclass(frozen=True)
class Axis:
    """One axis: output position o reads source positions o * stride + tap * dilation - low.

    The result of position o is put at o * place_step + place_first of an axis of `place_extent` (default: out) positions.
    """

    source: int
    out: int
    stride: int = 1
    taps: int = 1
    dilation: int = 1
    low: int = 0
    place_step: int = 1
    place_first: int = 0
    place_extent: int = -1

    @property
    def extent(self) -> int:
        """How long the axis of the result is."""
        return self.out if self.place_extent < 0 else self.place_extent

    def reach(self, positions: int) -> int:
        """How many source positions a run of output positions touches."""
        return (positions - 1) * self.stride + (max(1, self.taps) - 1) * self.dilation + 1

    @property
    def inside(self) -> bool:
        """True: no tap ever leaves the source."""
        return self.low <= 0 and self.reach(self.out) - self.low <= self.source


@dataclass(frozen=True)
class Correlation:
    """One correlation; strides of the weights count elements, columns lie next to each other."""

    dtype: str
    batch: int
    axes: tuple[Axis, Axis, Axis]
    groups: int
    inside: int  # channels that are summed, per group
    columns: int  # channels that are made, per group
    tap_steps: tuple[int, int, int]
    first_tap: int  # offset of the first tap
    channel_step: int
    group_step: int
    lanewise: bool = False  # so narrow groups that lanes run through several of them: `columns` are those of all, `groups` is 1
    shared: int = 1  # lanewise: columns of one group, which read the same channels; 1 and `inside` 1: a depthwise kernel
    repeats: tuple[int, int, int] = (1, 1, 1)  # the same again with results one place further and other taps, per axis
    repeat_steps: tuple[int, int, int] = (0, 0, 0)  # elements of the weights from one repeat to the next
    steps: tuple[int, int, int] | None = None  # source strides, where they are not those of dense axes
    pairs: bool = False  # elements of source and weights are pairs of bfloat16
    copied: bool = False  # the source is never read where it lies

    @property
    def empty(self) -> bool:
        """True: there is nothing to compute."""
        return not (self.batch and self.columns and all(axis.out for axis in self.axes))

    @property
    def direct(self) -> bool:
        """True: the source can be read where it lies."""
        return not self.copied and all(axis.inside for axis in self.axes)

    @property
    def source_strides(self) -> tuple[int, int, int]:
        """Elements from one position of the source to the next, per axis."""
        if self.steps:
            return self.steps
        pixel = self.columns // self.shared * self.inside if self.lanewise else self.inside * self.groups
        return (self.axes[1].source * self.axes[2].source * pixel, self.axes[2].source * pixel, pixel)

    @property
    def place_strides(self) -> tuple[int, int, int]:
        """Pixels from one position of the result to the next, per axis."""
        return (self.axes[1].extent * self.axes[2].extent, self.axes[2].extent, 1)


def groups_in_lanes(inside: int, columns: int, lanes: int) -> int:
    """How many groups, of so many channels summed and made, find room in the lanes of one vector and their factors in another."""
    return min(lanes // columns, (lanes - 1) // inside + 1) if inside and columns else 0


def tile_columns(part: Correlation, vectors: int, lanes: int) -> int:
    """How many columns a whole tile of so many vectors has."""
    return vectors * lanes if factors_of(part) == (1, 1) else groups_in_lanes(part.inside, part.shared, lanes) * part.shared


def fold_samples(part: Correlation) -> Correlation:
    """The same correlation with the samples as its lines, if every sample has one line only and nothing is repeated."""
    deep, high, wide = part.axes
    plain = all(axis.extent == axis.out for axis in part.axes) and part.repeats == (1, 1, 1)
    if not plain or high.out != 1 or (deep.source, deep.taps, deep.out) != (1, 1, 1) or part.batch == 1:
        return part
    _, line, pixel = part.source_strides
    return dataclasses.replace(part, batch=1, axes=(high, Axis(part.batch, part.batch), wide),
                               tap_steps=(part.tap_steps[1], 0, part.tap_steps[2]),
                               steps=(line, high.source * line, pixel))


def factors_of(part: Correlation) -> tuple[int, int]:
    """(how far apart the factors of neighbouring groups lie, how many lanes share one) in a tile."""
    return (part.inside, part.shared) if part.lanewise else (1, 1)


# ---- the plan

@dataclass(frozen=True)
class Lines:
    """How the pixels of a plane become tiles: `together` lines make one tile, or one line is cut into tiles."""

    vectors: int
    together: bool
    lines: int
    size: int  # image lines per line (together) or pixels per tile; the first `tall` have one more
    tall: int
    tiles: int  # per line
    bands: int
    lines_per_band: int
    cut: bool  # taps beyond the edge are left out, else the source is copied with zeros around it if there are any
    samples: tuple[int, int, int]  # (tiles, size, tall) of the batch: short lines of several samples make one tile


def choose_vectors(columns: int, target: Target) -> int:
    """How many vectors wide a tile is, for `columns` vectors of columns in all."""
    if columns <= 3:
        return max(1, columns)
    return 3 if columns % 2 and columns % 3 == 0 else 2


def plan_lines(part: Correlation, target: Target) -> Lines:
    """The cut of a correlation that is not empty."""
    _, high, wide = part.axes
    lanes = target.lanes(part.dtype)
    swept = _swept(part, lanes)
    vectors = 1 if swept or factors_of(part) != (1, 1) else choose_vectors(-(-part.columns // lanes), target)
    limit = min(WIDEST_SWEEP, target.registers - wide.taps - 2) if swept else tile_rows(target, vectors)
    limit = lanes // part.columns if dotted(part, lanes) else limit
    together = 2 * wide.out <= limit and (wide.place_step, wide.extent, high.place_step) == (1, wide.out, 1)
    together = together and (high.inside or wide.out * vectors < ENOUGH)  # taps beyond the edge are left out line by line
    if together:
        lines, size, tall = split(high.out, limit // wide.out)
        tiles = 1
    else:
        lines = high.out
        tiles, size, tall = split(wide.out, limit)
    cut = not part.direct and not together and all(axis.taps for axis in part.axes)
    cut = cut and (part.lanewise or part.inside > 1)  # an image of one channel is copied at next to no cost
    joined = (part.direct or cut) and tiles == 1 and not together and not part.lanewise and not dotted(part, lanes)
    samples = split(part.batch, max(1, limit // wide.out) if joined else 1)
    units = samples[0] * part.axes[0].out * math.prod(part.repeats)
    bands = max(1, -(-ENOUGH_UNITS // units))
    if not part.direct and not cut:
        line_bytes = part.axes[0].taps * wide.reach(wide.out) * part.source_strides[2] * 4
        bands = max(bands, -(-high.reach(high.out) * line_bytes // BAND_BYTES))
    per_band = -(-lines // min(bands, lines))
    return Lines(vectors, together, lines, size, tall, tiles, -(-lines // per_band), per_band, cut, samples)


def dotted(part: Correlation, lanes: int) -> bool:
    """Whether there are so few columns that lanes run along the sum instead."""
    taps = math.prod(axis.taps for axis in part.axes)
    if part.groups > 1 or part.lanewise or part.pairs or part.inside % lanes or not taps:
        return False
    rows = lanes // max(1, part.columns)
    return rows > 1 and 1.3 * (taps * part.inside // lanes * rows * part.columns + 5 * lanes) < taps * part.inside * rows


def _packed_weights(part: Correlation, lanes: int) -> int:
    """Elements of scratch for weights whose sums run through the lanes."""
    size = math.prod(axis.taps for axis in part.axes) * math.prod(part.repeats) * part.columns * part.inside
    return -(-size // 16) * 16 if dotted(part, lanes) else 0


def _swept(part: Correlation, lanes: int) -> bool:
    """Whether the tiles keep the taps of a line in registers: where a tile is one vector wide, most of its loads are factors."""
    wide = part.axes[2]
    if part.lanewise:
        return 1 <= wide.taps <= MOST_SWEPT
    shared = wide.stride // math.gcd(wide.stride, wide.dilation) < wide.taps
    return shared and 1 < wide.taps <= MOST_SWEPT and part.columns <= lanes and not part.pairs and not dotted(part, lanes)


def _ranges(wide: Axis, start: int, width: int) -> tuple[tuple[int, int], ...]:
    """For each tap, the (first, last) pixels of a tile at `start` from which it reads inside the source."""
    result = []
    for tap in range(wide.taps):
        reached = [(start + pixel) * wide.stride + tap * wide.dilation - wide.low for pixel in range(width)]
        inside = [pixel for pixel, place in enumerate(reached) if 0 <= place < wide.source]
        result.append((inside[0], inside[-1] + 1) if inside else (0, 0))
    return tuple(result)


def segments_of(axis: Axis) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Runs of output positions with the same taps inside the source: (first, how many, the taps)."""
    taps = lambda place: tuple(t for t in range(axis.taps) if 0 <= place * axis.stride + t * axis.dilation - axis.low < axis.source)
    runs = [(found, list(places)) for found, places in itertools.groupby(range(axis.out), taps)]
    return tuple((places[0], len(places), found) for found, places in runs)


def _band_height(part: Correlation, lines: Lines) -> int:
    """Source lines that the largest band touches."""
    high = part.axes[1]
    positions = lines.lines_per_band * (lines.size + bool(lines.tall)) if lines.together else lines.lines_per_band
    return high.reach(min(positions, high.out))


def correlation_scratch(part: Correlation, target: Target) -> int:
    """Elements of scratch that one thread needs."""
    if part.empty:
        return 0
    wide, lines, weights = part.axes[2], plan_lines(part, target), _packed_weights(part, target.lanes(part.dtype))
    if part.direct or lines.cut:
        return weights
    height = _band_height(part, lines)
    size = max(1, part.axes[0].taps) * height * wide.reach(wide.out) * part.source_strides[2]
    return weights + -(-size // 16) * 16


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
    start = writer.sub(axis.low, writer.mul(tap, axis.dilation))  # of the source, seen from where the tap reads at first
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
        self.dotted, self.swept = dotted(part, writer.lanes), _swept(part, writer.lanes)
        if self.dotted:
            self.part = part = self._pack()
        self.width = tile_columns(part, self.lines.vectors, writer.lanes)
        self.channels = part.groups * part.columns
        self.out_step = part.axes[2].place_step * self.channels
        self.places = part.axes[0].extent * part.place_strides[0]  # of the result from one sample to the next
        self.strides = part.source_strides
        self.direct = part.direct or self.lines.cut
        if not self.direct:
            line = part.axes[2].reach(part.axes[2].out) * self.strides[2]
            self.strides = (_band_height(part, self.lines) * line, line, self.strides[2])
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
        self.weights, self.scratch = self.scratch, writer.at(self.scratch, _packed_weights(part, writer.lanes))
        packed = [math.prod(extents[i + 1:]) for i in range(6)]
        return dataclasses.replace(part, tap_steps=tuple(packed[3:]), repeat_steps=tuple(packed[:3]), first_tap=0, channel_step=1)

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
        rows = writer.add(writer.mul(writer.sub(writer.sub(self._row(last), self._row(first)), 1), high.stride), high.reach(1))
        with writer.loop(0, deep.taps) as tap:
            depth = writer.sub(writer.add(writer.mul(plane, deep.stride), writer.mul(tap, deep.dilation)), deep.low)
            with writer.loop(0, rows) as row:
                height = writer.sub(writer.add(top, row), high.low)
                offset = writer.add(writer.mul(depth, natural[0]), writer.mul(height, natural[1]))
                place = writer.add(writer.mul(tap, self.strides[0]), writer.mul(row, self.strides[1]))
                exists = writer.builder.and_(inside_axis(writer, depth, deep), inside_axis(writer, height, high))
                copy_padded_line(writer, wide, natural[2], writer.at(image, offset), writer.at(self.scratch, place), exists)
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
        right = writer.at(self.weights, writer.add(writer.add(writer.mul(group, part.group_step), self.first_tap), column))
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
        kinds = [(width, _ranges(wide, start, width) if lines.cut else full(width)) for start, width in zip(starts, widths, strict=True)]
        tile = 0
        for (width, ranges), same in itertools.groupby(kinds):
            count, start = len(list(same)), starts[tile]
            tile += count
            if count == 1:
                self._tile(line, start, 1, width, ranges, left, right, channel, valid)
                continue
            with writer.loop(0, count) as number:
                self._tile(line, writer.add(writer.mul(number, width), start), 1, width, ranges, left, right, channel, valid)

    def _tile(self, row: Index, pixel: Index, height: int, width: int, ranges: tuple[tuple[int, int], ...], left: ir.Value,
              right: ir.Value, channel: Index, valid: int) -> None:
        if valid:
            self._tile_of(row, pixel, height, width, ranges, left, right, channel, valid)
            return
        writer, (whole, rest) = self.writer, divmod(self.part.columns, self.width)
        step = self.width // self.part.shared * self.part.inside  # of the channels that a tile reads

        def columns(number: Index, valid: int) -> None:
            first = writer.mul(number, self.width)
            self._tile_of(row, pixel, height, width, ranges, writer.at(left, writer.mul(number, step)), writer.at(right, first),
                          writer.add(channel, first), valid)
        if whole:
            with writer.loop(0, whole) as number:
                columns(number, self.width)
        if rest:
            columns(whole, rest)

    def _tile_of(self, row: Index, pixel: Index, height: int, width: int, ranges: tuple[tuple[int, int], ...], left: ir.Value,
                 right: ir.Value, channel: Index, valid: int) -> None:
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
        numbers = [[writer.add(place, sample * self.places), wide.place_step, channel, height * width] for sample in range(self.samples)]
        if getattr(self.epilogue, "reads_ahead", False):
            ahead = emit_ahead(self.module, self.name, part.dtype, valid, self.epilogue, len(self.extras), self.target)
            for rows in numbers:
                writer.builder.call(ahead, [*map(constant, rows), *self.extras])
        counts: list[Index] = []
        for axis, position, loop in zip(self._cut_axes(), (self.plane, row)[-len(self._cut_axes()):], tile.loops, strict=False):
            skipped, count = taps_inside(writer, axis, position)
            left, right = writer.at(left, writer.mul(skipped, loop[1])), writer.at(right, writer.mul(skipped, loop[2]))
            counts.append(count)
        count, *further = counts or [tile.loops[0][0]]
        writer.builder.call(function, [writer.at(left, offset), right, out, constant(count), zero, *map(constant, further)])
        if self.epilogue:
            finish = emit_finish(self.module, self.name, part.dtype, self.out_step, valid, self.epilogue, len(self.extras),
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
        rows_at = tuple(pixel * self.out_step + sample * self.places * self.channels for pixel in range(width) for sample in samples)
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
        return Tile(part.dtype, offsets, vectors, nest, self.out_step, tail, tail, part.lanewise, factors_of(part), part.pairs, taps,
                    part.inside if self.dotted else 0, self.swept,
                    rows_at if self.samples > 1 else (), open=max(1, cut))
