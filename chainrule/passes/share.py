# SPDX-License-Identifier: Apache-2.0
"""Common-subexpression elimination. Law: two nodes with the same operation, operands and attributes are one node;
barriers stay apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import Graph, Node
from ..ir.graph import like, rebuild
from ..ir.node import INPUT
from ..ops.control import BARRIER


def share(graph: Graph) -> Graph:
    """Compute each value once."""
    seen: dict[Any, Node] = {}

    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node.op in (INPUT, BARRIER):
            return None
        key = (node.op, inputs, tuple(sorted((name, _key(value)) for name, value in node.attrs.items())), node.type)
        if key not in seen:
            seen[key] = node if inputs == node.inputs else like(node, inputs)
        return seen[key]

    return rebuild(graph, rewrite)


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes()) if value.size <= 64 else id(value)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return repr(value) if isinstance(value, float | np.dtype) else value
