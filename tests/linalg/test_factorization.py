# SPDX-License-Identifier: Apache-2.0
"""Latent factors: truncated SVD against SciPy, ratings with a known solution, and films with a known error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chainrule.errors import ArgumentError, ShapeError
from chainrule.factorization import LatentFactors, truncated_svd

RNG = np.random.default_rng(0)


def planted(users: int = 60, items: int = 40, k: int = 2, share: float = 0.5) -> tuple[np.ndarray, ...]:
    """Ratings of known low rank, a share of them seen: (rows, columns, values, the whole table, seen)."""
    rng = np.random.default_rng(1)
    table = (3 + rng.normal(size=(users, 1)) + rng.normal(size=(1, items)) + rng.normal(size=(users, k))
             @ rng.normal(size=(k, items)))
    seen = rng.random(table.shape) < share
    rows, columns = np.nonzero(seen)
    return rows, columns, table[seen], table, seen


def test_truncated_svd_is_scipys() -> None:
    from scipy.sparse.linalg import svds
    for shape, k in (((30, 20), 5), ((20, 50), 3)):
        x = RNG.normal(size=shape)
        u, s, vh = truncated_svd(x, k)
        wanted_u, wanted_s, wanted_vh = svds(x, k=k)
        order = np.argsort(-wanted_s)
        np.testing.assert_allclose(s, wanted_s[order], rtol=1e-10)
        np.testing.assert_allclose((u * s) @ vh, (wanted_u[:, order] * wanted_s[order]) @ wanted_vh[order], atol=1e-9)
        error = np.sqrt((np.linalg.svd(x, compute_uv=False)[k:] ** 2).sum())
        np.testing.assert_allclose(np.linalg.norm(x - (u * s) @ vh), error, rtol=1e-10)


@pytest.mark.parametrize("method, epochs, limit", [("als", 40, 0.02), ("sgd", 200, 0.12)])
def test_missing_ratings_are_found(method: str, epochs: int, limit: float) -> None:
    rows, columns, values, table, seen = planted()
    model = LatentFactors(2, method, regularization=1e-4, epochs=epochs, batch_size=32).fit(rows, columns, values)
    users, items = np.nonzero(~seen)
    error = np.sqrt(np.mean((model.predict(users, items) - table[~seen]) ** 2))
    assert error < limit, f"{error} on ratings that were not seen"
    assert len(model.history) == epochs and model.history[-1] < model.history[0]


def test_each_half_of_als_is_the_ridge_solution() -> None:
    """The factors of the side that was solved last are a minimum given the others: scikit-learn finds the same."""
    from sklearn.linear_model import Ridge
    rows, columns, values, _, _ = planted(share=0.4)
    model = LatentFactors(2, epochs=3, regularization=0.1).fit(rows, columns, values)
    for item in (0, 7):
        chosen = columns == item
        features = np.concatenate([model.user_factors[rows[chosen]], np.ones((chosen.sum(), 1))], axis=1)
        targets = values[chosen] - model.mean - model.user_bias[rows[chosen]]
        ridge = Ridge(alpha=0.1 * chosen.sum(), fit_intercept=False).fit(features, targets)
        np.testing.assert_allclose(ridge.coef_, [*model.item_factors[item], model.item_bias[item]], rtol=1e-8)


def test_recommendations_are_the_best_unseen_items() -> None:
    rows, columns, values, _, seen = planted()
    names = np.array([f"film {i:02}" for i in range(40)])
    model = LatentFactors(2, regularization=1e-3).fit(rows, names[columns], values)
    found = model.recommend(5, 3)
    unseen = np.flatnonzero(~seen[5])
    expected = model.predict(np.full(len(unseen), 5), names[unseen])
    order = np.argsort(-expected)[:3]
    assert [name for name, _ in found] == list(names[unseen][order])
    np.testing.assert_allclose([score for _, score in found], expected[order])
    stranger = model.recommend(999, 2)
    np.testing.assert_allclose([score for _, score in stranger], np.sort(model.mean + model.item_bias)[::-1][:2])
    assert len(model.recommend(5, 100, exclude_seen=False)) == 40
    np.testing.assert_allclose(model.predict([999], ["film 99"]), model.mean)


def test_mistakes_are_told() -> None:
    for call in (lambda: truncated_svd(np.ones((3, 2)), 3), lambda: LatentFactors(method="svd"),
                 lambda: LatentFactors(0), lambda: LatentFactors().recommend(0)):
        with pytest.raises(ArgumentError):
            call()
    with pytest.raises(ShapeError):
        LatentFactors().fit([1, 2], [1, 2], [3.0])


@pytest.mark.parametrize("method", [pytest.param("als", marks=pytest.mark.slow), "sgd"])
def test_films(shared_data: Path, method: str) -> None:
    """MovieLens latest-small: 80 % of the ratings tell the others better than the averages of users and films do."""
    file = shared_data / "movielens-latest-small" / "ratings.csv"
    if not file.is_file():
        pytest.skip("needs the MovieLens ratings")
    ratings = np.loadtxt(file, delimiter=",", skiprows=1, usecols=(0, 1, 2))
    order = np.random.default_rng(0).permutation(len(ratings))
    train, test = ratings[order[20_000:]], ratings[order[:20_000]]
    model = LatentFactors(8, method, epochs=12 if method == "als"
                          else 10).fit(train[:, 0].astype(int), train[:, 1].astype(int), train[:, 2])
    error = np.sqrt(np.mean((model.predict(test[:, 0].astype(int), test[:, 1].astype(int)) - test[:, 2]) ** 2))
    assert error < 0.89
