# SPDX-License-Identifier: Apache-2.0
"""A graph as JAX operations: walk the nodes, look up the rule, apply it; the same walk as the interpreter's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from ..ir import Graph, Node
from ..ir.node import CONSTANT, INPUT, OUTPUT
from ..ops.precision import is_rounded
from . import faults

NARROW = ("contract", "conv")  # whose rules take bfloat16 operands

Rules = Mapping[str, Callable[..., Any]]


def emit(graph: Graph, inputs: Sequence[Any], rules: Rules) -> list[Any]:
    """The outputs of the graph for traced `inputs`."""
    values: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        if node.op is not INPUT:
            values[node] = _value(node, [values[x] for x in node.inputs], rules)
    return [values[node] for node in graph.outputs]


def _value(node: Node, inputs: Sequence[Any], rules: Rules) -> Any:
    if node.op is CONSTANT:
        return jnp.asarray(node.attrs["value"])
    if node.op is OUTPUT:
        return inputs[0][node.attrs["index"]]
    faults.at(node)
    if node.op.name in NARROW and all(map(is_rounded, node.inputs)):
        inputs = [x.astype(jnp.bfloat16) for x in inputs]  # exact, and the device may use its bfloat16 units
    return rules[node.op.name](*inputs, **node.attrs)
