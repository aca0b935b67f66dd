# SPDX-License-Identifier: Apache-2.0
"""A learning rate that falls when a metric stands still: driven by what is measured, not by the step, so it is no
schedule but a watcher: give it to `fit` among the callbacks, or call `observe` once per epoch in a loop of your own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import metrics
from ..errors import ArgumentError, explain, shown
from ..foundations.arguments import count, guard_methods
from ..foundations.names import Checked, closest
from ..typing import TrainingRun
from .base import Optimizer, not_negative, positive
from .settings import OF_OPTIMIZERS


class Plateau(metaclass=Checked):
    """Multiply the learning rate by `factor` when `monitor` has not improved for more than `patience` epochs.

    Args:
        monitor: name of a column of the history.
        factor: in (0, 1).
        patience: epochs without improvement that are put up with.
        min_delta: what counts as an improvement; with `relative`, as a share of the best value.
        cooldown: epochs after a reduction in which nothing is counted.
        least: the learning rate does not fall below this.
        larger_is_better: by default as the metric of `monitor` says; needed only for numbers that are no metric.

    >>> plateau = cr.optim.Plateau("validation_loss", factor=0.5, patience=3)
    >>> plateau.monitor, plateau.factor
    ('validation_loss', 0.5)
    """

    FIXES = {
        "mode": "leave it out: the direction comes from the metric; larger_is_better=True or False for a number that "
                "is no metric",
        "threshold": "min_delta=...", "min_lr": "least=...", "verbose": "leave it out",
        "optimizer": "leave it out: `fit` gives its own",
    }

    def __init__(self, monitor: str = "validation_loss", factor: float = 0.1, patience: int = 10,
                 min_delta: float = 1e-4, cooldown: int = 0, least: float = 0.0, larger_is_better: bool | None = None,
                 relative: bool = False):
        if not 0 < factor < 1:
            raise ArgumentError(explain("the factor of a plateau makes the learning rate smaller", got=shown(factor),
                                        expected="a number between 0 and 1"))
        self.monitor, self.factor, self.patience = monitor, positive("factor", factor), int(patience)
        self.min_delta, self.least, self.cooldown = not_negative("min_delta", min_delta), least, int(cooldown)
        self.larger_is_better, self.relative = larger_is_better, relative
        self.best, self.waited, self.resting = math.inf, 0, 0

    def observe(self, value: float, optimizer: Optimizer) -> bool:
        """Tell it the value of an epoch; whether the learning rate was reduced."""
        return self._observe(value, optimizer, {})

    def _observe(self, value: float, optimizer: Optimizer, directions: Mapping[str, bool]) -> bool:
        up = (metrics.larger_is_better(self.monitor, directions) if self.larger_is_better is None
              else self.larger_is_better)
        value = -value if up else value
        self.resting = max(self.resting - 1, 0)
        better = self.min_delta * (abs(self.best) if self.relative and math.isfinite(self.best) else 1.0)
        if value < self.best - better:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.resting:
            self.waited = 0
        if self.waited <= self.patience:
            return False
        if optimizer.schedule is not None:
            raise ArgumentError(explain("a schedule decides the learning rate, so a plateau cannot",
                                        got=shown(optimizer), fix="give the optimiser a number"))
        self.waited, self.resting = 0, self.cooldown + 1 if self.cooldown else 0
        before = optimizer.learning_rate
        optimizer.learning_rate = max(before * self.factor, self.least)
        return optimizer.learning_rate < before

    # ---- what `fit` calls

    def begin(self, run: TrainingRun) -> None:
        """Nothing to prepare."""

    def after_step(self, run: TrainingRun) -> None:
        """Nothing happens between epochs."""

    def steps_apart(self, run: TrainingRun) -> float:
        """Any number of steps may pass between two calls of `after_step`."""
        return math.inf

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        """Look at the row of the history."""
        if self.monitor not in row:
            meant = closest(self.monitor.replace("val_", "validation_"), row)
            raise ArgumentError(explain(f"there is no {self.monitor} to watch", got=", ".join(row),
                                        fix=meant or "give fit validation data, or watch another column"))
        self._observe(float(row[self.monitor]), run.optimizer, run.history.directions)

    def end(self, run: TrainingRun) -> None:
        """Nothing to close."""

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"best": None if math.isinf(self.best) else self.best, "waited": self.waited, "resting": self.resting}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.best = math.inf if state["best"] is None else state["best"]
        self.waited, self.resting = state["waited"], state["resting"]


guard_methods(Plateau, ["__init__"], {"__init__": {**OF_OPTIMIZERS, "patience": count, "cooldown": count}})

__all__ = ["Plateau"]
