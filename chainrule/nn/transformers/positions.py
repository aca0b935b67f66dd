# SPDX-License-Identifier: Apache-2.0
"""Where in the sequence a query and a key stand, told to attention itself: turned pairs of features (rotary), or scores
that fall with the distance (ALiBi).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain, shown
from ...ir import Tensor
from ...ops.compose import concat
from ...ops.elementwise import abs, astype
from ...ops.index import iota, take
from ...ops.movement import slice_axis
from ...typing import DTypeLike


def rotary_table(steps: int, width: int, base: float = 10000.0, scaling: dict[str, Any] | None = None) -> np.ndarray:
    """Angles t / base^(2 i / width) for t < steps, i < width / 2, in float64, stretched by `scaling` (see `rotate`)."""
    if width % 2:
        raise ArgumentError(explain("rotary positions turn pairs of features", got=f"heads of width {width}",
                                    expected="an even width of each head"))
    return np.arange(steps)[:, None] / _stretched(base ** (np.arange(0, width, 2) / width), scaling or {})


def _stretched(steps: np.ndarray, scaling: dict[str, Any]) -> np.ndarray:
    """Steps for an angle of 1, those of the pairs that turn slowly times a factor."""
    kind = scaling.get("rope_type", "default")
    if kind not in ("default", "linear", "llama3"):
        raise ArgumentError(explain("there is no such scaling of rotary positions", got=shown(kind),
                                    expected="linear | llama3"))
    if kind == "default":
        return steps
    if kind == "linear":
        return steps * scaling["factor"]
    turns = scaling["original_max_position_embeddings"] / (2 * np.pi * steps)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    share = np.clip((turns - low) / (high - low), 0, 1)
    return steps / ((1 - share) / scaling["factor"] + share)


def rotate(x: Tensor, start: Any = 0, base: float = 10000.0, most: int | None = None,
           scaling: dict[str, Any] | None = None) -> Tensor:
    """x (N, T, H, d) with features i and i + d / 2 of step t turned by (start + t) / base^(2 i / d) (Su et al., 2021).

    The pairs are those of Llama: one half of the features with the other. The product of a turned query and a turned
    key depends on the difference of their positions alone.

    Args:
        start: position of the first step; a tensor if it changes while a compiled function runs, and then
        most: one more than the largest position.
        scaling: for texts longer than those of training: {"rope_type": "linear", "factor": 2.0}, or "llama3" with
            factor, low_freq_factor, high_freq_factor and original_max_position_embeddings, which slows down the pairs
            that turn fewer than low times in the original length, leaves those above high alone, and mixes in between.

    >>> from chainrule.nn import rotate
    >>> x = cr.ones((1, 3, 2, 8))
    >>> rotate(x).numpy()[0, 0, 0]
    array([1., 1., 1., 1., 1., 1., 1., 1.], dtype=float32)
    """
    steps, width = x.shape[1], x.shape[3]
    if isinstance(start, Tensor):
        angles: Any = rotary_table(most or steps, width, base, scaling)
        cos, sin = (take(table.astype(x.dtype), start + iota((steps,), 0), axis=0)
                    for table in (np.cos(angles), np.sin(angles)))
        cos, sin = cos[None, :, None, :], sin[None, :, None, :]
    else:
        angles = rotary_table(start + steps, width, base, scaling)[None, start:, None, :]
        cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    a, b = slice_axis(x, 3, 0, width // 2), slice_axis(x, 3, width // 2, width)
    return concat([a * cos - b * sin, b * cos + a * sin], axis=3)


def alibi_slopes(heads: int) -> np.ndarray:
    """2^(-8 i / heads), i = 1 .. heads; for other numbers than powers of two, filled up from twice as many heads."""
    power = 2 ** math.floor(math.log2(heads))
    slopes = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
    more = 2.0 ** (-8.0 * np.arange(1, 2 * power + 1, 2) / (2 * power))
    return np.concatenate([slopes, more[:heads - power]])


def alibi_bias(heads: int, steps: int, sources: int, start: Any, dtype: DTypeLike) -> Tensor:
    """-slope of the head * |position of the query - position of the key|, (1, H, T, S) (Press et al., 2022).

    The queries stand at start, start + 1, ...; the keys at 0, 1, ...

    >>> from chainrule.nn import alibi_bias
    >>> alibi_bias(heads=2, steps=3, sources=3, start=0, dtype="float32").shape
    (1, 2, 3, 3)
    """
    shape = (1, heads, steps, sources)
    distance = astype(abs(start + iota(shape, 2) - iota(shape, 3)), dtype)
    return -distance * alibi_slopes(heads).astype(dtype)[None, :, None, None]
