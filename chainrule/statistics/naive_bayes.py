# SPDX-License-Identifier: Apache-2.0
"""Naive Bayes: classify by P(class | x) ∝ P(class) prod_i P(x_i | class), the features taken as independent.

`fit` counts and averages once, there is nothing to train: a baseline that a network must beat. The definitions are
those of scikit-learn (smoothing included), so predictions agree. NumPy, float64.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard_methods, positive
from .checks import by_name, guard_class


class _NaiveBayes:
    """What both share: Bayes' rule over the classes, from the log of P(x, class)."""

    classes: np.ndarray
    log_prior: np.ndarray
    features: int

    def fit(self, x: Any, y: Any) -> Self:
        """Learn from features (n, features) and labels (n,), which may be of any kind. Returns itself."""
        x, y = np.asarray(x, np.float64), np.asarray(y)
        if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
            raise ShapeError(explain("features and labels do not fit together", got=f"{x.shape} and {y.shape}",
                                     expected="(n, features) and (n,)"))
        self.classes, place, counts = np.unique(y, return_inverse=True, return_counts=True)
        self.log_prior, self.features = np.log(counts / len(y)), x.shape[1]
        self._learn(x, (place[:, None] == np.arange(len(counts))).astype(np.float64), counts)
        return self

    def _learn(self, x: np.ndarray, member: np.ndarray, counts: np.ndarray) -> None:
        raise NotImplementedError

    def _log_joint(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def predict_log_proba(self, x: Any) -> np.ndarray:
        """log P(class | x), (n, classes)."""
        joint = self._log_joint(self._features(x))
        high = joint.max(axis=1, keepdims=True)
        return joint - high - np.log(np.exp(joint - high).sum(axis=1, keepdims=True))

    def predict_proba(self, x: Any) -> np.ndarray:
        """P(class | x), (n, classes), in the order of `classes`."""
        return np.exp(self.predict_log_proba(x))

    def predict(self, x: Any) -> np.ndarray:
        """The most probable label of each row."""
        joint = self._log_joint(self._features(x))
        return self.classes[joint.argmax(axis=1)]

    def _features(self, x: Any) -> np.ndarray:
        if not hasattr(self, "classes"):
            raise ArgumentError(explain("nothing was learnt yet", got=f"a {type(self).__name__} that was not fitted",
                                        fix="call fit(x, y) first"))
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != self.features:
            raise ShapeError(explain("these are not the features that were learnt", got=f"shape {x.shape}",
                                     expected=f"(n, {self.features})"))
        return x


class GaussianNB(_NaiveBayes):
    """Features that are normally distributed within each class.

    Args:
        smoothing: this share of the largest variance of a feature is added to all variances.

    >>> x, y = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> cr.statistics.GaussianNB().fit(x, y).predict([[-1.5], [1.5]])
    array([0, 1])
    """

    def __init__(self, smoothing: float = 1e-9):
        self.smoothing = smoothing

    def _learn(self, x: np.ndarray, member: np.ndarray, counts: np.ndarray) -> None:
        self.mean = np.stack([x[rows == 1].mean(axis=0) for rows in member.T])
        variance = np.stack([x[rows == 1].var(axis=0)
                             for rows in member.T]) + self.smoothing * x.var(axis=0).max(initial=0)
        self.variance = np.maximum(variance, 1e-300)  # of features that never vary

    def _log_joint(self, x: np.ndarray) -> np.ndarray:
        volume = -0.5 * np.log(2 * math.pi * self.variance).sum(axis=1)
        distance = np.stack([np.square(x - m) @ (1 / v) for m, v in zip(self.mean, self.variance, strict=True)], axis=1)
        return self.log_prior + volume - 0.5 * distance


class MultinomialNB(_NaiveBayes):
    """Features that are counts, such as how often each word occurs.

    Args:
        alpha: added to each count (Laplace's smoothing: 1).

    >>> words, spam = np.array([[3, 0], [2, 1], [0, 3], [1, 4]]), np.array([0, 0, 1, 1])
    >>> cr.statistics.MultinomialNB().fit(words, spam).predict([[5, 0], [0, 5]])
    array([0, 1])
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def _learn(self, x: np.ndarray, member: np.ndarray, counts: np.ndarray) -> None:
        if (x < 0).any():
            raise ArgumentError(explain("MultinomialNB needs counts", got=f"a feature of {x.min():g}",
                                        expected="numbers from 0 upwards",
                                        fix="use GaussianNB for measurements"))
        total = member.T @ x + self.alpha
        self.log_share = np.log(total) - np.log(total.sum(axis=1, keepdims=True))

    def _log_joint(self, x: np.ndarray) -> np.ndarray:
        return x @ self.log_share.T + self.log_prior


guard_class(GaussianNB)
guard_class(MultinomialNB, alpha=positive)
guard_methods(_NaiveBayes, ["fit", "predict", "predict_log_proba", "predict_proba"],
              by_name(["fit", "predict", "predict_log_proba", "predict_proba"]))

__all__ = ["GaussianNB", "MultinomialNB"]
