# SPDX-License-Identifier: Apache-2.0
"""Rounding to bfloat16: the word from which the pass `precision` builds products of lower precision.

bfloat16 is the upper half of a float32: the same exponents, 8 bits of mantissa. There is no such data type in the
language, because it needs none: a rounded value is a float32 whose lower half is zero, and a product of two of them,
summed in float32, is what a processor with bfloat16 instructions computes. A backend may keep such a value in two
bytes. After Wang and Kanwar, "BFloat16: the secret to high performance on Cloud TPUs" (2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, explain
from ..ir import as_tensor
from ..ir.bind import bind
from ..ir.node import Node, Type, op
from ..ir.tensor import Tensor

MOVED = ("reshape", "transpose", "slice", "broadcast")  # words that only move the values of their operand


def _infer(x: Type) -> Type:
    if x.dtype != np.float32:
        raise DTypeError(explain("only float32 is rounded to bfloat16", got=str(x),
                                 fix="cast it first: cr.astype(x, 'float32')"))
    return x


def nearest_bfloat16(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 numbers as float32: ties to the even one, beyond the largest to infinity, a NaN stays one.
    """
    bits = np.asarray(x).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded = np.where(np.isnan(x), bits | np.uint32(0x400000), rounded)
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


BFLOAT16 = op("bfloat16", infer=_infer, meaning=nearest_bfloat16, vjp=None)


def round_to_bfloat16(x: Any, /) -> Tensor:
    """The bfloat16 numbers nearest to a float32 tensor, as float32; passes no gradient, like every rounding."""
    return bind(BFLOAT16, as_tensor(x))


def moved(node: Node) -> Node | None:
    """The operand whose values a node only moves, if that is all it does; rows taken from a table count if it is not
    larger."""
    rows = node.op.name == "take" and node.inputs[0].type.size <= node.type.size
    return node.inputs[0] if rows or node.op.name in MOVED else None


def is_rounded(node: Node) -> bool:
    """Whether all values of a node are bfloat16 numbers by the way they are made: rounded, and then only moved."""
    while (source := moved(node)) is not None:
        node = source
    return node.op is BFLOAT16
