# SPDX-License-Identifier: Apache-2.0
"""Attention of a few queries with many keys, as when a model writes word by word: lanes run along the keys.

In: q, k, v, perhaps a mask. Out: y and the logarithm of each query's denominator. A unit of work is one sample with
some of its heads of keys and all queries that share them; each query has a row of scores in scratch. The scores come
first, a few keys at a time for all queries, then the weights, then the values, a few keys at a time: keys and values
are read once, as they lie, and only up to the last key that somebody sees. So room for steps to come costs nothing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from llvmlite import ir

from ...llvm.math import exponential
from ...llvm.writer import INDEX, POINTER, Index, constant, intrinsic, open_function, spread
from ...target import Target
from ..product.dots import Dots, emit_dots
from .blocks import BYTE, LN2, LOG2_E, AttentionWriter, line, parts
from .spec import SIZES, AttentionSpec

ENOUGH_UNITS = 16  # of work, below which fewer heads are taken together


def heads_together(spec: AttentionSpec) -> int:
    """How many heads of keys a unit has: as many as possible, since they lie side by side in memory."""
    fit = [n for n in range(1, spec.groups + 1) if spec.groups % n == 0 and spec.batch * (spec.groups // n)
           >= ENOUGH_UNITS]
    return max(fit, default=1)


def few_sizes(spec: AttentionSpec, target: Target) -> list[int]:
    """Elements of the pieces of one thread's scratch: a row of scores and the inverse sum of each query of a unit."""
    lanes, queries = target.lanes(spec.dtype), heads_together(spec) * spec.shared * spec.steps
    return [queries * -(-spec.sources // lanes) * lanes, queries]


def few_scratch(spec: AttentionSpec, target: Target) -> int:
    """Bytes of one thread's scratch."""
    return sum(line(n, SIZES[spec.dtype]) for n in few_sizes(spec, target)) * SIZES[spec.dtype]


def emit_few(module: ir.Module, name: str, spec: AttentionSpec, target: Target) -> ir.Function:
    """The function ``void (q, k, v, [mask], y, denominator, scratch, i64 thread, i64 threads)``."""
    names = ["q", "k", "v", *(["mask"] if spec.mask else []), "y", "denominator", "scratch"]
    arguments = [(n, POINTER) for n in names] + [("thread", INDEX), ("threads", INDEX)]
    function, writer = open_function(module, name, arguments, spec.dtype, target)
    emitter = FewEmitter(writer, spec, target)
    emitter.given = dict(zip([*names, "thread", "threads"], function.args, strict=True))
    emitter.emit()
    writer.builder.ret_void()
    return function


class FewEmitter(AttentionWriter):
    """One kernel being written."""

    given: dict[str, ir.Value]

    def emit(self) -> None:
        """The loop over units: (sample, some heads of keys)."""
        spec, w, given = self.spec, self.writer, self.given
        mine = w.at(given["scratch"], w.mul(given["thread"], few_scratch(spec, self.target) // w.size))
        self.rows, self.factors = parts(mine, few_sizes(spec, self.target), w)
        self.pitch = -(-spec.sources // self.lanes) * self.lanes
        self.together = heads_together(spec)
        self.most = self.builder.alloca(INDEX)  # keys that somebody sees
        begin, end = w.share(spec.batch * (spec.groups // self.together), given["thread"], given["threads"])
        with w.loop(begin, end) as unit:
            self.sample, number = w.divide(unit, spec.groups // self.together)
            self.group = w.mul(number, self.together)
            self._unit()

    def _unit(self) -> None:
        spec, w, lanes = self.spec, self.writer, self.lanes
        count = self._seen_by_all()
        with w.loop(0, count, lanes) as key, self._queries(key, 1) as query:
            self._scores(key, *query)
        with self._queries() as query:
            self._weights(count, *query)
        with w.loop(0, count, lanes) as key, self._queries(key, 2) as (group, number, head, step):
            left, right = w.at(self._row(number), key), self._source(2, key, group)
            y = w.at(self.given["y"], w.mul(self._place(step, head), spec.value_width))
            self.product(1, spec.value_width, left, (0, 1), right, spec.strides[2][1], y, spec.value_width,
                         w.minimum(lanes, w.sub(count, key)), True)
        with self._queries() as query:
            self._divide(*query)

    @contextlib.contextmanager
    def _queries(self, key: Index | None = None, operand: int = 0) -> Iterator[tuple[Index, Index, Index, Index]]:
        """Loops over the queries of a unit: (head of keys, number in the unit, head, step); brings the keys after `key`
        nearer."""
        spec, w = self.spec, self.writer
        with w.loop(0, self.together) as place:
            group = w.add(self.group, place)
            if key is not None:
                self._fetch(operand, w.add(key, self.lanes), group)
            with w.loop(0, spec.shared) as member, w.loop(0, spec.steps) as step:
                number = w.dot((place, member, step), (spec.shared * spec.steps, spec.steps, 1))
                yield group, number, w.add(w.mul(group, spec.shared), member), step

    # ---- memory

    def _source(self, operand: int, key: Index, group: Index) -> ir.Value:
        """Where a key (operand 1) or its value (2) lies."""
        return self.writer.at(self.given["qkv"[operand]],
                              self.place(self.spec.strides[operand], self.sample, key, group))

    def _fetch(self, operand: int, key: Index, group: Index) -> None:
        """Bring the next keys nearer; there may be none, a fetch never fails."""
        narrow, w, spec = ir.IntType(32), self.writer, self.spec
        function = intrinsic(self.module, "llvm.prefetch.p0", ir.VoidType(), [POINTER, narrow, narrow, narrow])
        with w.loop(0, self.lanes) as i:
            here = self._source(operand, w.add(key, i), group)
            for first in range(0, (spec.width, spec.width, spec.value_width)[operand], self.lanes):
                self.builder.call(function, [w.at(here, first), narrow(0), narrow(2), narrow(1)])

    def _row(self, number: Index) -> ir.Value:
        """The scores of a query."""
        return self.writer.at(self.rows, self.writer.mul(number, self.pitch))

    def _place(self, step: Index, head: Index) -> Index:
        """The number of a query among all."""
        return self.writer.dot((self.sample, step, head), (self.spec.steps * self.spec.heads, self.spec.heads, 1))

    # ---- who is seen

    def _seen_by_all(self) -> Index:
        """How many keys there are up to the last one that a query of the unit sees."""
        spec, w, b = self.spec, self.writer, self.builder
        count: Index = min(spec.sources, max(0, spec.steps + spec.offset)) if spec.causal else spec.sources
        if spec.mask is None or not spec.mask[3]:
            return count
        most = self.most
        b.store(constant(0), most)

        def look(head: Index, step: Index) -> None:
            assert spec.mask is not None
            row = b.gep(self.given["mask"], [constant(w.dot((self.sample, head, step), spec.mask[:3]))],
                        source_etype=BYTE)
            last = self.last_allowed(row, count)
            b.store(constant(w.maximum(last, b.load(most, typ=INDEX))), most)

        if not spec.mask[1] and not spec.mask[2]:
            look(0, 0)
        else:
            with self._queries() as (_, _, head, step):
                look(head, step)
        return b.load(most, typ=INDEX)

    def _sees(self, key: Index, head: Index, step: Index) -> ir.Value:
        """Which of the keys from `key` on a query sees."""
        spec, w, b = self.spec, self.writer, self.builder
        seen = w.mask(w.minimum(w.sub(spec.sources, key), w.maximum(w.sub(w.add(step, spec.offset + 1), key), 0))
                      if spec.causal else w.sub(spec.sources, key))
        return seen if spec.mask is None else b.and_(seen, self._mask_of(key, head, step))

    def _mask_of(self, key: Index, head: Index, step: Index) -> ir.Value:
        """Which of the keys from `key` on the mask lets a query see."""
        w, b, strides = self.writer, self.builder, self.spec.mask
        assert strides is not None
        there = b.gep(self.given["mask"], [constant(w.dot((self.sample, head, step, key), strides))], source_etype=BYTE)
        if strides[3]:
            return self.allowed(there, key)
        return spread(b, b.icmp_unsigned("!=", b.load(there, typ=BYTE), BYTE(0)), self.lanes)

    # ---- one row of scores

    def _scores(self, key: Index, group: Index, number: Index, head: Index, step: Index) -> None:
        """The scores of `lanes` keys, as logarithms to base 2; minus infinity where a key is not seen."""
        spec, w, b = self.spec, self.writer, self.builder
        here = w.at(self._row(number), key)
        q = w.at(self.given["q"], self.place(spec.strides[0], self.sample, step, head))
        whole, rest = divmod(spec.sources, self.lanes)

        def dots(columns: int) -> list[ir.Value]:
            function = emit_dots(self.module, Dots(spec.dtype, columns, spec.width, spec.strides[1][1]), self.target)
            b.call(function, [q, self._source(1, key, group), here, ir.IntType(1)(0)])
            return []
        if whole and rest:
            w.if_else(w.less(key, whole * self.lanes), lambda: dots(self.lanes), lambda: dots(rest))
        else:
            dots(rest or self.lanes)
        scores = b.fmul(w.load_vector(here), self.number(spec.scale * LOG2_E))
        w.store_vector(b.select(self._sees(key, head, step), scores, self.number(-math.inf)), here)

    def _weights(self, count: Index, group: Index, number: Index, head: Index, step: Index) -> None:
        """The scores of a query become weights; the logarithm and the inverse of their sum; y begins at zero."""
        spec, w, b, row = self.spec, self.writer, self.builder, self._row(number)
        high = w.fold(0, count, self.lanes, [self.number(-math.inf)],
                      lambda key, s: [self._larger(w.load_vector(w.at(row, key)), s[0])])[0]
        base = self.finite(self._in_all_lanes(self._across(high, self._larger)))

        def weigh(key: Index, sums: list[ir.Value]) -> list[ir.Value]:
            weights = self.weight(b.fsub(w.load_vector(w.at(row, key)), base))
            w.store_vector(weights, w.at(row, key))
            return [b.fadd(sums[0], weights)]

        sums = self.lanes_of(
            self._in_all_lanes(self._across(w.fold(0, count, self.lanes, [w.zeros()], weigh)[0], b.fadd))
        )
        first = lambda value: b.extract_element(value, ir.IntType(32)(0))
        w.store(first(b.fdiv(self.number(1.0), sums.equals(0.0).choose(1.0, sums).value)), w.at(self.factors, number))
        log = b.fmul(b.fadd(base, exponential.log2(sums).value), self.number(LN2))
        place = self._place(step, head)
        w.store(first(log), w.at(self.given["denominator"], place))
        self.clear(w.at(self.given["y"], w.mul(place, spec.value_width)), 1, 0, spec.value_width)

    def _divide(self, group: Index, number: Index, head: Index, step: Index) -> None:
        """Divide y by the sum of the weights."""
        w, width = self.writer, self.spec.value_width
        factor = w.splat(w.load(w.at(self.factors, number)))
        y = w.at(self.given["y"], w.mul(self._place(step, head), width))
        for first, mask in self.vectors(width):
            here = w.at(y, first)
            w.store_vector(self.builder.fmul(w.load_vector(here, mask), factor), here, mask)

    # ---- along the lanes

    def _larger(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.builder.select(self.builder.fcmp_ordered(">", x, y), x, y)

    def _across(self, value: ir.Value, join) -> ir.Value:  # type: ignore[no-untyped-def]
        """One number from all lanes, halves joined with halves."""
        b, narrow = self.builder, ir.IntType(32)
        step = self.lanes // 2
        while step:
            order = ir.Constant(ir.VectorType(narrow, self.lanes), [lane ^ step for lane in range(self.lanes)])
            value = join(value, b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), order))
            step //= 2
        return b.extract_element(value, narrow(0))

    def _in_all_lanes(self, value: ir.Value) -> ir.Value:
        return spread(self.builder, value, self.lanes)
