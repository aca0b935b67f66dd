# SPDX-License-Identifier: Apache-2.0
"""MixUp and CutMix: two samples become one, and so do their targets.

Each sample is mixed with another of its batch: lambda of the sample, 1 - lambda of its partner, in x and in the target.
Masks are mixed as the images are, boxes and keypoints are refused. lambda is drawn from Beta(alpha, alpha) and the
larger share stays with the sample itself (mixing i with j by lambda is mixing j with i by 1 - lambda), so its own label
is the one that counts most. Labels become rows of probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, BoundsError, explain
from .base import Augmentation, Batch, changed
from .checks import check_images, share
from .colour import rectangle
from .draws import Draws


class Mix(Augmentation):
    """What both share.

    Args:
        classes: number of classes, for targets that are labels; None for targets that are probabilities or numbers.
        alpha: of the Beta distribution: small for little mixing, 1 for uniform shares.
        probability: share of samples that are mixed.
    """

    whole_batch = True
    leaves_behind = ("boxes", "keypoints")

    def __init__(self, classes: int | None = None, alpha: float = 0.2, probability: float = 1.0):
        if not alpha > 0:
            raise ArgumentError(explain("alpha is positive", got=repr(alpha), expected="for example 0.2"))
        self.classes, self.alpha, self.probability = classes, float(alpha), share(probability)

    def run(self, batch: Batch, draws: Draws) -> Batch:
        targets = soft_targets(batch.y, self.classes)
        chosen = draws.one() < self.probability
        share = np.where(chosen, _larger(draws.beta(self.alpha)), 1.0)
        partner = partners(draws)
        mixed, share = self.mix(batch.x, share, draws)
        masks = None if batch.masks is None else mixed(np.asarray(batch.masks), np.asarray(batch.masks)[partner])
        return changed(batch, x=mixed(batch.x, batch.x[partner]), masks=masks,
                       y=None if targets is None else _blend(targets, targets[partner], share))

    def mix(self, x: np.ndarray, share: np.ndarray, draws: Draws) -> tuple[Callable[..., np.ndarray], np.ndarray]:
        """How arrays (N, ...) are mixed with those of their partners, and the shares that the samples really have."""
        raise NotImplementedError


class MixUp(Mix):
    """lambda x_i + (1 - lambda) x_j, and the same for the targets and for masks of floating-point numbers (Zhang et
    al., 2018).

    >>> x = np.stack([np.zeros((8, 8, 1)), np.ones((8, 8, 1))]).astype("float32")
    >>> x, y = cr.augment.MixUp(classes=2).batch(x, np.array([0, 1]), seed=0)
    >>> y.sum(axis=1)
    array([1., 1.], dtype=float32)
    """

    def check(self, batch: Batch) -> None:
        super().check(batch)
        if batch.masks is not None and np.asarray(batch.masks).dtype.kind != "f":
            raise ArgumentError(explain("MixUp mixes masks as it mixes images",
                                        got=f"masks of {np.asarray(batch.masks).dtype}",
                                        expected="shares, floating point",
                                        fix="masks.astype('float32'), or augment.CutMix, which pastes"))

    def mix(self, x: np.ndarray, share: np.ndarray, draws: Draws) -> tuple[Callable[..., np.ndarray], np.ndarray]:
        if x.dtype.kind != "f":
            raise ArgumentError(explain("MixUp adds inputs", got=str(x.dtype), expected="floating point",
                                        fix="scale the images first: x.astype('float32') / 255"))
        return lambda own, other: _blend(own, other, share), share


class CutMix(Mix):
    """A rectangle of the partner is put into the image; targets are mixed by its real area (Yun et al., 2019).

    >>> x = np.stack([np.zeros((8, 8, 1)), np.ones((8, 8, 1))]).astype("float32")
    >>> x, y = cr.augment.CutMix(classes=2).batch(x, np.array([0, 1]), seed=0)
    >>> y.sum(axis=1)
    array([1., 1.], dtype=float32)
    """

    def __init__(self, classes: int | None = None, alpha: float = 1.0, probability: float = 1.0):
        super().__init__(classes, alpha, probability)

    def mix(self, x: np.ndarray, share: np.ndarray, draws: Draws) -> tuple[Callable[..., np.ndarray], np.ndarray]:
        check_images(x)
        hole = rectangle(draws, *x.shape[1:3], 1 - share)
        return (lambda own, other: np.where(hole.reshape(*hole.shape, *(1,) * (own.ndim - 3)), other, own),
                1 - hole.mean(axis=(1, 2)))


def _larger(share: np.ndarray) -> np.ndarray:
    return np.maximum(share, 1 - share)


def _blend(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = share.astype(a.dtype).reshape(-1, *(1,) * (a.ndim - 1))
    return share * a + (1 - share) * b


def partners(draws: Draws) -> np.ndarray:
    """int (N,): whom each sample is mixed with: the next one in an order by chance, never itself if N > 1."""
    order = np.argsort(draws.one(), kind="stable")
    partner = np.empty_like(order)
    partner[order] = np.roll(order, -1)
    return partner


def soft_targets(y: Any, classes: int | None) -> Any:
    """Labels (N,) as rows of probabilities, float32 (N, classes); probabilities and numbers as they are."""
    if y is None or (np.asarray(y).dtype.kind == "f" and classes is None):
        return y
    y = np.asarray(y)
    if y.dtype.kind == "f" and y.ndim > 1:
        return y
    if classes is None or y.dtype.kind not in "iub":
        raise ArgumentError(explain("mixing labels needs the number of classes", got=f"{y.dtype} labels, {classes=}",
                                    fix="for example MixUp(classes=10)"))
    if len(y) and not 0 <= y.min() <= y.max() < classes:
        raise BoundsError(explain("a label is out of range", got=f"{y.min()} to {y.max()}",
                                  expected=f"0 to {classes - 1}"))
    return np.eye(classes, dtype=np.float32)[y]
