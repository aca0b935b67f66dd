# SPDX-License-Identifier: Apache-2.0
"""Products of the array API standard beside `matmul`: over chosen axes, and of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor
from ..ir.dtype import promote
from ..ir.tensor import Tensor
from ..ops.broadcast import broadcast_to
from ..ops.contract import contract
from ..ops.elementwise import astype
from ..ops.movement import permute_dims
from ..ops.types import broadcast_shapes, normalize_axis
from ..typing import ArrayLike


def _one_dtype(x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    a, b = as_tensor(x1), as_tensor(x2)
    dtype = promote(a.dtype, b.dtype)
    return astype(a, dtype), astype(b, dtype)


def tensordot(x1: ArrayLike, x2: ArrayLike, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """The product summed over axes: the last `axes` of x1 with the first `axes` of x2, or two sequences of axes in
    pairs.

    >>> cr.tensordot([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]], axes=2)
    Tensor(5., dtype=float32)
    """
    a, b = _one_dtype(x1, x2)
    if isinstance(axes, int):
        if not 0 <= axes <= (a.ndim if a.ndim < b.ndim else b.ndim):
            raise ArgumentError(explain("so many axes cannot be summed over",
                                        got=f"axes={axes} for shapes {a.shape} and {b.shape}",
                                        expected="from 0 to the smaller number of axes"))
        left, right = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        left, right = (tuple(one) for one in axes)
    left = tuple(normalize_axis(i, a.ndim) for i in left)
    right = tuple(normalize_axis(i, b.ndim) for i in right)
    return contract(a, b, contracting=(left, right))


def vecdot(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """The scalar product of vectors along `axis`, counted from the end; the other axes broadcast.

    >>> cr.vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.], dtype=float32)
    """
    a, b = _one_dtype(x1, x2)
    if not -min(a.ndim, b.ndim) <= axis < 0 or a.shape[axis] != b.shape[axis]:
        raise ShapeError(explain("vectors of a scalar product need one length along a negative axis",
                                 got=f"{a.shape} and {b.shape}, axis {axis}"))
    shape = broadcast_shapes(a.shape, b.shape)
    a, b = (permute_dims(broadcast_to(x, shape), _axis_last(len(shape), axis)) for x in (a, b))
    lead = tuple(range(len(shape) - 1))
    return contract(a, b, contracting=((len(lead),), (len(lead),)), batch=(lead, lead))


def _axis_last(ndim: int, axis: int) -> tuple[int, ...]:
    place = axis % ndim
    return (*(i for i in range(ndim) if i != place), place)


__all__ = ["tensordot", "vecdot"]

guard(globals(), __all__)
