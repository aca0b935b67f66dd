# SPDX-License-Identifier: Apache-2.0
"""The rules that every graph obeys after every stage; a broken one is a bug in chainrule and raises GraphError."""

from __future__ import annotations

from ..errors import GraphError
from .graph import Graph
from .node import INPUT, REGISTRY, Node


def verify(graph: Graph, after: str = "trace", known: set[Node] | None = None) -> Graph:
    """Check the graph and return it; nodes in `known` were checked before and, as values, are still right. The others
    come to it.

    Rules: operations come from the registry; each node's type is what its type rule says; symbols only (no data);
    inputs are `input` nodes, each listed once, and no other `input` node occurs; aliased outputs and inputs have one
    type.
    """
    if len(set(graph.inputs)) != len(graph.inputs):
        raise GraphError(f"after {after}: an input is listed twice")
    declared, known = set(graph.inputs), set() if known is None else known
    for node in graph.nodes:
        if (node.op is INPUT) != (node in declared):
            raise GraphError(f"after {after}: {node} is "
                             f"{'not a declared input' if node.op is INPUT else 'declared as an input'}")
        if node not in known:
            _verify_node(node, after, known)
    known.update(graph.nodes)
    for output, index in graph.aliases:
        if graph.outputs[output].type != graph.inputs[index].type:
            raise GraphError(f"after {after}: output {output} ({graph.outputs[output].type}) cannot take over input "
                             f"{index} ({graph.inputs[index].type})")
    return graph


def _verify_node(node: Node, after: str, known: set[Node]) -> None:
    if REGISTRY.get(node.op.name) is not node.op:
        raise GraphError(f"after {after}: {node} uses an operation that is not in the registry")
    if node.data is not None:
        raise GraphError(f"after {after}: {node} carries data inside a graph")
    for value in node.attrs.values():
        if isinstance(value, Graph):
            verify(value, after, known)
    inferred = node.op.infer(*(x.type for x in node.inputs), **node.attrs)
    if inferred != node.type:
        raise GraphError(f"after {after}: {node} should have type {inferred}")
