# SPDX-License-Identifier: Apache-2.0
"""Rosenblatt's perceptron: one unit with a step, corrected by each example that it gets wrong.

If some line separates the classes, it stops after at most (R / gamma)^2 corrections (Novikoff, 1962), where R is the
largest norm of an example (x, 1) and gamma the margin of any separating unit vector. If none does, the weights of
rational examples come back to where they were, and that is told. Source: Rosenblatt (1958), "The perceptron".
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..typing import ArrayLike


class Perceptron:
    """y = the second class where w . x + b > 0, else the first.

    Args:
        epochs: passes over the examples after which it gives up.

    After `fit`: `weight` (features,), `bias`, `classes` (2,), `mistakes` (corrections that were made), `epochs_run`,
    `separable` (True: all examples are right; False: no line can separate them; None: not decided in `epochs`), `bound`
    (the limit (R / gamma)^2 of the corrections, from the margin of the solution found; None without one).

    >>> x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 0, 0, 1])
    >>> cr.models.Perceptron().fit(x, y).predict(x)
    array([0, 0, 0, 1])
    """

    def __init__(self, epochs: int = 1000):
        if epochs < 1:
            raise ArgumentError(explain("a perceptron learns for one epoch at least", got=f"epochs={epochs}"))
        self.epochs = int(epochs)

    def fit(self, x: ArrayLike, y: ArrayLike) -> Perceptron:
        """Learn from examples (n, features) and their labels (n,), of two kinds; returns self."""
        x, y = np.asarray(x, np.float64), np.asarray(y)
        self.classes = np.unique(y)
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise ShapeError(explain("a perceptron learns rows and labels", got=f"x {x.shape}, y {y.shape}",
                                     expected="(n, features) and (n,)"))
        if len(self.classes) != 2:
            raise ArgumentError(explain("a perceptron tells two classes apart", got=f"{len(self.classes)} classes",
                                        fix="one perceptron per class"))
        extended, signs = np.concatenate([x, np.ones((len(x), 1))], axis=1), np.where(y == self.classes[1], 1.0, -1.0)
        self._learn(extended * signs[:, None])
        self.weight, self.bias = self._w[:-1], float(self._w[-1])
        self.bound = self._bound(extended, signs) if self.separable else None
        return self

    def _learn(self, examples: np.ndarray) -> None:
        """w += z for every z = y (x, 1) with w . z <= 0, until there is none or w was here before."""
        self._w, self.mistakes, self.separable = np.zeros(examples.shape[1]), 0, None
        seen = {self._w.tobytes()}
        for epoch in range(1, self.epochs + 1):
            self.epochs_run, before = epoch, self.mistakes
            for z in examples:
                if self._w @ z <= 0:
                    self._w = self._w + z
                    self.mistakes += 1
            if self.mistakes == before:
                self.separable = True
                return
            if self._w.tobytes() in seen:  # what was added since adds up to 0: no w can have them all positive
                self.separable = False
                return
            seen.add(self._w.tobytes())

    def _bound(self, x: np.ndarray, signs: np.ndarray) -> float:
        margin = float((signs * (x @ self._w)).min() / np.linalg.norm(self._w))
        return float((np.linalg.norm(x, axis=1).max() / margin) ** 2)

    def decision(self, x: ArrayLike) -> np.ndarray:
        """w . x + b for rows (n, features)."""
        if not hasattr(self, "weight"):
            raise ArgumentError(explain("the weights are not known yet", got="Perceptron that was not fitted",
                                        fix="call fit(x, y) first"))
        return np.asarray(x, np.float64) @ self.weight + self.bias

    def predict(self, x: ArrayLike) -> np.ndarray:
        """The class of each row."""
        positive = self.decision(x) > 0
        return self.classes[positive.astype(int)]

    @property
    def verdict(self) -> str:
        """What came out, in one line."""
        if not hasattr(self, "weight"):
            return "not fitted"
        if self.separable:
            return f"separated after {self.mistakes} corrections in {self.epochs_run} epochs (bound {self.bound:.4g})"
        if self.separable is False:
            return ("not solvable: the weights came back to where they were, so no line separates the classes; "
                    "add a hidden layer")
        return (f"undecided after {self.epochs} epochs and {self.mistakes} corrections: not separable, "
                "or with a very small margin")

    def __repr__(self) -> str:
        return f"Perceptron({self.verdict})"
