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
from ..typing import DataLike, LossLike, ModelLike
from .data import samples
from .evaluate import _padded_batches


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
    targets: np.ndarray
    outputs: np.ndarray
    share: float

    def __str__(self) -> str:
        rows = [f"{len(self.indices)} samples with {self.share:.0%} of the whole loss"]
        labels = self.targets.ndim == 1 and self.targets.dtype.kind in "iub" and self.outputs.ndim == 2
        for i, loss, target, output in zip(self.indices, self.losses, self.targets, self.outputs, strict=True):
            predicted = f", predicted {output.argmax()}" if labels else ""
            rows.append(f"sample {i:<8} loss {loss:<9.4g} target {target}{predicted}")
        return "\n".join(rows)

    __repr__ = __str__


def sample_losses(model: ModelLike, data: DataLike, *, loss: LossLike, batch_size: int = 256,
                  backend: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(losses (n,), outputs (n, ...)) of the samples, unweighted, in inference mode; means over the axes of a
    sample.

    >>> model, x = nn.Dense(1, weight_initializer="zeros"), np.array([[1.0], [2.0]], "float32")
    >>> losses, outputs = cr.train.sample_losses(model, (x, x), loss="mse")
    >>> losses
    array([1., 4.], dtype=float32)
    """
    whole, loss = samples(data, model=model), losses.get(loss)

    @compile(backend=backend)
    def step(x: Any, y: Any) -> tuple[Any, Any]:
        outputs = model(x, training=False)
        return loss(outputs, y, reduction="none"), outputs

    values, outputs = [], []
    for x, y, _, count in _padded_batches(whole, batch_size):
        value, output = step.arrays(x, y)
        if value.shape[:1] != (len(x),):
            raise ShapeError(explain(f"the loss {loss.name} does not give one value per sample",
                                     got=f"shape {value.shape}", expected=f"({len(x)}, ...)"))
        values.append(value[:count].reshape(count, -1).mean(axis=1))
        outputs.append(output[:count].copy())
    return np.concatenate(values), np.concatenate(outputs)


def top_losses(model: ModelLike, data: DataLike, *, loss: LossLike, count: int = 10, batch_size: int = 256,
               backend: str | None = None) -> TopLosses:
    """The `count` samples with the largest losses; print it, or look at `whole.x[found.indices]`.

    >>> model, x = nn.Dense(1, weight_initializer="zeros"), np.array([[1.0], [3.0], [2.0]], "float32")
    >>> cr.train.top_losses(model, (x, x), loss="mse", count=2).indices
    array([1, 2])
    """
    values, outputs = sample_losses(model, data, loss=loss, batch_size=batch_size, backend=backend)
    order = np.argsort(-values, kind="stable")[:count]
    total = values.sum(dtype=np.float64)
    return TopLosses(order, values[order], samples(data, model=model).y[order], outputs[order],
                     float(values[order].sum(dtype=np.float64) / total) if total else 0.0)
