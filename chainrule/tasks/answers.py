# SPDX-License-Identifier: Apache-2.0
"""The two kinds of answers that most tasks give: one of several classes, and a number.

A task of either kind says how samples become network inputs (`_inputs`) and how data with targets become both
(`_pairs`); probabilities, thresholds, reports and baselines follow from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, explain, shown
from ..metrics.scores import softmax
from ..train.evaluate import predict
from ..typing import ArrayLike, TableLike
from .base import NETWORK, Task
from .report import Report, of_classes, of_numbers

UNEQUAL = 3  # times as many samples in the largest class as in the smallest: worth a word
LEAST = 4    # samples of a class, below which nothing can be learnt and measured


class Classification(Task):
    """A task whose answer is one of several classes; `state["classes"]` and `state["prior"]` are filled by
    `_classes_of`."""

    backend: str | None = None

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes by number, as they came in."""
        if "classes" not in self.state:
            self._need_fit()
        return tuple(self.state["classes"])

    def _inputs(self, data: Any) -> Any:
        """Network inputs of data without targets."""
        raise NotImplementedError

    def _pairs(self, data: Any) -> tuple[Any, np.ndarray]:
        """(network inputs, labels as they came in) of data with targets."""
        raise NotImplementedError

    def _classes_of(self, labels: Sequence[Any], fix: str | None = None) -> np.ndarray:
        """Learn the classes and how frequent they are; class numbers (n,) of the training labels. DataError for one
        class only."""
        labels = np.asarray(labels)
        names, codes = np.unique(labels, return_inverse=True)
        if len(names) < 2:
            raise DataError(explain(f"{type(self).__name__} tells classes apart, and all samples have one",
                                    expected="2 classes or more", fix=fix,
                                    got=f"{len(labels):,} samples of "
                                        f"{shown(names[0].item()) if len(names) else 'none'}"))
        sizes = np.bincount(codes)
        if len(labels) < 2 * LEAST or 2 * len(names) > len(labels):
            raise DataError(explain("there is too little to learn from",
                                    got=f"{len(labels):,} samples of {len(names):,} classes",
                                    expected=f"at least {2 * LEAST} samples, and at least 2 of each class on average",
                                    fix=fix))
        self.state["classes"], self.state["prior"] = names.tolist(), (sizes / sizes.sum()).tolist()
        if sizes.max() >= UNEQUAL * sizes.min():
            self.notes.append(f"classes of unequal size: {names[sizes.argmax()]} has "
                              f"{100 * sizes.max() / sizes.sum():.1f} % of the samples, "
                              f"{names[sizes.argmin()]} {100 * sizes.min() / sizes.sum():.1f} %")
        return codes.reshape(-1)

    def _codes(self, labels: Sequence[Any]) -> np.ndarray:
        """Class numbers (n,); DataError for a class that was not there in training."""
        known = {name: code for code, name in enumerate(self.state["classes"])}
        codes = [known.get(label, -1) for label in np.asarray(labels).tolist()]
        if -1 in codes:
            raise DataError(explain("a class that was not there in training",
                                    got=f"sample {codes.index(-1)}: {shown(labels[codes.index(-1)])}",
                                    expected=", ".join(map(str, list(known)[:10]))))
        return np.array(codes, np.int64)

    def _proba(self, x: Any, part: str = NETWORK) -> np.ndarray:
        return softmax(predict(self.parts[part], x, backend=self.backend, batch_size=1024).numpy().astype(np.float64))

    def choose(self, probabilities: ArrayLike) -> np.ndarray:
        """Class numbers: the most probable class, or of two classes the second where it reaches the threshold."""
        probabilities = np.asarray(probabilities)
        threshold = self.state.get("threshold", 0.5)
        if len(self.state["classes"]) != 2 or threshold == 0.5:
            return probabilities.argmax(axis=1)
        return (probabilities[:, 1] >= threshold).astype(np.int64)

    def predict_proba(self, data: TableLike) -> np.ndarray:
        """Probabilities (n, classes) in the order of `classes`."""
        self._need_fit()
        return self._proba(self._inputs(data))

    def predict(self, data: TableLike) -> np.ndarray:
        """The class of each sample (n,), as it was called in the training data."""
        return np.array(self.classes)[self.choose(self.predict_proba(data))]

    def evaluate(self, data: TableLike) -> Report:
        """Accuracy, log loss and macro F1 (of two classes also the area under the ROC curve) with intervals, beside the
        most
        frequent class and the other baselines of the task, with paired tests (McNemar, mid-p)."""
        self._need_fit()
        x, labels = self._pairs(data)
        codes = self._codes(labels)
        answers = {name: self._proba(x, name) for name in self.parts}
        answers["majority"] = np.tile(self.state["prior"], (len(codes), 1))
        chosen = {NETWORK: self.choose(answers[NETWORK])}
        names = ("accuracy", "log_loss", "f1_macro",
                 *(("auc",) if len(self.state["classes"]) == 2 and len(set(codes.tolist())) == 2 else ()))
        return of_classes(answers, codes, chosen, names)


def best_threshold(probabilities: np.ndarray, codes: np.ndarray, by: str) -> float:
    """The threshold of P(second class) with the best "accuracy", "f1" or "balanced_accuracy" on these samples; 0.5
    among equals."""
    if by not in THRESHOLDS:
        raise ArgumentError(explain("thresholds are not chosen by this", got=shown(by),
                                    expected=" | ".join(THRESHOLDS)))
    order = np.unique(probabilities[:, 1])
    middles = np.concatenate([[0.5], (order[1:] + order[:-1]) / 2])
    right = np.sort(probabilities[codes == 1, 1])
    wrong = np.sort(probabilities[codes == 0, 1])
    hits = len(right) - np.searchsorted(right, middles)
    alarms = len(wrong) - np.searchsorted(wrong, middles)
    return float(middles[THRESHOLDS[by](hits, alarms, max(len(right), 1), max(len(wrong), 1)).argmax()])


THRESHOLDS = {
    "accuracy": lambda hits, alarms, ones, zeros: (hits + zeros - alarms) / (ones + zeros),
    "f1": lambda hits, alarms, ones, zeros: 2 * hits / np.maximum(hits + alarms + ones, 1),
    "balanced_accuracy": lambda hits, alarms, ones, zeros: (hits / ones + 1 - alarms / zeros) / 2,
}


class Regression(Task):
    """A task whose answer is a number; `state["mean"]` and `state["std"]` are those of the training targets."""

    backend: str | None = None

    def _inputs(self, data: Any) -> Any:
        """Network inputs of data without targets."""
        raise NotImplementedError

    def _pairs(self, data: Any) -> tuple[Any, np.ndarray]:
        """(network inputs, numbers) of data with targets."""
        raise NotImplementedError

    def _scale_of(self, targets: np.ndarray) -> np.ndarray:
        """Learn mean and spread of the targets; the standardised targets (n, 1), float32."""
        mean, std = float(targets.mean()), float(targets.std())
        if not std > 0:
            raise DataError(explain("all targets are the same number", got=f"{len(targets):,} times {mean:g}",
                                    expected="numbers that differ"))
        self.state["mean"], self.state["std"] = mean, std
        return ((targets - mean) / std).astype(np.float32).reshape(-1, 1)

    def _number(self, x: Any, part: str = NETWORK) -> np.ndarray:
        outputs = predict(self.parts[part], x, backend=self.backend, batch_size=1024).numpy().astype(np.float64)
        return outputs.reshape(len(outputs), -1)[:, 0] * self.state["std"] + self.state["mean"]

    def predict(self, data: TableLike) -> np.ndarray:
        """The number for each sample (n,), float64, in the unit of the training targets."""
        self._need_fit()
        return self._number(self._inputs(data))

    def evaluate(self, data: TableLike) -> Report:
        """Root mean squared error, mean absolute error and R² with intervals, beside the mean and the other baselines
        of the
        task, with paired tests of the squared errors."""
        self._need_fit()
        x, targets = self._pairs(data)
        answers = {name: self._number(x, name) for name in self.parts}
        return of_numbers(answers | {"mean": np.full(len(targets), self.state["mean"])}, targets)
