# SPDX-License-Identifier: Apache-2.0
"""Law: `custom_gradient` is the identity once gradients are taken, and `barrier` once nothing is shared any more."""

from __future__ import annotations

from ..ir import Graph, Node
from ..ir.graph import rebuild
from ..ops.control import BARRIER, CUSTOM


def erase(graph: Graph) -> Graph:
    """Replace every custom_gradient by its value; what only its rule needed disappears."""
    return rebuild(graph, lambda node, inputs: inputs[0] if node.op is CUSTOM else None)


def loosen(graph: Graph) -> Graph:
    """Replace every barrier by its value."""
    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        return inputs[0] if node.op is BARRIER else None
    return rebuild(graph, rewrite)
