# SPDX-License-Identifier: Apache-2.0
"""Attention: a panel of queries meets the keys block by block, with a running maximum and sum (the online softmax).

In: q, k, v, perhaps a mask. Out: y and the logarithm of each query's denominator. A unit of work is one panel of one
head; its blocks of keys come in order, so the bits do not depend on who does it. After Milakov and Gimelshein, "Online
normalizer calculation for softmax" (2018), and Dao et al., "FlashAttention" (2022).
"""

from __future__ import annotations

import math

from llvmlite import ir

from ...llvm.math import exponential
from ...llvm.writer import INDEX, POINTER, Index, Writer, constant, open_function
from ...target import Target
from .blocks import LN2, LOG2_E, AttentionWriter, line, parts
from .spec import SIZES, AttentionSpec, make_cut


def forward_sizes(spec: AttentionSpec, target: Target) -> list[int]:
    """Elements of the pieces of one thread's scratch: panel, scores, sums, a number for each query, mask."""
    cut = make_cut(spec, target)
    lanes = target.lanes(spec.dtype)
    wide = -(-spec.value_width // lanes) * lanes
    return [spec.width * cut.panel, cut.keys * cut.pitch, cut.panel * wide, 2 * cut.panel,
            cut.keys * cut.panel if spec.mask else 0]


def forward_scratch(spec: AttentionSpec, target: Target) -> int:
    """Bytes of one thread's scratch."""
    return sum(line(n, SIZES[spec.dtype]) for n in forward_sizes(spec, target)) * SIZES[spec.dtype]


def emit_forward(module: ir.Module, name: str, spec: AttentionSpec, target: Target) -> ir.Function:
    """The function ``void (q, k, v, [mask], y, denominator, scratch, i64 thread, i64 threads)``."""
    names = ["q", "k", "v", *(["mask"] if spec.mask else []), "y", "denominator", "scratch"]
    arguments = [(n, POINTER) for n in names] + [("thread", INDEX), ("threads", INDEX)]
    function, writer = open_function(module, name, arguments, spec.dtype, target)
    ForwardEmitter(writer, spec, target, dict(zip([*names, "thread", "threads"], function.args, strict=True))).emit()
    writer.builder.ret_void()
    return function


class ForwardEmitter(AttentionWriter):
    """One kernel being written."""

    def __init__(self, writer: Writer, spec: AttentionSpec, target: Target, arguments: dict[str, ir.Value]):
        super().__init__(writer, spec, target)
        self.given = arguments
        mine = writer.at(arguments["scratch"],
                         writer.mul(arguments["thread"], forward_scratch(spec, target) // writer.size))
        self.packed, self.block, self.sums, self.numbers, self.bytes = parts(mine, forward_sizes(spec, target), writer)
        self.sum_step = -(-spec.value_width // self.lanes) * self.lanes

    def emit(self) -> None:
        """The loop over units: (sample, head, panel)."""
        spec, w = self.spec, self.writer
        begin, end = w.share(spec.batch * spec.heads * self.cut.panels, self.given["thread"], self.given["threads"])
        with w.loop(begin, end) as unit:
            item, place = w.divide(unit, self.cut.panels)
            self.sample, self.head = w.divide(item, spec.heads)
            self.group, _ = w.divide(self.head, spec.shared)
            self._panel(self._turned(place))

    def _turned(self, place: Index) -> Index:
        """First, last, second, last but one, …: of causal attention, half of the panels is then half of the work."""
        if not self.spec.causal or self.cut.panels == 1:
            return place
        half, odd = self.writer.divide(place, 2)
        return self.builder.select(self.writer.less(0, odd),
                                   self.builder.sub(constant(self.cut.panels - 1), constant(half)), constant(half))

    def _panel(self, panel: Index) -> None:
        spec, w, given = self.spec, self.writer, self.given
        self.query = w.mul(panel, self.cut.panel)
        at = lambda name, strides, step, head: w.at(given[name], self.place(strides, self.sample, step, head))
        self.pack(panel, at("q", spec.strides[0], self.query, self.head), spec.strides[0][1], spec.width, self.packed,
                  spec.scale * LOG2_E)
        self.k, self.v = at("k", spec.strides[1], 0, self.group), at("v", spec.strides[2], 0, self.group)
        self.mask = None
        if spec.mask:
            place = w.add(w.mul(self.sample, spec.mask[0]), w.mul(self.head, spec.mask[1]))
            self.mask = self.builder.gep(given["mask"], [constant(place)], source_etype=ir.IntType(8))
        count, _ = self.limits(self.query, 0, spec.sources)
        count = self.seen_by(self.mask, self.query, w.minimum(self.cut.panel, w.sub(spec.steps, self.query)), count)
        if spec.mask or (spec.causal and spec.offset < 0):  # there may be no block at all
            self.clear(self.sums, self.cut.panel, self.sum_step, spec.value_width)
        n = self.cut.vectors
        state = [self.number(-math.inf)] * n + [w.zeros()] * n
        state = w.fold(0, count, self.cut.keys, state, lambda block, s: self._block(block, count, s[:n], s[n:]))
        self._finish(state[:n], state[n:])

    def _block(self, block: Index, limit: Index, high: list[ir.Value], sums: list[ir.Value]) -> list[ir.Value]:
        """One block of keys: (maximum, sum) before → after."""
        spec, w, b = self.spec, self.writer, self.builder
        rows = w.minimum(self.cut.keys, w.sub(limit, block))
        self.scores(rows, w.at(self.k, w.mul(block, spec.strides[1][1])), spec.strides[1][1], self.packed, spec.width,
                    self.block)
        new = self._maximum(block, rows, high)
        base = [self.finite(x) for x in new]
        lost = [self.weight(b.fsub(x, y)) for x, y in zip(high, base, strict=True)]
        sums = [b.fmul(x, y) for x, y in zip(sums, lost, strict=True)]
        sums = w.fold(0, rows, 1, sums, lambda key, s: self._weights(key, base, s))
        later = b.icmp_signed("!=", constant(block), constant(0))
        with b.if_then(later):
            self._shrink(lost)
        self.product(self.cut.panel, spec.value_width, self.block, (1, self.cut.pitch),
                     w.at(self.v, w.mul(block, spec.strides[2][1])), spec.strides[2][1], self.sums, self.sum_step, rows,
                     later)
        return [*new, *sums]

    def _row(self, key: Index) -> ir.Value:
        return self.writer.at(self.block, self.writer.mul(key, self.cut.pitch))

    def _maximum(self, block: Index, rows: Index, high: list[ir.Value]) -> list[ir.Value]:
        """The maximum of each query; scores of keys that it does not see become minus infinity."""
        w, b = self.writer, self.builder
        larger = lambda xs, ys: [b.select(b.fcmp_ordered(">", x, y), x, y) for x, y in zip(xs, ys, strict=True)]
        _, plain = self.limits(self.query, block, rows)
        high = w.fold(0, plain, 1, high, lambda key, s: larger(self.row(self._row(key), self.cut.vectors), s))
        if not self.spec.causal and self.mask is None:
            return high
        if self.mask is not None:
            self.bring_mask(self.mask, self.query, block, rows, self.bytes)

        def masked(key: Index, state: list[ir.Value]) -> list[ir.Value]:
            seen = self.seen(self.query, block, key, self.mask, self.bytes)
            values = [b.select(c, x, self.number(-math.inf))
                      for c, x in zip(seen, self.row(self._row(key), self.cut.vectors), strict=True)]
            self.put(values, self._row(key))
            return larger(values, state)
        return w.fold(plain, rows, 1, high, masked)

    def _weights(self, key: Index, base: list[ir.Value], sums: list[ir.Value]) -> list[ir.Value]:
        b = self.builder
        values = [self.weight(b.fsub(x, y))
                  for x, y in zip(self.row(self._row(key), self.cut.vectors), base, strict=True)]
        self.put(values, self._row(key))
        return [b.fadd(x, y) for x, y in zip(sums, values, strict=True)]

    def _shrink(self, lost: list[ir.Value]) -> None:
        """Multiply the sums so far: the maximum has grown."""
        self.put(lost, self.numbers)
        with self.writer.loop(0, self.cut.panel) as query:
            self._scaled(query, self.writer.at(self.sums, self.writer.mul(query, self.sum_step)), None)

    def _scaled(self, query: Index, there: ir.Value, masks: object) -> None:
        """One query's sums, times its number, to `there`."""
        w, b = self.writer, self.builder
        factor = w.splat(w.load(w.at(self.numbers, query)))
        here = w.at(self.sums, w.mul(query, self.sum_step))
        for first, mask in self.vectors(self.spec.value_width):
            value = b.fmul(w.load_vector(w.at(here, first)), factor)
            w.store_vector(value, w.at(there, first), mask if masks else None)

    def _finish(self, high: list[ir.Value], sums: list[ir.Value]) -> None:
        """Divide by the sums and write the panel's queries."""
        spec, w, b = self.spec, self.writer, self.builder
        safe = [self.lanes_of(x).equals(0.0).choose(1.0, self.lanes_of(x)).value for x in sums]
        self.put([b.fdiv(self.number(1.0), x) for x in safe], self.numbers)
        logs = w.at(self.numbers, self.cut.panel)
        total = [b.fadd(self.finite(x), exponential.log2(self.lanes_of(y)).value)
                 for x, y in zip(high, sums, strict=True)]
        self.put([b.fmul(x, self.number(LN2)) for x in total], logs)
        first = w.mul(w.add(w.mul(self.sample, spec.steps), self.query), spec.heads)
        with w.loop(0, w.minimum(self.cut.panel, w.sub(spec.steps, self.query))) as query:
            place = w.add(w.add(first, w.mul(query, spec.heads)), self.head)
            self._scaled(query, w.at(self.given["y"], w.mul(place, spec.value_width)), True)
            w.store(w.load(w.at(logs, query)), w.at(self.given["denominator"], place))
