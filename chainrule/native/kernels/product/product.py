# SPDX-License-Identifier: Apache-2.0
"""Matrix products: c[…, m, n] (+)= a[…, m, k] b[…, k, n] with any strides, then an epilogue.

In: a `ProductSpec` (extents and strides, known when the kernel is made). Out: LLVM functions that every thread calls
with its own number. The law: rows and columns are cut into the fewest register tiles whose sizes differ by at most one,
so edges waste nothing; one element of c is summed by one thread in an order that the spec alone fixes, so the number of
threads never changes a bit. Operands are read where they lie; a panel is packed only where reading it in place would
break vectors or thrash the caches (`make_plan` decides, and is the place to tune).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from llvmlite import ir

from ...llvm.writer import INDEX, POINTER, Index, Writer, constant, open_function
from ...target import Target
from ..finish import Epilogue, emit_ahead, emit_finish, named_epilogue
from ..tile import Tile, emit_tile, split, tile_rows
from .dots import FEW, Dots, emit_dots
from .pack import Panel, emit_pack
from .pack_pairs import emit_pairs
from .row import TOGETHER, Row, block_vectors, emit_row
from .unpack import BYTE, Packing, Unpacking, emit_unpack

LONGEST = 384  # steps of the reduction that one packed panel holds
RESIDENT = 1 << 15  # bytes of a panel packed beforehand that stay in the L1 cache from row tile to row tile
FAR = 1 << 14  # steps that are added up without a break, else: long sums lose digits
SHORT_ROW = 256  # columns up to which b is read front to back, row by row
LARGE = 1 << 24  # bytes of b that no cache holds
FINISHED = 8  # vectors of a long row that go through the epilogue in one call
# rows of a tile below which operands are read so often that packing pays earlier (processors with 16 registers)
SHORT_TILE = 8
WAYS = 8  # of the L1 cache: so many rows that fall on the same sets live there beside each other
FEW_COLUMN_TILES = 16  # below which a is read in place, so that its rows should not drive each other out
MOST_ROWS = 16  # of a tile; more gain nothing, and compile longer
NEAR = 1 << 15  # bytes of an unpacked panel that the first cache level keeps until one row tile has read it
STRETCH = 2048  # columns of packed integers that are read in one go
FEWEST_UNITS = 4  # of work where stretches could be longer
ENOUGH_UNITS = 16  # units of work below which the columns are cut into more blocks
SIZES = {"float32": 4, "float64": 8}


@dataclass(frozen=True)
class ProductSpec:
    """One product. Strides count elements, one per batch axis, then (m, k), (k, n) and (m, n); batch strides may be 0.

    `accumulate` adds to c instead of overwriting it; `epilogue` names steps such as ``("bias",)``, ``("relu",)``,
    ``("residual",)`` that run on the finished sums.
    """

    m: int
    n: int
    k: int
    a_strides: tuple[int, ...]
    b_strides: tuple[int, ...]
    c_strides: tuple[int, ...]
    batch: tuple[int, ...] = ()
    dtype: str = "float32"
    accumulate: bool = False
    epilogue: tuple[tuple[str, ...], ...] = ()
    narrow: bool = False  # a and b hold bfloat16, c and all sums are float32; needs `Target.pairs`
    packed: bool = False  # b is given as `gemm_panels` packs it, once for many products
    packing: Packing | None = None  # b is small integers (k, n), and a further operand behind it their scales

    @property
    def steps(self) -> int:
        """Steps of the reduction: pairs of elements if the operands are narrow, rows of bytes if b is packed integers.
        """
        return self.k // self.parts if self.packing else -(-self.k // 2) if self.narrow else self.k

    @property
    def parts(self) -> int:
        """Rows of b that one step takes in, k / parts apart."""
        return self.packing.parts if self.packing else 1

    @property
    def reads_pairs(self) -> bool:
        """Whether rows of a narrow a are pairs where they lie."""
        return self.a_strides[-1] == 1 and self.k % 2 == 0 and (self.a_strides[-2] % 2 == 0 or self.m == 1)

    @staticmethod
    def dense(m: int, n: int, k: int, *, batch: tuple[int, ...] = (), transpose_a: bool = False,
              transpose_b: bool = False, **options: object) -> ProductSpec:
        """The product of contiguous arrays; a transposed operand is stored as (…, k, m) or (…, n, k)."""
        a, b = ((k, m) if transpose_a else (m, k)), ((n, k) if transpose_b else (k, n))
        a_strides, b_strides = _contiguous((*batch, *a)), _contiguous((*batch, *b))
        if transpose_a:
            a_strides = (*a_strides[:-2], *a_strides[:-3:-1])
        if transpose_b:
            b_strides = (*b_strides[:-2], *b_strides[:-3:-1])
        return ProductSpec(m, n, k, a_strides, b_strides, _contiguous((*batch, m, n)), batch,
                           **options)  # type: ignore[arg-type]


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for extent in reversed(shape):
        strides.insert(0, step)
        step *= max(1, extent)
    return tuple(strides)


# ---- the plan: how a product is cut

@dataclass(frozen=True)
class Plan:
    """How a product is cut into tiles and blocks, and which operands are packed; sizes of scratch count elements."""

    row_tiles: int
    rows: int  # of the shorter row tiles; the first `tall` have one more
    tall: int
    vectors: int
    whole_tiles: int  # column tiles of `vectors` whole vectors
    rest: int  # columns of the last, narrower tile; 0: there is none
    blocks: int
    tiles_per_block: int
    steps: int  # of the reduction, per block
    step_blocks: int
    pack_a: bool
    pack_b: bool
    dots: bool  # a few rows times columns that lie along k: no tiles but dot products
    row: bool  # one row times rows that lie along n: no tiles but sums of rows
    staged: bool  # c has no unit stride: tiles pass through scratch
    a_size: int
    b_size: int
    tile_size: int

    @property
    def scratch(self) -> int:
        """Elements of scratch per thread."""
        return self.a_size + self.b_size + self.tile_size


def canonical(spec: ProductSpec, target: Target) -> tuple[ProductSpec, bool]:
    """The same product with batch axes joined into m where the layout allows; True: a and b have changed places."""
    while spec.batch and _joins(spec):
        merge = lambda strides: (*strides[:-3], *strides[-2:])
        spec = dataclasses.replace(spec, batch=spec.batch[:-1], m=spec.batch[-1] * spec.m,
                                   a_strides=merge(spec.a_strides), b_strides=merge(spec.b_strides),
                                   c_strides=merge(spec.c_strides))
    if spec.packed or spec.packing or not _swaps(spec, target.lanes(spec.dtype)):
        return spec, False
    swap = lambda strides: (*strides[:-2], strides[-1], strides[-2])
    return dataclasses.replace(spec, m=spec.n, n=spec.m, a_strides=swap(spec.b_strides), b_strides=swap(spec.a_strides),
                               c_strides=swap(spec.c_strides)), True


def _swaps(spec: ProductSpec, lanes: int) -> bool:
    """Whether the transposed product is cheaper: c lies transposed, or b does and is much larger than a."""
    (row, column), (b_step, b_column), a_step = spec.c_strides[-2:], spec.b_strides[-2:], spec.a_strides[-1]
    if spec.n == 1:
        return row == 1 and spec.m >= lanes
    if column != 1:
        return row == 1
    wasted = -spec.m % lanes
    transposes = b_step == 1 and b_column != 1 and a_step == 1 and not spec.accumulate
    return transposes and 5 * wasted <= spec.m and spec.m <= 8 * lanes and spec.k >= 64 and 6 * spec.m <= spec.n


def _joins(spec: ProductSpec) -> bool:
    runs_on = lambda strides: strides[-3] == strides[-2] * spec.m
    return spec.b_strides[-3] == 0 and runs_on(spec.a_strides) and runs_on(spec.c_strides)


def choose_vectors(rows: int, columns: int, target: Target) -> int:
    """How many vectors wide a tile is, for `rows` rows and `columns` vectors of columns in all."""
    if rows <= 4:
        return max(1, min(columns, 8 if rows == 1 and columns >= 16 else 4))
    if columns <= 3:
        return columns
    return 3 if columns % 2 and columns % 3 == 0 else 2


def cut_rows(spec: ProductSpec, size: int, limit: int) -> tuple[int, int, int]:
    """The row tiles as in `split`; tiles of one size are preferred where they cost nothing, since they compile faster.
    """
    if spec.m >= 64 and spec.a_strides[-1] == 1 and (spec.b_strides[-2] * size < 4096 or spec.b_strides[-1] != 1):
        for rows in range(limit, limit // 2, -1):
            if spec.m % rows == 0:
                return spec.m // rows, rows, 0
    return split(spec.m, limit)


@dataclass(frozen=True)
class Tiling:
    """The register tiles of a product: BLIS's m_r x n_r, where n_r is `vectors` vectors."""

    dots: bool
    row: bool
    vectors: int
    lanes: int
    whole_tiles: int
    rest: int
    row_tiles: int
    rows: int
    tall: int
    short: bool  # whether tiles are so low that operands are read often

    @property
    def width(self) -> int:
        """Columns of a whole tile, n_r."""
        return self.vectors * self.lanes

    @property
    def height(self) -> int:
        """Rows of the highest tile, m_r."""
        return self.rows + bool(self.tall)

    @property
    def column_tiles(self) -> int:
        """Tiles beside each other, the narrower last one included."""
        return self.whole_tiles + bool(self.rest)

    @property
    def special(self) -> bool:
        """Whether there are no tiles but dot products, or sums of rows."""
        return self.dots or self.row


def make_plan(spec: ProductSpec, target: Target) -> Plan:
    """The cut of a product; `spec` is canonical. In BLIS's words: `steps` is k_c, `tiles_per_block` times the width of
    a tile is n_c, and
    m_c is all rows, since every thread packs what it reads itself.
    """
    if spec.packing:
        return _unpacking_plan(spec, target)
    size = SIZES[spec.dtype]
    tiling = _tiling(spec, target, size)
    pack_b = not (tiling.special or spec.packed) and _packs_b(spec, size, tiling)
    pack_a = not (tiling.special or spec.packed) and _packs_a(spec, size, tiling, pack_b)
    staged = spec.c_strides[-1] != 1 and spec.n > 1
    step_blocks, steps = _reduction(spec, size, tiling, pack_a or pack_b, staged, target)
    tiles_per_block = _tiles_per_block(spec, size, tiling, steps, pack_a, target)
    scratch = lambda elements: -(-elements * size // 64) * 64 // size  # whole cache lines
    return Plan(
        row_tiles=tiling.row_tiles, rows=tiling.rows, tall=tiling.tall, vectors=tiling.vectors,
        whole_tiles=tiling.whole_tiles, rest=tiling.rest, blocks=-(-tiling.column_tiles // max(1, tiles_per_block)),
        tiles_per_block=tiles_per_block, steps=steps, step_blocks=step_blocks, pack_a=pack_a, pack_b=pack_b,
        dots=tiling.dots, row=tiling.row, staged=staged, a_size=scratch(steps * tiling.height) if pack_a else 0,
        b_size=scratch(steps * tiling.width * tiles_per_block) if pack_b else 0,
        tile_size=scratch(tiling.height * tiling.width) if staged else 0)


def _tiling(spec: ProductSpec, target: Target, size: int) -> Tiling:
    lanes = target.lanes(spec.dtype)
    dots, row = _dots(spec, lanes), _is_row(spec, lanes)
    if dots:
        vectors = 1
    else:
        vectors = block_vectors(spec.n, lanes) if row else choose_vectors(spec.m, -(-spec.n // lanes), target)
    whole_tiles, rest = divmod(spec.n, vectors * lanes)
    most = WAYS if _collides(spec, size) and whole_tiles + bool(rest) < FEW_COLUMN_TILES else MOST_ROWS
    limit = min(most, tile_rows(target, vectors))
    row_tiles, rows, tall = (1, spec.m, 0) if dots or row else cut_rows(spec, size, limit)
    return Tiling(dots, row, vectors, lanes, whole_tiles, rest, row_tiles, rows, tall, limit < SHORT_TILE)


def _reduction(spec: ProductSpec, size: int, tiling: Tiling, packs: bool, staged: bool,
               target: Target) -> tuple[int, int]:
    """How many blocks the reduction is cut into, and the steps of the longest."""
    if staged or tiling.dots:
        limit = max(1, spec.steps)
    elif spec.packed and tiling.row_tiles > 1:
        limit = RESIDENT // (tiling.width * size)
    else:
        limit = LONGEST if packs or _streams(spec, size, tiling, target) else FAR
    blocks, steps, longer = split(spec.steps, limit)
    return blocks, steps + bool(longer)


def _tiles_per_block(spec: ProductSpec, size: int, tiling: Tiling, steps: int, pack_a: bool, target: Target) -> int:
    """As many column tiles as half of the L2 cache holds, but so few that there are units enough for all threads."""
    tiles = tiling.column_tiles
    if spec.packed:
        return 1
    fit = max(1, target.second_level // 2 // max(1, steps * tiling.width * size))
    units = math.prod((tiling.row_tiles, *spec.batch))
    wanted = ENOUGH_UNITS // 2 if pack_a else ENOUGH_UNITS  # every block packs its rows of a anew
    blocks = min(tiles, max(-(-tiles // fit), -(-wanted // max(1, units))))
    return -(-tiles // max(1, blocks))


def _unpacking_plan(spec: ProductSpec, target: Target) -> Plan:
    """The cut of a product with packed integers. A panel is one tile wide; it is unpacked for all row tiles together,
    or, where there is only
    one of them, just before its tile, so that rows of the integers are read in long stretches.
    """
    lanes, size = target.lanes(spec.dtype), SIZES[spec.dtype]
    vectors = choose_vectors(spec.m, -(-spec.n // lanes), target)
    width = vectors * lanes
    whole_tiles, rest = divmod(spec.n, width)
    tiles = whole_tiles + bool(rest)
    row_tiles, rows, tall = split(spec.m, min(MOST_ROWS, tile_rows(target, vectors)))
    step_blocks, steps, longer = split(spec.steps, max(1, LONGEST // spec.parts if row_tiles > 1 else NEAR
                                                       // (width * size * spec.parts)))
    steps += bool(longer)
    pack_a = row_tiles > 1 and tiles >= 4 and _collides(spec, size)
    tiles_per_block = 1 if row_tiles > 1 else max(1, min(STRETCH // width, tiles // FEWEST_UNITS))
    scratch = lambda columns: -(-spec.parts * steps * columns * size // 64) * 64 // size  # whole cache lines
    return Plan(
        row_tiles=row_tiles, rows=rows, tall=tall, vectors=vectors, whole_tiles=whole_tiles, rest=rest,
        blocks=-(-tiles // tiles_per_block), tiles_per_block=tiles_per_block,
        steps=steps, step_blocks=step_blocks, pack_a=pack_a, pack_b=True, dots=False, row=False, staged=False,
        a_size=scratch(rows + bool(tall)) if pack_a else 0, b_size=scratch(width), tile_size=0)


def _dots(spec: ProductSpec, lanes: int) -> bool:
    """Whether the product is better made of dot products along k."""
    along = (not (spec.narrow or spec.packed) and spec.a_strides[-1] == 1 and spec.b_strides[-2] == 1
             and spec.b_strides[-1] != 1)
    return along and spec.m <= FEW and spec.k >= lanes and spec.c_strides[-1] == 1 and spec.n > 1


def _is_row(spec: ProductSpec, lanes: int) -> bool:
    """Whether the product is better made of sums of rows of b, because these are short or come from memory."""
    if (
        spec.narrow
        or spec.packed
        or spec.m > 1
        or spec.n < lanes
        or spec.k < TOGETHER
        or not spec.b_strides[-1] == spec.c_strides[-1] == 1
    ):
        return False
    return spec.n <= SHORT_ROW or spec.k * spec.n * SIZES[spec.dtype] >= LARGE


def _collides(spec: ProductSpec, size: int) -> bool:
    """Whether the rows of a fall on the same sets of the L1 cache."""
    size = 2 if spec.narrow else size
    return spec.a_strides[-1] == 1 and spec.a_strides[-2] * size % 2048 == 0 and spec.k * size >= 2048


def _packs_a(spec: ProductSpec, size: int, tiling: Tiling, pack_b: bool) -> bool:
    """Rows that fall on the same cache sets are packed, and steps that are far apart if many tiles read them."""
    tiles, often = tiling.column_tiles, 1 + tiling.short
    if spec.narrow and not spec.reads_pairs:
        return True
    if spec.m < 8 or spec.k < 32:
        return False
    if _collides(spec, size) or (_is_long(spec) and not pack_b):
        return tiles >= 4 and (_collides(spec, size) or spec.a_strides[-1] * size >= 2048)
    return tiles * often >= 12 and spec.a_strides[-1] != 1 and spec.a_strides[-1] * size >= 4096


def _packs_b(spec: ProductSpec, size: int, tiling: Tiling) -> bool:
    """Columns that do not lie next to each other must be packed; steps that are far apart if many tiles read them."""
    if spec.narrow or (spec.b_strides[-1] != 1 and spec.n > 1):
        return True
    distance = spec.b_strides[-2] * size * (1 + tiling.short)
    return tiling.row_tiles >= 4 and spec.k >= 32 and distance >= (2048 if _is_long(spec) else 4096)


def _streams(spec: ProductSpec, size: int, tiling: Tiling, target: Target) -> bool:
    """Whether the rows and columns that other tiles read again are too long for the L2 cache; blocks of them are not.
    """
    if tiling.special:
        return False
    read_again = tiling.width * (tiling.row_tiles > 1) + tiling.rows * (tiling.column_tiles > 1)
    return read_again * spec.k * size > target.second_level


def _is_long(spec: ProductSpec) -> bool:
    """Whether the reduction is many panels long, as in the gradient of a weight: its operands come from memory."""
    return spec.k >= 4 * LONGEST


def product_scratch(spec: ProductSpec, target: Target, threads: int) -> int:
    """Bytes of 64-byte aligned scratch that all threads together need."""
    spec, _ = canonical(spec, target)
    return make_plan(spec, target).scratch * SIZES[spec.dtype] * threads


# ---- the kernel

def emit_product(module: ir.Module, name: str, spec: ProductSpec, target: Target, epilogue: Epilogue | None = None,
                 pointers: int = 0) -> list[ir.Function]:
    """Functions ``void (a, b, c, extras…, scratch, i64 thread, i64 threads)``, to be called in turn with barriers
    between.

    Behind b that is packed integers come their scales.
    `epilogue` (with its number of extra `pointers`) replaces the named steps of the spec; see `kernel_finish`. Its row
    counts over batch and m together. c must overlap neither the operands nor the extras. A packed product has a further
    argument, `turn`: if it is 1, panels are taken in the opposite order, so that a loop which takes turns finds those
    of the end of the last round in the cache when all of them do not fit.
    """
    if epilogue is None:
        epilogue, pointers = named_epilogue(spec.epilogue, spec.dtype, spec.n, target)
    elif not spec.epilogue:
        spec = dataclasses.replace(spec, epilogue=(("callback",),))
    spec, swapped = canonical(spec, target)
    arguments = [("a", POINTER), ("b", POINTER), *([("scales", POINTER)] if spec.packing else []), ("c", POINTER),
                 *[(f"extra{number}", POINTER) for number in range(pointers)],
                 ("scratch", POINTER), ("thread", INDEX), ("threads", INDEX),
                 *([("turn", INDEX)] if spec.packed else [])]
    function, writer = open_function(module, name, arguments, spec.dtype, target)
    a, b, *scales, c = function.args[:3 + bool(spec.packing)]
    rest = function.args[3 + bool(spec.packing):]
    extras, (scratch, thread, threads, *turn) = rest[:pointers], rest[pointers:]
    if spec.m and spec.n and 0 not in spec.batch:
        emitter = _Product(writer, name, spec, make_plan(spec, target), epilogue, extras, swapped, *scales)
        emitter.emit(b if swapped else a, a if swapped else b, c, scratch, thread, threads, *turn)
    writer.builder.ret_void()
    return [function]


class _Product:
    """One kernel being written: groups (batch item and column block), then blocks of the reduction, then tiles."""

    def __init__(self, writer: Writer, name: str, spec: ProductSpec, plan: Plan, epilogue: Epilogue | None,
                 extras: list[ir.Value], swapped: bool, scales: ir.Value | None = None):
        self.writer, self.spec, self.plan = writer, spec, plan
        self.extras, self.swapped, self.scales = extras, swapped, scales
        self.module, self.target = writer.module, writer.target
        self.width = plan.vectors * writer.lanes
        self.out_step = self.width if plan.staged else spec.c_strides[-2]
        self.name, self.epilogue = f"{name}_finish", epilogue
        # of the operands' elements
        self.pack, self.kind = (emit_pairs, ir.IntType(16)) if spec.narrow else (emit_pack, None)

    def emit(self, a: ir.Value, b: ir.Value, c: ir.Value, scratch: ir.Value, thread: Index, threads: Index,
             turn: ir.Value | None = None) -> None:
        writer, plan = self.writer, self.plan
        mine = writer.at(scratch, writer.mul(thread, plan.scratch))
        self.a_panel, self.b_panels = mine, writer.at(mine, plan.a_size)
        self.tile = writer.at(mine, plan.a_size + plan.b_size)
        groups = plan.blocks
        for extent in self.spec.batch:
            groups *= extent
        begin, end = writer.share(groups * plan.row_tiles, thread, threads)
        first, _ = writer.divide(begin, plan.row_tiles)
        last, _ = writer.divide(writer.add(end, plan.row_tiles - 1), plan.row_tiles)
        with writer.loop(first, last) as group:
            if turn is not None:
                group = writer.builder.select(writer.less(0, turn),
                                              writer.sub(writer.add(first, writer.sub(last, 1)), group),
                                              constant(group))
            done = writer.mul(group, plan.row_tiles)
            tiles = writer.maximum(writer.sub(begin, done), 0), writer.minimum(writer.sub(end, done), plan.row_tiles)
            self._group(group, tiles, a, b, c)

    def _group(self, group: Index, tiles: tuple[Index, Index], a: ir.Value, b: ir.Value, c: ir.Value) -> None:
        writer, spec, plan = self.writer, self.spec, self.plan
        item, block = writer.divide(group, plan.blocks) if spec.batch else (0, group)
        places = writer.unravel(item, spec.batch)
        self.first_row = writer.mul(item, spec.n if self.swapped else spec.m)
        self.begin = writer.mul(block, plan.tiles_per_block) if plan.blocks > 1 else 0
        self.end = writer.minimum(writer.add(self.begin, plan.tiles_per_block), plan.whole_tiles + bool(plan.rest))
        a, b, c = (writer.at(pointer, writer.dot(places, strides[:-2]), kind)
                   for pointer, strides, kind in ((a, spec.a_strides, self.kind), (b, spec.b_strides, self.kind),
                                                  (c, spec.c_strides, None)))
        if plan.step_blocks == 1:
            self._steps(0, tiles, a, b, c)
            return
        with writer.loop(0, plan.step_blocks) as step_block:
            self._steps(step_block, tiles, a, b, c)

    def _steps(self, step_block: Index, tiles: tuple[Index, Index], a: ir.Value, b: ir.Value, c: ir.Value) -> None:
        writer, spec, plan = self.writer, self.spec, self.plan
        start = writer.mul(step_block, plan.steps)
        self.count = writer.minimum(plan.steps, writer.sub(spec.steps, start))
        self.first_block = isinstance(step_block, int) or writer.builder.icmp_signed("==", step_block, constant(0))
        self.last_block = isinstance(step_block, int) or writer.builder.icmp_signed(
            "==", step_block, constant(plan.step_blocks - 1))
        first = writer.mul(start, 2) if spec.narrow else start
        self.packed = writer.minimum(2 * plan.steps, writer.sub(spec.k, first)) if spec.narrow else self.count
        a = writer.at(a, writer.mul(first, spec.a_strides[-1]), self.kind)
        b = b if spec.packed or spec.packing else writer.at(b, writer.mul(first, spec.b_strides[-2]), self.kind)
        self.start = start
        if spec.packing and plan.row_tiles == 1:
            self._over_columns(lambda column, number, valid: self._unpacked_tile(column, valid, a, b, c))
            return
        if plan.pack_b:
            self._over_columns(lambda column, number, valid: self._pack_b(b, column, number, valid))
        heights = (plan.rows + 1, writer.maximum(tiles[0], 0), writer.minimum(tiles[1], plan.tall),
                   0) if plan.tall else None
        if heights:
            self._row_tiles(*heights, a, b, c)
        self._row_tiles(plan.rows, writer.maximum(tiles[0], plan.tall), tiles[1], plan.tall, a, b, c)

    def _row_tiles(self, height: int, begin: Index, end: Index, shift: int, a: ir.Value, b: ir.Value,
                   c: ir.Value) -> None:
        writer, spec, plan = self.writer, self.spec, self.plan
        with writer.loop(begin, end) as tile:
            row = writer.add(writer.mul(tile, height), shift)
            left = writer.at(a, writer.mul(row, spec.a_strides[-2]), self.kind)
            if plan.pack_a:
                panel = Panel(spec.dtype, height, height, spec.a_strides[-2], spec.a_strides[-1])
                for part in range(spec.parts):
                    places = (writer.at(left, part * self._apart, self.kind),
                              writer.at(self.a_panel, part * plan.steps * height))
                    writer.builder.call(self.pack(self.module, panel, self.target), [*places, constant(self.packed)])
                left = self.a_panel
            self._over_columns(lambda column, number, valid: self._tile(height, row, column, number, valid, left, b, c))

    @property
    def _apart(self) -> int:
        """Elements of a between the parts of a step."""
        return self.spec.k // self.spec.parts * self.spec.a_strides[-1]

    def _over_columns(self, body) -> None:  # type: ignore[no-untyped-def]
        """Call body(first column, number of the tile in its block, columns that exist) for the tiles of this block."""
        writer, plan = self.writer, self.plan
        if plan.whole_tiles:
            with writer.loop(self.begin, writer.minimum(self.end, plan.whole_tiles)) as tile:
                body(writer.mul(tile, self.width), writer.sub(tile, self.begin), self.width)
        if not plan.rest:
            return
        if plan.blocks == 1:
            body(plan.whole_tiles * self.width, plan.whole_tiles, plan.rest)
            return
        with writer.builder.if_then(writer.less(plan.whole_tiles, self.end)):
            body(plan.whole_tiles * self.width, writer.sub(plan.whole_tiles, self.begin), plan.rest)

    def _pack_b(self, b: ir.Value, column: Index, number: Index, valid: int) -> None:
        writer, strides = self.writer, self.spec.b_strides
        width = -(-valid // writer.lanes) * writer.lanes
        if self.spec.packing:
            unpacking = Unpacking(self.spec.dtype, self.spec.packing, width, valid, self.spec.n, self.spec.k,
                                  self.plan.steps)
            places = writer.at(b, column, BYTE), writer.at(self.scales, column), self._b_panel(number)
            writer.builder.call(emit_unpack(self.module, unpacking, self.target),
                                [*places, *map(constant, (self.start, self.count))])
            return
        pack = self.pack(self.module, Panel(self.spec.dtype, width, valid, strides[-1], strides[-2]), self.target)
        source = writer.at(b, writer.mul(column, strides[-1]), self.kind)
        writer.builder.call(pack, [source, self._b_panel(number), constant(self.packed)])

    def _unpacked_tile(self, column: Index, valid: int, a: ir.Value, b: ir.Value, c: ir.Value) -> None:
        """A panel of packed integers, and the one tile that reads it."""
        self._pack_b(b, column, 0, valid)
        self._tile(self.spec.m, 0, column, 0, valid, a, b, c)

    def _b_panel(self, number: Index) -> ir.Value:
        return self.writer.at(self.b_panels, self.writer.mul(number, self.spec.parts * self.plan.steps * self.width))

    def _panel(self, b: ir.Value, column: Index, valid: int) -> ir.Value:
        """Where this block of a panel packed beforehand begins: panels lie one after the other, steps in turn."""
        writer = self.writer
        return writer.at(b, writer.add(writer.mul(column, self.spec.steps),
                                       writer.mul(self.start, -(-valid // writer.lanes) * writer.lanes)))

    def _tile(self, height: int, row: Index, column: Index, number: Index, valid: int, left: ir.Value, b: ir.Value,
              c: ir.Value) -> None:
        writer, spec, plan = self.writer, self.spec, self.plan
        out = writer.at(c, writer.add(writer.mul(row, spec.c_strides[-2]), writer.mul(column, spec.c_strides[-1])))
        if spec.packed:
            right = self._panel(b, column, valid)
        else:
            right = self._b_panel(number) if plan.pack_b else writer.at(b, writer.mul(column, spec.b_strides[-1]))
        accumulate = ir.IntType(1)(1)
        if not spec.accumulate:
            fresh = self.first_block
            accumulate = ir.IntType(1)(0) if isinstance(fresh, bool) else writer.builder.not_(fresh)
        place = self.tile if plan.staged else out
        if plan.dots:
            self._dot_rows(left, right, out, row, column, valid, accumulate)
            return
        if plan.row:
            self._sum_rows(left, right, out, column, valid, accumulate)
            return
        if plan.staged:
            with writer.builder.if_then(accumulate):
                self._move(height, valid, out, place, gather=True)
        self._ahead(*((column, row, valid, height) if self.swapped else (row, column, height, valid)))
        tile = emit_tile(self.module, self._tile_constants(height, valid), self.target)
        writer.builder.call(tile, [left, right, place, constant(self.count), accumulate])
        if plan.staged and self.swapped:
            self._turn(height, valid, out, place)
            self._finish(out, column, row, valid, height)
            return
        self._finish(place, *((column, row, valid, height) if self.swapped else (row, column, height, valid)))
        if plan.staged:
            self._move(height, valid, out, place, gather=False)

    def _tile_constants(self, height: int, valid: int) -> Tile:
        spec, plan, lanes = self.spec, self.plan, self.writer.lanes
        row, step = (1, height) if plan.pack_a else (spec.a_strides[-2] // 2, 1) if spec.narrow else spec.a_strides[-2:]
        vectors, tail = -(-valid // lanes), valid % lanes
        panels = plan.pack_b or spec.packed
        right_step = vectors * lanes if panels else spec.b_strides[-2]
        apart = plan.steps * height if plan.pack_a else self._apart
        taps = (tuple((part * apart, part * right_step, 0, height) for part in range(spec.parts)) if spec.parts > 1
                else ())
        return Tile(spec.dtype, tuple(number * row for number in range(height)), vectors,
                    ((0, step, spec.parts * right_step),), self.out_step, 0 if panels else tail, tail,
                    pairs=spec.narrow, taps=taps)

    def _ahead(self, row: Index, column: Index, rows: int, columns: int) -> None:
        """Fetch what the epilogue will read, while the sums are made."""
        if getattr(self.epilogue, "reads_ahead", False):
            self._last(emit_ahead(self.module, self.name, self.spec.dtype, columns, self.epilogue, len(self.extras),
                                  self.target),
                       [], row, column, rows)

    def _finish(self, out: ir.Value, row: Index, column: Index, rows: int, columns: int) -> None:
        """Run the epilogue; of a swapped product it still sees the rows and columns that the caller knows."""
        if not self.epilogue:
            return
        step = self.spec.c_strides[-1] if self.swapped else self.out_step
        finish = emit_finish(self.module, self.name, self.spec.dtype, step, columns, self.epilogue, len(self.extras),
                             self.target)
        self._last(finish, [out], row, column, rows)

    def _last(self, function: ir.Function, first: list[ir.Value], row: Index, column: Index, rows: int) -> None:
        """Call a part of the epilogue, in the last block of the reduction."""
        writer = self.writer
        arguments = [writer.add(self.first_row, row), 1, column, rows]
        call = lambda: writer.builder.call(function, [*first, *map(constant, arguments), *self.extras])
        if isinstance(self.last_block, bool):
            call()
            return
        with writer.builder.if_then(self.last_block):
            call()

    def _dot_rows(self, left: ir.Value, right: ir.Value, out: ir.Value, row: Index, column: Index, valid: int,
                  accumulate: ir.Value) -> None:
        writer, spec = self.writer, self.spec
        dots = emit_dots(self.module, Dots(spec.dtype, valid, spec.k, spec.b_strides[-1]), self.target)
        for number in range(spec.m):
            a, c = writer.at(left, number * spec.a_strides[-2]), writer.at(out, number * spec.c_strides[-2])
            writer.builder.call(dots, [a, right, c, accumulate])
        self._finish(out, *((column, row, valid, spec.m) if self.swapped else (row, column, spec.m, valid)))

    def _sum_rows(self, left: ir.Value, right: ir.Value, out: ir.Value, column: Index, valid: int,
                  accumulate: ir.Value) -> None:
        writer, spec = self.writer, self.spec
        function = emit_row(self.module, Row(spec.dtype, valid, spec.a_strides[-1], spec.b_strides[-2]), self.target)
        writer.builder.call(function, [left, right, out, constant(self.count), accumulate])
        if self.swapped:
            self._finish(out, column, 0, valid, 1)
            return
        width = FINISHED * writer.lanes
        with writer.loop(0, valid // width) as part:
            first = writer.mul(part, width)
            self._finish(writer.at(out, first), 0, writer.add(column, first), 1, width)
        if valid % width:
            done = valid - valid % width
            self._finish(writer.at(out, done), 0, writer.add(column, done), 1, valid % width)

    def _turn(self, height: int, valid: int, out: ir.Value, tile: ir.Value) -> None:
        """Write the tile in scratch to c, whose columns are the tile's rows."""
        panel = Panel(self.spec.dtype, height, height, self.width, 1, self.spec.c_strides[-1])
        self.writer.builder.call(emit_pack(self.module, panel, self.target), [tile, out, constant(valid)])

    def _move(self, height: int, valid: int, out: ir.Value, tile: ir.Value, gather: bool) -> None:
        """Copy between c, wherever its elements lie, and the tile in scratch."""
        writer, strides = self.writer, self.spec.c_strides
        with writer.loop(0, height) as row, writer.loop(0, valid) as column:
            far = writer.at(out, writer.add(writer.mul(row, strides[-2]), writer.mul(column, strides[-1])))
            near = writer.at(tile, writer.add(writer.mul(row, self.width), column))
            source, destination = (far, near) if gather else (near, far)
            writer.store(writer.load(source), destination)
