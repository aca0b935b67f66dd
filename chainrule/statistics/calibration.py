# SPDX-License-Identifier: Apache-2.0
"""Calibration: of the answers given with 80 % confidence, are 80 % right?

In come probabilities and labels, out come a table of bins (how sure, how often right) and the expected calibration
error sum n_b / n |right_b - sure_b|. Sources: Naeini et al., AAAI 2015; Guo et al., ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard
from ..inspect.pictures import BLUE, GREY, ORANGE, PathLike, _picture
from ..metrics.intervals import wilson
from ..metrics.items import checked_labels
from ..typing import ArrayLike
from .checks import by_name


@dataclass(frozen=True, eq=False)
class Reliability:
    """One row per bin of equal width; empty bins have count 0 and NaN elsewhere. Prints as a table.

    Attributes:
        edges: (bins + 1,). counts: items in each bin. confidence: their mean probability. accuracy: their share right.
        low, high: 95 % Wilson interval of the accuracy.

    >>> table = cr.statistics.reliability([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], [0, 0, 1], bins=2)
    >>> print(table)
    confidence       items   mean   right   95 % interval
    0.50 to 1.00        3  0.800  1.000   0.439 to 1.000
    expected calibration error 0.2000
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """Mean over the items of |accuracy - confidence| of their bin."""
        return float(np.nansum(self.counts * np.abs(self.accuracy - self.confidence)) / self.counts.sum())

    @property
    def maximum_calibration_error(self) -> float:
        """The largest |accuracy - confidence| of a bin."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence)))

    def __str__(self) -> str:
        lines = ["confidence       items   mean   right   95 % interval"]
        for i in np.flatnonzero(self.counts):
            lines.append(f"{self.edges[i]:.2f} to {self.edges[i + 1]:.2f} {self.counts[i]:8d}  "
                         f"{self.confidence[i]:.3f}  {self.accuracy[i]:.3f}"
                         f"   {self.low[i]:.3f} to {self.high[i]:.3f}")
        return "\n".join([*lines, f"expected calibration error {self.expected_calibration_error:.4f}"])


    def draw(self, path: PathLike | None = None, ax: Any = None) -> Any:
        """Write the reliability diagram as PNG: the share right over the confidence, with intervals, and the diagonal.
        """
        return _picture(5, 5, path, self._paint, ax)

    def _paint(self, figure: Any) -> None:
        axes, filled = figure.subplots(), self.counts > 0
        middle, width = (self.edges[:-1] + self.edges[1:])[filled] / 2, self.edges[1]
        axes.bar(middle, self.counts[filled] / self.counts.max() * 0.2, width=0.9 * width, color=GREY, alpha=0.4,
                 label="items (relative)")
        sure, right = self.confidence[filled], self.accuracy[filled]
        spread = np.maximum(np.stack([right - self.low[filled], self.high[filled] - right]), 0)
        axes.errorbar(sure, right, yerr=spread, fmt="o-", color=BLUE, capsize=2, label="share right, 95 % interval")
        axes.plot([0, 1], [0, 1], color=ORANGE, linestyle="--", label="perfectly calibrated")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right",
                 title=f"Expected calibration error {self.expected_calibration_error:.3f}")
        axes.legend(loc="upper left")


def reliability(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15) -> Reliability:
    """The reliability table.

    Args:
        probabilities: (n, classes), where the confidence is that of the predicted class; or (n,), the chance of class
            1.
        labels: (n,) integers.
        bins: how many, of equal width in (0, 1].

    >>> cr.statistics.reliability([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], [0, 0, 1], bins=2).counts
    array([0, 3])
    """
    sure, right = _answers(np.asarray(probabilities, np.float64), np.asarray(labels))
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (np.bincount(place, weights=x, minlength=bins) / counts for x in (sure, right))
    bounds = [wilson(round(a * n), n) or (np.nan, np.nan) if n else (np.nan, np.nan)
              for a, n in zip(accuracy, counts, strict=True)]
    low, high = np.array(bounds).T
    return Reliability(edges, counts, confidence, accuracy, low, high)


def _answers(p: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if p.ndim not in (1, 2) or labels.shape != p.shape[:1] or not len(labels):
        raise ShapeError(explain("probabilities and labels do not fit together", got=f"{p.shape} and {labels.shape}",
                                 expected="(n, classes) or (n,), and labels (n,)"))
    if not ((p >= 0) & (p <= 1)).all() or (p.ndim == 2 and np.any(np.abs(p.sum(axis=1) - 1) > 1e-3)):
        raise ArgumentError(explain("these are not probabilities", got=f"values from {p.min():.4g} to {p.max():.4g}"
                                    + (f", rows that sum to {p.sum(axis=1).min():.4g} to {p.sum(axis=1).max():.4g}"
                                       if p.ndim == 2 else ""),
                                    expected="shares from 0 to 1, rows that sum to 1",
                                    fix="apply cr.softmax to logits first"))
    wanted = checked_labels(labels, p.shape[1] if p.ndim == 2 else 2)
    if p.ndim == 1:
        return p, wanted.astype(np.float64)
    return p.max(axis=1), (p.argmax(axis=1) == wanted).astype(np.float64)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15) -> float:
    """Mean |accuracy - confidence|, over bins of equal width weighted by their items.

    >>> cr.statistics.expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1])
    0.4
    """
    return reliability(probabilities, labels, bins=bins).expected_calibration_error


guard(globals(), ("expected_calibration_error", "reliability"), by_name(("expected_calibration_error", "reliability")))

__all__ = ["Reliability", "expected_calibration_error", "reliability"]
