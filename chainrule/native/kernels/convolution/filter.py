# SPDX-License-Identifier: Apache-2.0
"""The gradient of a convolution's weights: w'[t, i, c] = sum over samples and pixels x[reached, i] * g[pixel, c].

In: the forward correlation. Out: one or two LLVM functions. The rows of the register tile are weights (taps of one
kernel row and their channels lie next to each other in x), its reduction runs over pixels. The law: the batch is cut
into blocks whose number the shape alone fixes, every block sums into its own copy, and a second phase adds the copies
in order; so the number of threads never changes a bit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...llvm.writer import INDEX, POINTER, Index, Writer, constant, copy_elements, open_function
from ...target import Target
from ..tile import Tile, emit_tile, simplify, split, tile_rows
from .correlate import copy_padded_line, inside_axis, pixels_inside
from .geometry import GAIN, Correlation, choose_vectors, factors_of, segments_of, tile_columns

BLOCKS = 8  # copies of the result, so also how many threads find work of their own
COPIES_BYTES = 1 << 21  # that all copies may take
CHUNK_BYTES = 1 << 17  # of padded samples that one thread keeps in its L2 cache
LONG_RUN = 16  # channels from which a tile needs no second tap
FEW_TAPS = 9  # of a plane whose edges are worth code of their own
MOST_TAPS = 25  # rows of one tile where lanes run through the groups
ENOUGH_PIXELS = 192  # that a tile sums over before it is stored


@dataclass(frozen=True)
class FilterPlan:
    """How the sum over the batch and the rows of the result are cut; `runs` are rows that lie next to each other in x.
    """

    blocks: int
    chunk: int  # samples that one tile sums over
    vectors: int
    run: int  # rows per run
    runs: tuple[tuple[int, int], ...]  # per tap axis that separates runs: (count, source step)
    together: bool  # several runs of the last of these axes make one tile
    tiles: int
    size: int  # runs (together) or rows per tile; the first `tall` have one more
    tall: int
    parts: int  # pieces of the result that different threads may take
    # so few columns that lanes run along the rows; the copies are (line of runs, column, row) then
    turned: bool = False

    @property
    def copies(self) -> int:
        """How many copies of the result there are beside itself."""
        return self.blocks if self.blocks > 1 or self.turned else 0

    @property
    def lines(self) -> int:
        """How many groups of runs there are for the outer axes."""
        total = 1
        for count, _ in self.runs[:-1] if self.together else self.runs:
            total *= count
        return total


def plan_filter(part: Correlation, target: Target) -> FilterPlan:
    """The cut of a filter gradient."""
    strides = padded_strides(part)
    plane = rows_of_lanes(part, target)
    vectors = (1 if plane or factors_of(part) != (1, 1)
               else choose_vectors(-(-part.columns // target.lanes(part.dtype)), target))
    limit = tile_rows(target, vectors)
    wide = part.axes[2]
    joined = part.groups == 1 and wide.dilation == 1 and not part.lanewise and not cut(part)
    run = 1 if plane else part.inside * (wide.taps if joined else 1)
    runs = tuple((axis.taps, axis.dilation * stride)
                 for axis, stride in zip(part.axes[:3 - joined], strides[1:], strict=False))
    runs = (*runs[:3 - axes_in_tile(part, target)], (len(plane), 0)) if plane else runs
    turned = gains_by_turning(part, run, target)
    together = not turned and (bool(plane) or 0 < 2 * run <= limit)
    tiles, size, tall = (1, len(plane),
                         0) if plane else split(runs[-1][0], limit // run) if together else split(run, limit)
    copy = result_size(part) * (8 if part.dtype == "float64" else 4)
    blocks = max(1, min(part.batch, BLOCKS, COPIES_BYTES // max(1, copy)))
    samples = max(1, -(-part.batch // blocks))
    pixels = part.axes[0].out * part.axes[1].out * part.axes[2].out
    fits = max(CHUNK_BYTES // max(1, strides[0] * 4), -(-ENOUGH_PIXELS // pixels))
    chunk = samples if edged(part) else max(1, min(samples, fits))
    plan = FilterPlan(blocks, chunk, vectors, run, runs, together, tiles, size, tall, 1, turned)
    parts = min(max(1, plan.lines * column_tiles(part, vectors, target)), -(-BLOCKS // blocks))
    return dataclasses.replace(plan, parts=parts)


def gains_by_turning(part: Correlation, run: int, target: Target) -> bool:
    """Whether fewer lanes are idle if they run along the rows of a run, and the columns are the rows of the tile."""
    lanes = target.lanes(part.dtype)
    if part.groups > 1 or part.lanewise or part.pairs or part.copied or part.columns > lanes // 2:
        return False
    return run >= GAIN * -(-run // lanes) * part.columns


def cut(part: Correlation) -> bool:
    """Whether all rows of a tile have one tap, so that pixels whose tap is beyond the edge can be left out of its
    loops."""
    return not (part.direct or part.copied or part.lanewise or part.pairs) and part.inside >= LONG_RUN


def in_place(part: Correlation) -> bool:
    """Whether the tiles read the source where it lies."""
    return part.direct or cut(part) or edged(part)


def edged(part: Correlation) -> bool:
    """Whether a tile has all taps of a plane, and leaves out those beyond the edge pixel by pixel."""
    deep, high, wide = part.axes
    possible = part.lanewise and not (part.direct or part.copied) and deep.taps == 1 and deep.inside
    return possible and high.taps * wide.taps <= FEW_TAPS and 1 < high.taps * wide.taps * part.inside <= MOST_TAPS


def most_rows(part: Correlation, target: Target) -> int:
    """Rows of one tile where lanes run through the groups; those of one channel are cut where there are few registers.
    """
    return min(MOST_TAPS, target.registers - 3) if part.inside == 1 else MOST_TAPS


def axes_in_tile(part: Correlation, target: Target) -> int:
    """How many of the last axes have all their taps in one tile, where lanes run through the groups."""
    _, high, wide = part.axes
    most = most_rows(part, target)
    if high.taps * wide.taps * part.inside <= most or factors_of(part) == (1, 1):
        return 2
    return int(wide.taps * part.inside <= most)


def rows_of_lanes(part: Correlation, target: Target) -> tuple[int, ...]:
    """Where the rows of a tile read, if lanes run through the groups: taps, and the channels of a group; nothing where
    that
    would be one row, or too many."""
    _, high, wide = part.axes
    _, _, line, pixel = padded_strides(part)
    axes = axes_in_tile(part, target)
    rows, taps = range(high.taps if axes == 2 else 1), range(wide.taps if axes else 1)
    if not part.lanewise or not 1 < len(rows) * len(taps) * part.inside <= most_rows(part, target):
        return ()
    return tuple(row * high.dilation * line + tap * wide.dilation * pixel + channel
                 for row in rows for tap in taps for channel in range(part.inside))


def column_tiles(part: Correlation, vectors: int, target: Target) -> int:
    """Column tiles of all groups."""
    return part.groups * -(-part.columns // tile_columns(part, vectors, target.lanes(part.dtype)))


def padded_strides(part: Correlation) -> tuple[int, int, int, int]:
    """Elements from one sample, plane, line and pixel of what the tiles read to the next."""
    pixel = part.source_strides[2]
    extents = [axis.source if in_place(part) else axis.reach(axis.out) for axis in part.axes]
    line = extents[2] * pixel
    return extents[0] * extents[1] * line, extents[1] * line, line, pixel


def result_size(part: Correlation) -> int:
    """Elements of the gradient."""
    size = part.inside * part.groups * part.columns
    for axis in part.axes:
        size *= axis.taps
    return size


def cache_lines(elements: int) -> int:
    """So many elements rounded up to whole cache lines."""
    return -(-elements // 16) * 16


def filter_scratch(part: Correlation, target: Target, threads: int) -> int:
    """Elements of scratch that all threads together need."""
    if part.empty:
        return 0
    plan = plan_filter(part, target)
    return plan.copies * cache_lines(result_size(part)) + threads * _thread_scratch(part, plan)


def _thread_scratch(part: Correlation, plan: FilterPlan) -> int:
    return 0 if in_place(part) else cache_lines(plan.chunk * padded_strides(part)[0])


def emit_filter_gradient(module: ir.Module, name: str, part: Correlation, target: Target) -> list[ir.Function]:
    """Functions ``void (x, gradient of y, gradient of w, scratch, i64 thread, i64 threads)``, with barriers between."""
    function, writer = open_function(module, name, ARGUMENTS, part.dtype, target)
    source, gradient, out, scratch, thread, threads = function.args
    if part.empty:
        _share_copy(writer, None, out, result_size(part), thread, threads)
        writer.builder.ret_void()
        return [function]
    plan = plan_filter(part, target)
    partial = scratch if plan.copies else out
    shared = plan.copies * cache_lines(result_size(part))
    mine = writer.at(scratch, writer.add(shared, writer.mul(thread, _thread_scratch(part, plan))))
    _Filter(writer, part, plan, (source, gradient, partial, mine)).emit(thread, threads)
    writer.builder.ret_void()
    return [function, emit_sum(module, f"{name}_sum", part, plan, target)] if plan.copies else [function]


ARGUMENTS = [("source", POINTER), ("gradient", POINTER), ("out", POINTER), ("scratch", POINTER), ("thread", INDEX),
              ("threads", INDEX)]


def _share_copy(writer: Writer, source: ir.Value | None, out: ir.Value, size: int, thread: Index,
                threads: Index) -> None:
    begin, end = writer.share(size, thread, threads)
    copy_elements(writer, source, writer.at(out, begin), writer.sub(end, begin))


def emit_sum(module: ir.Module, name: str, part: Correlation, plan: FilterPlan, target: Target) -> ir.Function:
    """The second phase: the copies of all blocks are added in the order of the blocks."""
    function, writer = open_function(module, name, ARGUMENTS, part.dtype, target)
    _, _, out, copies, thread, threads = function.args
    size = result_size(part)
    if plan.turned:
        _sum_turned(writer, part, plan, out, copies, writer.share(size, thread, threads))
        writer.builder.ret_void()
        return function
    pieces = -(-size // writer.lanes)
    begin, end = writer.share(pieces, thread, threads)
    # The copies are padded to whole cache lines, so only the store of the very last vector needs a mask.

    def add(piece: Index, mask: ir.Value | None) -> None:
        place = writer.mul(piece, writer.lanes)
        total = writer.load_vector(writer.at(copies, place))
        for block in range(1, plan.blocks):
            other = writer.load_vector(writer.at(copies, writer.add(place, block * cache_lines(size))))
            total = writer.builder.fadd(total, other)
        writer.store_vector(total, writer.at(out, place), mask)

    with writer.loop(begin, writer.minimum(end, size // writer.lanes)) as piece:
        add(piece, None)
    if size % writer.lanes:
        with writer.builder.if_then(writer.builder.icmp_signed("==", end, constant(pieces))), \
                writer.builder.if_then(writer.less(begin, end)):
            add(pieces - 1, writer.mask(size % writer.lanes))
    writer.builder.ret_void()
    return function


def _sum_turned(writer: Writer, part: Correlation, plan: FilterPlan, out: ir.Value, copies: ir.Value,
                share: tuple[Index, Index]) -> None:
    """The same where each copy is (line of runs, column, row) and the result (line of runs, row, column)."""
    with writer.loop(*share) as number:
        line, row, column = writer.unravel(number, (plan.lines, plan.run, part.columns))
        place = writer.dot((line, column, row), (plan.run * part.columns, plan.run, 1))
        total = writer.load(writer.at(copies, place))
        for block in range(1, plan.blocks):
            total = writer.builder.fadd(
                total, writer.load(writer.at(copies, writer.add(place, block * cache_lines(result_size(part)))))
            )
        writer.store(total, writer.at(out, number))


class _Filter:
    """One filter gradient being written: (block, part) units, then chunks of samples, column tiles and row tiles."""

    def __init__(self, writer: Writer, part: Correlation, plan: FilterPlan, pointers: tuple[ir.Value, ...]):
        self.writer, self.part, self.plan = writer, part, plan
        self.module, self.target = writer.module, writer.target
        self.source, self.gradient, self.out, self.scratch = pointers
        self.strides = padded_strides(part)
        self.channels = part.groups * part.columns
        self.pixels = part.axes[0].out * part.axes[1].out * part.axes[2].out
        self.kind: ir.Type | None = None  # of the operands' elements, if not that of the result

    def emit(self, thread: Index, threads: Index) -> None:
        writer, part, plan = self.writer, self.part, self.plan
        with writer.loop(*writer.share(plan.blocks * plan.parts, thread, threads)) as unit:
            block, self.piece = writer.divide(unit, plan.parts)
            self.copy = writer.at(self.out, writer.mul(block, cache_lines(result_size(part))) if plan.copies else 0)
            first, last = writer.share(part.batch, block, plan.blocks)
            with writer.loop(first, last, plan.chunk) as sample:
                self.count = writer.minimum(plan.chunk, writer.sub(last, sample))
                self.accumulate = writer.less(first, sample)
                image = writer.at(self.source, writer.mul(sample, part.axes[0].source * part.source_strides[0]),
                                  self.kind)
                left = self._direct(image) if in_place(part) else self._padded(image)
                self._jobs(left, self._right(sample))

    def _right(self, sample: Index) -> ir.Value:
        """The gradient of y of a chunk of samples."""
        return self.writer.at(self.gradient, self.writer.mul(sample, self.pixels * self.channels))

    def _direct(self, image: ir.Value) -> ir.Value:
        lows = zip(self.part.axes, self.part.source_strides, strict=True)
        return self.writer.at(image, sum(-axis.low * stride for axis, stride in lows))

    def _padded(self, image: ir.Value) -> ir.Value:
        """Copy a chunk of samples, with the zeros around them, into scratch."""
        writer, (deep, high, wide), natural = self.writer, self.part.axes, self.part.source_strides
        planes, rows = deep.reach(deep.out), high.reach(high.out)
        with writer.loop(0, writer.mul(self.count, planes * rows)) as line:
            sample, plane, row = writer.unravel(line, (0, planes, rows))
            depth, height = writer.sub(plane, deep.low), writer.sub(row, high.low)
            offset = writer.dot((sample, depth, height), (deep.source * natural[0], natural[0], natural[1]))
            exists = writer.builder.and_(inside_axis(writer, depth, deep), inside_axis(writer, height, high))
            destination = writer.at(self.scratch, writer.mul(line, self.strides[2]))
            copy_padded_line(writer, wide, natural[2], writer.at(image, offset), destination, exists)
        return self.scratch

    def _jobs(self, left: ir.Value, right: ir.Value) -> None:
        """The lines of this part, for each column tile of each group."""
        writer, part, plan = self.writer, self.part, self.plan
        if plan.turned:
            with writer.loop(*writer.share(plan.lines, self.piece, plan.parts)) as line:
                self._turned_line(line, left, right)
            return
        width = tile_columns(part, plan.vectors, writer.lanes)
        whole, rest = divmod(part.columns, width)
        for first, tiles, valid in ((0, whole, width), (whole * width, int(rest > 0), rest)):
            if not tiles:
                continue
            begin, end = writer.share(plan.lines * part.groups * tiles, self.piece, plan.parts)
            with writer.loop(begin, end) as job:
                group, tile, line = writer.unravel(job, (part.groups, tiles, plan.lines))
                column = writer.add(writer.mul(tile, width), first)
                self._line(line, group, column, valid, left, right)

    def _line(self, line: Index, group: Index, column: Index, valid: int, left: ir.Value, right: ir.Value) -> None:
        writer, part, plan = self.writer, self.part, self.plan
        outer = plan.runs[:-1] if plan.together else plan.runs
        places = self.taps = writer.unravel(line, [count for count, _ in outer])
        channel = writer.add(writer.mul(group, part.columns), column)
        first = writer.mul(writer.divide(column, part.shared)[0] if part.lanewise else group, part.inside)
        left = writer.at(left, writer.add(first, writer.dot(places, [step for _, step in outer])))
        right = writer.at(right, channel)
        rows = plan.run * (plan.runs[-1][0] if plan.together else 1)
        out = writer.at(self.copy, writer.add(writer.mul(line, rows * self.channels), channel))
        for begin, end, size, shift in ((0, plan.tall, plan.size + 1, 0),
                                        (plan.tall, plan.tiles, plan.size, plan.tall)):
            if begin < end:
                with writer.loop(begin, end) as tile:
                    self._tile(writer.add(writer.mul(tile, size), shift), size, valid, left, right, out)

    def _turned_line(self, line: Index, left: ir.Value, right: ir.Value) -> None:
        """One run, cut into tiles of a few vectors of its rows, with all columns."""
        writer, part, plan = self.writer, self.part, self.plan
        self.taps = writer.unravel(line, [count for count, _ in plan.runs])
        left = writer.at(left, writer.dot(self.taps, [step for _, step in plan.runs]))
        out = writer.at(self.copy, writer.mul(line, plan.run * part.columns))
        tiles, size, tall = split(-(-plan.run // writer.lanes),
                                  max(1, (self.target.registers - 2) // (part.columns + 1)))
        first = 0
        for tile in range(tiles):
            valid = min((size + (tile < tall)) * writer.lanes, plan.run - first)
            constants = self._constants(1, valid)
            loops = tuple((count, right_step, left_step) for count, left_step, right_step in constants.loops)
            turned = dataclasses.replace(constants, offsets=tuple(range(part.columns)), loops=loops, out_step=plan.run)
            self._call(turned, constants, writer.at(left, first), right, writer.at(out, first))
            first += valid

    def _tile(self, start: Index, size: int, valid: int, left: ir.Value, right: ir.Value, out: ir.Value) -> None:
        writer, plan = self.writer, self.plan
        step, rows = (plan.runs[-1][1], plan.run) if plan.together else (1, 1)
        constants = self._constants(size, valid)
        left = writer.at(left, writer.mul(start, step))
        self._call(constants, constants, left, right, writer.at(out, writer.mul(start, rows * self.channels)))

    def _call(self, tile: Tile, constants: Tile, left: ir.Value, right: ir.Value, out: ir.Value) -> None:
        """Call a tile, or its turned form, on the pixels whose tap is inside the image."""
        writer, counts = self.writer, list[ir.Value]()
        for number, (_, left_step, right_step) in zip(self._open_axes(), constants.loops[1:], strict=False):
            first, count = pixels_inside(writer, self.part.axes[number], self.taps[number])
            left, right = writer.at(left, writer.mul(first, left_step)), writer.at(right, writer.mul(first, right_step))
            counts.append(constant(count))
        operands = [right, left] if self.plan.turned else [left, right]
        function = emit_tile(self.module, tile, self.target)
        writer.builder.call(function, [*operands, out, constant(self.count), self.accumulate, *counts])

    def _open_axes(self) -> list[int]:
        """The axes whose loop over the pixels leaves out those whose tap is beyond the edge."""
        part, plan = self.part, self.plan
        if cut(part):
            return [number for number, axis in enumerate(part.axes) if axis.out > 1 or not axis.inside]
        number = 0 if part.axes[0].taps > 1 else 1  # all rows of a tile have the same tap along this one
        alone = number < len(plan.runs) - plan.together and not (number == 0 and part.axes[0].out == 1)
        return [number] if alone and not part.axes[number].inside and part.axes[number].out > 1 else []

    def _constants(self, size: int, valid: int) -> Tile:
        part, plan = self.part, self.plan
        if plane := rows_of_lanes(part, self.target):
            offsets = plane
        elif plan.together:
            offsets = tuple(run * plan.runs[-1][1] + row for run in range(size) for row in range(plan.run))
        else:
            offsets = tuple(range(size))
        _, high, wide = part.axes
        steps = [axis.stride * stride for axis, stride in zip(part.axes, self.strides[1:], strict=True)]
        rights = (high.out * wide.out * self.channels, wide.out * self.channels, self.channels)
        loops = list(zip([axis.out for axis in part.axes], steps, rights, strict=True))
        numbers = self._open_axes()
        kept = [loops[number] for number in numbers]
        inner = simplify([loop for number, loop in enumerate(loops) if number not in numbers])
        inner = () if inner == ((1, 0, 0),) else inner
        segments: Any = ((), ())
        if edged(part):
            inner, rows = (tuple(loops),
                           lambda taps, apart, alike: tuple(tap * apart + row for tap in taps for row in range(alike)))
            segments = tuple(tuple((first, count, rows(taps, apart, alike)) for first, count, taps in segments_of(axis))
                             for axis, apart, alike in ((high, wide.taps * part.inside, 1),
                                                        (wide, part.inside, part.inside)))
        tail = valid % self.writer.lanes
        nest = ((0, self.strides[0], self.pixels * self.channels), *kept, *inner)
        return Tile(part.dtype, offsets, -(-valid // self.writer.lanes), nest, self.channels, tail, tail, part.lanewise,
                    factors_of(part), part.pairs, segments=segments, open=1 + len(kept))
