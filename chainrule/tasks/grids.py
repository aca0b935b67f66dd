# SPDX-License-Identifier: Apache-2.0
"""What classifiers of images and of sounds share: a convolutional network on grids (n, H, W, C), trained with a rate
that rises and falls,
its probabilities calibrated by a temperature, beside a linear model of the grid's numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import losses, nn, optim
from ..data import preprocess_from_config, split
from ..data.preprocess import fit_array
from ..errors import ArgumentError, explain
from ..metrics.scores import softmax
from ..train.evaluate import predict
from ..train.fit import fit
from .answers import Classification
from .base import NETWORK

STEPS = 1800  # of the optimiser, where the number of epochs is not given
LINEAR_EPOCHS = 8


class GridClassifier(Classification):
    """A classifier whose network takes grids; a task says what these are (`_grids_and_labels`), and chooses network and
    augmentation."""

    augment: Any = True
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    held_out: float = 0.1
    progress: bool = False
    backend: str | None = None

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense."""
        super().check()
        if not 0 <= self.label_smoothing < 1:
            raise ArgumentError(explain("label_smoothing is a share", got=f"{self.label_smoothing}",
                                        expected="a number from 0 to below 1"))

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """(H, W, C) of a sample as the network takes it; ArgumentError before `fit`."""
        self._need_fit()
        return tuple(self._preprocess.feature_shape)

    @property
    def _preprocess(self) -> Any:
        return preprocess_from_config(self.state["preprocess"])

    def _grids_and_labels(self, data: Any, part: str) -> tuple[np.ndarray, np.ndarray]:
        """(grids (n, H, W, C), labels as they came in) of data with classes."""
        raise NotImplementedError

    def _network(self, shape: tuple[int, ...]) -> nn.Module:
        """The network, not built, for grids of this shape."""
        raise NotImplementedError

    def _augmentation(self, grids: np.ndarray, codes: np.ndarray) -> Any:
        """What is done to training samples; None for nothing."""
        raise NotImplementedError

    def _pairs(self, data: Any) -> tuple[np.ndarray, np.ndarray]:
        grids, labels = self._grids_and_labels(data, "test")
        return self._preprocess.transform(grids), labels

    # ---- learning

    def _learn(self, data: Any, validation: Any, seed: int) -> None:
        grids, labels = self._grids_and_labels(data, "train")
        codes = self._classes_of(labels, fix="to predict numbers, give a network of your own to cr.fit")
        kept, held = (np.arange(len(codes)), None) if validation is not None or not self.held_out else \
            split(len(codes), (1 - self.held_out, self.held_out), seed, stratify=codes)
        self.state["preprocess"] = fit_array(grids[kept]).to_config()
        x = self._preprocess.transform(grids)
        checked = (x[held], codes[held]) if held is not None else None
        if validation is not None:
            more, names = self._grids_and_labels(validation, "test")
            checked = self._preprocess.transform(more), self._codes(names)
        self.notes.append(f"{len(kept):,} samples of {'x'.join(map(str, x.shape[1:]))} to learn from"
                          + ("" if checked is None else f", {len(checked[1]):,} to check by"))
        self._choose(len(kept))
        network, training = self._network(x.shape[1:]), (x[kept], codes[kept])
        fit(network, training, loss=losses.cross_entropy.using(label_smoothing=self.label_smoothing),
            optimizer=self._optimizer(len(kept)), epochs=self.epochs or 1, batch_size=self.batch_size or 1,
            validation=checked, metrics=["accuracy"], augment=self._chosen_augmentation(grids[kept], codes[kept]),
            seed=seed, progress=self.progress, backend=self.backend)
        self.parts = {NETWORK: network, "linear": self._linear(training, seed)}
        self.state["temperature"] = 1.0
        if checked is not None:
            self.state["temperature"] = best_temperature(self._logits(checked[0], NETWORK), checked[1])

    def _choose(self, samples: int) -> None:
        self.batch_size = min(samples, self.batch_size or (128 if samples >= 20_000 else 64 if samples >= 4000 else 32))
        self.epochs = self.epochs or int(np.clip(round(STEPS * self.batch_size / samples), 4, 40))

    def _optimizer(self, samples: int) -> Any:
        steps = (self.epochs or 1) * -(-samples // (self.batch_size or 1))
        return optim.AdamW(optim.schedules.one_cycle(self.learning_rate, steps), weight_decay=self.weight_decay)

    def _chosen_augmentation(self, grids: np.ndarray, codes: np.ndarray) -> Any:
        if isinstance(self.augment, bool):
            return self._augmentation(grids, codes) if self.augment else None
        return self.augment

    def _linear(self, training: Any, seed: int) -> nn.Module:
        linear = nn.Sequential([nn.Flatten(), nn.Dense(len(self.classes), weight_initializer="zeros")])
        fit(linear, training, loss="cross_entropy", optimizer=optim.AdamW(1e-3), epochs=LINEAR_EPOCHS,
            batch_size=self.batch_size or 1, seed=seed, progress=False, backend=self.backend)
        return linear

    # ---- answers

    def _logits(self, x: np.ndarray, part: str) -> np.ndarray:
        return predict(self.parts[part], x, backend=self.backend, batch_size=256).numpy().astype(np.float64)

    def _proba(self, x: Any, part: str = NETWORK) -> np.ndarray:
        return softmax(self._logits(x, part) / (self.state.get("temperature", 1.0) if part == NETWORK else 1.0))


def best_temperature(logits: np.ndarray, codes: np.ndarray) -> float:
    """The T with the least cross-entropy of softmax(logits / T), between 0.05 and 20: it is convex in 1 / T, so
    bisected by its slope.

    Targets are smoothed by one sample in n + 2 (Platt, 1999), without which T were 0 where all n samples are right.
    """
    n, k = logits.shape
    targets = np.full((n, k), 1 / (n + 2) / max(1, k - 1))
    targets[np.arange(n), codes] = 1 - 1 / (n + 2)
    low, high = 1 / 20, 20.0  # of 1 / T
    for _ in range(60):
        middle = np.sqrt(low * high)
        slope = ((softmax(logits * middle) - targets) * logits).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(1 / np.sqrt(low * high))
