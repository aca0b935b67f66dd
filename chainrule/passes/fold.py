# SPDX-License-Identifier: Apache-2.0
"""Law: a small value that depends on no input is computed once, when compiling, by the meaning that defines it."""

from __future__ import annotations

import numpy as np

from ..errors import ChainruleError
from ..ir import Graph, Node, Type
from ..ir.graph import constant, evaluate, rebuild
from ..ir.node import CONSTANT
from ..ops.control import BARRIER

LARGEST = 1024  # elements; larger results stay operations (a broadcast scalar must not become an array)


def fold(graph: Graph) -> Graph:
    """Replace operations on constants by their value."""
    return rebuild(graph, _folded)


def _folded(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    if not inputs or node.op is BARRIER or not isinstance(node.type, Type):
        return None
    if any(x.op is not CONSTANT for x in inputs) or node.type.size > max(LARGEST, sum(x.type.size for x in inputs)):
        return None
    if node.op.name == "broadcast" and node.type.size > inputs[0].type.size:
        return None
    try:
        with np.errstate(all="ignore"):
            return constant(evaluate(node, [x.attrs["value"] for x in inputs]), at=node)
    except ChainruleError:
        return None  # it will fail where it runs, with the user's line
