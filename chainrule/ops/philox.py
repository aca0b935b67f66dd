# SPDX-License-Identifier: Apache-2.0
"""Philox 4x32-10 in NumPy, the meaning of random bits (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3")."""

from __future__ import annotations

import numpy as np

ROUNDS = 10
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = 0x9E3779B9, 0xBB67AE85


def philox4x32(counter: tuple[np.ndarray, ...], key: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Four uint32 arrays of random words from four of counter words and a key of two words."""
    c0, c1, c2, c3 = (np.asarray(c, np.uint32) for c in counter)
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(ROUNDS):
        p0, p1 = c0.astype(np.uint64) * M0, c2.astype(np.uint64) * M1
        high0, low0 = (p0 >> np.uint64(32)).astype(np.uint32), p0.astype(np.uint32)
        high1, low1 = (p1 >> np.uint64(32)).astype(np.uint32), p1.astype(np.uint32)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint32(k0), low1, high0 ^ c3 ^ np.uint32(k1), low0
        k0, k1 = (k0 + W0) & 0xFFFFFFFF, (k1 + W1) & 0xFFFFFFFF
    return c0, c1, c2, c3


def random_bits(state: np.ndarray, count: int) -> np.ndarray:
    """uint32[count]: element i is word i % 4 of the block with counter (i // 4, stream words of the state)."""
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    low, high = blocks.astype(np.uint32), (blocks >> np.uint64(32)).astype(np.uint32)
    streams = (np.full_like(low, state[2]), np.full_like(low, state[3]))
    words = philox4x32((low, high, *streams), (int(state[0]), int(state[1])))
    return np.stack(words, axis=-1).reshape(-1)[:count]
