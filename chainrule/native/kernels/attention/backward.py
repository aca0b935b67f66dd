# SPDX-License-Identifier: Apache-2.0
"""The gradient of attention: the weights are made again (recomputation, as in flash attention), block by block, from
the scores and the denominators.

In: q, k, v, the logarithms of the denominators, delta = the sum of g y for each query, g, perhaps a mask. Out: the
gradients of q, k and v. With p = exp(s - denominator) and d = scale p (g v^T - delta):

    dq = d k    dk = d^T q    dv = p^T g

A unit of work is one head of keys with all queries that share it, so that no two threads add to the same numbers. A
block of keys meets a few panels of queries in turn; then its own gradients are one product over all of them.
"""

from __future__ import annotations

import math

from llvmlite import ir

from ...llvm.writer import INDEX, POINTER, Index, Writer, constant, open_function
from ...target import Target
from .blocks import LOG2_E, AttentionWriter, line, parts
from .spec import SIZES, AttentionSpec, make_cut


def backward_sizes(spec: AttentionSpec, target: Target) -> list[int]:
    """Elements of the pieces of one thread's scratch: panels of q and g, two numbers for each query, weights, slopes,
    mask."""
    cut = make_cut(spec, target)
    queries = cut.together * cut.panel
    return [spec.width * queries, spec.value_width * queries, queries, queries, cut.keys * cut.pitch,
            cut.keys * cut.pitch,
            cut.keys * cut.panel if spec.mask else 0]


def backward_scratch(spec: AttentionSpec, target: Target) -> int:
    """Bytes of one thread's scratch."""
    return sum(line(n, SIZES[spec.dtype]) for n in backward_sizes(spec, target)) * SIZES[spec.dtype]


def emit_backward(module: ir.Module, name: str, spec: AttentionSpec, target: Target) -> ir.Function:
    """``void (q, k, v, denominator, delta, g, [mask], dq, dk, dv, scratch, i64 thread, i64 threads)``."""
    names = ["q", "k", "v", "denominator", "delta", "g", *(["mask"] if spec.mask else []), "dq", "dk", "dv", "scratch"]
    arguments = [(n, POINTER) for n in names] + [("thread", INDEX), ("threads", INDEX)]
    function, writer = open_function(module, name, arguments, spec.dtype, target)
    BackwardEmitter(writer, spec, target, dict(zip([*names, "thread", "threads"], function.args, strict=True))).emit()
    writer.builder.ret_void()
    return function


class BackwardEmitter(AttentionWriter):
    """One kernel being written."""

    def __init__(self, writer: Writer, spec: AttentionSpec, target: Target, arguments: dict[str, ir.Value]):
        super().__init__(writer, spec, target)
        self.given = arguments
        mine = writer.at(arguments["scratch"],
                         writer.mul(arguments["thread"], backward_scratch(spec, target) // writer.size))
        found = parts(mine, backward_sizes(spec, target), writer)
        self.packed_q, self.packed_g, self.denominators, self.deltas, self.weights, self.slopes, self.bytes = found

    def emit(self) -> None:
        """The loop over units (sample, head of keys), then over the heads of queries that share it."""
        spec, w = self.spec, self.writer
        begin, end = w.share(spec.batch * spec.groups, self.given["thread"], self.given["threads"])
        with w.loop(begin, end) as unit:
            self.sample, self.group = w.divide(unit, spec.groups)
            self.dk = self._result("dk", spec.sources, spec.groups, spec.width, 0, self.group)
            self.dv = self._result("dv", spec.sources, spec.groups, spec.value_width, 0, self.group)
            self.clear(self.dk, spec.sources, spec.groups * spec.width, spec.width)
            self.clear(self.dv, spec.sources, spec.groups * spec.value_width, spec.value_width)
            with w.loop(0, spec.shared) as member:
                self._head(w.add(w.mul(self.group, spec.shared), member))

    def _result(self, name: str, steps: int, heads: int, width: int, step: Index, head: Index) -> ir.Value:
        strides = (steps * heads * width, heads * width, width)
        return self.writer.at(self.given[name], self.place(strides, self.sample, step, head))

    def _operand(self, name: str, number: int, step: Index, head: Index) -> ir.Value:
        return self.writer.at(self.given[name], self.place(self.spec.strides[number], self.sample, step, head))

    def _head(self, head: Index) -> None:
        spec, w = self.spec, self.writer
        self.head = head
        self.mask = None
        if spec.mask:
            place = w.add(w.mul(self.sample, spec.mask[0]), w.mul(head, spec.mask[1]))
            self.mask = self.builder.gep(self.given["mask"], [constant(place)], source_etype=ir.IntType(8))
        with w.loop(0, self.cut.panels, self.cut.together) as first:
            self.first = first
            self.number_of_panels = w.minimum(self.cut.together, w.sub(self.cut.panels, first))
            with w.loop(0, self.number_of_panels) as number:
                self._bring(number)
            query = w.mul(first, self.cut.panel)
            queries = w.minimum(w.mul(self.number_of_panels, self.cut.panel), w.sub(spec.steps, query))
            count = self.seen_by(self.mask, query, queries, spec.sources)
            with w.loop(0, count, self.cut.keys) as block:
                self._block(block, w.minimum(self.cut.keys, w.sub(count, block)))

    def _bring(self, number: Index) -> None:
        """Pack one panel of q and of g, and what belongs to each of its queries; its gradient begins at zero."""
        spec, w, cut = self.spec, self.writer, self.cut
        panel = w.add(self.first, number)
        query, slot = w.mul(panel, cut.panel), w.mul(number, cut.panel)
        self.pack(panel, self._operand("q", 0, query, self.head), spec.strides[0][1], spec.width,
                  w.at(self.packed_q, w.mul(slot, spec.width)), spec.scale * LOG2_E)
        self.pack(panel, self._operand("g", 3, query, self.head), spec.strides[3][1], spec.value_width,
                  w.at(self.packed_g, w.mul(slot, spec.value_width)), spec.scale)
        denominators, deltas = w.at(self.denominators, slot), w.at(self.deltas, slot)
        self.put([self.number(math.inf)] * cut.vectors, denominators)  # idle lanes get weight 0
        self.put([w.zeros()] * cut.vectors, deltas)
        valid = w.minimum(cut.panel, w.sub(spec.steps, query))
        first = w.add(w.mul(w.add(w.mul(self.sample, spec.steps), query), spec.heads), self.head)
        with w.loop(0, valid) as i:
            place = w.add(first, w.mul(i, spec.heads))
            for name, there, factor in (("denominator", denominators, LOG2_E), ("delta", deltas, spec.scale)):
                value = self.builder.fmul(w.load(w.at(self.given[name], place)), ir.Constant(w.element, factor))
                w.store(value, w.at(there, i))
        self.clear(self._result("dq", spec.steps, spec.heads, spec.width, query, self.head), valid,
                   spec.heads * spec.width, spec.width)

    # ---- one block of keys

    def _begin(self, key: Index) -> Index:
        """The first of these panels whose queries see a key."""
        if not self.spec.causal:
            return 0
        w = self.writer
        panel, _ = w.divide(w.maximum(w.sub(key, self.spec.offset), 0), self.cut.panel)
        return w.maximum(w.sub(panel, self.first), 0)

    def _block(self, block: Index, rows: Index) -> None:
        spec, w = self.spec, self.writer
        self.k, self.v = self._operand("k", 1, block, self.group), self._operand("v", 2, block, self.group)
        with w.loop(self._begin(block), self.number_of_panels) as number:
            self._panel(number, block, rows)
        queries = w.minimum(w.mul(self.number_of_panels, self.cut.panel),
                            w.sub(spec.steps, w.mul(self.first, self.cut.panel)))
        self.by_keys(rows, lambda key, height: self._keys(block, key, height, queries))

    def _keys(self, block: Index, key: Index, height: int, queries: Index) -> None:
        """dk and dv of a few keys: products over all queries of these panels that see them."""
        spec, w, pitch = self.spec, self.writer, self.cut.pitch
        start = w.mul(self._begin(w.add(block, key)), self.cut.panel)
        place, count = w.add(w.mul(key, pitch), start), w.sub(queries, start)
        query = w.add(w.mul(self.first, self.cut.panel), start)
        row = w.add(block, key)
        with self.builder.if_then(w.less(0, count)):
            for left, name, number, width, out in ((self.weights, "g", 3, spec.value_width, self.dv),
                                                   (self.slopes, "q", 0, spec.width, self.dk)):
                self.product(height, width, w.at(left, place), (pitch, 1),
                             self._operand(name, number, query, self.head), spec.strides[number][1],
                             w.at(out, w.mul(row, spec.groups * width)), spec.groups * width, count, True)

    def _panel(self, number: Index, block: Index, rows: Index) -> None:
        """Weights and slopes of one panel and a block, and what they add to dq."""
        spec, w, cut = self.spec, self.writer, self.cut
        panel = w.add(self.first, number)
        query, slot = w.mul(panel, cut.panel), w.mul(number, cut.panel)
        count, plain = self.limits(query, block, rows)
        weights, slopes = w.at(self.weights, slot), w.at(self.slopes, slot)
        self.scores(count, self.k, spec.strides[1][1], w.at(self.packed_q, w.mul(slot, spec.width)), spec.width,
                    weights)
        self.scores(count, self.v, spec.strides[2][1], w.at(self.packed_g, w.mul(slot, spec.value_width)),
                    spec.value_width, slopes)
        denominators, deltas = (self.row(w.at(x, slot), cut.vectors) for x in (self.denominators, self.deltas))
        with w.loop(0, plain) as key:
            self._slopes(weights, slopes, key, denominators, deltas, None)
        if spec.causal or self.mask is not None:
            if self.mask is not None:
                self.bring_mask(self.mask, query, block, count, self.bytes)
            with w.loop(plain, count) as key:
                self._slopes(weights, slopes, key, denominators, deltas,
                             self.seen(query, block, key, self.mask, self.bytes))
        dq = self._result("dq", spec.steps, spec.heads, spec.width, query, self.head)
        self.by_panel(panel, lambda valid: self.product(valid, spec.width, slopes, (1, cut.pitch), self.k,
                                                        spec.strides[1][1], dq, spec.heads * spec.width, count, True))

    def _slopes(self, weights: ir.Value, slopes: ir.Value, key: Index, denominators: list[ir.Value],
                deltas: list[ir.Value], seen: list[ir.Value] | None) -> None:
        """Scores and scale g v^T of one key become weights and slopes."""
        w, b = self.writer, self.builder
        here, there = (w.at(x, w.mul(key, self.cut.pitch)) for x in (weights, slopes))
        p = [self.weight(b.fsub(x, y)) for x, y in zip(self.row(here, self.cut.vectors), denominators, strict=True)]
        if seen is not None:
            p = [b.select(c, x, w.zeros()) for c, x in zip(seen, p, strict=True)]
        self.put(p, here)
        rest = [b.fsub(x, y) for x, y in zip(self.row(there, self.cut.vectors), deltas, strict=True)]
        self.put([b.fmul(x, y) for x, y in zip(p, rest, strict=True)], there)
