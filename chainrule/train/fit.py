# SPDX-License-Identifier: Apache-2.0
"""`fit`: batches through the compiled step, epoch after epoch, with exact sums, checkpoints and a way back after Ctrl-C.

The order of the data is a function of (seed, epoch) alone, the random state of dropout is a Variable, and a checkpoint
holds both: a run that was killed and resumed ends with the same bits as one that was not.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import losses, optim, random
from ..data import Batches
from ..errors import ArgumentError, BoundsError, explain
from ..foundations import tree as trees
from ..foundations.files import reading
from ..foundations.names import called_as
from ..io.tensors import assign_arrays, check_arrays, variable_arrays
from ..typing import DataLike, LossLike, ModelLike, OptimizerLike
from . import checks
from .averaging import WeightAverage
from .batched import Batched, is_batched, of_batch, stream_of
from .callbacks import (
    Callback,
    EarlyStopping,
    KeepBest,
    check_kinds,
    restore_states,
    saved_states,
    start_afresh,
    steps_apart,
)
from .checkpoint import Claims, read_state, write_state
from .class_weights import by_class, imbalance
from .data import Samples, augmented, held_out, over_all, samples
from .describe import check_same, describe, fingerprint, settings_of
from .evaluate import loss_columns, measure_all, measuring_step, recipe
from .feeds import Stream, check_steps
from .history import History
from .interrupt import Interruption
from .measured import check_paths, measured
from .pool import Pool
from .programs import remembered
from .progress import Quiet, reporter
from .states import check_batches, fixed_rows, generators, least_rows, states_aside
from .step import explain_nonfinite, flush_step, training_step
from .stretch import Stretch
from .structure import leaves, paths, take, traced


@called_as("cr.fit(model, (x, y), loss='cross_entropy', epochs=5)")
def fit(model: ModelLike, data: DataLike, *, loss: LossLike, optimizer: OptimizerLike = "adam", epochs: int = 1, batch_size: int = 32,
        validation: DataLike | None = None, metrics: Any = (), seed: int = 0, callbacks: Sequence[Callback] = (),
        penalty: Callable[[Any], Any] | None = None, augment: Any = None, shuffle: bool = True,
        checkpoint: str | Path | None = None, resume: str | Path | None = None, progress: bool | str = True,
        backend: str | None = None, precision: str = "float32", class_weight: Any = None, keep_best: bool = True,
        loss_weights: Any = None, keep: str = "best", drop_last: bool = False, steps_per_epoch: int | None = None,
        max_time: float | None = None) -> History:
    """Train a model on arrays, a source of samples, a loader or a stream of batches.

    Args:
        model: a module; what comes in is inferred from the first batch.
        data: (x, y) or (x, y, sample weights); float64 becomes float32 unless the layers are made with dtype="float64". x and y are arrays, or
            nested tuples and dicts of arrays: `model(*x)` or `model(**x)` (see docs/how-to/several-inputs-and-outputs.md). A list of arrays of
            different lengths is padded, and the model gets `mask=`, True where a step exists. Weights have one number per sample, or one
            per step of each, or the structure of y. Also a `cr.data.Loader` (whose own batch size, order and augmentation count); a source, that is any
            object with `__len__` and `__getitem__` that gives such samples, from which a Loader is made; or an iterable of batches (x, y), or of
            samples whose y is a number.
        loss: name or function of chainrule.losses; the objective is the weighted mean over a batch. A function of your own,
            (outputs, targets) -> one value per sample, or one number for the batch: then without sample weights. Or one for each output, by the
            same structure, {"a": "mse", "b": "cross_entropy"} (None: the output has none): the objective is the sum of their means times
            `loss_weights`, and each has a column "OUTPUT_loss".
        loss_weights: what each of several losses counts, by the same structure; left out: 1.
        optimizer: an optimiser of chainrule.optim, or its name.
        epochs, batch_size, shuffle: the last batch of an epoch may be smaller; each sample comes once per epoch. A last batch
            of one sample joins the one before it where a BatchNorm could not learn from it. Stateful recurrent layers go on from
            batch to batch and begin anew with each epoch and for the validation data, and are refused with shuffle=True.
        drop_last: whether a last batch that is not full is left out.
        steps_per_epoch: so many steps are an epoch: for streams without end; of data in memory, only so many batches of each order.
        max_time: seconds after which the run ends, with the call of machine code that is running; its checkpoint can be gone on with.
        validation: (x, y), or a source, loader or stream, measured after each epoch, in columns `validation_…`. A share below 1, such as 0.1, takes
            so many of the training samples away: chosen by `seed` if they are shuffled, else the last ones.
        keep: "best": with validation data the model ends with the weights of the epoch with the least `validation_loss`
            (`history.kept` says which), also after its last epoch; callbacks that choose the weights themselves, such as
            EarlyStopping, EMA and SWA, go before. "last": the weights of the last step. `keep_best=False` says the same.
        class_weight: {label: weight}, others count 1, or "balanced": samples / (classes * samples of the class). What a sample
            contributes to a step is its loss times the weight of its class, divided by the number of samples, for any batch size.
        metrics: names or objects of chainrule.metrics, or names of losses, exact over the epoch for any batch size; with several outputs
            lists of them by output, in columns "OUTPUT_metric" (one list: for each output that has a loss).
        seed: of the order of the data, the weights that are not built yet, and dropout, whatever was drawn before.
        penalty: a function of the model added to the objective of each step, such as optim.penalties.l2(1e-4).
        augment: a chainrule.augment pipeline for the training samples; what it does to a sample is a function of
            (seed, epoch, index of the sample), and it keeps the shape of x.
        checkpoint: file that holds the whole run before the first step, after each epoch and when it is interrupted. While a run
            writes to it, another one that would too is refused with ArgumentError.
        resume: a checkpoint to go on from; ends with the same bits as a run that was not interrupted.
        progress: True (bar or lines, by the terminal), "bar", "lines" or False.
        backend: "native", "reference" or "xla".
        precision: of products and convolutions, "float32" or "bfloat16" (see `compile`); weights, optimiser and checkpoints are
            float32 in both, and so is what is measured after each epoch.

    Returns the History. Ctrl-C ends the run early, keeps what was learnt and marks `history.interrupted`.
    Raises NonFiniteError, naming layer, operation and line, when a NaN or infinity turns up; the model then still has
    the weights from before that step.

    >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    >>> model = nn.Dense(1)
    >>> history = cr.fit(model, (x, 3 * x + 1), loss="mse", optimizer=cr.optim.SGD(0.3), epochs=30, progress=False)
    >>> round(float(model(np.array([[2.0]], "float32"))[0, 0]), 3)
    7.0
    """
    if keep not in ("best", "last"):
        raise ArgumentError(explain("keep says which weights the model ends with", got=repr(keep), expected="'best' | 'last'"))
    check_steps(steps_per_epoch)
    training, held = _split(data, validation, model, batch_size, shuffle, seed, drop_last, steps_per_epoch, augment)
    run = Training(model, training, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
                   validation=held, metric_names=metrics, seed=seed,
                   callbacks=callbacks, penalty=penalty, augment=augment, shuffle=shuffle, checkpoint=checkpoint, progress=progress, backend=backend,
                   precision=precision, class_weight=class_weight, keep_best=keep_best and keep == "best", loss_weights=loss_weights,
                   drop_last=drop_last, steps_per_epoch=steps_per_epoch, max_time=max_time)
    if resume is not None:
        with reading(resume, "checkpoint", "use an earlier checkpoint"):
            run.restore(resume)
    return run.run()


def _split(data: Any, validation: Any, model: Any, batch_size: int, shuffle: bool, seed: int, drop_last: bool, steps: int | None,
           augment: Any) -> tuple[Samples | Stream, Samples | Batched | None]:
    """What is learnt from, and what is measured."""
    name = "the validation data"
    share = isinstance(validation, float | np.floating) and 0 < validation < 1
    if is_batched(data):
        if share:
            raise ArgumentError(explain("a share for validation is taken from arrays in memory", got=f"validation={validation} of a {type(data).__name__}",
                                        fix="two sources: cr.data.subset(source, indices)"))
        training: Samples | Stream = stream_of(data, batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last, steps=steps, augment=augment)
    else:
        training = samples(data, "the training data", model, nested=True)
        if share:
            return held_out(training, float(validation), seed, shuffle)
    if validation is None:
        return training, None
    return training, Batched(validation, name, model, batch_size) if is_batched(validation) else samples(validation, name, model, nested=True)


class Training:
    """One run of `fit`: everything that changes while it goes on, and how to save and restore it.

    >>> class Watch(cr.train.Callback):
    ...     def begin(self, run):
    ...         print(isinstance(run, cr.train.Training), run.epochs)
    >>> x = np.ones((8, 1), "float32")
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=2, callbacks=[Watch()], progress=False)
    True 2
    """

    def __init__(self, model: ModelLike, data: Samples | Stream, *, loss: LossLike, optimizer: OptimizerLike, epochs: int, batch_size: int, validation: Samples | Batched | None,
                 metric_names: Any, seed: int, callbacks: Sequence[Callback], penalty: Any, shuffle: bool,
                 checkpoint: str | Path | None, progress: bool | str, backend: str | None, augment: Any = None, precision: str = "float32",
                 class_weight: Any = None, keep_best: bool = False, loss_weights: Any = None,
                 drop_last: bool = False, steps_per_epoch: int | None = None, max_time: float | None = None):
        checks.check_run(model, epochs, penalty)
        self.stream = data if isinstance(data, Stream) else None
        data = self._samples = self._peeked(model) if self.stream is not None else data
        self.model, self.validation, self.epochs, self.seed = model, validation, int(epochs), int(seed)
        self.deadline = _deadline(max_time)
        self.loss, self.optimizer = losses.of_outputs(loss, loss_weights, data.y), optim.get(optimizer)
        self.metrics = measured(metric_names, list(self.loss.losses) if isinstance(self.loss, losses.Several) else ())
        self.validation_metrics = [copy.deepcopy(metric) for metric in self.metrics]
        self.callbacks, self.checkpoint, self.augment = checks.callbacks(callbacks), checkpoint, None if self.stream is not None else over_all(augment, data.x)
        if keep_best and validation is not None and epochs > 1 and not any(isinstance(c, EarlyStopping | WeightAverage) for c in self.callbacks):
            self.callbacks = [*self.callbacks, KeepBest()]
        self.learnt = by_class(data, self._of_memory("class_weight", class_weight))
        self.pool = Pool(self.metrics)
        self._build(batch_size, shuffle)
        self.batches: Any = self.stream or Batches(len(data), batch_size, seed=seed, shuffle=shuffle, drop_last=drop_last, least=least_rows(model, data.x))
        self.steps = self.stream.steps if self.stream is not None else min(steps_per_epoch or len(self.batches), len(self.batches))
        self.batch_size = len(data) if self.stream is not None else self.batches.batch_size
        self.inputs = np.empty((min(self.batch_size, len(data)), *data.x.shape[1:]), data.x.dtype) if data.plain and self.stream is None else None  # of every full batch
        self.history, self.stop, self.reporter = History(), False, reporter(progress)
        self.total: Any = 0.0
        self.weight: Any = 0.0
        self.seconds = 0.0
        self.interruption, self.between_steps, self.claims = Interruption(), True, Claims()
        self.history.directions = {metric.name: metric.higher_is_better for metric in self.metrics}
        if isinstance(self.loss, losses.Several):
            self.history.directions |= {f"{name}_loss": False for name in self.loss.names}
        self._wanted: list[str | Path] = []
        self._stopped: dict[str, Any] | None = None  # by whom
        self._middle: dict[str, Any] | None = None  # the state before the end of an epoch that was stopped in the middle
        self._unfinished = False  # whether the run was saved between being stopped and the end of its last epoch
        self._made_with = self._settings(precision) | {"class_weight": describe(class_weight)}
        for callback in self.callbacks:
            start_afresh(callback)
        self._compiled: set[int] = set()
        self.step = remembered("training", model, (recipe(loss, self.loss), penalty, precision, self.learnt.weighted, class_weight is None), backend, lambda model, optimizer: training_step(
            model, self.loss, optimizer, penalty, backend, precision, weighted=self.learnt.weighted, classes=class_weight is not None), owner=self.optimizer)
        self.stretch = Stretch(self.step, self.learnt, bool(self.metrics), augment is None and self.stream is None)
        self.flush = flush_step(model, self.optimizer, backend) if self.optimizer.accumulates else None
        self.validation_step = measuring_step(model, loss, self.loss, data.x, backend, weighted=validation is not None and validation.weighted)

    def _settings(self, precision: str) -> dict[str, str]:
        return {"optimiser": describe(self.optimizer), "loss": self.loss.name, "list of metrics": describe([m.name for m in self.metrics]),
                "augmentation": describe(self.augment), "precision": precision}

    @cached_property
    def _data_sets(self) -> dict[str, str]:
        name = lambda data: f"batches of {type(data.source).__name__}" if isinstance(data, Stream | Batched) else fingerprint(*leaves(data.x), *leaves(data.y), *leaves(data.weights))
        return {"data set": name(self.stream or self.data), "validation data": "None" if self.validation is None else name(self.validation)}

    def _peeked(self, model: Any) -> Samples:
        """The first batch of a stream, by which everything is built."""
        self.stream.begin()  # type: ignore[union-attr]
        return of_batch(self.stream.next(), "the training data", model)  # type: ignore[union-attr]

    def _of_memory(self, name: str, wanted: Any) -> Any:
        """An argument that needs all samples in memory."""
        if wanted is not None and self.stream is not None:
            raise ArgumentError(explain(f"{name} needs all samples in memory", got=f"batches of a {type(self.stream.source).__name__}",
                                        fix='cr.data.Loader(source, weights="balanced")' if name == "class_weight" else "leave it out"))
        return wanted

    @property
    def data(self) -> Samples:
        """The training samples; ArgumentError where they come in batches."""
        self._of_memory("run.data", True)
        return self._samples

    def _check_callbacks(self) -> None:
        """ArgumentError for a callback that works on arrays where there are none."""
        for callback in self.callbacks if self.stream is not None or not self._samples.plain else ():
            if getattr(callback, "needs_arrays", _never)(self.model):
                raise ArgumentError(explain(f"{type(callback).__name__} works on the training samples as one array x and one array y", got="data in batches" if self.stream is not None else "nested data",
                                            expected="(x, y) in memory", fix="leave it out"))

    # ---- where the run is

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.batches.epoch

    @property
    def step_number(self) -> int:
        """Steps that are done, over all epochs."""
        return self.stream.done if self.stream is not None else self.batches.epoch * self.steps + self.batches.step

    def _build(self, batch_size: int, shuffle: bool) -> None:
        """Make what is not there yet, and seeds for what draws in the model already: a run depends on nothing that was drawn before."""
        random.seed(self.seed)
        drawn = generators(self.model)
        data = self._samples
        rows = max(1, min(batch_size, len(data)))
        outputs = traced(self.model, data.x, rows)
        checks.check_outputs(self.model, outputs, self.loss)
        checks.check_measured(self.model, outputs, self.metrics)
        check_paths(self.metrics, outputs, data.y)
        self.pool.like(outputs, data.y, data.weights)
        checks.check_parameters(self.model)
        self._seeds = [(generator, int(random.randint(2**62).item())) for generator in drawn]
        for checked in (data if self.augment is None else None, self.validation):
            if isinstance(checked, Samples):
                checks.check_targets(self.loss, self.metrics, outputs, checked)
        self.optimizer.build(self.model.parameters())
        check_batches(self.model, len(data), rows, shuffle)
        self._check_callbacks()

    # ---- the loop

    def run(self) -> History:
        """All epochs that are left."""
        self.history.interrupted = False
        for generator, seed in self._seeds:
            generator.seed(seed)
        with self.claims:
            for callback in self.callbacks:
                callback.begin(self)
            with self.reporter, self.interruption:
                try:
                    self._epochs()
                except KeyboardInterrupt:
                    self._interrupted()
            for callback in self.callbacks:
                callback.end(self)
        return self.history

    def _epochs(self) -> None:
        if self.checkpoint is not None and not self.stop:
            self.save(self.checkpoint)  # so that there is always one to go on from, and a full disk is heard of before the work
        if type(self.reporter) is not Quiet and self.stream is None and (text := imbalance(self.learnt, self.loss)):
            self.reporter.say(text)
        while self.epoch < self.epochs and (self._unfinished or not self.stop):
            self.interruption.act()
            self._epoch()

    def _epoch(self) -> None:
        self.reporter.start(self.epoch + 1, self.epochs, self.steps, self.batches.step)
        started = time.perf_counter() - self.seconds
        self._order = self.batches.order(self.epoch) if self.stream is None else self.stream.begin()
        if not self.batches.step:
            self.model.reset_states()
        whole = self.batches.step == self.steps
        while not whole and not self.stop:
            before = self.seconds
            steps = self._next()
            self.seconds = time.perf_counter() - started
            self.stretch.observe(steps, self.seconds - before)
            whole = not steps or self.batches.step == self.steps
            self.stop = self.stop or (self.deadline is not None and time.perf_counter() >= self.deadline)
        self._finish(whole)

    def _next(self) -> int:
        """Learn from the next batches; how many, 0 where a stream has ended its epoch."""
        if self.stream is None:
            block = self.batches.block(self._order, min(self._room(), self.steps - self.batches.step))
            self._steps(block)
            return len(block)
        try:
            batch = of_batch(self.stream.next(), f"epoch {self.epoch + 1}, step {self.batches.step + 1}", self.model)
        except StopIteration:
            return 0
        self._learn(np.arange(len(batch)), batch.x, batch.y, batch.weights, batch.y, batch.weights)
        self._done(1)
        return 1

    def _room(self) -> int:
        """How many of the next steps may run in one call."""
        return int(min([self.stretch.length, *(steps_apart(callback, self) for callback in self.callbacks)]))

    def _steps(self, block: np.ndarray) -> None:
        """Learn from batches, int64 (batches, rows)."""
        while len(block):
            steps = self._stretch(block) if len(block) > 1 else 0
            if not steps:
                self._step(block[0])
            self._done(steps or 1)
            block = block[steps or 1:]

    def _stretch(self, block: np.ndarray) -> int:
        """Many steps in one call, as far as it comes; how many were done, 0 where it is not possible."""
        self.stretch.prepare(block[0])
        self._begin()
        try:
            found = self.stretch(block)
        except BoundsError as error:
            raise checks.in_data(error, block[error.step]) from None
        if found is not None:
            self._learnt(block[:found[0]], *found[1])
        return 0 if found is None else found[0]

    def _begin(self) -> None:
        """From here to the end of the step, what this run holds is neither the state before it nor the one after it."""
        self.between_steps, self.interruption.held = False, True

    def _done(self, steps: int) -> None:
        """Steps are noted: now the position says so, everybody hears of it, and an interruption finds nothing half-done."""
        self.batches.advance(steps)
        self.interruption.held = False
        self._tell("after_step", self)
        self.interruption.act()

    def _tell(self, method: str, *arguments: Any) -> None:
        """Call all callbacks; what they want to be saved holds the state of all of them after that."""
        for callback in self.callbacks:
            stopped = self.stop
            getattr(callback, method)(*arguments)
            if self.stop and not stopped and not getattr(callback, "pauses", False):
                self._stopped = _who(callback)
        self.between_steps = True
        wanted, self._wanted = self._wanted, []
        for path in wanted:
            self.save(path)

    def _learnt(self, block: np.ndarray, totals: np.ndarray, weights: np.ndarray, outputs: Any, finite: np.ndarray) -> None:
        """Note the results of several steps; only the last may not be finite."""
        if np.any(weights[len(block) - 1]) and not finite[len(block) - 1]:
            self._nonfinite(self.batches.step + len(block), *self.learnt.batch(block[-1]))
        sums = list(zip(_numbers(totals[:len(block)]), _numbers(weights[:len(block)]), strict=True))
        for total, weight in sums:
            self.total = self.total + total
            self.weight = self.weight + weight
        self.reporter.advance(block.size, [self._mean(total, weight) for total, weight in sums])
        if self.metrics:
            self.pool.extend(trees.map(lambda part: part[:len(block)], outputs), take(self.data.y, block), take(self.data.weights, block))

    def _step(self, indices: np.ndarray) -> None:
        x, y, weights = self.learnt.batch(indices, self.inputs if self.inputs is not None and len(indices) == len(self.inputs) else None)
        measured = y
        if self.augment is not None:
            x, y, measured = augmented(self.augment, x, y, self.seed, self.batches.epoch, indices)
        self._learn(indices, x, y, weights, measured, take(self.data.weights, indices))

    def _learn(self, indices: np.ndarray, x: Any, y: Any, weights: Any, measured: Any, own: Any) -> None:
        """One step; metrics get `measured` targets and the samples' own weights."""
        if len(indices) not in self._compiled:  # which may take long, so Ctrl-C may end it
            self.step.lower(x, y, weights)
            self._compiled.add(len(indices))
        self._begin()
        try:
            total, weight, outputs, finite = self.step.arrays(x, y, weights)
        except BoundsError as error:
            raise error if self.stream is not None else checks.in_data(error, indices) from None
        total, weight = (x.item() if x.ndim == 0 else x.astype(np.float64) for x in (total, weight))
        if np.any(weight) and not finite:
            self._nonfinite(self.batches.step + 1, x, y, weights)
        self.total = self.total + total
        self.weight = self.weight + weight
        if self.metrics:
            self.pool.add(outputs, measured, own)
        self.reporter.advance(len(indices), [self._mean(total, weight)])

    def _mean(self, total: Any, weight: Any) -> float:
        """The loss of a step."""
        return self.loss.mean(total, weight) if isinstance(self.loss, losses.Several) else total / weight if weight else 0.0

    def _nonfinite(self, step: int, *batch: Any) -> None:
        names = [f"{what} {path}".strip() for what, part in zip(("the inputs", "the targets", "the sample weights"), batch, strict=True) for path in paths(part)]
        raise explain_nonfinite(self.step.lower(*batch), trees.flatten(batch)[0], f"epoch {self.batches.epoch + 1}, step {step}", names)

    def _finish(self, whole: bool) -> None:
        self._middle = None if whole else copy.deepcopy(self._state())  # the sums of the epoch are forgotten now
        self.between_steps = self._unfinished = False
        self.pool.flush()
        if whole and self.flush is not None:
            self.flush()
        row: dict[str, Any] = {"epoch": self.epoch + 1} | loss_columns(self.loss, self.total, self.weight)
        row |= {metric.name: metric.result() for metric in self.metrics}
        if self.validation is not None:
            row |= {f"validation_{name}": value for name, value in self._validate().items()}
        row["seconds"] = self.seconds
        self._forget_epoch()
        if whole:
            self.batches.end_epoch()
        self.history.rows.append(row)
        self.reporter.finish(row)
        self._tell("after_epoch", self, row)
        if self.checkpoint is not None:
            self.save(self.checkpoint)

    def _validate(self) -> dict[str, float]:
        with states_aside(self.model):
            found = measure_all(self.validation_step, self.validation, self.validation_metrics, self.batch_size, self.loss, rows=fixed_rows(self.model))
        return found | {metric.name: metric.result() for metric in self.validation_metrics}

    def _forget_epoch(self) -> None:
        self.total, self.weight, self.seconds = 0.0, 0.0, 0.0
        self.pool.clear()
        for metric in self.metrics:
            metric.reset()

    def _interrupted(self) -> None:
        self.history.interrupted, self.interruption.held = True, True
        done = f"interrupted in epoch {self.epoch + 1}, after step {self.batches.step}" + (f" of {self.steps}" if self.steps is not None else "")
        if self.checkpoint is None:
            self.reporter.say(f"{done}; the model keeps what it has learnt (give checkpoint=\"file\" to be able to go on)")
        elif self.between_steps:
            self.save(self.checkpoint)
            self.reporter.say(f"{done}; saved. Go on with: fit(..., resume=\"{self.checkpoint}\")")
        else:
            self.reporter.say(f"{done}, with the next one half-done; the checkpoint is as it was. Go on from there with: fit(..., resume=\"{self.checkpoint}\")")

    # ---- saving and restoring

    def save(self, path: str | Path) -> None:
        """Write the whole run to a file; if callbacks are just being told of a step or an epoch, when all have been."""
        if not self.between_steps:
            self._later(path)
            return
        self.claims.claim(path)
        write_state(path, self._state())

    def _state(self) -> dict[str, Any]:
        told = {"history": _without_nan(self.history.rows), "callbacks": saved_states(self.callbacks)}
        if self._middle is not None:  # to go on needs what was before the end of the epoch, to have ended what was told of it
            return self._middle | {"ended": told}
        return told | {
            "made with": self._made_with | self._data_sets, "stopped": self._stopped, "ended": None,
            "batches": self.batches.state(), "total": self.total, "weight": self.weight, "seconds": self.seconds,
            "model": variable_arrays(self.model.variables()),
            "optimizer": variable_arrays(self.optimizer.variables()), "random": variable_arrays(random.variables()),
            "metrics": [metric.state() for metric in self.metrics], "waiting": self.pool.state(),
        }

    def _later(self, path: str | Path) -> None:
        if self.history.interrupted:
            raise ArgumentError(explain("this run was stopped in the middle of a step, of which no checkpoint can be made", got=str(path),
                                        fix="go on from the last one that was written before"))
        self._wanted.append(path)

    def restore(self, path: str | Path) -> None:
        """Go on from a file that `save` wrote, in a run made in the same way; ArgumentError or DataError before anything changes.

        A run that a callback had stopped has ended and stays so, unless that callback is gone or waits for something else now.
        """
        state = read_state(path)
        check_same(self._made_with | self._data_sets, state["made with"])
        check_kinds(self.callbacks, state["callbacks"])
        parts = {"model": self.model, "optimizer": self.optimizer, "random": random}
        for name, part in parts.items():
            check_arrays(part.variables(), state[name], name)
        self.batches.restore(state["batches"])
        self._seeds.clear()
        for name, part in parts.items():
            assign_arrays(part.variables(), state[name], name)
        self.total, self.weight, self.seconds = state["total"], state["weight"], state["seconds"]
        for metric, saved in zip(self.metrics, state["metrics"], strict=True):
            metric.restore(saved)
        self.pool.restore(state["waiting"])
        self.stop = state["stopped"] is not None and any(_who(callback) == state["stopped"] for callback in self.callbacks)
        self._stopped = state["stopped"] if self.stop else None
        self._unfinished = self.stop and state["ended"] is None and self.batches.step > 0
        told = state["ended"] if self.stop and state["ended"] else state
        self.history.rows = [{k: float("nan") if v is None else v for k, v in row.items()} for row in told["history"]]
        restore_states(self.callbacks, told["callbacks"])


def _never(model: Any) -> bool:
    return False


def _deadline(max_time: Any) -> float | None:
    """When the run ends, by the clock of `time.perf_counter`."""
    if max_time is None:
        return None
    if isinstance(max_time, bool) or not isinstance(max_time, int | float) or not max_time > 0:
        raise ArgumentError(explain("max_time is a number of seconds", got=repr(max_time), expected="above 0"))
    return time.perf_counter() + float(max_time)


def _numbers(sums: np.ndarray) -> Any:
    """Sums of float32 as numbers of Python, or as vectors of float64 where there is one for each of several losses."""
    return sums.tolist() if sums.ndim < 2 else list(sums.astype(np.float64))


def _who(callback: Any) -> dict[str, Any]:
    return {"kind": type(callback).__name__, "settings": settings_of(callback)}


def _without_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()} for row in rows]
