# SPDX-License-Identifier: Apache-2.0
"""`Training`: one run of `fit`. Its step is that of a model, a loss and an optimiser; its rows are exact losses and
metrics.

The order of the data is a function of (seed, epoch) alone, the random state of dropout is a Variable, and a checkpoint
holds both: a run that was killed and resumed ends with the same bits as one that was not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import losses, optim, random
from ..data import Batches
from ..errors import ArgumentError, DataError, explain
from ..foundations import tree as trees
from ..io.tensors import variable_arrays
from ..ir import Variable
from ..typing import LossLike, ModelLike, OptimizerLike
from . import checks
from .averaging import WeightAverage
from .batched import Batched, of_batch
from .callbacks import Callback, EarlyStopping, KeepBest
from .class_weights import by_class, imbalance
from .data import Samples, augmented, over_all
from .describe import describe, fingerprint
from .evaluate import measure_all, measuring_step, recipe
from .feeds import Feed, Stored, Stream
from .history import History
from .loop import PARTS, Loop, who
from .measured import check_paths, measured
from .programs import remembered
from .progress import Quiet
from .states import check_batches, fixed_rows, generators, least_rows, states_aside
from .step import built_for, flush_step, training_step
from .stretch import Stretch
from .structure import leaves, take, traced
from .tally import Tally, numbers


class Training(Loop):
    """One run of `fit`: everything that changes while it goes on, and how to save and restore it.

    >>> class Watch(cr.train.Callback):
    ...     def begin(self, run):
    ...         print(isinstance(run, cr.train.Training), run.epochs)
    >>> x = np.ones((8, 1), "float32")
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=2, callbacks=[Watch()], progress=False)
    True 2
    """

    call = "fit"

    def __init__(self, model: ModelLike, data: Samples | Stream, *, loss: LossLike, optimizer: OptimizerLike,
                 epochs: int, batch_size: int, validation: Samples | Batched | None, metric_names: Any, seed: int,
                 callbacks: Sequence[Callback], penalty: Any, shuffle: bool, checkpoint: str | Path | None,
                 progress: bool | str, backend: str | None, augment: Any = None, precision: str = "float32",
                 class_weight: Any = None, keep_best: bool = False, loss_weights: Any = None,
                 drop_last: bool = False, steps_per_epoch: int | None = None, max_time: float | None = None):
        checks.check_run(model, epochs, penalty)
        self.stream = data if isinstance(data, Stream) else None
        self.model, self.validation, self.seed = model, validation, int(seed)
        self._samples = found = self._peeked() if isinstance(data, Stream) else data
        self.loss, self.optimizer = losses.of_outputs(loss, loss_weights, found.y), optim.get(optimizer)
        self.metrics = measured(metric_names, list(self.loss.losses) if isinstance(self.loss, losses.Several) else ())
        self.validation_metrics = [copy.deepcopy(metric) for metric in self.metrics]
        listed = checks.callbacks(callbacks)
        self.augment = None if self.stream is not None else over_all(augment, found.x)
        self.learnt, self.tally = (by_class(found, self._of_memory("class_weight", class_weight)),
                                   Tally(self.loss, self.metrics))
        self._build(listed, batch_size, shuffle, penalty)
        feed: Feed = (self.stream or Stored(self.learnt,
                                            Batches(len(found), batch_size, seed=seed, shuffle=shuffle,
                                                    drop_last=drop_last, least=least_rows(model, found.x)),
                                            steps_per_epoch))
        self.batch_size = len(found) if self.stream is not None else feed.batches.batch_size  # type: ignore[attr-defined]
        self._prepare(feed, epochs=epochs, checkpoint=checkpoint,
                      callbacks=self._keeping(listed, keep_best and epochs > 1), progress=progress, max_time=max_time)
        self.history.directions = self._directions()
        # the state before the end of an epoch that was stopped in the middle
        self._middle: dict[str, Any] | None = None
        self._unfinished = False  # whether the run was saved between being stopped and the end of its last epoch
        self._made_with = self._settings(precision) | {"class_weight": describe(class_weight)}
        self._compile(loss, penalty, precision, class_weight is not None, backend)

    # ---- how it is made

    def _peeked(self) -> Samples:
        """The first batch of a stream, by which everything is built."""
        self.stream.begin()  # type: ignore[union-attr]
        return of_batch(self.stream.next(), "the training data", self.model)  # type: ignore[union-attr]

    def _of_memory(self, name: str, wanted: Any) -> Any:
        """An argument that needs all samples in memory."""
        if wanted is not None and self.stream is not None:
            raise ArgumentError(explain(f"{name} needs all samples in memory",
                                        got=f"batches of a {type(self.stream.source).__name__}",
                                        fix='cr.data.Loader(source, weights="balanced")' if name == "class_weight"
                                        else "leave it out"))
        return wanted

    def _build(self, callbacks: Sequence[Any], batch_size: int, shuffle: bool, penalty: Any) -> None:
        """Make what is not there yet, and seeds for what draws in the model already: a run depends on nothing that was
        drawn before."""
        random.seed(self.seed)
        drawn, data = generators(self.model), self._samples
        rows = max(1, min(batch_size, len(data)))
        outputs = traced(self.model, data.x, rows)
        self._check(outputs)
        self.tally.pool.like(outputs, data.y, data.weights)
        self._seeds = [(generator, int(random.randint(2**62).item())) for generator in drawn]
        for checked in (data if self.augment is None else None, self.validation):
            if isinstance(checked, Samples):
                checks.check_targets(self.loss, self.metrics, outputs, checked)
        self.parts = built_for(self.optimizer, self.model, self.loss, self.learnt, outputs, rows, self.stream is None,
                               penalty)
        check_batches(self.model, len(data), rows, shuffle)
        self._check_callbacks(callbacks)

    def _check(self, outputs: Any) -> None:
        """ArgumentError where model, loss and metrics do not fit each other, by the symbols of the outputs."""
        checks.check_outputs(self.model, outputs, self.loss)
        checks.check_measured(self.model, outputs, self.metrics)
        check_paths(self.metrics, outputs, self._samples.y)
        checks.check_parameters(self.model)

    def _check_callbacks(self, callbacks: Sequence[Any]) -> None:
        """ArgumentError for a callback that works on all samples where they come in batches."""
        for callback in callbacks if self.stream is not None else ():
            if checks.needs_arrays(callback, self.model):
                raise ArgumentError(explain(f"{type(callback).__name__} works on all training samples",
                                            got="data in batches", expected="(x, y) in memory", fix="leave it out"))

    def _keeping(self, callbacks: list[Any], wanted: bool) -> list[Any]:
        """The callbacks, and one that keeps the best weights where none of them chooses the weights."""
        if not wanted or self.validation is None or any(isinstance(c, EarlyStopping | WeightAverage)
                                                        for c in callbacks):
            return callbacks
        return [*callbacks, KeepBest()]

    def _directions(self) -> dict[str, bool]:
        """Name of a column → whether larger is better."""
        several = {f"{name}_loss": False for name in self.loss.names} if isinstance(self.loss, losses.Several) else {}
        return {metric.name: metric.higher_is_better for metric in self.metrics} | several

    def _compile(self, loss: Any, penalty: Any, precision: str, classes: bool, backend: str | None) -> None:
        model, weighted, parts = self.model, self.learnt.weighted, self.parts
        self.step = remembered(
            "training",
            model,
            (recipe(loss, self.loss), penalty, precision, weighted, classes, parts),
            backend,
            lambda model, optimizer: training_step(
                model,
                self.loss,
                optimizer,
                penalty,
                backend,
                precision,
                weighted=weighted,
                classes=classes,
                parts=parts,
            ),
            owner=self.optimizer,
        )
        step, feed = self.step, self.feed  # which do not know this run, so that it ends with its last use
        self.stretch = Stretch(lambda rows: step.lower(*feed.batch(rows)), feed.leaves, bool(self.metrics),
                               self.augment is None and self.stream is None)
        self.flush = flush_step(model, self.optimizer, backend) if self.optimizer.accumulates else None
        self.validation_step = measuring_step(model, loss, self.loss, self._samples.x, backend,
                                              weighted=self.validation is not None and self.validation.weighted)

    def _settings(self, precision: str) -> dict[str, str]:
        return {"optimiser": describe(self.optimizer), "loss": self.loss.name,
                "list of metrics": describe([m.name for m in self.metrics]),
                "augmentation": describe(self.augment), "precision": precision}

    @cached_property
    def _data_sets(self) -> dict[str, str]:
        name = (lambda data: f"batches of {type(data.source).__name__}" if isinstance(data, Stream | Batched)
                else fingerprint(*leaves(data.x), *leaves(data.y), *leaves(data.weights)))
        return {"data set": name(self.stream or self.data), "validation data": "None" if self.validation is None
                else name(self.validation)}

    # ---- what callbacks see

    @property
    def data(self) -> Samples:
        """The training samples; ArgumentError where they come in batches."""
        self._of_memory("run.data", True)
        return self._samples

    @property
    def examples(self) -> Samples:
        """Training samples to look at: all in memory, or the first batch of others."""
        return self._samples

    # ---- the loop

    def run(self) -> History:
        """All epochs that are left."""
        self.history.interrupted = False
        for generator, seed in self._seeds:
            generator.seed(seed)
        return self._run()

    def _epochs(self) -> None:
        if type(self.reporter) is not Quiet and self.stream is None and (text := imbalance(self.learnt, self.loss)):
            self.reporter.say(text)
        super()._epochs()

    def _goes_on(self) -> bool:
        return self._unfinished or not self.stop

    def _begin_epoch(self) -> None:
        if not self.feed.step:
            self.model.reset_states()

    def _batch(self, rows: np.ndarray | None) -> tuple[Any, Any, Any]:
        """(the arguments of the step; targets and weights for metrics)."""
        if rows is None:
            batch = of_batch(self.feed.next(), f"epoch {self.epoch + 1}, step {self.feed.step + 1}", self.model)
            if batch.weighted and not self.learnt.weighted:
                raise DataError(explain("a batch has weights, or sequences of different lengths as targets, and the "
                                        "first one had none", got=f"epoch {self.epoch + 1}, step {self.feed.step + 1}",
                                        expected="weights in all batches or in none",
                                        fix="give the others weights of 1"))
            return (batch.x, batch.y, batch.weights), batch.y, batch.weights
        x, y, weights = self.feed.batch(rows)
        measured = y
        if self.augment is not None:
            x, y, measured = augmented(self.augment, x, y, self.seed, self.epoch, rows)
        return (x, y, weights), measured, take(self._samples.weights, rows)

    def _learn(self, batch: tuple[Any, Any, Any], rows: np.ndarray | None) -> None:
        arguments, targets, weights = batch
        total, weight, outputs, finite = self._run_step(arguments, rows)
        total, weight = (x.item() if x.ndim == 0 else x.astype(np.float64) for x in (total, weight))
        if np.any(weight) and not finite:
            self._nonfinite(1, arguments, _names(arguments))
        mean = self.tally.add(total, weight)
        if self.metrics:
            self.tally.pool.add(outputs, targets, weights)
        self.reporter.advance(len(leaves(arguments[0])[0]), [mean])

    def _learnt(self, rows: np.ndarray, results: Any) -> None:
        (totals, weights, outputs, finite), steps = results, len(rows)
        if np.any(weights[steps - 1]) and not finite[steps - 1]:
            arguments = self.feed.batch(rows[-1])
            self._nonfinite(steps, arguments, _names(arguments))
        means = [self.tally.add(total, weight)
                 for total, weight in zip(numbers(totals[:steps]), numbers(weights[:steps]), strict=True)]
        self.reporter.advance(rows.size, means)
        if self.metrics:
            self.tally.pool.extend(trees.map(lambda part: part[:steps], outputs), take(self.data.y, rows),
                                   take(self.data.weights, rows))

    # ---- the end of an epoch

    def _finish(self, whole: bool) -> None:
        self._middle = None if whole else copy.deepcopy(self._state())  # the sums of the epoch are forgotten now
        self._unfinished = False
        super()._finish(whole)

    def _numbers_of_epoch(self, whole: bool) -> dict[str, Any]:
        if whole and self.flush is not None:
            self.flush()
        row = self.tally.columns()
        return (row if self.validation is None else row
                | {f"validation_{name}": value for name, value in self._validate().items()})

    def _validate(self) -> dict[str, float]:
        with states_aside(self.model):
            found = measure_all(self.validation_step, self.validation, self.validation_metrics, self.batch_size,
                                self.loss, rows=fixed_rows(self.model))  # type: ignore[arg-type]
        return found | {metric.name: metric.result() for metric in self.validation_metrics}

    def _forget_epoch(self) -> None:
        self.tally.forget()

    # ---- saving and restoring

    def _parts(self) -> dict[str, dict[str, Variable]]:
        return {"model": self.model.variables(), "optimizer": self.optimizer.variables(), "random": random.variables()}

    def _made_of(self) -> dict[str, str]:
        return self._made_with | self._data_sets

    def _state(self) -> dict[str, Any]:
        # to go on needs what was before the end of the epoch, to have ended what was told of it
        if self._middle is not None:
            return self._middle | {"ended": self._told()}
        sums = {"total": self.tally.total, "weight": self.tally.weight, "seconds": self.seconds}
        return (self._told() | {"made with": self._made_of(), "stopped": self._stopped, "ended": None,
                                "batches": self.feed.state()} | sums
                | {name: variable_arrays(part) for name, part in self._parts().items()} | self.tally.state())

    def _place(self, path: str | Path, state: dict[str, Any]) -> dict[str, Any]:
        if "trainer" in state:
            raise ArgumentError(explain("this checkpoint is of another kind of run",
                                        got=f"{path}, written by a Trainer", expected="one that fit wrote",
                                        fix="Trainer(step, objects).run(..., resume=path)"))
        return state["batches"]

    def _restored(self, state: dict[str, Any]) -> dict[str, Any]:
        """A run that a callback had stopped has ended and stays so, unless that callback is gone or waits for something
        else now."""
        self._seeds.clear()
        self.tally.restore(state)
        self.stop = (state["stopped"] is not None
                     and any(who(callback) == state["stopped"] for callback in self.callbacks))
        self._stopped = state["stopped"] if self.stop else None
        self._unfinished = self.stop and state["ended"] is None and self.feed.step > 0
        return state["ended"] if self.stop and state["ended"] else state


def _names(arguments: tuple[Any, ...]) -> list[str]:
    """What the arrays of a step are called in errors."""
    return [f"{what} {path}".strip() for what, part in zip(PARTS, arguments, strict=True) for path in trees.paths(part)]
