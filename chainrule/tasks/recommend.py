# SPDX-License-Identifier: Apache-2.0
"""`Recommender`: ratings that users would give, and the items that they would like best.

Ratings: biases shrunk by how many ratings they go by, then factors of what is left by alternating least squares with a
penalty that grows with the number of ratings (Zhou et al., 2008; Koren, Bell and Volinsky, 2009). Ranking: alternating
least squares on what was chosen and what was not (Hu, Koren and Volinsky, 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ..errors import ArgumentError, DataError, explain, shown
from ..metrics.intervals import Estimate
from ..models.factors import FactorModel
from ..statistics.paired import t_interval
from ..statistics.runs import Run
from ..typing import TableLike
from .base import NETWORK, Task
from .columns import as_numbers, as_texts
from .forms import Columns, named, table
from .report import Report, of_numbers, verdicts

USER_SHRINK, ITEM_SHRINK = 5.0, 3.0  # ratings that pull a bias to 0
BETWEEN = "|"                        # several words in one cell
FEATURE_SHRINK = 20.0
MOST_WORDS = 500
TOP = 10


class Recommender(Task):
    """What users would rate items, and which they would like best.

    Args:
        goal: "ratings" (the numbers) or "ranking" (the best items; any rating counts as a choice).
        factors: hidden properties of each user and item.
        regularization: penalty of the factors per rating; floor: the same whatever the number of ratings.
        epochs: sweeps over all users and items.
        confidence: of "ranking": how much more a choice counts than none.
        user, item, rating: names of the columns, where data are tables.

    Data are (users, items, ratings), three columns of equal length, or a table with columns of these names. Baselines:
    for ratings the mean and the biases alone, for a ranking popularity. Tables of properties (`items=`, `users=` of
    `fit`, with the column of ids) make predictions for those who are new: their bias and factors follow from their
    properties by ridge regression.

    >>> users, items = np.divmod(np.arange(400), 20)
    >>> ratings = np.where((users % 2) == (items % 2), 5.0, 1.0)
    >>> task = cr.tasks.Recommender(factors=2).fit((users, items, ratings))
    >>> task.predict(([0, 0], [2, 3])).round().tolist()
    [5.0, 1.0]
    """

    goal: str = "ratings"
    factors: int = 8
    regularization: float = 0.08
    floor: float = 3.0
    epochs: int = 8
    confidence: float = 20.0
    user: str = "user"
    item: str = "item"
    rating: str = "rating"

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense."""
        super().check()
        if self.goal not in ("ratings", "ranking"):
            raise ArgumentError(explain("there is no such goal", got=f"goal={shown(self.goal)}",
                                        expected="ratings | ranking"))
        if not (self.regularization >= 0 and self.floor > 0 and self.confidence > 0):
            raise ArgumentError(explain("a penalty keeps factors finite",
                                        got=f"regularization={self.regularization}, floor={self.floor}",
                                        expected="regularization 0 or more, floor and confidence above 0"))

    def fit(self, data: TableLike, validation: TableLike | None = None, seed: int = 0,
            items: TableLike | None = None, users: TableLike | None = None, **settings: Any) -> Self:
        """Learn from ratings; returns the task.

        Args:
            data: ratings, in the forms that the class names.
            validation: is not needed: the factors have a closed form in turns.
            seed: of the first factors.
            items, users: tables of properties, by which new ones are known.
            settings: replace those that the task was made with.
        """
        self._properties = {"items": items, "users": users}
        try:
            return super().fit(data, validation, seed, **settings)
        finally:
            del self._properties

    # ---- forms of data

    def _pairs(self, data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """(users, items, ratings or None) as columns."""
        if isinstance(data, tuple) and len(data) in (2, 3):
            parts = [np.asarray(part) for part in data]
        elif (columns := table(data)) is not None:
            parts = [named(columns, self.user, "the user"), named(columns, self.item, "the item"),
                     *([columns[self.rating]] if self.rating in columns else [])]
        else:
            raise DataError(explain("these are no ratings", got=shown(data),
                                    expected="(users, items, ratings), or a table"))
        if len({len(part) for part in parts}) != 1 or any(part.ndim != 1 for part in parts) or not len(parts[0]):
            raise DataError(explain("ratings come as equally long columns",
                                    got=", ".join(str(part.shape) for part in parts), expected="(n,) each, n > 0"))
        ratings = as_numbers(parts[2], self.rating) if len(parts) == 3 else None
        if ratings is not None and np.isnan(ratings).any():
            raise DataError(explain("a rating is missing", got=f"row {int(np.flatnonzero(np.isnan(ratings))[0]):,}",
                                    fix="leave out pairs without a rating"))
        return parts[0], parts[1], ratings

    def _places(self, which: str, ids: Any) -> np.ndarray:
        """The place of each id, from 1; 0 for those that are new."""
        known = {name: i for i, name in enumerate(self.state[which], 1)}
        names, places = _numbered(np.asarray(ids))
        return np.array([known.get(name, 0) for name in names], np.int64)[places]

    # ---- learning

    def _learn(self, data: Any, validation: Any, seed: int) -> None:
        users, items, ratings = self._pairs(data)
        if ratings is None and self.goal == "ratings":
            raise DataError(explain("there are no ratings to learn from", got=f"no column {self.rating!r}",
                                    fix="Recommender(goal='ranking') learns from choices alone"))
        self.state["users"], rows = _numbered(users)
        self.state["items"], columns = _numbered(items)
        sizes = len(self.state["users"]), len(self.state["items"])
        values = np.ones(len(rows)) if ratings is None else ratings
        self.state.update(mean=float(values.mean()), least=float(values.min()), most=float(values.max()))
        self.state["seen"] = [columns[rows == row].tolist() for row in range(sizes[0])]
        rng = np.random.default_rng(seed)
        start = rng.normal(0, 0.1, (sizes[0], self.factors)), rng.normal(0, 0.1, (sizes[1], self.factors))
        if self.goal == "ranking":
            popular = np.bincount(columns, minlength=sizes[1]).astype(np.float64)
            found = _chosen(rows, columns, *start, self.confidence, self.floor, self.epochs)
            self.parts = {NETWORK: FactorModel.of(np.zeros(sizes[0]), np.zeros(sizes[1]), *found),
                          "popularity": FactorModel.of(np.zeros(sizes[0]), popular / popular.max(),
                                                       np.zeros((sizes[0], 1)), np.zeros((sizes[1], 1)))}
        else:
            left = values - self.state["mean"]
            user_bias, item_bias = _biases(rows, columns, left, sizes)
            rest = left - user_bias[rows] - item_bias[columns]
            found = _alternate(rows, columns, rest, *start, self.regularization, self.floor, self.epochs)
            self.parts = {NETWORK: FactorModel.of(user_bias, item_bias, *found),
                          "biases": FactorModel.of(user_bias, item_bias, np.zeros((sizes[0], 1)),
                                                   np.zeros((sizes[1], 1)))}
        self.notes.append(f"{len(rows):,} ratings of {sizes[0]:,} users and {sizes[1]:,} items")
        for which, given in self._properties.items():
            if given is not None:
                self._learn_properties(which, given)

    def _learn_properties(self, which: str, given: Any) -> None:
        """Bias and factors of those that are known, as a linear function of their properties."""
        columns, ids = self._property_columns(which, given)
        self.state[f"{which} words"] = words = _property_words(columns)
        places = self._places(which, ids)
        x, known = _property_matrix(columns, words), places > 0
        bias, factors = (self.network.arrays()[i] for i in ((0, 2) if which == "users" else (1, 3)))
        target = np.concatenate([bias[:, None], factors], axis=1)[places[known]]
        x = x[known]
        self.state[f"{which} map"] = np.linalg.solve(x.T @ x + FEATURE_SHRINK * np.eye(x.shape[1]),
                                                     x.T @ target).tolist()
        self.notes.append(f"new {which} are known by {x.shape[1] - 1:,} properties")

    def _property_columns(self, which: str, given: Any) -> tuple[Columns, np.ndarray]:
        found = table(given)
        name = self.user if which == "users" else self.item
        if found is None:
            raise DataError(explain(f"the properties of {which} come as a table", got=shown(given),
                                    expected=f"a table with a column {name!r}"))
        return {key: values for key, values in found.items() if key != name}, named(found, name, "the id")

    # ---- use

    def _sides(self, items: Any = None, users: Any = None) -> dict[str, tuple[dict[str, int], np.ndarray]]:
        """For users and items: the place of each id, and (bias, factors) rows by place; new ones with properties are
        behind the known ones."""
        arrays = self.network.arrays()
        sides = {}
        for which, given, bias, factors in (("users", users, arrays[0], arrays[2]),
                                            ("items", items, arrays[1], arrays[3])):
            numbers = np.concatenate([bias[:, None], factors], axis=1)
            places = {name: i for i, name in enumerate(self.state[which], 1)}
            if given is not None:
                if f"{which} map" not in self.state:
                    raise ArgumentError(explain(f"no properties of {which} were learnt",
                                                fix=f"fit(data, {which}=table)"))
                columns, ids = self._property_columns(which, given)
                guessed = _property_matrix(columns, self.state[f"{which} words"]) @ np.array(self.state[f"{which} map"])
                fresh = [i for i, name in enumerate(as_texts(ids)) if name not in places]
                places |= {as_texts(ids)[i]: len(numbers) + n for n, i in enumerate(fresh)}
                numbers = np.concatenate([numbers, guessed[fresh]])
            sides[which] = places, numbers
        return sides

    def predict(self, data: TableLike, items: TableLike | None = None, users: TableLike | None = None) -> np.ndarray:
        """The expected rating of each pair (n,), within the range of the training's; who is new counts as average, or
        by their properties
        in the tables `items` and `users`. Of a ranking: how much the item suits, without a unit."""
        self._need_fit()
        who, what, _ = self._pairs(data)
        sides = self._sides(items, users)
        p, q = (_rows_of(*sides[which], ids) for which, ids in (("users", who), ("items", what)))
        return self._told(p[:, 0] + q[:, 0] + (p[:, 1:] * q[:, 1:]).sum(axis=1))

    def _told(self, scores: np.ndarray) -> np.ndarray:
        return (scores if self.goal == "ranking"
                else np.clip(scores + self.state["mean"], self.state["least"], self.state["most"]))

    def recommend(self, user: int | str, count: int = TOP, exclude_seen: bool = True,
                  among: Sequence[int | str] | None = None, items: TableLike | None = None) -> list[tuple[str, float]]:
        """The `count` best items for a user, best first, as (item, expected rating).

        Args:
            exclude_seen: whether what the user has rated is left out.
            among: only these items; None: all.
            items: a table of properties of items that may be new.
        """
        self._need_fit()
        sides = self._sides(items)
        places, numbers = sides["items"]
        place = sides["users"][0].get(as_texts(np.asarray([user]))[0], 0)
        own = sides["users"][1][place]
        scores = numbers[:, 0] + numbers[:, 1:] @ own[1:] + own[0]
        wanted = None if among is None else set(as_texts(np.asarray(among)))
        seen = {i + 1 for i in self.state["seen"][place - 1]} if place and exclude_seen else set()
        left = [(name, i) for name, i in places.items() if i not in seen and (wanted is None or name in wanted)]
        left.sort(key=lambda pair: -scores[pair[1]])
        return [(name, float(self._told(scores[i:i + 1])[0])) for name, i in left[:count]]

    def evaluate(self, data: TableLike) -> Report:
        """Of ratings: root mean squared error and the like, with tests of the squared errors. Of a ranking: NDCG@10 and
        recall@10 per user, all items that were not chosen in training being ranked, with paired t-tests."""
        self._need_fit()
        users, items, ratings = self._pairs(data)
        rows, columns = self._places("users", users), self._places("items", items)
        if self.goal == "ranking":
            return self._ranked(rows, columns)
        if ratings is None:
            raise DataError(explain("there are no ratings to measure against", got=f"no column {self.rating!r}"))
        answers = {}
        for name, model in self.parts.items():
            user_bias, item_bias, p, q = model.arrays()
            answers[name] = self._told(user_bias[rows] + item_bias[columns] + (p[rows] * q[columns]).sum(axis=1))
        new = int(((rows == 0) | (columns == 0)).sum())
        return of_numbers(answers | {"mean": np.full(len(rows), self.state["mean"])}, ratings,
                          [f"{new:,} of the {len(rows):,} pairs have a user or item that is new"] if new else [])

    def _ranked(self, rows: np.ndarray, columns: np.ndarray) -> Report:
        known = (rows > 0) & (columns > 0)
        wanted: dict[int, set[int]] = {}
        for row, column in zip(rows[known].tolist(), columns[known].tolist(), strict=True):
            wanted.setdefault(row, set()).add(column - 1)
        if not wanted:
            raise DataError(explain("no user and item of these data were there in training",
                                    got=f"{len(rows):,} pairs"))
        each = {name: np.array([_gain(model, row, items, self.state["seen"][row - 1]) for row, items in wanted.items()])
                for name, model in
                ((name, model.arrays()) for name, model in self.parts.items())}
        values = {name: {"ndcg@10": _mean(found[:, 0]), "recall@10": _mean(found[:, 1])}
                  for name, found in each.items()}
        runs = [Run(name, found[:, 0], "item", percent=False) for name, found in each.items()]
        return Report(values.pop(NETWORK), len(wanted), values, verdicts(runs[0], runs[1:]))


def _mean(x: np.ndarray) -> Estimate:
    low, high = t_interval(x) if len(x) > 1 else (None, None)
    return Estimate(float(x.mean()), low, high)


def _gain(arrays: Any, row: int, wanted: set[int], seen: Sequence[int]) -> tuple[float, float]:
    """(NDCG@10, recall@10) of one user: sum over hits of 1 / log2(place + 1), beside the best that could be."""
    _, item_bias, p, q = arrays
    scores = item_bias[1:] + q[1:] @ p[row]
    scores[[i for i in seen if i not in wanted]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:TOP]
    hits = np.array([int(i) in wanted for i in best], np.float64)
    discounts = 1 / np.log2(np.arange(2, TOP + 2))
    most = min(len(wanted), TOP)
    return float(hits @ discounts[:len(hits)] / discounts[:most].sum()), float(hits.sum() / most)


def _numbered(ids: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The different ids as texts, in order, and the place of each id among them."""
    kinds, first = np.unique(ids, return_inverse=True) if ids.dtype.kind != "O" else (ids, np.arange(len(ids)))
    names, places = np.unique(np.array(as_texts(kinds), dtype=str), return_inverse=True)
    return names.tolist(), places.reshape(-1)[first.reshape(-1)]


def _rows_of(places: dict[str, int], numbers: np.ndarray, ids: np.ndarray) -> np.ndarray:
    names, each = _numbered(ids)
    return numbers[np.array([places.get(name, 0) for name in names], np.int64)[each]]


def _biases(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, sizes: tuple[int, int],
            sweeps: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """b_user and c_item in turns, each the sum of what is left divided by its number of ratings and the shrinkage."""
    user, item = np.zeros(sizes[0]), np.zeros(sizes[1])
    for _ in range(sweeps):
        item = np.bincount(columns, values - user[rows],
                           sizes[1]) / (np.bincount(columns, minlength=sizes[1]) + ITEM_SHRINK)
        user = np.bincount(rows, values - item[columns],
                           sizes[0]) / (np.bincount(rows, minlength=sizes[0]) + USER_SHRINK)
    return user, item


def _products(own: np.ndarray, other: np.ndarray, values: np.ndarray, x: np.ndarray, size: int,
              weight: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the ratings of each of `size` rows: of weight x x^T (size, k, k), and of value x (size, k)."""
    k = x.shape[1]
    order = np.argsort(own, kind="stable")
    own, chosen = own[order], x[other[order]]
    first = np.flatnonzero(np.diff(own, prepend=-1))
    squares, sums = np.zeros((size, k, k)), np.zeros((size, k))
    for i in range(k):  # a column at a time, so that memory stays that of the ratings
        squares[own[first], i] = np.add.reduceat(weight * chosen[:, i:i + 1] * chosen, first)
    sums[own[first]] = np.add.reduceat(values[order, None] * chosen, first)
    return squares, sums


def _alternate(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, p: np.ndarray, q: np.ndarray, shrink: float,
               floor: float, epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """argmin over p, q in turns of sum (value - p . q)^2 + (shrink n + floor) |factors|^2 for users and items with n
    ratings."""
    for _ in range(epochs):
        p, q = (_side(rows, columns, values, q, len(p), shrink, floor), q)
        q = _side(columns, rows, values, p, len(q), shrink, floor)
    return p, q


def _side(own: np.ndarray, other: np.ndarray, values: np.ndarray, x: np.ndarray, size: int, shrink: float,
          floor: float) -> np.ndarray:
    squares, sums = _products(own, other, values, x, size)
    penalty = shrink * np.bincount(own, minlength=size) + floor
    return np.linalg.solve(squares + penalty[:, None, None] * np.eye(x.shape[1]), sums[:, :, None])[:, :, 0]


def _chosen(rows: np.ndarray, columns: np.ndarray, p: np.ndarray, q: np.ndarray, confidence: float, floor: float,
            epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """argmin in turns of the sum over all pairs of c (chosen - p . q)^2 with c = 1 + confidence for what was chosen,
    and of floor |factors|^2."""
    def side(own: np.ndarray, other: np.ndarray, x: np.ndarray, size: int) -> np.ndarray:
        squares, sums = _products(own, other, np.full(len(own), 1 + confidence), x, size, confidence)
        return np.linalg.solve(squares + x.T @ x + floor * np.eye(x.shape[1]), sums[:, :, None])[:, :, 0]

    for _ in range(epochs):
        p = side(rows, columns, q, len(p))
        q = side(columns, rows, p, len(q))
    return p, q


# ---- properties


def _property_words(columns: Columns) -> dict[str, Any]:
    """For each column: mean and spread of numbers, or the words (cells may hold several, as in "comedy|drama") of at
    least two rows."""
    found: dict[str, Any] = {}
    for name, values in columns.items():
        if values.dtype.kind in "uif":
            found[name] = [float(np.nanmean(values)), float(np.nanstd(values)) or 1.0]
            continue
        cells = [set(text.split(BETWEEN)) for text in as_texts(values)]
        counts: dict[str, int] = {}
        for word in (word for cell in cells for word in cell):
            counts[word] = counts.get(word, 0) + 1
        kept = sorted((word for word, count in counts.items() if count >= 2), key=lambda word: (-counts[word], word))
        found[name] = sorted(kept[:MOST_WORDS])
    return found


def _property_matrix(columns: Columns, words: dict[str, Any]) -> np.ndarray:
    """(n, properties): a 1, standardised numbers, and for each word whether it is there, its share of the cell's length
    1."""
    if missing := [name for name in words if name not in columns]:
        raise DataError(explain(f"there is no column {missing[0]!r} of properties", got=", ".join(columns),
                                expected=", ".join(words)))
    rows = len(next(iter(columns.values()))) if columns else 0
    found = [np.ones((rows, 1))]
    for name, known in words.items():
        values = columns[name]
        if known and isinstance(known[0], float):
            scaled = (as_numbers(values, name) - known[0]) / known[1]
            found.append(np.nan_to_num(scaled)[:, None])
            continue
        cells = [set(text.split(BETWEEN)) for text in as_texts(values)]
        hits = np.array([[word in cell for word in known] for cell in cells], np.float64).reshape(rows, len(known))
        found.append(hits / np.sqrt(np.maximum(hits.sum(axis=1, keepdims=True), 1)))
    return np.concatenate(found, axis=1)
