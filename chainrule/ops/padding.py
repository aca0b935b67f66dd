# SPDX-License-Identifier: Apache-2.0
"""An array continued beyond its ends, by a value or by its own elements, as in `numpy.pad`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard
from ..foundations.names import closest
from ..ir.bind import as_tensor
from ..ir.tensor import Tensor
from ..typing import ArrayLike
from . import movement
from .index import take

MODES = {"constant": "constant", "reflect": "reflect", "symmetric": "symmetric", "edge": "edge", "circular": "wrap",
         "wrap": "wrap"}


def pad(x: ArrayLike, widths: Sequence[tuple[int, int]], value: float = 0.0, mode: str = "constant") -> Tensor:
    """`x` with (before, after) elements added along each axis.

    Args:
        widths: a pair for each axis.
        value: what is added in mode "constant".
        mode: "constant", or along one axis of "a b c": "reflect" (c b) a b c (b a), "symmetric" (b a) a b c (c b),
            "edge" (a a) a b c (c c), "circular" (b c) a b c (a b); the axis again and again where that is not enough.

    >>> cr.pad([1.0, 2.0], [(1, 2)])
    Tensor([0., 1., 2., 0., 0.], dtype=float32)
    """
    if mode not in MODES:
        raise ArgumentError(explain("there is no such way to pad", got=repr(mode), expected=" | ".join(MODES),
                                    fix={"replicate": "use 'edge'", "zero": "use 'constant'"}.get(mode)
                                    or closest(mode, MODES)))
    if mode == "constant":
        return movement.pad(x, widths, value)
    x = as_tensor(x)
    if len(widths) != x.ndim:
        return movement.pad(x, widths)  # says what is wrong
    for axis, (low, high) in enumerate(widths):
        if low or high:
            x = take(x, places(x.shape[axis], low, high, mode), axis=axis)
    return x


def places(extent: int, low: int, high: int, mode: str) -> np.ndarray:
    """Which element of an axis each one of the longer axis is, int64 (low + extent + high,)."""
    if not extent:
        raise ShapeError(explain("an axis without elements cannot be continued by them",
                                 got=f"extent 0, {low} before, {high} after", expected="at least one element",
                                 fix='mode="constant"'))
    return np.pad(np.arange(extent), (low, high), mode=MODES[mode])  # type: ignore[call-overload]


guard(globals(), ("pad",))
