# SPDX-License-Identifier: Apache-2.0
"""`TabularClassifier` and `TabularRegressor`: tables of numbers, categories, dates and free text, with values missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import optim
from ..data import split
from ..errors import ArgumentError, DataError, explain, shown
from ..models.ensemble import of_members
from ..models.tabular import TabularLinear, TabularNetwork
from ..train.fit import fit
from .answers import THRESHOLDS, Classification, Regression, best_threshold
from .base import NETWORK, Task
from .columns import Encoder, as_days, as_numbers, as_texts, is_date
from .forms import Columns, is_pair, named, table

STEPS = 2200          # of a training, about
LEAST_ROWS = 20
LINEAR_STEPS = 1500
TELLS_ALL = 0.9999    # correlation of ranks with the target from which on a column gives it away


class Tabular(Task):
    """What both tasks of tables share: settings, the forms of data, the network and its training.

    Args:
        target: name of the column to predict; None: data are pairs (x, y).
        categorical: columns of numbers that are names; drop: columns to leave out; use: columns to keep that would be
            left out.
        members: perceptrons side by side that share their weights (TabM).
        width, depth, dropout: of the hidden layers.
        bins: of the piecewise linear numbers.
        epochs, batch_size, learning_rate, weight_decay: of AdamW, with a rate that falls to 0 by a half cosine; None:
            by the number of rows.
        held_out: share of the training rows that chooses the best epoch, the latest ones where there is a column of
            dates.
        progress, backend: as in `cr.fit`.
    """

    target: str | None = None
    categorical: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    use: tuple[str, ...] = ()
    members: int = 8
    width: int = 128
    depth: int = 2
    dropout: float = 0.1
    bins: int = 32
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    held_out: float = 0.15
    progress: bool = False
    backend: str | None = None

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense; one name stands for a tuple of it."""
        super().check()
        for name in ("categorical", "drop", "use"):
            value = getattr(self, name)
            setattr(self, name, (value,) if isinstance(value, str) else tuple(value))

    # ---- forms of data

    def _columns(self, data: Any) -> Columns:
        """The columns of rows without targets, or with them."""
        if (found := table(data)) is not None:
            return found
        return _of_array(data, type(self).__name__)

    def _split_target(self, data: Any) -> tuple[Columns, np.ndarray]:
        """(columns without the target, the target as it came in)."""
        if is_pair(data):
            columns, y = self._columns(data[0]), np.asarray(data[1])
        else:
            columns = self._columns(data)
            if self.target is None:
                raise ArgumentError(explain(f"{type(self).__name__} does not know what to predict",
                                            got=f"columns {', '.join(list(columns)[:12])}",
                                            fix=f"{type(self).__name__}(target={list(columns)[-1]!r})"))
            y = named(columns, self.target, "the target")
        rows = len(next(iter(columns.values())))
        if y.ndim != 1 or len(y) != rows:
            raise DataError(explain("rows and targets come in pairs", got=f"{rows:,} rows, targets of shape {y.shape}",
                                    expected="one for each row"))
        return {name: values for name, values in columns.items() if name != self.target}, y

    def _inputs(self, data: Any) -> Any:
        return self._encoder(self._columns(data))

    @property
    def used(self) -> list[str]:
        """The columns that the network reads; ArgumentError before `fit`."""
        self._need_fit()
        return self._encoder.used

    @property
    def _encoder(self) -> Encoder:
        return Encoder.from_config(self.state["encoder"])

    # ---- learning

    def _learn_rows(self, columns: Columns, targets: np.ndarray, validation: Any, seed: int, loss: str, outputs: int,
                    **options: Any) -> Any:
        """Fit network and baseline; returns (inputs, targets) that were held out, None without."""
        rows = len(targets)
        if rows < LEAST_ROWS:
            raise DataError(explain("there is too little to learn from", got=f"{rows:,} rows",
                                    expected=f"at least {LEAST_ROWS}"))
        kept, held = (np.arange(rows),
                      None) if validation is not None or not self.held_out else self._hold_out(columns, targets, seed)
        encoder, notes = Encoder.of({name: values[kept] for name, values in columns.items()}, self.categorical,
                                    self.drop, self.use, self.bins)
        self.notes += notes
        self.state["encoder"] = encoder.to_config()
        x = encoder(columns)
        training = (tuple(part[kept] for part in x), targets[kept])
        checked = validation if held is None else (tuple(part[held] for part in x), targets[held])
        checked = checked() if callable(checked) else checked
        self.notes += _same_rows(training[0], checked)
        kind = "classes" if loss == "cross_entropy" else "numbers"
        network = TabularNetwork(outputs, encoder.edges, encoder.sizes, encoder.words, self.members, self.width,
                                 self.depth, self.dropout, kind)
        self._choose_steps(len(kept))
        fit(network, training, loss=of_members(loss), optimizer=self._optimizer(len(kept)), epochs=self.epochs or 1,
            batch_size=self.batch_size or 1, validation=checked, seed=seed, progress=self.progress,
            backend=self.backend, **options)
        self.parts = {NETWORK: network, "linear": self._linear(training, loss, outputs, encoder, seed)}
        return checked

    def _hold_out(self, columns: Columns, targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows that are learnt from, rows that are held out): the latest rows of a table with dates, else a share of
        each class."""
        if (dated := _dates(columns, self.drop)) is not None:
            order = np.argsort(np.where(np.isnan(dated[1]), -np.inf, dated[1]), kind="stable")
            cut = max(1, round(len(order) * (1 - self.held_out)))
            self.notes.append(f"the latest {len(order) - cut:,} rows by {dated[0]} are held out, as what comes will be "
                              "later too")
            return order[:cut], order[cut:]
        classes = targets if targets.dtype.kind == "i" else None
        return split(len(targets), (1 - self.held_out, self.held_out), seed,
                     stratify=classes)  # type: ignore[return-value]

    def _choose_steps(self, rows: int) -> None:
        self.batch_size = min(rows, self.batch_size or (256 if rows >= 4000 else 64 if rows >= 600 else 32))
        self.epochs = self.epochs or int(np.clip(round(STEPS * self.batch_size / rows), 10, 100))

    def _optimizer(self, rows: int) -> Any:
        steps = (self.epochs or 1) * -(-rows // (self.batch_size or 1))
        return optim.AdamW(optim.schedules.cosine(self.learning_rate, steps), weight_decay=self.weight_decay)

    def _linear(self, training: Any, loss: str, outputs: int, encoder: Encoder, seed: int) -> TabularLinear:
        linear = TabularLinear(outputs, encoder.sizes)
        rows, size = len(training[1]), min(256, len(training[1]))
        epochs = max(5, min(100, round(LINEAR_STEPS * size / rows)))
        steps = epochs * -(-rows // size)
        fit(linear, training, loss=loss, optimizer=optim.AdamW(optim.schedules.cosine(0.02, steps), weight_decay=1e-3),
            epochs=epochs, batch_size=size, seed=seed, progress=False, backend=self.backend)
        return linear


ARGUMENTS = "Args:" + (Tabular.__doc__ or "").partition("    Args:")[2]


class TabularClassifier(Tabular, Classification):
    __doc__ = f"""Which class a row of a table belongs to.

    Columns may be numbers, categories, dates and free text, with values missing; what each was taken for stands in
    `notes`, and so do columns that name the rows (left out), that give the target away, and classes of unequal size.

    {ARGUMENTS}    class_weight: "balanced": all classes count the same in training.
        threshold_by: "accuracy", "f1" or "balanced_accuracy": of two classes, choose the probability from which
            the second is answered by this value on the held-out rows.

    Data are a table (file, DataFrame, dict of columns, list of dicts) with the column `target`, or (x, y) with such a
    table or an array (n, columns) as x. Baselines: the most frequent class, and a linear model of the same columns.

    >>> rng = np.random.default_rng(0)
    >>> size, colour = rng.normal(size=300), rng.choice(["red", "blue"], 300)
    >>> rows = {{"size": size, "colour": colour, "kind": np.where((size > 0) == (colour == "red"), "a", "b")}}
    >>> task = cr.tasks.TabularClassifier(target="kind", epochs=15).fit(rows)
    >>> task.predict({{"size": [2.0, 2.0], "colour": ["red", "blue"]}}).tolist()
    ['a', 'b']
    """

    class_weight: str | None = None
    threshold_by: str | None = None

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense."""
        super().check()
        if self.threshold_by is not None and self.threshold_by not in THRESHOLDS:
            raise ArgumentError(explain("thresholds are not chosen by this",
                                        got=f"threshold_by={shown(self.threshold_by)}",
                                        expected=" | ".join(THRESHOLDS)))
        if self.class_weight not in (None, "balanced"):
            raise ArgumentError(explain("classes are not weighed like this",
                                        got=f"class_weight={shown(self.class_weight)}", expected="None or 'balanced'"))

    def _learn(self, data: Any, validation: Any, seed: int) -> None:
        columns, y = self._split_target(data)
        labels = _labels(y)
        if len(set(labels.tolist())) > max(20, len(labels) // 10) and y.dtype.kind == "f":
            raise DataError(explain("the targets are numbers with many values, not classes",
                                    got=f"{len(set(labels.tolist())):,} values in {len(y):,} rows",
                                    fix="cr.tasks.TabularRegressor"))
        codes = self._classes_of(labels)
        self.notes += _giveaways(columns, codes)
        held = self._learn_rows(columns, codes, None if validation is None else lambda: self._encoded(validation), seed,
                                "cross_entropy", len(self.classes), class_weight=self.class_weight)
        if self.threshold_by is not None and len(self.classes) == 2 and held is not None:
            self.state["threshold"] = best_threshold(self._proba(held[0]), held[1], self.threshold_by)
            self.notes.append(f"{self.classes[1]} is answered from a probability of {self.state['threshold']:.3f} on, "
                              f"chosen by {self.threshold_by}")

    def _encoded(self, data: Any) -> tuple[Any, np.ndarray]:
        x, labels = self._pairs(data)
        return x, self._codes(labels)

    def _pairs(self, data: Any) -> tuple[Any, np.ndarray]:
        columns, y = self._split_target(data)
        return self._encoder(columns), _labels(y)


class TabularRegressor(Tabular, Regression):
    __doc__ = f"""Which number belongs to a row of a table.

    Columns may be numbers, categories, dates and free text, with values missing; what each was taken for stands in
    `notes`, and so do columns that name the rows (left out) and that give the target away.

    {ARGUMENTS}
    Data are a table (file, DataFrame, dict of columns, list of dicts) with the column `target`, or (x, y) with such a
    table or an array (n, columns) as x. Baselines: the mean, and a linear model of the same columns.

    >>> x = np.random.default_rng(0).normal(size=(400, 2))
    >>> task = cr.tasks.TabularRegressor(epochs=20).fit((x, x[:, 0] * x[:, 1]))
    >>> task.evaluate((x, x[:, 0] * x[:, 1])).beats("linear")
    True
    """

    def _learn(self, data: Any, validation: Any, seed: int) -> None:
        columns, y = self._split_target(data)
        numbers = self._targets(y)
        targets = self._scale_of(numbers)
        self.notes += _giveaways(columns, numbers)
        self._learn_rows(columns, targets, None if validation is None else lambda: self._encoded(validation), seed,
                         "mean_squared_error", 1)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        try:
            numbers = as_numbers(y, self.target or "y")
        except DataError as error:
            raise DataError(explain("the targets are names, not numbers", got=shown(y[0]),
                                    fix="cr.tasks.TabularClassifier")) from error
        if np.isnan(numbers).any():
            raise DataError(explain("a target is missing", got=f"row {int(np.flatnonzero(np.isnan(numbers))[0]):,}",
                                    fix="leave out rows without a target"))
        return numbers

    def _encoded(self, data: Any) -> tuple[Any, np.ndarray]:
        x, numbers = self._pairs(data)
        return x, ((numbers - self.state["mean"]) / self.state["std"]).astype(np.float32).reshape(-1, 1)

    def _pairs(self, data: Any) -> tuple[Any, np.ndarray]:
        columns, y = self._split_target(data)
        return self._encoder(columns), self._targets(y)


def _of_array(data: Any, who: str) -> Columns:
    """The columns of an array (n, columns), named by their numbers."""
    array = np.asarray(data)
    if array.ndim != 2 or array.dtype.kind not in "buifOUM":
        fix = {4: "for images: cr.tasks.ImageClassifier", 1: "one column: x[:, None]"}.get(array.ndim)
        raise DataError(explain(f"{who} takes rows of a table", got=shown(data),
                                expected="a table, or an array (n, columns)", fix=fix))
    return {str(i): array[:, i] for i in range(array.shape[1])}


def _labels(y: np.ndarray) -> np.ndarray:
    """Labels of one kind: texts stripped, whole floats as integers; DataError for missing ones."""
    if y.dtype.kind == "f" and not np.isnan(y).any() and (y % 1 == 0).all():
        y = y.astype(np.int64)
    if y.dtype.kind in "OU":
        texts = as_texts(y)
        if "" in texts:
            raise DataError(explain("a class is missing", got=f"row {texts.index(''):,}",
                                    fix="leave out rows without a class"))
        return np.array(texts)
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise DataError(explain("a class is missing", got=f"row {int(np.flatnonzero(np.isnan(y))[0]):,}",
                                fix="leave out rows without a class"))
    return y


def _dates(columns: Columns, drop: tuple[str, ...]) -> tuple[str, np.ndarray] | None:
    """(name, days since 1970) of the first column of dates, None without one."""
    for name, values in columns.items():
        if name not in drop and (day_first := is_date(values)) is not None:
            return name, as_days(values, day_first)
    return None


def _giveaways(columns: Columns, targets: np.ndarray) -> list[str]:
    """A line for each column that tells the target alone: what is known only afterwards must not be learnt from."""
    found = []
    for name, values in columns.items():
        texts = np.array(as_texts(values))
        kinds, codes = np.unique(texts, return_inverse=True)
        if targets.dtype.kind == "i":
            told = (1 < len(kinds) <= max(2, len(texts) // 10)
                    and len(np.unique(np.stack([codes.reshape(-1), targets]), axis=1).T) == len(kinds))
        else:
            told = values.dtype.kind in "uif" and _ranks_agree(values.astype(np.float64), targets)
        if told:
            found.append(f"{name} alone tells the target: is it known when you predict? If not, drop={name!r}")
    return found


def _ranks_agree(values: np.ndarray, targets: np.ndarray) -> bool:
    if np.isnan(values).any() or len(np.unique(values)) < 3:
        return False
    ranks = [np.unique(x, return_inverse=True)[1].reshape(-1) for x in (values, targets)]
    return bool(abs(np.corrcoef(*ranks)[0, 1]) > TELLS_ALL)


def _same_rows(training: Any, held: Any) -> list[str]:
    """A line if rows that are held out were learnt from, too."""
    if held is None:
        return []
    known = {row.tobytes() for row in np.concatenate([training[0], training[1].astype(np.float32)], axis=1)}
    same = sum(row.tobytes() in known for row in np.concatenate([held[0][0], held[0][1].astype(np.float32)], axis=1))
    return ([f"{same:,} of the {len(held[1]):,} held-out rows are in the training rows too: what is measured on them "
             "is too good"] if same else [])
