# SPDX-License-Identifier: Apache-2.0
"""What is rewritten before the cut into kernels, so that the rest has fewer cases.

Loops lose what can be done outside of them, and a power with a small whole exponent becomes products. A contraction
becomes one over (batch…, m, k) and (batch…, k, n): transposes and reshapes of its operands, which cost nothing where they
are views, and a reshape of its result.
"""

from __future__ import annotations

import numpy as np

from ..ir.graph import Graph, make, rebuild
from ..ir.node import REGISTRY, Node
from .hoist import hoist
from .inline import uniform


def prepare(graph: Graph) -> Graph:
    """The same graph in the form that the native backend expects."""
    return rebuild(hoist(graph), _prepared)


def _prepared(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    if node.op.name == "contract" and node.dtype.kind == "f":
        return _matrix_product(node, *inputs)
    if node.op.name == "pow" and node.dtype.kind == "f":
        return _small_power(node, inputs[0], uniform(node.inputs[1]))
    return None


def _small_power(node: Node, x: Node, exponent: float | None) -> Node | None:
    """x to the power 1, 2, 3 or 4 as products."""
    if exponent not in (1, 2, 3, 4):
        return None
    times = lambda a, b: make(REGISTRY["mul"], a, b, at=node)
    if exponent == 1:
        return x
    square = times(x, x)
    return square if exponent == 2 else times(square, x if exponent == 3 else square)


def _size(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return int(np.prod([shape[i] for i in axes], dtype=np.int64))


def _matrix_product(node: Node, a: Node, b: Node) -> Node:
    contracting, batch = node.attrs["contracting"], node.attrs["batch"]
    free_a = tuple(i for i in range(len(a.shape)) if i not in contracting[0] and i not in batch[0])
    free_b = tuple(i for i in range(len(b.shape)) if i not in contracting[1] and i not in batch[1])
    lead = tuple(a.shape[i] for i in batch[0])
    m, k, n = _size(a.shape, free_a), _size(a.shape, contracting[0]), _size(b.shape, free_b)
    left = _arranged(a, (*batch[0], *free_a, *contracting[0]), (*lead, m, k))
    right = _arranged(b, (*batch[1], *contracting[1], *free_b), (*lead, k, n))
    axes = tuple(range(len(lead)))
    product = make(REGISTRY["contract"], left, right, at=node, contracting=((len(lead) + 1,), (len(lead),)), batch=(axes, axes))
    return product if product.shape == node.shape else make(REGISTRY["reshape"], product, at=node, shape=node.shape)


def _arranged(x: Node, order: tuple[int, ...], shape: tuple[int, ...]) -> Node:
    if order != tuple(range(len(order))):
        x = make(REGISTRY["transpose"], x, at=x, axes=order)
    return x if x.shape == shape else make(REGISTRY["reshape"], x, at=x, shape=shape)
