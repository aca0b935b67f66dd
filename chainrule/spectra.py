# SPDX-License-Identifier: Apache-2.0
"""Spectra of sounds over time: power spectrogram, mel filters, log-mel spectrogram, cepstral coefficients (MFCC).

Values are librosa's; time is the first axis here, (..., frames, bands), as networks over sequences take it. The
transform is a product with a matrix of cosines and sines, so all of it can be compiled and differentiated.
"""

from __future__ import annotations

import math

import numpy as np

from .arrays import concat, log10, matmul, maximum, take, zeros
from .arrays import max as largest
from .errors import ArgumentError, ShapeError, explain
from .foundations.arguments import counting, guard, optional, positive
from .ir import Tensor, as_tensor
from .ir.dtype import is_float
from .ops.elementwise import astype
from .typing import ArrayLike

LEAST = 1e-10  # power below which decibels are not distinguished
RANGE = 80.0   # decibels below the loudest that count for cepstral coefficients


def power_spectrogram(x: ArrayLike, size: int = 512, hop: int | None = None, centre: bool = True) -> Tensor:
    """|STFT|², (..., n) -> (..., frames, size // 2 + 1): the power at frequency k rate / size, of frames of `size`
    steps.

    Args:
        x: sounds; integers are computed in float64.
        size: steps of a frame, which is weighted by a periodic Hann window.
        hop: steps between frames; None: a quarter of `size`.
        centre: frame t is centred at step t hop, with silence beyond the ends; False: it begins there, and all frames
            lie within.

    Raises ShapeError for sounds shorter than a frame where `centre` is False.

    >>> cr.signal.power_spectrogram(np.sin(np.arange(64) * np.pi / 4).astype("float32"), size=16).shape
    (17, 9)
    """
    x = as_tensor(x)
    x = x if is_float(x.dtype) else astype(x, "float64")
    hop = hop or max(1, size // 4)
    if x.ndim == 0 or (not centre and x.shape[-1] < size) or x.shape[-1] == 0:
        raise ShapeError(explain("the sound is shorter than a frame", got=f"shape {x.shape}",
                                 expected=f"{size:,} steps or more", fix="a smaller size="))
    if centre:
        silence = zeros((*x.shape[:-1], size // 2), dtype=x.dtype)
        x = concat([silence, x, silence], axis=-1)
    count = 1 + (x.shape[-1] - size) // hop
    frames = take(x, np.arange(count)[:, np.newaxis] * hop + np.arange(size), axis=-1)
    real, imaginary = (matmul(frames, astype(as_tensor(part), x.dtype)) for part in _transform(size))
    return real * real + imaginary * imaginary


def _transform(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Windowed cosines and sines, (size, size // 2 + 1) each."""
    window = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(size) / size)
    angles = 2 * math.pi / size * (np.outer(np.arange(size), np.arange(size // 2 + 1)) % size)
    return window[:, np.newaxis] * np.cos(angles), window[:, np.newaxis] * np.sin(angles)


def mel_filters(rate: float, size: int = 512, bands: int = 64, low: float = 0.0,
                high: float | None = None) -> np.ndarray:
    """Triangular filters of equal width on the mel scale (Slaney, 1998), (size // 2 + 1, bands) float64, each of unit
    area.

    The scale is linear below 1,000 Hz (15 mels) and logarithmic above, 27 mels for a factor of 6.4.

    Args:
        rate: steps per second.
        size: of the frames of the spectrogram.
        bands: how many filters.
        low, high: frequencies in Hz where the first begins and the last ends; None: half the rate.

    >>> cr.signal.mel_filters(8000, size=256, bands=20).shape
    (129, 20)
    """
    high = rate / 2 if high is None else high
    if not 0 <= low < high <= rate / 2:
        raise ArgumentError(explain("filters lie between 0 and half the rate", got=f"low={low:g}, high={high:g}",
                                    expected=f"0 <= low < high <= {rate / 2:g}"))
    edges = _hertz(np.linspace(_mel(low), _mel(high), bands + 2))
    frequencies = rate / size * np.arange(size // 2 + 1)[:, np.newaxis]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])


KNEE, MELS_PER_HERTZ, LOG_STEP = 1000.0, 3 / 200, math.log(6.4) / 27


def _mel(hertz: float) -> float:
    return hertz * MELS_PER_HERTZ if hertz < KNEE else KNEE * MELS_PER_HERTZ + math.log(hertz / KNEE) / LOG_STEP


def _hertz(mels: np.ndarray) -> np.ndarray:
    knee = KNEE * MELS_PER_HERTZ
    return np.where(mels < knee, mels / MELS_PER_HERTZ, KNEE * np.exp(LOG_STEP * (np.maximum(mels, knee) - knee)))


def log_mel(x: ArrayLike, rate: float, size: int = 512, hop: int | None = None, bands: int = 64, low: float = 0.0,
            high: float | None = None) -> Tensor:
    """10 log10 of the power in each mel band, (..., n) -> (..., frames, bands), in decibels; powers below 1e-10 count
    as that.

    Args:
        x, size, hop: as for `power_spectrogram`.
        rate, bands, low, high: as for `mel_filters`.

    >>> cr.signal.log_mel(np.zeros(800, "float32"), rate=8000, size=256, bands=20)[0, 0].item()
    -100.0
    """
    power = power_spectrogram(x, size, hop)
    bands_of = astype(as_tensor(mel_filters(rate, size, bands, low, high)), power.dtype)
    return 10 * log10(maximum(matmul(power, bands_of), LEAST))


def mfcc(x: ArrayLike, rate: float, count: int = 13, size: int = 512, hop: int | None = None, bands: int = 64,
         low: float = 0.0, high: float | None = None) -> Tensor:
    """Mel-frequency cepstral coefficients, (..., n) -> (..., frames, count): the orthonormal DCT-II of log-mel spectra
    over their bands.

    What is more than 80 decibels below the loudest of all counts as that much (Davis and Mermelstein, 1980; librosa).

    Args:
        count: coefficients, the first of which is the loudness.
        x, rate, size, hop, bands, low, high: as for `log_mel`.

    >>> cr.signal.mfcc(np.sin(np.arange(800.0)), rate=8000, size=256, bands=20).shape
    (13, 13)
    """
    if count > bands:
        raise ArgumentError(explain("there are no more coefficients than bands", got=f"count={count}, bands={bands}",
                                    expected=f"1 to {bands}"))
    loudness = log_mel(x, rate, size, hop, bands, low, high)
    loudness = maximum(loudness, largest(loudness) - RANGE)
    angles = math.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(count))
    transform = np.cos(angles) * np.where(np.arange(count) == 0, math.sqrt(1 / bands), math.sqrt(2 / bands))
    return matmul(loudness, astype(as_tensor(transform), loudness.dtype))


FUNCTIONS = ("log_mel", "mel_filters", "mfcc", "power_spectrogram")
CHECKS = {"size": counting, "bands": counting, "count": counting, "rate": positive, "hop": optional(counting)}

guard(globals(), FUNCTIONS, dict.fromkeys(FUNCTIONS, CHECKS))

__all__ = list(FUNCTIONS)
