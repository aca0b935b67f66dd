# SPDX-License-Identifier: Apache-2.0
"""Graph → plan: the steps of a program in order, with all buffers placed.

In: an optimised graph. Out: a `Plan`. The order of work: bring products into one form, decide what is stored, make one
step for each stored node, give outputs their buffers (in place where the graph says so and nobody still reads the old
content), place the rest in one arena.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...ir.graph import Graph
from ...ir.node import Node, Type
from ..buffers import BRAIN, Buffer, plan_arena
from ..kernels.convolution.convolution import has_pairs
from ..kernels.convolution.spec import ConvSpec
from ..kernels.cumulative import RunningSpec
from ..kernels.product.product import ProductSpec
from ..kernels.product.unpack import Packing
from ..kernels.scatter import ScatterSpec
from ..kinds import kind_of
from ..nest.affine import row_major
from ..nest.schedule import Layout, draft
from ..nodes import resolve
from ..rewrites.prepare import prepare
from ..target import Target
from .attach import attach
from .attention import AttentionStep, attention_step
from .fuse import Group, fuse
from .in_place import may_fail, write_back
from .loop import Bodies, Repeated, add_scan, bodies
from .memory import Memory
from .order import early
from .rows import arrange_group
from .steps import HostStep, KernelStep, Packed, Plan, ProductStep, RunningStep, ScanStep, ScatterStep, Step
from .stored import Grouping

CONVOLUTIONS = {"conv": "forward", "conv_input_gradient": "input_gradient", "conv_filter_gradient": "filter_gradient"}


def lower(graph: Graph, target: Target, threads: int, repeated: Repeated | None = None) -> Plan:
    """The plan of a graph, or of the body of a loop."""
    return Lowering(prepare(graph), target, threads, repeated).plan()


class Lowering:
    """The state of one lowering."""

    def __init__(self, graph: Graph, target: Target, threads: int, repeated: Repeated | None = None):
        self.graph, self.target, self.threads = graph, target, threads
        self.repeated = repeated
        self.lanes = target.lanes("float32")
        self.grouping = Grouping(graph)
        self.memory = Memory(graph, target, *((repeated.narrow, repeated.check) if repeated else ()))
        self.outputs: list[Buffer] = []
        self.steps: list[Step] = []

    def plan(self) -> Plan:
        """Everything, in order."""
        for node in self.graph.nodes:
            if node.op.name == "constant" and self.grouping.stored.get(node):
                self.memory.constant(node)
        for node in self.grouping.roots():
            self._step(node)
        self._fresh_outputs()
        self.memory.items = early(fuse(self.memory.items, self.lanes))
        in_place = write_back(self.memory, self.graph)
        self.memory.items = attach(self.memory.items, may_fail)
        self._arrange()
        self._scratch()
        arena = plan_arena(self.steps)
        panels = self.repeated.panels if self.repeated else dict[Packed, Buffer]()
        inputs = [*self.memory.inputs, *panels.values()]
        return Plan(self.graph, self.steps, inputs, self.memory.constants, self.outputs, in_place, self.memory.checks,
                    arena, list(panels))

    # ---- steps

    def _step(self, node: Node) -> None:
        kind = kind_of(node)
        if node.op.name == "output":
            self.memory.buffers[node] = self.memory.parts[resolve(node.inputs[0])][node.attrs["index"]]
        elif node.op.name in CONVOLUTIONS and node.dtype.kind == "f" and self._is_solid(node):
            self._convolve(node)
        elif kind == "product" and self._is_solid(node):
            self._contract(node)
        elif kind == "unpacking":
            self._unpack(node)
        elif kind == "scatter":
            self._scatter(node)
        elif kind == "running":
            self._running(node)
        elif kind == "attention":
            self._attention(node)
        elif node.op.name in ("scan", "while") and (plans := self._bodies(node)) is not None:
            add_scan(self.memory, node, plans)
        elif kind in ("host", "product"):
            self._host(node)
        else:
            target = self.memory.fresh(node.shape, self.memory.dtype_of(node))
            if node.op.name == "concat":
                self._parts(node, target)
            else:
                self.memory.kernels(node, target)
            self.memory.buffers[node] = target

    @staticmethod
    def _is_solid(node: Node) -> bool:
        return node.type.size > 0 and all(x.type.size for x in node.inputs)

    def _parts(self, node: Node, target: Buffer) -> None:
        """The parts of a concatenation, one kernel each."""
        axis, start, strides = node.attrs["axis"], 0, row_major(node.shape)
        for part in node.inputs:
            if part.type.size:
                self.memory.items.append(draft(part, self.memory.inliner, target,
                                               Layout(strides, start * strides[axis])))
            start += part.shape[axis]

    def _arrange(self) -> None:
        """Turn the groups of drafts into kernels."""
        users: dict[Buffer, set[int]] = {}
        for i, item in enumerate(self.memory.items):
            for buffer in (*item.reads, *item.writes):
                users.setdefault(buffer, set()).add(i)
        for i, item in enumerate(self.memory.items):
            if not isinstance(item, Group):
                item.commits = (bool(self.memory.checks) and isinstance(item, ProductStep | ScanStep | ScatterStep)
                                and any(b.kind == "input" for b in item.writes))
                self.steps.append(item)
                continue
            private = lambda b, i=i: b.kind == "temporary" and users[b] <= {i}
            node = item.parts[-1].node
            for kernel, slots in arrange_group(item.parts, self.lanes,
                                               lambda size, dtype: self.memory.fresh((size,), dtype), private):
                self._add_kernel(node, kernel, slots)

    def _add_kernel(self, node: Any, kernel: Any, slots: list[Buffer]) -> None:
        written = {slots[s.slot] for stage in kernel.stages for s in (*stage.stores, *stage.sums) if s.slot
                   < len(slots)}
        step = KernelStep(node, [], sorted(written, key=slots.index), kernel, slots)
        step.commits = bool(self.memory.checks) and any(b.kind == "input" for b in written)
        step.reads = list(dict.fromkeys(buffer for _, buffer in step.loads()))
        self.steps.append(step)

    def _host(self, node: Node) -> None:
        types = node.type if isinstance(node.type, tuple) else (node.type,)
        targets = [self.memory.fresh(t.shape, t.dtype.name) for t in types]
        if isinstance(node.type, Type):
            self.memory.buffers[node] = targets[0]
        self.memory.parts[node] = targets
        self.memory.items.append(HostStep(node, [self.memory.whole(x) for x in node.inputs], targets))

    def _scatter(self, node: Node) -> None:
        """The base into the result, then the updates on top; of a Variable's update the indices are checked before
        that."""
        target = self.memory.fresh(node.shape, node.dtype.name)
        self.memory.buffers[node] = target
        base, indices, updates = (resolve(x) for x in node.inputs)
        axis, drop = node.attrs["axis"], node.attrs.get("drop", False)
        size = lambda shape: int(np.prod(shape, dtype=np.int64))
        spec = ScatterSpec(size(node.shape[:axis]), node.shape[axis], indices.type.size, size(node.shape[axis + 1:]),
                           node.dtype.name, indices.dtype.name, node.attrs["mode"],
                           0 if drop else self.memory.check(node), drop)
        slots = [self.memory.whole(indices), self.memory.whole(updates), target]
        if updates.type.size and not drop and self._updates_variable(node, base):
            self.memory.items.append(ScatterStep(node, slots[:1], [], dataclasses.replace(spec, mode="check"),
                                                 slots[:1]))
            spec = dataclasses.replace(spec, check=0)
        self.memory.copy(base, target)
        if updates.type.size:
            self.memory.items.append(ScatterStep(node, list(slots), [target], spec, slots))

    def _updates_variable(self, node: Node, base: Node) -> bool:
        """Whether a node made of a Variable's content becomes the content."""
        return any(resolve(self.graph.outputs[i]) is node and self.graph.inputs[index] is base
                   for i, index in self.graph.aliases)

    def _running(self, node: Node) -> None:
        """A cumulative sum."""
        target = self.memory.fresh(node.shape, node.dtype.name)
        self.memory.buffers[node] = target
        if node.type.size:
            axis = node.attrs["axis"]
            outer, columns = (int(np.prod(part, dtype=np.int64)) for part in (node.shape[:axis], node.shape[axis + 1:]))
            slots = [self.memory.whole(node.inputs[0]), target]
            self.memory.items.append(RunningStep(node, slots[:1], slots[1:],
                                                 RunningSpec(outer, node.shape[axis], columns, node.dtype.name), slots))

    def _bodies(self, node: Node) -> Bodies | None:
        """The plans of a loop's body; None where it needs the host."""
        first = node.attrs["carries"] + node.attrs["sequences"]
        narrow = frozenset(i for i, x in enumerate(node.inputs) if i >= first and self.memory.dtype_of(resolve(x))
                           == BRAIN)
        return bodies(
            node,
            lambda graph, repeated, alone: lower(graph, self.target, 1 if alone else self.threads, repeated),
            narrow,
            self.memory.next_check,
        )

    # ---- products

    def _product(self, node: Node, spec: Any, operands: list[Buffer], flops: int = 0,
                 first: tuple[int, ...] = (0, 0)) -> None:
        target = self.memory.fresh(node.shape, node.dtype.name)
        self.memory.buffers[node] = target
        self.memory.items.append(ProductStep(node, operands, [target], spec, flops or self._convolution_flops(node),
                                             first))

    def _contract(self, node: Node) -> None:
        a, b = (resolve(x) for x in node.inputs)
        *batch, m, k = a.shape
        n = b.shape[-1]
        (left, a_strides, a_first), (right, b_strides,
                                     b_first) = (self.memory.kept_operand(a), self.memory.kept_operand(b))
        narrow = left.dtype == right.dtype == BRAIN
        if not narrow:
            left, right = self.memory.widened(left, a), self.memory.widened(right, b)
        strides = ProductSpec.dense(m, n, k, batch=tuple(batch)).c_strides
        spec = ProductSpec(m, n, k, a_strides, b_strides, strides, tuple(batch), node.dtype.name, narrow=narrow)
        panels = self.repeated.packed(spec, left, right, b_first, self.target) if self.repeated else None
        if panels is not None:
            spec, right, b_first = dataclasses.replace(spec, packed=True), panels, 0
        self._product(node, spec, [left, right], 2 * node.type.size * k, (a_first, b_first))

    def _unpack(self, node: Node) -> None:
        """A product with packed integers, which are read where they lie."""
        x, integers, scale = (resolve(x) for x in node.inputs)
        (m, k), n = x.shape, node.shape[1]
        left, strides, first = self.memory.operand(x)
        spec = ProductSpec(m, n, k, strides, (n, 1), (n, 1), dtype=node.dtype.name,
                           packing=Packing(node.attrs["bits"], k // scale.shape[0]))
        self._product(node, spec, [left, self.memory.whole(integers), self.memory.whole(scale)], 2 * node.type.size * k,
                      (first, 0, 0))

    def _attention(self, node: Node) -> None:
        targets = [self.memory.fresh(t.shape, t.dtype.name) for t in node.type]
        self.memory.parts[node] = targets
        self.memory.items.append(attention_step(node, targets, lambda x: self.memory.operand(resolve(x)),
                                                self.memory.whole))

    def _convolve(self, node: Node) -> None:
        spec, operands = self._convolution(node), [self.memory.kept(x) for x in node.inputs]
        if all(b.dtype == BRAIN for b in operands) and has_pairs(spec):
            self._product(node, dataclasses.replace(spec, narrow=True), operands)
        else:
            self._product(node, spec, [self.memory.widened(b, x) for b, x in zip(operands, node.inputs, strict=True)])

    def _convolution(self, node: Node) -> ConvSpec:
        attrs, kind = node.attrs, CONVOLUTIONS[node.op.name]
        a, b = (x.type.shape for x in node.inputs)
        if kind == "forward":
            x, w, out = a, b, node.shape
        elif kind == "input_gradient":
            x, w, out = node.shape, b, a
        else:
            x, w, out = a, node.shape, b
        return ConvSpec(x[0], x[1:-1], w[:-2], x[-1], out[-1], attrs["stride"], attrs["dilation"], attrs["padding"],
                        attrs["groups"], node.dtype.name, kind)

    def _convolution_flops(self, node: Node) -> int:
        spec = self._convolution(node)
        out = spec.shapes[2]
        return 2 * int(np.prod(out)) * int(np.prod(spec.shapes[1][:-1]))

    def _scratch(self) -> None:
        for step in self.steps:
            if isinstance(step, ProductStep | AttentionStep):
                size = step.scratch_bytes(self.target, self.threads)
                step.scratch = self.memory.fresh((max(size, 64),), "int8")
                step.writes.append(step.scratch)

    # ---- outputs

    def _fresh_outputs(self) -> None:
        """Give each output that is not in place a buffer of its own."""
        aliases = dict(self.graph.aliases)
        for i, node in enumerate(self.graph.outputs):
            node = resolve(node)
            buffer = self.memory.buffer_of(node)
            if i in aliases:
                self.outputs.append(self.memory.inputs[aliases[i]])
            elif buffer is not None and buffer.kind == "temporary" and buffer.dtype == node.dtype.name:
                buffer.kind, buffer.index, buffer.shape = "output", i, node.shape
                self.outputs.append(buffer)
            else:
                self.outputs.append(Buffer(node.shape, node.dtype.name, "output", i))
                self.memory.copy(node, self.outputs[-1])
