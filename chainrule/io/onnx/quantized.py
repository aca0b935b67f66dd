# SPDX-License-Identifier: Apache-2.0
"""Operators of integers of 8 bits that stand for floats: x = scale (q - zero). Computed exactly, in wider integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import arrays as xp
from .layers import _conv
from .words import Call, tensor, word

LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


def _along(call: Call, value: Any, x: Any) -> Any:
    """A scale for the whole array, for each element of an axis, or for each block of an axis."""
    value = tensor(value)
    if not value.ndim or (value.ndim == 1 and value.shape[0] == 1 and x.ndim != 1):
        return xp.reshape(value, ())
    axis = call.get("axis", 1) % x.ndim
    if (block := call.get("block_size", 0)) and value.ndim == x.ndim:
        return xp.repeat(value, block, axis=axis)[tuple(slice(0, n) for n in x.shape)]
    return xp.reshape(value, tuple(-1 if i == axis else 1 for i in range(x.ndim)))


def quantize(x: Any, scale: Any, zero: Any, dtype: Any) -> Any:
    """The nearest integers, ties to even, within the range."""
    low, high = LIMITS[np.dtype(dtype).name]
    return xp.astype(xp.clip(xp.round(x / scale) + xp.astype(tensor(zero), "float32"), low, high), dtype)


@word("QuantizeLinear")
def _quantize(call: Call, x: Any, scale: Any, zero: Any = None) -> Any:
    x = tensor(x)
    dtype = tensor(zero).dtype if zero is not None else call.dtype(call.get("output_dtype", 0) or 2)
    if np.dtype(dtype).name not in LIMITS:
        raise call.unknown(f"quantisation to {np.dtype(dtype)}")
    return quantize(xp.astype(x, "float32"), _along(call, scale, x), _along(call, zero, x) if zero is not None else 0,
                    dtype)


@word("DequantizeLinear")
def _dequantize(call: Call, x: Any, scale: Any, zero: Any = None) -> Any:
    x = tensor(x)
    wide = xp.astype(x, "float32")
    return (wide if zero is None else wide - xp.astype(_along(call, zero, x), "float32")) * _along(call, scale, x)


@word("DynamicQuantizeLinear")
def _dynamic(call: Call, x: Any) -> Any:
    x = tensor(x)
    low, high = xp.minimum(xp.min(x), 0), xp.maximum(xp.max(x), 0)
    scale = (high - low) / 255
    scale = xp.where(xp.equal(scale, 0), xp.ones_like(scale), scale)
    zero = xp.clip(xp.round(-low / scale), 0, 255)
    return quantize(x, scale, zero, "uint8"), scale, xp.astype(zero, "uint8")


def _centred(x: Any, zero: Any, rows: bool = False) -> Any:
    x = xp.astype(tensor(x), "int32")
    if zero is None:
        return x
    zero = xp.astype(tensor(zero), "int32")
    return x - (xp.expand_dims(zero, axis=-1) if rows and zero.ndim == 1 and zero.shape[0] > 1 else zero)


@word("MatMulInteger")
def _matmul_integer(call: Call, a: Any, b: Any, zero_a: Any = None, zero_b: Any = None) -> Any:
    return _product(_centred(a, zero_a, True), _centred(b, zero_b))


def _product(a: Any, b: Any) -> Any:
    """Exact: sums of products of bytes fit into 53 bits."""
    return xp.astype(xp.matmul(xp.astype(a, "float64"), xp.astype(b, "float64")), "int32")


@word("QLinearMatMul")
def _qlinear_matmul(call: Call, a: Any, scale_a: Any, zero_a: Any, b: Any, scale_b: Any, zero_b: Any, scale_y: Any,
                    zero_y: Any) -> Any:
    total = xp.astype(_product(_centred(a, zero_a, True), _centred(b, zero_b)), "float32")
    scale_a = tensor(scale_a)
    scale_a = xp.expand_dims(scale_a, axis=-1) if scale_a.ndim == 1 and scale_a.shape[0] > 1 else scale_a
    return quantize(total * (scale_a * tensor(scale_b)), tensor(scale_y), zero_y, tensor(zero_y).dtype)


@word("ConvInteger")
def _conv_integer(call: Call, x: Any, w: Any, zero_x: Any = None, zero_w: Any = None) -> Any:
    return xp.astype(_conv(call, xp.astype(_centred(x, zero_x), "float64"), xp.astype(_filters(w, zero_w), "float64")),
                     "int32")


def _filters(w: Any, zero: Any) -> Any:
    if zero is None:
        return _centred(w, None)
    zero = tensor(zero)
    return _centred(w, xp.reshape(zero, (-1, *(1,) * (tensor(w).ndim - 1))) if zero.ndim == 1 and zero.shape[0] > 1
                    else zero)


@word("QLinearConv")
def _qlinear_conv(call: Call, x: Any, scale_x: Any, zero_x: Any, w: Any, scale_w: Any, zero_w: Any, scale_y: Any,
                  zero_y: Any, b: Any = None) -> Any:
    total = _conv(call, xp.astype(_centred(x, zero_x), "float64"), xp.astype(_filters(w, zero_w), "float64"))
    column = lambda value: xp.reshape(tensor(value), (1, -1, *(1,) * (tensor(x).ndim - 2)))
    total = total if b is None else total + xp.astype(column(b), "float64")
    scale = tensor(scale_x) * (column(scale_w) if tensor(scale_w).ndim else tensor(scale_w)) / tensor(scale_y)
    low, high = LIMITS[tensor(zero_y).dtype.name]
    y = xp.round(xp.astype(total, "float32") * scale) + xp.astype(tensor(zero_y), "float32")
    return xp.astype(xp.clip(y, low, high), tensor(zero_y).dtype)
