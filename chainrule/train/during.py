# SPDX-License-Identifier: Apache-2.0
"""What can be watched while training goes on: validation every n steps, and how back-propagation fares layer by layer.

`deltas` gives the gradient of the loss with respect to what each layer gives, from the output layer back to the input;
its norm and those of the weights' gradients say where learning stops or explodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import losses
from ..compiler.transform import gradients
from ..errors import ArgumentError, explain
from ..foundations import tree as trees
from ..ir import Tensor, as_tensor
from ..nn.core.module import Module, display, watching
from ..typing import DataLike, LossLike, ModelLike, TrainingRun
from .batched import some
from .callbacks import Callback
from .evaluate import build
from .history import History
from .keep import unchanged
from .step import objective_of
from .structure import called

FIRST = 256  # samples of data that come in batches


class Validation(Callback):
    """Measure the validation data every `every_steps` steps; `history` has a row for each time, with `step`.

    >>> x = np.ones((64, 1), "float32")
    >>> often = cr.train.Validation(every_steps=1)
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", validation=(x, x), callbacks=[often], progress=False)
    >>> len(often.history.rows)
    2
    """

    def __init__(self, every_steps: int):
        if every_steps < 1:
            raise ArgumentError(explain("validation comes every so many steps", got=f"{every_steps=}",
                                        expected="1 or more"))
        self.every_steps, self.history = every_steps, History()

    def begin(self, run: TrainingRun) -> None:
        if run.validation is None:
            raise ArgumentError(explain("there is nothing to validate on",
                                        got="train.Validation without validation data",
                                        fix="give fit(..., validation=(x, y))"))
        self.history.directions = run.history.directions

    def steps_apart(self, run: TrainingRun) -> float:
        """Up to the next measurement."""
        return self.every_steps - run.step_number % self.every_steps

    def after_step(self, run: TrainingRun) -> None:
        if run.step_number % self.every_steps == 0:
            row = {"step": run.step_number} | {f"validation_{name}": value for name, value in run._validate().items()}
            self.history.rows.append(row)
            run.reporter.say(", ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def state(self) -> dict[str, Any]:
        return {"rows": [{k: None if v != v else v for k, v in row.items()} for row in self.history.rows]}

    def restore(self, state: dict[str, Any]) -> None:
        self.history.rows = [{k: float("nan") if v is None else v for k, v in row.items()} for row in state["rows"]]


@dataclass(frozen=True)
class LayerGradient:
    """One layer on the way back: norms of its weights, of their gradient, and of the gradient of its results.

    `histogram` counts the decimal exponents of the latter's elements: {-3: 120} for 120 of them in [1e-3, 1e-2).
    """

    layer: str
    weights: float
    gradient: float
    delta: float
    histogram: dict[int, int]

    def __str__(self) -> str:
        return f"{self.layer:32} weights {self.weights:9.3g}  gradient {self.gradient:9.3g}  delta {self.delta:9.3g}"


class GradientReport(list[LayerGradient]):
    """The layers from the output back to the input; prints as a table.

    >>> model, x = nn.Sequential([nn.Dense(8), nn.Dense(1)]), np.ones((4, 3), "float32")
    >>> report = cr.train.gradient_report(model, (x, x[:, :1]), loss="mse")
    >>> isinstance(report, cr.train.GradientReport)
    True
    """

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__


def deltas(model: ModelLike, data: DataLike, *, loss: LossLike) -> dict[str, np.ndarray]:
    """Name of a layer -> d loss / d (what it gives), for one batch in training mode, from the last layer to the
    first.

    `data` and `loss` are as of `fit`: all of what is in memory is the batch, of a source, a loader or a stream the
    first 256 samples.

    >>> model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(1)])
    >>> x = np.ones((4, 3), "float32")
    >>> {name: delta.shape for name, delta in cr.train.deltas(model, (x, x[:, :1]), loss="mse").items()}
    {'1': (4, 1), '0': (4, 8)}
    """
    return _backward(model, data, loss)[0]


def _backward(model: Any, data: Any, loss: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    batch, results = some(data, model, FIRST), dict[str, Tensor]()
    build(model, batch.x)
    chosen = losses.of_outputs(loss, targets=batch.y)
    names = {id(module): name for name, module in model.modules().items()}

    def watch(module: Module, result: Any) -> None:
        leaf = not any(isinstance(held, Module) for _, held in module.attributes())
        if leaf and isinstance(result, Tensor) and result.dtype.kind == "f" and id(module) in names:
            results[names[id(module)]] = result

    with unchanged(model), watching(watch):
        value = objective_of(chosen, called(model, trees.map(as_tensor, batch.x), training=True), batch.y,
                             batch.weights if batch.weighted else None)
        found = gradients(value, {"results": results, "parameters": model.parameters()})
    read = lambda part: {name: g.numpy() for name, g in found[part].items()}
    return dict(reversed(read("results").items())), read("parameters")


def gradient_report(model: ModelLike, data: DataLike, *, loss: LossLike) -> GradientReport:
    """Norms of weights, gradients and deltas of every layer, from the output layer back to the input; `data` and `loss`
    are as of `deltas`.

    >>> model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(1)])
    >>> x = np.ones((4, 3), "float32")
    >>> len(cr.train.gradient_report(model, (x, x[:, :1]), loss="mse"))
    2
    """
    back, grads = _backward(model, data, loss)
    modules = model.modules()
    return GradientReport(_row(name, modules[name], delta, grads) for name, delta in back.items())


def _row(name: str, module: Module, delta: np.ndarray, grads: dict[str, np.ndarray]) -> LayerGradient:
    own = {key: value for key, value in module.attributes() if f"{name}.{key}".lstrip(".") in grads}
    exponents, counts = np.unique(np.floor(np.log10(np.abs(delta[delta != 0]))).astype(int), return_counts=True)
    return LayerGradient(display(name, module), _norm([v.numpy() for v in own.values()]),
                         _norm([grads[f"{name}.{key}".lstrip(".")] for key in own]),
                         _norm([delta]), dict(zip(exponents.tolist(), counts.tolist(), strict=True)))


def _norm(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.square(a.astype(np.float64)).sum() for a in arrays)))


class GradientNorms(Callback):
    """Print the gradient report of the first `samples` training samples every `every` epochs; `reports` keeps all.

    >>> cr.train.GradientNorms(every=5).every
    5
    """

    def __init__(self, every: int = 1, samples: int = 64):
        self.every, self.samples = every, samples
        self.reports: dict[int, GradientReport] = {}

    only_fit = True

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        if row["epoch"] % self.every == 0:
            examples = run.examples
            first = examples.batch(np.arange(min(self.samples, len(examples))))
            report = self.reports[row["epoch"]] = gradient_report(run.model, first, loss=run.loss)
            run.reporter.say(f"gradients after epoch {row['epoch']}\n{report}")
