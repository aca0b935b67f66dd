# SPDX-License-Identifier: Apache-2.0
"""Attention of a few queries with many keys, as when a model writes word by word: lanes run along the keys.

In: q, k, v, perhaps a mask. Out: y and the logarithm of each query's denominator. The scores of one query and one head
fill a row of scratch: dot products with `lanes` keys at a time, then the weights, then one row times the values. Keys and
values are read once, and only up to the last key that the query sees: room for steps to come costs nothing. A unit of work
is one head of keys with all queries that share it.
"""

from __future__ import annotations

import math

from llvmlite import ir

from . import math_exp
from .attention_kernel import BYTE, LN2, LOG2_E, AttentionWriter, line
from .attention_spec import SIZES, AttentionSpec
from .gemm_dot import Dots, emit_dots
from .kernel_build import INDEX, POINTER, Index, constant, intrinsic, load_lanes, open_function, spread
from .target import Target


def few_scratch(spec: AttentionSpec, target: Target) -> int:
    """Bytes of one thread's scratch: the scores of one query, in whole vectors."""
    lanes = target.lanes(spec.dtype)
    return line(-(-spec.sources // lanes) * lanes, SIZES[spec.dtype]) * SIZES[spec.dtype]


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
        """The loop over units: (sample, head of keys)."""
        spec, w, given = self.spec, self.writer, self.given
        self.row_of_scores = w.at(given["scratch"], w.mul(given["thread"], few_scratch(spec, self.target) // w.size))
        begin, end = w.share(spec.batch * spec.groups, given["thread"], given["threads"])
        with w.loop(begin, end) as unit:
            sample, group = w.divide(unit, spec.groups)
            self.k, self.v = (w.at(given[name], self.place(spec.strides[i], sample, 0, group)) for name, i in (("k", 1), ("v", 2)))
            with w.loop(0, spec.shared) as member, w.loop(0, spec.steps) as step:
                self._query(sample, step, w.add(w.mul(group, spec.shared), member))

    def _query(self, sample: Index, step: Index, head: Index) -> None:
        spec, w, b = self.spec, self.writer, self.builder
        self.q = w.at(self.given["q"], self.place(spec.strides[0], sample, step, head))
        self.mask = None
        if spec.mask:
            place = w.dot((sample, head, step), spec.mask[:3])
            self.mask = b.gep(self.given["mask"], [constant(place)], source_etype=BYTE)
        self.count = self._seen_keys(step)
        high = w.fold(0, self.count, self.lanes, [self.number(-math.inf)], self._scores)[0]
        base = self.finite(self._in_all_lanes(self._across(high, self._larger)))
        total = w.fold(0, self.count, self.lanes, [w.zeros()], lambda key, sums: self._weights(key, base, sums))[0]
        total = self._in_all_lanes(self._across(total, b.fadd))
        row = w.dot((sample, step, head), (spec.steps * spec.heads, spec.heads, 1))
        y = w.at(self.given["y"], w.mul(row, spec.value_width))
        self.product(1, spec.value_width, self.row_of_scores, (0, 1), self.v, spec.strides[2][1], y, spec.value_width, self.count, False)
        self._finish(base, total, y, w.at(self.given["denominator"], row))

    # ---- who is seen

    def _seen_keys(self, step: Index) -> Index:
        """How many keys there are up to the last one that the query at `step` sees."""
        spec, w, b = self.spec, self.writer, self.builder
        count: Index = spec.sources
        if spec.causal:
            count = w.minimum(w.maximum(w.add(step, spec.offset + 1), 0), count)
        if self.mask is None:
            return count
        strides = spec.mask
        assert strides is not None
        if not strides[3]:
            one = b.load(self.mask, typ=BYTE)
            return b.select(b.icmp_unsigned("!=", one, BYTE(0)), constant(count), constant(0))

        def look(key: Index, last: list[ir.Value]) -> list[ir.Value]:
            seen = self._allowed(key)
            some = b.call(intrinsic(self.module, f"llvm.vector.reduce.or.v{self.lanes}i1", ir.IntType(1), [seen.type]), [seen])
            return [b.select(some, constant(w.add(key, self.lanes)), last[0])]
        last = w.fold(0, count, self.lanes, [constant(0)], look)[0]
        return w.minimum(last, count)

    def _allowed(self, key: Index) -> ir.Value:
        """Which of the keys from `key` on the mask lets through; those that do not exist are none of them."""
        w, b, spec = self.writer, self.builder, self.spec
        exist = w.mask(w.sub(spec.sources, key)) if spec.sources % self.lanes else None
        there = b.gep(self.mask, [constant(key)], source_etype=BYTE)
        bytes_ = load_lanes(b, BYTE, self.lanes, there, exist)
        return b.icmp_unsigned("!=", bytes_, ir.Constant(bytes_.type, [0] * self.lanes))

    # ---- one row of scores

    def _scores(self, key: Index, high: list[ir.Value]) -> list[ir.Value]:
        """The scores of `lanes` keys, as logarithms to base 2, into scratch; minus infinity where a key is not seen."""
        spec, w, b = self.spec, self.writer, self.builder
        here = w.at(self.row_of_scores, key)
        whole, rest = divmod(spec.sources, self.lanes)
        keys = w.at(self.k, w.mul(key, spec.strides[1][1]))

        def dots(columns: int) -> None:
            function = emit_dots(self.module, Dots(spec.dtype, columns, spec.width, spec.strides[1][1]), self.target)
            b.call(function, [self.q, keys, here, ir.IntType(1)(0)])
        if not rest:
            dots(self.lanes)
        elif not whole:
            dots(rest)
        else:
            with b.if_else(w.less(key, whole * self.lanes)) as (yes, no):
                with yes:
                    dots(self.lanes)
                with no:
                    dots(rest)
        scores = b.fmul(w.load_vector(here), self.number(spec.scale * LOG2_E))
        seen = w.mask(w.sub(self.count, key))
        if self.mask is not None and spec.mask and spec.mask[3]:
            seen = b.and_(seen, self._allowed(key))
        scores = b.select(seen, scores, self.number(-math.inf))
        w.store_vector(scores, here)
        return [self._larger(scores, high[0])]

    def _weights(self, key: Index, base: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        here = self.writer.at(self.row_of_scores, key)
        weights = self.weight(self.builder.fsub(self.writer.load_vector(here), base))
        self.writer.store_vector(weights, here)
        return [self.builder.fadd(sums[0], weights)]

    def _finish(self, base: ir.Value, total: ir.Value, y: ir.Value, denominator: ir.Value) -> None:
        """Divide the row by the sum of its weights; the logarithm of that sum."""
        w, b = self.writer, self.builder
        sums = self.lanes_of(total)
        factor = b.fdiv(self.number(1.0), sums.equals(0.0).choose(1.0, sums).value)
        for first, mask in self.vectors(self.spec.value_width):
            here = w.at(y, first)
            w.store_vector(b.fmul(w.load_vector(here, mask), factor), here, mask)
        log = b.fmul(b.fadd(base, math_exp.log2(sums).value), self.number(LN2))
        w.store(b.extract_element(log, ir.IntType(32)(0)), denominator)

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
