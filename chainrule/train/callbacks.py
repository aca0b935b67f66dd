# SPDX-License-Identifier: Apache-2.0
"""What may happen beside training: early stopping, keeping checkpoints, writing logs.

A callback sees the run as `train.Run` says (`run.model`, `run.optimizer`, `run.history`, `run.epoch`) and may set
`run.stop`. What it needs to go on after an interruption it returns from `state`.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from ..foundations.names import Checked
from ..io.tensors import assign_arrays, variable_arrays
from ..typing import ModelLike, TrainingRun
from .logs import CsvLog, JsonLinesLog, Log, TensorBoardLog


class Callback(metaclass=Checked):
    """Base of all callbacks: every method may be left out.

    >>> class Count(cr.train.Callback):
    ...     epochs = 0
    ...     def after_epoch(self, run, row):
    ...         self.epochs += 1
    >>> x, count = np.ones((8, 1), "float32"), Count()
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=3, callbacks=[count], progress=False)
    >>> count.epochs
    3
    """

    only_fit = False
    """Whether it looks at the loss or at samples, which a run of a Trainer does not have."""

    FIXES = {
        "mode": "leave it out: the direction comes from the metric; larger_is_better=True or False for a number that "
                "is no metric",
        "restore_best_weights": "restore_best=True, which is the default", "threshold": "min_delta=...",
        "min_lr": "least=...", "verbose": "leave it out",
        "save_best_only": "leave it out: with validation data `fit` keeps the best weights", "filepath": "path",
        "save_freq": "every=epochs or every_steps=steps",
        "save_weights_only": "leave it out; cr.save(model, path) writes a model",
        "baseline": "train.Until(target={name: value})",
        "start_from_epoch": "leave it out", "stopping_threshold": "train.Until(target={name: value})",
        "save_top_k": "leave it out",
    }

    def begin(self, run: TrainingRun) -> None:
        """Before the first step (of a new or a resumed run)."""

    def after_step(self, run: TrainingRun) -> None:
        """After each step."""

    def steps_apart(self, run: TrainingRun) -> float:
        """How many steps may pass until `after_step` has to be called; a class that has an `after_step` and not this is
        called after each."""
        return math.inf

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        """After each epoch, with its row of the history."""

    def end(self, run: TrainingRun) -> None:
        """After the last step, also when the run was interrupted."""

    def needs_arrays(self, model: ModelLike) -> bool:
        """Whether it works on all training samples; a run with others than those in memory refuses it then."""
        return False

    def state(self) -> dict[str, Any]:
        """Plain data and arrays that `restore` needs."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""


def steps_apart(callback: Any, run: TrainingRun) -> float:
    """How many steps may pass until `callback.after_step` has to be called."""
    owner = {name: next((c for c in type(callback).__mro__ if name in vars(c)), None)
             for name in ("after_step", "steps_apart")}
    said = (owner["steps_apart"] is not None
            and (owner["after_step"] is None or issubclass(owner["steps_apart"], owner["after_step"])))
    return callback.steps_apart(run) if said else 1


def start_afresh(callback: Any) -> None:
    """A callback that was in a run before is again as it was before its first one."""
    first = getattr(callback, "_first_state", None)
    if first is not None:
        callback.restore(copy.deepcopy(first))
        return
    with contextlib.suppress(AttributeError):  # objects that take no attributes have to know by themselves
        callback._first_state = copy.deepcopy(callback.state())


def saved_states(callbacks: Sequence[Any]) -> list[dict[str, Any]]:
    """Kind and state of each callback that has a state."""
    return [{"kind": type(callback).__name__, "state": state} for callback in callbacks if (state := callback.state())]


def check_kinds(callbacks: Sequence[Any], saved: Sequence[dict[str, Any]]) -> None:
    """ArgumentError unless the callbacks with a state are those whose states were saved, in the same order."""
    now, was = [type(callback).__name__ for callback in _with_state(callbacks)], [item["kind"] for item in saved]
    if now != was:
        raise ArgumentError(explain("the checkpoint belongs to a run with other callbacks",
                                    got=", ".join(now) or "none that has a state", expected=", ".join(was)
                                    or "none that has a state", fix="give fit the same callbacks, in the same order"))


def restore_states(callbacks: Sequence[Any], saved: Sequence[dict[str, Any]]) -> None:
    """Give each callback the state that was saved."""
    for callback, item in zip(_with_state(callbacks), saved, strict=True):
        callback.restore(item["state"])


def _with_state(callbacks: Sequence[Any]) -> list[Any]:
    return [callback for callback in callbacks if callback.state()]


class EarlyStopping(Callback):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs; keep the best weights.

    The direction follows from the metric: accuracy up, loss down; `larger_is_better` says it for numbers that are no
    metric. With `restore_best`, the model ends with the weights of its best epoch, also when all epochs were used.

    >>> x = np.zeros((8, 1), "float32")
    >>> stop = cr.train.EarlyStopping("loss", patience=2)
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=50, callbacks=[stop], progress=False)
    >>> len(history.rows)
    3
    """

    def __init__(self, monitor: str = "validation_loss", patience: int = 5, min_delta: float = 0.0,
                 restore_best: bool = True, larger_is_better: bool | None = None):
        if patience < 1 or min_delta < 0:
            raise ArgumentError(explain("patience is a number of epochs", got=f"{patience=}, {min_delta=}",
                                        expected="patience >= 1, min_delta >= 0"))
        self.monitor, self.patience, self.min_delta, self.restore_best = monitor, patience, min_delta, restore_best
        self.larger_is_better = larger_is_better
        self.best, self.best_epoch, self.waited = math.nan, 0, 0
        self.weights: dict[str, np.ndarray] = {}

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        value = run.history[self.monitor][-1]
        if self._improved(value, run.history.larger_is_better(self.monitor, self.larger_is_better)):
            self.best, self.best_epoch, self.waited = value, row["epoch"], 0
            self.weights = variable_arrays(run.model.variables()) if self.restore_best else {}
            return
        self.waited += 1
        if self.waited >= self.patience:
            run.stop = True
            run.reporter.say(f"stopped early: {self.monitor} has not improved for {self.patience} epochs; best "
                             f"{self.best:.4g} in epoch {self.best_epoch}")

    def _improved(self, value: float, larger: bool) -> bool:
        if value is None or math.isnan(value):
            return False
        gain = value - self.best if larger else self.best - value
        return math.isnan(self.best) or gain > self.min_delta

    def end(self, run: TrainingRun) -> None:
        if not self.weights or run.history.interrupted:
            return
        assign_arrays(run.model.variables(), self.weights, "model")
        run.history.kept = {"epoch": self.best_epoch, self.monitor: self.best}
        if self.best_epoch < len(run.history):
            run.reporter.say(f"kept the weights of epoch {self.best_epoch}, the best by {self.monitor}: "
                             f"{self.best:.4g}")

    def state(self) -> dict[str, Any]:
        return {"best": None if math.isnan(self.best) else self.best, "best_epoch": self.best_epoch,
                "waited": self.waited, "weights": self.weights}

    def restore(self, state: dict[str, Any]) -> None:
        self.best = math.nan if state["best"] is None else state["best"]
        self.best_epoch, self.waited, self.weights = state["best_epoch"], state["waited"], state["weights"]


class KeepBest(EarlyStopping):
    """Keep the best weights by `monitor`, and stop never: what `fit` does with validation data."""

    def __init__(self, monitor: str = "validation_loss", larger_is_better: bool | None = None):
        super().__init__(monitor, patience=2**62, larger_is_better=larger_is_better)


class Checkpoint(Callback):
    """Write the whole run to `path` every `every` epochs and, with `every_steps`, every so many steps.

    >>> x = np.ones((8, 1), "float32")
    >>> save = cr.train.Checkpoint("run.ckpt", every=2)
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=2, callbacks=[save], progress=False)
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=4, resume="run.ckpt", progress=False)
    >>> len(history.rows)
    4
    """

    def __init__(self, path: str | Path, every: int = 1, every_steps: int | None = None):
        self.path, self.every, self.every_steps = Path(path), every, every_steps

    def steps_apart(self, run: TrainingRun) -> float:
        return self.every_steps - run.step_number % self.every_steps if self.every_steps else math.inf

    def after_step(self, run: TrainingRun) -> None:
        if self.every_steps and run.step_number % self.every_steps == 0:
            run.save(self.path)

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        if row["epoch"] % self.every == 0:
            run.save(self.path)


class WriteLog(Callback):
    """Write each epoch's row to a log (see `train.logs`); a resumed run goes on after its last epoch."""

    def __init__(self, kind: type[Log], path: str | Path):
        self.kind, self.path = kind, path
        self._log: Log | None = None

    def begin(self, run: Any) -> None:
        if self.kind is not TensorBoardLog:  # TensorBoard has a file of its own for each run
            run.claims.claim(self.path)
        self._log = self.kind(self.path, len(run.history) or None)  # type: ignore[call-arg]

    def after_epoch(self, run: Any, row: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(row)

    def end(self, run: Any) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None


def json_log(path: str | Path) -> WriteLog:
    """One JSON object per epoch.

    >>> import json
    >>> from pathlib import Path
    >>> x = np.ones((8, 1), "float32")
    >>> log = cr.train.json_log("log.jsonl")
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=2, callbacks=[log], progress=False)
    >>> [json.loads(line)["epoch"] for line in Path("log.jsonl").read_text().splitlines()]
    [1, 2]
    """
    return WriteLog(JsonLinesLog, path)


def csv_log(path: str | Path) -> WriteLog:
    """One CSV row per epoch.

    >>> from pathlib import Path
    >>> x = np.ones((8, 1), "float32")
    >>> log = cr.train.csv_log("log.csv")
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=2, callbacks=[log], progress=False)
    >>> len(Path("log.csv").read_text().splitlines())
    3
    """
    return WriteLog(CsvLog, path)


def tensorboard(directory: str | Path) -> WriteLog:
    """TensorBoard event files (extra `log`).

    >>> x = np.ones((8, 1), "float32")
    >>> log = cr.train.tensorboard("logs")
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=2, callbacks=[log], progress=False)
    >>> len(history.rows)
    2
    """
    return WriteLog(TensorBoardLog, directory)
