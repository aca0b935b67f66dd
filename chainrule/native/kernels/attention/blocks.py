# SPDX-License-Identifier: Apache-2.0
"""The words that both attention kernels are written with: panels of queries, tiles of scores, masks, weights.

Scores lie transposed, one row for each key, with the queries of a panel in the lanes: a panel of queries is packed
once, keys are read where they lie, and everything that runs over the keys of a query (maximum, sum, the causal limit)
is a running vector, without sums inside of vectors. Scores are logarithms to base 2, for which a weight costs least.
"""

from __future__ import annotations

import math

from llvmlite import ir

from ...llvm.math import coefficients as tables
from ...llvm.math.lanes import Lanes
from ...llvm.writer import INDEX, Index, Writer, all_zero, constant, in_all_lanes, intrinsic, load_lanes
from ...target import Target
from ..product.pack import Panel, emit_pack
from ..tile import Tile, emit_tile, split, tile_rows
from .spec import AttentionSpec, make_cut

BIT, BYTE, NARROW = ir.IntType(1), ir.IntType(8), ir.IntType(32)
LOG2_E, LN2 = 1 / math.log(2), math.log(2)
UNDERFLOW = {"float32": -125.0, "float64": -1021.0}  # below which a weight is 0; above, 2**x is a normal number
POWER = {name: (1.0, LN2, *(c * LN2 ** (i + 2) for i, c in enumerate(table)))  # 2**r for |r| <= 1/2
         for name, table in (("float32", tables.EXP_32), ("float64", tables.EXP_64))}


class AttentionWriter:
    """What the two kernels share; `spec` and `cut` are the constants, `writer` writes."""

    def __init__(self, writer: Writer, spec: AttentionSpec, target: Target):
        self.writer, self.spec, self.target = writer, spec, target
        self.module, self.builder = writer.module, writer.builder
        self.cut = make_cut(spec, target)
        self.lanes = writer.lanes
        self.whole = spec.steps // self.cut.panel  # panels without idle lanes
        self.rest = spec.steps % self.cut.panel

    # ---- memory

    def vectors(self, width: int) -> list[tuple[int, ir.Value | None]]:
        """(first element, mask) of the vectors of a row of `width` elements."""
        return [(i, None if i + self.lanes <= width else self.writer.mask(width - i))
                for i in range(0, width, self.lanes)]

    def row(self, pointer: ir.Value, number: int) -> list[ir.Value]:
        """The vectors of one row of a panel."""
        return [self.writer.load_vector(self.writer.at(pointer, v * self.lanes)) for v in range(number)]

    def put(self, values: list[ir.Value], pointer: ir.Value) -> None:
        """Store the vectors of one row of a panel."""
        for v, value in enumerate(values):
            self.writer.store_vector(value, self.writer.at(pointer, v * self.lanes))

    def clear(self, pointer: ir.Value, rows: Index, step: int, width: int) -> None:
        """Zeros in rows of `width` elements, `step` elements apart."""
        with self.writer.loop(0, rows) as row:
            here = self.writer.at(pointer, self.writer.mul(row, step))
            for first, mask in self.vectors(width):
                self.writer.store_vector(self.writer.zeros(), self.writer.at(here, first), mask)

    # ---- panels of queries

    def by_panel(self, panel: Index, body) -> None:  # type: ignore[no-untyped-def]
        """Call body(queries that exist) for a whole panel or for the last, narrower one."""
        if not self.rest:
            body(self.cut.panel)
        elif not self.whole:
            body(self.rest)
        else:
            with self.builder.if_else(self.writer.less(panel, self.whole)) as (yes, no):
                with yes:
                    body(self.cut.panel)
                with no:
                    body(self.rest)

    def pack(self, panel: Index, source: ir.Value, step: int, width: int, destination: ir.Value,
             scale: float = 1.0) -> None:
        """A panel of queries turned over: destination[c, query] = scale * source[query, c]."""
        def whole(valid: int) -> None:
            function = emit_pack(self.module, Panel(self.spec.dtype, self.cut.panel, valid, step, 1), self.target)
            self.builder.call(function, [source, destination, constant(width)])
        self.by_panel(panel, whole)
        if scale != 1.0:
            factor = ir.Constant(self.writer.vector, [scale] * self.lanes)
            with self.writer.loop(0, width * self.cut.panel, self.lanes) as place:
                here = self.writer.at(destination, place)
                self.writer.store_vector(self.builder.fmul(self.writer.load_vector(here), factor), here)

    # ---- products

    def product(self, rows: int, width: int, left: ir.Value, left_steps: tuple[int, int], right: ir.Value,
                right_step: int, out: ir.Value, out_step: int, count: Index, accumulate: ir.Value | bool) -> None:
        """out[rows, width] (+)= the sum over `count` steps of left[row] * right[step, :]; strides of left: row, step.
        """
        at, lanes = self.writer.at, self.lanes
        flag = BIT(int(accumulate)) if isinstance(accumulate, bool) else accumulate
        total = -(-width // lanes)
        most = total if total <= 3 else 2
        for first in range(0, total, most):
            vectors = min(most, total - first)
            tail = min(vectors * lanes, width - first * lanes) % lanes
            tiles, size, tall = split(rows, min(16, tile_rows(self.target, vectors)))
            begin = 0
            for number in range(tiles):
                height = size + (number < tall)
                offsets = tuple(r * left_steps[0] for r in range(height))
                # the result is near
                tile = Tile(self.spec.dtype, offsets, vectors, ((1, left_steps[1], right_step),), out_step, tail, tail)
                self.builder.call(emit_tile(self.module, tile, self.target), [
                    at(left, begin * left_steps[0]), at(right, first * lanes),
                    at(out, begin * out_step + first * lanes), constant(count), flag])
                begin += height

    def by_keys(self, count: Index, body) -> None:  # type: ignore[no-untyped-def]
        """Call body(first key, height) for the tiles of a block of `count` keys."""
        rows, rest = self.cut.rows, self.spec.sources % self.cut.rows
        full, left = self.writer.divide(count, rows)
        with self.writer.loop(0, full) as tile:
            body(self.writer.mul(tile, rows), rows)
        if rest:
            with self.builder.if_then(self.writer.less(0, left)):
                body(self.writer.mul(full, rows), rest)

    def scores(self, count: Index, keys: ir.Value, step: int, panel: ir.Value, width: int, out: ir.Value) -> None:
        """out[key, query] = the sum over c of keys[key, c] * panel[c, query], for `count` keys."""
        at, mul, pitch = self.writer.at, self.writer.mul, self.cut.pitch
        self.by_keys(count, lambda key, height: self.product(
            height, self.cut.panel, at(keys, mul(key, step)), (step, 1), panel, self.cut.panel,
            at(out, mul(key, pitch)), pitch, width, False))

    # ---- who sees whom

    def limits(self, query: Index, block: Index, rows: Index) -> tuple[Index, Index]:
        """Of `rows` keys from `block` on: how many concern the panel that begins at `query`, and how many all of it
        sees."""
        if not self.spec.causal:
            return rows, 0 if self.spec.mask else rows
        w = self.writer
        ahead = w.sub(w.add(query, self.spec.offset), block)
        tiles, _ = w.divide(w.maximum(w.add(ahead, self.cut.panel + self.cut.rows - 1), 0), self.cut.rows)
        count = w.minimum(w.mul(tiles, self.cut.rows), rows)
        return count, 0 if self.spec.mask else w.minimum(w.maximum(w.add(ahead, 1), 0), count)

    def last_allowed(self, row: ir.Value, count: Index) -> Index:
        """How many of the first `count` keys there are up to the last one that a row of the mask lets through, in whole
        vectors."""
        w, b = self.writer, self.builder

        def look(key: Index, last: list[ir.Value]) -> list[ir.Value]:
            seen = self.allowed(b.gep(row, [constant(key)], source_etype=BYTE), key)
            some = b.call(intrinsic(self.module, f"llvm.vector.reduce.or.v{self.lanes}i1", BIT, [seen.type]), [seen])
            return [b.select(some, constant(w.add(key, self.lanes)), last[0])]
        return w.minimum(w.fold(0, count, self.lanes, [constant(0)], look)[0], count)

    def allowed(self, pointer: ir.Value, key: Index) -> ir.Value:
        """Which of the keys from `key` on a row of the mask lets through; those that do not exist are none of them."""
        exist = self.writer.mask(self.writer.sub(self.spec.sources, key)) if self.spec.sources % self.lanes else None
        bytes_ = load_lanes(self.builder, BYTE, self.lanes, pointer, exist)
        return self.builder.icmp_unsigned("!=", bytes_, all_zero(bytes_.type))

    def seen_by(self, mask: ir.Value | None, query: Index, queries: Index, count: Index) -> Index:
        """Of `count` keys, those up to the last one that one of `queries` queries from `query` on sees, in whole tiles.
        """
        w, strides = self.writer, self.spec.mask
        if mask is None or strides is None or not strides[3]:
            return count
        row = lambda i: self.builder.gep(mask, [constant(w.mul(w.add(query, i), strides[2]))], source_etype=BYTE)
        if strides[2]:
            last = w.fold(0, queries, 1, [constant(0)],
                          lambda i, s: [constant(w.maximum(self.last_allowed(row(i), count), s[0]))])[0]
        else:
            last = self.last_allowed(row(0), count)
        tiles, _ = w.divide(w.add(last, self.cut.rows - 1), self.cut.rows)
        return w.minimum(w.mul(tiles, self.cut.rows), count)

    def bring_mask(self, mask: ir.Value, query: Index, block: Index, count: Index, bytes_: ir.Value) -> None:
        """The mask of a block turned over into bytes_[key, query]; not needed where all queries share it."""
        strides = self.spec.mask
        if not strides or not strides[2]:
            return
        w, b = self.writer, self.builder
        corner = w.add(w.mul(query, strides[2]), w.mul(block, strides[3]))
        with w.loop(0, w.minimum(self.cut.panel, w.sub(self.spec.steps, query))) as i, w.loop(0, count) as key:
            far = w.add(corner, w.add(w.mul(i, strides[2]), w.mul(key, strides[3])))
            near = w.add(w.mul(key, self.cut.panel), i)
            b.store(b.load(b.gep(mask, [constant(far)], source_etype=BYTE), typ=BYTE),
                    b.gep(bytes_, [constant(near)], source_etype=BYTE))

    def seen(self, query: Index, block: Index, key: Index, mask: ir.Value | None,
             bytes_: ir.Value | None) -> list[ir.Value]:
        """For each vector of the panel at `query`, which lanes see the key `block` + `key`."""
        w, b = self.writer, self.builder
        place = w.add(block, key)
        found: list[ir.Value] = []
        for v in range(self.cut.vectors):
            parts = []
            if self.spec.causal:
                last = b.add(self._spread(w.add(query, v * self.lanes + self.spec.offset)), self._order())
                parts.append(b.icmp_signed(">=", last, self._spread(place)))
            if mask is not None and bytes_ is not None:
                parts.append(self._mask(key, place, v, mask, bytes_))
            found.append(parts[0] if len(parts) == 1 else b.and_(*parts))
        return found

    def _mask(self, key: Index, place: Index, v: int, mask: ir.Value, bytes_: ir.Value) -> ir.Value:
        b, w, strides = self.builder, self.writer, self.spec.mask
        assert strides is not None
        wide = ir.VectorType(BYTE, self.lanes)
        if strides[2]:
            there = b.gep(bytes_, [constant(w.add(w.mul(key, self.cut.panel), v * self.lanes))], source_etype=BYTE)
            return b.icmp_unsigned("!=", load_lanes(b, BYTE, self.lanes, there, None), all_zero(wide))
        one = b.load(b.gep(mask, [constant(w.mul(place, strides[3]))], source_etype=BYTE), typ=BYTE)
        return b.icmp_unsigned("!=", in_all_lanes(b, one, self.lanes), all_zero(wide))

    def _order(self) -> ir.Value:
        return ir.Constant(ir.VectorType(NARROW, self.lanes), list(range(self.lanes)))

    def _spread(self, value: Index) -> ir.Value:
        """A position in all lanes."""
        return in_all_lanes(self.builder, self.builder.trunc(constant(value), NARROW), self.lanes)

    # ---- numbers

    def lanes_of(self, value: ir.Value) -> Lanes:
        """A vector as `Lanes`."""
        return Lanes(self.builder, value)

    def weight(self, x: ir.Value) -> ir.Value:
        """2**x, 0 where that would be no normal number; NaN stays NaN. With x = k + r, k is added to the exponent of
        2**r."""
        lanes = self.lanes_of(x)
        shifted = lanes + lanes.format.round_shift
        power = (lanes - (shifted - lanes.format.round_shift)).polynomial(POWER[self.spec.dtype])
        result = (power.bits() + (shifted.bits() << lanes.format.fraction)).as_float()
        return (lanes < UNDERFLOW[self.spec.dtype]).choose(0.0, result).value

    def finite(self, high: ir.Value) -> ir.Value:
        """A maximum, but 0 where it is minus infinity."""
        lanes = self.lanes_of(high)
        return lanes.equals(-math.inf).choose(0.0, lanes).value

    def number(self, value: float) -> ir.Value:
        """A number in all lanes."""
        return ir.Constant(self.writer.vector, [value] * self.lanes)

    def place(self, strides: tuple[int, ...], sample: Index, step: Index, head: Index) -> Index:
        """The element at (sample, step, head) of an operand."""
        return self.writer.dot((sample, step, head), strides)


def parts(scratch: ir.Value, sizes: list[int], writer: Writer) -> list[ir.Value]:
    """Neighbouring pieces of scratch, each on a cache line; sizes in elements, as `scratch_size` counts them."""
    found, offset = [], 0
    for size in sizes:
        found.append(writer.at(scratch, offset))
        offset += line(size, writer.size)
    return found


def line(elements: int, size: int) -> int:
    """`elements` rounded up to whole cache lines."""
    return -(-elements * size // 64) * 64 // size


__all__ = ["INDEX", "AttentionWriter", "line", "parts"]
