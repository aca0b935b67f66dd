# SPDX-License-Identifier: Apache-2.0
"""Repeating along axes and its mirror image, the sum along axes: each is the other's derivative."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ShapeError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor, bind
from ..ir.node import Shape, Type, op
from ..ir.tensor import Tensor
from ..typing import ArrayLike
from . import types
from .movement import reshape


def _infer_broadcast(x: Type, *, shape: Shape) -> Type:
    if types.broadcast_shapes(x.shape, shape) != shape:
        raise ShapeError(explain("this array cannot be broadcast to the shape", got=str(x), expected=str(shape)))
    return Type(shape, x.dtype)


def sum_to(g: Tensor, shape: Shape) -> Tensor:
    """The sum over the axes along which `shape` would be repeated to give the shape of `g`."""
    lead = g.ndim - len(shape)
    axes = (*range(lead), *(i + lead for i, extent in enumerate(shape) if extent != g.shape[i + lead]))
    return reshape(sum_over(g, axes), shape)


def restore(x: Tensor, axes: Shape, shape: Shape) -> Tensor:
    """A result reduced over `axes`, repeated along them again to `shape`."""
    kept = tuple(1 if i in axes else extent for i, extent in enumerate(shape))
    return broadcast_to(reshape(x, kept), shape)


BROADCAST = op("broadcast", infer=_infer_broadcast, meaning=lambda x, *, shape: np.broadcast_to(x, shape),
               vjp=(lambda g, y, x, shape: sum_to(g, x.shape),))

SUM = op("sum", infer=lambda x, *, axes: types.numeric(Type(types.without(x.shape, axes), x.dtype)),
         meaning=lambda x, *, axes: np.sum(x, axis=axes, dtype=x.dtype),
         vjp=(lambda g, y, x, axes: restore(g, axes, x.shape),))


def broadcast_to(x: ArrayLike, /, shape: Sequence[int]) -> Tensor:
    """`x` repeated along new and unit axes until it has the shape.

    >>> cr.broadcast_to([1, 2], (2, 2))
    Tensor([[1, 2],
            [1, 2]], dtype=int64)
    """
    x, shape = as_tensor(x), tuple(int(n) for n in shape)
    return x if x.shape == shape else bind(BROADCAST, x, shape=shape)


def sum_over(x: Tensor, axes: Shape) -> Tensor:
    """The sum over sorted, non-negative `axes`; no axes leave x as it is."""
    return bind(SUM, x, axes=tuple(axes)) if axes else x


guard(globals(), ("broadcast_to",))
