# SPDX-License-Identifier: Apache-2.0
"""The metrics of a run by their names: those of `metrics`, and every loss, so that one spelling does for `loss=` and `metrics=`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import losses, metrics
from ..ir import no_grad


class LossValue(metrics.Mean):
    """The mean of a loss over all samples as a metric, by its own weights; interval: bootstrap of the samples."""

    def __init__(self, loss: losses.Loss):
        self.loss = loss
        super().__init__(loss, loss.name)

    def update(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> None:
        with no_grad():
            totals, counts = (x.numpy().astype(np.float64) for x in self.loss.per_sample(outputs, targets, weights))
        self._take(np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0), counts)


def named(found: Any) -> metrics.Metric:
    """A metric from its name, the name of a loss, an object, a class or a function."""
    if isinstance(found, losses.Loss):
        return LossValue(found)
    name = losses.SHORT.get(found.lower(), found) if isinstance(found, str) else found
    if isinstance(name, str) and name in losses.TABLE and found.lower() not in metrics.NAMES:
        return LossValue(losses.TABLE[name])
    return metrics.get(found)
