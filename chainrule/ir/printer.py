# SPDX-License-Identifier: Apache-2.0
"""A graph as text, one node a line; the golden form of tests and what `step.show("graph")` prints.

    inputs  %0: float32[4, 3]  %1: float32[3, 2] = weight
    %2: float32[4, 2] = contract(%0, %1) batch=((), ()) contracting=((1,), (0,))
    outputs %2
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import Graph
from .node import INPUT, Node


def graph_text(graph: Graph) -> str:
    """The graph as lines of text, values numbered in order."""
    names = {node: f"%{i}" for i, node in enumerate(graph.nodes)}
    inputs = "  ".join(_input(node, names) for node in graph.inputs)
    body = [_line(node, names) for node in graph.nodes if node.op is not INPUT]
    takes = {output: names[graph.inputs[index]] for output, index in graph.aliases}
    outputs = "  ".join(names[x] + (f" -> {takes[i]}" if i in takes else "") for i, x in enumerate(graph.outputs))
    return "\n".join([f"inputs  {inputs}", *body, f"outputs {outputs}"])


def _input(node: Node, names: dict[Node, str]) -> str:
    name = getattr(node.source, "name", "")
    return f"{names[node]}: {node.type}" + (f" = {name}" if name else "")


def _line(node: Node, names: dict[Node, str]) -> str:
    arguments = ", ".join(names[x] for x in node.inputs)
    attrs = "".join(f" {key}={_attribute(value)}" for key, value in sorted(node.attrs.items()))
    layer = f"    # {node.layer}" if node.layer else ""
    kind = node.type if not isinstance(node.type, tuple) else "(" + ", ".join(map(str, node.type)) + ")"
    return f"{names[node]}: {kind} = {node.op.name}({arguments}){attrs}{layer}"


def _attribute(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return repr(value.item()) if value.size == 1 else f"<{value.dtype}[{', '.join(map(str, value.shape))}]>"
    if isinstance(value, Graph):
        return "{" + graph_text(value).replace("\n", "; ") + "}"
    if callable(value):
        return getattr(value, "__name__", "function")
    return str(value)


