# SPDX-License-Identifier: Apache-2.0
"""What is rewritten before the cut into kernels, so that the rest has fewer cases.

Loops lose what can be done outside of them, products of a table's rows become rows of the table's product, parts padded
with zeros and added up (gradients of slices) are put side by side, and a power with a small whole exponent, 1/2, -1 or
-1/2 becomes products, roots and quotients. A contraction becomes one over (batch…, m, k) and (batch…, k, n): transposes
and reshapes of its operands, which cost nothing where they are views, and a reshape of its result.
"""

from __future__ import annotations

import numpy as np

from ...ir.graph import Graph, constant, make, rebuild
from ...ir.node import REGISTRY, Node
from ..nodes import uniform
from .hoist import hoist
from .invariant import invariant
from .lookup import lookup
from .rematerialise import again
from .split_k import halves
from .unfold import unfold

MOST_PARTS = 64  # of a sum that becomes a concatenation


def prepare(graph: Graph) -> Graph:
    """The same graph in the form that the native backend expects."""
    return halves(rebuild(lookup(invariant(hoist(unfold(again(graph))))), _prepared))


def _prepared(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    if node.op.name == "contract" and node.dtype.kind == "f":
        return _matrix_product(node, *inputs)
    if node.op.name == "pow":
        return _small_power(node, inputs[0], uniform(node.inputs[1]))
    if node.op.name == "add":
        return _side_by_side(node, inputs)
    return None


# ---- sums of padded parts

def _side_by_side(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    """A sum of parts of one array, each padded with zeros to the whole: a concatenation, in which no zero is added."""
    parts = _paddings(inputs)
    axes = {_only_axis(x) for x in parts}
    axis = axes.pop() if len(axes) == 1 else None
    if axis is None:
        return None
    places = sorted(((x.attrs["low"][axis], x.inputs[0]) for x in parts), key=lambda place: place[0])
    first = end = places[0][0]
    for low, x in places:
        if low != end:
            return None
        end += x.shape[axis]
    whole = make(REGISTRY["concat"], *(y for _, x in places for y in (x.inputs if _is_joined(x, axis) else (x,))),
                 at=node, axis=axis)
    if whole.shape == node.shape:
        return whole
    along = lambda n: tuple(n if i == axis else 0 for i in range(len(node.shape)))
    return make(REGISTRY["pad"], whole, at=node, low=along(first), high=along(node.shape[axis] - end),
                interior=along(0), value=0.0)


def _is_joined(x: Node, axis: int) -> bool:
    return x.op.name == "concat" and x.attrs["axis"] == axis


def _paddings(inputs: tuple[Node, ...]) -> list[Node]:
    """The summands, if all of them are paddings of one axis with zeros and there are not too many."""
    found: list[Node] = []
    left = list(inputs)
    while left:
        x = left.pop()
        if x.op.name == "add":
            left += x.inputs
        elif _only_axis(x) is None or len(found) == MOST_PARTS:
            return []
        else:
            found.append(x)
    return found


def _only_axis(x: Node) -> int | None:
    """The axis along which x is a padding with zeros, if it is one and there is but one."""
    if x.op.name != "pad" or x.attrs["value"] != 0 or any(x.attrs["interior"]):
        return None
    axes = [i for i, (low, high) in enumerate(zip(x.attrs["low"], x.attrs["high"], strict=True)) if low or high]
    return axes[0] if len(axes) == 1 and x.attrs["low"][axes[0]] >= 0 <= x.attrs["high"][axes[0]] else None


def _small_power(node: Node, x: Node, exponent: float | None) -> Node | None:
    """x to the power 1, 2, 3 or 4, and of floats 1/2, -1 or -1/2, without logarithms."""
    if exponent not in ((1, 2, 3, 4, 0.5, -1, -0.5) if node.dtype.kind == "f" else (1, 2, 3, 4)):
        return None
    do = lambda name, *args: make(REGISTRY[name], *args, at=node)
    if exponent == 1:
        return x
    if exponent == -1:
        return do("div", _filled(node, 1.0), x)
    if exponent == 0.5:
        return do("sqrt", x)  # as NumPy does; C's pow differs at -0 and at minus infinity
    if exponent == -0.5:
        return do("div", _filled(node, 1.0), _root(node, x))
    square = do("mul", x, x)
    return square if exponent == 2 else do("mul", square, x if exponent == 3 else square)


def _root(node: Node, x: Node) -> Node:
    """The power 1/2: the square root, but +0 of -0 and infinity of minus infinity."""
    do = lambda name, *args: make(REGISTRY[name], *args, at=node)
    below = do("equal", x, _filled(node, -np.inf))
    return do("where", below, _filled(node, np.inf), do("add", do("sqrt", x), _filled(node, 0.0)))


def _filled(node: Node, value: float) -> Node:
    """A constant of the node's type."""
    return constant(np.broadcast_to(np.asarray(value, node.dtype), node.shape))


def _size(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return int(np.prod([shape[i] for i in axes], dtype=np.int64))


def _matrix_product(node: Node, a: Node, b: Node) -> Node:
    contracting, batch = node.attrs["contracting"], node.attrs["batch"]
    free_a = tuple(i for i in range(len(a.shape)) if i not in contracting[0] and i not in batch[0])
    free_b = tuple(i for i in range(len(b.shape)) if i not in contracting[1] and i not in batch[1])
    lead = tuple(a.shape[i] for i in batch[0])
    m, k, n = _size(a.shape, free_a), _size(a.shape, contracting[0]), _size(b.shape, free_b)
    if m == n == 1:
        return _dot(node, *(_arranged(x, (*b, *c, *f), (*lead, k))
                            for x, b, c, f in zip((a, b), batch, contracting, (free_a, free_b), strict=True)))
    left = _arranged(a, (*batch[0], *free_a, *contracting[0]), (*lead, m, k))
    right = _arranged(b, (*batch[1], *contracting[1], *free_b), (*lead, k, n))
    axes = tuple(range(len(lead)))
    product = make(REGISTRY["contract"], left, right, at=node, contracting=((len(lead) + 1,), (len(lead),)),
                   batch=(axes, axes))
    return product if product.shape == node.shape else make(REGISTRY["reshape"], product, at=node, shape=node.shape)


def _dot(node: Node, a: Node, b: Node) -> Node:
    """One sum along the last axis, which is cut into blocks: more exact than a product, and shared by threads."""
    total = make(REGISTRY["sum"], make(REGISTRY["mul"], a, b, at=node), at=node, axes=(len(a.shape) - 1,))
    return total if total.shape == node.shape else make(REGISTRY["reshape"], total, at=node, shape=node.shape)


def _arranged(x: Node, order: tuple[int, ...], shape: tuple[int, ...]) -> Node:
    if order != tuple(range(len(order))):
        x = make(REGISTRY["transpose"], x, at=x, axes=order)
    return x if x.shape == shape else make(REGISTRY["reshape"], x, at=x, shape=shape)
