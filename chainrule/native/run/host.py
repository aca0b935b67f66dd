# SPDX-License-Identifier: Apache-2.0
"""Host steps: what runs as NumPy between stretches of machine code.

In: a node. Out: a function from arrays to an array or a tuple of arrays. `scan` runs its body as a native program of
its own; floats are ordered together with their places, as integers; everything else that has no generator runs by its
NumPy meaning (LAPACK, other sorting, integer powers and products).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import inside_layer
from ...ir.graph import Graph
from ...ir.node import Node

Program = Callable[[list[np.ndarray]], list[np.ndarray]]


def host_function(node: Node, load: Callable[[Graph], Program]) -> Callable[..., Any]:
    """The function that computes the node; `load` makes a program of a loop's body."""
    if node.op.name == "scan":
        return _scan(node, load(node.attrs["body"]))
    if node.op.name == "while":
        return _while(node, load(node.attrs["body"]))
    if (
        node.op.name == "argsort"
        and node.inputs[0].dtype == np.float32
        and node.type.size < 2**32
        and sys.byteorder == "little"
    ):
        return _argsort(node.attrs["axis"])

    def run(*arrays: np.ndarray) -> Any:
        with np.errstate(all="ignore"), inside_layer(node.layer or ""):
            return node.op.meaning(*arrays, **node.attrs)
    return run


def _argsort(axis: int) -> Callable[..., Any]:
    """The stable order of float32: one sort of 64-bit integers, a key that orders as the float does above its place.

    The key is the representation with all bits turned of negative numbers, with the sign turned of others; zeros are
    equal, and so are NaNs, the largest.
    """
    sign = np.int32(-2**31)

    def run(x: np.ndarray) -> np.ndarray:
        x = np.moveaxis(x, axis, -1)
        pairs = np.empty((*x.shape, 2), np.int32)
        bits = (x + np.float32(0)).view(np.int32)  # + 0 makes +0 of -0
        np.bitwise_xor(bits, (bits >> 31) | sign, out=pairs[..., 1])
        pairs[..., 1][np.isnan(x)] = -1
        pairs[..., 0] = np.arange(x.shape[-1], dtype=np.uint32).view(np.int32)
        order = pairs.view(np.uint64)[..., 0]
        order.sort(axis=-1)
        order &= np.uint64(2**32 - 1)
        return np.moveaxis(order.view(np.int64), -1, axis)
    return run


def _while(node: Node, program: Program) -> Callable[..., Any]:
    """The loop that stops by its first carry, with the body compiled."""
    carries, length = node.attrs["carries"], node.attrs["length"]

    def run(*arrays: np.ndarray) -> Any:
        carry, fixed, rounds = list(arrays[:carries]), arrays[carries:], 0
        while carry[0] and rounds < length:
            carry, rounds = program([*carry, *fixed]), rounds + 1
        return tuple(carry)
    return run


def _scan(node: Node, program: Program) -> Callable[..., Any]:
    """The loop, with the body compiled."""
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
