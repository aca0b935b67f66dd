# SPDX-License-Identifier: Apache-2.0
"""What a network is for, in one word: the objective decides the output layer, the loss and the metrics that belong
together.

    objective = cr.tasks.multiclass(3)
    model = objective.network(hidden=(64, 64))
    objective.fit(model, (x, y), epochs=50)
    print(objective.evaluate(model, (x_test, y_test)))

    objective         output layer   what it gives    loss                   metrics
    binary()          1 unit         a logit          binary cross-entropy   accuracy, auc
    multiclass(k)     k units        logits           cross-entropy          accuracy, f1_macro
    multilabel(k)     k units        k logits         binary cross-entropy   share of right labels
    regression(k)     k units        numbers          mean squared error     rmse, r2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn
from ..errors import ArgumentError, ShapeError, explain
from ..ir import as_tensor
from ..models.mlp import mlp
from ..ops.compose import sigmoid, softmax
from ..train.evaluate import Result, evaluate, predict
from ..train.fit import fit
from ..train.history import History
from ..typing import ArrayLike, DataLike


@dataclass(frozen=True)
class Objective:
    """What is asked of a network, with everything that follows from it; made by `binary`, `multiclass`, `multilabel`
    and `regression`.

    Attributes:
        name: "binary", "multiclass", "multilabel" or "regression".
        outputs: units of the last layer.
        loss, metrics: names, as `fit` and `evaluate` take them.

    >>> objective = cr.tasks.multiclass(3)
    >>> isinstance(objective, cr.tasks.Objective), objective.name
    (True, 'multiclass')
    """

    name: str
    outputs: int
    loss: str
    metrics: tuple[Any, ...]

    def head(self, **options: Any) -> nn.Dense:
        """The last layer: Dense(outputs) without activation, because the loss takes logits. `options` of Dense."""
        return nn.Dense(self.outputs, **options)

    def network(self, hidden: Sequence[int] = (64, 64), **options: Any) -> nn.Sequential:
        """A multi-layer perceptron for rows of features, with this head; `options` of `models.mlp`."""
        return mlp(self.outputs, hidden, **options)

    def targets(self, y: ArrayLike) -> np.ndarray:
        """Targets in the form of the loss: (n, 1) for one number or one yes or no per sample, else as they are."""
        y = np.asarray(y)
        if self.name == "multiclass":
            return y
        y = y.reshape(len(y), -1) if y.ndim == 1 else y
        if y.shape[1:] != (self.outputs,):
            raise ShapeError(explain(f"the targets do not fit the task {self.name}", got=f"shape {y.shape}",
                                     expected=f"(n, {self.outputs})"))
        return y.astype(np.float32)

    def fit(self, model: nn.Module, data: DataLike, *, validation: DataLike | None = None, **options: Any) -> History:
        """`fit` with the loss and the metrics of the objective; `options` of `fit`."""
        return fit(model, self._pair(data), loss=self.loss, metrics=options.pop("metrics", self.metrics),
                   validation=None if validation is None else self._pair(validation), **options)

    def evaluate(self, model: nn.Module, data: DataLike, **options: Any) -> Result:
        """`evaluate` with the loss and the metrics of the objective, each with its interval."""
        return evaluate(model, self._pair(data), loss=self.loss, metrics=options.pop("metrics", self.metrics),
                        **options)

    def predict(self, model: nn.Module, x: ArrayLike) -> np.ndarray:
        """Answers: class numbers (n,) for binary and multiclass, 0 and 1 (n, k) for multilabel, numbers for
        regression."""
        outputs = predict(model, x).numpy()
        if self.name == "multiclass":
            return outputs.argmax(axis=-1)
        answers = outputs if self.name == "regression" else (outputs > 0).astype(np.int64)
        return answers[:, 0] if self.outputs == 1 else answers

    def predict_proba(self, model: nn.Module, x: ArrayLike) -> np.ndarray:
        """P(y | x): (n, k) for multiclass and multilabel, (n,) for binary; ArgumentError for regression."""
        if self.name == "regression":
            raise ArgumentError(explain("regression gives numbers, not probabilities",
                                        fix="use predict, or a distribution as output"))
        logits = as_tensor(predict(model, x).numpy())
        found = (softmax(logits) if self.name == "multiclass" else sigmoid(logits)).numpy()
        return found[:, 0] if self.name == "binary" else found

    def _pair(self, data: Any) -> tuple[Any, ...]:
        x, y, *weights = data
        return (x, self.targets(y), *weights)


def binary() -> Objective:
    """Yes or no: one logit; targets 0 and 1.

    >>> cr.tasks.binary().outputs, cr.tasks.binary().loss
    (1, 'binary_cross_entropy')
    """
    return Objective("binary", 1, "binary_cross_entropy", ("accuracy", "auc"))


def multiclass(k: int) -> Objective:
    """One of k classes: k logits; targets 0 .. k - 1.

    >>> cr.tasks.multiclass(10).outputs, cr.tasks.multiclass(10).loss
    (10, 'cross_entropy')
    """
    return Objective("multiclass", _count(k, 2), "cross_entropy", ("accuracy", "f1_macro"))


def multilabel(k: int) -> Objective:
    """Any of k labels: k logits; targets (n, k) of 0 and 1.

    >>> cr.tasks.multilabel(5).outputs, cr.tasks.multilabel(5).loss
    (5, 'binary_cross_entropy')
    """
    return Objective("multilabel", _count(k, 1), "binary_cross_entropy", (right_labels,))


def regression(k: int = 1) -> Objective:
    """k numbers, without activation.

    >>> cr.tasks.regression(2).outputs, cr.tasks.regression(2).loss
    (2, 'mean_squared_error')
    """
    return Objective("regression", _count(k, 1), "mean_squared_error", ("rmse", "r2"))


def right_labels(outputs: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """For each sample, the share of labels on whose side of 0 the logit is.

    >>> cr.tasks.right_labels(np.array([[2.0, -1.0]]), np.array([[1, 1]]))
    array([0.5])
    """
    return ((np.asarray(outputs) > 0) == (np.asarray(targets) > 0.5)).mean(axis=-1)


def _count(k: int, least: int) -> int:
    if not isinstance(k, int) or k < least:
        raise ArgumentError(explain("this is no number of outputs", got=repr(k), expected=f"an integer from {least}"))
    return k


__all__ = ["Objective", "binary", "multiclass", "multilabel", "regression", "right_labels"]
