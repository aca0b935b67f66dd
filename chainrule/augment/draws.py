# SPDX-License-Identifier: Apache-2.0
"""Random numbers as a function of (seed, epoch, index of the sample, operation): no generator is carried along.

A sample's numbers do not depend on the batch it is in, on the samples before it, or on how many workers share the work;
a resumed run and a single sample that is looked at again get the same ones. The bits are those of Philox 4x32-10
(Salmon et al., 2011): the key is the seed, the counter is (block, operation and draw, index, epoch).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..ops.philox import WORD, philox4x32

DRAWS = 256  # at most so many draws within one operation


@dataclass
class Draws:
    """The numbers of one operation for samples `indices` (N,); row i of every result belongs to sample i alone.

    >>> draws = cr.augment.Draws(seed=0, epoch=0, indices=np.arange(3), operation=0)
    >>> draws.uniform(2).shape
    (3, 2)
    """

    seed: int
    epoch: int
    indices: np.ndarray
    operation: int
    used: int = field(default=0)

    def take(self, chosen: np.ndarray) -> Draws:
        """The same numbers for some of the samples."""
        return Draws(self.seed, self.epoch, self.indices[chosen], self.operation, self.used)

    def bits(self, count: int) -> np.ndarray:
        """uint32 (N, count)."""
        block = np.arange(-(-count // 4), dtype=np.uint64)
        draw = np.uint64(self.operation * DRAWS + self.used)
        index = np.asarray(self.indices, np.uint64)[:, np.newaxis]
        self.used += 1
        key = (self.seed & WORD, (self.seed >> 32) & WORD)
        words = philox4x32((block, draw, index & np.uint64(WORD), np.uint64(self.epoch & WORD)), key)
        return np.stack(words, axis=-1).reshape(len(self.indices), -1)[:, :count]

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """float64 (N, count), equally likely in [low, high): multiples of 2^-32 of the range."""
        return low + (high - low) * (self.bits(count) * 2.0**-32)

    def one(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """float64 (N,): one number for each sample."""
        return self.uniform(1, low, high)[:, 0]

    def integers(self, low: int, high: int) -> np.ndarray:
        """int64 (N,), equally likely in low, ..., high."""
        return low + (self.one() * (high - low + 1)).astype(np.int64)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """float32 (N, *shape), standard normal (Box and Muller, 1958)."""
        count = math.prod(shape)
        half = -(-count // 2)
        bits = self.bits(2 * half).astype(np.float32)
        radius = np.sqrt(-2 * np.log((bits[:, :half] + 0.5) * np.float32(2.0**-32)))
        angle = bits[:, half:] * np.float32(2 * math.pi * 2.0**-32)
        pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return pairs[:, :count].reshape(len(self.indices), *shape)

    def beta(self, alpha: float, attempts: int = 64) -> np.ndarray:
        """float64 (N,), from the symmetric Beta(alpha, alpha), by rejection (Jöhnk, 1964): u^(1/alpha) / (sum of two)
        where the sum is at most 1; in the rare case that no attempt is taken, 1/2."""
        u = (self.bits(2 * attempts) + 0.5).reshape(-1, 2, attempts) * 2.0**-32
        log_u = np.log(u) / alpha
        top = log_u.max(axis=1)
        log_sum = top + np.log(np.exp(log_u - top[:, np.newaxis]).sum(axis=1))
        taken = log_sum <= 0
        first = taken.argmax(axis=1)
        rows = np.arange(len(u))
        return np.where(taken.any(axis=1), np.exp(log_u[rows, 0, first] - log_sum[rows, first]), 0.5)
