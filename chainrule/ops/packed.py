# SPDX-License-Identifier: Apache-2.0
"""Products with a matrix of small integers: y = x W, where W is kept as integers of 8 or 4 bits and a scale for each
column of each group of rows.

The meaning is that of the product with the matrix which the integers stand for, W[i, j] = q[i, j] s[i // group, j]
rounded to the dtype of the scales; a backend may read the integers where they lie and never make W.
"""

from __future__ import annotations

import numpy as np

from ..errors import DTypeError, ShapeError, explain
from ..ir.bind import as_tensor, bind
from ..ir.node import Type, op
from ..ir.tensor import Tensor
from ..typing import ArrayLike
from .compose import concat, matmul
from .compose import sum as summed
from .contract import contract
from .elementwise import astype, bitwise_and, bitwise_right_shift, multiply, subtract
from .movement import permute_dims, reshape

KEPT = {8: np.dtype(np.int8), 4: np.dtype(np.uint8)}  # bits -> the dtype of the bytes
OFFSET = 8  # what 4 bits hold is the number plus this


def _infer(x: Type, integers: Type, scale: Type, *, bits: int) -> Type:
    if x.dtype != scale.dtype or x.dtype.kind != "f" or integers.dtype != KEPT[bits]:
        raise DTypeError(explain(f"a product with integers of {bits} bits needs floats, {KEPT[bits]} and scales of the "
                                 "floats' dtype", got=f"{x}, {integers}, {scale}",
                                 fix="cast x to the scales' dtype with cr.astype"))
    rows = integers.shape[0] * 8 // bits if len(integers.shape) == 2 else -1
    if (
        len(x.shape) != 2
        or len(scale.shape) != 2
        or x.shape[1] != rows
        or scale.shape[1] != integers.shape[1]
        or (rows % scale.shape[0] if scale.shape[0] else rows)
    ):
        raise ShapeError(explain("the operands of a product with packed integers do not fit",
                                 got=f"{x.shape}, {integers.shape}, {scale.shape}",
                                 expected=f"(m, k), (k{' / 2' if bits == 4 else ''}, n), (groups, n) with groups a "
                                          "divisor of k"))
    return Type((x.shape[0], integers.shape[1]), x.dtype)


def unpacked(integers: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    """The matrix (k, n) that the integers stand for, in NumPy."""
    q = integers if bits == 8 else np.concatenate([integers & 15, integers >> 4]).astype(np.int8) - OFFSET
    groups, columns = scale.shape
    grouped = q.astype(scale.dtype).reshape(groups, len(q) // groups if groups else 0, columns)
    return (grouped * scale[:, None]).reshape(q.shape)


def _meaning(x: np.ndarray, integers: np.ndarray, scale: np.ndarray, *, bits: int) -> np.ndarray:
    return np.matmul(x, unpacked(integers, scale, bits))


def _numbers(integers: Tensor, dtype: np.dtype, bits: int) -> Tensor:
    """The integers (k, n) as floats."""
    if bits == 8:
        return astype(integers, dtype)
    both = concat([bitwise_and(integers, 15), bitwise_right_shift(integers, 4)], axis=0)
    return subtract(astype(both, dtype), OFFSET)


def unpack(integers: Tensor, scale: Tensor, bits: int) -> Tensor:
    """The matrix (k, n) that the integers stand for.

    >>> from chainrule.ops.packed import unpack
    >>> unpack(cr.asarray(np.array([[1], [-2]], "int8")), cr.asarray([[0.5]], dtype="float32"), bits=8).numpy()
    array([[ 0.5],
           [-1. ]], dtype=float32)
    """
    q, (groups, columns) = _numbers(integers, scale.dtype, bits), scale.shape
    rows = q.shape[0]
    grouped = reshape(q, (groups, rows // groups if groups else 0, columns))
    return reshape(multiply(grouped, reshape(scale, (groups, 1, columns))), (rows, columns))


def _vjp_x(g: Tensor, y: Tensor, x: Tensor, integers: Tensor, scale: Tensor, bits: int) -> Tensor:
    return matmul(g, permute_dims(unpack(integers, scale, bits), (1, 0)))


def _vjp_scale(g: Tensor, y: Tensor, x: Tensor, integers: Tensor, scale: Tensor, bits: int) -> Tensor:
    weight, (groups, columns) = contract(x, g, contracting=((0,), (0,))), scale.shape
    q = multiply(weight, _numbers(integers, scale.dtype, bits))
    return summed(reshape(q, (groups, q.shape[0] // groups if groups else 0, columns)), axis=1)


PACKED_PRODUCT = op("packed_product", infer=_infer, meaning=_meaning, vjp=(_vjp_x, None, _vjp_scale))


def packed_product(x: ArrayLike, integers: ArrayLike, scale: ArrayLike, /, *, bits: int) -> Tensor:
    """x W with W[i, j] = q[i, j] scale[i // group, j]: the integers are read where they lie, W is not made.

    Args:
        x: (..., k), of the dtype of the scales.
        integers: 8 bits: (k, n) int8. 4 bits: (k / 2, n) uint8 of numbers plus 8, row i in the lower half of a byte,
            row i + k / 2 in the upper.
        scale: (groups, n); a group is k / groups rows.
        bits: 8 or 4.

    Raises ShapeError and DTypeError for what does not fit. The error against the product with the matrix W is that of
    its sums: at most about k eps sum_i |x_i W_ij|. Gradients pass to x and to the scales.

    >>> from chainrule.ops.packed import packed_product
    >>> weight, scale = np.array([[1], [-3]], "int8"), np.array([[0.5]], "float32")
    >>> packed_product(np.ones((1, 2), "float32"), weight, scale, bits=8).numpy()
    array([[-1.]], dtype=float32)
    """
    x, integers, scale = as_tensor(x), as_tensor(integers), as_tensor(scale)
    if not x.ndim:
        raise ShapeError(explain("a product needs a vector at least", got="shape ()", expected="(..., k)"))
    lead = x.shape[:-1]
    rows = x if x.ndim == 2 else reshape(x, (int(np.prod(lead, dtype=np.int64)), x.shape[-1]))
    y = bind(PACKED_PRODUCT, rows, integers, scale, bits=bits)
    return y if x.ndim == 2 else reshape(y, (*lead, y.shape[-1]))
