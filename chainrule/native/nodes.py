# SPDX-License-Identifier: Apache-2.0
"""Questions about nodes of a graph that several stages ask: whose value one passes on, whether all of its elements are
one, what only moves them."""

from __future__ import annotations

from typing import Any

from ..ir.node import Node

IDENTITIES = ("custom_gradient", "barrier")
MOVEMENTS = ("reshape", "transpose", "slice", "pad", "concat", "window", "broadcast")


def resolve(node: Node) -> Node:
    """The node whose value this one passes on unchanged."""
    while node.op.name in IDENTITIES:
        node = node.inputs[0]
    return node


def uniform(node: Node) -> Any:
    """The one value of a constant whose elements are all the same, else None."""
    node = resolve(node)
    if node.op.name == "broadcast":
        return uniform(node.inputs[0])
    if node.op.name != "constant":
        return None
    value = node.attrs["value"]
    if value.size == 1:
        return value.reshape(())[()]
    return value.flat[0] if value.size and not any(value.strides) else None
