# SPDX-License-Identifier: Apache-2.0
"""Brightness, contrast, saturation, hue, noise, blur and erasing: the values of pixels change, their places do not.

They work between black and white: 0 and 255 for uint8; for floating-point images 0 and 1, 0 and 255, or what
`value_range` of the pipeline says (see `Compose`). Results are limited to this range, and images that leave it are
refused; so these come before a normalisation to mean 0. Formulas count from black: x is the value minus black, white
the difference. Weights of grey are those of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..typing import RangeLike
from .base import Augmentation, Batch, changed
from .checks import check_images, constant, interval, share, stated_range
from .draws import Draws
from .pixels import like

GREY = np.array([0.299, 0.587, 0.114], np.float32)
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


class Pixelwise(Augmentation):
    """An operation on values: `values(x, draws, white)` gets and gives floating-point images, 0 being black."""

    needs_range = True

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        """The new values; they are limited to [0, white] afterwards."""
        raise NotImplementedError

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        check_images(batch.x)
        x = batch.x.astype(np.float32) if batch.x.dtype == np.uint8 else batch.x
        if not self.needs_range:
            return changed(batch, x=like(batch.x, self.values(x, draws, 1.0)))
        black, white = stated_range(batch, type(self).__name__)
        new = np.clip(self.values(x - black if black else x, draws, white - black), 0, white - black)
        return changed(batch, x=like(batch.x, new + black if black else new))


class Factor(Pixelwise):
    """An operation with one factor for each sample, 1 being no change.

    Args:
        by: the range of the factor (low, high); one number b stands for (1 - b, 1 + b).
        probability: share of samples that are changed.
    """

    def __init__(self, by: RangeLike = 0.2, probability: float = 1.0):
        self.by, self.probability = interval("by", by, 1.0), share(probability)
        if self.by[0] < 0:
            raise ArgumentError(explain("the factor is not negative", got=repr(by), expected="for example 0.2"))

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        factor = draws.one(*self.by).astype(x.dtype).reshape(-1, 1, 1, 1)
        return self.mixed(x, factor)

    def mixed(self, x: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """base + factor (x - base); written as x + (factor - 1)(x - base), so that factor 1 keeps every bit."""
        return x + (factor - 1) * (x - self.base(x))

    def base(self, x: np.ndarray) -> Any:
        """What factor 0 gives."""
        raise NotImplementedError


class Brightness(Factor):
    """factor * x.

    >>> x = np.full((1, 1, 1, 1), 0.5, "float32")
    >>> cr.augment.Brightness((1.2, 1.2)).over(np.array([0.0, 1.0])).batch(x)[0].ravel()
    array([0.6], dtype=float32)
    """

    def base(self, x: np.ndarray) -> Any:
        return np.zeros((), x.dtype)


class Contrast(Factor):
    """m + factor * (x - m), m the mean grey of the image.

    >>> x = np.array([0.4, 0.6], "float32").reshape(1, 1, 2, 1)
    >>> cr.augment.Contrast((2.0, 2.0)).over(np.array([0.0, 1.0])).batch(x)[0].ravel()
    array([0.3       , 0.70000005], dtype=float32)
    """

    def base(self, x: np.ndarray) -> Any:
        return grey(x).mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(x.dtype)


class Saturation(Factor):
    """g + factor * (x - g), g the grey of each pixel. Images of one channel stay as they are.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype("float32")
    >>> cr.augment.Saturation(0.3).batch(x, seed=0)[0].shape
    (1, 8, 8, 3)
    """

    def base(self, x: np.ndarray) -> Any:
        return grey(x)


class Hue(Pixelwise):
    """Turn the colours in the YIQ plane by an angle from `degrees`; the brightness Y of each pixel stays.

    Args:
        degrees: range of the angle; one number d stands for (-d, d).
        probability: share of samples that are changed.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype("float32")
    >>> cr.augment.Hue(15.0).batch(x, seed=0)[0].shape
    (1, 8, 8, 3)
    """

    def __init__(self, degrees: RangeLike = 15.0, probability: float = 1.0):
        self.degrees, self.probability = interval("degrees", degrees), share(probability)

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        if x.shape[-1] != 3:
            raise ShapeError(explain("a hue needs three channels", got=f"{x.shape[-1]} channels", expected="RGB"))
        angle = np.deg2rad(draws.one(*self.degrees))
        turn = np.tile(np.eye(3), (len(angle), 1, 1))
        turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
        turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
        change = np.linalg.inv(TO_YIQ) @ (turn - np.eye(3)) @ TO_YIQ
        return x + np.einsum("nhwc,ndc->nhwd", x, change.astype(x.dtype))


def grey(x: np.ndarray) -> np.ndarray:
    """(N, H, W, 1): the weighted mean of red, green and blue; other numbers of channels are averaged."""
    if x.shape[-1] == 3:
        return (x @ GREY.astype(x.dtype))[..., np.newaxis]
    return x if x.shape[-1] == 1 else x.mean(axis=-1, keepdims=True)


class GaussianNoise(Pixelwise):
    """x + noise, normal with standard deviation `strength` * white.

    >>> x = np.full((1, 8, 8, 1), 0.5, "float32")
    >>> cr.augment.GaussianNoise(0.1).over(np.array([0.0, 1.0])).batch(x, seed=0)[0].shape
    (1, 8, 8, 1)
    """

    def __init__(self, strength: float = 0.05, probability: float = 1.0):
        self.strength, self.probability = float(strength), share(probability)

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        return x + (self.strength * white * draws.normal(x.shape[1:])).astype(x.dtype) if self.strength else x


class Blur(Pixelwise):
    """Smoothed with a normal kernel whose standard deviation in pixels comes from `sigma`, (low, high) or one number;
    the
    edges go on outside.

    The kernel reaches three of the largest standard deviations far and is normalised to sum 1, so any values will do.

    >>> x = np.zeros((1, 5, 5, 1), "float32")
    >>> x[0, 2, 2] = 1.0
    >>> float(cr.augment.Blur(sigma=(1.0, 1.0)).batch(x)[0][0, 2, 2, 0]) < 1.0
    True
    """

    needs_range = False

    def __init__(self, sigma: RangeLike = (0.1, 1.5), probability: float = 1.0):
        sigma = (sigma, sigma) if isinstance(sigma, int | float) else sigma
        self.sigma, self.probability = interval("sigma", sigma), share(probability)
        if self.sigma[0] < 0:
            raise ArgumentError(explain("a standard deviation is not negative", got=repr(sigma), expected="(0.1, 1.5)"))

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        reach = int(np.ceil(3 * self.sigma[1]))
        sigma = np.maximum(draws.one(*self.sigma), 1e-6)[:, np.newaxis]
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        kernel = (kernel / kernel.sum(axis=1, keepdims=True)).astype(x.dtype)
        for axis in (1, 2):
            x = _smoothed(x, kernel, axis, reach)
        return x


def _smoothed(x: np.ndarray, kernel: np.ndarray, axis: int, reach: int) -> np.ndarray:
    padding = [(0, 0)] * 4
    padding[axis] = (reach, reach)
    wide, extent = np.pad(x, padding, mode="edge"), x.shape[axis]
    total = np.zeros_like(x)
    for i in range(2 * reach + 1):
        part = wide[:, i:i + extent] if axis == 1 else wide[:, :, i:i + extent]
        total += kernel[:, i].reshape(-1, 1, 1, 1) * part
    return total


class Erase(Augmentation):
    """A rectangle of `fill` at a random place, inside the image (Cutout, DeVries and Taylor, 2017; Zhong et al., 2020).

    Args:
        area: share of the image that is erased, from a range.
        ratio: width / height of the rectangle, from a range.
        fill: the value that is put there.
        probability: share of samples with a hole.

    >>> x = np.ones((1, 8, 8, 1), "float32")
    >>> bool((cr.augment.Erase(probability=1.0).batch(x, seed=0)[0] == 0.0).any())
    True
    """

    def __init__(self, area: RangeLike = (0.02, 0.2), ratio: tuple[float, float] = (0.5, 2.0), fill: float = 0.0,
                 probability: float = 0.5):
        self.area, self.ratio = interval("area", area), interval("ratio", ratio)
        self.fill, self.probability = fill, share(probability)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        check_images(batch.x)
        hole = rectangle(draws, *batch.x.shape[1:3], draws.one(*self.area), draws.one(*self.ratio))
        return changed(batch, x=np.where(hole[..., np.newaxis], constant(self.fill, batch.x.dtype), batch.x))


def rectangle(draws: Draws, height: int, width: int, area: np.ndarray, ratio: Any = 1.0) -> np.ndarray:
    """bool (N, H, W): True in a rectangle of about `area` (share of the image), wholly inside, at a random place."""
    share = area * height * width
    high = np.clip(np.rint(np.sqrt(share / ratio)), 0, height)
    wide = np.clip(np.rint(np.sqrt(share * ratio)), 0, width)
    top, left = (np.floor(draws.one() * (room + 1)) for room in (height - high, width - wide))
    rows, columns = np.arange(height), np.arange(width)
    inside_rows = (rows >= top[:, np.newaxis]) & (rows < (top + high)[:, np.newaxis])
    inside_columns = (columns >= left[:, np.newaxis]) & (columns < (left + wide)[:, np.newaxis])
    return inside_rows[:, :, np.newaxis] & inside_columns[:, np.newaxis, :]
