# SPDX-License-Identifier: Apache-2.0
"""Optimal transport between the noise and the samples of a batch."""

from __future__ import annotations

import math
from typing import Any

from .. import arrays as cr
from .. import random
from ..ir import Tensor, no_grad

SHARPNESS, ROUNDS = 0.05, 30  # entropy as a share of the mean cost; of Sinkhorn's iteration


def plan(a: Any, b: Any, rounds: int = ROUNDS, sharpness: float = SHARPNESS) -> Tensor:
    """Logarithms of the entropic transport plan (N, M) between equal weights on the rows of a and b (Cuturi, 2013).

    P = diag(u) exp(-C / ε) diag(v) with C = |a_i - b_j|² and ε = sharpness · mean(C); its rows sum to 1/N, its columns
    to 1/M.
    """
    a, b = (cr.reshape(x, (x.shape[0], -1)) for x in (a, b))
    cost = cr.sum(a ** 2, axis=1, keepdims=True) + cr.sum(b ** 2, axis=1)[None] - 2 * a @ b.T
    scores = -cost / (sharpness * cr.mean(cost))
    for _ in range(rounds):
        scores = scores - cr.logsumexp(scores, axis=1, keepdims=True) - math.log(a.shape[0])
        scores = scores - cr.logsumexp(scores, axis=0, keepdims=True) - math.log(b.shape[0])
    return scores


def paired(noise: Tensor, x: Tensor) -> Tensor:
    """For each row of x a row of the noise, drawn by the transport plan between both: the joint law has both marginals.
    """
    with no_grad():
        rows = random.categorical(plan(x, noise), axis=1)
        return cr.take(noise, rows, axis=0)
