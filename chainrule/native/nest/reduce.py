# SPDX-License-Identifier: Apache-2.0
"""Reductions inside a kernel: sums and extremes over loops, kept in registers, in an order that the shape alone fixes.

Where the reduced axis runs through the lanes, each lane keeps a part and the parts are joined by a tree at the end;
where a kept axis does, each lane is a result of its own. argmax and argmin keep (value, index) pairs, one for all lanes
where the reduced axis runs through them; the first of equals wins and a NaN wins over everything, as in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from llvmlite import ir

from ..llvm import operations
from ..llvm.math.lanes import splat
from ..llvm.writer import INDEX, Index, Writer
from .affine import Form, Var, bounds, coefficient
from .expression import Expression, Kernel, Stage, Store, operands

NARROW, BIT = ir.IntType(32), ir.IntType(1)
COPIES, FEW_OPERATIONS = 4, 12
MANY_VECTORS = 16  # from which a better element comes seldom
SIDE_BY_SIDE, FEW_SIDE_OPERATIONS = 8, 24  # vectors of results, at most
Pair = tuple[ir.Value, ...]


def identity(reduce: str, dtype: str) -> float | int:
    """What a reduction begins with."""
    if reduce == "sum":
        return 0.0 if operations.is_float(dtype) else 0
    largest = reduce in ("max", "argmax")
    if operations.is_float(dtype):
        return float("-inf") if largest else float("inf")
    if dtype == "bool":
        return int(not largest)
    limits = np.iinfo(dtype)
    return int(limits.min if largest else limits.max)


class Nest(Protocol):
    """What a reduction needs of the emitter of the kernel around it."""

    kernel: Kernel
    builder: ir.IRBuilder
    writer: Writer
    entry: ir.Block
    lanes: int
    lane: Var | None
    tail: ir.Value | None  # the mask of the last, partial vector

    def level(self, variables_: dict[Var, Index]) -> AbstractContextManager[None]: ...
    def nest(self, loops: Sequence[Var]) -> AbstractContextManager[None]: ...
    def lane_loop(self, var: Var, copies: int = 1, begin: Index = 0) -> Iterator[int]: ...
    def offset(self, form: Form) -> Index: ...
    def spread(self, value: ir.Value, b: ir.IRBuilder) -> ir.Value: ...
    def value(self, x: Expression) -> ir.Value: ...
    def stores(self, stores: Sequence[Store]) -> None: ...
    def store(self, store: Store, value: ir.Value) -> None: ...


class Reduction:
    """Writes one reduction stage; accumulators live on the stack until LLVM puts them into registers."""

    def __init__(self, emitter: Nest, stage: Stage):
        self.emitter, self.stage = emitter, stage
        self.by_index = stage.reduce in ("argmax", "argmin")
        self.lane_reduced = stage.lane is not None and stage.lane in stage.over
        self.seldom = self.by_index and self.lane_reduced and self.is_seldom_better(stage.lane)

    def is_seldom_better(self, lane: Var) -> bool:
        """Whether so many floats are compared that a better one comes seldom."""
        floats = all(operations.is_float(store.value.dtype) for store in self.stage.sums)
        return (floats and lane.n >= MANY_VECTORS * self.emitter.lanes
                and coefficient(self.stage.index, lane) is not None)

    def emit(self) -> None:
        """Loops over what is kept, and inside them over what is reduced."""
        emitter, stage = self.emitter, self.stage
        if stage.lane is None or self.lane_reduced:
            with emitter.nest(stage.inner):
                self.reduce()
            return
        with emitter.nest(stage.inner[:-1]):
            done = self.side_by_side(stage.lane)
            for _ in emitter.lane_loop(stage.lane, begin=done):
                self.reduce()

    def side_by_side(self, lane: Var) -> int:
        """Several vectors of results in one pass, so that whole cache lines in a row are read and no sum waits; how
        many elements."""
        emitter, writer = self.emitter, self.emitter.writer
        count = min(SIDE_BY_SIDE, lane.n // emitter.lanes)
        if (
            lane in emitter.kernel.limits
            or count < 2
            or self.by_index
            or len(operands(self.stage)) > FEW_SIDE_OPERATIONS
        ):
            return 0
        step = count * emitter.lanes
        stop = lane.n // step * step
        with writer.loop(0, stop, step) as first:
            parts = [[self.allocate(store, True) for store in self.stage.sums] for _ in range(count)]
            with emitter.level({}), emitter.nest(self.stage.over):
                for part in self._vectors(lane, first, parts):
                    self.steps(part)
            for part in self._vectors(lane, first, parts):
                for store, places in zip(self.stage.sums, part, strict=True):
                    self.finish(store, [places])
        return stop

    def _vectors(self, lane: Var, first: Index, parts: list[Any]) -> Iterator[Any]:
        """The parts, each while its vector is the present one."""
        emitter = self.emitter
        for number, part in enumerate(parts):
            emitter.lane = lane
            with emitter.level({lane: emitter.writer.add(first, number * emitter.lanes)}):
                yield part
            emitter.lane = None

    def reduce(self) -> None:
        """All sums of one place (of one vector of places)."""
        emitter, stage = self.emitter, self.stage
        vector, copies = stage.lane is not None, self.copies()
        parts = [[self.allocate(store, vector) for store in stage.sums] for _ in range(1 if self.seldom else copies)]
        with emitter.level({}):
            loops = stage.over[:-1] if self.lane_reduced else stage.over
            with emitter.nest(loops):
                if self.lane_reduced:
                    for copy in emitter.lane_loop(stage.lane, copies):
                        self.steps(parts[0 if self.seldom else copy])
                else:
                    self.steps(parts[0])
        for number, store in enumerate(stage.sums):
            self.finish(store, [part[number] for part in parts])

    def copies(self) -> int:
        """How many partial results stand side by side, so that none waits for the one before; by the shape alone."""
        lane = self.stage.lane
        if not self.lane_reduced or lane is None or lane.n < 2 * COPIES * self.emitter.lanes:
            return 1
        return COPIES if len(operands(self.stage)) <= FEW_OPERATIONS else 1

    def types(self, store: Store, vector: bool) -> tuple[ir.Type, ...]:
        """The types of an accumulator."""
        element = operations.ELEMENTS[self.source(store)]
        types = (
            (element, self.index_type()) if self.by_index else (element, BIT) if self.is_apart(store) else (element,)
        )
        if self.seldom:
            return (*types, BIT)
        return tuple(ir.VectorType(t, self.emitter.lanes) for t in types) if vector else types

    def is_apart(self, store: Store) -> bool:
        """Whether the extreme of the numbers and the mark of a NaN are two values: one instruction each."""
        return self.stage.reduce in ("max", "min") and operations.is_float(self.source(store))

    def index_type(self) -> ir.IntType:
        """Positions are kept in 32 bits where they fit."""
        return NARROW if bounds(self.stage.index)[1] < 1 << 31 else INDEX

    def index(self, vector: bool) -> ir.Value:
        """The position of the present element, or of every lane."""
        emitter, form, type_ = self.emitter, self.stage.index, self.index_type()
        b = emitter.builder
        place = emitter.offset(form)
        first = type_(place) if isinstance(place, int) else place if type_ == INDEX else b.trunc(place, type_)
        if not vector:
            return first
        step = coefficient(form, emitter.lane) or 0
        lanes = ir.Constant(ir.VectorType(type_, emitter.lanes), [step * i for i in range(emitter.lanes)])
        return b.add(emitter.spread(first, b), lanes)

    def source(self, store: Store) -> str:
        """The dtype of what is reduced."""
        return store.value.dtype

    def allocate(self, store: Store, vector: bool) -> list[ir.Value]:
        """Fresh accumulators with their first values."""
        emitter = self.emitter
        first = ir.IRBuilder(emitter.entry)
        first.position_at_start(emitter.entry)
        start: list[float | int] = [identity(self.stage.reduce or "", self.source(store)), 0, 0]
        places = []
        for type_, value in zip(self.types(store, vector), start, strict=False):
            place = first.alloca(type_)
            emitter.builder.store(splat(type_, value), place)
            places.append(place)
        return places

    def steps(self, parts: list[list[ir.Value]]) -> None:
        """Add one element (one vector) to each accumulator."""
        emitter, b = self.emitter, self.emitter.builder
        values = [emitter.value(store.value) for store in self.stage.sums]
        emitter.stores(self.stage.stores)
        for store, value, places in zip(self.stage.sums, values, parts, strict=True):
            if self.seldom:
                self.watch(b, emitter.spread(value, b), places, self.source(store))
                continue
            types = self.types(store, self.stage.lane is not None)
            new: Pair = (emitter.spread(value, b) if isinstance(types[0], ir.VectorType) else value,)
            if self.by_index:
                new = (*new, self.index(isinstance(types[0], ir.VectorType)))
            if self.is_apart(store):
                new = (*new, b.fcmp_unordered("uno", new[0], new[0]))
            old = tuple(b.load(place, typ=type_) for place, type_ in zip(places, types, strict=True))
            joined = self.advance(b, old, new, self.source(store))
            if self.lane_reduced and emitter.tail is not None:
                joined = tuple(b.select(emitter.tail, j, o) for j, o in zip(joined, old, strict=True))
            for place, result in zip(places, joined, strict=True):
                b.store(result, place)

    def advance(self, b: ir.IRBuilder, old: Pair, new: Pair, dtype: str) -> Pair:
        """A partial result and the next element; positions grow, so the old one wins among equals."""
        if not self.by_index:
            return self.join(b, old, new, dtype)
        sign = ">" if self.stage.reduce == "argmax" else "<"
        if operations.is_float(dtype):
            better = b.and_(b.fcmp_unordered(sign, new[0], old[0]), b.fcmp_ordered("ord", old[0], old[0]))
        else:
            better = operations.compare(b, sign, dtype, new[0], old[0])
        return b.select(better, new[0], old[0]), b.select(better, new[1], old[1])

    def watch(self, b: ir.IRBuilder, new: ir.Value, places: list[ir.Value], dtype: str) -> None:
        """A vector whose positions run along the lanes: what is best so far is one number, so a better one comes
        seldom.

        A NaN ends the search: only a NaN is better than the limit then, and it is not the first.
        """
        sign, emitter = ">" if self.stage.reduce == "argmax" else "<", self.emitter
        lanes = emitter.lanes
        kinds = (operations.ELEMENTS[dtype], self.index_type(), BIT)
        bits = lambda mask: b.bitcast(mask, ir.IntType(lanes))
        some = lambda number: b.icmp_unsigned("!=", number, ir.IntType(lanes)(0))
        limit = emitter.spread(b.load(places[0], typ=kinds[0]), b)
        better = b.fcmp_unordered(sign, new, limit)
        better = better if emitter.tail is None else b.and_(better, emitter.tail)
        with b.if_then(some(bits(better)), likely=False):
            known = [b.load(place, typ=kind) for place, kind in zip(places, kinds, strict=True)]
            tree = b.select(better, new, limit)
            for step in (1 << i for i in range(lanes.bit_length() - 1)):
                order = ir.Constant(ir.VectorType(NARROW, lanes), [(i + step) % lanes for i in range(lanes)])
                moved = b.shuffle_vector(tree, tree, order)
                tree = b.select(operations.compare(b, sign, dtype, moved, tree), moved, tree)
            missing = bits(b.and_(better, b.fcmp_unordered("uno", new, new)))
            is_missing, equal = some(missing), bits(b.and_(better, operations.compare(b, "==", dtype, new, tree)))
            best = b.select(is_missing, kinds[0](-identity(self.stage.reduce, dtype)),
                            b.extract_element(tree, NARROW(0)))
            chosen, done = b.select(is_missing, missing, equal), b.or_(known[2], is_missing)
            place = emitter.offset(self.stage.index)
            first = (kinds[1](place) if isinstance(place, int) else place if kinds[1] == INDEX
                     else b.trunc(place, kinds[1]))
            lane = b.cttz(chosen, BIT(1))
            lane = b.trunc(lane, kinds[1]) if lanes > kinds[1].width else b.zext(lane, kinds[1])
            index = b.add(first, b.mul(lane, kinds[1](coefficient(self.stage.index, self.stage.lane))))
            for there, old, value in zip(places, known, (best, index, done), strict=True):
                b.store(b.select(known[2], old, value), there)

    def join(self, b: ir.IRBuilder, old: Pair, new: Pair, dtype: str) -> Pair:
        """Two partial results as one."""
        reduce = self.stage.reduce
        if self.by_index:
            return _first(b, old, new, dtype, ">" if reduce == "argmax" else "<")
        if reduce == "sum":
            return (operations.OPERATIONS["add"](b, dtype, old[0], new[0]),)
        if len(new) > 1:
            better = operations.compare(b, ">" if reduce == "max" else "<", dtype, new[0], old[0])
            return b.select(better, new[0], old[0]), b.or_(old[1], new[1])
        return (operations.OPERATIONS["maximum" if reduce == "max" else "minimum"](b, dtype, new[0], old[0]),)

    def finish(self, store: Store, parts: list[list[ir.Value]]) -> None:
        """Join the partial results and store them."""
        emitter, b = self.emitter, self.emitter.builder
        dtype, types = self.source(store), self.types(store, self.stage.lane is not None)
        loaded = [tuple(b.load(place, typ=type_) for place, type_ in zip(places, types, strict=True))
                  for places in parts]
        while len(loaded) > 1:
            loaded = [self.join(b, one, two, dtype) for one, two in zip(loaded[::2], loaded[1::2], strict=True)]
        found = loaded[0]
        if self.is_apart(store):
            found = (b.select(found[1], splat(found[0].type, float("nan")), found[0]),)
        values = self.across(b, found, dtype) if self.lane_reduced and not self.seldom else found
        if self.by_index:
            store = Store(store.slot, store.form, Expression("position", "int64", (), None, -1))
            values = (operations.cast(b, values[1], "int32" if self.index_type() == NARROW else "int64", "int64"),)
        emitter.store(store, values[0])

    def across(self, b: ir.IRBuilder, values: Pair, dtype: str) -> Pair:
        """The lanes joined by a tree."""
        lanes = self.emitter.lanes
        step = lanes // 2
        while step:
            order = [(i + step) % lanes for i in range(lanes)]
            moved = tuple(b.shuffle_vector(v, v, ir.Constant(ir.VectorType(NARROW, lanes), order)) for v in values)
            values = self.join(b, values, moved, dtype)
            step //= 2
        return tuple(b.extract_element(v, NARROW(0)) for v in values)


def _first(b: ir.IRBuilder, old: Pair, new: Pair, dtype: str, sign: str) -> Pair:
    """The pair with the better value; of equal ones, that with the smaller index."""
    better = operations.compare(b, sign, dtype, new[0], old[0])
    same = operations.compare(b, "==", dtype, new[0], old[0])
    if operations.is_float(dtype):
        nan_new, nan_old = b.fcmp_unordered("uno", new[0], new[0]), b.fcmp_unordered("uno", old[0], old[0])
        better = b.or_(better, b.and_(nan_new, b.not_(nan_old)))
        same = b.or_(same, b.and_(nan_new, nan_old))
    better = b.or_(better, b.and_(same, b.icmp_signed("<", new[1], old[1])))
    return b.select(better, new[0], old[0]), b.select(better, new[1], old[1])

