# SPDX-License-Identifier: Apache-2.0
"""`Classifier` and `Regressor`: multi-layer perceptrons, or networks of one's own, with scikit-learn's methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import column_or_1d

from ..errors import ArgumentError, explain
from ..typing import ActivationLike, ArrayLike, ModelLike, OptimizerLike
from .network import NetworkEstimator
from .scaling import Scale

PARAMETERS = """
    Args:
        hidden: widths of the hidden layers; () is a linear model.
        activation: of the hidden layers, by name or as a function; dropout: share of their units left out.
        epochs: passes over the data, with a learning rate that falls from `learning_rate` to 0 by a half cosine.
        batch_size: rows of a step; "auto" takes at most 128.
        optimizer: name of one of `cr.optim`, or an optimiser, which then keeps its own rate and weight decay.
        early_stopping: hold out `validation_fraction` of the samples, stop after `patience` epochs without a better
            loss there, and keep the best weights.
        standardize: bring each column to mean 0 and standard deviation 1 first; the scale is part of the estimator.
        network: a `cr.nn.Module` that is copied, or a function (features, outputs) -> Module, in place of `hidden`.
        random_state: seed of weights, order and dropout; with an integer, fitting again gives the same bits.
        precision: of products, "float32" or "bfloat16"; float64 data are computed in float64.

    After `fit`: `network_`, `history_`, `n_iter_`, `loss_curve_`, `n_features_in_`, and, from a table with names,
    `feature_names_in_`. Raises ValueError or TypeError with scikit-learn's words for what does not fit.
"""


class Classifier(ClassifierMixin, NetworkEstimator):
    __doc__ = f"""A network that tells classes apart: softmax and cross-entropy, or a yes or no for each label.

    y is (n,) of any labels, or (n, labels) of 0 and 1 (multi-label). The objective is the weighted mean of the
    cross-entropy -log p(y | x), with `sample_weight` and `class_weight` ({{label: weight}} or "balanced").
{PARAMETERS}
    >>> import numpy as np, chainrule as cr
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.where(x[:, 0] * x[:, 1] > 0, "same", "other")
    >>> cr.estimators.Classifier(random_state=0).fit(x, y).predict([[2.0, 2.0], [-2.0, 2.0]]).tolist()
    ['same', 'other']
    """

    def __init__(self, hidden: Sequence[int] = (64,), *, activation: ActivationLike = "relu", dropout: float = 0.0,
                 epochs: int = 100, batch_size: int | str = "auto", optimizer: OptimizerLike = "adamw",
                 learning_rate: float = 0.01, weight_decay: float = 1e-4, class_weight: Mapping[Any, float] | str
                 | None = None, early_stopping: bool = False, validation_fraction: float = 0.1, patience: int = 10,
                 standardize: bool = True, network: ModelLike | None = None, random_state: Any = None,
                 precision: str = "float32", backend: str | None = None, verbose: bool = False):
        super().__init__(hidden, activation=activation, dropout=dropout, epochs=epochs, batch_size=batch_size,
                         optimizer=optimizer, learning_rate=learning_rate, weight_decay=weight_decay,
                         early_stopping=early_stopping, validation_fraction=validation_fraction, patience=patience,
                         standardize=standardize, network=network, random_state=random_state, precision=precision,
                         backend=backend, verbose=verbose)
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Classifier:
        """Learn from rows X (n, features) and labels y; `sample_weight` (n,). Returns self."""
        x, y, weights = self._checked(X, y, sample_weight)
        y = _labels(y)
        self._find_classes(y, y if weights is None else y[weights > 0])
        return self._learn(x, self._encoded(y), weights, self._outputs_of_network(),
                           class_weight=self._weights_of_classes())

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: Any = None,
                    sample_weight: ArrayLike | None = None) -> Classifier:
        """One pass over a part of the data; `classes`, all labels there will be, goes with the first. Returns self."""
        first = not hasattr(self, "network_")
        x, y, weights = self._checked(X, y, sample_weight, reset=first)
        y = _labels(y)
        if first:
            if classes is None and type_of_target(y) != "multilabel-indicator":
                raise ArgumentError(explain("the first call of partial_fit has to know all classes", got="classes=None",
                                            fix="partial_fit(X, y, classes=np.unique(all_y))"))
            self._find_classes(y if classes is None else np.asarray(classes),
                               y if classes is None else np.asarray(classes))
        return self._learn_more(x, self._encoded(y), weights, self._outputs_of_network(), first,
                                class_weight=self._weights_of_classes())

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Logits: (n,) of the second class where there are two, else (n, classes)."""
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if not self._multilabel and logits.shape[1] == 2 else logits

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probabilities (n, classes) in the order of `classes_`; of several labels, one for each."""
        logits = self._outputs(X)
        if self._multilabel:
            return _sigmoid(logits)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The most probable label of each row, (n,); of several labels, 0 or 1 for each, (n, labels)."""
        logits = self._outputs(X)
        if self._multilabel:
            return (logits > 0).astype(np.int64)
        return self.classes_[logits.argmax(axis=1)]

    # ---- labels and numbers

    def _find_classes(self, y: np.ndarray, weighing: np.ndarray) -> None:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ArgumentError(explain("several columns of classes at once are not one classifier's work",
                                        got=f"y of shape {y.shape}",
                                        fix="sklearn.multioutput.MultiOutputClassifier(cr.estimators.Classifier())"))
        self._multilabel = kind == "multilabel-indicator"
        self.classes_ = np.arange(y.shape[1]) if self._multilabel else unique_labels(y)
        if not self._multilabel and len(unique_labels(weighing)) < 2:
            raise ArgumentError(explain("a classifier needs samples of at least two classes",
                                        got=f"one class, {unique_labels(weighing)[0]!r}"))

    def _encoded(self, y: np.ndarray) -> np.ndarray:
        if self._multilabel:
            return y.astype(self._target_type)
        if len(unknown := np.setdiff1d(y, self.classes_)):
            raise ArgumentError(explain("`y` has classes that the first call did not name",
                                        got=str(unknown[:5].tolist()), expected=str(self.classes_.tolist()[:20])))
        return np.searchsorted(self.classes_, y).astype(np.int64)

    _target_type = np.float32

    def _outputs_of_network(self) -> int:
        return len(self.classes_)

    @property
    def _loss(self) -> str:  # type: ignore[override]
        return "binary_cross_entropy" if self._multilabel else "cross_entropy"

    def _weights_of_classes(self) -> Any:
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        if strange := [label for label in self.class_weight if label not in self.classes_]:
            raise ArgumentError(explain("class_weight names labels that y does not have", got=repr(strange[:5]),
                                        expected=str(self.classes_.tolist()[:20])))
        return {int(np.searchsorted(self.classes_, label)): float(weight)
                for label, weight in self.class_weight.items()}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class Regressor(RegressorMixin, NetworkEstimator):
    __doc__ = f"""A network that predicts numbers, by the weighted mean of squared errors (y - f(x))^2.

    y is (n,) or (n, outputs); it is brought to mean 0 and standard deviation 1 while learning, and back in `predict`.
{PARAMETERS}
    >>> import numpy as np, chainrule as cr
    >>> x = np.linspace(-1, 1, 200)[:, None]
    >>> model = cr.estimators.Regressor(random_state=0).fit(x, x[:, 0] ** 2)
    >>> bool(model.score(x, x[:, 0] ** 2) > 0.99)
    True
    """

    _loss = "mean_squared_error"
    _numbers = True

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Regressor:
        """Learn from rows X (n, features) and numbers y; `sample_weight` (n,). Returns self."""
        x, y, weights = self._checked(X, y, sample_weight)
        self._scale_targets(x, y, weights)
        return self._learn(x, self._target_scale(self._columns(x, y)), weights, self._width)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Regressor:
        """One pass over a part of the data; the first decides the scales. Returns self."""
        first = not hasattr(self, "network_")
        x, y, weights = self._checked(X, y, sample_weight, reset=first)
        if first:
            self._scale_targets(x, y, weights)
        return self._learn_more(x, self._target_scale(self._columns(x, y)), weights, self._width, first)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The numbers, in the shape that y had: (n,) or (n, outputs)."""
        outputs = self._outputs(X)
        values = self._target_scale.back(outputs)
        return values.reshape(-1) if self._flat else values

    def _columns(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return y.reshape(len(y), -1).astype(x.dtype)

    def _scale_targets(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
        columns = self._columns(x, y)
        self._flat, self._width = y.ndim == 1, columns.shape[1]
        some = weights is not None and (weights > 0).any()
        self._target_scale = Scale.of(columns, weights if some else np.ones(len(y), x.dtype))  # type: ignore[arg-type]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _labels(y: np.ndarray) -> np.ndarray:
    """One column of labels is a row of them, with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)
