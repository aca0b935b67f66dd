# SPDX-License-Identifier: Apache-2.0
"""Searching, counting and set functions of the array API standard, and differences.

`nonzero` and the `unique_*` functions have results whose shapes depend on the data; they work outside compiled
functions only and raise TraceError inside.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor
from ..ir.dtype import bool_, int64, is_float
from ..ir.tensor import Tensor
from ..ops.broadcast import broadcast_to
from ..ops.compose import concat, isnan, logical_and, logical_not, logical_or, not_equal
from ..ops.elementwise import astype, less, less_equal, operands, subtract, where, zeros_like
from ..ops.index import take
from ..ops.movement import reshape, slice_axis
from ..ops.reduce import sum
from ..ops.types import normalize_axis
from ..typing import ArrayLike, AxisLike


class UniqueAll(NamedTuple):
    """Result of `unique_all`."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Result of `unique_counts`."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Result of `unique_inverse`."""

    values: Tensor
    inverse_indices: Tensor


# ---- results whose shape depends on the data

def _known(x: Tensor, name: str, fix: str) -> np.ndarray:
    return x._data(f"the shape of the result of {name}", fix)


def nonzero(x: ArrayLike, /) -> tuple[Tensor, ...]:
    """The indices of the elements that are not zero, one array per axis; not inside compiled functions.

    >>> cr.nonzero([[0, 5], [7, 0]])
    (Tensor([0, 1], dtype=int64), Tensor([1, 0], dtype=int64))
    """
    x = as_tensor(x)
    if not x.ndim:
        raise ArgumentError(explain("nonzero needs at least one axis", got="a 0-d array", fix="reshape it to (1,)"))
    data = _known(x, "nonzero",
                  "use cr.where(condition, a, b), or cr.count_nonzero, whose shapes do not depend on the data")
    return tuple(as_tensor(index) for index in np.nonzero(data))


def unique_all(x: ArrayLike, /) -> UniqueAll:
    """The different values in ascending order, where each comes first, where each element went, and how often each
    occurs.

    NaNs count as different from each other. Not inside compiled functions.

    >>> cr.unique_all([3, 1, 3]).counts
    Tensor([1, 2], dtype=int64)
    """
    data = _known(as_tensor(x), "a unique function", "compute it outside, and pass what it gives as an argument")
    values, first, inverse, counts = np.unique(data, return_index=True, return_inverse=True, return_counts=True,
                                               equal_nan=False)
    found = values, first.astype(np.int64), inverse.reshape(data.shape).astype(np.int64), counts.astype(np.int64)
    return UniqueAll(*map(as_tensor, found))


def unique_counts(x: ArrayLike, /) -> UniqueCounts:
    """The different values in ascending order and how often each occurs; see `unique_all`.

    >>> cr.unique_counts([3, 1, 3]).counts
    Tensor([1, 2], dtype=int64)
    """
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: ArrayLike, /) -> UniqueInverse:
    """The different values in ascending order and where each element went; see `unique_all`.

    >>> cr.unique_inverse([3, 1, 3]).inverse_indices
    Tensor([1, 0, 1], dtype=int64)
    """
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: ArrayLike, /) -> Tensor:
    """The different values in ascending order; see `unique_all`.

    >>> cr.unique_values([3, 1, 3])
    Tensor([1, 3], dtype=int64)
    """
    return unique_all(x).values


# ---- results whose shape does not

def count_nonzero(x: ArrayLike, /, *, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """How many elements over `axis` (default: all) are not zero.

    >>> cr.count_nonzero([[0, 1], [2, 3]], axis=1)
    Tensor([1, 2], dtype=int64)
    """
    return sum(astype(astype(x, bool_), int64), axis=axis, keepdims=keepdims)


def searchsorted(x1: ArrayLike, x2: ArrayLike, /, *, side: str = "left", sorter: ArrayLike | None = None) -> Tensor:
    """For each element of `x2`, the index in the ascending 1-d `x1` before which it keeps the order.

    "left" gives the first such index, "right" the last; NaNs count as largest. By bisection in log2(n) steps.

    Args:
        sorter: indices that sort `x1`, where it is not in order itself.

    >>> cr.searchsorted([1.0, 2.0, 3.0], [0.5, 2.0, 9.0])
    Tensor([0, 1, 3], dtype=int64)
    """
    if side not in ("left", "right"):
        raise ArgumentError(explain("there is no such side", got=repr(side), expected='"left" | "right"'))
    table, values = as_tensor(x1), as_tensor(x2)
    table = table if sorter is None else take(table, sorter, axis=0)
    low = zeros_like(values, dtype=int64)
    if not table.size:
        return low
    high = low + table.size
    for _ in range(math.ceil(math.log2(table.size + 1))):
        middle = (low + high) // 2
        go = logical_and(less(middle, high),
                         _precedes(take(table, middle * astype(less(middle, table.size), int64), axis=0), values, side))
        low, high = where(go, middle + 1, low), where(go, high, middle)
    return low


def _precedes(a: Tensor, b: Tensor, side: str) -> Tensor:
    """Whether the table's element a comes before the value b, with NaN as the largest number."""
    a, b = operands(a, b)
    before = less(a, b) if side == "left" else less_equal(a, b)
    if not is_float(a.dtype):
        return before
    return logical_or(before, isnan(b) if side == "right" else logical_and(isnan(b), logical_not(isnan(a))))


def diff(x: ArrayLike, /, *, axis: int = -1, n: int = 1, prepend: ArrayLike | None = None,
         append: ArrayLike | None = None) -> Tensor:
    """x[i + 1] - x[i] along `axis`, applied `n` times; of booleans, whether neighbours differ.

    Args:
        prepend, append: arrays put before and after `x` along `axis` first.

    >>> cr.diff([1, 4, 9, 16])
    Tensor([3, 5, 7], dtype=int64)
    """
    if n < 0:
        raise ArgumentError(explain("the order of a difference must not be negative", got=str(n)))
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    parts = [_joinable(part, x, axis) for part in (prepend, x, append) if part is not None]
    x = concat(parts, axis=axis) if len(parts) > 1 else x
    minus = not_equal if x.dtype == bool_ else subtract
    for _ in range(n):
        extent = x.shape[axis]
        if not extent:
            break
        x = minus(slice_axis(x, axis, 1, extent), slice_axis(x, axis, 0, extent - 1))
    return x


def _joinable(part: Any, x: Tensor, axis: int) -> Tensor:
    part = as_tensor(part, like=x.dtype)
    return part if part.ndim else broadcast_to(reshape(part, (1,) * x.ndim), (*x.shape[:axis], 1, *x.shape[axis + 1:]))


__all__ = ["count_nonzero", "diff", "nonzero", "searchsorted", "unique_all", "unique_counts", "unique_inverse",
           "unique_values"]

guard(globals(), __all__)
