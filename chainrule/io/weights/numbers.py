# SPDX-License-Identifier: Apache-2.0
"""Numbers that NumPy does not have, as float32, which holds each of them exactly: bfloat16 and the two floats of 8
bits."""

from __future__ import annotations

import functools

import numpy as np

from .contents import Entry


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """uint16 -> float32: its upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def from_float8_e5m2(bits: np.ndarray) -> np.ndarray:
    """uint8 -> float32: the upper half of a float16."""
    return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def from_float8_e4m3(bits: np.ndarray) -> np.ndarray:
    """uint8 -> float32: a sign, 4 bits of exponent (bias 7), 3 of significand, no infinities (Micikevicius et al.,
    2022)."""
    return _e4m3_table()[bits]


@functools.cache
def _e4m3_table() -> np.ndarray:
    bits = np.arange(128)
    exponent, fraction = bits >> 3, (bits & 7) / 8
    values = np.where(exponent == 0, np.ldexp(fraction, -6), np.ldexp(1 + fraction, exponent - 7))
    values[127] = np.nan
    return np.concatenate([values, -values]).astype(np.float32)


WIDENED = {"bfloat16": ("<u2", from_bfloat16), "float8_e5m2": ("u1", from_float8_e5m2),
           "float8_e4m3fn": ("u1", from_float8_e4m3)}


def widened(name: str, entry: Entry) -> Entry:
    """An array of the bits of such numbers as these numbers."""
    return entry.then(WIDENED[name][1], np.float32)
