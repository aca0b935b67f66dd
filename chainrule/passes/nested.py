# SPDX-License-Identifier: Apache-2.0
"""Law: what a pass does to a graph it does to the graphs inside it first, such as the body of a scan."""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..ir import Graph, Node
from ..ir.graph import rebuild

Pass = Callable[[Graph], Graph]


def nested(rewrite: Pass) -> Pass:
    """The pass `rewrite`, applied to every body and then to the graph itself."""
    @functools.wraps(rewrite)
    def everywhere(graph: Graph) -> Graph:
        return rewrite(_with_bodies(graph, everywhere))
    return everywhere


def _with_bodies(graph: Graph, rewrite: Pass) -> Graph:
    if not any(isinstance(value, Graph) for node in graph.nodes for value in node.attrs.values()):
        return graph
    done: dict[Graph, Graph] = {}  # equal bodies stay one object, so that equal loops stay equal

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        bodies = {name: value for name, value in node.attrs.items() if isinstance(value, Graph)}
        if not bodies:
            return None
        for body in bodies.values():
            if body not in done:
                done[body] = rewrite(body)
        attrs = {**node.attrs, **{name: done[body] for name, body in bodies.items()}}
        return Node(node.op, inputs, attrs, node.type, where=node.where, layer=node.layer, source=node.source)

    return rebuild(graph, replace)
