# SPDX-License-Identifier: Apache-2.0
"""Matrices with given singular values, and smooth functions of what `svd` gives: material of the tests of its
derivatives."""

from __future__ import annotations

import numpy as np

import chainrule as cr
from chainrule import linalg

C = np.random.default_rng(3).normal(size=(6, 6))


def orthogonal(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def with_singular_values(m: int, n: int, values, rng: np.random.Generator) -> np.ndarray:
    middle = np.zeros((m, n))
    np.fill_diagonal(middle, values)
    return orthogonal(m, rng) @ middle @ orthogonal(n, rng)


def loss(y):
    """A smooth function of a matrix that is not symmetric in anything."""
    m, n = y.shape
    return cr.sum(cr.sin(y * C[:m, :n] + 0.3) @ C[:n, :n] * C[:m, :n]) + cr.sum(y * y * y)


def rebuilt(x):
    u, s, vh = linalg.svd(x, full_matrices=False)
    return loss((u * s) @ vh)


def rebuilt_otherwise(x):
    u, s, vh = linalg.svd(x)
    k = min(x.shape)
    return loss(u[:, :k] @ (s[:, None] * vh[:k]))
