# SPDX-License-Identifier: Apache-2.0
"""Graph → plan: the steps of a program in order, with all buffers placed.

In: an optimised graph. Out: a `Plan`. The order of work: bring products into one form, decide what is stored, make one
step for each stored node, give outputs their buffers (in place where the graph says so and nobody still reads the old
content), place the rest in one arena.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.graph import Graph
from ..ir.node import Node, Type
from ..ops.precision import is_rounded
from .attach import attach
from .attention_step import AttentionStep, attention_step
from .buffers import BRAIN, Buffer, plan_arena
from .conv import ConvSpec, has_pairs
from .fuse import Group, fuse, sharing_rows
from .gemm import ProductSpec
from .group import Grouping
from .index import coefficient, form_of, loop, row_major
from .inline import Inliner
from .kinds import kind_of
from .loop import Bodies, Repeated, add_scan, bodies
from .nodes import resolve
from .order import early
from .overlap import overlap_drafts, summed
from .prepare import prepare
from .rows import arrange_group
from .running import RunningSpec
from .scatter import ScatterSpec
from .schedule import Layout, copy_draft, draft
from .steps import HostStep, KernelStep, Packed, Plan, ProductStep, RunningStep, ScatterStep, Step
from .target import Target
from .write_back import may_fail, write_back

_ANY = Buffer((), "float32")  # stands for memory that is not there yet
CONVOLUTIONS = {"conv": "forward", "conv_input_gradient": "input_gradient", "conv_filter_gradient": "filter_gradient"}


def lower(graph: Graph, target: Target, threads: int, repeated: Repeated | None = None) -> Plan:
    """The plan of a graph, or of the body of a loop."""
    return Lowering(prepare(graph), target, threads, repeated).plan()


class Lowering:
    """The state of one lowering."""

    def __init__(self, graph: Graph, target: Target, threads: int, repeated: Repeated | None = None):
        self.graph, self.target, self.threads = graph, target, threads
        self.repeated = repeated
        narrow = repeated.narrow if repeated else frozenset[int]()
        self.lanes = target.lanes("float32")
        self.grouping = Grouping(graph)
        self.buffers: dict[Node, Buffer] = {}
        self.parts: dict[Node, list[Buffer]] = {}
        self.wide: dict[Buffer, Buffer] = {}  # float32 copies of what is kept as bfloat16
        self.inputs = [Buffer(x.shape, BRAIN if i in narrow else x.dtype.name, "input", i) for i, x in enumerate(graph.inputs)]
        self.buffers.update(zip(graph.inputs, self.inputs, strict=True))
        self.constants: list[Buffer] = []
        self.outputs: list[Buffer] = []
        self.checks: list[Node] = []
        self.items: list[Any] = []  # drafts (after fusion, groups of them) and finished steps, in order
        self.steps: list[Step] = []

    def plan(self) -> Plan:
        """Everything, in order."""
        for node in self.graph.nodes:
            if node.op.name == "constant" and self.grouping.stored.get(node):
                self._constant(node)
        for node in self.grouping.roots():
            self._step(node)
        self._fresh_outputs()
        self.items = early(fuse(self.items, self.lanes))
        in_place = write_back(self)
        self.items = attach(self.items, may_fail)
        self._arrange()
        self._scratch()
        arena = plan_arena(self.steps)
        panels = self.repeated.panels if self.repeated else dict[Packed, Buffer]()
        inputs = [*self.inputs, *panels.values()]
        return Plan(self.graph, self.steps, inputs, self.constants, self.outputs, in_place, self.checks, arena, list(panels))

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

    def _memory(self, node: Node) -> str:
        """The dtype in which a node is kept: two bytes for what is rounded to bfloat16, if products can read them."""
        return BRAIN if self.target.pairs and is_rounded(node) else node.dtype.name

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
            self._convolve(node)
        elif kind == "product" and self._is_solid(node):
            self._contract(node)
        elif kind == "scatter":
            self._scatter(node)
        elif kind == "running":
            self._running(node)
        elif kind == "attention":
            self._attention(node)
        elif node.op.name == "scan" and (plans := self._bodies(node)) is not None:
            add_scan(self, node, plans)
        elif kind in ("host", "product"):
            self._host(node)
        else:
            target = self.fresh(node.shape, self._memory(node))
            if node.op.name == "concat":
                self._parts(node, target)
            else:
                self._kernels(node, target)
            self.buffers[node] = target

    @staticmethod
    def _is_solid(node: Node) -> bool:
        return node.type.size > 0 and all(x.type.size for x in node.inputs)

    def _kernels(self, node: Node, target: Buffer) -> None:
        """The kernels that compute a node into a buffer."""
        if not node.type.size:
            return
        if not summed(node):
            self.items.append(draft(node, self.inliner, target))
            return
        for rows, drafts in overlap_drafts(node, self.inliner, target).items():
            group = sharing_rows(drafts, rows)
            self.items += [group] if group else drafts

    def _parts(self, node: Node, target: Buffer) -> None:
        """The parts of a concatenation, one kernel each."""
        axis, start, strides = node.attrs["axis"], 0, row_major(node.shape)
        for part in node.inputs:
            if part.type.size:
                self.items.append(draft(part, self.inliner, target, Layout(strides, start * strides[axis])))
            start += part.shape[axis]

    def _arrange(self) -> None:
        """Turn the groups of drafts into kernels."""
        users: dict[Buffer, set[int]] = {}
        for i, item in enumerate(self.items):
            for buffer in (*item.reads, *item.writes):
                users.setdefault(buffer, set()).add(i)
        for i, item in enumerate(self.items):
            if not isinstance(item, Group):
                item.commits = bool(self.checks) and isinstance(item, ProductStep | ScatterStep) and any(b.kind == "input" for b in item.writes)
                self.steps.append(item)
                continue
            private = lambda b, i=i: b.kind == "temporary" and users[b] <= {i}
            node = item.parts[-1].node
            for kernel, slots in arrange_group(item.parts, self.lanes, lambda size, dtype: self.fresh((size,), dtype), private):
                self._add_kernel(node, kernel, slots)

    def _add_kernel(self, node: Any, kernel: Any, slots: list[Buffer]) -> None:
        written = {slots[s.slot] for stage in kernel.stages for s in (*stage.stores, *stage.sums) if s.slot < len(slots)}
        step = KernelStep(node, [], sorted(written, key=slots.index), kernel, slots)
        step.commits = bool(self.checks) and any(b.kind == "input" for b in written)
        step.reads = list(dict.fromkeys(buffer for _, buffer in step.loads()))
        self.steps.append(step)

    def _host(self, node: Node) -> None:
        types = node.type if isinstance(node.type, tuple) else (node.type,)
        targets = [self.fresh(t.shape, t.dtype.name) for t in types]
        if isinstance(node.type, Type):
            self.buffers[node] = targets[0]
        self.parts[node] = targets
        self.items.append(HostStep(node, [self._whole(x) for x in node.inputs], targets))

    def _scatter(self, node: Node) -> None:
        """The base into the result, then the updates on top; of a Variable's update the indices are checked before that."""
        target = self.fresh(node.shape, node.dtype.name)
        self.buffers[node] = target
        base, indices, updates = (resolve(x) for x in node.inputs)
        axis, drop = node.attrs["axis"], node.attrs.get("drop", False)
        size = lambda shape: int(np.prod(shape, dtype=np.int64))
        spec = ScatterSpec(size(node.shape[:axis]), node.shape[axis], indices.type.size, size(node.shape[axis + 1:]), node.dtype.name,
                           indices.dtype.name, node.attrs["mode"], 0 if drop else self._check(node), drop)
        slots = [self._whole(indices), self._whole(updates), target]
        if updates.type.size and not drop and self._updates_variable(node, base):
            self.items.append(ScatterStep(node, slots[:1], [], dataclasses.replace(spec, mode="check"), slots[:1]))
            spec = dataclasses.replace(spec, check=0)
        self.copy(base, target)
        if updates.type.size:
            self.items.append(ScatterStep(node, list(slots), [target], spec, slots))

    def _updates_variable(self, node: Node, base: Node) -> bool:
        """Whether a node made of a Variable's content becomes the content."""
        return any(resolve(self.graph.outputs[i]) is node and self.graph.inputs[index] is base for i, index in self.graph.aliases)

    def _running(self, node: Node) -> None:
        """A cumulative sum."""
        target = self.fresh(node.shape, node.dtype.name)
        self.buffers[node] = target
        if node.type.size:
            axis = node.attrs["axis"]
            outer, columns = (int(np.prod(part, dtype=np.int64)) for part in (node.shape[:axis], node.shape[axis + 1:]))
            slots = [self._whole(node.inputs[0]), target]
            self.items.append(RunningStep(node, slots[:1], slots[1:], RunningSpec(outer, node.shape[axis], columns, node.dtype.name), slots))

    def _bodies(self, node: Node) -> Bodies | None:
        """The plans of a loop's body; None where it needs the host or may fail."""
        first = node.attrs["carries"] + node.attrs["sequences"]
        narrow = frozenset(i for i, x in enumerate(node.inputs) if i >= first and self._memory(resolve(x)) == BRAIN)
        return bodies(node, lambda graph, repeated, alone: lower(graph, self.target, 1 if alone else self.threads, repeated), narrow)

    def _whole(self, node: Node) -> Buffer:
        """The buffer of an operand; one that is not in memory yet is put there."""
        return self._widened(self._kept(node), node)

    def _kept(self, node: Node) -> Buffer:
        """The same, which may keep float32 numbers as bfloat16."""
        node = resolve(node)
        buffer = self.buffer_of(node)
        if buffer is None:
            buffer = self.fresh(node.shape, self._memory(node))
            self._kernels(node, buffer)
            self.buffers[node] = buffer
        return buffer

    def _widened(self, buffer: Buffer, node: Node) -> Buffer:
        """The same numbers as float32, if the buffer keeps them as bfloat16."""
        if buffer.dtype != BRAIN:
            return buffer
        if buffer not in self.wide:
            self.wide[buffer] = self.fresh(buffer.shape, "float32")
            self.items.append(copy_draft(self.inliner(), buffer, self.wide[buffer], node))
        return self.wide[buffer]

    # ---- products

    def _product(self, node: Node, spec: Any, operands: list[Buffer], flops: int = 0, first: tuple[int, int] = (0, 0)) -> None:
        target = self.fresh(node.shape, node.dtype.name)
        self.buffers[node] = target
        self.items.append(ProductStep(node, operands, [target], spec, flops or self._convolution_flops(node), first))

    def _contract(self, node: Node) -> None:
        a, b = (resolve(x) for x in node.inputs)
        *batch, m, k = a.shape
        n = b.shape[-1]
        (left, a_strides, a_first), (right, b_strides, b_first) = self._kept_operand(a), self._kept_operand(b)
        narrow = left.dtype == right.dtype == BRAIN
        if not narrow:
            left, right = self._widened(left, a), self._widened(right, b)
        strides = ProductSpec.dense(m, n, k, batch=tuple(batch)).c_strides
        spec = ProductSpec(m, n, k, a_strides, b_strides, strides, tuple(batch), node.dtype.name, narrow=narrow)
        panels = self.repeated.packed(spec, left, right, b_first, self.target) if self.repeated else None
        if panels is not None:
            spec, right, b_first = dataclasses.replace(spec, packed=True), panels, 0
        self._product(node, spec, [left, right], 2 * node.type.size * k, (a_first, b_first))

    def _operand(self, node: Node) -> tuple[Buffer, tuple[int, ...], int]:
        """(buffer, strides, first element) of an operand: a view of what is stored where that is possible, else a copy."""
        buffer, strides, first = self._kept_operand(node)
        return self._widened(buffer, node), strides, first

    def _kept_operand(self, node: Node) -> tuple[Buffer, tuple[int, ...], int]:
        """The same, in a buffer that may keep float32 numbers as bfloat16."""
        found = self._view(node, self.buffer_of)
        if found is None:
            for source in self._sources(node):
                if self._view(node, lambda x, source=source: _ANY if resolve(x) is source else self.buffer_of(x)):
                    self._kept(source)
                    found = self._view(node, self.buffer_of)
                    break
        return found or (self._kept(node), ProductSpec.dense(*node.shape[-2:], 1, batch=node.shape[:-2]).c_strides, 0)

    def _view(self, node: Node, stored: Callable[[Node], Buffer | None]) -> tuple[Buffer, tuple[int, ...], int] | None:
        """An operand as a view of what `stored` says is in memory, if it is one."""
        make = Inliner(stored, self._check)
        loops = [loop(i, n) for i, n in enumerate(node.shape)]
        found = make.value(node, tuple(form_of(v) for v in loops))
        if found.kind == "cast" and found.args[0].dtype == BRAIN:
            found = found.args[0]
        if found.kind != "load" or found.attr[2] or found.attr[1].const < 0:
            return None
        strides = [coefficient(found.attr[1], v) for v in loops]
        if any(s is None or s < 0 for s in strides):
            return None
        return make.buffers[found.attr[0]], tuple(strides), found.attr[1].const  # type: ignore[arg-type]

    def _sources(self, node: Node) -> list[Node]:
        """What an operand is a view of before it is in memory, the first in the chain first: other operands may share it."""
        chain: list[Node] = []
        while node.op.name in ("reshape", "transpose") and self.buffer_of(node) is None:
            chain.insert(0, node)
            node = resolve(node.inputs[0])
        return chain[:-1]

    def _attention(self, node: Node) -> None:
        targets = [self.fresh(t.shape, t.dtype.name) for t in node.type]
        self.parts[node] = targets
        self.items.append(attention_step(node, targets, lambda x: self._operand(resolve(x)), self._whole))

    def _convolve(self, node: Node) -> None:
        spec, operands = self._convolution(node), [self._kept(x) for x in node.inputs]
        if all(b.dtype == BRAIN for b in operands) and has_pairs(spec):
            self._product(node, dataclasses.replace(spec, narrow=True), operands)
        else:
            self._product(node, spec, [self._widened(b, x) for b, x in zip(operands, node.inputs, strict=True)])

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
                step.scratch = self.fresh((max(size, 64),), "int8")
                step.writes.append(step.scratch)

    # ---- outputs

    def _fresh_outputs(self) -> None:
        """Give each output that is not in place a buffer of its own."""
        aliases = dict(self.graph.aliases)
        for i, node in enumerate(self.graph.outputs):
            node = resolve(node)
            buffer = self.buffer_of(node)
            if i in aliases:
                self.outputs.append(self.inputs[aliases[i]])
            elif buffer is not None and buffer.kind == "temporary" and buffer.dtype == node.dtype.name:
                buffer.kind, buffer.index, buffer.shape = "output", i, node.shape
                self.outputs.append(buffer)
            else:
                self.outputs.append(Buffer(node.shape, node.dtype.name, "output", i))
                self.copy(node, self.outputs[-1])

    def copy(self, node: Node, target: Buffer) -> None:
        """Compute or copy a node into a buffer."""
        source = self.buffer_of(node)
        if source is None:
            self._kernels(node, target)
        elif node.type.size:
            self.items.append(copy_draft(self.inliner(), source, target, node))
