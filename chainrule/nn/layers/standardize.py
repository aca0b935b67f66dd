# SPDX-License-Identifier: Apache-2.0
"""The z-score as a layer: features with mean 0 and standard deviation 1, learnt from the data before training, saved
with the model, so that raw numbers may come in."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError, explain
from ...ir.dtype import canonical
from ...typing import ArrayLike, DTypeLike
from .. import initializers
from ..core.checks import describe, need_features, need_float, origin
from ..core.module import Module


class Standardize(Module):
    """z = (x - mean) / std of each feature, the last axis; call `adapt` with the training data first.

    A feature that does not vary becomes 0: its std counts as 1.

    >>> layer = nn.Standardize()
    >>> layer.adapt(np.array([[1.0], [3.0]], "float32"))
    Standardize()
    >>> layer(cr.asarray([[5.0]])).numpy()
    array([[3.]], dtype=float32)
    """

    statistics = ("mean", "std")

    def __init__(self, dtype: DTypeLike = "float32"):
        self.dtype = canonical(dtype)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        if x.ndim < 2:
            raise ShapeError(explain("standardisation needs a batch of features", got=describe(x.shape) + origin(x),
                                     expected="(batch, ..., features)"))
        self.mean = initializers.make("zeros", (x.shape[-1],), self.dtype, "mean", trainable=False)
        self.std = initializers.make("ones", (x.shape[-1],), self.dtype, "std", trainable=False)

    def adapt(self, x: ArrayLike) -> Standardize:
        """Learn mean and standard deviation (n, in two passes of float64) from x (n, ..., features); returns self."""
        x = np.asarray(x)
        if x.ndim < 2 or not x.size:
            raise ArgumentError(explain("there is nothing to adapt to", got=f"shape {x.shape}",
                                        expected="(n, ..., features), n > 0"))
        self(x[:1].astype(self.dtype))
        rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
        deviation = rows.std(axis=0)
        self.mean.assign(rows.mean(axis=0).astype(self.dtype))
        self.std.assign(np.where(deviation > 0, deviation, 1.0).astype(self.dtype))
        return self

    def forward(self, x: Any) -> Any:
        need_float(x, self.dtype)
        need_features(x, self.mean.shape[0], tuple(f"axis {i}" for i in range(x.ndim)),
                      "make a new layer for what comes in")
        return (x - self.mean) / self.std
