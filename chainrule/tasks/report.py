# SPDX-License-Identifier: Apache-2.0
"""What `evaluate` of a task says: values with intervals, the same of the baselines, and whether the network beats them.

Each comparison is paired, sample by sample, and the p-values are corrected (Holm) for how many baselines there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import metrics
from ..metrics.intervals import Estimate
from ..statistics.paired import adjust
from ..statistics.runs import Comparison, Run, compare
from ..train.evaluate import Result

TINY = 1e-12


class Report(Result):
    """Measured values by name, each an Estimate with its 95 % interval; `str()` shows them with the baselines.

    Attributes:
        samples: how many were measured.
        baselines: their values by name, each a dict like this one.
        verdicts: for each baseline, whether the network beats it, a `statistics.Comparison`.
        notes: what was found in these data, a line each.

    >>> report = cr.tasks.Report({"accuracy": cr.metrics.Estimate(0.9, 0.8, 0.95, percent=True)}, samples=100)
    >>> float(report["accuracy"]), report.samples
    (0.9, 100)
    """

    def __init__(self, values: Mapping[str, Estimate], samples: int = 0, baselines: Mapping[str, Mapping[str, Estimate]]
                 | None = None,
                 verdicts: Mapping[str, Comparison] | None = None, notes: Sequence[str] = ()):
        super().__init__(values)
        self.samples, self.notes = samples, list(notes)
        self.baselines = {name: dict(found) for name, found in (baselines or {}).items()}
        self.verdicts = dict(verdicts or {})

    def __reduce__(self) -> Any:
        return (_remade, (dict(self), self.samples, self.baselines, self.verdicts, self.notes, self.each,
                          self.each_is_right))

    def beats(self, baseline: str) -> bool:
        """Whether the network is better than this baseline, by the paired test at the 5 % level."""
        verdict = self.verdicts[baseline]
        return verdict.significant and verdict.difference > 0

    def __str__(self) -> str:
        lines = [f"{name:14} {value}" for name, value in self.items()]
        for name, verdict in self.verdicts.items():
            first, value = next(iter(self.baselines[name].items()))
            lines.append(f"beside {name}: {first} {_short(value)}; {verdict}")
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


def _remade(values: Any, samples: int, baselines: Any, verdicts: Any, notes: Any, each: Any,
            each_is_right: bool) -> Report:
    report = Report(values, samples, baselines, verdicts, notes)
    report.each, report.each_is_right = each, each_is_right
    return report


def _short(value: Estimate) -> str:
    return f"{100 * value:.1f} %" if value.percent else f"{float(value):.4g}"


def verdicts(network: Run, baselines: Sequence[Run]) -> dict[str, Comparison]:
    """Network against each baseline, corrected for their number; a baseline with the very same values has shown no
    difference."""
    found = [compare(baseline, network) for baseline in baselines]
    p = adjust([one.p for one in found]) if found else ()
    return {run.name: replace(one, p=float(value), corrected_for=len(found))
            for run, one, value in zip(baselines, found, p, strict=True)}


def of_classes(answers: Mapping[str, np.ndarray], labels: np.ndarray, chosen: Mapping[str, np.ndarray] | None = None,
               names: Sequence[str] = ("accuracy", "log_loss", "f1_macro"), notes: Sequence[str] = ()) -> Report:
    """The report of classifiers.

    Args:
        answers: probabilities (n, classes) by name, "network" first, then the baselines.
        labels: class numbers (n,).
        chosen: class numbers (n,) that were answered where that is not the most probable class, as with a threshold.
        names: of metrics.
    """
    chosen = {name: found.argmax(axis=1) for name, found in answers.items()} | dict(chosen or {})
    values = {name: _class_values(found, labels, chosen[name], names) for name, found in answers.items()}
    runs = [Run(name, (chosen[name] == labels).astype(np.float64), "item") for name in answers]
    report = Report(values.pop("network"), len(labels), values, verdicts(runs[0], runs[1:]), notes)
    report.each, report.each_is_right = runs[0].values, True
    return report


def _class_values(probabilities: np.ndarray, labels: np.ndarray, chosen: np.ndarray,
                  names: Sequence[str]) -> dict[str, Estimate]:
    answered = np.where(np.arange(probabilities.shape[1]) == chosen[:, None], 1.0 - TINY, TINY)
    found = {}
    for name in names:
        metric = metrics.get(name, probabilities=True)
        metric.update(probabilities if name in ("log_loss", "auc", "average_precision") else answered, labels)
        found[name] = metric.estimate()
    return found


def of_numbers(answers: Mapping[str, np.ndarray], targets: np.ndarray, notes: Sequence[str] = ()) -> Report:
    """The report of regressions: root mean squared and mean absolute error, R²; the verdicts are on squared errors.

    Args:
        answers: numbers (n,) by name, "network" first, then the baselines.
        targets: (n,).
    """
    values = {}
    for name, found in answers.items():
        values[name] = {}
        for measure in ("rmse", "mae", "r2"):
            metric = metrics.get(measure)
            metric.update(found, targets)
            values[name][measure] = metric.estimate()
    runs = [Run.of_losses(name, np.square(found - targets)) for name, found in answers.items()]
    report = Report(values.pop("network"), len(targets), values, verdicts(runs[0], runs[1:]), notes)
    report.each, report.each_is_right = np.abs(answers["network"] - targets), False
    return report
