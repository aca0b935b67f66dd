# SPDX-License-Identifier: Apache-2.0
"""The metrics of a run by their names: those of `metrics`, and every loss, so that one spelling does for `loss=` and
`metrics=`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import losses, metrics
from ..errors import ArgumentError, explain
from ..ir import no_grad
from .structure import at


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


class OfOutput:
    """A metric of one output of several: it gets the parts of outputs, targets and weights at its path, and is called
    "OUTPUT_NAME"."""

    def __init__(self, path: tuple[Any, ...], metric: metrics.Metric):
        self.path, self.metric = path, metric
        self.name = f"{'.'.join(map(str, path))}_{metric.name}"

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """One batch, as the model gave it."""
        self.metric.update(at(outputs, self.path), at(targets, self.path),
                           weights if weights is None or isinstance(weights, np.ndarray) else at(weights, self.path))

    def __getattr__(self, name: str) -> Any:
        if name in ("metric", "__setstate__"):  # while a copy is made
            raise AttributeError(name)
        return getattr(self.metric, name)

    def __repr__(self) -> str:
        return f"{self.name} = {self.metric.result():.6g}"


def measured(found: Any, paths: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
    """The metrics of a run: a list of names or objects, or a dict or tuple of such lists by output; a list holds for
    each of the outputs at `paths`."""
    if isinstance(found, Mapping) or (paths and isinstance(found, tuple)):
        return [OfOutput(path, metric) for path, metric in _by_output(found, ())]
    if not paths:
        return [named(metric) for metric in several(found)]
    return [OfOutput(path, named(metric)) for path in paths for metric in several(found)]


def several(found: Any) -> list[Any]:
    """A list of metrics; a single one, or its name, is a list of one."""
    return [found] if isinstance(found, str | type) or hasattr(found, "update") or callable(found) else list(found)


def _by_output(found: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], metrics.Metric]]:
    if isinstance(found, Mapping | tuple):
        return [pair for key, item in (found.items() if isinstance(found, Mapping) else enumerate(found))
                for pair in _by_output(item, (*path, key))]
    return [] if found is None else [(path, named(metric)) for metric in several(found)]


def check_paths(measuring: Sequence[Any], outputs: Any, targets: Any) -> None:
    """ArgumentError for a metric of an output that the model does not give, or that has no targets."""
    for metric in measuring:
        for what, structure in (("outputs", outputs), ("targets", targets)) if isinstance(metric, OfOutput) else ():
            try:
                at(structure, metric.path)
            except (KeyError, IndexError, TypeError):
                known = (", ".join(map(str, structure)) if isinstance(structure, Mapping) else f"{len(structure)} parts"
                         if isinstance(structure, tuple | list) else "one array")
                raise ArgumentError(explain(f"the metric {metric.metric.name} belongs to "
                                            f"{'.'.join(map(str, metric.path))!r}, which the {what} do not "
                                            "have", got=known,
                                            fix="name metrics by the outputs: metrics={output: [...]}")) from None
