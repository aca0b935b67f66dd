# SPDX-License-Identifier: Apache-2.0
"""Sound: shifts, gain and noise of signals (N, T) or (N, T, C), and SpecAugment of spectrograms (N, T, F)."""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..typing import RangeLike
from .base import Augmentation, Batch, changed
from .checks import interval, share
from .draws import Draws


def _column(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    return values.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))


def _check(x: np.ndarray) -> np.ndarray:
    if x.ndim < 2 or x.dtype.kind != "f":
        raise ShapeError(explain("a signal is needed here", got=f"{x.dtype} of shape {x.shape[1:]} for one sample",
                                 expected="floating point, (time,) or (time, channels)"))
    return x


class TimeShift(Augmentation):
    """Moved along the time axis by whole steps, up to the share `by` of its length; silence (0) comes in, or with
    `wrap` what left on the other side. Masks (N, T, ...) follow.

    >>> x = np.arange(10, dtype="float32")[None, :, None]
    >>> cr.augment.TimeShift(0.3, wrap=True).batch(x, seed=0)[0].sum()
    np.float32(45.0)
    """

    leaves_behind = ("boxes", "keypoints")

    def __init__(self, by: float = 0.1, wrap: bool = False, probability: float = 1.0):
        self.by, self.wrap, self.probability = share(by), wrap, share(probability)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        x = _check(batch.x)
        most = round(self.by * x.shape[1])
        place = np.arange(x.shape[1]) - draws.integers(-most, most)[:, np.newaxis]
        return changed(batch, x=self._moved(x, place), masks=None if batch.masks is None
                       else self._moved(np.asarray(batch.masks), place))

    def _moved(self, x: np.ndarray, place: np.ndarray) -> np.ndarray:
        moved = x[np.arange(len(x))[:, np.newaxis], place % x.shape[1]]
        if not self.wrap:
            moved[(place < 0) | (place >= x.shape[1])] = 0
        return moved


class Gain(Augmentation):
    """Louder or softer by `decibels` from a range; one number d stands for (-d, d). Factor 10^(d / 20).

    >>> x = np.ones((1, 4, 1), "float32")
    >>> cr.augment.Gain((20.0, 20.0)).batch(x)[0].ravel()
    array([10., 10., 10., 10.], dtype=float32)
    """

    def __init__(self, decibels: RangeLike = 6.0, probability: float = 1.0):
        self.decibels, self.probability = interval("decibels", decibels), share(probability)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        x = _check(batch.x)
        return changed(batch, x=x * _column(10 ** (draws.one(*self.decibels) / 20), x))


class AddNoise(Augmentation):
    """White noise with a signal-to-noise ratio 10 log10(power of x / power of the noise) from `ratio`, in decibels.

    >>> x = np.sin(np.arange(800) * 0.1).astype("float32")[:, None]
    >>> cr.augment.AddNoise((20.0, 30.0))(x, seed=0).shape
    (800, 1)
    """

    def __init__(self, ratio: RangeLike = (10.0, 40.0), probability: float = 1.0):
        self.ratio, self.probability = interval("ratio", ratio), share(probability)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        x = _check(batch.x)
        power = np.square(x, dtype=np.float64).mean(axis=tuple(range(1, x.ndim)))
        strength = np.sqrt(power / 10 ** (draws.one(*self.ratio) / 10))
        return changed(batch, x=x + _column(strength, x) * draws.normal(x.shape[1:]).astype(x.dtype))


class SpecAugment(Augmentation):
    """Bands of time and of frequency set to `fill` in a spectrogram (time, frequency) (Park et al., 2019).

    Args:
        times, frequencies: how many bands of each kind.
        time_width, frequency_width: greatest width of a band, in steps; each band draws its own from 0 to this.
        fill: the value that is put there (0 is the mean of a normalised spectrogram).
        probability: share of samples that are changed.

    >>> spectrogram = np.ones((100, 40), "float32")
    >>> bool((cr.augment.SpecAugment()(spectrogram, seed=0) == 0.0).any())
    True
    """

    def __init__(self, times: int = 2, time_width: int = 20, frequencies: int = 2, frequency_width: int = 8,
                 fill: float = 0.0, probability: float = 1.0):
        self.times, self.time_width = times, time_width
        self.frequencies, self.frequency_width = frequencies, frequency_width
        self.fill, self.probability = fill, share(probability)
        if min(times, time_width, frequencies, frequency_width) < 0:
            raise ArgumentError(explain("numbers and widths of bands are not negative", got=repr(self)))

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        x = _check(batch.x)
        if x.ndim < 3:
            raise ShapeError(explain("a spectrogram has two axes", got=str(x.shape[1:]), expected="(time, frequency)"))
        hidden = _bands(draws, self.times, self.time_width, x.shape[1])[:, :, np.newaxis]
        hidden = hidden | _bands(draws, self.frequencies, self.frequency_width, x.shape[2])[:, np.newaxis]
        hidden = hidden.reshape(*hidden.shape, *(1,) * (x.ndim - 3))
        return changed(batch, x=np.where(hidden, np.asarray(self.fill, x.dtype), x))


def _bands(draws: Draws, count: int, width: int, extent: int) -> np.ndarray:
    """bool (N, extent): True within `count` bands."""
    hidden = np.zeros((len(draws.indices), extent), bool)
    steps = np.arange(extent)
    for _ in range(count):
        wide = draws.integers(0, min(width, extent))
        start = np.floor(draws.one() * (extent - wide + 1))[:, np.newaxis]
        hidden |= (steps >= start) & (steps < start + wide[:, np.newaxis])
    return hidden
