# SPDX-License-Identifier: Apache-2.0
"""Metrics of classifiers that need the scores themselves: the areas under the ROC curve and under that of precision
over
recall, and the log loss.

The log loss is a sum; an area is a statement about all pairs of items, so all scores are kept until `reset` (in the
dtype they came in: 4 bytes for each item and class in float32). Intervals come from a random choice of at most 4096
items (for an area over many classes fewer, down to 1024, because each class is resampled).
"""

from __future__ import annotations

import math

import numpy as np

from .base import CAPACITY, Records, record_interval
from .classification import ClassMetric
from .intervals import Interval, Statistic
from .items import ClassItems

__all__ = ["AUC", "AveragePrecision", "LogLoss", "ratio_of_sums"]


class ScoreMetric(ClassMetric):
    """A statement about the order of all items by their scores; a subclass writes `of_one`.

    Two classes: class 1 is positive. More: the mean over the classes of each against all others, by its probability
    (the softmax of the logits, in the order of its log-odds, so that no two are rounded to one); classes for which the
    value is not defined do not count. NaN if it is for none.
    """

    decides = False

    @staticmethod
    def of_one(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> Statistic:
        """The value for one class as a function of how often each item occurs: (resamples, items) -> (resamples,)."""
        raise NotImplementedError

    def reset(self) -> None:
        super().reset()
        self.scores: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.weights: list[np.ndarray] = []

    def _add(self, items: ClassItems) -> None:
        self.scores.append(np.array(items.scores))
        self.labels.append(items.labels.astype(np.int32))
        self.weights.append(items.weights)

    def _seen(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All scores, labels and weights as one array each; the lists are replaced by it."""
        self.scores, self.labels, self.weights = ([np.concatenate(parts)] for parts in
                                                  (self.scores, self.labels, self.weights))
        return self.scores[0], self.labels[0], self.weights[0]

    def _value(self) -> float:
        scores, labels, weights = self._seen()
        return float(self._statistic(scores, labels, weights)(np.ones((1, len(labels))))[0])

    def _interval(self, level: float, value: float) -> Interval | None:
        scores, labels, weights = self._seen()
        seen, most = len(labels), max(1024, CAPACITY * 2 // max(scores.shape[1], 2))
        if seen > most:
            chosen = np.sort(np.random.default_rng(0).choice(seen, most, replace=False))
            scores, labels, weights = scores[chosen], labels[chosen], weights[chosen]
        return record_interval(value, self._statistic(scores, labels, weights), len(labels), seen, level)

    def _statistic(self, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Statistic:
        columns = [scores[:, 0]] if scores.shape[1] == 1 else self._class_scores(scores).T
        if len(columns) <= 2:
            positive = columns[-1] if self.probabilities or len(columns) == 1 else scores[:, 1] - scores[:, 0]
            return self.of_one(positive, labels == 1, weights)
        areas = [self.of_one(column, labels == label, weights) for label, column in enumerate(columns)]
        return lambda counts: _mean_of_defined(np.stack([area(counts) for area in areas]))

    def _class_scores(self, scores: np.ndarray) -> np.ndarray:
        if self.probabilities:
            return scores
        return log_odds(scores.astype(np.float64))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in the precision of the logits."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def log_odds(logits: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of the softmax over the last axis: each logit minus the logarithm of the sum of the others'
    exponentials."""
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite logits have infinite odds
        largest = np.arange(logits.shape[-1]) == logits.argmax(axis=-1)[..., None]
        high = logits.max(axis=-1, keepdims=True)
        shares = np.exp(logits - high)
        others = high + np.log(np.where(largest, 1.0, shares.sum(axis=-1, keepdims=True) - shares))
        rest = np.where(largest, -np.inf, logits)  # in the place of the largest a sum without cancellation
        second = rest.max(axis=-1, keepdims=True)
        of_largest = second + np.log(np.exp(rest - second).sum(axis=-1, keepdims=True))
        return logits - np.where(largest, of_largest, others)


def _ordered(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> Statistic:
    """(resamples, items) -> the weights of the positive and of the other items, each (resamples, scores from low to
    high)."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))  # one group for each set of ties
    of_positive, of_negative = (weights * positive)[order], (weights * ~positive)[order]

    def groups(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        occurs = np.take(counts, order, axis=1)
        hits, others = occurs * of_positive, occurs * of_negative
        if len(starts) < len(order):
            hits, others = (np.add.reduceat(part, starts, axis=1) for part in (hits, others))
        return hits, others
    return groups


class AUC(ScoreMetric):
    """Area under the ROC curve: the share of pairs (positive, negative) in which the positive scores higher, ties half.

    Classes that never or always are the target have no area. Interval: bootstrap. Source: Hanley and McNeil, Radiology
    1982.

    >>> metric = cr.metrics.AUC()
    >>> metric.update(np.array([-1.0, 0.5, 2.0, 0.0]), np.array([0, 1, 1, 0]))
    >>> metric.result()
    1.0
    """

    name = "auc"

    @staticmethod
    def of_one(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> Statistic:
        groups = _ordered(scores, positive, weights)

        def statistic(counts: np.ndarray) -> np.ndarray:
            hits, others = groups(counts)
            below = np.cumsum(others, axis=1) - others / 2
            pairs = hits.sum(axis=1) * others.sum(axis=1)
            return np.divide((hits * below).sum(axis=1), pairs, out=np.full(len(counts), math.nan), where=pairs > 0)
        return statistic


class AveragePrecision(ScoreMetric):
    """The mean of the precision over the positive items, each with all that score as high or higher taken as positive;
    over several
    classes the mean average precision (mAP).

    Classes that never are the target have none. Interval: bootstrap. Source: Salton and McGill, 1983, without
    interpolation.

    >>> metric = cr.metrics.AveragePrecision()
    >>> metric.update(np.array([-1.0, 0.5, 2.0, 1.0]), np.array([0, 1, 1, 0]))
    >>> metric.result()
    0.8333333333333333
    """

    name = "average_precision"

    @staticmethod
    def of_one(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> Statistic:
        groups = _ordered(scores, positive, weights)

        def statistic(counts: np.ndarray) -> np.ndarray:
            hits, others = (part[:, ::-1] for part in groups(counts))
            found = np.cumsum(hits, axis=1)
            above = found + np.cumsum(others, axis=1)
            precision = np.divide(found, above, out=np.zeros_like(above), where=above > 0)
            total = hits.sum(axis=1)
            return np.divide((hits * precision).sum(axis=1), total, out=np.full(len(counts), math.nan), where=total > 0)
        return statistic


def _mean_of_defined(areas: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(areas)
    count = defined.sum(axis=0)
    total = np.where(defined, areas, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(total), math.nan), where=count > 0)


# ---- log loss


class LogLoss(ClassMetric):
    """Mean of -log of the probability that the outputs give to the target: the cross-entropy.

    Logits are normalised by softmax (one column: sigmoid), without overflow. Probabilities are kept away from 0 and 1
    by the epsilon of their dtype. Target rows that are shares t give -Σ t log p. Interval: bootstrap of the samples.

    >>> metric = cr.metrics.LogLoss()
    >>> metric.update(np.array([[0.0, 0.0]]), np.array([1]))
    >>> metric.result()
    0.6931471805599453
    """

    decides = False

    name, higher_is_better = "log_loss", False

    def reset(self) -> None:
        super().reset()
        self.sum = 0.0
        self.records = Records()

    def _add(self, items: ClassItems) -> None:
        losses = items.weights * (_probability_loss(items) if self.probabilities else _logit_loss(items))
        self.sum += float(losses.sum())
        _, sample = np.unique(items.samples, return_inverse=True)
        self.records.add(np.stack([np.bincount(sample, losses), np.bincount(sample, items.weights)], axis=1))

    def _value(self) -> float:
        return self.sum / self.total

    def _interval(self, level: float, value: float) -> Interval | None:
        rows = self.records.rows
        return record_interval(value, ratio_of_sums(rows), len(rows), self.records.seen, level)


def ratio_of_sums(rows: np.ndarray) -> Statistic:
    """Σ rows[:, 0] / Σ rows[:, 1] as a function of how often each row occurs; NaN where the divisor is 0."""

    def statistic(counts: np.ndarray) -> np.ndarray:
        sums = counts @ rows
        return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), math.nan), where=sums[:, 1] > 0)

    return statistic


def _logit_loss(items: ClassItems) -> np.ndarray:
    logits = items.scores.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite logits give an infinite or undefined loss, which the value shows
        if logits.shape[1] == 1:
            return np.logaddexp(0, (1 - 2 * items.labels) * logits[:, 0])
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        if items.shares is None:
            return log_sum - np.take_along_axis(shifted, items.labels[:, None], axis=1)[:, 0]
        return log_sum * items.shares.sum(axis=1) - np.where(items.shares > 0, items.shares * shifted, 0).sum(axis=1)


def _probability_loss(items: ClassItems) -> np.ndarray:
    kind = items.scores.dtype
    epsilon = float(np.finfo(kind if kind.kind == "f" else np.float64).eps)
    shares = items.scores.astype(np.float64)
    if shares.shape[1] == 1:
        shares = np.concatenate([1 - shares, shares], axis=1)
    logs = -np.log(np.clip(shares, epsilon, 1 - epsilon))
    if items.shares is not None:
        return (items.shares * logs).sum(axis=1)
    return np.take_along_axis(logs, items.labels[:, None], axis=1)[:, 0]
