# SPDX-License-Identifier: Apache-2.0
"""One trial as the training function sees it, and its running: settings and a seed in, a number out.

    def train(trial):
        model = nn.Sequential([nn.Dense(trial["units"], activation="relu"), nn.Dense(10)])
        history = cr.fit(model, data, seed=trial.seed, callbacks=[trial.reports("validation_loss")], ...)
        return history["validation_loss"][-1]
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import metrics
from ..errors import ArgumentError, NonFiniteError, explain
from ..foundations.names import closest
from ..train import Callback
from .journal import Journal
from .pruning import ASHA
from .space import Settings

TrainFunction = Callable[["Trial"], float]


class Pruned(Exception):
    """Raised by `Trial.report` to end a trial that will not win; let it pass.

    >>> issubclass(cr.tuning.Pruned, Exception)
    True
    """


@dataclass(frozen=True)
class Trial:
    """Settings to try: `trial["learning_rate"]`; `name in trial` for those that exist under conditions only.

    Attributes:
        number: from 0; `seed`: for everything random in this trial.
        settings: all that was chosen.

    >>> def train(trial):
    ...     return abs(trial["x"] - 0.5)
    >>> found = cr.tune(train, {"x": cr.tuning.uniform(0.0, 1.0)}, trials=20)
    >>> found.best.value < 0.1
    True
    """

    number: int
    seed: int
    settings: Settings
    journal: Journal | None = None
    prune: ASHA | None = None
    sign: float = 1.0

    def __getitem__(self, name: str) -> Any:
        if name not in self.settings:
            raise ArgumentError(explain(f"this trial has no {name!r}",
                                        got=", ".join(f"{k}={v!r}" for k, v in self.settings.items()),
                                        fix=closest(name, self.settings)
                                        or f"put {name!r} into the space; where it has a condition, ask `{name!r} in "
                                           "trial`"))
        return self.settings[name]

    def __contains__(self, name: str) -> bool:
        return name in self.settings

    def report(self, step: int, value: float) -> None:
        """Tell how far it has come (step from 1: epochs, say); raises Pruned if others were clearly better by then."""
        if self.journal is None:
            return
        self.journal.write(kind="report", number=self.number, step=int(step), value=float(value))
        if self.prune is not None and self.prune.stops(self.number, int(step), self.sign * value,
                                                       self.journal.records(self.sign).values()):
            raise Pruned

    def reports(self, monitor: str = "validation_loss") -> Callback:
        """A callback for `fit` that reports this column of the history after each epoch."""
        return _Reports(self, monitor)


class _Reports(Callback):
    def __init__(self, trial: Trial, monitor: str):
        self.trial, self.monitor = trial, monitor

    def after_epoch(self, run: Any, row: dict[str, Any]) -> None:
        value = run.history[self.monitor][-1]
        self._check(metrics.direction(self.monitor, run.history.directions))
        self.trial.report(row["epoch"], value)

    def _check(self, larger: bool | None) -> None:
        if self.trial.journal is not None and larger is not None and larger is not (self.trial.sign < 0):
            raise ArgumentError(explain(f"the search goes the other way than {self.monitor}",
                                        got=f"higher_is_better={self.trial.sign < 0}",
                                        expected=f"{'larger' if larger else 'smaller'} values are better",
                                        fix=f"tune(..., higher_is_better={larger})"))


def run_trial(train: TrainFunction, trial: Trial) -> tuple[str, float, float]:
    """(state, value, seconds): "finished", "pruned", or "diverged" where a NaN or infinity came out or stopped the
    training.
    """
    started = time.perf_counter()
    try:
        value = _number(train(trial))
        state = "finished" if math.isfinite(value) else "diverged"
    except Pruned:
        state, value = "pruned", math.nan
    except NonFiniteError:
        state, value = "diverged", math.nan
    return state, value, time.perf_counter() - started


def _number(result: Any) -> float:
    try:
        return float(result)
    except (TypeError, ValueError):
        raise ArgumentError(explain("the training function returned no number", got=f"{result!r:.80}",
                                    expected="the value of these settings",
                                    fix='for example return history["validation_loss"][-1]')) from None
