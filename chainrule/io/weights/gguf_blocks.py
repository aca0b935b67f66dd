# SPDX-License-Identifier: Apache-2.0
"""The blocks in which GGUF files keep weights: small integers, and how large a step of them is. (blocks,) of a record
-> float32.

In blocks of 32 (Q8_0, Q4_0, Q4_1, Q5_0, Q5_1) w = d q or d q + m, with a half float for each. In blocks of 256 (Q4_K,
Q5_K, Q6_K) each group of 32 or 16 has a small integer for its step and its offset, and the block a half float for
these: w = d s q - m o. Where numbers have 4 bits, the first half of a group lies in the lower halves of its bytes.
Source: the layouts of ggml-common.h in ggml.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Block(NamedTuple):
    """How many numbers a block has, its bytes as a record, and the function that makes numbers of records."""

    name: str
    count: int
    layout: np.dtype
    unpack: Callable[[Array], Array]


def _record(*fields: tuple[str, str, int]) -> np.dtype:
    return np.dtype([(name, kind, (count,)) if count > 1 else (name, kind) for name, kind, count in fields])


def _float(values: Array) -> Array:
    """Half floats of blocks as a column of float32."""
    return values.astype(np.float32)[:, None]


def _halves(packed: Array) -> Array:
    """Bytes (..., n) -> their lower halves, then their upper ones, (..., 2 n)."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _bits(packed: Array) -> Array:
    """Bytes (blocks, 4) -> their 32 bits, the lowest first."""
    return np.unpackbits(packed, axis=-1, bitorder="little")


def _q8_0(blocks: Array) -> Array:
    return blocks["q"].astype(np.float32) * _float(blocks["d"])


def _q4_0(blocks: Array) -> Array:
    return _float(blocks["d"]) * (_halves(blocks["q"]).astype(np.int8) - 8).astype(np.float32)


def _q4_1(blocks: Array) -> Array:
    return _float(blocks["d"]) * _halves(blocks["q"]).astype(np.float32) + _float(blocks["m"])


def _five(blocks: Array) -> Array:
    return _halves(blocks["q"]) | _bits(blocks["high"]) << 4


def _q5_0(blocks: Array) -> Array:
    return _float(blocks["d"]) * (_five(blocks).astype(np.int8) - 16).astype(np.float32)


def _q5_1(blocks: Array) -> Array:
    return _float(blocks["d"]) * _five(blocks).astype(np.float32) + _float(blocks["m"])


def _steps(packed: Array) -> tuple[Array, Array]:
    """(blocks, 12) bytes -> the steps and the offsets of 8 groups, 6 bits each: of the last four the upper 2 bits are
    those of the first."""
    a, b, c = np.split(packed, 3, axis=-1)
    steps = np.concatenate([a & 63, c & 15 | a >> 2 & 48], axis=-1)
    offsets = np.concatenate([b & 63, c >> 4 | b >> 2 & 48], axis=-1)
    return steps.astype(np.float32), offsets.astype(np.float32)


def _groups(blocks: Array, q: Array) -> Array:
    """(blocks, 8, 32) integers -> numbers, by the steps and offsets of the groups."""
    steps, offsets = _steps(blocks["s"])
    return (_float(blocks["d"]) * steps)[..., None] * q.astype(np.float32) - (_float(blocks["m"]) * offsets)[..., None]


def _pairs_of_groups(packed: Array) -> Array:
    """(blocks, 128) bytes -> (blocks, 8, 32): 32 bytes hold two groups."""
    return _halves(packed.reshape(-1, 4, 32)).reshape(-1, 8, 32)


def _q4_k(blocks: Array) -> Array:
    return _groups(blocks, _pairs_of_groups(blocks["q"]))


def _q5_k(blocks: Array) -> Array:
    high = blocks["high"][:, None, :] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return _groups(blocks, _pairs_of_groups(blocks["q"]) | high << 4)


def _q6_k(blocks: Array) -> Array:
    """Two halves of 128 numbers: their lower 4 bits in 64 bytes, their upper 2 in 32, of which each serves four
    numbers."""
    low = _halves(blocks["low"].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    high = blocks["high"].reshape(-1, 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    q = ((low | high << 4).astype(np.int8) - 32).reshape(-1, 16, 16)
    return (_float(blocks["d"]) * blocks["s"].astype(np.float32))[..., None] * q.astype(np.float32)


D, M = ("d", "<f2", 1), ("m", "<f2", 1)
BLOCKS = {
    2: Block("Q4_0", 32, _record(D, ("q", "u1", 16)), _q4_0),
    3: Block("Q4_1", 32, _record(D, M, ("q", "u1", 16)), _q4_1),
    6: Block("Q5_0", 32, _record(D, ("high", "u1", 4), ("q", "u1", 16)), _q5_0),
    7: Block("Q5_1", 32, _record(D, M, ("high", "u1", 4), ("q", "u1", 16)), _q5_1),
    8: Block("Q8_0", 32, _record(D, ("q", "i1", 32)), _q8_0),
    12: Block("Q4_K", 256, _record(D, M, ("s", "u1", 12), ("q", "u1", 128)), _q4_k),
    13: Block("Q5_K", 256, _record(D, M, ("s", "u1", 12), ("high", "u1", 32), ("q", "u1", 128)), _q5_k),
    14: Block("Q6_K", 256, _record(("low", "u1", 128), ("high", "u1", 64), ("s", "i1", 16), D), _q6_k),
}
