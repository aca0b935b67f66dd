# SPDX-License-Identifier: Apache-2.0
"""Elastic deformation: every pixel is moved a little, neighbours nearly alike (Simard, Steinkraus and Platt, 2003)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from .base import Augmentation, Batch, changed
from .checks import check_images, share
from .draws import Draws
from .pixels import _gather, fill_mode, like, mask_fill


class Elastic(Augmentation):
    """Random displacements, smoothed by a normal filter and scaled.

    Args:
        strength: standard deviation of the displacement, in pixels.
        smoothness: standard deviation of the filter, in pixels: larger is stiffer.
        probability: share of samples that are deformed.
        fill: what lies outside: a number, "edge" or "reflect".

    Masks follow by the nearest pixel; boxes and keypoints are refused.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 1)).astype("float32")
    >>> cr.augment.Elastic().batch(x, seed=0)[0].shape
    (1, 8, 8, 1)
    """

    leaves_behind = ("boxes", "keypoints")

    def __init__(self, strength: float = 1.5, smoothness: float = 4.0, probability: float = 1.0,
                 fill: float | str = 0.0):
        if strength < 0 or smoothness <= 0:
            raise ArgumentError(explain("images cannot be deformed like this",
                                        got=f"strength {strength}, smoothness {smoothness}",
                                        expected="strength >= 0, smoothness > 0"))
        self.strength, self.smoothness, self.probability, self.fill = strength, smoothness, share(probability), fill
        fill_mode(fill)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        check_images(batch.x)
        down, right = self.displacements(draws, *batch.x.shape[1:3])
        x = sampled(batch.x, down, right, self.fill)
        masks = None if batch.masks is None else _nearest(np.asarray(batch.masks), down, right, mask_fill(self.fill))
        return changed(batch, x=x, masks=masks)

    def displacements(self, draws: Draws, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """(down, right), each float32 (N, H, W), in pixels."""
        rough = draws.normal((height, width, 2))
        for axis in (1, 2):
            rough = _smooth(rough, axis, self.smoothness)
        return self.strength * rough[..., 0], self.strength * rough[..., 1]


def _smooth(x: np.ndarray, axis: int, deviation: float) -> np.ndarray:
    """A normal filter along an axis, mirrored at the ends, scaled so that white noise keeps its variance."""
    radius = math.ceil(3 * deviation)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    weights = (weights / np.sqrt(np.square(weights).sum())).astype(np.float32)
    n = x.shape[axis]
    places = np.arange(-radius, n + radius) % (2 * n)
    padded = np.take(x, np.where(places < n, places, 2 * n - 1 - places), axis=axis)
    return sum(w * np.take(padded, np.arange(i, i + n), axis=axis) for i, w in enumerate(weights))


def sampled(x: np.ndarray, down: np.ndarray, right: np.ndarray, fill: float | str = 0.0) -> np.ndarray:
    """Images (N, H, W, C) read, linearly, at each pixel's place plus (down, right)."""
    mode, value = fill_mode(fill)
    rows, columns = _places(x, down, right)
    i, j = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
    v, u = ((t - whole).astype(np.float32)[..., np.newaxis] for t, whole in ((rows, i), (columns, j)))
    total: Any = 0
    for a, b, weight in ((0, 0, (1 - v) * (1 - u)), (0, 1, (1 - v) * u), (1, 0, v * (1 - u)), (1, 1, v * u)):
        total = total + _gather(x, i + a, j + b, mode, value) * weight
    return like(x, total)


def _nearest(masks: np.ndarray, down: np.ndarray, right: np.ndarray, fill: float | str) -> np.ndarray:
    rows, columns = _places(masks, down, right)
    return _gather(masks, np.rint(rows).astype(np.intp), np.rint(columns).astype(np.intp), *fill_mode(fill))


def _places(x: np.ndarray, down: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(x.shape[1])[:, np.newaxis] + down, np.arange(x.shape[2]) + right
