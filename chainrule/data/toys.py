# SPDX-License-Identifier: Apache-2.0
"""Small data sets that are made, not read: each shows one thing that a network must be able to do."""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, explain

Pair = tuple[np.ndarray, np.ndarray]


def xor() -> Pair:
    """The four points of exclusive or: x (4, 2) float32, y (4,) 0 or 1; no line separates them.

    >>> x, y = cr.data.xor()
    >>> y
    array([0, 1, 1, 0])
    """
    return np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])


def two_spirals(n: int = 400, turns: float = 1.75, noise: float = 0.02, seed: int = 0) -> Pair:
    """Two spirals wound around each other (Lang and Witbrock, 1988): x (n, 2) float32 in [-1.1, 1.1], y (n,) 0 or 1.

    Args:
        turns: of each spiral; more are harder.
        noise: standard deviation added to both coordinates.

    >>> x, y = cr.data.two_spirals(100)
    >>> x.shape, y[:3]
    ((100, 2), array([0, 1, 0]))
    """
    if n < 2 or turns <= 0:
        raise ArgumentError(explain("a spiral needs points and turns", got=f"n={n}, turns={turns}",
                                    expected="n >= 2, turns > 0"))
    rng, labels = np.random.default_rng(seed), np.arange(n) % 2
    along = np.sqrt(rng.uniform(0.03, 1.0, n))
    angle = 2 * np.pi * turns * along + np.pi * labels
    points = np.stack([along * np.cos(angle), along * np.sin(angle)], axis=1) + noise * rng.normal(size=(n, 2))
    return points.astype(np.float32), labels
