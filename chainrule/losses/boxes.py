# SPDX-License-Identifier: Apache-2.0
"""The loss of boxes: how far the overlap of each with its own is from 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain, shown
from ..ir import Tensor
from ..ops.control import stop_gradient
from ..ops.elementwise import atan2, maximum, minimum
from ..typing import ArrayLike
from .base import agree, loss
from .targets import ANY

Corners = tuple[Tensor, ...]
KINDS = ("plain", "generalized", "distance", "complete")
TINY = 1e-7


@loss(targets=ANY)
def box_iou(outputs: ArrayLike, targets: ArrayLike, *, kind: str = "generalized") -> Any:
    """1 - IoU of boxes (..., 4) with their own (..., 4): left, top, right, bottom. One value for each pair, 0 where
    they are equal.

    Args:
        kind: "plain" (intersection over union, without a gradient where two boxes are apart), "generalized"
            (Rezatofighi et al., 2019), "distance" or "complete" (Zheng et al., 2020); the formulas stand at
            `cr.boxes.generalized_iou` and its neighbours.

    Sides are taken to be at least 0. ArgumentError for another kind, ShapeError where the last axis is not 4.

    >>> cr.losses.box_iou([[0.0, 0.0, 1.0, 1.0]], [[2.0, 0.0, 3.0, 1.0]])
    Tensor(1.3333334, dtype=float32)
    """
    if kind not in KINDS:
        raise ArgumentError(explain("there is no such kind of overlap", got=f"kind={shown(kind)}",
                                    expected=" | ".join(KINDS)))
    theirs = agree(outputs, targets)
    if outputs.shape[-1:] != (4,):  # type: ignore[union-attr]
        raise ShapeError(explain("boxes have four numbers in their last axis", got=f"shape {outputs.shape}",
                                 expected="(..., 4)"))  # type: ignore[union-attr]
    a, b = (tuple(x[..., i] for i in range(4)) for x in (outputs, theirs))  # type: ignore[index,call-overload]
    return 1 - _overlap(a, b, kind)


def _overlap(a: Corners, b: Corners, kind: str) -> Tensor:
    """Of sides divided by the longer one of the box around both, which changes no quotient and keeps areas within the
    range of floats."""
    scale = stop_gradient(maximum(maximum(*_hull(a, b)), float(np.finfo(a[0].dtype).tiny)))
    (width, height), mine, other = (_by(x, scale) for x in (_hull(a, b), _sizes(a), _sizes(b)))
    common = _by(_common(a, b), scale)
    both = common[0] * common[1]
    union = mine[0] * mine[1] + other[0] * other[1] - both
    plain = both / (union + TINY)
    if kind == "plain":
        return plain
    if kind == "generalized":
        hull = width * height
        return plain - (hull - union) / (hull + TINY)
    apart = _by(tuple((a[i] - b[i]) / 2 + (a[i + 2] - b[i + 2]) / 2 for i in (0, 1)), scale)
    near = plain - (apart[0] ** 2 + apart[1] ** 2) / (width**2 + height**2 + TINY)
    return near if kind == "distance" else near - _unlike(mine, other, plain)


def _unlike(mine: Corners, other: Corners, plain: Tensor) -> Tensor:
    """αv of `boxes.complete_iou`; α is a weight, through which no gradient passes."""
    v = 4 / math.pi**2 * (atan2(mine[0], mine[1] + TINY) - atan2(other[0], other[1] + TINY)) ** 2
    return stop_gradient(v / (1 - plain + v + TINY)) * v


def _hull(a: Corners, b: Corners) -> Corners:
    return tuple(maximum(a[i + 2], b[i + 2]) - minimum(a[i], b[i]) for i in (0, 1))


def _sizes(a: Corners) -> Corners:
    return tuple(maximum(a[i + 2] - a[i], 0.0) for i in (0, 1))


def _common(a: Corners, b: Corners) -> Corners:
    return tuple(maximum(minimum(a[i + 2], b[i + 2]) - maximum(a[i], b[i]), 0.0) for i in (0, 1))


def _by(sides: Corners, scale: Tensor) -> Corners:
    return tuple(side / scale for side in sides)
