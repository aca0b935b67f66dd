# SPDX-License-Identifier: Apache-2.0
"""The tones of an image: grey, inverted, solarised, in few steps, stretched, equalised, sharper; and ready-made
mixtures.

What black and white are is said in `colour`. For uint8 the results are Pillow's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from ..typing import RangeLike
from .base import Augmentation, Batch, Compose, changed
from .checks import check_images, interval, share
from .choices import OneOf
from .colour import Brightness, Contrast, Factor, Hue, Pixelwise, Saturation, grey
from .draws import DRAWS, Draws
from .geometry import Rotate, Shear, Translate
from .pixels import like

ROOM = 8  # draws of one operation in a chain of AugMix
MOST = 25  # operations in all its chains, so that the draws of chains and operations fit into DRAWS


class Greyscale(Pixelwise):
    """Every channel becomes the grey of the pixel, so that the shape stays; any values will do.

    >>> x = np.array([1.0, 0.0, 0.0], "float32").reshape(1, 1, 1, 3)
    >>> len(np.unique(cr.augment.Greyscale(probability=1.0).batch(x)[0]))
    1
    """

    needs_range = False

    def __init__(self, probability: float = 0.1):
        self.probability = share(probability)

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        return np.broadcast_to(grey(x), x.shape)


class Invert(Pixelwise):
    """white - x.

    >>> x = np.array([0.0, 0.25, 1.0], "float32").reshape(1, 1, 3, 1)
    >>> cr.augment.Invert(probability=1.0).batch(x)[0].ravel()
    array([1.  , 0.75, 0.  ], dtype=float32)
    """

    def __init__(self, probability: float = 0.5):
        self.probability = share(probability)

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        return white - x


class Solarize(Pixelwise):
    """Values from `threshold` on (shares of white, from a range; or one number) are inverted.

    >>> x = np.array([0.0, 0.25, 1.0], "float32").reshape(1, 1, 3, 1)
    >>> cr.augment.Solarize(0.5, probability=1.0).batch(x)[0].ravel()
    array([0.  , 0.25, 0.  ], dtype=float32)
    """

    def __init__(self, threshold: RangeLike = 0.5, probability: float = 0.5):
        threshold = (threshold, threshold) if isinstance(threshold, int | float) else threshold
        self.threshold, self.probability = interval("threshold", threshold), share(probability)

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        limit = (draws.one(*self.threshold) * white).astype(x.dtype).reshape(-1, 1, 1, 1)
        return np.where(x < limit, x, white - x)


class Posterize(Pixelwise):
    """Only the first `bits` of 8 bits are kept: 2^bits tones.

    >>> x = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    >>> len(np.unique(cr.augment.Posterize(bits=3, probability=1.0).batch(x)[0]))
    8
    """

    def __init__(self, bits: int = 4, probability: float = 0.5):
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
            raise ArgumentError(explain("tones have so many bits", got=repr(bits),
                                        expected="a whole number from 1 to 8"))
        self.bits, self.probability = bits, share(probability)

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        tone = (256.0 if white == 255 else white) / 2**self.bits
        return np.floor(x / tone) * tone


class AutoContrast(Pixelwise):
    """Each channel is stretched so that it goes from 0 to white; a channel of one value stays.

    >>> x = np.array([0.25, 0.5, 0.75], "float32").reshape(1, 1, 3, 1)
    >>> cr.augment.AutoContrast(probability=1.0).over(np.array([0.0, 1.0])).batch(x)[0].ravel()
    array([0. , 0.5, 1. ], dtype=float32)
    """

    def __init__(self, probability: float = 0.5):
        self.probability = share(probability)

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
        spread = np.where(high > low, high - low, 1)
        return np.where(high > low, (x - low) * (white / spread), x)


class Equalize(Pixelwise):
    """Each channel gets about as many pixels in every tone; 256 tones from black to white, also for floating-point
    images.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 1)).astype("float32")
    >>> cr.augment.Equalize(probability=1.0).batch(x)[0].shape
    (1, 8, 8, 1)
    """

    def __init__(self, probability: float = 0.5):
        self.probability = share(probability)

    def values(self, x: np.ndarray, draws: Draws, white: float) -> np.ndarray:
        n, height, width, channels = x.shape
        tones = np.rint(np.clip(x, 0, white)
                        * (255 / white)).astype(np.int64).transpose(0, 3, 1, 2).reshape(n * channels, height * width)
        counts = np.bincount((tones + 256 * np.arange(len(tones))[:, np.newaxis]).ravel(),
                             minlength=256 * len(tones)).reshape(-1, 256)
        last = np.take_along_axis(counts, tones.max(axis=1, keepdims=True), axis=1)
        step = (counts.sum(axis=1, keepdims=True) - last) // 255
        before = np.cumsum(counts, axis=1) - counts
        table = np.where(step > 0, np.minimum((step // 2 + before) // np.maximum(step, 1), 255), np.arange(256))
        found = np.take_along_axis(table, tones, axis=1).reshape(n, channels, height, width).transpose(0, 2, 3, 1)
        return (found * (white / 255)).astype(x.dtype)


class Sharpness(Factor):
    """s + factor * (x - s), s the image smoothed by 3 x 3 weights (5 in the middle, 1 around it); the edge stays.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype("float32")
    >>> cr.augment.Sharpness(0.5).batch(x, seed=0)[0].shape
    (1, 8, 8, 3)
    """

    def base(self, x: np.ndarray) -> Any:
        smooth, inner = x.copy(), (slice(None), slice(1, -1), slice(1, -1))
        height, width = x.shape[1:3]
        if height > 2 and width > 2:
            around = sum(x[:, i:height - 2 + i, j:width - 2 + j] for i in range(3) for j in range(3))
            smooth[inner] = (around + 4 * x[inner]) / 13
        return smooth


class ColourJitter(Compose):
    """Brightness, contrast, saturation and hue by chance, each from its range; 0 leaves one as it is.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype("float32")
    >>> cr.augment.ColourJitter(brightness=0.2, hue=10.0).batch(x, seed=0)[0].shape
    (1, 8, 8, 3)
    """

    def __init__(self, brightness: RangeLike = 0.2, contrast: RangeLike = 0.2, saturation: RangeLike = 0.2,
                 hue: RangeLike = 0.0):
        parts: list[Augmentation] = [Brightness(brightness), Contrast(contrast), Saturation(saturation)]
        super().__init__([*parts, *([Hue(hue)] if hue else [])])


class RandAugment(Compose):
    """`count` operations for each sample, each of them one of eleven by chance, of a common strength (Cubuk et al.,
    2020).

    Args:
        count: operations one after the other.
        strength: in [0, 1]: how far they go.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype("float32")
    >>> cr.augment.RandAugment(count=2).batch(x, seed=0)[0].shape
    (1, 8, 8, 3)
    """

    def __init__(self, count: int = 2, strength: float = 0.3):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ArgumentError(explain("operations are counted", got=repr(count),
                                        expected="a whole number, 1 or more"))
        s = share(strength)
        choices = [*_common(s), Brightness(0.9 * s), Contrast(0.9 * s), Saturation(0.9 * s), Sharpness(0.9 * s)]
        super().__init__([OneOf(choices) for _ in range(count)])


def _common(strength: float) -> list[Augmentation]:
    """The operations that both ready-made mixtures choose from."""
    return [AutoContrast(1.0), Equalize(1.0), Posterize(max(1, 8 - round(6 * strength)), 1.0),
            Solarize(1 - strength, 1.0),
            Rotate(30 * strength), Shear(17 * strength), Translate(0.45 * strength)]


class AugMix(Augmentation):
    """m x + (1 - m) (w_1 x_1 + ... + w_n x_n): each image mixed with copies of it, each of which went through 1 to
    `depth` of seven operations by
    chance; m is even in [0, 1), the w are positive and even on sum 1 (Hendrycks et al., 2020).

    For classification: boxes, masks and keypoints are refused, since copies that were moved differently are mixed.

    Args:
        chains: number of copies.
        depth: most operations for a copy; chains * depth is at most 25.
        strength: in [0, 1]: how far the operations go.
        probability: share of samples that are changed.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype("float32")
    >>> cr.augment.AugMix().batch(x, seed=0)[0].shape
    (1, 8, 8, 3)
    """

    needs_range = True
    leaves_behind = ("masks", "boxes", "keypoints")

    def __init__(self, chains: int = 3, depth: int = 3, strength: float = 0.3, probability: float = 1.0):
        if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1
                   for n in (chains, depth)) or chains * depth > MOST:
            raise ArgumentError(explain("these are no numbers of copies and operations",
                                        got=f"chains={chains!r}, depth={depth!r}",
                                        expected=f"whole numbers from 1, their product at most {MOST}"))
        self.chains, self.depth, self.strength, self.probability = chains, depth, share(strength), share(probability)

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        check_images(batch.x)
        shares = self._shares(draws)[..., np.newaxis, np.newaxis, np.newaxis]
        x = shares[:, 0] * batch.x
        for chain in range(self.chains):
            x += shares[:, 1 + chain] * self._copy(batch, draws, chain).x
        return changed(batch, x=like(batch.x, x))

    def _shares(self, draws: Draws) -> np.ndarray:
        """(N, 1 + chains): m, then (1 - m) w."""
        own, weights = draws.uniform(1), -np.log1p(-draws.uniform(self.chains))
        return np.concatenate([own, (1 - own) * weights / weights.sum(axis=1, keepdims=True)], axis=1)

    def _copy(self, batch: Batch, draws: Draws, chain: int) -> Batch:
        """The images after the operations of one chain; each operation has numbers of its own."""
        found, choices = Batch(batch.x, value_range=batch.value_range), _common(self.strength)
        lengths, chosen = draws.integers(1, self.depth), (draws.uniform(self.depth) * len(choices)).astype(np.int64)
        for step in range(self.depth):
            for number, operation in enumerate(choices):
                places = np.flatnonzero((lengths > step) & (chosen[:, step] == number))
                if len(places):
                    numbers = draws.take(places)
                    numbers.used = DRAWS - ROOM * (1 + chain * self.depth + step)
                    found = found.put(places, operation.run(found.take(places), numbers))
        return found
