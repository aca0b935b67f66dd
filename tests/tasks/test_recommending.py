# SPDX-License-Identifier: Apache-2.0
"""Ratings and rankings: solutions of normal equations, baselines, new users and items by their properties, forms, wrong
use."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import tasks
from chainrule.errors import ArgumentError, DataError
from chainrule.tasks import recommend

RNG = np.random.default_rng(0)
USERS, ITEMS = RNG.integers(0, 40, 900), RNG.integers(0, 30, 900)
RATINGS = np.clip(3 + np.where((USERS % 2) == (ITEMS % 2), 1.5, -1.5) + 0.2 * RNG.normal(size=900), 1, 5)


@pytest.fixture(scope="module")
def fitted():
    kinds = {"item": np.arange(30), "kind": np.where(np.arange(30) % 2, "odd|old", "even|old")}
    return tasks.Recommender(factors=3, floor=0.5).fit((USERS[:700], ITEMS[:700], RATINGS[:700]), items=kinds)


def test_factors_beat_the_baselines(fitted, tmp_path):
    held = USERS[700:], ITEMS[700:], RATINGS[700:]
    report = fitted.evaluate(held)
    assert float(report["rmse"]) < 0.6 and report.beats("biases") and report.beats("mean")
    loaded = cr.load(cr.save(fitted, tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(loaded.predict(held), fitted.predict(held))
    assert loaded.recommend(3) == fitted.recommend(3)
    table = {"user": held[0], "item": held[1], "rating": held[2]}
    np.testing.assert_array_equal(fitted.predict(table), fitted.predict(held))
    assert str(fitted.evaluate(table)) == str(report)


def test_numbers_of_the_network_are_those_of_predict(fitted):
    rows, columns = fitted._places("users", USERS), fitted._places("items", ITEMS)
    expected = np.clip(cr.predict(fitted.network, (rows, columns)).numpy()[:, 0] + fitted.state["mean"],
                       RATINGS[:700].min(), RATINGS[:700].max())
    np.testing.assert_allclose(fitted.predict((USERS, ITEMS)), expected, atol=1e-5)


def test_biases_solve_their_equations():
    values = RATINGS - RATINGS.mean()
    user, item = recommend._biases(USERS, ITEMS, values, (40, 30), sweeps=200)
    left = values - user[USERS] - item[ITEMS]
    np.testing.assert_allclose(np.bincount(USERS, left, 40), recommend.USER_SHRINK * user, atol=1e-8)
    np.testing.assert_allclose(np.bincount(ITEMS, left, 30), recommend.ITEM_SHRINK * item, atol=1e-8)


def test_factors_solve_their_equations():
    x, values = RNG.normal(size=(30, 3)), RNG.normal(size=900)
    found = recommend._side(USERS, ITEMS, values, x, 40, 0.1, 2.0)
    for user in (0, 17):
        mine = USERS == user
        rows = x[ITEMS[mine]]
        expected = np.linalg.solve(rows.T @ rows + (0.1 * mine.sum() + 2) * np.eye(3), rows.T @ values[mine])
        np.testing.assert_allclose(found[user], expected)


def test_rankings_lower_their_objective():
    pairs = np.unique(np.stack([USERS, ITEMS], axis=1)[(USERS % 2) == (ITEMS % 2)], axis=0).T
    chosen = np.zeros((40, 30))
    chosen[pairs[0], pairs[1]] = 1

    def objective(p, q):
        return np.sum((1 + 20 * chosen) * (chosen - p @ q.T) ** 2) + 3 * (np.sum(p ** 2) + np.sum(q ** 2))

    start = RNG.normal(0, 0.1, (40, 4)), RNG.normal(0, 0.1, (30, 4))
    values = [objective(*recommend._chosen(*pairs, *start, 20.0, 3.0, epochs)) for epochs in (1, 2, 5, 20)]
    assert values == sorted(values, reverse=True)
    p, q = recommend._chosen(*pairs, *start, 20.0, 3.0, 20)
    weights = 1 + 20 * chosen[:, 7]
    np.testing.assert_allclose(q[7], np.linalg.solve((p * weights[:, None]).T @ p + 3 * np.eye(4),
                                                     p.T @ (weights * chosen[:, 7])))


def test_rankings_beat_popularity():
    mine = (USERS % 2) == (ITEMS % 2)
    users, items = USERS[mine], ITEMS[mine]
    task = tasks.Recommender(goal="ranking", factors=4).fit((users[:350], items[:350]))
    report = task.evaluate((users[350:], items[350:]))
    assert report.beats("popularity") and 0 < float(report["ndcg@10"]) <= 1
    best = task.recommend(3, count=5)
    seen = set(items[:350][users[:350] == 3].tolist())
    assert len(best) == 5 and not {int(item) for item, _ in best} & seen
    assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)
    assert [item for item, _ in task.recommend(3, among=[1, 2], exclude_seen=False)] in (["1", "2"], ["2", "1"])


def test_the_gain_is_that_of_the_definition():
    # items 0, 1, 2, 3 are ranked so
    arrays = np.zeros(2), np.array([0.0, 4, 3, 2, 1]), np.zeros((2, 1)), np.zeros((5, 1))
    ndcg, recall = recommend._gain(arrays, 1, {1, 3}, [0])  # item 0 was seen: 1, 2, 3 are left
    assert ndcg == pytest.approx((1 + 0.5) / (1 + 1 / np.log2(3))) and recall == 1


def test_who_is_new_is_known_by_properties(fitted):
    new = {"item": [100, 101], "kind": ["odd|new", "even"]}
    without, found = fitted.predict(([1, 1], [100, 101])), fitted.predict(([1, 1], [100, 101]), items=new)
    assert without[0] == without[1] and found[0] > without[0] + 0.3 and found[1] < without[0] - 0.3
    assert fitted.recommend(1, items=new, among=[100, 101])[0][0] == "100"
    with pytest.raises(ArgumentError, match="no properties of users"):
        fitted.predict(([1], [1]), users={"user": [1], "age": [3.0]})
    with pytest.raises(DataError, match="no column 'kind' of properties"):
        fitted.predict(([1], [100]), items={"item": [100], "other": ["x"]})
    assert "2 of the 2 pairs have a user or item that is new" in str(fitted.evaluate(([1, 1], [100, 101], [5.0, 1.0])))


@pytest.mark.parametrize("use, words", [
    (lambda: tasks.Recommender(goal="best"), "no such goal"),
    (lambda: tasks.Recommender(floor=0.0), "keeps factors finite"),
    (lambda: tasks.Recommender().fit((USERS, ITEMS)), "no ratings to learn from"),
    (lambda: tasks.Recommender().fit((USERS, ITEMS[:5], RATINGS)), "equally long columns"),
    (lambda: tasks.Recommender().fit((USERS, ITEMS, np.where(USERS == 3, np.nan, RATINGS))), "a rating is missing"),
    (lambda: tasks.Recommender().fit({"who": USERS, "item": ITEMS}), "no column 'user'")])
def test_wrong_use_is_told(use, words):
    with pytest.raises((ArgumentError, DataError), match=words):
        use()
