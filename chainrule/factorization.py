# SPDX-License-Identifier: Apache-2.0
"""Latent factors: a table of numbers as the product of two thin ones, whole or with most of its entries missing.

`truncated_svd` gives the best product of rank k of a whole matrix (Eckart and Young, 1936). `LatentFactors` learns
users and items from the ratings that are known, r = mean + b_user + c_item + p_user . q_item, by alternating least
squares (Zhou et al., 2008) or by stochastic gradient descent (Koren, Bell and Volinsky, 2009), and recommends from the
others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError, ShapeError, explain
from .typing import ArrayLike

METHODS = ("als", "sgd")
ROWS = 65_536  # ratings whose products are held at once


def truncated_svd(x: ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k largest singular values of a matrix (m, n) with their vectors: u (m, k), s (k,) descending, vh (k, n).

    (u * s) @ vh is the matrix of rank k that is nearest to x. Raises ArgumentError for k outside 1 .. min(m, n).

    >>> u, s, v = cr.factorization.truncated_svd(np.diag([5.0, 3.0, 1.0]), k=2)
    >>> s.round(6)
    array([5., 3.])
    """
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not 1 <= k <= min(x.shape):
        raise ArgumentError(explain("this matrix has no such decomposition", got=f"shape {x.shape}, k = {k}",
                                    expected="a matrix (m, n) and 1 <= k <= min(m, n)"))
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return u[:, :k], s[:k], vh[:k]


class LatentFactors:
    """Ratings explained by k hidden properties of users and items.

    Args:
        k: factors of each user and item.
        method: "als" (each side in turn is the exact ridge solution given the other) or "sgd".
        regularization: lambda of the penalty: for "als" times the number of ratings of the user or item, for "sgd" per
            rating.
        epochs: sweeps over all ratings.
        learning_rate, batch_size: of "sgd".
        seed: of the starting factors and the order of the ratings.

    After `fit`: `mean`, `user_bias` (users,), `item_bias` (items,), `user_factors` (users, k), `item_factors` (items,
    k), `users` and `items` (the ids in their order), `history` (root mean squared error on the ratings after each
    epoch).

    >>> users, items, ratings = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([5.0, 1.0, 1.0, 5.0])
    >>> model = cr.LatentFactors(k=1, regularization=0.01).fit(users, items, ratings)
    >>> np.asarray(model.predict(users, items)).round()
    array([5., 1., 1., 5.])
    """

    def __init__(self, k: int = 10, method: str = "als", regularization: float | None = None, epochs: int = 15,
                 learning_rate: float = 0.02, batch_size: int = 256, seed: int = 0):
        if method not in METHODS:
            raise ArgumentError(explain("there is no such method", got=repr(method), expected=" | ".join(METHODS)))
        if k < 1 or epochs < 1:
            raise ArgumentError(explain("factors and epochs are counted from 1", got=f"k={k}, epochs={epochs}"))
        self.k, self.method, self.epochs, self.seed = int(k), method, int(epochs), seed
        self.regularization = regularization if regularization is not None else 0.08 if method == "als" else 0.05
        self.learning_rate, self.batch_size = learning_rate, batch_size

    def fit(self, users: ArrayLike, items: ArrayLike, ratings: ArrayLike) -> LatentFactors:
        """Learn from n ratings: ids of users and items (n,), of any kind, and the numbers (n,); returns self."""
        users, items, values = np.asarray(users), np.asarray(items), np.asarray(ratings, np.float64)
        if not users.shape == items.shape == values.shape or users.ndim != 1 or not len(users):
            raise ShapeError(explain("ratings come as three equally long columns",
                                     got=f"{users.shape}, {items.shape}, {values.shape}",
                                     expected="(n,) each, n > 0"))
        self.users, rows = np.unique(users, return_inverse=True)
        self.items, columns = np.unique(items, return_inverse=True)
        rng = np.random.default_rng(self.seed)
        self.mean = float(values.mean())
        self.user_bias, self.item_bias = np.zeros(len(self.users)), np.zeros(len(self.items))
        self.user_factors = rng.normal(0, 0.1, (len(self.users), self.k))
        self.item_factors = rng.normal(0, 0.1, (len(self.items), self.k))
        self._seen = dict(zip(*_groups(rows, columns), strict=True))
        self.history: list[float] = []
        alternate = self.method == "als"
        sweep = self._alternate(rows, columns, values) if alternate else self._descend(rows, columns, values, rng)
        for _ in range(self.epochs):
            sweep()
            self.history.append(float(np.sqrt(np.mean((values - self._ratings(rows, columns)) ** 2))))
        return self

    def predict(self, users: ArrayLike, items: ArrayLike) -> np.ndarray:
        """The expected rating of each pair (n,); an unknown user or item counts as an average one."""
        self._fitted()
        (rows, known_users), (columns, known_items) = _places(self.users, users), _places(self.items, items)
        found = self.mean + known_users * self.user_bias[rows] + known_items * self.item_bias[columns]
        return found + (known_users & known_items) * np.einsum("nk,nk->n", self.user_factors[rows],
                                                               self.item_factors[columns])

    def recommend(self, user: Any, count: int = 10, exclude_seen: bool = True) -> list[tuple[Any, float]]:
        """The `count` items with the highest expected rating for a user, best first, as (item, rating).

        Args:
            exclude_seen: whether what the user has rated already is left out.
        """
        self._fitted()
        (row,), (known,) = _places(self.users, [user])
        scores = self.mean + self.item_bias
        if known:
            scores = scores + self.user_bias[row] + self.item_factors @ self.user_factors[row]
        if known and exclude_seen:
            scores[self._seen[int(row)]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:count]
        return [(self.items[i].item(), float(scores[i])) for i in best if np.isfinite(scores[i])]

    def _fitted(self) -> None:
        if not hasattr(self, "mean"):
            raise ArgumentError(explain("the factors are not known yet", got="LatentFactors that was not fitted",
                                        fix="call fit(users, items, ratings) first"))

    def _ratings(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        products = np.einsum("nk,nk->n", self.user_factors[rows], self.item_factors[columns])
        return self.mean + self.user_bias[rows] + self.item_bias[columns] + products

    # ---- alternating least squares

    def _alternate(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> Callable[[], None]:
        by_user, by_item = np.argsort(rows, kind="stable"), np.argsort(columns, kind="stable")

        def sweep() -> None:
            rest = values - self.mean
            for own, other, order, mine, theirs in ((rows, columns, by_user, "user", "item"),
                                                    (columns, rows, by_item, "item", "user")):
                factors, bias = getattr(self, f"{theirs}_factors"), getattr(self, f"{theirs}_bias")
                found = _ridge(own[order], other[order], (rest - bias[other])[order], factors, self.regularization,
                               len(getattr(self, f"{mine}_bias")))
                setattr(self, f"{mine}_factors", found[:, :-1])
                setattr(self, f"{mine}_bias", found[:, -1])
        return sweep

    # ---- stochastic gradient descent

    def _descend(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray,
                 rng: np.random.Generator) -> Callable[[], None]:
        def sweep() -> None:
            order = rng.permutation(len(values))
            for start in range(0, len(order), self.batch_size):
                part = order[start:start + self.batch_size]
                self._step(rows[part], columns[part], values[part])
        return sweep

    def _step(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        """p_u += rate (e q_i - lambda p_u) and its like, for a batch of ratings with errors e."""
        rate, shrink = self.learning_rate, self.regularization
        errors = values - self._ratings(rows, columns)
        p, q = self.user_factors[rows], self.item_factors[columns]
        np.add.at(self.user_factors, rows, rate * (errors[:, None] * q - shrink * p))
        np.add.at(self.item_factors, columns, rate * (errors[:, None] * p - shrink * q))
        np.add.at(self.user_bias, rows, rate * (errors - shrink * self.user_bias[rows]))
        np.add.at(self.item_bias, columns, rate * (errors - shrink * self.item_bias[columns]))

    def __repr__(self) -> str:
        return f"LatentFactors(k={self.k}, method={self.method!r})"


def _ridge(own: np.ndarray, other: np.ndarray, targets: np.ndarray, factors: np.ndarray, shrink: float,
           count: int) -> np.ndarray:
    """For each of `count` rows: argmin sum (target - [factors, 1] . w)^2 + shrink n |w|^2; `own` is sorted."""
    width = factors.shape[1] + 1
    matrices, vectors = np.zeros((count, width, width)), np.zeros((count, width))
    for start in range(0, len(own), ROWS):
        part = slice(start, start + ROWS)
        x = np.concatenate([factors[other[part]], np.ones((len(own[part]), 1))], axis=1)
        first = np.flatnonzero(np.diff(own[part], prepend=-1))
        matrices[own[part][first]] += np.add.reduceat(x[:, :, None] * x[:, None, :], first)
        vectors[own[part][first]] += np.add.reduceat(x * targets[part, None], first)
    numbers = np.bincount(own, minlength=count)
    matrices += (shrink * np.maximum(numbers, 1))[:, None, None] * np.eye(width)
    return np.linalg.solve(matrices, vectors[:, :, None])[:, :, 0]


def _groups(rows: np.ndarray, columns: np.ndarray) -> tuple[list[int], list[np.ndarray]]:
    """Each row that occurs, with its columns."""
    order = np.argsort(rows, kind="stable")
    names, first = np.unique(rows[order], return_index=True)
    return names.tolist(), np.split(columns[order], first[1:])


def _places(known: np.ndarray, ids: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The position of each id among the sorted known ones, and whether it is one of them."""
    wanted = np.asarray(ids)
    found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return found, known[found] == wanted


__all__ = ["LatentFactors", "truncated_svd"]
