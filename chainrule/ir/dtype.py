# SPDX-License-Identifier: Apache-2.0
"""Data types and the one promotion table.

A dtype is NumPy's `np.dtype`, so `x.dtype == cr.float32` and `x.dtype == "float32"` both hold. Promotion follows the
Python array API standard (2024.12); where the standard leaves mixed kinds open, the higher kind's own dtype wins
(int64 with float32 gives float32), so that an integer array never turns a float32 network into float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, explain

bool_ = np.dtype(bool)
int8, int16, int32, int64 = (np.dtype(name) for name in ("int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = (np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64"))
float32, float64 = np.dtype("float32"), np.dtype("float64")

ALL = (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)
DEFAULT_FLOAT, DEFAULT_INT = float32, int64
_SUPPORTED = frozenset(ALL)

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def canonical(dtype: Any) -> np.dtype:
    """`dtype` in any spelling (dtype, NumPy type, name, Python type) as one of the supported dtypes."""
    if isinstance(dtype, np.dtype) and dtype in _SUPPORTED:
        return dtype
    if dtype is float:
        return DEFAULT_FLOAT
    if dtype is int:
        return DEFAULT_INT
    try:
        found = None if dtype is None else np.dtype(dtype).newbyteorder("=")  # NumPy takes None for float64
    except TypeError:
        found = None
    if found is None or found not in ALL:
        raise DTypeError(explain("this data type is not supported", got=str(dtype), expected=", ".join(map(str, ALL)),
                                 fix="convert the data first, for example x.astype('float32')"))
    return found


def is_float(dtype: np.dtype) -> bool:
    """Whether `dtype` is a real floating-point type."""
    return dtype.kind == "f"


def is_integer(dtype: np.dtype) -> bool:
    """Whether `dtype` is a signed or unsigned integer type."""
    return dtype.kind in "iu"


def promote(*dtypes: np.dtype) -> np.dtype:
    """The dtype in which values of all `dtypes` meet."""
    result = dtypes[0]
    for dtype in dtypes[1:]:
        result = _promote_pair(result, dtype)
    return result


def _promote_pair(a: np.dtype, b: np.dtype) -> np.dtype:
    if a == b:
        return a
    if _RANK[a.kind] != _RANK[b.kind]:
        return a if _RANK[a.kind] > _RANK[b.kind] else b
    result = np.promote_types(a, b)
    if is_integer(a) and not is_integer(result):
        raise DTypeError(explain("no integer type holds both operands", got=f"{a} and {b}",
                                 fix="cast one of them with cr.astype(x, ...)"))
    return result


def of_scalar(value: Any, like: np.dtype | None = None) -> np.dtype:
    """The dtype that a Python scalar takes beside an array of dtype `like` (or alone, when `like` is None)."""
    kind = {bool: "b", int: "i", float: "f"}.get(type(value))
    if kind is None:
        raise DTypeError(explain("this value cannot be an array element", got=repr(value)))
    alone = {"b": bool_, "i": DEFAULT_INT, "f": DEFAULT_FLOAT}[kind]
    if like is None or _RANK[kind] > _RANK[like.kind]:
        return alone
    return like
