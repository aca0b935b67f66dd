# SPDX-License-Identifier: Apache-2.0
"""Losses and metrics of an epoch so far, as exact sums: what an epoch's row is made of, for any batch size.

In: sums of losses and of weights, outputs, targets and weights of each batch. Out: the columns of the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import losses
from .evaluate import loss_columns
from .pool import Pool


class Tally:
    """The sums of one epoch; `total` and `weight` are numbers, or vectors where there are several losses."""

    def __init__(self, loss: Any, metrics: Sequence[Any]):
        self.loss, self.metrics, self.pool = loss, metrics, Pool(metrics)
        self.total: Any = 0.0
        self.weight: Any = 0.0

    def add(self, total: Any, weight: Any) -> float:
        """The sums of one batch; its loss."""
        self.total = self.total + total
        self.weight = self.weight + weight
        return (self.loss.mean(total, weight) if isinstance(self.loss, losses.Several) else total / weight if weight
                else 0.0)

    def columns(self) -> dict[str, Any]:
        """The losses and metrics of what was added."""
        self.pool.flush()
        return loss_columns(self.loss, self.total,
                            self.weight) | {metric.name: metric.result() for metric in self.metrics}

    def forget(self) -> None:
        """Begin anew."""
        self.total, self.weight = 0.0, 0.0
        self.pool.clear()
        for metric in self.metrics:
            metric.reset()

    def state(self) -> dict[str, Any]:
        """The sums, for a checkpoint."""
        return {"metrics": [metric.state() for metric in self.metrics], "waiting": self.pool.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the sums of a checkpoint."""
        self.total, self.weight = state["total"], state["weight"]
        for metric, saved in zip(self.metrics, state["metrics"], strict=True):
            metric.restore(saved)
        self.pool.restore(state["waiting"])


def numbers(sums: np.ndarray) -> Any:
    """Sums of float32 of several batches as numbers of Python, or as vectors of float64 where there is one for each of
    several losses."""
    return sums.tolist() if sums.ndim < 2 else list(sums.astype(np.float64))
