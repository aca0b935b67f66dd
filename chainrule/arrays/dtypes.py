# SPDX-License-Identifier: Apache-2.0
"""Data type functions of the array API standard, and what the library says about itself (`__array_namespace_info__`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, explain
from ..foundations.arguments import guard
from ..ir.dtype import ALL, DEFAULT_FLOAT, DEFAULT_INT, bool_, canonical, is_float, is_integer, of_scalar, promote
from ..ir.tensor import Tensor
from ..ir.variable import Variable
from ..typing import DTypeLike
from .creation import DEVICES, check_device

_KINDS = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
    "complex floating": "", "numeric": "iuf",
}


@dataclass(frozen=True)
class FloatInfo:
    """Limits of a floating-point type."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype


@dataclass(frozen=True)
class IntInfo:
    """Limits of an integer type."""

    bits: int
    max: int
    min: int
    dtype: np.dtype


def _dtype_of(x: Any) -> np.dtype:
    return canonical(x.dtype if isinstance(x, Tensor | Variable | np.ndarray) else x)


def finfo(type: DTypeLike, /) -> FloatInfo:
    """Limits of the floating-point dtype (or of the dtype of an array).

    >>> cr.finfo("float32").bits, cr.finfo("float32").eps
    (32, 1.1920928955078125e-07)
    """
    dtype = _dtype_of(type)
    if not is_float(dtype):
        raise DTypeError(explain("finfo describes floating-point types", got=str(dtype),
                                 fix="use cr.iinfo for integers"))
    found = np.finfo(dtype)
    return FloatInfo(found.bits, *(float(v) for v in (found.eps, found.max, found.min, found.smallest_normal)), dtype)


def iinfo(type: DTypeLike, /) -> IntInfo:
    """Limits of the integer dtype (or of the dtype of an array).

    >>> cr.iinfo("int8").min, cr.iinfo("int8").max
    (-128, 127)
    """
    dtype = _dtype_of(type)
    if not is_integer(dtype):
        raise DTypeError(explain("iinfo describes integer types", got=str(dtype), fix="use cr.finfo for floats"))
    found = np.iinfo(dtype)
    return IntInfo(found.bits, int(found.max), int(found.min), dtype)


def isdtype(dtype: DTypeLike, kind: Any) -> bool:
    """Whether `dtype` is `kind`: a dtype, the name of a kind ("bool", "integral", "real floating" ...), or a tuple of
    such.

    >>> cr.isdtype("float32", "real floating"), cr.isdtype("int8", "unsigned integer")
    (True, False)
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return canonical(dtype).kind in _KINDS[kind]
    if isinstance(kind, str):
        raise ArgumentError(explain("there is no such kind of data type", got=repr(kind), expected=" | ".join(_KINDS)))
    return canonical(dtype) == np.dtype(kind)


def can_cast(from_: DTypeLike, to: DTypeLike, /) -> bool:
    """Whether promotion leads from `from_` (a dtype or an array) to `to`.

    >>> cr.can_cast("int32", "float64"), cr.can_cast("float64", "float32")
    (True, False)
    """
    given, wanted = _dtype_of(from_), canonical(to)
    try:
        return promote(given, wanted) == wanted
    except DTypeError:
        return False


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The dtype in which the arrays, dtypes and Python scalars meet.

    >>> cr.result_type("int64", "float32"), cr.result_type("float32", "float64")
    (dtype('float32'), dtype('float64'))
    """
    scalars = [x for x in arrays_and_dtypes if isinstance(x, bool | int | float) and not isinstance(x, np.generic)]
    typed = [_dtype_of(x) for x in arrays_and_dtypes if not any(x is s for s in scalars)]
    if not typed:
        raise ArgumentError(explain("a result type needs at least one array or dtype", got=repr(arrays_and_dtypes)))
    result = promote(*typed)
    for x in scalars:
        result = of_scalar(x, result)
    return result


class NamespaceInfo:
    """What this library can do, in the words of the standard."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks and data-dependent shapes work outside compiled functions; arrays have at most 64 axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Where eager tensors live."""
        return DEVICES[0]

    def devices(self) -> list[str]:
        """Where eager tensors can live."""
        return list(DEVICES)

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """The dtypes of arrays made from Python numbers; "complex floating" is absent: complex types do not exist here.
        """
        check_device(device)
        return {"real floating": DEFAULT_FLOAT, "integral": DEFAULT_INT, "indexing": DEFAULT_INT}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype]:
        """All dtypes by name, or those of a kind (or of a tuple of kinds)."""
        check_device(device)
        kinds = (*_KINDS,) if kind is None else kind
        return {("bool" if dtype == bool_ else str(dtype)): dtype for dtype in ALL if isdtype(dtype, kinds)}


def __array_namespace_info__() -> NamespaceInfo:
    """What the library says about itself: capabilities, devices, data types."""
    return NamespaceInfo()


__all__ = ["__array_namespace_info__", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]

guard(globals(), __all__)
