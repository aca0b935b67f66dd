# SPDX-License-Identifier: Apache-2.0
"""Loop-invariant code motion for products: work that need not be done inside a loop: many small products become one
large one before or after it.

In: a graph. Out: the same values. A scan that is computed with and without its history is computed once; a product of a
sliced operand and a fixed one is taken out of the loop as one product over all steps; a carry that only adds up
products (the gradient of a weight) or sums is no carry any more: its summands are stacked and contracted over the steps
at the end. A loop over loops stays as it is: its products are large already, and its steps are pieces that shall not be
kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...ir.graph import Graph, input_node, like, make, rebuild
from ...ir.node import OUTPUT, REGISTRY, Node
from ...ops.precision import BFLOAT16
from ..nodes import resolve

NO_BATCH = ((), ())


def hoist(graph: Graph) -> Graph:
    """The graph with lighter loops."""
    if not any(node.op.name == "scan" for node in graph.nodes):
        return graph
    graph = _with_history_once(graph)
    results: dict[Node, list[Node]] = {}

    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node.op is OUTPUT and inputs[0] in results:
            return results[inputs[0]][node.attrs["index"]]
        if node.op.name != "scan" or node.attrs["history"]:
            return None
        found = _lighter(node, inputs)
        if found is not None:
            results[found[0]] = found[1]
        return found[0] if found is not None else None

    return rebuild(graph, rewrite)


# ---- a loop computed twice

def _key(node: Node) -> Any:
    attrs = node.attrs
    return id(attrs["body"]), node.inputs, attrs["carries"], attrs["sequences"], attrs["length"], attrs["reverse"]


def _with_history_once(graph: Graph) -> Graph:
    """Scans that differ only in keeping their history are one scan that keeps it."""
    kept = {_key(x) for x in graph.nodes if x.op.name == "scan" and x.attrs["history"]}
    made: dict[Any, Node] = {}

    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node.op.name != "scan" or _key(node) not in kept:
            return None
        key = _key(node)
        if key not in made:
            made[key] = make(node.op, *inputs, at=node, **{**node.attrs, "history": True})
        return made[key]

    return rebuild(graph, rewrite)


# ---- products before and after the loop

@dataclass
class _Loop:
    """A scan that is being taken apart."""

    node: Node
    operands: tuple[Node, ...]
    slices: dict[Node, Node] = field(default_factory=dict)  # body node -> stacked operand that replaces it
    stacked: list[Node] = field(default_factory=list)  # body nodes that become further stacked results
    sums: dict[int, Node] = field(default_factory=dict)  # carry -> the body node that is added in each step

    def __post_init__(self) -> None:
        self.body: Graph = self.node.attrs["body"]
        self.carries, self.sequences = self.node.attrs["carries"], self.node.attrs["sequences"]
        self.first_fixed = self.carries + self.sequences
        self.place = {x: i for i, x in enumerate(self.body.inputs)}


def _lighter(node: Node, inputs: tuple[Node, ...]) -> tuple[Node, list[Node]] | None:
    """(the lighter scan, a node for each of the old results), or None if there is nothing to take out."""
    loop = _Loop(node, inputs)
    if any(x.op.name == "scan" for x in loop.body.nodes):
        return None
    for x in loop.body.nodes:
        if _is_outside(loop, x):
            loop.slices[x] = _before(loop, x)
    for k in range(loop.carries):
        summand = _summand(loop, k)
        if summand is not None:
            loop.sums[k] = summand
            for operand in summand.inputs:
                _stack(loop, operand)
    return _rebuilt(loop) if loop.slices or loop.sums else None


def _is_outside(loop: _Loop, x: Node) -> bool:
    if x.op.name != "contract" or x.attrs["batch"] != NO_BATCH or x.dtype.kind != "f":
        return False
    left, right = (loop.place.get(_exact(y), -1) for y in x.inputs)
    return loop.carries <= left < loop.first_fixed <= right


def _exact(x: Node) -> Node:
    """An operand before it is rounded, which is done outside the loop as well."""
    return x.inputs[0] if x.op is BFLOAT16 else x


def _as(x: Node, outside: Node) -> Node:
    """What stands for the exact form of x outside, rounded as x is."""
    return make(BFLOAT16, outside, at=outside) if x.op is BFLOAT16 else outside


def _before(loop: _Loop, x: Node) -> Node:
    """The product of all steps at once, steps first."""
    (left, right), (axes, others) = (_as(y, loop.operands[loop.place[_exact(y)]])
                                     for y in x.inputs), x.attrs["contracting"]
    return make(x.op, left, right, at=loop.node, contracting=(tuple(a + 1 for a in axes), others), batch=NO_BATCH)


def _summand(loop: _Loop, k: int) -> Node | None:
    """What is added to carry k in each step, if the loop does nothing else with it and it is a product or a sum."""
    carry, out = loop.body.inputs[k], resolve(loop.body.outputs[k])
    if (
        out.op.name != "add"
        or carry not in out.inputs
        or loop.body.users[carry] != (out,)
        or loop.body.outputs.count(out) != 1
    ):
        return None
    if loop.body.users[out]:
        return None
    other = next((x for x in out.inputs if x is not carry), carry)
    product = other.op.name == "contract" and other.attrs["batch"] == NO_BATCH and other.dtype.kind == "f"
    return other if product or other.op.name == "sum" else None


def _stack(loop: _Loop, x: Node) -> None:
    """Make sure that there is a stacked form of a body node."""
    x = _exact(x)
    in_slices = x in loop.place and loop.carries <= loop.place[x] < loop.first_fixed
    if not in_slices and x not in loop.slices and x not in loop.stacked and x not in loop.body.outputs[loop.carries:]:
        loop.stacked.append(x)


def _rebuilt(loop: _Loop) -> tuple[Node, list[Node]]:
    node, body, attrs = loop.node, loop.body, loop.node.attrs
    kept = [k for k in range(loop.carries) if k not in loop.sums]
    new: dict[Node, Node] = {x: input_node(x.type) for x in loop.slices}
    for x in body.nodes:
        if x not in new:
            new[x] = x if x in loop.place else like(x, tuple(new[y] for y in x.inputs))
    sliced = body.inputs[loop.carries:loop.first_fixed]
    inputs = [*(body.inputs[k] for k in kept), *sliced, *(new[x] for x in loop.slices), *body.inputs[loop.first_fixed:]]
    outputs = [*(new[body.outputs[k]] for k in kept), *(new[x] for x in body.outputs[loop.carries:]),
               *(new[x] for x in loop.stacked)]
    operands = [*(loop.operands[k] for k in kept), *loop.operands[loop.carries:loop.first_fixed], *loop.slices.values(),
                *loop.operands[loop.first_fixed:]]
    scan = make(node.op, *operands, at=node, body=Graph(tuple(inputs), tuple(outputs)), carries=len(kept),
                sequences=loop.sequences + len(loop.slices), length=attrs["length"], reverse=attrs["reverse"],
                history=False)
    pick = lambda i: make(OUTPUT, scan, at=node, index=i)
    results: list[Node] = []
    for i in range(len(node.type)):
        if i in loop.sums:
            results.append(_after(loop, i, lambda x: _stacked(loop, x, pick, len(kept))))
        else:
            results.append(pick(kept.index(i) if i < loop.carries else i - len(loop.sums)))
    return scan, results


def _stacked(loop: _Loop, x: Node, pick: Any, kept: int) -> Node:
    """The values of a body node in all steps, steps first."""
    if x.op is BFLOAT16:
        return _as(x, _stacked(loop, x.inputs[0], pick, kept))
    if x in loop.slices:
        return loop.slices[x]
    if x in loop.place and loop.carries <= loop.place[x] < loop.first_fixed:
        return loop.operands[loop.place[x]]
    if x in loop.body.outputs[loop.carries:]:
        return pick(kept + loop.body.outputs[loop.carries:].index(x))
    return pick(kept + len(loop.node.type) - loop.carries + loop.stacked.index(x))


def _after(loop: _Loop, k: int, stacked: Any) -> Node:
    """What carry k comes to: its start, and all summands at once."""
    summand, at = loop.sums[k], loop.node
    if summand.op.name == "sum":
        total = make(summand.op, stacked(summand.inputs[0]), at=at, axes=(0, *(a + 1 for a in summand.attrs["axes"])))
    else:
        left, right = (tuple(a + 1 for a in axes) for axes in summand.attrs["contracting"])
        total = make(summand.op, *map(stacked, summand.inputs), at=at, contracting=((0, *left), (0, *right)),
                     batch=NO_BATCH)
    return make(REGISTRY["add"], loop.operands[k], total, at=at)
