# SPDX-License-Identifier: Apache-2.0
"""`evaluate` and `predict`: the model in inference mode over data of any length, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import losses
from ..errors import ArgumentError, BoundsError, explain
from ..foundations import tree as trees
from ..foundations.names import called_as
from ..ir import no_grad
from ..ir.bind import leaf
from ..metrics.intervals import Estimate
from ..nn.core.module import Module
from ..statistics.paired import mean_interval
from ..typing import ArrayLike, DataLike, LossLike, ModelLike
from .batched import Batched, given, in_order, is_batched
from .checks import in_data, say_bad_inputs
from .data import Samples, structure
from .measured import measured as metrics_of
from .programs import remembered
from .states import fixed_rows
from .step import loss_step, output_step
from .structure import leaves, one_length, take, traced

MOST_BYTES = 2**30  # of outputs that are kept for a loss that wants all of them at once


class Result(dict[str, Any]):
    """Measured values by name, each an Estimate, a number with its 95 % interval where there is one; prints as a list.

    `cr.compare(a, b)` takes two of them: it knows the test set (`test_set`) and what the model did to each sample of it
    (`each`: right or wrong for classes, the absolute error for numbers).

    >>> model, x = nn.Dense(1, weight_initializer="zeros"), np.ones((4, 1), "float32")
    >>> result = cr.evaluate(model, (x, x), loss="mse")
    >>> float(result["loss"])
    1.0
    """

    data: Samples | None = None
    each: np.ndarray | None = None
    each_is_right: bool = True

    @property
    def test_set(self) -> str | None:
        """The fingerprint of the inputs and targets: two results can be compared if it is the same."""
        if self.data is None:
            return None
        from ..statistics.runs import fingerprint
        return fingerprint(*leaves(self.data.y), *leaves(self.data.x))

    def __str__(self) -> str:
        return "\n".join(f"{name:14} {value}" for name, value in self.items())

    __repr__ = __str__


@called_as("cr.evaluate(model, (x, y), loss='cross_entropy', metrics=['accuracy'])")
def evaluate(model: ModelLike, data: DataLike, *, loss: LossLike | None = None, metrics: Any = (),
             batch_size: int = 256, level: float = 0.95, backend: str | None = None, precision: str = "float32",
             loss_weights: Any = None) -> Result:
    """Loss and metrics of the model on data it has not learnt from, each with a confidence interval.

    The interval of the loss is that of a mean over independent samples, by Student's t (`statistics.mean_interval`,
    sample weights included). A loss of one's own that gives a single number is called once, with the outputs and
    targets of all samples; it has no interval, and takes no sample weights.

    Args:
        data: (x, y) or (x, y, sample weights), arrays or nested dicts and tuples of them; or a source, a loader or
            batches, as for `fit`.
        loss: name or function of chainrule.losses, or None; or one for each output, by the same structure.
        loss_weights: what each of several losses counts in the sum of them.
        metrics: names or objects of chainrule.metrics, or names of losses; or lists of them by output.
        level: of the intervals (Student's t for the loss, Wilson for proportions, bootstrap for the others).
        precision: of products, "float32" or "bfloat16"; see `compile`.

    >>> x = np.array([[-1.0], [1.0]] * 20, "float32")
    >>> y = (x[:, 0] > 0).astype(int)
    >>> model = nn.Dense(2)
    >>> history = cr.fit(model, (x, y), loss="cross_entropy", epochs=3, optimizer=cr.optim.Adam(0.1), progress=False)
    >>> float(cr.evaluate(model, (x, y), metrics=["accuracy"])["accuracy"])
    1.0
    """
    if loss is None and not metrics:
        raise ArgumentError(explain("there is nothing to measure", expected="loss=..., metrics=[...] or both"))
    found = given(data, model, batch_size)
    chosen, items = (None if loss is None else losses.of_outputs(loss, loss_weights, found.y),
                     _Items(getattr(loss, "name", loss) == "binary_cross_entropy"))
    measured = _fresh_metrics(metrics, chosen)
    step = (_without_loss(model, backend, precision, found.x) if chosen is None
            else measuring_step(model, loss, chosen, found.x, backend, precision, per_sample=True,
                                weighted=found.weighted))
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    values = measure_all(step, found, [*measured, items], batch_size, chosen, parts, fixed_rows(model))
    result = Result({} if chosen is None else _loss_estimates(chosen, values, parts, level))
    result.data, (result.each, result.each_is_right) = None if isinstance(found, Batched) else found, items.collected()
    result.update({metric.name: metric.estimate(level) for metric in measured})
    return result


def _loss_estimates(loss: Any, values: dict[str, float], parts: list[Any], level: float) -> dict[str, Estimate]:
    """The loss, and that of each output; the sum of several has no interval."""
    if not isinstance(loss, losses.Several):
        return {"loss": _loss_estimate(values["loss"], parts, level)}
    found = {"loss": Estimate(values["loss"], level=level)}
    for k, name in enumerate(loss.names):
        column = f"{name}_loss"
        if not all(totals.size for totals, _ in parts):
            found[column] = Estimate(values[column], level=level)
            continue
        found[column] = _loss_estimate(values[column], [(totals[:, k], weights[:, k]) for totals, weights in parts],
                                       level)
    return found


def _loss_estimate(value: float, parts: list[tuple[np.ndarray, np.ndarray]], level: float) -> Estimate:
    """The mean with its interval, from (totals, weights) of the samples of each batch; no samples tell nothing about
    the spread."""
    if not np.isfinite(value) or not all(totals.size for totals, _ in parts):
        return Estimate(value, level=level)
    low, high = mean_interval(*(np.concatenate(columns) for columns in zip(*parts, strict=True)), level) or (None, None)
    return Estimate(value, low, high, level)


class _Items:
    """What the model did to each sample: right or wrong where the targets are classes, else the mean absolute error."""

    def __init__(self, binary: bool):
        self.binary = binary

    def reset(self) -> None:
        self.parts: list[np.ndarray] = []
        self.classes = True

    def update(self, outputs: Any, targets: np.ndarray, weights: np.ndarray) -> None:
        """One batch."""
        if (
            not isinstance(outputs, np.ndarray)
            or not isinstance(targets, np.ndarray)
            or outputs.shape[:1] != targets.shape[:1]
        ):
            self.parts, self.classes = [], False
            return
        one = outputs.size == len(outputs) == targets.size
        self.classes = (self.binary and one) or (targets.dtype.kind in "iub" and targets.ndim == 1 and outputs.ndim
                                                 == 2)
        self.parts.append(self._values(outputs, targets))

    def _values(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if self.classes:
            return (outputs.argmax(axis=1) if outputs.size > len(outputs) else outputs.reshape(-1)
                    > 0) == targets.reshape(-1)
        flat = outputs.reshape(len(outputs), -1)
        if flat.size != targets.size:
            return np.full(len(outputs), np.nan)
        return np.abs(flat - targets.reshape(len(targets), -1)).mean(axis=1)

    def collected(self) -> tuple[np.ndarray | None, bool]:
        """(one number per sample, whether they say right or wrong); None where the outputs do not fit the targets."""
        values = np.concatenate(self.parts).astype(np.float64) if self.parts else None
        return (None if values is None or np.isnan(values).any() else values), self.classes


def _fresh_metrics(names: Any, loss: Any) -> list[Any]:
    found = metrics_of(names, list(loss.losses) if isinstance(loss, losses.Several) else ())
    for metric in found:
        metric.reset()
    return found


def measuring_step(model: Any, name: Any, loss: Any, x: Any, backend: str | None, precision: str = "float32",
                   **options: bool) -> Any:
    """The remembered `loss_step`; `name` is what the user gave as a loss."""
    build(model, x)
    return remembered("loss", model, (recipe(name, loss), precision, options), backend,
                      lambda model: loss_step(model, loss, backend, precision, **options))


def recipe(name: Any, loss: Any) -> Any:
    """What tells a loss apart where programs are remembered: what the user gave, or the parts of several."""
    return loss.recipe if isinstance(loss, losses.Several) else name


def predicting_step(model: Any, x: Any, backend: str | None, precision: str) -> Any:
    """The remembered `output_step`."""
    build(model, x)
    return remembered("outputs", model, (precision,), backend, lambda model: output_step(model, backend, precision))


def build(model: Any, x: Any) -> None:
    """Make the Variables of a model that does not know yet what comes in."""
    if isinstance(model, Module) and not model.built and len(leaves(x)[0]):
        traced(model, x, fixed_rows(model) or 1)


def _without_loss(model: Any, backend: str | None, precision: str, x: Any) -> Any:
    step, nothing = predicting_step(model, x, backend, precision), leaf(np.zeros((), np.float32))
    return lambda x, y, weights: (nothing, nothing, step(x))


def measure(step: Any, data: Samples | Batched, measured: Sequence[Any], batch_size: int, loss: Any = None,
            parts: list[Any] | None = None, rows: int | None = None) -> float:
    """The loss of `measure_all` alone."""
    return measure_all(step, data, measured, batch_size, loss, parts, rows)["loss"]


def measure_all(step: Any, data: Samples | Batched, measured: Sequence[Any], batch_size: int, loss: Any = None,
                parts: list[Any] | None = None, rows: int | None = None) -> dict[str, float]:
    """The weighted mean loss over all data, and that of each of several outputs; `measured` metrics are reset, then
    updated with every sample.

    `rows` is the size of all batches, if it matters. `parts` receives the sums of losses and of weights, batch by
    batch. A loss that the step leaves out because it gives one number for a batch is called once, with the outputs for
    all data.
    """
    for metric in measured:
        metric.reset()
    total, weight, kept = np.float64(0.0), np.float64(0.0), list[Any]()
    start = 0
    for x, y, weights, count in padded_batches(data, batch_size, rows):
        try:
            batch_total, batch_weight, outputs = step(x, y, weights)
            outputs = _first_rows(outputs, count)
            for metric in measured:
                metric.update(outputs, take(y, slice(count)), take(weights, slice(count)))
        except BoundsError as error:
            raise in_data(error, np.arange(start, start
                                           + (count if error.shape[:1] == (count,) else len(leaves(x)[0])))) from None
        start += count
        sums = tuple(_of_rows(loss, x.numpy(), count) for x in (batch_total, batch_weight))
        total, weight = (so_far + _sum(loss, x) for so_far, x in zip((total, weight), sums, strict=True))
        if parts is not None:
            parts.append(sums)
        if batch_total.shape == (0,):
            if isinstance(data, Batched):
                raise ArgumentError(explain(f"the loss {loss.name} gives one number, and needs the outputs of all "
                                            "samples at once", got="data in batches",
                                            fix="leave out the mean, or give arrays in memory"))
            kept.append(_kept(outputs, loss, len(data) / count))
    if kept:
        return _numbers_of_all(loss, kept, data.y)
    return loss_columns(loss, total, weight)


def loss_columns(loss: Any, total: Any, weight: Any) -> dict[str, float]:
    """The mean loss of these sums, NaN of nothing; of several, the sum of their means and each of them by its output.
    """
    if not isinstance(loss, losses.Several):
        return {"loss": float(total / weight) if weight else float("nan")}
    means = loss.means(total, weight)
    return {"loss": loss.mean(total, weight)} | {f"{name}_loss": float(mean)
                                                 for name, mean in zip(loss.names, means, strict=True)}


def _of_rows(loss: Any, x: np.ndarray, count: int) -> np.ndarray:
    """The numbers of the samples that are not there to fill up the batch, or those of the batch."""
    return x[:count] if x.ndim > isinstance(loss, losses.Several) else x


def _sum(loss: Any, x: np.ndarray) -> Any:
    several = isinstance(loss, losses.Several)
    return (x.sum(axis=0, dtype=np.float64) if several and x.ndim > 1 else x.astype(np.float64) if several
            else x.sum(dtype=np.float64))


def _kept(outputs: Any, loss: Any, batches: float) -> Any:
    """A copy of the outputs of a batch, if there is memory for those of all batches."""
    if (bytes_ := batches * sum(part.nbytes for part in trees.flatten(outputs)[0])) > MOST_BYTES:
        raise ArgumentError(explain(f"the loss {loss.name} gives one number, and the outputs of all samples together "
                                    "are too many for it",
                                    got=f"{bytes_ / 2**30:.1f} GiB",
                                    expected=f"at most {MOST_BYTES / 2**30:g} GiB, or one value for each sample",
                                    fix="leave out the mean; for a loss of chainrule.losses: reduction='none'"))
    return trees.map(np.copy, outputs)


def _numbers_of_all(loss: Any, outputs: Sequence[Any], targets: Any) -> dict[str, float]:
    with no_grad():
        total, weight = loss.sum_and_weight(trees.map(lambda *parts: leaf(np.concatenate(parts)), *outputs), targets)
        return loss_columns(loss, total.numpy().astype(np.float64), weight.numpy().astype(np.float64))


def padded_batches(data: Samples | Batched, batch_size: int,
                   rows: int | None = None) -> Iterator[tuple[Any, Any, Any, int]]:
    """Batches of one size, the last one filled up with its first sample at weight zero: one program serves all."""
    if isinstance(data, Batched):
        size = rows or 0
        for batch in data:
            size = rows or max(size, len(batch))
            yield from padded_batches(batch, size, size)
        return
    size = rows or min(batch_size, len(data))
    for start in range(0, len(data), size):
        indices = np.arange(start, min(start + size, len(data)))
        x, y, weights = data.batch(np.concatenate([indices, np.full(size - len(indices), start)]))
        for array in leaves(weights):
            array[len(indices):] = 0
        yield x, y, weights, len(indices)


@called_as("cr.predict(model, x)")
def predict(model: ModelLike, x: ArrayLike | DataLike, *, batch_size: int = 256, backend: str | None = None,
            precision: str = "float32") -> Any:
    """The outputs of the model for `x` (N, ...), as a Tensor (or a structure of them), in inference mode.

    x may be a tuple or a dict of arrays, `model(*x)` or `model(**x)`, and a list of arrays of different lengths: the
    model then gets their mask. Or a source or a loader that keeps the order of its samples, which are x or (x, y).

    A `train.NonFiniteWarning` says which sample first has inputs that are NaN or infinite. `precision` of products is
    "float32" or "bfloat16"; see `compile`.

    >>> model = nn.Dense(2, weight_initializer="ones", input_shape=(3,))
    >>> cr.predict(model, np.ones((1, 3), "float32"))
    Tensor([[3., 3.]], dtype=float32)
    """
    if is_batched(x) and not _is_array_like(x):
        batches = Batched(in_order(x), "x", model, batch_size, targets=False)
        step = predicting_step(model, batches.x, backend, precision)
        parts = [_first_rows(step(padded), count)
                 for padded, _, _, count in padded_batches(batches, batch_size, fixed_rows(model))]
        return trees.map(lambda *rows: leaf(np.concatenate(rows)), *parts)
    data = structure(x, "x", model)
    one_length(data, "x")
    count = len(leaves(data)[0])
    size = fixed_rows(model) or max(min(batch_size, count), 1)
    step = predicting_step(model, data, backend, precision)
    parts = [_predicted(step, data, start, size, count) for start in range(0, max(count, 1), size)]
    for part in leaves(data):
        say_bad_inputs(part)
    return trees.map(lambda *rows: leaf(np.concatenate(rows)), *parts)


def _is_array_like(x: Any) -> bool:
    """Whether NumPy makes an array of it: a list of rows, a table."""
    return isinstance(x, list) or hasattr(x, "__array__") or hasattr(x, "numpy")


def _predicted(step: Any, data: Any, start: int, size: int, count: int) -> Any:
    try:
        return _first_rows(step(trees.map(lambda part: _filled(part[start:start + size], size), data)), count - start)
    except BoundsError as error:
        raise in_data(error, np.arange(start, start + size)) from None


def _filled(batch: np.ndarray, size: int) -> np.ndarray:
    """A last batch filled up with its first sample, so that one program serves all."""
    missing = size - len(batch) if len(batch) else 0
    return np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)]) if missing else batch


def _first_rows(outputs: Any, count: int) -> Any:
    return trees.map(lambda t: t.numpy()[:count], outputs)
