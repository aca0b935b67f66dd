# SPDX-License-Identifier: Apache-2.0
"""Algebraic simplification. Law (an invariant of the pass): the values stay bit for bit the same, but for the sign of a
zero. Identities go, movements in a row merge.

The sum over axes of extent 1 becomes a reshape; a sum would have turned -0 into 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir import Graph, Node, Op
from ..ir.graph import make, rebuild
from ..ir.node import CONSTANT
from ..ops.broadcast import BROADCAST, SUM
from ..ops.elementwise import CAST, DIV, MUL, NEG, SUB
from ..ops.movement import RESHAPE, TRANSPOSE


def algebra(graph: Graph) -> Graph:
    """Apply the rule of each node's operation, if it has one."""
    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        rule = RULES.get(node.op)
        return rule(node, inputs) if rule is not None else None
    return rebuild(graph, rewrite)


def scalar(node: Node) -> float | None:
    """The value of a constant that is the same everywhere, seen through broadcasts; None for anything else."""
    while node.op in (BROADCAST, RESHAPE):
        node = node.inputs[0]
    if node.op is CONSTANT and node.type.size == 1:
        return node.attrs["value"].reshape(()).item()
    return None


def _multiply(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    a, b = inputs
    if scalar(b) == 1:
        return a
    return b if scalar(a) == 1 else None


def _divide(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    return inputs[0] if scalar(inputs[1]) == 1 else None


def _subtract(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    value = scalar(inputs[1])
    return inputs[0] if value == 0 and np.copysign(1, value) > 0 else None


def _negate(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    return inputs[0].inputs[0] if inputs[0].op is NEG else None


def _cast(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    return inputs[0] if inputs[0].dtype == node.dtype else None


def _reshape(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    (x,) = inputs
    if x.shape == node.shape:
        return x
    if x.op is RESHAPE:
        return make(RESHAPE, x.inputs[0], at=node, shape=node.shape) if x.inputs[0].shape != node.shape else x.inputs[0]
    return None


def _transpose(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    (x,), axes = inputs, node.attrs["axes"]
    if axes == tuple(range(len(axes))):
        return x
    if x.op is TRANSPOSE:
        merged = tuple(x.attrs["axes"][a] for a in axes)
        return (make(TRANSPOSE, x.inputs[0], at=node, axes=merged) if merged != tuple(range(len(merged)))
                else x.inputs[0])
    return None


def _broadcast(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    (x,) = inputs
    if x.shape == node.shape:
        return x
    return make(BROADCAST, x.inputs[0], at=node, shape=node.shape) if x.op is BROADCAST else None


def _sum(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    (x,), axes = inputs, node.attrs["axes"]
    if all(x.shape[a] == 1 for a in axes):
        return make(RESHAPE, x, at=node, shape=node.shape) if x.shape != node.shape else x
    return None


RULES: dict[Op, Callable[[Node, tuple[Node, ...]], Node | None]] = {
    MUL: _multiply, DIV: _divide, SUB: _subtract, NEG: _negate, CAST: _cast,
    RESHAPE: _reshape, TRANSPOSE: _transpose, BROADCAST: _broadcast, SUM: _sum,
}
