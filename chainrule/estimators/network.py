# SPDX-License-Identifier: Apache-2.0
"""What classifiers and regressors share: from checked arrays to a trained network and back to its outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import nn, optim, train
from ..errors import ArgumentError, explain
from ..nn import Module
from ..typing import ActivationLike, OptimizerLike
from .scaling import Scale

LARGEST_BATCH = 128  # of batch_size="auto": large enough for the products, small enough for many steps in an epoch
FLOATS = (np.float64, np.float32)  # what comes in as one of them is computed in it


class NetworkEstimator(BaseEstimator):
    """Parameters, training and outputs of an estimator; subclasses turn targets into numbers and outputs into answers.
    """

    _loss: str

    def __init__(self, hidden: Sequence[int] = (64,), *, activation: ActivationLike = "relu", dropout: float = 0.0,
                 epochs: int = 100, batch_size: int | str = "auto", optimizer: OptimizerLike = "adamw",
                 learning_rate: float = 0.01, weight_decay: float = 1e-4, early_stopping: bool = False,
                 validation_fraction: float = 0.1, patience: int = 10, standardize: bool = True,
                 network: Module | Callable[[int, int], Module] | None = None, random_state: Any = None,
                 precision: str = "float32", backend: str | None = None, verbose: bool = False):
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.standardize = standardize
        self.network = network
        self.random_state = random_state
        self.precision = precision
        self.backend = backend
        self.verbose = verbose

    # ---- training

    def _learn(self, x: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, outputs: int,
               **options: Any) -> Any:
        """Fit a fresh network to numbers."""
        x, targets, weights = _with_weight(x, targets, weights)
        self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self._scale_inputs(x, weights)
        self.network_ = self._fresh_network(x.shape[1], outputs, x.dtype)
        learnt, held_out = self._split(x, targets, weights)
        steps = self.epochs * math.ceil(len(learnt[0]) / self._rows(len(learnt[0])))
        self.optimizer_ = self._fresh_optimizer(optim.schedules.cosine(self.learning_rate, steps))
        self.history_ = self._run(learnt, held_out, self.epochs, **options)
        self.n_iter_ = len(self.history_.rows)
        self.loss_curve_ = [row["loss"] for row in self.history_.rows]
        return self

    def _learn_more(self, x: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, outputs: int, first: bool,
                    **options: Any) -> Any:
        """One pass over a part of the data, at a constant rate; the first part decides the scale of the inputs."""
        x, targets, weights = _with_weight(x, targets, weights)
        if first:
            self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            self._scale_inputs(x, weights)
            self.network_ = self._fresh_network(x.shape[1], outputs, x.dtype)
            self.optimizer_ = self._fresh_optimizer(self.learning_rate)
            self.n_iter_, self.loss_curve_ = 0, []
        x = x.astype(self._scale.dtype, copy=False)
        self.history_ = self._run((self._scale(x), targets, weights), None, 1, **options)
        self.n_iter_ += 1
        self.loss_curve_.append(self.history_.rows[-1]["loss"])
        return self

    def _run(self, learnt: Any, held_out: Any, epochs: int, **options: Any) -> train.History:
        callbacks = [train.EarlyStopping(patience=self.patience)] if held_out is not None else []
        return train.fit(self.network_, learnt, loss=self._loss, optimizer=self.optimizer_, epochs=epochs,
                         batch_size=self._rows(len(learnt[0])), validation=held_out, callbacks=callbacks,
                         seed=self._seed, progress=self.verbose, precision=self.precision, backend=self.backend,
                         **options)

    def _split(self, x: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[Any, Any]:
        """(what is learnt from, what is held out to know when to stop)."""
        if not self.early_stopping:
            return (self._scale(x), targets, weights), None
        classes = targets if targets.dtype.kind == "i" and targets.ndim == 1 else None
        x_learnt, x_held, y_learnt, y_held, w_learnt, w_held = train_test_split(
            self._scale(x), targets, weights, test_size=self.validation_fraction, random_state=self._seed,
            stratify=classes)
        return (x_learnt, y_learnt, w_learnt), (x_held, y_held, w_held)

    def _rows(self, samples: int) -> int:
        if self.batch_size == "auto":
            return min(LARGEST_BATCH, samples)
        if isinstance(self.batch_size, str) or self.batch_size < 1:
            raise ArgumentError(explain("this is no size of a batch", got=f"batch_size={self.batch_size!r}",
                                        expected='a positive integer or "auto"'))
        return min(int(self.batch_size), samples)

    def _fresh_network(self, features: int, outputs: int, dtype: np.dtype) -> Module:
        if isinstance(self.network, Module):
            return copy.deepcopy(self.network)
        if self.network is not None:
            return self.network(features, outputs)
        layers: list[Module] = []
        for width in self.hidden:
            layers.append(nn.Dense(int(width), activation=self.activation, dtype=dtype))
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential([*layers, nn.Dense(outputs, dtype=dtype)])

    def _fresh_optimizer(self, rate: Any) -> optim.Optimizer:
        if isinstance(self.optimizer, optim.Optimizer):
            return copy.deepcopy(self.optimizer)
        optimizer = optim.get(self.optimizer)
        optimizer.learning_rate, optimizer.weight_decay = rate, self.weight_decay
        return optimizer

    def _scale_inputs(self, x: np.ndarray, weights: np.ndarray) -> None:
        self._scale = Scale.of(x, weights) if self.standardize else Scale.none(x)

    # ---- outputs

    def _outputs(self, x: Any) -> np.ndarray:
        """What the network says to rows (n, features): (n, outputs)."""
        check_is_fitted(self, "network_")
        x = validate_data(self, x, dtype=FLOATS, reset=False).astype(self._scale.dtype, copy=False)
        return train.predict(self.network_, self._scale(x), precision=self.precision, backend=self.backend).numpy()

    def _checked(self, x: Any, y: Any, sample_weight: Any,
                 reset: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        x, y = validate_data(self, x, y, dtype=FLOATS, multi_output=True, y_numeric=self._numbers, reset=reset)
        weights = (None if sample_weight is None
                   else _check_sample_weight(sample_weight, x, dtype=x.dtype, ensure_non_negative=True))
        return x, y, weights

    _numbers = False


def _with_weight(x: np.ndarray, targets: np.ndarray,
                 weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples that weigh anything: one of no weight is one that is not there, in every batch and in the scale."""
    if weights is None:
        return x, targets, np.ones(len(x), x.dtype)
    there = weights > 0
    if not there.any():
        raise ArgumentError(explain("no sample has a weight above zero", got=f"{len(x)} weights of 0",
                                    fix="leave out sample_weight"))
    return x[there], targets[there], weights[there]
