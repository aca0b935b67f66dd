# SPDX-License-Identifier: Apache-2.0
"""Loop-invariant code motion: what is the same in every step of a loop is computed once, before it.

In: a graph. Out: the same values. A node of a loop's body that depends on fixed operands alone becomes a fixed operand
itself: weights rounded to bfloat16, or normalised. Movements of fixed operands stay inside, where they are views.
"""

from __future__ import annotations

from ...ir.graph import Graph, input_node, like, make, rebuild
from ...ir.node import Node, Type
from ..nodes import MOVEMENTS

LOOPS = ("scan", "while")


def invariant(graph: Graph) -> Graph:
    """The graph with such nodes outside of its loops."""
    if not any(node.op.name in LOOPS for node in graph.nodes):
        return graph
    return rebuild(graph, lambda node, inputs: _lighter(node, inputs) if node.op.name in LOOPS else None)


def _lighter(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    """The scan with further fixed operands, or None if nothing in its body is the same in every step."""
    body: Graph = node.attrs["body"]
    outside = _outside(node, inputs)
    moved = [x for x in outside if x.op.name not in (*MOVEMENTS, "input") and _is_read(body, x, outside)]
    if not moved:
        return None
    symbols = {x: input_node(x.type) for x in moved}
    inner = rebuild(Graph((*body.inputs, *symbols.values()), body.outputs), lambda x, _: symbols.get(x))
    return make(node.op, *inputs, *(outside[x] for x in moved), at=node, **{**node.attrs, "body": inner})


def _outside(node: Node, inputs: tuple[Node, ...]) -> dict[Node, Node]:
    """Every body node that depends on fixed operands, and on nothing else that changes, with what it is outside."""
    body, first = node.attrs["body"], node.attrs["carries"] + node.attrs["sequences"]
    found: dict[Node, Node] = dict(zip(body.inputs[first:], inputs[first:], strict=True))
    constants: set[Node] = set()  # nodes that depend on no operand at all
    for x in body.nodes:
        if x in found or x.op.name == "input" or not isinstance(x.type, Type):
            continue
        if all(y in constants for y in x.inputs):
            constants.add(x)
        elif all(y in found or y in constants for y in x.inputs):
            found[x] = like(x, tuple(found.get(y, y) for y in x.inputs))
    return found


def _is_read(body: Graph, x: Node, outside: dict[Node, Node]) -> bool:
    """Whether something that stays inside reads a node."""
    return x in body.outputs or any(user not in outside or user.op.name in MOVEMENTS for user in body.users[x])
