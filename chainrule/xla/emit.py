# SPDX-License-Identifier: Apache-2.0
"""A graph as JAX operations: walk the nodes, look up the rule, apply it; the same walk as the interpreter's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from ..ir import Graph, Node
from ..ir.node import CONSTANT, INPUT, OUTPUT
from ..ops.precision import is_rounded
from . import faults

NARROW = ("contract", "conv")  # whose rules take bfloat16 operands

Rules = Mapping[str, Callable[..., Any]]


def emit(graph: Graph, inputs: Sequence[Any], rules: Rules) -> list[Any]:
    """The outputs of the graph for traced `inputs`."""
    values: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    compared = _compared(graph)
    for node in graph.nodes:
        if node.op is not INPUT:
            value = _value(node, [values[x] for x in node.inputs], rules)
            values[node] = lax.optimization_barrier(value) if node in compared else value
    return [values[node] for node in graph.outputs]


def _compared(graph: Graph) -> set[Node]:
    """What is compared with its own extreme (gradients of max and min). XLA may compute a value anew in each kernel
    that reads it, and
    not to the same last bit: then no element would equal the extreme. These values are computed once.
    """
    reads = lambda *names: {x for node in graph.nodes if node.op.name in names for x in node.inputs}
    return reads("max", "min") & reads("equal")


def _value(node: Node, inputs: Sequence[Any], rules: Rules) -> Any:
    if node.op is CONSTANT:
        return jnp.asarray(node.attrs["value"])
    if node.op is OUTPUT:
        return inputs[0][node.attrs["index"]]
    faults.at(node)
    if node.op.name in NARROW and all(map(is_rounded, node.inputs)):
        inputs = [x.astype(jnp.bfloat16) for x in inputs]  # exact, and the device may use its bfloat16 units
    return rules[node.op.name](*inputs, **node.attrs)
