# SPDX-License-Identifier: Apache-2.0
"""How a node is computed: on the way in a kernel, as a reduction, by a generator of its own, or on the host; and what
that costs."""

from __future__ import annotations

from ..ir.node import Node, Type
from .llvm import operations
from .nest.inline import RULES, is_partition

REDUCTIONS = ("sum", "max", "min", "argmax", "argmin", "unwindow")
PRODUCTS = ("contract",)
UNPACKING = ("packed_product",)
ATTENTIONS = ("attention", "attention_gradient")
CONVOLUTIONS = ("conv", "conv_input_gradient")
COSTS = {
    "exp": 12, "expm1": 16, "log": 14, "log1p": 16, "tanh": 14, "erf": 16, "sin": 16, "cos": 16, "pow": 30, "atan2": 20,
    "log2": 14, "log10": 14, "tan": 20, "asin": 12, "acos": 12, "sinh": 16, "cosh": 16, "asinh": 20, "acosh": 20,
    "atanh": 18,
    "random_bits": 24, "take": 8, "div": 3, "sqrt": 4, "floor_divide": 8, "remainder": 8, "pad": 2, "concat": 3,
    "bfloat16": 5,
    "reshape": 0, "transpose": 0, "slice": 0, "window": 0, "broadcast": 0, "iota": 0, "unwindow": 4,
}  # fmt: skip
OWN_STEPS = {"scatter": "scatter", "cumsum": "running"}


def kind_of(node: Node) -> str:
    """leaf, inline, reduce, product, unpacking, attention, scatter, running or host: how a node is computed."""
    name = node.op.name
    if name in ("input", "constant"):
        return "leaf"
    if name == "unwindow" and is_partition(node):
        return "inline"
    if name in REDUCTIONS:
        return "reduce" if isinstance(node.type, Type) else "host"
    if name in PRODUCTS:
        return "product" if node.dtype.kind == "f" else "host"
    if name in UNPACKING:
        return "unpacking" if node.type.size and node.inputs[0].type.size else "host"
    if name in RULES:
        return "inline"
    if name in ATTENTIONS:
        return "attention"
    if name in OWN_STEPS:
        return OWN_STEPS[name]
    if not isinstance(node.type, Type) or name == "output":
        return "host"
    return "inline" if operations.supports(name, [x.dtype for x in node.inputs]) else "host"
