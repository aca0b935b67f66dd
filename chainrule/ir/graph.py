# SPDX-License-Identifier: Apache-2.0
"""`Graph`: a function in the language, from input nodes to output nodes, and the interpreter that gives it meaning.

The nodes of a graph are whatever its outputs need, in topological order; dead code does not exist. Graphs are never
changed: a pass builds another one with `rebuild`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import inside_layer
from .memory import no_room
from .node import CONSTANT, INPUT, Node, Type


@dataclass(frozen=True, eq=False)
class Graph:
    """A function: `inputs` (nodes of op `input`) to `outputs`.

    `aliases` pairs an output with the input whose memory it may take over: (output index, input index), the updated
    Variables of a training step.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    aliases: tuple[tuple[int, int], ...] = ()

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that the outputs need, inputs and constants included, each after what it uses."""
        return topological(self.outputs, self.inputs)

    @cached_property
    def users(self) -> dict[Node, tuple[Node, ...]]:
        """For each node, the nodes that use it (once per use); outputs of the graph are not counted."""
        found: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for x in node.inputs:
                found[x].append(node)
        return {node: tuple(users) for node, users in found.items()}


def topological(outputs: Iterable[Node], first: Sequence[Node] = (),
                inputs_of: Callable[[Node], tuple[Node, ...]] = lambda node: node.inputs) -> tuple[Node, ...]:
    """`first`, then everything that `outputs` need and is not in it, each node after its inputs (iterative: any depth).
    """
    done: dict[Node, None] = dict.fromkeys(first)
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(tuple(outputs))]
    while stack:
        node, expanded = stack.pop()
        if node in done:
            continue
        if expanded:
            done[node] = None
            continue
        stack.append((node, True))
        stack.extend((x, False) for x in reversed(inputs_of(node)) if x not in done)
    return tuple(done)


def close(inputs: Sequence[Node], outputs: Sequence[Node], aliases: tuple[tuple[int, int], ...] = (),
          instead: Mapping[Node, Node] | None = None) -> Graph:
    """A graph of what lies between `inputs` and `outputs`; nodes that have data already become constants.

    The nodes of `instead` are replaced by others.
    """
    new: dict[Node, Node] = dict(instead or {})
    for node in topological(outputs, inputs, lambda node: () if node.data is not None or node in new else node.inputs):
        if node in new:
            continue
        if node.data is not None:
            new[node] = Node(CONSTANT, (), {"value": node.data}, node.type, layer=node.layer)
        elif any(new[x] is not x for x in node.inputs):
            new[node] = like(node, tuple(new[x] for x in node.inputs))
        else:
            new[node] = node
    return Graph(tuple(inputs), tuple(new[x] for x in outputs), aliases)


def rebuild(graph: Graph, rewrite: Callable[[Node, tuple[Node, ...]], Node | None]) -> Graph:
    """A new graph in which each node is what `rewrite(node, new inputs)` returns; None keeps the operation as it is."""
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        inputs = tuple(new[x] for x in node.inputs)
        made = rewrite(node, inputs)
        new[node] = made if made is not None else node if inputs == node.inputs else like(node, inputs)
    return Graph(tuple(new[x] for x in graph.inputs), tuple(new[x] for x in graph.outputs), graph.aliases)


def inline(graph: Graph, inputs: Sequence[Node]) -> tuple[Node, ...]:
    """The outputs of `graph` when its inputs are the given nodes: a call, written out."""
    new: dict[Node, Node] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        if node not in new:
            new[node] = like(node, tuple(new[x] for x in node.inputs))
    return tuple(new[x] for x in graph.outputs)


def like(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same operation on other inputs of the same types, remembering where it came from."""
    return Node(node.op, inputs, node.attrs, node.type, where=node.where, layer=node.layer, source=node.source)


def make(op: Any, *inputs: Node, at: Node | None = None, **attrs: Any) -> Node:
    """A symbolic node with an inferred type, placed where `at` was."""
    kind = op.infer(*(x.type for x in inputs), **attrs)
    return Node(op, inputs, attrs, kind, where=at.where if at else None, layer=at.layer if at else None)


def constant(value: Any, at: Node | None = None) -> Node:
    """A symbolic constant node that holds `value`."""
    return make(CONSTANT, at=at, value=np.asarray(value))


def input_node(type: Type, source: Any = None) -> Node:
    """A symbolic input of the given type."""
    return Node(INPUT, (), {"type": type}, type, source=source)


def interpret(graph: Graph, arrays: Sequence[np.ndarray], watch: Callable[[Node, Any], None]
              | None = None) -> list[np.ndarray]:
    """Run the graph by the NumPy meanings of its operations; `watch(node, value)` sees each value as it appears."""
    values: dict[Node, Any] = dict(zip(graph.inputs, arrays, strict=True))
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.op is INPUT:
                continue
            values[node] = value = evaluate(node, [values[x] for x in node.inputs])
            if watch is not None:
                watch(node, value)
    return [values[node] for node in graph.outputs]


def evaluate(node: Node, arrays: Sequence[Any]) -> Any:
    """The value of one node from the values of its inputs."""
    try:
        with inside_layer(node.layer or ""):
            result = node.op.meaning(*arrays, **node.attrs)
    except MemoryError as error:
        raise no_room(error, node.op.name, node.type, node) from None
    return result if isinstance(result, tuple) else np.asarray(result)
