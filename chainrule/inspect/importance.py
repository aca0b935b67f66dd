# SPDX-License-Identifier: Apache-2.0
"""Which inputs matter: features ranked by what the model does with them.

`weight_importance` asks how far the output moves when a feature moves by its own spread, `permutation_importance` how
much worse the model gets when a feature is shuffled (Breiman, 2001). Both give an `Importance`, which prints as a
ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import metrics
from ..compiler.transform import grad
from ..errors import ArgumentError, ShapeError, explain
from ..ir import as_tensor, no_grad
from ..metrics import Metric
from ..ops.elementwise import abs
from ..ops.reduce import sum as total
from ..typing import ArrayLike, DataLike, ModelLike


@dataclass(frozen=True)
class Importance:
    """One score per feature, with its standard deviation over repeats where there are any.

    >>> found = cr.inspect.weight_importance(nn.Dense(1), np.eye(3, dtype="float32"), names=["a", "b", "c"])
    >>> isinstance(found, cr.inspect.Importance), found.names
    (True, ('a', 'b', 'c'))
    """

    names: tuple[str, ...]
    scores: np.ndarray
    deviations: np.ndarray | None = None

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """(name, score), the most important first."""
        return [(self.names[i], float(self.scores[i])) for i in np.argsort(-self.scores, kind="stable")]

    def __str__(self) -> str:
        width, largest = max(map(len, self.names)), max(float(np.abs(self.scores).max()), 1e-300)
        spread = dict(zip(self.names, self.deviations, strict=True)) if self.deviations is not None else {}
        more = lambda name: f" +- {spread[name]:.2g}" if spread else ""
        bar = lambda score: "#" * round(20 * max(score, 0) / largest)
        return "\n".join(f"{name:{width}}  {score:10.4g}{more(name)}  {bar(score)}" for name, score in self.ranking)

    __repr__ = __str__


def weight_importance(model: ModelLike, x: ArrayLike, names: Sequence[str] | None = None) -> Importance:
    """Mean |d output / d feature| over the rows, times the standard deviation of the feature, added up over the
    outputs.

    For a linear model this is |w| std(x), summed over the outputs.

    Args:
        x: rows (n, features) to take the mean and the spread over.
        names: of the features; default "x0", "x1", ...

    >>> x = np.random.default_rng(0).normal(size=(100, 2)).astype("float32")
    >>> found = cr.inspect.weight_importance(lambda x: 3 * x[:, :1], x)
    >>> found.scores.round(2)
    array([2.91, 0.  ])
    """
    x = _rows(x)
    point, outputs = as_tensor(x), model(x).shape[-1]
    slopes = np.zeros(x.shape[1])
    for k in range(outputs):
        slopes += abs(grad(lambda rows, k=k: total(model(rows)[..., k]))(point)).numpy().mean(axis=0)
    return Importance(_names(names, x.shape[1]), slopes * x.std(axis=0))


def permutation_importance(model: ModelLike, data: DataLike,
                           score: str | Metric | Callable[[np.ndarray, np.ndarray], float], *,
                           names: Sequence[str] | None = None, repeats: int = 5, seed: int = 0) -> Importance:
    """How much `score` falls when one feature's values are dealt out to other rows; mean and deviation over `repeats`.

    Args:
        data: (x, y) with rows x (n, features), best of a set that the model was not trained on.
        score: name or object of chainrule.metrics, or a function (outputs, y) -> a number, larger for a better model,
            such as `lambda p, y: (p.argmax(1) == y).mean()`.

    >>> x = np.random.default_rng(0).normal(size=(100, 2)).astype("float32")
    >>> model = lambda x: cr.concat([-x[:, :1], x[:, :1]], axis=1)
    >>> found = cr.inspect.permutation_importance(model, (x, (x[:, 0] > 0).astype(int)), "accuracy")
    >>> bool(found.scores[0] > 0.3), float(found.scores[1])
    (True, 0.0)
    """
    x, y = _rows(data[0]), np.asarray(data[1])
    rng, score = np.random.default_rng(seed), score if callable(score) else _of_metric(metrics.get(score))

    def measured(rows: np.ndarray) -> float:
        with no_grad():
            return float(score(model(rows).numpy(), y))
    full = measured(x)
    falls = np.zeros((repeats, x.shape[1]))
    for i in range(x.shape[1]):
        for r in range(repeats):
            changed = x.copy()
            changed[:, i] = x[rng.permutation(len(x)), i]
            falls[r, i] = full - measured(changed)
    return Importance(_names(names, x.shape[1]), falls.mean(axis=0), falls.std(axis=0))


def _of_metric(metric: Metric) -> Callable[[np.ndarray, np.ndarray], float]:
    """A metric as a function of outputs and targets that is larger for a better model."""
    def score(outputs: np.ndarray, y: np.ndarray) -> float:
        metric.reset()
        metric.update(outputs, y)
        return metric.result() if metric.higher_is_better else -metric.result()
    return score


def _rows(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 2 or len(x) < 2:
        raise ShapeError(explain("importance is asked of rows of features", got=f"shape {x.shape}",
                                 expected="(n, features), n >= 2"))
    return x.astype(np.float32) if x.dtype == np.float64 or x.dtype.kind in "iu" else x


def _names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    found = tuple(f"x{i}" for i in range(count)) if names is None else tuple(names)
    if len(found) != count:
        raise ArgumentError(explain("there must be a name for each feature", got=f"{len(found)} names",
                                    expected=f"{count}"))
    return found
