# SPDX-License-Identifier: Apache-2.0
"""Vectors for tokens and for positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ArgumentError, BoundsError, DTypeError, ShapeError, explain, shown
from ...foundations.names import closest
from ...ir.dtype import canonical, is_integer
from ...ops import reduce as reductions
from ...ops.compose import not_equal
from ...ops.elementwise import astype, less, maximum, where, zeros_like
from ...ops.index import take
from ...ops.movement import reshape
from ...typing import ArrayLike, DTypeLike, InitializerLike
from .. import initializers
from ..core.checks import describe, need_float, origin, positive
from ..core.module import Module


class Embedding(Module):
    """y = weight[ids]: a vector of `width` numbers for each id in 0 .. vocabulary - 1; (...) -> (..., width).

    With `mask_id`, layers after it in a Sequential or Functional get the mask ids != mask_id. Raises BoundsError for an
    id outside the vocabulary, compiled or not; negative ids do not count from the end.

    >>> nn.Embedding(vocabulary=100, width=8)(np.array([[1, 2, 3]])).shape
    (1, 3, 8)
    """

    input_dtype = "int64"

    def __init__(self, vocabulary: int, width: int, weight_initializer: InitializerLike = "uniform",
                 dtype: DTypeLike = "float32", mask_id: int | None = None):
        self.mask_id = mask_id
        self.vocabulary, self.width = positive("vocabulary", vocabulary), positive("width", width)
        self.initial, self.dtype = weight_initializer, canonical(dtype)

    def build(self, ids: Any) -> None:
        self.weight = initializers.make(self.initial, (self.vocabulary, self.width), self.dtype, "weight")

    def forward(self, ids: Any) -> Any:
        if not is_integer(ids.dtype):
            raise DTypeError(explain("an embedding looks up integers", got=f"{ids.dtype}{list(ids.shape)}{origin(ids)}",
                                     expected="ids of an integer dtype",
                                     fix="cast them: ids.astype('int64')"))
        self._check_ids(ids.node.data)
        ids = where(less(ids, 0), self.vocabulary, ids) if ids.dtype.kind == "i" else ids
        return take(self.weight, ids, axis=0)

    def mask_of(self, ids: ArrayLike) -> Any:
        """True where a step exists; None without `mask_id`."""
        return None if self.mask_id is None else not_equal(ids, self.mask_id)

    def _check_ids(self, ids: np.ndarray | None) -> None:
        if ids is None or not ids.size or (ids.min() >= 0 and ids.max() < self.vocabulary):
            return
        place = tuple(int(i) for i in np.argwhere((ids < 0) | (ids >= self.vocabulary))[0])
        raise BoundsError(explain(f"id {ids[place]} is not in the vocabulary",
                                  got=f"id {ids[place]} at position {place}",
                                  expected=f"0 to {self.vocabulary - 1}, for a vocabulary of {self.vocabulary}",
                                  fix=f"Embedding({int(ids.max()) + 1}, {self.width}), or map rare tokens to one id"
                                  if ids[place] > 0 else
                                      "map missing tokens to an id of their own, not to a negative number"))


class EmbeddingBag(Embedding):
    """One vector for a bag of ids: (batch, count) -> (batch, width), the vectors' mean, sum or maximum.

    Args:
        vocabulary, width, weight_initializer: as in Embedding.
        reduce: "mean", "sum" or "max".
        mask_id: an id that fills up short bags and does not count; a bag of nothing else gives zeros.

    >>> nn.EmbeddingBag(vocabulary=100, width=8)(np.array([[1, 2, 3]])).shape
    (1, 8)
    """

    def __init__(self, vocabulary: int, width: int, reduce: str = "mean",
                 weight_initializer: InitializerLike = "uniform", dtype: DTypeLike = "float32",
                 mask_id: int | None = None):
        super().__init__(vocabulary, width, weight_initializer, dtype, mask_id)
        if reduce not in ("mean", "sum", "max"):
            raise ArgumentError(explain("a bag is reduced otherwise", got=shown(reduce), expected="mean | sum | max",
                                        fix=closest(reduce, ("mean", "sum", "max"))))
        self.reduce = reduce

    def forward(self, ids: Any) -> Any:
        if ids.ndim != 2:
            raise ShapeError(explain("bags of ids come as a batch", got=describe(ids.shape) + origin(ids),
                                     expected="(batch, count)"))
        vectors = super().forward(ids)
        there = reshape(not_equal(ids, -1 if self.mask_id is None else self.mask_id), (*ids.shape, 1))
        count = reductions.sum(astype(there, vectors.dtype), axis=1)
        if self.reduce == "max":
            largest = reductions.max(where(there, vectors, -math.inf), axis=1)
            return where(less(0, count), largest, zeros_like(largest))
        total = reductions.sum(where(there, vectors, 0.0), axis=1)
        return total if self.reduce == "sum" else total / maximum(count, 1.0)

    def mask_of(self, ids: ArrayLike) -> Any:
        """None: there are no steps any more."""
        return None


class PositionalEncoding(Module):
    """x + p, a vector for each position of (batch, steps, width).

    Args:
        kind: "sinusoidal": p[t, 2i] = sin(t / 10000^(2i / width)), p[t, 2i + 1] = cos(same) (Vaswani et al., 2017); or
            "learned": a weight (length, width).
        length: most steps that a learned encoding can take.

    >>> nn.PositionalEncoding()(cr.zeros((1, 2, 4))).numpy().round(2)
    array([[[0.  , 1.  , 0.  , 1.  ],
            [0.84, 0.54, 0.01, 1.  ]]], dtype=float32)
    """

    def __init__(self, kind: str = "sinusoidal", length: int = 512, dtype: DTypeLike = "float32"):
        kinds = ("sinusoidal", "learned")
        if kind not in kinds:
            raise ArgumentError(explain("there is no such encoding of positions", got=shown(kind),
                                        expected=" | ".join(kinds), fix=closest(kind, kinds)
                                        or "the width is that of what comes in: PositionalEncoding()"))
        self.kind, self.length, self.dtype = kind, positive("length", length), canonical(dtype)

    def build(self, x: Any) -> None:
        if self.kind == "learned":
            self.weight = initializers.make("uniform", (self.length, x.shape[-1]), self.dtype, "weight")

    def forward(self, x: Any) -> Any:
        if x.ndim != 3:
            raise ShapeError(explain("positions need sequences of vectors", got=describe(x.shape) + origin(x),
                                     expected="(batch, steps, width)"))
        need_float(x, self.dtype)
        if self.kind == "sinusoidal":
            return x + sinusoidal(x.shape[1], x.shape[2]).astype(x.dtype)
        if x.shape[1] > self.length:
            raise ShapeError(explain(f"the sequence has {x.shape[1]} steps, there are {self.length} positions",
                                     got=describe(x.shape, ("batch", "steps", "width")),
                                     expected=f"at most {self.length} steps",
                                     fix=f"PositionalEncoding('learned', length={x.shape[1]})"))
        return x + self.weight[:x.shape[1]]


def sinusoidal(steps: int, width: int) -> np.ndarray:
    """The sinusoidal encoding (steps, width) in float64."""
    i = np.arange(width)
    angle = np.arange(steps)[:, None] / 10000.0 ** ((i - i % 2) / width)
    return np.where(i % 2, np.cos(angle), np.sin(angle))
