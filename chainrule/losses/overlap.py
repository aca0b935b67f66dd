# SPDX-License-Identifier: Apache-2.0
"""Losses of overlap, for masks: one value for each sample and channel of images (N, *S, C), or for each row (N, F)."""

from __future__ import annotations

from typing import Any

from ..ir import Tensor
from ..ops import compose, reduce
from ..typing import ArrayLike
from .base import agree, loss
from .targets import Targets

MASKS = Targets(0.0, 1.0, "masks hold 0 and 1")


def _counts(outputs: Tensor, targets: Tensor, exclusive: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(sum of p t, sum of p, sum of t) over the positions."""
    t = agree(outputs, targets)
    p = compose.softmax(outputs) if exclusive else compose.sigmoid(outputs)
    axes = tuple(range(1, outputs.ndim - 1)) if outputs.ndim > 2 else (outputs.ndim - 1,)
    return reduce.sum(p * t, axis=axes), reduce.sum(p, axis=axes), reduce.sum(t, axis=axes)


@loss(targets=MASKS)
def dice(outputs: ArrayLike, targets: ArrayLike, *, smooth: float = 1.0, exclusive: bool = False) -> Any:
    """1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth) (Milletari et al., 2016).

    Args:
        targets: masks of the shape of the outputs, in [0, 1].
        smooth: makes an empty mask that is found empty a perfect one.
        exclusive: p = softmax(outputs) over the channels, not sigmoid(outputs).

    >>> cr.losses.dice([[-9.0, 9.0, 9.0]], [[0.0, 1.0, 1.0]]) < 0.01
    Tensor(True, dtype=bool)
    """
    both, found, there = _counts(outputs, targets, exclusive)
    return 1 - (2 * both + smooth) / (found + there + smooth)


@loss(targets=MASKS)
def jaccard(outputs: ArrayLike, targets: ArrayLike, *, smooth: float = 1.0, exclusive: bool = False) -> Any:
    """1 - (sum(p t) + smooth) / (sum(p) + sum(t) - sum(p t) + smooth), 1 - intersection over union. As `dice`.

    >>> cr.losses.jaccard([[-9.0, 9.0, 9.0]], [[0.0, 1.0, 1.0]]) < 0.01
    Tensor(True, dtype=bool)
    """
    both, found, there = _counts(outputs, targets, exclusive)
    return 1 - (both + smooth) / (found + there - both + smooth)


@loss(targets=MASKS)
def tversky(outputs: ArrayLike, targets: ArrayLike, *, alpha: float = 0.5, beta: float = 0.5, smooth: float = 1.0,
            exclusive: bool = False) -> Any:
    """1 - (both + smooth) / (both + alpha * false positives + beta * false negatives + smooth) (Salehi et al.,
    2017).

    >>> cr.losses.tversky([[-9.0, 9.0, 9.0]], [[0.0, 1.0, 1.0]], alpha=0.3, beta=0.7) < 0.01
    Tensor(True, dtype=bool)
    """
    both, found, there = _counts(outputs, targets, exclusive)
    return 1 - (both + smooth) / (both + alpha * (found - both) + beta * (there - both) + smooth)
