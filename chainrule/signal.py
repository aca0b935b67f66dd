# SPDX-License-Identifier: Apache-2.0
"""Convolution and cross-correlation of two signals over one, two or three axes, as `scipy.signal` defines them; spectra
of sounds (`spectra.py`).

(a * b)[n] = sum over k of a[k] b[n - k], computed in one of three ways: "direct" by the primitive of convolutional
layers, "im2col" by one product of all windows with the kernel, "fft" by the convolution theorem, F(a * b) = F(a) F(b).
The transform is composed of words: radix-2 butterflies on real and imaginary parts (Cooley and Tukey, 1965), forwards
into bit-reversed order and from there back, so nothing is ever permuted. All three can be differentiated and compiled.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .errors import ArgumentError, ShapeError, explain
from .foundations.arguments import guard
from .foundations.names import closest
from .ir import Tensor, as_tensor
from .ir.dtype import float64, is_float
from .ops.compose import stack
from .ops.contract import contract, conv
from .ops.elementwise import astype
from .ops.movement import flip, pad, permute_dims, reshape, slice_axis, window
from .spectra import log_mel, mel_filters, mfcc, power_spectrogram
from .typing import ArrayLike

MODES, METHODS = ("full", "same", "valid"), ("auto", "direct", "im2col", "fft")
DIRECT_LIMIT = 2**22  # products beyond which the Fourier transform is taken


def convolve(a: ArrayLike, b: ArrayLike, mode: str = "full", method: str = "auto") -> Tensor:
    """a * b, over all axes; commutative in mode "full".

    Args:
        a, b: signals with the same number of axes, one to three; integers are computed in float64.
        mode: "full" (n + m - 1 numbers along an axis), "same" (the middle of it, as long as a) or "valid" (only where
            one lies within the other, max - min + 1).
        method: "direct", "im2col", "fft", or "auto" for direct while there are few products.

    Raises ShapeError for other axes, empty signals, and for "valid" if neither lies within the other.

    >>> cr.convolve([1.0, 2.0, 3.0], [1.0, -1.0])
    Tensor([ 1.,  1.,  1., -3.], dtype=float32)
    """
    a, b = _signal(a, b), _signal(b, a)
    _check(a, b, mode, method)
    if mode == "valid" and any(n < m for n, m in zip(a.shape, b.shape, strict=True)):
        a, b = b, a
    if method == "auto":
        method = "direct" if a.size * b.size <= DIRECT_LIMIT else "fft"
    return {"direct": _direct, "im2col": _im2col, "fft": _fourier}[method](a, b, _cuts(a.shape, b.shape, mode))


def correlate(a: ArrayLike, b: ArrayLike, mode: str = "full", method: str = "auto") -> Tensor:
    """Cross-correlation: sum over k of a[k] b[k - n + m - 1], the convolution of a with b reversed along all axes.

    Arguments and errors as for `convolve`. What is called convolution in networks is this, in mode "valid".

    >>> cr.correlate([1.0, 2.0, 3.0], [0.0, 1.0], mode="valid")
    Tensor([2., 3.], dtype=float32)
    """
    a, b = _signal(a, b), _signal(b, a)
    _check(a, b, mode, method)
    return convolve(a, flip(b), mode, method)


def _signal(x: Any, other: Any) -> Tensor:
    kind = np.result_type(as_tensor(x).dtype, as_tensor(other).dtype)
    return astype(as_tensor(x), kind if is_float(kind) else float64)


def _check(a: Tensor, b: Tensor, mode: str, method: str) -> None:
    for word, value, known in (("mode", mode, MODES), ("method", method, METHODS)):
        if value not in known:
            raise ArgumentError(explain(f"convolution has no such {word}", got=repr(value), expected=" | ".join(known),
                                        fix=closest(value, known)))
    if a.ndim != b.ndim or a.ndim not in (1, 2, 3):
        raise ShapeError(explain("two signals need the same number of axes", got=f"{a.shape} and {b.shape}",
                                 expected="one, two or three axes each",
                                 fix="batches of images with channels are for nn.Conv2D"))
    if not a.size or not b.size:
        raise ShapeError(explain("an empty signal cannot be convolved", got=f"{a.shape} and {b.shape}"))
    larger = {n >= m for n, m in zip(a.shape, b.shape, strict=True) if n != m}
    if mode == "valid" and len(larger) > 1:
        raise ShapeError(explain("neither signal lies within the other", got=f"{a.shape} and {b.shape}",
                                 expected="one of them at least as large along every axis", fix='use mode="full"'))


def _cuts(a: tuple[int, ...], b: tuple[int, ...], mode: str) -> list[tuple[int, int]]:
    """(first, count) of what is kept of the full result along each axis."""
    if mode == "full":
        return [(0, n + m - 1) for n, m in zip(a, b, strict=True)]
    if mode == "same":
        return [((m - 1) // 2, n) for n, m in zip(a, b, strict=True)]
    return [(m - 1, n - m + 1) for n, m in zip(a, b, strict=True)]


def _padding(a: Tensor, b: Tensor, cuts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Zeros before and after (negative: cut off), so that windows as large as b give just what is kept."""
    return [(m - 1 - first, first + count - n) for n, m, (first, count) in zip(a.shape, b.shape, cuts, strict=True)]


def _direct(a: Tensor, b: Tensor, cuts: list[tuple[int, int]]) -> Tensor:
    ones = (1,) * a.ndim
    y = conv(reshape(a, (1, *a.shape, 1)), reshape(flip(b), (*b.shape, 1, 1)), stride=ones,
             padding=tuple(_padding(a, b, cuts)), dilation=ones)
    return reshape(y, y.shape[1:-1])


def _im2col(a: Tensor, b: Tensor, cuts: list[tuple[int, int]]) -> Tensor:
    axes = tuple(range(a.ndim))
    views = window(pad(a, _padding(a, b, cuts)), axes, b.shape, (1,) * a.ndim)
    return contract(views, flip(b), contracting=(tuple(range(a.ndim, 2 * a.ndim)), axes))


# ---- the Fourier transform

def _fourier(a: Tensor, b: Tensor, cuts: list[tuple[int, int]]) -> Tensor:
    lengths = [1 << (n + m - 2).bit_length() for n, m in zip(a.shape, b.shape, strict=True)]
    (ar, ai), (br, bi) = _transformed(a, lengths), _transformed(b, lengths)
    y = _back(ar * br - ai * bi, ar * bi + ai * br, lengths)
    for axis, (first, count) in enumerate(cuts):
        y = slice_axis(y, axis, first, first + count)
    return y


def _transformed(x: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
    real = pad(x, [(0, n - m) for n, m in zip(lengths, x.shape, strict=True)])
    imaginary = real * 0
    for axis in range(x.ndim):
        real, imaginary = _along(axis, real, imaginary, forwards)
    return real, imaginary


def _back(real: Tensor, imaginary: Tensor, lengths: list[int]) -> Tensor:
    for axis in range(real.ndim):
        real, imaginary = _along(axis, real, imaginary, backwards)
    return real * (1 / math.prod(lengths))


def _along(axis: int, real: Tensor, imaginary: Tensor, transform: Any) -> tuple[Tensor, Tensor]:
    """Transform one axis, which is moved to the end and back."""
    order = (*(i for i in range(real.ndim) if i != axis), axis)
    there = tuple(int(i) for i in np.argsort(order))
    found = transform(permute_dims(real, order), permute_dims(imaginary, order))
    return permute_dims(found[0], there), permute_dims(found[1], there)


def _twiddles(half: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi k / (2 half), k < half."""
    angle = np.pi * np.arange(half) / half
    return np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)


def forwards(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """sum over n of x[n] exp(-2 pi i k n / N) along the last axis, a power of two, k in bit-reversed order.

    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> real, imaginary = cr.signal.forwards(cr.asarray(x), cr.zeros_like(x))
    >>> real[0], np.fft.fft(x)[0].real
    (Tensor(10., dtype=float64), np.float64(10.0))
    """
    shape, half = real.shape, real.shape[-1] // 2
    while half:
        (ar, br), (ai, bi) = (_halves(part, (*shape[:-1], -1, 2, half)) for part in (real, imaginary))
        cos, sin = _twiddles(half, real.dtype)
        dr, di = ar - br, ai - bi
        real = stack([ar + br, dr * cos + di * sin], axis=-2)
        imaginary = stack([ai + bi, di * cos - dr * sin], axis=-2)
        half //= 2
    return reshape(real, shape), reshape(imaginary, shape)


def backwards(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """N times the inverse of `forwards`, from bit-reversed to natural order.

    >>> x = cr.asarray([1.0, 2.0, 3.0, 4.0])
    >>> back, _ = cr.signal.backwards(*cr.signal.forwards(x, cr.zeros_like(x)))
    >>> back / 4
    Tensor([1., 2., 3., 4.], dtype=float32)
    """
    shape, half = real.shape, 1
    while half < shape[-1]:
        (ar, br), (ai, bi) = (_halves(part, (*shape[:-1], -1, 2, half)) for part in (real, imaginary))
        cos, sin = _twiddles(half, real.dtype)
        br, bi = br * cos - bi * sin, br * sin + bi * cos
        real, imaginary = stack([ar + br, ar - br], axis=-2), stack([ai + bi, ai - bi], axis=-2)
        half *= 2
    return reshape(real, shape), reshape(imaginary, shape)


def _halves(x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    parts = reshape(x, shape)
    axis = parts.ndim - 2
    return tuple(reshape(slice_axis(parts, axis, i, i + 1), (*parts.shape[:axis], parts.shape[-1])) for i in (0, 1))

guard(globals(), ("convolve", "correlate"))

__all__ = ["convolve", "correlate", "log_mel", "mel_filters", "mfcc", "power_spectrogram"]
