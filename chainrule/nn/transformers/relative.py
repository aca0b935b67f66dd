# SPDX-License-Identifier: Apache-2.0
"""Learned relative positions: what attention adds to its scores depends on how far a key stands from a query.

A module here is called with queries (N, T, H, d), keys (N, S, H, d) and the position of the first query, and gives what
is added, (1 or N, H, T, S). `nn.MultiHeadAttention(heads, positions=nn.RelativeBias())` uses it; one module given to
several layers is shared by them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain
from ...ir import Tensor
from ...ir.dtype import canonical
from ...ops.contract import contract
from ...ops.index import iota, take
from ...ops.movement import permute_dims, reshape
from ...typing import DTypeLike
from .. import initializers
from ..core.checks import positive
from ..core.module import Module


def relative_buckets(distance: np.ndarray, buckets: int, most: int, causal: bool) -> np.ndarray:
    """The bucket of each distance (key - query), as in T5: near ones have their own, far ones share on a log scale."""
    first = np.zeros_like(distance)
    if causal:
        distance = np.maximum(-distance, 0)
    else:
        buckets //= 2
        first, distance = buckets * (distance > 0), np.abs(distance)
    exact = buckets // 2
    far = np.log(np.maximum(distance, 1) / exact) / math.log(most / exact) * (buckets - exact)
    return first + np.where(distance < exact, distance, np.minimum(exact + far.astype(distance.dtype), buckets - 1))


def _places(table: np.ndarray, reach: int, steps: int, sources: int, start: Any) -> Tensor:
    """table[key - query + reach] for each pair, (T, S)."""
    shape = (steps, sources)
    return take(table, iota(shape, 1) - iota(shape, 0) - start + reach, axis=0)


def _reach(steps: int, sources: int, start: Any) -> int:
    """No pair is farther apart than this."""
    return max(sources, steps + (start if isinstance(start, int) else sources))


class RelativeBias(Module):
    """A learned number per head and bucket of distances, added to the scores (Raffel et al., 2020: T5).

    Args:
        buckets: of distances; half of them for keys behind the query unless `causal`.
        most: the distance from which on all share the last bucket.
        causal: keys behind the query are not told apart, which suits masks that hide them.

    >>> layer = nn.MultiHeadAttention(heads=2, positions=nn.RelativeBias())
    >>> layer(cr.ones((2, 5, 8))).shape
    (2, 5, 8)
    """

    def __init__(self, buckets: int = 32, most: int = 128, causal: bool = False, dtype: DTypeLike = "float32"):
        self.buckets, self.most, self.causal = positive("buckets", buckets), positive("most", most), causal
        self.dtype = canonical(dtype)
        if buckets < 4 or buckets % 2 or most <= buckets // (2 if causal else 4):
            raise ArgumentError(explain("these buckets of distances do not fit",
                                        got=f"buckets={buckets}, most={most}",
                                        expected="an even number of at least 4, and a larger distance",
                                        fix="buckets=32, most=128"))

    def build(self, q: Any, k: Any, start: Any = 0) -> None:
        self.weight = initializers.make("uniform", (self.buckets, q.shape[2]), self.dtype, "weight")

    def forward(self, q: Any, k: Any, start: Any = 0) -> Any:
        steps, sources = q.shape[1], k.shape[1]
        reach = _reach(steps, sources, start)
        table = relative_buckets(np.arange(-reach, reach + 1), self.buckets, self.most, self.causal)
        bias = take(self.weight, reshape(_places(table, reach, steps, sources, start), (-1,)), axis=0)
        return reshape(permute_dims(bias, (1, 0)), (1, q.shape[2], steps, sources))


class RelativeKeys(Module):
    """q . a[key - query] / sqrt(d), a learned vector per distance, shared by the heads (Shaw et al., 2018).

    Args:
        distance: the farthest that is told apart, in both directions.

    >>> layer = nn.MultiHeadAttention(heads=2, positions=nn.RelativeKeys(4))
    >>> layer(cr.ones((2, 5, 8))).shape
    (2, 5, 8)
    """

    def __init__(self, distance: int = 16, dtype: DTypeLike = "float32"):
        self.distance, self.dtype = positive("distance", distance), canonical(dtype)

    def build(self, q: Any, k: Any, start: Any = 0) -> None:
        self.weight = initializers.make("uniform", (2 * self.distance + 1, q.shape[3]), self.dtype, "weight")

    def forward(self, q: Any, k: Any, start: Any = 0) -> Any:
        steps, width = q.shape[1], q.shape[3]
        sources, reach = k.shape[1], _reach(steps, k.shape[1], start)
        table = np.clip(np.arange(-reach, reach + 1), -self.distance, self.distance) + self.distance
        places = _places(table, reach, steps, sources, start)
        vectors = reshape(take(self.weight, reshape(places, (-1,)), axis=0), (steps, sources, width))
        scores = contract(q * (1 / math.sqrt(width)), vectors, contracting=((3,), (2,)), batch=((1,), (0,)))
        return permute_dims(scores, (1, 2, 0, 3))
