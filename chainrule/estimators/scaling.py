# SPDX-License-Identifier: Apache-2.0
"""Columns of mean 0 and standard deviation 1, by weighted means, as part of an estimator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scale:
    """(x - mean) / deviation, each (features,), in the dtype of the data they were taken from."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, weights: np.ndarray) -> Scale:
        """From rows (n, features), each as often as it weighs; a column that never changes is only shifted."""
        wide, share = x.astype(np.float64), weights.astype(np.float64) / weights.sum(dtype=np.float64)
        mean = share @ wide
        deviation = np.sqrt(share @ np.square(wide - mean))
        constant = deviation <= 10 * np.finfo(x.dtype).eps * np.maximum(np.abs(mean), np.finfo(x.dtype).tiny)
        return cls(mean.astype(x.dtype), np.where(constant, 1.0, deviation).astype(x.dtype))

    @classmethod
    def none(cls, x: np.ndarray) -> Scale:
        """The scale that changes nothing."""
        return cls(np.zeros(x.shape[1:], x.dtype), np.ones(x.shape[1:], x.dtype))

    @property
    def dtype(self) -> np.dtype:
        """Of what goes in and comes out."""
        return self.mean.dtype

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The scaled rows."""
        return (x - self.mean) / self.deviation

    def back(self, z: np.ndarray) -> np.ndarray:
        """The rows that were scaled to z."""
        return z * self.deviation + self.mean
