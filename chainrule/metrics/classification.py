# SPDX-License-Identifier: Apache-2.0
"""Metrics of classifiers that need labels only: accuracy, top-k accuracy, precision, recall, F1, the confusion matrix.

In come logits or probabilities (…, C), or one column of logits for two classes, with labels or one-hot rows. The
predicted class is the first of the largest outputs; with one column it is class 1 for a logit above 0 (a probability
above 0.5 if `probabilities`). Items whose outputs contain a NaN make the value NaN.
"""

from __future__ import annotations

import difflib

import numpy as np

from ..errors import ArgumentError, BoundsError, ShapeError, explain, shown
from .base import Metric
from .intervals import Interval, bootstrap, wilson
from .items import ClassItems, checked_labels, class_items, item_weights

__all__ = [
    "F1", "Accuracy", "ClassMetric", "ConfusionMatrix", "Precision", "Recall", "TopKAccuracy", "confusion_matrix",
]

MOST_CLASSES = 4096  # a confusion matrix of 128 MiB
AVERAGES = ("binary", "macro", "micro", "weighted")


class ClassMetric(Metric):
    """Base of the metrics of classifiers.

    Args:
        probabilities: the outputs are probabilities, not logits (default).
        ignore_label: items with this label do not count, such as -100 for the padding of tokens.
        threshold: probability above which class 1 of two is predicted; None: 0.5.
    """

    decides = True  # whether a class is predicted, so that a threshold means something

    def __init__(self, *, probabilities: bool = False, ignore_label: int | None = None, threshold: float | None = None):
        if threshold is not None and not (self.decides and 0 < threshold < 1):
            raise ArgumentError(explain(f"{self.name} takes no such threshold", got=shown(threshold),
                                        expected="a probability between 0 and 1" if self.decides
                                        else "no threshold: it looks at the scores of all classes"))
        self.probabilities, self.ignore_label, self.threshold = probabilities, ignore_label, threshold
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.columns: int | None = None
        self.squares = 0.0

    def update(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> None:
        items = class_items(outputs, targets, self._counting(targets, weights))
        self._check(items)
        self._add(items)
        self.broken |= bool(items.scores.dtype.kind == "f" and np.isnan(items.scores).any())
        self.total += float(items.weights.sum())
        self.squares += float(items.weights @ items.weights)

    def check_targets(self, shape: tuple[int, ...], targets: np.ndarray, weights: np.ndarray | None = None) -> None:
        class_items(np.broadcast_to(np.float32(0), shape), targets, self._counting(targets, weights))

    def _counting(self, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """The weights, 0 where the label is the one that is ignored."""
        if self.ignore_label is None:
            return weights
        counts = np.asarray(targets) != self.ignore_label
        factors = item_weights(weights, counts.shape)
        return factors.reshape(*factors.shape, *(1,) * (counts.ndim - factors.ndim)) * counts

    def _check(self, items: ClassItems) -> None:
        columns = items.scores.shape[1]
        if self.columns not in (None, columns):
            raise ShapeError(explain(f"{self.name}: the number of classes changed within an epoch",
                                     got=f"{columns} columns, before {self.columns}", expected="the same each time",
                                     fix="call reset() before the outputs of another model"))
        self.columns = columns
        if self.probabilities and np.any((items.scores < 0) | (items.scores > 1)):
            raise ArgumentError(explain(f"{self.name}: the outputs are not probabilities",
                                        got=f"values from {items.scores.min():.4g} to {items.scores.max():.4g}",
                                        expected="values from 0 to 1", fix="leave out probabilities=True for logits"))

    @property
    def effective(self) -> float:
        """The number of samples that the weights leave, (sum w)² / sum w²."""
        return self.total**2 / self.squares if self.squares else 0.0

    def _predicted(self, items: ClassItems) -> np.ndarray:
        if self.threshold is not None:
            return self._above(items.scores)
        if items.scores.shape[1] > 1:
            return items.scores.argmax(axis=1)
        return (items.scores[:, 0] > (0.5 if self.probabilities else 0)).astype(np.intp)

    def _above(self, scores: np.ndarray) -> np.ndarray:
        """Class 1 where its probability is above the threshold."""
        if scores.shape[1] > 2:
            raise ArgumentError(explain(f"{self.name}: a threshold is for two classes",
                                        got=f"{scores.shape[1]} columns", expected="1 or 2", fix="leave threshold out"))
        score = scores[:, -1] if self.probabilities or scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
        least = self.threshold if self.probabilities else np.log(self.threshold / (1 - self.threshold))
        return (score > least).astype(np.intp)

    def _add(self, items: ClassItems) -> None:
        raise NotImplementedError


# ---- shares of hits


class Accuracy(ClassMetric):
    """Share of the items whose predicted class is the target's; interval: Wilson.

    >>> metric = cr.metrics.Accuracy()
    >>> metric.update(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([0, 0]))
    >>> metric.result()
    0.5
    """

    name, percent = "accuracy", True

    def reset(self) -> None:
        super().reset()
        self.hits = 0.0

    def _add(self, items: ClassItems) -> None:
        self.hits += float(items.weights @ self._hits(items))

    def _hits(self, items: ClassItems) -> np.ndarray:
        return self._predicted(items) == items.labels

    def _value(self) -> float:
        return self.hits / self.total

    def _interval(self, level: float, value: float) -> Interval | None:
        return wilson(value * self.effective, self.effective, level)


class TopKAccuracy(Accuracy):
    """Share of the items whose target is among the k classes with the largest outputs; of equal ones the first count.

    Raises ArgumentError for k below 1, or when there are fewer than k classes.

    >>> metric = cr.metrics.TopKAccuracy(k=2)
    >>> metric.update(np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), np.array([1, 2]))
    >>> metric.result()
    0.5
    """

    decides = False

    def __init__(self, k: int = 5, *, probabilities: bool = False, ignore_label: int | None = None):
        if k < 1:
            raise ArgumentError(explain("top-k accuracy needs k of at least 1", got=f"k={k}", expected="1, 2, 3, …"))
        self.k, self.name = k, f"top_{k}"
        super().__init__(probabilities=probabilities, ignore_label=ignore_label)

    def _hits(self, items: ClassItems) -> np.ndarray:
        columns = items.scores.shape[1]
        if columns < max(self.k, 2):
            raise ArgumentError(explain(f"{self.name} needs at least {max(self.k, 2)} columns of outputs",
                                        got=f"{columns} columns", expected=f"{max(self.k, 2)} or more",
                                        fix=f"use top_{columns - 1}" if columns > 2 else "use accuracy"))
        wanted = np.take_along_axis(items.scores, items.labels[:, None], axis=1)
        earlier = np.arange(columns) < items.labels[:, None]
        return ((items.scores > wanted) | ((items.scores == wanted) & earlier)).sum(axis=1) < self.k


# ---- the confusion matrix and what follows from it


def confusion_matrix(targets: np.ndarray, predictions: np.ndarray, classes: int | None = None,
                     weights: np.ndarray | None = None) -> np.ndarray:
    """How often each true class (row) was predicted as each class (column), from labels of one shape.

    `classes` defaults to the largest label + 1. Whole counts (int64), or sums of weights (float64) if there are any.
    Raises ShapeError, DTypeError or BoundsError for labels that do not fit.

    >>> cr.metrics.confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    array([[1, 1],
           [0, 2]])
    """
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    if targets.shape != predictions.shape:
        raise ShapeError(explain("true and predicted labels have different shapes", expected="the same shape twice",
                                 got=f"targets {targets.shape}, predictions {predictions.shape}"))
    weight = item_weights(weights, targets.shape).ravel()
    keep = weight != 0
    pairs = targets.ravel()[keep], predictions.ravel()[keep]
    if classes is None:
        classes = int(max((labels.max() for labels in pairs if len(labels)), default=-1)) + 1
    true, predicted = (checked_labels(labels, classes) for labels in pairs)
    matrix = _count_pairs(true, predicted, classes, weight[keep])
    return matrix.astype(np.int64) if weights is None else matrix


def _count_pairs(true: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    return np.bincount(true * classes + predicted, weights, classes * classes).reshape(classes, classes)


class ConfusionMatrix(ClassMetric):
    """Counts (true class, predicted class) in `matrix`, float64 because of weights; `result` is the accuracy.

    >>> metric = cr.metrics.ConfusionMatrix()
    >>> metric.update(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([0, 0]))
    >>> metric.matrix
    array([[1., 1.],
           [0., 0.]])
    """

    name, percent = "confusion_matrix", True

    def reset(self) -> None:
        super().reset()
        self.matrix, self.square_matrix = np.zeros((0, 0)), np.zeros((0, 0))

    def _add(self, items: ClassItems) -> None:
        classes = items.classes
        if classes > MOST_CLASSES:
            raise BoundsError(explain(f"{self.name} keeps a matrix of classes × classes", got=f"{classes} classes",
                                      expected=f"at most {MOST_CLASSES}", fix="use accuracy or top_5"))
        if not self.matrix.size:
            self.matrix, self.square_matrix = np.zeros((classes, classes)), np.zeros((classes, classes))
        predicted = self._predicted(items)
        # not added in place: a state taken before must not change
        self.matrix = self.matrix + _count_pairs(items.labels, predicted, classes, items.weights)
        self.square_matrix = self.square_matrix + _count_pairs(items.labels, predicted, classes, items.weights**2)

    def _value(self) -> float:
        return float(np.trace(self.matrix)) / self.total

    def _interval(self, level: float, value: float) -> Interval | None:
        return wilson(value * self.effective, self.effective, level)


class _Averaged(ConfusionMatrix):
    """A quotient hits / out_of for each class, averaged: what precision, recall and F1 have in common."""

    def __init__(self, average: str | None = None, *, positive: int = 1, probabilities: bool = False,
                 ignore_label: int | None = None, threshold: float | None = None):
        if average is not None and average not in AVERAGES:
            close = difflib.get_close_matches(average, AVERAGES, 1)
            raise ArgumentError(explain(f"{self.name}: unknown average", got=shown(average),
                                        expected=" | ".join(AVERAGES), fix=f"use {close[0]!r}" if close else None))
        self.average, self.positive = average, positive
        super().__init__(probabilities=probabilities, ignore_label=ignore_label, threshold=threshold)

    def _check(self, items: ClassItems) -> None:
        super()._check(items)
        if self.average == "binary" and items.classes != 2:
            raise ArgumentError(explain(f"{self.name}: the binary average needs two classes", expected="2 classes",
                                        got=f"{items.classes} classes", fix="use average='macro'"))

    def _kind(self) -> str:
        return self.average or ("binary" if len(self.matrix) == 2 else "macro")

    @staticmethod
    def _out_of(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _averages(self, margins: np.ndarray) -> np.ndarray:
        """(resamples, 3, classes): hits, how often each class is the target, how often predicted → (resamples,)."""
        hits, actual, predicted = margins[:, 0], margins[:, 1], margins[:, 2]
        out_of, kind = self._out_of(actual, predicted), self._kind()
        if kind == "micro":
            return hits.sum(axis=1) / out_of.sum(axis=1)
        each = np.divide(hits, out_of, out=np.zeros_like(out_of), where=out_of > 0)
        if kind == "binary":
            return each[:, self.positive]
        shares = actual if kind == "weighted" else ((actual > 0) | (predicted > 0)).astype(np.float64)
        return (each * shares).sum(axis=1) / shares.sum(axis=1)

    def _value(self) -> float:
        return float(self._averages(_margins(self.matrix)[None])[0])

    def _trials(self) -> tuple[float, float] | None:
        """Sum of weights and of their squares if the value is a proportion of items, else None."""
        everything = slice(None)
        place = {"micro": (everything, everything), "binary": self._binary_trials()}.get(self._kind())
        return None if place is None else (float(self.matrix[place].sum()), float(self.square_matrix[place].sum()))

    def _binary_trials(self) -> tuple | None:
        raise NotImplementedError

    def _interval(self, level: float, value: float) -> Interval | None:
        if (trials := self._trials()) is not None:
            effective = trials[0] ** 2 / trials[1] if trials[1] else 0.0
            return wilson(value * effective, effective, level)
        true, predicted = np.nonzero(self.matrix)
        counts = self.matrix[true, predicted] * (self.total / self.squares)
        return bootstrap(lambda counts: self._averages(_cell_margins(counts, true, predicted, len(self.matrix))),
                         counts, level=level)


def _margins(matrix: np.ndarray) -> np.ndarray:
    return np.stack([np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)])


def _cell_margins(counts: np.ndarray, true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (resamples, cells that are not empty) → margins (resamples, 3, classes)."""
    margins = np.zeros((len(counts), 3, classes))
    hit = true == predicted
    margins[:, 0, true[hit]] = counts[:, hit]
    for row, labels in ((1, true), (2, predicted)):
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        margins[:, row, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return margins


class Precision(_Averaged):
    """TP / (TP + FP): the share of the items predicted as a class that are of it; 0 for a class never predicted.

    `average`: "binary" (class `positive`; default for two classes), "macro" (mean over the classes that occur as
    target or prediction; default for more), "weighted" (by how often each is the target) or "micro" (all items in one
    pot). Interval: Wilson for binary and micro, else bootstrap.

    >>> metric = cr.metrics.Precision()
    >>> metric.update(np.array([[0.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), np.array([1, 0, 1]))
    >>> metric.result()
    0.5
    """

    name = "precision"

    @staticmethod
    def _out_of(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        return predicted

    def _binary_trials(self) -> tuple | None:
        return slice(None), self.positive


class Recall(_Averaged):
    """TP / (TP + FN): the share of the items of a class that are found; 0 for a class that is never the target.

    `average` and interval as for Precision.

    >>> metric = cr.metrics.Recall()
    >>> metric.update(np.array([[0.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), np.array([1, 0, 1]))
    >>> metric.result()
    0.5
    """

    name = "recall"

    @staticmethod
    def _out_of(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        return actual

    def _binary_trials(self) -> tuple | None:
        return self.positive, slice(None)


class F1(_Averaged):
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall; 0 for a class without any item.

    `average` as for Precision. Interval: bootstrap of the confusion matrix (which is the bootstrap of the items);
    Wilson for micro.

    >>> metric = cr.metrics.F1("macro")
    >>> metric.update(np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), np.array([0, 1, 1]))
    >>> metric.result()
    0.6666666666666666
    """

    name, percent = "f1", False

    @staticmethod
    def _out_of(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        return (actual + predicted) / 2

    def _binary_trials(self) -> tuple | None:
        return None
