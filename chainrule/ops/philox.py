# SPDX-License-Identifier: Apache-2.0
"""Random bits from a counter: the Philox 4x32 generator with ten rounds, in NumPy.

In: a counter of four 32-bit words and a key of two. Out: four random words. There is no hidden state, so element i of a
stream is known without its predecessors, in any order and on any number of threads; every backend yields these bits.
Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import numpy as np

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)        # the golden ratio and √3 - 1, as the paper proposes
WORD = 0xFFFFFFFF

Words = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def philox4x32(counter, key) -> Words:
    """Four uint32 arrays from the four words of `counter` (uint32 arrays that broadcast) and the two words of `key`."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = (int(word) for word in key)
    for _ in range(ROUNDS):
        left, right = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        c0, c2 = (right >> np.uint64(32)) ^ c1 ^ np.uint64(k0), (left >> np.uint64(32)) ^ c3 ^ np.uint64(k1)
        c1, c3 = right & np.uint64(WORD), left & np.uint64(WORD)
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    w0, w1, w2, w3 = (word.astype(np.uint32) for word in np.broadcast_arrays(c0, c1, c2, c3))
    return w0, w1, w2, w3


def random_bits(state: np.ndarray, count: int) -> np.ndarray:
    """The first `count` words, uint32[count], of the stream that `state` names.

    `state` is uint32[4]: key0, key1, stream0, stream1. Element i is word i % 4 of the block whose counter is
    (low word of i // 4, high word of i // 4, stream0, stream1).
    """
    key0, key1, stream0, stream1 = (int(word) for word in state)
    block = np.arange(-(-count // 4), dtype=np.uint64)
    words = philox4x32((block & np.uint64(WORD), block >> np.uint64(32), stream0, stream1), (key0, key1))
    return np.stack(words, axis=-1).reshape(-1)[:count]
