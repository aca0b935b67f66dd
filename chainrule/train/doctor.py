# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a model or its training: each finding with the layer's path, what was measured, and one remedy.

`diagnose` runs the model once, forward and backward, on a few samples and looks at inputs, targets, activations and
gradients; with a history it also reads the curves. `Doctor` does this during `fit`. The weights, the statistics and the
random state stay as they were. The limits below are far from what healthy networks show, so that silence is the rule.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import losses, optim
from ..augment import Flip, handedness
from ..compiler.transform import gradients
from ..foundations import tree as trees
from ..ir import Tensor, as_tensor, current_trace
from ..nn import activations
from ..nn.composition.containers import Sequential
from ..nn.core.module import Module, display, watching
from ..nn.layers.embedding import Embedding
from ..nn.layers.linear import Dense, Flatten, Reshape
from ..nn.layers.normalization import BatchNorm, Normalization
from ..nn.layers.recurrent import Recurrent, SimpleRNN
from ..nn.layers.regularization import Dropout
from ..ops.compose import relu, sigmoid, softmax
from ..ops.elementwise import tanh
from ..typing import ArrayLike, DataLike, LossLike, ModelLike, OptimizerLike, TrainingRun
from .batched import some
from .callbacks import Callback
from .curves import constant_loss, judged
from .data import Samples, structure
from .evaluate import build, loss_columns
from .findings import Finding, Report
from .keep import unchanged
from .step import built_for, objective_of, training_step
from .structure import at, called, leaves

DEAD_SHARE, SATURATED_SHARE = 0.5, 0.8      # of units; of values
VANISHED, EXPLODED = 1e-4, 1e3              # ratio of gradient norms between layers; a norm
LARGE_RADIUS = 1.4                          # of the recurrent weights; 1 keeps what is far back
LOST_IN_TIME = 1e-6                         # ratio of gradients between the first and the other steps
INPUT_SCALE, TARGET_SCALE = 10.0, 100.0     # |mean| or standard deviation
IMBALANCE = 10.0                            # most frequent class / rarest class

LAYER_FUNCTIONS = {activations.ReLU: relu, activations.Tanh: tanh, activations.Sigmoid: sigmoid,
                   activations.Softmax: softmax}


@dataclass(frozen=True)
class Judged:
    """An output with its loss and its targets; `name` is "" for the only one."""

    name: str
    loss: Any
    values: np.ndarray | None
    y: Any


@dataclass
class Examination:
    """One pass forward and backward: inputs by path ("" for a single one), the results of the layers in order, what the
    model gave for each loss, and gradients."""

    inputs: dict[str, np.ndarray]
    layers: list[tuple[str, Module, np.ndarray]]
    outputs: list[Judged]
    gradients: dict[str, np.ndarray]
    input_gradients: dict[str, np.ndarray]
    modules: dict[str, Module]

    def path(self, name: str) -> str:
        """What messages call the layer that holds the parameter `name`."""
        owner = name.rsplit(".", 1)[0] if "." in name else ""
        return display(owner, self.modules[owner]) if owner in self.modules else name


def diagnose(model: ModelLike, data: DataLike, *, loss: LossLike, history: Any = None, samples: int = 256) -> Report:
    """Look for what commonly goes wrong.

    Args:
        data: what `fit` takes: arrays, nested or not, a source, a loader or a stream, of which the first samples are
            looked at.
        loss: that of the training, or one for each output.
        history: of a `fit`, to look at its curves too.
        samples: how many, evenly spread over the data, go through the model.

    Returns a Report: a list of Findings (kind, layer, problem, remedy), empty for a healthy case; print it.

    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(2)])
    >>> cr.diagnose(model, (1000 * x, (x[:, 0] > 0).astype(int)), loss="cross_entropy")[0].kind
    'inputs not normalised'
    """
    return diagnosed(model, some(data, model, samples), loss, history, samples)


def diagnosed(model: Any, whole: Samples, loss: Any, history: Any, samples: int) -> Report:
    """The findings of `diagnose` from samples in memory."""
    loss = losses.of_outputs(loss, targets=whole.y)
    chosen = np.unique(np.linspace(0, len(whole) - 1, min(samples, len(whole))).astype(int))
    exam = examine(model, *whole.batch(chosen), loss)
    found = [*_inputs(model, exam), *_targets(judged_targets(loss, whole.y)), *_outputs(exam)]
    found += [*_structure(model), *_weights(exam)]
    places = {finding.where for finding in found}  # equal weights also look dead: one finding for one cause
    found += [finding for finding in (*_dead(exam), *_saturated(exam)) if finding.where not in places]
    kinds = {finding.kind for finding in found}
    found += [*_gradients(exam, kinds), *_recurrent_weights(exam), *_through_time(exam)]
    if history is not None:
        found += judged(list(history), _baseline(loss, whole.y),
                        images=any(array.ndim == 4 for array in leaves(whole.x)))
    return Report(found)


def _baseline(loss: Any, y: Any) -> float | None:
    """The loss of the best constant answer, of several losses their weighted sum; None where it is not known."""
    known = [constant_loss(one.y, one.loss.name) if isinstance(one.y, np.ndarray) else None
             for one in judged_targets(loss, y)]
    factors = loss.factors.tolist() if isinstance(loss, losses.Several) else [1.0]
    return (None if None in known else sum(value * factor for value, factor in zip(known, factors, strict=True)
                                           if value is not None))


def judged_targets(loss: Any, y: Any, output: Any = None) -> list[Judged]:
    """Each loss with its targets, and its part of what the model gave."""
    values = lambda part: part.numpy() if isinstance(part, Tensor) else None
    if not isinstance(loss, losses.Several):
        return [Judged("", loss, values(output), y)]
    return [Judged(name, one, values(at(output, path)) if output is not None else None, at(y, path))
            for name, (path, one) in zip(loss.names, loss.losses.items(), strict=True)]


def examine(model: Any, x: Any, y: Any, weights: Any, loss: Any) -> Examination:
    """Run the model in training mode forward and backward; every Variable holds afterwards what it held before."""
    build(model, x)
    names = {id(module): name for name, module in model.modules().items()}
    seen: list[tuple[str, Module, np.ndarray]] = []

    def watch(module: Module, result: Any) -> None:
        if isinstance(result, Tensor) and id(module) in names and current_trace() is None:
            seen.append((names[id(module)], module, result.numpy()))

    inputs = trees.map(as_tensor, x)
    floating = {path: tensor for path, tensor in zip(trees.paths(x), leaves(inputs), strict=True) if tensor.dtype.kind
                == "f"}
    with unchanged(model), watching(watch), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", losses.SoftmaxWarning)
        output = called(model, inputs, training=True)
        value = objective_of(loss, output, y, weights if any((array != 1).any() for array in leaves(weights)) else None)
        found = gradients(value, {"parameters": model.parameters(), "x": floating})
    read = lambda part: {name: g.numpy() for name, g in found[part].items()}
    return Examination(dict(zip(trees.paths(x), leaves(x), strict=True)), seen, judged_targets(loss, y, output),
                       read("parameters"), read("x"), model.modules())


# ---- data

def _inputs(model: Any, exam: Examination) -> Iterator[Finding]:
    first = next((m for _, m, _ in exam.layers if not isinstance(m, Flatten | Reshape)), None)
    for path, x in exam.inputs.items():
        if x.dtype.kind == "f" and not _normalises(first if len(exam.inputs) == 1 else None, x, exam):
            yield from _scale_of(x, display("", model) + (f" (input {path})" if path else " (input)"))


def _normalises(first: Module | None, x: np.ndarray, exam: Examination) -> bool:
    """Whether the input meets a layer to which its scale means nothing; of several inputs, one that gives what has its
    shape."""
    return isinstance(first, Normalization | Embedding) or (
        first is None and any(isinstance(m, Normalization) and values.shape == x.shape for _, m, values in exam.layers))


def _scale_of(x: np.ndarray, where: str) -> Iterator[Finding]:
    columns = x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1).astype(np.float64)
    means, deviations = columns.mean(axis=0), columns.std(axis=0)
    worst = int(np.argmax(np.maximum(np.abs(means), deviations)))
    if max(abs(means[worst]), deviations[worst]) > INPUT_SCALE:
        yield Finding("inputs not normalised", where,
                      f"column {worst} has mean {means[worst]:.3g} and standard deviation {deviations[worst]:.3g}",
                      "x = (x - x_train.mean(0)) / x_train.std(0); pixels: x / 255")
    elif 0 < columns.std() < 1 / (INPUT_SCALE * 100):
        yield Finding("inputs not normalised", where,
                      f"all values lie within {columns.std():.2g} of {columns.mean():.3g}",
                      "x = (x - x_train.mean(0)) / x_train.std(0)")


def _targets(outputs: list[Judged]) -> Iterator[Finding]:
    for one in outputs:
        if isinstance(one.y, np.ndarray):
            yield from _targets_of(one.y, one.loss, f"targets {one.name}".strip())


def _targets_of(y: np.ndarray, loss: Any, where: str) -> Iterator[Finding]:
    if y.dtype.kind in "iub" and y.ndim == 1:
        _, counts = np.unique(y, return_counts=True)
        if len(counts) > 1 and len(counts) <= len(y) / 5 and counts.max() / counts.min() >= IMBALANCE:
            yield Finding("class imbalance", where,
                          f"the most frequent class has {counts.max():,} samples, the rarest {counts.min():,}; "
                          f"always answering the former is right in {counts.max() / len(y):.0%}",
                          "give rare classes weight: data = (x, y, w) with w = N / (classes * counts[y])")
    elif loss.name.startswith(("mean_squared", "mean_absolute", "huber", "log_cosh")) and y.size:
        scale = max(abs(float(y.mean(dtype=np.float64))), float(y.std(dtype=np.float64)))
        if scale > TARGET_SCALE:
            yield Finding("targets not normalised", where, f"mean {y.mean():.3g}, standard deviation {y.std():.3g}",
                          "train on (y - y_train.mean()) / y_train.std() and turn predictions back")


# ---- structure and outputs

def _leaves(exam: Examination) -> list[tuple[str, Module, np.ndarray]]:
    """Layers that do something themselves, in the order in which they ran."""
    return [item for item in exam.layers if not any(isinstance(v, Module) for _, v in item[1].attributes())]


def _function(module: Module) -> Any:
    """The activation with which a layer ends, or None."""
    return LAYER_FUNCTIONS.get(type(module), getattr(module, "activation", None))


def _last(exam: Examination, values: np.ndarray) -> tuple[str, Module] | None:
    """The layer that gave an output: the last of all for the only one, else the last that gave just these numbers."""
    ran = _leaves(exam)
    if len(exam.outputs) == 1:
        return ran[-1][:2] if ran else None
    return next(((name, module) for name, module, found in reversed(ran) if found.shape == values.shape
                 and np.array_equal(found, values, equal_nan=True)), None)


def _outputs(exam: Examination) -> Iterator[Finding]:
    for one in exam.outputs:
        last = None if one.values is None else _last(exam, one.values)
        if last is not None and one.values is not None:
            yield from _output_of(one.values, one.loss, *last)


def _output_of(values: np.ndarray, loss: Any, name: str, module: Module) -> Iterator[Finding]:
    where = display(name, module)
    if loss.name == "cross_entropy" and values.ndim > 1 and values.shape[-1] > 1:
        if (values >= 0).all() and np.abs(values.sum(axis=-1) - 1).max() < 1e-3:
            yield Finding("softmax before cross-entropy", where, "the outputs are probabilities, the loss takes logits",
                          "remove the softmax at the end of the model; use cr.softmax on predictions")
    elif loss.name == "binary_cross_entropy" and _function(module) is sigmoid:
        yield Finding("sigmoid before cross-entropy", where, "the outputs are probabilities, the loss takes logits",
                      "remove the sigmoid at the end of the model; use cr.sigmoid on predictions")


def _structure(model: Any) -> Iterator[Finding]:
    for name, module in model.modules().items():
        if isinstance(module, Sequential):
            layers = [(f"{name}.{i}" if name else str(i), m) for i, m in enumerate(module.layers)
                      if not isinstance(m, Dropout | Flatten | Reshape)]
            for (first, a), (second, b) in itertools.pairwise(layers):
                linear = isinstance(a, Dense) and isinstance(b, Dense) and a.activation is activations.linear
                if linear and a.units >= b.units:
                    yield Finding("no activation", display(first, a),
                                  f"nothing non-linear before {display(second, b)}: the two are one matrix",
                                  f'Dense({a.units}, activation="relu")')
                if isinstance(b, BatchNorm) and _plain_bias(a):
                    yield Finding("bias redundant", display(first, a),
                                  f"{display(second, b)} subtracts the mean, and the bias of {a.bias.size} with it",
                                  f"{type(a).__name__}(..., bias=False)")


def _plain_bias(layer: Module) -> bool:
    """Whether the layer's output is a sum with a bias, with nothing after it."""
    return hasattr(getattr(layer, "bias", None), "assign") and getattr(layer, "activation", None) is activations.linear


def _weights(exam: Examination) -> Iterator[Finding]:
    for name, module in exam.modules.items():
        for key, variable in module.attributes():
            if isinstance(variable, Module) or not variable.trainable:
                continue
            if variable.ndim > 1 and min(variable.shape) > 1:
                array = variable.numpy()
                if array.max() == array.min():
                    yield Finding("equal weights", display(name, module), f"all of {key} are {array.flat[0]:g}: "
                                  "all units compute and learn the same", 'weight_initializer="he_normal"')


# ---- activations

def _dead(exam: Examination) -> Iterator[Finding]:
    for name, module, values in _leaves(exam):
        if _function(module) is relu and values.ndim > 1 and len(values) >= 16:
            dead = ~(values.reshape(-1, values.shape[-1]) > 0).any(axis=0)
            if dead.mean() >= DEAD_SHARE:
                yield Finding("dead units", display(name, module),
                              f"{dead.sum()} of {dead.size} units are 0 for all {len(values)} samples",
                              "lower the learning rate and start again, or use nn.LeakyReLU()")


def _saturated(exam: Examination) -> Iterator[Finding]:
    ends = {last[0] for one in exam.outputs if one.values is not None and (last := _last(exam, one.values)) is not None}
    for name, module, values in _leaves(exam)[:-1]:
        function = _function(module) if name not in ends else None
        if function in (tanh, sigmoid):
            flat = np.abs(values) > 0.99 if function is tanh else np.abs(values - 0.5) > 0.49
            if flat.mean() >= SATURATED_SHARE:
                shape = "tanh" if function is tanh else "sigmoid"
                yield Finding("saturated activations", display(name, module),
                              f"{flat.mean():.0%} of the values lie where {shape} is flat",
                              "normalise what comes in: nn.BatchNorm() before the activation")


# ---- gradients

def _gradients(exam: Examination, kinds: set[str]) -> Iterator[Finding]:
    norms = {name: float(np.linalg.norm(g.astype(np.float64))) for name, g in exam.gradients.items() if g.ndim > 1}
    if not norms:
        return
    bad = [name for name, norm in norms.items() if not np.isfinite(norm)]
    largest = max(norms, key=lambda name: norms[name])
    if bad or (norms[largest] > EXPLODED and not {"inputs not normalised", "targets not normalised"} & kinds):
        name = bad[0] if bad else largest
        yield Finding("exploding gradients", exam.path(name), f"its gradient has norm {norms[name]:.3g}",
                      "clip the gradients: optim.Adam(..., clip_norm=1.0)")
    if bad or norms[largest] == 0 or "dead units" in kinds or "equal weights" in kinds:
        return
    smallest = min(norms, key=lambda name: norms[name])
    ratio = norms[smallest] / norms[largest]
    if ratio == 0:
        yield Finding("no gradient", exam.path(smallest), "its gradient is exactly 0",
                      "check that its output reaches the loss")
    elif ratio < VANISHED:
        yield Finding("vanishing gradients", exam.path(smallest),
                      f"its gradient has norm {norms[smallest]:.2g}, that of {exam.path(largest)} {norms[largest]:.2g}",
                      'activation="relu" with weight_initializer="he_normal", or nn.Residual and nn.BatchNorm')


def _through_time(exam: Examination) -> Iterator[Finding]:
    layer = next(((n, m) for n, m, _ in exam.layers if isinstance(m, Recurrent)), None)
    sequences = [g for g in exam.input_gradients.values() if g.ndim == 3]
    if layer is None or len(sequences) != 1 or sequences[0].shape[1] < 10:
        return
    norms = np.sqrt(np.square(sequences[0].astype(np.float64)).sum(axis=(0, 2)))
    norms = norms[::-1] if layer[1].reverse else norms
    early, late = norms[:max(1, len(norms) // 10)].max(), norms[-max(1, len(norms) // 10):].max()
    if early < LOST_IN_TIME * norms.max():
        yield Finding("vanishing gradients", display(*layer),
                      f"the gradient of the first steps is {early:.2g}, that of the last {late:.2g}",
                      "use nn.LSTM or nn.GRU" if isinstance(layer[1], SimpleRNN)
                      else f"nn.{type(layer[1]).__name__}(..., memory={len(norms)})")
    elif not np.isfinite(early) or early > EXPLODED * max(late, 1e-30):
        yield Finding("exploding gradients", display(*layer),
                      f"the gradient of the first steps is {early:.2g}, that of the last {late:.2g}",
                      "clip the gradients: optim.Adam(..., clip_norm=1.0)")


def _recurrent_weights(exam: Examination) -> Iterator[Finding]:
    for name, module, _ in exam.layers:
        if isinstance(module, SimpleRNN):
            radius = float(np.abs(np.linalg.eigvals(module.recurrent_weight.numpy().astype(np.float64))).max())
            if radius >= LARGE_RADIUS:
                yield Finding("large recurrent weights", display(name, module),
                              f"spectral radius {radius:.3g}: what is far back counts up to {radius:.3g} times more "
                              "with each step",
                              'recurrent_initializer="orthogonal", and clip the gradients: optim.Adam(..., '
                              'clip_norm=1.0)')


# ---- by themselves, and during training

@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of what a layer gives; `unusual` outside [0.5, 2] standard deviations."""

    layer: str
    mean: float
    deviation: float

    @property
    def unusual(self) -> bool:
        """Whether signals shrink or grow here more than a good initialisation lets them."""
        return not 0.5 <= self.deviation <= 2.0

    def __str__(self) -> str:
        return f"{self.layer:32} mean {self.mean:9.3g}  std {self.deviation:9.3g}{'  <-' if self.unusual else ''}"


class Spreads(list[Spread]):
    """One line for each layer."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__


def activation_report(model: ModelLike, x: ArrayLike | DataLike) -> Spreads:
    """Mean and spread of every layer's results for `x`, in order: how signals fare with the present weights; prints as
    a table.

    x is an array, or a tuple or dict of them, as of `predict`.

    >>> model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(2)])
    >>> report = cr.train.activation_report(model, np.ones((4, 3), "float32"))
    >>> len(report) > 0
    True
    """
    seen: list[tuple[Module, np.ndarray]] = []
    given = structure(x, "x", model)
    build(model, given)
    names = {id(module): name for name, module in model.modules().items()}
    with watching(lambda module, result: seen.append((module, result.numpy())) if isinstance(result, Tensor)
                  and current_trace() is None else None):
        called(model, given)
    return Spreads(Spread(display(names[id(m)], m), float(v.mean()), float(v.std())) for m, v in seen
                   if id(m) in names and not any(isinstance(held, Module) for _, held in m.attributes()))


def overfit_one_batch(model: ModelLike, data: DataLike, *, loss: LossLike, optimizer: OptimizerLike = "adam",
                      steps: int = 300, batch_size: int = 16, backend: str | None = None) -> float:
    """The loss after `steps` steps on one small batch: near 0 if model, loss and labels fit together.

    Afterwards the model has its old weights again. `data` and `loss` are what `fit` takes; the batch are the first
    samples.

    >>> x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    >>> model = nn.Sequential([nn.Dense(16, activation="relu"), nn.Dense(2)])
    >>> cr.train.overfit_one_batch(model, (x, (x[:, 0] > 0).astype(int)), loss="cross_entropy", steps=1000) < 0.1
    True
    """
    whole, chosen = some(data, model, batch_size), optim.get(optimizer)
    batch = whole.batch(np.arange(min(batch_size, len(whole))))
    build(model, whole.x)
    found = losses.of_outputs(loss, targets=whole.y)
    step = training_step(model, found, chosen, None, backend, weighted=whole.weighted,
                         parts=built_for(chosen, model, found, whole))
    with unchanged(model):
        for _ in range(steps):
            total, weight, _, _ = step.arrays(*batch)
        return float(loss_columns(found, total, weight)["loss"])


def _flips(pipeline: Any, data: Samples) -> Iterator[Finding]:
    """Flips of things that have a handedness, such as digits."""
    for operation in getattr(pipeline, "operations", [pipeline]):
        if (
            isinstance(operation, Flip)
            and data.plain
            and data.x.ndim == 4
            and data.y.ndim == 1
            and data.y.dtype.kind in "iu"
        ):
            found = handedness(data.x, data.y, operation.axis)
            if found.matters:
                yield Finding("flipped samples mean something else", repr(operation), str(found), "leave the flip out")


class Doctor(Callback):
    """Looks at the run before the first step, every `every` epochs and at the end, and says what is new.

    It looks at the training samples, or at the first batch where they come in batches. Whether the learning rate is
    wrong or the model too small is judged at the end only. `doctor.findings` is the Report of all that was found. The
    run's weights are the same bits as without it.

    >>> x = np.ones((8, 1), "float32")
    >>> doctor = cr.train.Doctor(every=2)
    >>> doctor.every
    2
    """

    def __init__(self, every: int = 5, samples: int = 256):
        self.every, self.samples = every, samples
        self.findings = Report()

    only_fit = True

    def begin(self, run: TrainingRun) -> None:
        for finding in _flips(run.augment, run.examples):
            self.findings.append(finding)
            run.reporter.say(str(finding))
        self._look(run)

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        if row["epoch"] % self.every == 0:
            self._look(run)

    def end(self, run: TrainingRun) -> None:
        self._look(run, ended=True)

    def _look(self, run: Any, ended: bool = False) -> None:
        for finding in diagnosed(run.model, run.examples, run.loss, run.history, self.samples):
            if finding.where == "training loss" and not ended:
                continue
            place = self.findings.place(finding)
            if place is None:
                self.findings.append(finding)
                run.reporter.say(str(finding))
            else:
                self.findings[place] = finding
