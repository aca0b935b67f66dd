# SPDX-License-Identifier: Apache-2.0
"""What a correlation is, and how its pixels and columns become register tiles.

In: three axes with stride, dilation and padding, and where weights and results lie. Out: the plan of `Lines`. Its laws:
a line of pixels is cut into the fewest tiles whose widths differ by at most one; short lines of one sample, or the same
short line of several samples, make one tile; lanes run along the columns, of several pixels where there are few of
them, through several groups where these are narrow, or along the sum. So no pixel is computed twice and few lanes are
idle.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass

from ...target import Target
from ..tile import ENOUGH, split, tile_rows

ENOUGH_UNITS = 16
BAND_BYTES = 1 << 17  # of padded copy that one thread keeps in its L2 cache
MOST_SWEPT = 8  # taps of a line that stay in registers where channels are lanes on both sides
WIDEST_SWEEP = 24
GAIN = 1.2  # from which it is worth to pack weights for several pixels
MANY_WEIGHTS = 1 << 19  # bytes from which the rows of a tile's columns lie on so many pages that each tile misses some


@dataclass(frozen=True)
class Axis:
    """One axis: output position o reads source positions o * stride + tap * dilation - low.

    The result of position o is put at o * place_step + place_first of an axis of `place_extent` (default: out)
    positions.
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
    # so narrow groups that lanes run through several of them: `columns` are those of all, `groups` is 1
    lanewise: bool = False
    # lanewise: columns of one group, which read the same channels; 1 and `inside` 1: a depthwise kernel
    shared: int = 1
    repeats: tuple[int, int, int] = (1, 1, 1)  # the same again with results one place further and other taps, per axis
    repeat_steps: tuple[int, int, int] = (0, 0, 0)  # elements of the weights from one repeat to the next
    steps: tuple[int, int, int] | None = None  # source strides, where they are not those of dense axes
    pairs: bool = False  # elements of source and weights are pairs of bfloat16
    copied: bool = False  # the source is never read where it lies
    # if not 0: elements from the weights of one tile's columns to the next's, which lie `tile_columns` wide
    panel: int = 0
    # that lie side by side in the columns, each with `columns / pixels` of them and the taps shifted by one
    pixels: int = 1

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


def side_by_side(part: Correlation, lanes: int) -> list[Correlation]:
    """The same with several pixels side by side in the lanes, if there are so few columns that this gains; and the rest
    of the lines.

    With k taps and m pixels the weights are a band of m + k - 1 taps, whose zeros cost (m + k - 1) / (m k) of what the
    lanes gain.
    """
    wide = part.axes[2]
    plain = (wide.stride, wide.dilation, wide.place_step, wide.place_first) == (1, 1, 1, 0) and wide.extent == wide.out
    if (
        not plain
        or part.groups > 1
        or part.lanewise
        or part.pairs
        or dotted(part, lanes)
        or math.prod(part.repeats) > 1
        or part.empty
    ):
        return [part]
    count = min(lanes // part.columns, MOST_SWEPT + 1 - wide.taps, wide.out)
    if count < 2 or count * wide.taps < GAIN * (count + wide.taps - 1):
        return [part]
    return [_beside(part, number, first, groups) for number, first, groups in (
        (count, 0, wide.out // count), (wide.out % count, wide.out - wide.out % count, 1)) if number]


def _beside(part: Correlation, count: int, first: int, groups: int) -> Correlation:
    """`groups` times `count` pixels of each line, from the pixel `first` on."""
    wide = part.axes[2]
    axis = Axis(wide.source, groups, count, wide.taps + count - 1, 1, wide.low - first, count, first, wide.extent)
    return dataclasses.replace(part, axes=(*part.axes[:2], axis), columns=part.columns * count, pixels=count)


def groups_in_lanes(inside: int, columns: int, lanes: int) -> int:
    """How many groups, of so many channels summed and made, find room in the lanes of one vector and their factors in
    another."""
    return min(lanes // columns, (lanes - 1) // inside + 1) if inside and columns else 0


def tile_columns(part: Correlation, vectors: int, lanes: int) -> int:
    """How many columns a whole tile of so many vectors has."""
    return (vectors * lanes if factors_of(part) == (1, 1) else groups_in_lanes(part.inside, part.shared, lanes)
            * part.shared)


def panel_columns(columns: int, weights: int, target: Target, dtype: str) -> int:
    """How wide panels of weights are, a tile's columns each, if the weights are so many bytes that their rows of all
    columns lie on
    many pages; else 0."""
    lanes = target.lanes(dtype)
    width = choose_vectors(-(-columns // lanes), target) * lanes
    return width if weights >= MANY_WEIGHTS and columns > width else 0


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
    swept = is_swept(part, lanes)
    vectors = 1 if swept or factors_of(part) != (1, 1) else choose_vectors(-(-part.columns // lanes), target)
    limit = min(WIDEST_SWEEP, target.registers - wide.taps - 2) if swept else tile_rows(target, vectors)
    limit = lanes // part.columns if dotted(part, lanes) else limit
    together = 2 * wide.out <= limit and (wide.place_step, wide.extent, high.place_step) == (1, wide.out, 1)
    # taps beyond the edge are left out line by line
    together = together and (high.inside or wide.out * vectors < ENOUGH)
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
    if part.groups > 1 or part.lanewise or part.pairs or part.pixels > 1 or part.inside % lanes or not taps:
        return False
    rows = lanes // max(1, part.columns)
    return (rows > 1 and 1.3 * (taps * part.inside // lanes * rows * part.columns + 5 * lanes) < taps * part.inside
            * rows)


def packed_weights(part: Correlation, lanes: int) -> int:
    """Elements of scratch for weights whose sums run through the lanes."""
    size = math.prod(axis.taps for axis in part.axes) * math.prod(part.repeats) * part.columns * part.inside
    return -(-size // 16) * 16 if part.pixels > 1 or dotted(part, lanes) else 0


def is_swept(part: Correlation, lanes: int) -> bool:
    """Whether the tiles keep the taps of a line in registers: where a tile is one vector wide, most of its loads are
    factors."""
    wide = part.axes[2]
    if part.lanewise:
        return 1 <= wide.taps <= MOST_SWEPT
    shared = wide.stride // math.gcd(wide.stride, wide.dilation) < wide.taps
    return (shared and 1 < wide.taps <= MOST_SWEPT and part.columns <= lanes and not part.pairs
            and not dotted(part, lanes))


def ranges_of(wide: Axis, start: int, width: int) -> tuple[tuple[int, int], ...]:
    """For each tap, the (first, last) pixels of a tile at `start` from which it reads inside the source."""
    result = []
    for tap in range(wide.taps):
        reached = [(start + pixel) * wide.stride + tap * wide.dilation - wide.low for pixel in range(width)]
        inside = [pixel for pixel, place in enumerate(reached) if 0 <= place < wide.source]
        result.append((inside[0], inside[-1] + 1) if inside else (0, 0))
    return tuple(result)


def segments_of(axis: Axis) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Runs of output positions with the same taps inside the source: (first, how many, the taps)."""
    taps = lambda place: tuple(t for t in range(axis.taps) if 0 <= place * axis.stride + t * axis.dilation - axis.low
                               < axis.source)
    runs = [(found, list(places)) for found, places in itertools.groupby(range(axis.out), taps)]
    return tuple((places[0], len(places), found) for found, places in runs)


def band_height(part: Correlation, lines: Lines) -> int:
    """Source lines that the largest band touches."""
    high = part.axes[1]
    positions = lines.lines_per_band * (lines.size + bool(lines.tall)) if lines.together else lines.lines_per_band
    return high.reach(min(positions, high.out))


def correlation_scratch(part: Correlation, target: Target) -> int:
    """Elements of scratch that one thread needs."""
    if part.empty:
        return 0
    wide, lines, weights = part.axes[2], plan_lines(part, target), packed_weights(part, target.lanes(part.dtype))
    if part.direct or lines.cut:
        return weights
    height = band_height(part, lines)
    size = max(1, part.axes[0].taps) * height * wide.reach(wide.out) * part.source_strides[2]
    return weights + -(-size // 16) * 16
