# SPDX-License-Identifier: Apache-2.0
"""NumPy's functions called with Tensors and Variables: `np.exp(x)` is `cr.exp(x)`, a Tensor through which gradients
pass.

Functions that have no counterpart here get NumPy arrays and give NumPy arrays; of a symbol, which has no data, that is
a TraceError.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, ChainruleError, TraceError, explain
from ..ir.bind import as_tensor
from ..ir.tensor import Tensor
from ..ir.variable import Variable
from ..ops import compose, elementwise, index, movement
from ..ops.broadcast import broadcast_to
from . import creation, manipulation, products
from . import elementwise as signs
from .numpy_methods import METHODS

# fmt: off
UFUNCS: dict[str, Callable[..., Any]] = {
    **{name: getattr(elementwise, name) for name in (
        "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "negative", "bitwise_and",
        "bitwise_or", "bitwise_xor", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan",
        "sinh", "cosh", "tanh", "sign", "floor", "ceil", "equal", "less", "less_equal", "maximum", "minimum")},
    **{name: getattr(compose, name) for name in (
        "not_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor", "logical_not", "isnan",
        "isinf", "isfinite", "matmul", "square", "reciprocal", "logaddexp")},
    **{name: getattr(signs, name) for name in ("signbit", "copysign", "nextafter", "hypot", "trunc", "positive")},
    "absolute": elementwise.abs, "fabs": elementwise.abs, "rint": elementwise.round,
    "invert": elementwise.bitwise_invert, "conjugate": signs.conj,
    "left_shift": elementwise.bitwise_left_shift, "right_shift": elementwise.bitwise_right_shift,
    "arcsin": elementwise.asin, "arccos": elementwise.acos, "arctan": compose.atan, "arctan2": elementwise.atan2,
    "arcsinh": elementwise.asinh, "arccosh": elementwise.acosh, "arctanh": elementwise.atanh, "vecdot": products.vecdot,
    "deg2rad": lambda x: x * (np.pi / 180), "radians": lambda x: x * (np.pi / 180),
    "rad2deg": lambda x: x * (180 / np.pi), "degrees": lambda x: x * (180 / np.pi),
    "exp2": lambda x: elementwise.power(2.0, x),
}
REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all",
              "logical_or": "any"}
RUNNING = {"add": "cumsum", "multiply": "cumprod"}
# fmt: on

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): METHODS[name] for name in (
        "sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "argmax", "argmin", "cumsum", "cumprod",
        "transpose", "swapaxes", "squeeze", "ravel", "clip", "round", "copy", "repeat", "take", "argsort", "nonzero",
        "dot")},
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.reshape: lambda a, shape, order="C": METHODS["reshape"](a, shape, order=order),
    np.concatenate: lambda arrays, axis=0: compose.concat(arrays, axis=axis),
    np.stack: lambda arrays, axis=0: compose.stack(arrays, axis=axis),
    np.vstack: lambda tup: compose.concat([_two_axes(x) for x in tup], axis=0),
    np.hstack: lambda tup: compose.concat(tup, axis=0 if as_tensor(tup[0]).ndim == 1 else 1),
    np.where: lambda condition, *both: elementwise.where(elementwise.astype(condition, bool), *both) if both
    else METHODS["nonzero"](condition),
    np.expand_dims: lambda a, axis: manipulation.expand_dims(a, axis=axis),
    np.moveaxis: lambda a, source, destination: manipulation.moveaxis(a, source, destination),
    np.broadcast_to: lambda array, shape: broadcast_to(array, (shape,) if isinstance(shape, int) else tuple(shape)),
    np.flip: lambda m, axis=None: movement.flip(m, axis=axis),
    np.roll: lambda a, shift, axis=None: manipulation.roll(a, shift, axis=axis),
    np.tile: lambda A, reps: manipulation.tile(A, (reps,) if isinstance(reps, int) else reps),
    np.sort: lambda a, axis=-1: index.sort(METHODS["ravel"](a) if axis is None else a,
                                           axis=axis or 0 if axis is None else axis),
    np.take_along_axis: lambda arr, indices, axis=-1: index.take_along_axis(arr, indices, axis=axis),
    np.tensordot: lambda a, b, axes=2: products.tensordot(a, b, axes=axes),
    np.outer: lambda a, b: METHODS["ravel"](a)[:, None] * METHODS["ravel"](b)[None, :],
    np.einsum: lambda *operands: _top("einsum")(*operands),
    np.diff: lambda a, n=1, axis=-1: _top("diff")(a, n=n, axis=axis),
    np.tril: lambda m, k=0: creation.tril(m, k=k),
    np.triu: lambda m, k=0: creation.triu(m, k=k),
    np.zeros_like: lambda a, dtype=None: creation.zeros_like(a, dtype=dtype),
    np.ones_like: lambda a, dtype=None: creation.ones_like(a, dtype=dtype),
    np.full_like: lambda a, fill_value, dtype=None: creation.full_like(a, fill_value, dtype=dtype),
    np.linalg.norm: lambda x, ord=None, axis=None, keepdims=False: _norm(x, ord, axis, keepdims),
}


def _top(name: str) -> Any:
    return getattr(importlib.import_module(__name__.partition(".")[0]), name)


def _two_axes(x: Any) -> Tensor:
    x = as_tensor(x)
    return x if x.ndim > 1 else movement.reshape(x, (1, x.size))


def _norm(x: Any, order: Any, axis: Any, keepdims: bool) -> Tensor:
    """NumPy's norm: of all elements without `ord` and `axis`; of a matrix where two axes are meant, otherwise of
    vectors."""
    linalg, x = _top("linalg"), as_tensor(x)
    matrix = (isinstance(axis, tuple) and len(axis) == 2) or (axis is None and x.ndim == 2 and order is not None)
    if not matrix:
        return linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=2 if order is None else order)
    x = x if axis is None else manipulation.moveaxis(x, axis, (-2, -1))
    found = linalg.matrix_norm(x, keepdims=keepdims, ord="fro" if order is None else order)
    return found if axis is None or not keepdims else manipulation.moveaxis(found, (-2, -1), axis)


# ---- the two doors of NumPy

def array_ufunc(self: Any, ufunc: np.ufunc, how: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
    """What `np.add(a, x)` means if one of both is ours; an `out` gets the values, and the result has the gradients."""
    given = tuple(_apart(x, out) for x in inputs)
    function = _word(ufunc, how, options)
    if function is None:
        return getattr(ufunc, how)(*(_plain(x) for x in inputs), **({} if out is None else {"out": out}),
                                   **_plain(options))
    result = function(*given, **options)
    if out is not None:
        _write(ufunc, out, result)
    return result


def _word(ufunc: np.ufunc, how: str, options: dict[str, Any]) -> Callable[..., Any] | None:
    """Our function for a way to call a ufunc; None if there is none."""
    if how == "__call__" and ufunc.__name__ in UFUNCS:
        _refuse_options(ufunc, options)
        return UFUNCS[ufunc.__name__]
    name = {"reduce": REDUCTIONS, "accumulate": RUNNING}.get(how, {}).get(ufunc.__name__)
    return (
        (
            lambda x, axis=0, dtype=None, **more: METHODS[name](
                x, axis, **({} if dtype is None else {"dtype": dtype}), **more
            )
        )
        if name
        else None
    )


def _refuse_options(ufunc: np.ufunc, options: dict[str, Any]) -> None:
    for name, value in options.items():
        fix = "cr.where(mask, result, x) chooses afterwards" if name == "where" else "x.astype(dtype) before"
        raise ArgumentError(explain(f"np.{ufunc.__name__} of a Tensor has no argument {name!r}",
                                    got=f"{name}={type(value).__name__}", fix=fix))


def _apart(x: Any, out: Any) -> Any:
    """An input that the result is written over is copied, because gradients may ask for it later."""
    return (x.copy() if isinstance(x, np.ndarray) and out is not None
            and any(np.may_share_memory(x, o) for o in out if isinstance(o, np.ndarray)) else x)


def _write(ufunc: np.ufunc, out: tuple[Any, ...], result: Any) -> None:
    place = out[0]
    if not isinstance(place, np.ndarray):
        raise ArgumentError(explain("a Tensor is not written into", got="out=...",
                                    fix=f"np.{ufunc.__name__}(...) without `out` gives a new one"))
    if result.node.data is None:
        raise TraceError(explain("a NumPy array cannot take the value of a tensor that does not exist yet",
                                 got=f"Tensor({result.node.type}, traced)",
                                 fix="write a = a + x instead of a += x, or begin with cr.zeros(...)"))
    np.copyto(place, result.numpy(), casting="same_kind")


def array_function(self: Any, function: Any, types: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What `np.concatenate([x, y])` means: our word for it, or NumPy's answer to the data."""
    ours = FUNCTIONS.get(function)
    if ours is None:
        return function(*_plain(args), **_plain(options))
    try:
        return ours(*args, **options)
    except TypeError as error:
        if isinstance(error, ChainruleError) or "argument" not in str(error):
            raise
        raise ArgumentError(explain(f"np.{function.__name__} of a Tensor: {error}",
                                    fix=f"np.{function.__name__}(x.numpy(), ...), which has no gradient")) from None


def _plain(x: Any) -> Any:
    """Tensors and Variables in nested lists, tuples and dicts as NumPy arrays."""
    if isinstance(x, Tensor | Variable):
        return np.asarray(x)
    if type(x) in (list, tuple):
        return type(x)(_plain(item) for item in x)
    return {key: _plain(value) for key, value in x.items()} if type(x) is dict else x


def install() -> None:
    """Put both doors on the classes."""
    for kind in (Tensor, Variable):
        kind.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
        kind.__array_function__ = array_function  # type: ignore[attr-defined]
