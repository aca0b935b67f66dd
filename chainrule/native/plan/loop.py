# SPDX-License-Identifier: Apache-2.0
"""A scan becomes a step: its body as a plan of its own, or as one for each size of block of the batch's rows.

In: a scan whose operands have buffers. Out: the steps that pack the weights of its products, and the loop. Where the
rows of the batch are independent of each other and there are enough, the threads share out blocks of rows: each runs
through all steps of time with its rows, and nothing waits for anything. Which blocks there are follows from the shape
alone. Otherwise all threads share every step of the body, with barriers between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.graph import Graph
from ...ir.node import Node
from ..buffers import BRAIN, Buffer
from ..kernels.product.panels import panels_of, panels_pay
from ..kernels.product.product import ProductSpec
from ..rewrites.batch import row_blocks, with_rows
from ..target import Target
from .memory import Memory
from .steps import Packed, PackStep, Plan, RowBlocks, ScanStep

SHARED_ROUND = 20_000  # units of 0.1 ns: the work of a round from which two threads gain more than their barriers cost
IN_PLACE = 1 << 16  # bytes from which the carry of a loop is updated in place


class Repeated:
    """How a body is repeated: `length` times; inputs from `first` on are the same every time, those in `narrow`
    bfloat16.

    `panels` are what its products want packed beforehand, each with the body's input for it. A check that fails in it
    is reported as `check`.
    """

    def __init__(self, length: int, first: int, count: int, narrow: frozenset[int], check: int):
        self.length, self.first, self.count, self.narrow, self.check = length, first, count, narrow, check
        self.panels: dict[Packed, Buffer] = {}

    def packed(self, spec: ProductSpec, left: Buffer, right: Buffer, first: int, target: Target) -> Buffer | None:
        """The right operand packed before the loop, if that pays."""
        is_fixed = lambda b: b.kind == "input" and b.index >= self.first
        if not is_fixed(right) or is_fixed(left) or not panels_pay(spec, target, self.length):
            return None
        key = Packed(right.index, first, panels_of(spec, target))
        if key not in self.panels:
            self.panels[key] = Buffer((key.panels.size,), spec.dtype, "input", self.count + len(self.panels))
        return self.panels[key]


# (how many blocks, of how many rows, the plan); one of all rows if they are not split
Bodies = list[tuple[int, int, Any]]


def bodies(node: Node, lower: Callable[[Graph, Repeated, bool], Plan], narrow: frozenset[int],
           check: int) -> Bodies | None:
    """The plans of a loop's body, whose checks all have the number `check`; None where it needs the host."""
    body, length, carries = node.attrs["body"], node.attrs["length"], node.attrs["carries"]
    if not length or not all(x.type.size for x in (*body.inputs, *body.outputs)):
        return None
    stops = node.op.name == "while"
    heavy = () if node.attrs["history"] else tuple((i, i) for i in range(stops, carries) if body.inputs[i].type.bytes
                                                   >= IN_PLACE)
    first = carries + node.attrs["sequences"]

    def planned(graph: Graph, alone: bool) -> Plan | None:
        repeated = Repeated(length, first, len(graph.inputs), narrow, check)
        plan = lower(Graph(graph.inputs, graph.outputs, heavy), repeated, alone)
        return plan if all(s.native for s in plan.steps) else None

    batch = body.inputs[0].shape[0] if carries and body.inputs[0].shape and not stops else 1
    blocks = [(count, rows, with_rows(body, first, rows)) for count, rows in row_blocks(batch)]
    if blocks and all(graph is not None for _, _, graph in blocks):
        plans = [(count, rows, planned(graph, True)) for count, rows, graph in blocks if graph is not None]
    else:
        short = planned(body, True)
        plans = [(1, batch, short if short is not None and _is_short(short) else planned(body, False))]
    return None if any(plan is None for _, _, plan in plans) else plans


def _is_short(body: Plan) -> bool:
    """Whether a round is too short to be shared by threads."""
    return (sum(step.work for step in body.steps) < SHARED_ROUND
            and not any(isinstance(step, ScanStep) for step in body.steps))


def add_scan(memory: Memory, node: Node, plans: Bodies) -> None:
    """The steps of a loop, put behind the others."""
    attrs, carries, checked = node.attrs, node.attrs["carries"], any(plan.checks for _, _, plan in plans)
    if checked:
        memory.check(node)
    first, inputs, whole = carries + attrs["sequences"], plans[0][2].inputs, plans[0][2]
    operands = [memory.kept(x) if b.dtype == BRAIN else memory.whole(x)
                for x, b in zip(node.inputs, inputs, strict=False)]
    results = [memory.fresh(t.shape, t.dtype.name) for t in node.type]
    memory.parts[node] = results
    history = results[len(results) - carries:] if attrs["history"] and carries else []
    turning = [] if history else [i for i in range(carries) if i not in whole.in_place]
    turns = {i: (memory.fresh(results[i].shape, results[i].dtype), memory.fresh(results[i].shape, results[i].dtype))
             for i in turning}
    blocks, row, packed = [], 0, dict[Packed, Buffer]()
    for count, rows, plan in plans:
        for buffer in plan.constants:
            buffer.index = len(memory.constants)
            memory.constants.append(buffer)
        for x in plan.panels:
            packed[x] = packed.get(x) or _pack(memory, node, operands[x.source], x)
        arena = memory.fresh((count * _lines(plan.arena),), "int8")
        blocks.append(RowBlocks(plan, count, rows, row, arena, _lines(plan.arena),
                                [*operands[first:], *(packed[x] for x in plan.panels)]))
        row += count * rows
    scratch = [*(x.arena for x in blocks), *(b for pair in turns.values() for b in pair)]
    memory.items.append(ScanStep(
        node, [*operands, *packed.values()], [*results, *scratch], blocks, row, attrs["length"], attrs["reverse"],
        operands[:carries], operands[carries:first], results[:carries], results[carries:len(results) - len(history)],
        history, set(whole.in_place), turns, stops=node.op.name == "while", checked=checked,
        alone=len(blocks) == 1 and blocks[0].count == 1 and _is_short(whole)))


def _lines(size: int) -> int:
    """Bytes rounded up to cache lines, and at least one."""
    return -(-max(size, 64) // 64) * 64


def _pack(memory: Memory, node: Node, source: Buffer, packed: Packed) -> Buffer:
    """A buffer with an operand packed as products of the body want it."""
    target = memory.fresh((packed.panels.size,), packed.panels.dtype)
    memory.items.append(PackStep(node, [source], [target], packed.panels, packed.first))
    return target
