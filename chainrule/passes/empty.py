# SPDX-License-Identifier: Apache-2.0
"""Dead-code elimination of what is empty. Law: what runs zero times is not in the program, so that nothing of it is
read, computed or checked.

An array without elements is a constant, a sum over nothing is zero, what nothing is added to stays as it was, and a
loop of no steps hands on the carries it got. An index that is out of bounds stays one, even if its rows have no
elements.
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Node, Type
from ..ir.graph import constant, make, rebuild
from ..ir.node import CONSTANT, INPUT, OUTPUT
from ..ops.broadcast import BROADCAST, SUM
from ..ops.contract import CONTRACT, CONV, CONV_FILTER_GRADIENT, CONV_INPUT_GRADIENT
from ..ops.index import SCATTER, TAKE
from ..ops.movement import PAD, UNWINDOW
from ..ops.scan import SCAN

ADDING = frozenset((SUM, CONTRACT, CONV, CONV_FILTER_GRADIENT, CONV_INPUT_GRADIENT, UNWINDOW))


def empty(graph: Graph) -> Graph:
    """The graph without what has no elements or no steps."""
    if not any(_is_empty(node) or _is_still(node) for node in graph.nodes):
        return graph
    checked: set[Node] = set()  # arrays without elements that an index out of bounds would keep from being made

    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node.op is OUTPUT and _is_still(inputs[0]) and node.attrs["index"] < inputs[0].attrs["carries"]:
            return inputs[0].inputs[node.attrs["index"]]
        if node.op in (INPUT, CONSTANT) or not isinstance(node.type, Type):
            return None
        if _looks_up(node) or any(x in checked for x in node.inputs):
            if _is_empty(node):
                checked.add(node)
            return None
        return constant(np.empty(node.shape, node.dtype), at=node) if _is_empty(node) else _from_nothing(node, inputs)

    return rebuild(graph, rewrite)


def _is_empty(node: Node) -> bool:
    return isinstance(node.type, Type) and 0 in node.type.shape


def _is_still(node: Node) -> bool:
    return node.op is SCAN and node.attrs["length"] == 0


def _looks_up(node: Node) -> bool:
    return node.op in (TAKE, SCATTER) and not _is_empty(node.inputs[1])


def _from_nothing(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    """What an operation gives that has an operand without elements, if it is known."""
    if not any(map(_is_empty, inputs)):
        return None
    if node.op is SCATTER:
        return inputs[0]
    if node.op is PAD or node.op in ADDING:
        value = constant(np.asarray(node.attrs.get("value", 0), node.dtype), at=node)
        return make(BROADCAST, value, at=node, shape=node.shape)
    return None
