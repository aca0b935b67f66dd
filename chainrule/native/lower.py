# SPDX-License-Identifier: Apache-2.0
"""Graph → plan: the steps of a program in order, with all buffers placed.

In: an optimised graph. Out: a `Plan`. The order of work: bring products into one form, decide what is stored, make one
step for each stored node, give outputs their buffers (in place where the graph says so and nobody still reads the old
content), place the rest in one arena.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.graph import Graph
from ..ir.node import Node, Type
from .buffers import Buffer, plan_arena
from .conv import ConvSpec
from .gemm import ProductSpec
from .group import Grouping, kind_of
from .host import host_function
from .index import coefficient, form_of, loop
from .inline import Inliner, resolve
from .prepare import prepare
from .schedule import arrange, copy_draft, draft
from .steps import HostStep, KernelStep, ProductStep, Step
from .target import Target

CONVOLUTIONS = {"conv": "forward", "conv_input_gradient": "input_gradient", "conv_filter_gradient": "filter_gradient"}


@dataclass(eq=False)
class Plan:
    """A program before its machine code exists."""

    graph: Graph
    steps: list[Step]
    inputs: list[Buffer]
    constants: list[Buffer]
    outputs: list[Buffer]
    in_place: dict[int, int]  # output index -> input index whose array it is
    checks: list[Node]
    arena: int = 0


def lower(graph: Graph, target: Target, threads: int) -> Plan:
    """The plan of a graph."""
    return Lowering(prepare(graph), target, threads).plan()


class Lowering:
    """The state of one lowering."""

    def __init__(self, graph: Graph, target: Target, threads: int):
        self.graph, self.target, self.threads = graph, target, threads
        self.lanes = target.lanes("float32")
        self.grouping = Grouping(graph)
        self.buffers: dict[Node, Buffer] = {}
        self.parts: dict[Node, list[Buffer]] = {}
        self.inputs = [Buffer(x.shape, x.dtype.name, "input", i) for i, x in enumerate(graph.inputs)]
        self.buffers.update(zip(graph.inputs, self.inputs, strict=True))
        self.constants: list[Buffer] = []
        self.outputs: list[Buffer] = []
        self.checks: list[Node] = []
        self.steps: list[Step] = []

    def plan(self) -> Plan:
        """Everything, in order."""
        for node in self.graph.nodes:
            if node.op.name == "constant" and self.grouping.stored.get(node):
                self._constant(node)
        for node in self.grouping.roots():
            self._step(node)
        in_place = self._finish_outputs()
        self._scratch()
        arena = plan_arena(self.steps)
        return Plan(self.graph, self.steps, self.inputs, self.constants, self.outputs, in_place, self.checks, arena)

    # ---- buffers

    def _constant(self, node: Node) -> None:
        value = np.ascontiguousarray(node.attrs["value"])
        buffer = Buffer(value.shape, value.dtype.name, "constant", len(self.constants), value)
        self.constants.append(buffer)
        self.buffers[node] = buffer

    def buffer_of(self, node: Node) -> Buffer | None:
        """Where a node lies in memory in row-major order, if it does."""
        node = resolve(node)
        while node not in self.buffers and node.op.name == "reshape":
            node = resolve(node.inputs[0])
        return self.buffers.get(node)

    def fresh(self, shape: Sequence[int], dtype: str) -> Buffer:
        """A new temporary buffer."""
        return Buffer(tuple(shape), dtype)

    def _check(self, node: Node) -> int:
        if node not in self.checks:
            self.checks.append(node)
        return self.checks.index(node) + 1

    def inliner(self) -> Inliner:
        """What makes the expressions of one kernel."""
        return Inliner(self.buffer_of, self._check)

    # ---- steps

    def _step(self, node: Node) -> None:
        kind = kind_of(node)
        if node.op.name == "output":
            self.buffers[node] = self.parts[resolve(node.inputs[0])][node.attrs["index"]]
        elif node.op.name in CONVOLUTIONS and node.dtype.kind == "f" and self._is_solid(node):
            self._product(node, self._convolution(node), [self._whole(x) for x in node.inputs])
        elif kind == "product" and self._is_solid(node):
            self._contract(node)
        elif kind in ("host", "product"):
            self._host(node)
        else:
            target = self.fresh(node.shape, node.dtype.name)
            self._kernels(node, target)
            self.buffers[node] = target

    @staticmethod
    def _is_solid(node: Node) -> bool:
        return node.type.size > 0 and all(x.type.size for x in node.inputs)

    def _kernels(self, node: Node, target: Buffer) -> None:
        """The kernels that compute a node into a buffer."""
        if not node.type.size:
            return
        found = draft(node, self.inliner, target)
        for kernel, slots in arrange(found, self.lanes, lambda size, dtype: self.fresh((size,), dtype)):
            self._add_kernel(node, kernel, slots)

    def _add_kernel(self, node: Node, kernel: Any, slots: list[Buffer]) -> None:
        written = {slots[s.slot] for stage in kernel.stages for s in stage.stores}
        step = KernelStep(node, [], sorted(written, key=slots.index), kernel, slots)
        step.reads = list(dict.fromkeys(buffer for _, buffer in step.loads()))
        self.steps.append(step)

    def _host(self, node: Node) -> None:
        types = node.type if isinstance(node.type, tuple) else (node.type,)
        targets = [self.fresh(t.shape, t.dtype.name) for t in types]
        if isinstance(node.type, Type):
            self.buffers[node] = targets[0]
        self.parts[node] = targets
        self.steps.append(HostStep(node, [self._whole(x) for x in node.inputs], targets, host_function(node)))

    def _whole(self, node: Node) -> Buffer:
        """The buffer of an operand; one that is not in memory yet is put there."""
        node = resolve(node)
        buffer = self.buffer_of(node)
        if buffer is None:
            buffer = self.fresh(node.shape, node.dtype.name)
            self._kernels(node, buffer)
            self.buffers[node] = buffer
        return buffer

    # ---- products

    def _product(self, node: Node, spec: Any, operands: list[Buffer], flops: int = 0) -> None:
        target = self.fresh(node.shape, node.dtype.name)
        self.buffers[node] = target
        self.steps.append(ProductStep(node, operands, [target], spec, flops or self._convolution_flops(node)))

    def _contract(self, node: Node) -> None:
        a, b = (resolve(x) for x in node.inputs)
        *batch, m, k = a.shape
        n = b.shape[-1]
        (left, a_strides), (right, b_strides) = self._operand(a), self._operand(b)
        strides = ProductSpec.dense(m, n, k, batch=tuple(batch)).c_strides
        spec = ProductSpec(m, n, k, a_strides, b_strides, strides, tuple(batch), node.dtype.name)
        self._product(node, spec, [left, right], 2 * node.type.size * k)

    def _operand(self, node: Node) -> tuple[Buffer, tuple[int, ...]]:
        """The buffer and strides of an operand: a view of what is stored where that is possible, else a copy."""
        make = self.inliner()
        loops = [loop(i, n) for i, n in enumerate(node.shape)]
        found = make.value(node, tuple(form_of(v) for v in loops))
        if found.kind == "load" and not found.attr[2] and found.attr[1].const == 0 and node.type.size:
            strides = [coefficient(found.attr[1], v) for v in loops]
            if None not in strides and all(s >= 0 for s in strides):
                return make.buffers[found.attr[0]], tuple(strides)
        buffer = self._whole(node)
        return buffer, ProductSpec.dense(*node.shape[-2:], 1, batch=node.shape[:-2]).c_strides

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
            if isinstance(step, ProductStep):
                size = step.scratch_bytes(self.target, self.threads)
                step.scratch = self.fresh((max(size, 64),), "int8")
                step.writes.append(step.scratch)

    # ---- outputs

    def _finish_outputs(self) -> dict[int, int]:
        """Give each output a buffer; copy what lies elsewhere. The in-place ones: output index -> input index."""
        aliases = dict(self.graph.aliases)
        in_place: dict[int, int] = {}
        copies = []
        for i, node in enumerate(self.graph.outputs):
            node = resolve(node)
            buffer = self.buffer_of(node)
            if i in aliases:
                in_place[i] = aliases[i]
                target = self.inputs[aliases[i]]
                if buffer is target:
                    self.outputs.append(target)
                    continue
                if buffer is not None and buffer.kind == "temporary" and self._may_write_early(buffer, target):
                    self._rename(buffer, target)
                else:
                    copies.append((node, target))
                self.outputs.append(target)
            elif buffer is not None and buffer.kind == "temporary":
                buffer.kind, buffer.index, buffer.shape = "output", i, node.shape
                self.outputs.append(buffer)
            else:
                target = Buffer(node.shape, node.dtype.name, "output", i)
                self.outputs.append(target)
                self._kernels_of_copy(node, target)
        for node, target in [(self._moved_away(node), target) for node, target in copies]:
            self._kernels_of_copy(node, target)
        return in_place

    def _moved_away(self, node: Node) -> Node:
        """A node that is an input itself is copied first, because its memory may be written next."""
        source = self.buffer_of(node)
        if source is not None and source.kind == "input":
            buffer = self.fresh(source.shape, source.dtype)
            self._kernels_of_copy(node, buffer)
            node = Node(node.op, node.inputs, node.attrs, node.type)
            self.buffers[node] = buffer
        return node

    def _kernels_of_copy(self, node: Node, target: Buffer) -> None:
        """Compute or copy a node into a buffer."""
        source = self.buffer_of(node)
        if source is None:
            self._kernels(node, target)
            return
        if not node.type.size:
            return
        for kernel, slots in arrange(copy_draft(self.inliner(), source, target, node), self.lanes, lambda *_: None):
            self._add_kernel(node, kernel, slots)

    def _may_write_early(self, buffer: Buffer, target: Buffer) -> bool:
        """Whether `buffer` may lie in the memory of the input `target`: nothing fails, and nobody reads the old content later."""
        if self.checks or any(isinstance(s, HostStep) for s in self.steps):
            return False
        if any(target in s.writes for s in self.steps) or any(self.buffer_of(x) is target for x in self.graph.outputs):
            return False
        writers = [i for i, s in enumerate(self.steps) if buffer in s.writes]
        if not writers:
            return False
        for i, step in enumerate(self.steps):
            if target in step.reads and (i > writers[0] or (i == writers[0] and not self._pointwise(step, buffer, target))):
                return False
        return True

    @staticmethod
    def _pointwise(step: Step, buffer: Buffer, target: Buffer) -> bool:
        """Whether a kernel reads `target` only at the place at which it writes `buffer`."""
        if not isinstance(step, KernelStep) or len(step.kernel.stages) != 1 or step.kernel.stages[0].reduce:
            return False
        stores = [s for s in step.kernel.stages[0].stores if step.slots[s.slot] is buffer]
        return all(x.kind == "load" and not x.attr[2] and x.attr[1] == stores[0].form for x, b in step.loads() if b is target)

    def _rename(self, buffer: Buffer, target: Buffer) -> None:
        """Let every step use `target` in place of `buffer`."""
        for step in self.steps:
            for items in (step.reads, step.writes, getattr(step, "slots", [])):
                items[:] = [target if b is buffer else b for b in items]
        for node, b in self.buffers.items():
            if b is buffer:
                self.buffers[node] = target
