# SPDX-License-Identifier: Apache-2.0
"""Host steps: what runs as NumPy between stretches of machine code.

In: a node. Out: a function from arrays to an array or a tuple of arrays. `scan` runs its body as a native program of its
own; everything else that has no generator runs by its NumPy meaning (LAPACK, sorting, integer powers and products).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import inside_layer
from ..ir.graph import Graph
from ..ir.node import Node


def host_function(node: Node) -> Callable[..., Any]:
    """The function that computes the node."""
    if node.op.name == "scan":
        return _scan(node)

    def run(*arrays: np.ndarray) -> Any:
        with np.errstate(all="ignore"), inside_layer(node.layer or ""):
            return node.op.meaning(*arrays, **node.attrs)
    return run


def _scan(node: Node) -> Callable[..., Any]:
    """The loop, with the body compiled."""
    from . import load

    body: Graph = node.attrs["body"]
    program = load(body)
    carries, sequences = node.attrs["carries"], node.attrs["sequences"]
    length, history = node.attrs["length"], node.attrs["history"]
    steps = range(length - 1, -1, -1) if node.attrs["reverse"] else range(length)

    def run(*arrays: np.ndarray) -> Any:
        carry, sliced, fixed = arrays[:carries], arrays[carries:carries + sequences], arrays[carries + sequences:]
        stacked = [np.empty(t.shape, t.dtype) for t in node.type[carries:]]
        carry = list(carry)
        for i in steps:
            outputs = program([*carry, *(x[i] for x in sliced), *fixed])
            for target, value in zip(stacked, [*outputs[carries:], *(carry if history else ())], strict=True):
                target[i] = value
            carry = outputs[:carries]
        return (*carry, *stacked)
    return run
