# SPDX-License-Identifier: Apache-2.0
"""Constant folding. Law: a small value that depends on no input is computed once, when compiling, by the meaning that
defines it."""

from __future__ import annotations

import numpy as np

from ..errors import ChainruleError
from ..ir import Graph, Node, Type
from ..ir.graph import constant, evaluate, rebuild
from ..ir.node import CONSTANT
from ..ops.broadcast import BROADCAST
from ..ops.control import BARRIER

LARGEST = 1024  # elements; larger results stay operations (a broadcast scalar must not become an array)


def fold(graph: Graph) -> Graph:
    """Replace operations on constants by their value."""
    return rebuild(graph, _folded)


def _folded(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    if not inputs or node.op is BARRIER or not isinstance(node.type, Type):
        return None
    values = [_known(x) for x in inputs]
    if not any(x.op is CONSTANT for x in inputs) or any(value is None for value in values):
        return None
    if node.type.size > max(LARGEST, sum(x.type.size for x in inputs if x.op is CONSTANT)):
        return None
    if node.op is BROADCAST and node.type.size > inputs[0].type.size:
        return None
    try:
        with np.errstate(all="ignore"):
            return constant(evaluate(node, values), at=node)
    except ChainruleError:
        return None  # it will fail where it runs, with the user's line


def _known(node: Node) -> np.ndarray | None:
    """The value of a constant or of a repeated constant, which is only looked through: it costs less to repeat than to
    load."""
    if node.op is BROADCAST and node.inputs[0].op is CONSTANT:
        return np.broadcast_to(node.inputs[0].attrs["value"], node.shape)
    return node.attrs["value"] if node.op is CONSTANT else None
