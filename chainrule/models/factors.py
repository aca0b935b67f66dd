# SPDX-License-Identifier: Apache-2.0
"""Latent factors of users and items as a network, so that they are saved, loaded and trained as others are."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..ops.reduce import sum as total


class FactorModel(nn.Module):
    """b_user + c_item + p_user . q_item, less the mean, of ids (N,) and (N,) -> (N, 1); the id 0 is an average user or
    item.

    >>> ids = np.array([0, 1])
    >>> cr.models.FactorModel(users=3, items=4, factors=2)(ids, ids).shape
    (2, 1)
    """

    input_dtype = "int64"

    def __init__(self, users: int, items: int, factors: int):
        self.user_bias, self.item_bias = nn.Embedding(users, 1, "zeros"), nn.Embedding(items, 1, "zeros")
        self.user_factors, self.item_factors = nn.Embedding(users, factors), nn.Embedding(items, factors)

    def forward(self, users: Any, items: Any) -> Any:
        products = self.user_factors(users) * self.item_factors(items)
        return self.user_bias(users) + self.item_bias(items) + total(products, axis=1, keepdims=True)

    @classmethod
    def of(cls, user_bias: np.ndarray, item_bias: np.ndarray, user_factors: np.ndarray,
           item_factors: np.ndarray) -> FactorModel:
        """With these numbers, (users,), (items,), (users, factors) and (items, factors), for the ids from 1 on."""
        made = cls(len(user_bias) + 1, len(item_bias) + 1, user_factors.shape[1])
        made(np.zeros(1, np.int64), np.zeros(1, np.int64))
        for layer, rows in ((made.user_bias, user_bias[:, None]), (made.item_bias, item_bias[:, None]),
                            (made.user_factors, user_factors), (made.item_factors, item_factors)):
            layer.weight.assign(np.concatenate([np.zeros((1, rows.shape[1])), rows]).astype(np.float32))
        return made

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The numbers of `of`, in float64, those of the id 0 first."""
        layers = (self.user_bias, self.item_bias, self.user_factors, self.item_factors)
        found = [layer.weight.numpy().astype(np.float64) for layer in layers]
        return found[0][:, 0], found[1][:, 0], found[2], found[3]
