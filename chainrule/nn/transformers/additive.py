# SPDX-License-Identifier: Apache-2.0
"""Attention of the time before the transformer: a small network scores each pair of a query and a key."""

from __future__ import annotations

from typing import Any

from ...errors import ShapeError, explain
from ...ir.dtype import canonical
from ...ops.compose import matmul, softmax
from ...ops.elementwise import tanh, where, zeros_like
from ...ops.movement import reshape
from ...ops.reduce import sum
from ...typing import DTypeLike
from .. import initializers
from ..core.checks import positive
from ..core.module import Module
from ..layers.linear import Dense
from ..masks import keep


class AdditiveAttention(Module):
    """softmax(v . tanh(W q + U k)) over the sources, times the values (Bahdanau, Cho and Bengio, 2015).

    Called with queries (batch, T, width) and sources (batch, S, width'): gives (batch, T, width'). The mask (batch, S)
    is True where to attend. With `return_weights` the result is (output, weights (batch, T, S)).

    Args:
        units: width of the inner layer.

    >>> query, memory = cr.ones((2, 5, 8)), cr.ones((2, 7, 8))
    >>> nn.AdditiveAttention(16)(query, memory).shape
    (2, 5, 8)
    """

    def __init__(self, units: int, return_weights: bool = False, dtype: DTypeLike = "float32"):
        self.units, self.return_weights, self.dtype = positive("units", units), return_weights, canonical(dtype)
        self.of_query, self.of_key = Dense(units, bias=False, dtype=dtype), Dense(units, dtype=dtype)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, query: Any, source: Any) -> None:
        self.weight = initializers.make("glorot_uniform", (self.units, 1), self.dtype, "weight")

    def forward(self, query: Any, source: Any, mask: Any = None) -> Any:
        if query.ndim != 3 or source.ndim != 3 or query.shape[0] != source.shape[0]:
            raise ShapeError(explain("attention needs two batches of sequences",
                                     got=f"{query.shape} and {source.shape}",
                                     expected="(batch, T, width) and (batch, S, width')"))
        q, k = self.of_query(query), self.of_key(source)
        pairs = reshape(q, (*q.shape[:2], 1, q.shape[2])) + reshape(k, (k.shape[0], 1, *k.shape[1:]))
        scores = sum(tanh(pairs) * reshape(self.weight.value, (self.units,)), axis=-1)
        if mask is None:
            weights = softmax(scores)
        else:
            there = reshape(keep(mask), (source.shape[0], 1, source.shape[1])) & (scores == scores)
            weights = softmax(where(there, scores, -1e30))
            weights = where(there, weights, zeros_like(weights))
        y = matmul(weights, source)
        return (y, weights) if self.return_weights else y
