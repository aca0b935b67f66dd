# SPDX-License-Identifier: Apache-2.0
"""The register tile (BLIS's microkernel): the one inner kernel of every product and every convolution.

A tile keeps rows x vectors sums in registers and runs a small nest of reduction loops over them. Each step loads
`vectors` vectors from the right operand and broadcasts one element per row from the left one:

    out[r, :] (+)= sum over steps  left[offsets[r] + left step] * right[right step + 0 : vectors * lanes]

Everything that differs between a product, a convolution and their gradients is in the constants of `Tile`. A tile is
emitted once per module as an internal function and found again by its name, so shapes share them.
After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from ..llvm.writer import INDEX, POINTER, SHORT, Index, Writer, intrinsic, open_function
from ..target import Target

Loop = tuple[int, int, int]  # (count, left step, right step), steps in elements
# (first round, how many, the numbers of the rows that have them: of each axis one is added)
Segment = tuple[int, int, tuple[int, ...]]

FEW_STEPS = 32  # below which it does not pay to fetch the result beforehand
ENOUGH = 8  # independent sums that hide the latency of multiply-add


@dataclass(frozen=True)
class Tile:
    """The constants of one register tile; `loops` go from the outermost inwards, the count of the first is an argument.
    """

    dtype: str
    offsets: tuple[int, ...]
    vectors: int
    loops: tuple[Loop, ...]
    out_step: int
    right_tail: int = 0  # lanes of the last vector that exist in memory; 0: all
    out_tail: int = 0
    lanewise: bool = False  # the left operand is read as vectors too: every lane has its own factor (grouped kernels)
    # lanewise: (a, b): b lanes share a factor, those of the next b lanes lie `a` elements further
    shared: tuple[int, int] = (1, 1)
    pairs: bool = False  # elements of both operands are pairs of bfloat16, whose products are added
    # (left, right, first row, last): repeats the last loop for some of the rows
    taps: tuple[tuple[int, int, int, int], ...] = ()
    # if not 0: lanes run along the sum; each of `vectors` columns has weights of its own, so many elements apart
    dotted: int = 0
    # the taps stay in registers through one round of the last loop, and what several of them read is loaded once
    swept: bool = False
    rows_at: tuple[int, ...] = ()  # where each row of the result begins, if not `out_step` apart
    # of the last two loops, where not every row has all rounds
    segments: tuple[tuple[Segment, ...], tuple[Segment, ...]] = ((), ())
    open: int = 1  # how many of the loops, from the outermost inwards, have their counts as arguments

    @property
    def name(self) -> str:
        """The name of the tile's function in its module."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:16]
        return f"tile_{SHORT[self.dtype]}_{len(self.offsets)}x{self.vectors}_{digest}"


def split(extent: int, limit: int) -> tuple[int, int, int]:
    """(tiles, size, tall): `extent` cut into the fewest tiles <= limit; the first `tall` have size + 1, the rest size.
    """
    tiles = max(1, -(-extent // limit))
    return tiles, extent // tiles, extent % tiles


def simplify(loops: list[Loop]) -> tuple[Loop, ...]:
    """The same nest of at least one loop, without loops of one round and with loops joined that run on in both
    operands."""
    result: list[Loop] = []
    for count, left, right in loops:
        if count == 1:
            continue
        if result and result[-1][1:] == (count * left, count * right):
            result[-1] = (result[-1][0] * count, left, right)
        else:
            result.append((count, left, right))
    return tuple(result) or ((1, 0, 0),)


def tile_rows(target: Target, vectors: int) -> int:
    """How many rows fit into registers beside one set of vectors of the right operand and one broadcast."""
    return max(1, (target.registers - vectors - 1 - (target.registers == 32)) // vectors)


def emit_tile(module: ir.Module, tile: Tile, target: Target) -> ir.Function:
    """The function ``void (left, right, out, i64 count, i1 accumulate, i64 further counts…)`` of a tile."""
    known = module.globals.get(tile.name)
    if known:
        return known
    arguments = [("left", POINTER), ("right", POINTER), ("out", POINTER), ("count", INDEX),
                 ("accumulate", ir.IntType(1)),
                 *[(f"count{number}", INDEX) for number in range(1, tile.open)]]
    function, writer = open_function(module, tile.name, arguments, tile.dtype, target, internal=True)
    left, right, out, count, accumulate, *counts = function.args
    if not tile.dotted:
        _fetch(writer, tile, out)
    start = [writer.zeros()] * (len(tile.offsets) * tile.vectors)
    sums = _reduce(writer, tile, (count, *counts, *(loop[0] for loop in tile.loops[tile.open:])), left, right, start)
    if tile.dotted:
        _store_sums(writer, tile, out, sums)
    else:  # what is there comes last: small terms that meet a large sum one by one lose their digits
        sums = writer.if_else(accumulate, lambda: [writer.builder.fadd(there, total) for there, total in
                                                   zip(_load(writer, tile, out), sums, strict=True)], lambda: sums)
        for (pointer, mask), total in zip(_places(writer, tile, out), sums, strict=True):
            writer.store_vector(total, pointer, mask)
    writer.builder.ret_void()
    return function


def _store_sums(writer: Writer, tile: Tile, out: ir.Value, sums: list[ir.Value]) -> None:
    """The sums over the lanes of each vector; there are at most as many vectors as lanes, so they make one vector."""
    parts = writer.transpose([*sums, *[writer.zeros()] * (writer.lanes - len(sums))])
    while len(parts) > 1:
        parts = [writer.builder.fadd(one, other) for one, other in zip(parts[::2], parts[1::2], strict=True)]
    if tile.out_step == tile.vectors:
        writer.store_vector(parts[0], out, None if len(sums) == writer.lanes else writer.mask(len(sums)))
        return
    for number in range(len(sums)):
        row, column = divmod(number, tile.vectors)
        value = writer.builder.extract_element(parts[0], ir.IntType(32)(number))
        writer.store(value, writer.at(out, row * tile.out_step + column))


def _fetch(writer: Writer, tile: Tile, out: ir.Value) -> None:
    """Bring the lines of the result nearer while the sums are made; they lie in short pieces, and are written at once.
    """
    if math.prod(count or FEW_STEPS for count, _, _ in tile.loops) < FEW_STEPS:
        return
    narrow = ir.IntType(32)
    function = intrinsic(writer.module, "llvm.prefetch.p0", ir.VoidType(), [POINTER, narrow, narrow, narrow])
    for pointer, _ in _places(writer, tile, out):
        writer.builder.call(function, [pointer, narrow(1), narrow(2), narrow(1)])


def _masks(writer: Writer, vectors: int, tail: int) -> list[ir.Value | None]:
    return [None] * (vectors - 1) + [writer.mask(tail) if tail else None]


def _places(writer: Writer, tile: Tile, out: ir.Value) -> list[tuple[ir.Value, ir.Value | None]]:
    masks = _masks(writer, tile.vectors, tile.out_tail)
    rows = tile.rows_at or [row * tile.out_step for row in range(len(tile.offsets))]
    return [(writer.at(out, row + column * writer.lanes), masks[column]) for row in rows
            for column in range(tile.vectors)]


def _load(writer: Writer, tile: Tile, out: ir.Value) -> list[ir.Value]:
    return [writer.load_vector(pointer, mask) for pointer, mask in _places(writer, tile, out)]


def _reduce(writer: Writer, tile: Tile, counts: tuple[Index, ...], left: ir.Value, right: ir.Value,
            sums: list[ir.Value]) -> list[ir.Value]:
    """The loop nest; pointers are carried beside the sums so that every address is a pointer plus a constant."""
    depth = len(tile.loops) - len(counts)
    _, left_step, right_step = tile.loops[depth]
    if len(counts) == 2 and tile.segments[0]:
        return _segments(writer, tile, left, right, sums)
    if len(counts) == 1:
        return (_repeats if tile.taps else _innermost)(writer, tile, counts[0], left, right, sums)

    def body(_: Index, state: list[ir.Value]) -> list[ir.Value]:
        results = _reduce(writer, tile, counts[1:], state[0], state[1], state[2:])
        return [writer.at(state[0], left_step), writer.at(state[1], right_step), *results]

    return writer.fold(0, counts[0], 1, [left, right, *sums], body)[2:]


def _segments(writer: Writer, tile: Tile, left: ir.Value, right: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
    """The last two loops in segments, each with those rows alone that have it."""
    (_, high_left, high_right), (_, wide_left, wide_right) = tile.loops[-2:]

    def line(lines: tuple[int, ...]) -> Callable[[Index, list[ir.Value]], list[ir.Value]]:
        def body(_: Index, state: list[ir.Value]) -> list[ir.Value]:
            here, there, parts = state[0], state[1], state[2:]
            for first, count, places in tile.segments[1]:
                rows = [i + j for i in lines for j in places]
                part = dataclasses.replace(tile, offsets=tuple(tile.offsets[row] for row in rows))
                at = writer.at(here, first * wide_left), writer.at(there, first * wide_right)
                for row, total in zip(rows, _innermost(writer, part, count, *at, [parts[row] for row in rows]) if rows
                                      else [], strict=True):
                    parts[row] = total
            return [writer.at(here, high_left), writer.at(there, high_right), *parts]
        return body

    for first, count, lines in tile.segments[0]:
        state = [writer.at(left, first * high_left), writer.at(right, first * high_right), *sums]
        sums = writer.fold(0, count, 1, state, line(lines))[2:]
    return sums


def _repeats(writer: Writer, tile: Tile, count: Index, left: ir.Value, right: ir.Value,
             sums: list[ir.Value]) -> list[ir.Value]:
    """The last loop for each tap in turn, on those rows whose tap there is."""
    if tile.swept:
        _, left_step, right_step = tile.loops[-1]
        if isinstance(count, int) and count == 1:
            return _sweep(writer, tile, left, right, sums)
        sweep = lambda _, state: [writer.at(state[0], left_step), writer.at(state[1], right_step),
                                  *_sweep(writer, tile, *state[:2], state[2:])]
        return writer.fold(0, count, 1, [left, right, *sums], sweep)[2:]
    sums = list(sums)
    for left_step, right_step, first, last in tile.taps:
        if first < last:
            part, rows = (slice(first * tile.vectors, last * tile.vectors),
                          dataclasses.replace(tile, offsets=tile.offsets[first:last]))
            sums[part] = _innermost(writer, rows, count, writer.at(left, left_step), writer.at(right, right_step),
                                    sums[part])
    return sums


def _sweep(writer: Writer, tile: Tile, left: ir.Value, right: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
    """All taps of a line: the taps stay in registers, and each factor is loaded once for all of them."""
    masks, sums = _masks(writer, tile.vectors, tile.right_tail), list(sums)
    weights = [[writer.load_vector(writer.at(right, step + column * writer.lanes), mask)
                for column, mask in enumerate(masks)]
               for _, step, _, _ in tile.taps]
    places: dict[int, list[tuple[int, list[ir.Value]]]] = {}
    for (step, _, first, last), tap in zip(tile.taps, weights, strict=True):
        for row in range(first, last):
            places.setdefault(tile.offsets[row] + step, []).append((row, tap))
    for place in sorted(places):
        same = None if tile.lanewise else writer.splat(writer.load(writer.at(left, place)))
        for column, mask in enumerate(masks):
            factor = same or _factor(writer, tile, writer.at(left, place + column * writer.lanes), mask)
            for row, tap in places[place]:
                number = row * tile.vectors + column
                sums[number] = writer.multiply_add(factor, tap[column], sums[number])
    return sums


def _factor(writer: Writer, tile: Tile, pointer: ir.Value, mask: ir.Value | None) -> ir.Value:
    """The factors of a vector of lanes; what lies between them is read too, what lies behind the last is not."""
    apart, alike = tile.shared
    if tile.shared == (1, 1):
        return writer.load_vector(pointer, mask)
    groups = (tile.right_tail or writer.lanes) // alike
    found = writer.load_vector(pointer, writer.mask((groups - 1) * apart + 1))
    return writer.permute(found, [min(lane // alike, groups - 1) * apart for lane in range(writer.lanes)])


def _innermost(writer: Writer, tile: Tile, count: Index, left: ir.Value, right: ir.Value,
               sums: list[ir.Value]) -> list[ir.Value]:
    """The last loop; a tile with few sums runs several chains of them side by side and adds these up at the end."""
    _, left_step, right_step = tile.loops[-1]
    if isinstance(count, int) and count == 1:
        return _step(writer, tile, left, right, sums)
    if tile.lanewise and len(tile.offsets) > 1:
        return _unrolled(writer, tile, count, left, right, sums)
    chains = min(4, ENOUGH // len(sums)) if len(sums) < ENOUGH else 1

    def steps(number: int) -> list[ir.Value]:
        def body(_: Index, state: list[ir.Value]) -> list[ir.Value]:
            here, there, parts = state[0], state[1], state[2:]
            done = []
            for chain in range(number):
                part = parts[chain * len(sums):(chain + 1) * len(sums)]
                done += _step(writer, tile, writer.at(here, chain * left_step), writer.at(there, chain * right_step),
                              part)
            rest = parts[number * len(sums):]
            return [writer.at(here, number * left_step), writer.at(there, number * right_step), *done, *rest]
        return body

    state = [left, right, *sums, *[writer.zeros()] * (len(sums) * (chains - 1))]
    if chains == 1:
        return writer.fold(0, count, 1, state, steps(1))[2:]
    whole, _ = writer.divide(count, chains)
    state = writer.fold(0, whole, 1, state, steps(chains))
    state = writer.fold(writer.mul(whole, chains), count, 1, state, steps(1))[2:]
    for chain in range(1, chains):
        part = state[chain * len(sums):(chain + 1) * len(sums)]
        state[:len(sums)] = [writer.builder.fadd(one, other) for one, other in zip(state, part, strict=False)]
    return state[:len(sums)]


def _unrolled(writer: Writer, tile: Tile, count: Index, left: ir.Value, right: ir.Value,
              sums: list[ir.Value]) -> list[ir.Value]:
    """The last loop of a lanewise tile, several rounds at once: what neighbouring rounds read in common is loaded once.
    """
    _, left_step, right_step = tile.loops[-1]
    masks, multiply_add = (_masks(writer, tile.vectors, tile.right_tail), writer.multiply_pairs if tile.pairs
                           else writer.multiply_add)
    at_once = 4 if 2 * len(sums) <= writer.target.registers else 2  # as many as find registers beside the sums

    def vectors(pointer: ir.Value, offset: int,
                load: Callable[[ir.Value, ir.Value | None], ir.Value]) -> list[ir.Value]:
        return [load(writer.at(pointer, offset + column * writer.lanes), mask) for column, mask in enumerate(masks)]
    factor = lambda pointer, mask: _factor(writer, tile, pointer, mask)

    def rounds(number: int) -> Callable[[Index, list[ir.Value]], list[ir.Value]]:
        def body(_: Index, state: list[ir.Value]) -> list[ir.Value]:
            here, there, parts = state[0], state[1], state[2:]
            rights, lefts = ([vectors(there, turn * right_step, writer.load_vector) for turn in range(number)],
                             dict[int, list[ir.Value]]())
            for row, offset in enumerate(tile.offsets):
                for turn, right in enumerate(rights):
                    place = offset + turn * left_step
                    lefts[place] = lefts.get(place) or vectors(here, place, factor)
                    for column in range(tile.vectors):
                        at = row * tile.vectors + column
                        parts[at] = multiply_add(lefts[place][column], right[column], parts[at])
            return [writer.at(here, number * left_step), writer.at(there, number * right_step), *parts]
        return body

    whole, _ = writer.divide(count, at_once)
    state = writer.fold(0, whole, 1, [left, right, *sums], rounds(at_once))
    return writer.fold(writer.mul(whole, at_once), count, 1, state, rounds(1))[2:]


def _step(writer: Writer, tile: Tile, left: ir.Value, right: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
    masks, apart = _masks(writer, tile.vectors, tile.right_tail), tile.dotted or writer.lanes
    rights = [writer.load_vector(writer.at(right, column * apart), mask) for column, mask in enumerate(masks)]
    multiply_add = writer.multiply_pairs if tile.pairs else writer.multiply_add
    result = []
    for row, offset in enumerate(tile.offsets):
        if tile.pairs and tile.vectors == 1:
            result.append(writer.multiply_pair_at(left, offset, rights[0], sums[row]))
            continue
        if tile.lanewise:
            factors = [_factor(writer, tile, writer.at(left, offset + column * writer.lanes), mask)
                       for column, mask in enumerate(masks)]
        elif tile.dotted:
            factors = [writer.load_vector(writer.at(left, offset))] * tile.vectors
        else:
            factors = [writer.splat(writer.load(writer.at(left, offset)))] * tile.vectors
        for column, (factor, value) in enumerate(zip(factors, rights, strict=True)):
            result.append(multiply_add(factor, value, sums[row * tile.vectors + column]))
    return result
