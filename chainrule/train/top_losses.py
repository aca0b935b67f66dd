# SPDX-License-Identifier: Apache-2.0
"""Where the error comes from: the loss of each sample, and the samples with the largest.

What a trained model is surest about and wrong is worth a look: it is mislabelled more often than not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import losses
from ..compiler.compile import compile
from ..errors import ShapeError, explain
from ..foundations import tree as trees
from ..ops.elementwise import where
from ..ops.reduce import sum
from ..typing import DataLike, LossLike, ModelLike
from .batched import given, in_order
from .evaluate import build, padded_batches
from .states import fixed_rows
from .structure import called, leaves, take


@dataclass(frozen=True)
class TopLosses:
    """The samples with the largest losses, largest first: their places in the data, losses, targets and outputs.

    >>> model, x = nn.Dense(1, weight_initializer="zeros"), np.array([[1.0], [3.0], [2.0]], "float32")
    >>> found = cr.train.top_losses(model, (x, x), loss="mse", count=1)
    >>> isinstance(found, cr.train.TopLosses), found.losses
    (True, array([9.], dtype=float32))
    """

    indices: np.ndarray
    losses: np.ndarray
    targets: Any
    outputs: Any
    share: float

    def __str__(self) -> str:
        rows = [f"{len(self.indices)} samples with {self.share:.0%} of the whole loss"]
        rows += [f"sample {i:<8} loss {loss:<9.4g} {self._compared(row)}"
                 for row, (i, loss) in enumerate(zip(self.indices, self.losses, strict=True))]
        return "\n".join(rows)

    def _compared(self, row: int) -> str:
        """The target of a sample, and the class that was predicted where there is one; of several outputs, each."""
        if not isinstance(self.targets, np.ndarray):
            return ", ".join(f"target {path} {array[row]}"
                             for path, array in zip(trees.paths(self.targets), leaves(self.targets), strict=True))
        labels = (self.targets.ndim == 1 and self.targets.dtype.kind in "iub" and isinstance(self.outputs, np.ndarray)
                  and self.outputs.ndim == 2)
        return f"target {self.targets[row]}" + (f", predicted {self.outputs[row].argmax()}" if labels else "")

    __repr__ = __str__


def sample_losses(model: ModelLike, data: DataLike, *, loss: LossLike, batch_size: int = 256,
                  backend: str | None = None) -> tuple[np.ndarray, Any]:
    """(losses (n,), outputs (n, ...)) of the samples, unweighted, in inference mode; means over the axes of a
    sample, those steps of a sequence left out that do not exist.

    `data` is what `fit` takes, a loader without shuffling. Of several outputs the loss is the sum of their losses, and
    outputs are structured as the model gives them.

    >>> model, x = nn.Dense(1, weight_initializer="zeros"), np.array([[1.0], [2.0]], "float32")
    >>> losses, outputs = cr.train.sample_losses(model, (x, x), loss="mse")
    >>> losses
    array([1., 4.], dtype=float32)
    """
    return _measured(model, data, loss, batch_size, backend)[:2]


def _measured(model: Any, data: Any, loss: Any, batch_size: int, backend: str | None) -> tuple[np.ndarray, Any, Any]:
    """Losses, outputs and targets of all samples."""
    found = given(in_order(data), model, batch_size)
    chosen = losses.of_outputs(loss, targets=found.y)
    build(model, found.x)
    step, parts = _step(model, chosen, backend), []
    for x, y, weights, count in padded_batches(found, batch_size, fixed_rows(model)):
        values, outputs = step.arrays(x, y, trees.map(_existing, weights))
        if values.shape != leaves(x)[0].shape[:1]:
            raise ShapeError(explain(f"the loss {chosen.name} does not give one value per sample",
                                     got=f"shape {values.shape}", expected=f"({len(leaves(x)[0])}, ...)"))
        parts.append(trees.map(lambda array, count=count: array[:count].copy(), (values, outputs, y)))
    return trees.map(lambda *arrays: np.concatenate(arrays), *parts)


def _step(model: Any, loss: Any, backend: str | None) -> Any:
    factors = loss.factors if isinstance(loss, losses.Several) else None

    @compile(backend=backend)
    def step(x: Any, y: Any, weights: Any) -> tuple[Any, Any]:
        outputs = called(model, x, training=False)
        totals, counts = loss.per_sample(outputs, y, weights)
        means = where(counts > 0, totals / where(counts > 0, counts, 1.0), 0.0)
        return means if factors is None else sum(means * factors, axis=1), outputs
    return step


def _existing(weights: np.ndarray) -> np.ndarray:
    """Weights of the parts of samples, which may not exist; samples themselves count 1."""
    return weights if weights.ndim > 1 else np.ones_like(weights)


def top_losses(model: ModelLike, data: DataLike, *, loss: LossLike, count: int = 10, batch_size: int = 256,
               backend: str | None = None) -> TopLosses:
    """The `count` samples with the largest losses; print it, or look at `whole.x[found.indices]`.

    >>> model, x = nn.Dense(1, weight_initializer="zeros"), np.array([[1.0], [3.0], [2.0]], "float32")
    >>> cr.train.top_losses(model, (x, x), loss="mse", count=2).indices
    array([1, 2])
    """
    values, outputs, targets = _measured(model, data, loss, batch_size, backend)
    order = np.argsort(-values, kind="stable")[:count]
    total = values.sum(dtype=np.float64)
    return TopLosses(order, values[order], take(targets, order), take(outputs, order),
                     float(values[order].sum(dtype=np.float64) / total) if total else 0.0)
