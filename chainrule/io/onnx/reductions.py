# SPDX-License-Identifier: Apache-2.0
"""Operators that reduce axes, and running sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import arrays as xp
from ...ops import compose
from ...ops.movement import flip
from .words import WORDS, Call, axes_of, tensor, word


def _over(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(call: Call, x: Any, axes: Any = None) -> Any:
        x = tensor(x)
        given = call.integers(axes, "the axes") if axes is not None else call.get("axes", ())
        if not len(given) and call.get("noop_with_empty_axes", 0):
            return function(x, axis=(), keepdims=True) if function in _EACH else x
        return function(x, axis=axes_of(given, x.ndim) if len(given) else None, keepdims=bool(call.get("keepdims", 1)))
    return apply


def _total(x: Any, **options: Any) -> Any:
    return xp.astype(xp.sum(x, **options), x.dtype)


def _mean(x: Any, **options: Any) -> Any:
    return xp.astype(xp.mean(x, **options), x.dtype)


def _absolute(x: Any, **options: Any) -> Any:
    return _total(xp.abs(x), **options)


def _squares(x: Any, **options: Any) -> Any:
    return _total(x * x, **options)


def _length(x: Any, **options: Any) -> Any:
    return xp.astype(xp.sqrt(xp.astype(_squares(x, **options), x.dtype if x.dtype.kind == "f" else "float64")), x.dtype)


def _log_total(x: Any, **options: Any) -> Any:
    return xp.log(_total(x, **options))


def _log_exp(x: Any, **options: Any) -> Any:
    return compose.logsumexp(x, **options) if x.size else _log_total(xp.exp(x), **options)


def _extreme(function: Callable[..., Any], lowest: bool) -> Callable[..., Any]:
    def apply(x: Any, axis: Any, keepdims: bool) -> Any:
        axes = tuple(range(x.ndim)) if axis is None else axis
        if all(x.shape[a] for a in axes):
            return function(x, axis=axes, keepdims=keepdims) if axes else x
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)
        if x.dtype.kind == "b":
            return xp.full(shape, not lowest, dtype="bool")
        kind = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None
        return xp.full(shape, (kind.min if lowest else kind.max) if kind else (-np.inf if lowest else np.inf),
                       dtype=x.dtype)
    return apply


_EACH = (_absolute, _squares, _length, _log_total, _log_exp)

WORDS |= {name: _over(function) for name, function in {
    "ReduceSum": _total, "ReduceMean": _mean, "ReduceMax": _extreme(xp.max, True), "ReduceMin": _extreme(xp.min, False),
    "ReduceProd": lambda x, **options: xp.astype(xp.prod(x, **options), x.dtype), "ReduceL1": _absolute,
    "ReduceL2": _length, "ReduceSumSquare": _squares,
    "ReduceLogSum": _log_total, "ReduceLogSumExp": _log_exp,
}.items()}


def _index(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(call: Call, x: Any) -> Any:
        x, axis, keep = tensor(x), call.get("axis", 0), bool(call.get("keepdims", 1))
        if not call.get("select_last_index", 0):
            return function(x, axis=axis, keepdims=keep)
        return x.shape[axis] - 1 - function(flip(x, axis=axis), axis=axis, keepdims=keep)
    return apply


WORDS |= {"ArgMax": _index(xp.argmax), "ArgMin": _index(xp.argmin)}


def _running(function: Callable[..., Any], first: float) -> Callable[..., Any]:
    def apply(call: Call, x: Any, axis: Any) -> Any:
        x, place = tensor(x), int(call.static(axis, "the axis").reshape(()))
        place, back = place % x.ndim, call.get("reverse", 0)
        y = xp.astype(function(flip(x, axis=place) if back else x, axis=place), x.dtype)
        if call.get("exclusive", 0):
            shape = tuple(1 if i == place else n for i, n in enumerate(x.shape))
            before = [slice(None)] * place + [slice(0, x.shape[place] - 1)]
            y = xp.concat([xp.full(shape, first, dtype=x.dtype), y[tuple(before)]], axis=place)
        return flip(y, axis=place) if back else y
    return apply


WORDS |= {"CumSum": _running(xp.cumulative_sum, 0), "CumProd": _running(xp.cumulative_prod, 1)}


@word("LpNormalization")
def _unit(call: Call, x: Any) -> Any:
    x, axis = tensor(x), call.get("axis", -1)
    size = (xp.sum(xp.abs(x), axis=axis, keepdims=True) if call.get("p", 2) == 1
            else xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True)))
    return xp.where(xp.equal(size, 0), xp.zeros_like(x), x / xp.where(xp.equal(size, 0), xp.ones_like(size), size))


@word("Det")
def _determinant(call: Call, x: Any) -> Any:
    from ...linalg import det

    return det(tensor(x))
