# SPDX-License-Identifier: Apache-2.0
"""Networks for tables: piecewise linear numbers (Gorishniy, Rubachev and Babenko, 2022), embedded categories, bags of
words, and
several perceptrons that share all weights but a scale of their inputs and their last layer (TabM-mini; Gorishniy et
al., 2025)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn
from ..arrays.einsum import einsum
from ..nn import initializers
from ..ops.compose import clip, concat, one_hot, relu
from ..ops.index import take
from ..ops.movement import reshape
from .ensemble import joined

CATEGORY_WIDTH = 12
WORDS_WIDTH = 32


class PiecewiseLinear(nn.Module):
    """Each number x as its place in the bins of its column, (N, columns) -> (N, bins of all columns).

    For a bin from a to b: clip((x - a) / (b - a), 0, 1); so bins below x are 1, those above 0.

    Args:
        edges: the rising edges of the bins of each column; a column of fewer than two has none.

    >>> np.asarray(cr.models.PiecewiseLinear([[0.0, 1.0, 3.0]])(np.array([[2.0]], "float32")))
    array([[1. , 0.5]], dtype=float32)
    """

    def __init__(self, edges: Sequence[Sequence[float]]):
        self.edges = [list(map(float, column)) for column in edges]
        pairs = [(place, low, high) for place, column in enumerate(self.edges)
                 for low, high in itertools.pairwise(column)]
        self.place = np.array([place for place, _, _ in pairs], np.int64)
        self.low = np.array([low for _, low, _ in pairs], np.float32)
        self.inverse = np.array([1 / (high - low) for _, low, high in pairs], np.float32)

    def forward(self, x: Any) -> Any:
        return clip((take(x, self.place, axis=1) - self.low) * self.inverse, 0.0, 1.0)


class Members(nn.Module):
    """x scaled by a vector of each member, (N, width) -> (N, members, width): what makes members differ."""

    def __init__(self, members: int):
        self.members = members

    def build(self, x: Any) -> None:
        self.weight = initializers.make(functools.partial(initializers.normal, std=1.0), (self.members, x.shape[-1]),
                                        "float32", "weight")

    def forward(self, x: Any) -> Any:
        return reshape(x, (x.shape[0], 1, x.shape[1])) * self.weight


class Heads(nn.Module):
    """A last layer for each member, (N, members, width) -> (N, members, units)."""

    def __init__(self, units: int):
        self.units = units

    def build(self, x: Any) -> None:
        _, members, width = x.shape
        limit = width ** -0.5
        start = functools.partial(initializers.uniform, low=-limit, high=limit)
        self.weight = initializers.make(start, (members, width, self.units), "float32", "weight")
        self.bias = initializers.make("zeros", (members, self.units), "float32", "bias")

    def forward(self, x: Any) -> Any:
        return einsum("nmw,mwu->nmu", x, self.weight) + self.bias


class TabularNetwork(nn.Module):
    """Rows as (numbers (N, f), categories (N, c), ids of words (N, w)) -> (N, outputs).

    Args:
        outputs: classes, or numbers.
        edges: of the bins of each number, as in `PiecewiseLinear`.
        categories: how many values each category has.
        words: size of the vocabulary of the free text, 0 without.
        members: perceptrons side by side, whose answers are averaged.
        width, depth: of the hidden layers; dropout: between them.
        kind: "classes" (logits) or "numbers".

    Its loss is one of `models.of_members`: in training each member answers for itself, (N, members, outputs).

    >>> network = cr.models.TabularNetwork(2, [[0.0, 1.0]], [3], members=2, width=8)
    >>> network(np.zeros((4, 1), "float32"), np.zeros((4, 1), "int64"), np.zeros((4, 1), "int64")).shape
    (4, 2)
    """

    def __init__(self, outputs: int, edges: Sequence[Sequence[float]], categories: Sequence[int], words: int = 0,
                 members: int = 8, width: int = 128, depth: int = 2, dropout: float = 0.1, kind: str = "classes"):
        self.kind, self.categories = kind, list(categories)
        self.pieces = PiecewiseLinear(edges) if any(len(column) > 1 for column in edges) else None
        self.offsets = np.cumsum([0, *categories])[:-1].astype(np.int64)
        self.embedding = nn.Embedding(sum(categories), CATEGORY_WIDTH) if categories else None
        self.bag = nn.EmbeddingBag(words, WORDS_WIDTH, mask_id=0) if words else None
        self.apart, self.heads = Members(members), Heads(outputs)
        self.layers = [nn.Dense(width, weight_initializer="he_normal") for _ in range(depth)]
        self.dropouts = [nn.Dropout(dropout) for _ in range(depth)]

    def forward(self, numbers: Any, categories: Any, words: Any, training: bool = False) -> Any:
        x = self.apart(self._encoded(numbers, categories, words))
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            x = dropout(relu(layer(x)))
        return joined(self.heads(x), self.kind, training)

    def _encoded(self, numbers: Any, categories: Any, words: Any) -> Any:
        found = [clip(numbers, -5.0, 5.0)]
        if self.pieces is not None:
            found.append(self.pieces(numbers))
        if self.embedding is not None:
            vectors = self.embedding(categories + self.offsets)
            found.append(reshape(vectors, (vectors.shape[0], len(self.categories) * CATEGORY_WIDTH)))
        if self.bag is not None:
            found.append(self.bag(words))
        return concat(found, axis=1)


class TabularLinear(nn.Module):
    """A linear model of the same rows: numbers as they are, categories one-hot; a baseline.

    >>> linear = cr.models.TabularLinear(2, [3])
    >>> linear(np.zeros((4, 1), "float32"), np.zeros((4, 1), "int64"), np.zeros((4, 1), "int64")).shape
    (4, 2)
    """

    def __init__(self, outputs: int, categories: Sequence[int]):
        self.categories, self.out = list(categories), nn.Dense(outputs, weight_initializer="zeros")

    def forward(self, numbers: Any, categories: Any, words: Any) -> Any:
        hot = [one_hot(categories[:, i], size) for i, size in enumerate(self.categories)]
        return self.out(concat([numbers, *hot], axis=1))
