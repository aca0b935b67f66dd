# SPDX-License-Identifier: Apache-2.0
"""Cross-validation and repeated runs; one number is no result: folds, seeds, and tables of rivals ranked by their
means, each with its confidence interval.

`cross_validate` measures one recipe on parts of a data set; `rank` runs several with the same seeds and says which
differ from the best; `compare_optimizers` is `rank` for optimisers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import metrics, optim
from ..data import Loader, subset
from ..data.folds import Fold, folds
from ..errors import ArgumentError, explain
from ..nn.core.module import Module
from ..statistics.repeated import Repeated, measured
from ..statistics.runs import Comparison, Run, compare_all
from ..typing import DataLike, LossLike, OptimizerLike
from .batched import is_batched
from .data import Samples, samples
from .evaluate import evaluate
from .fit import fit

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optim.SGD(0.1), "momentum": lambda: optim.SGD(0.01, momentum=0.9),
    "Nesterov": lambda: optim.SGD(0.01, momentum=0.9, nesterov=True),
    "Adagrad": lambda: optim.Adagrad(0.01), "RMSprop": lambda: optim.RMSprop(1e-3), "Adam": lambda: optim.Adam(1e-3),
    "AdamW": lambda: optim.AdamW(1e-3),
    "NAdam": lambda: optim.NAdam(1e-3),
}


@dataclass(frozen=True)
class Scores(Repeated):
    """The values of one recipe, one per fold or seed, with the mean's confidence interval.

    >>> found = cr.train.rank({"a": lambda seed: 1.0 + 0.1 * seed, "b": lambda seed: 2.0 + 0.2 * seed})
    >>> isinstance(found.rows[0], cr.train.Scores), found.rows[0].values
    (True, (1.0, 1.1, 1.2))
    """

    name: str

    def __str__(self) -> str:
        return f"{self.name:14} {self.mean:<8.4g} 95 % CI [{self.low:.4g}, {self.high:.4g}] of {len(self.values)}"

    __repr__ = __str__


def scores(name: str, values: Iterable[float], level: float = 0.95) -> Scores:
    """Scores of these values; the interval is the whole line for a single one."""
    return Scores(name, **measured(values, level))


def cross_validate(make: Callable[[], Any], data: DataLike, *, loss: LossLike, metrics: Sequence[Any] = (),
                   parts: int | Sequence[Fold] = 5, stratify: bool = False,
                   groups: Any = None, seed: int = 0, optimizer: OptimizerLike = "adam", backend: str | None = None,
                   **options: Any) -> dict[str, Scores]:
    """Train on all folds but one and measure that one, for each: name of loss or metric -> Scores.

    Args:
        make: gives a new, untrained model.
        data: (x, y) or (x, y, weights), nested or not, or a source of samples by number.
        parts: number of folds, or pairs (training indices, test indices) such as `data.time_folds` gives.
        stratify, groups: as in `data.folds`.
        optimizer: a name or an optimiser, of which each fold gets a fresh one.
        options: of `fit`.

    >>> x = np.linspace(-1, 1, 30, dtype="float32")[:, None]
    >>> found = cr.train.cross_validate(lambda: nn.Dense(1), (x, 3 * x), loss="mse", parts=3, epochs=2)
    >>> len(found["loss"].values)
    3
    """
    if isinstance(make, Module):
        raise ArgumentError(explain("each fold needs a new model", got=f"a model: {type(make).__name__}",
                                    expected="a function that makes one", fix="cross_validate(lambda: ..., data)"))
    whole = _numbered(data, make())
    pairs = (folds(len(whole), parts, seed, _labels(whole) if stratify else None, groups) if isinstance(parts, int)
             else parts)
    found: dict[str, list[float]] = {}
    for train, test in pairs:
        model = make()
        fit(model, _part(whole, train), loss=loss, optimizer=_fresh(optimizer), seed=seed, backend=backend,
            **({"progress": False} | options))
        for name, value in evaluate(model, _part(whole, test), loss=loss, metrics=metrics, backend=backend,
                                    loss_weights=options.get("loss_weights")).items():
            found.setdefault(name, []).append(getattr(value, "value", value))
    return {name: scores(name, values) for name, values in found.items()}


def _numbered(data: Any, model: Any) -> Any:
    """Samples that can be taken by number: those in memory, or a source."""
    if not is_batched(data):
        return samples(data, model=model)
    if isinstance(data, Loader) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise ArgumentError(explain("folds are made of samples by number", got=type(data).__name__,
                                    expected="(x, y), or a source with __len__ and __getitem__",
                                    fix="give the source of the loader" if isinstance(data, Loader)
                                    else "list(stream), if it fits into memory"))
    return data


def _part(whole: Any, indices: Any) -> Any:
    return whole.batch(indices) if isinstance(whole, Samples) else subset(whole, indices)


def _labels(whole: Any) -> Any:
    labels = whole.y if isinstance(whole, Samples) else getattr(whole, "labels", None)
    if not isinstance(labels, np.ndarray):
        raise ArgumentError(explain("stratify=True needs one array of labels",
                                    got="several targets" if isinstance(whole, Samples)
                                    else f"a {type(whole).__name__} that does not know its labels",
                                    fix="parts=cr.data.folds(len(source), 5, stratify=labels)"))
    return labels


def _fresh(optimizer: Any) -> Any:
    return copy.deepcopy(optimizer) if isinstance(optimizer, optim.Optimizer) else optim.get(optimizer)


@dataclass(frozen=True)
class Ranking:
    """Rivals from the best to the worst, and each one's comparison with the best (p-values by Holm); prints as a
    table.

    >>> found = cr.train.rank({"a": lambda seed: 1.0 + 0.1 * seed, "b": lambda seed: 2.0 + 0.2 * seed})
    >>> isinstance(found, cr.train.Ranking), found.rows[0].name
    (True, 'a')
    """

    rows: tuple[Scores, ...]
    against_best: tuple[Comparison, ...]

    @property
    def best(self) -> Scores:
        """The first one."""
        return self.rows[0]

    def __str__(self) -> str:
        lines = [f"{place:2}  {row}" for place, row in enumerate(self.rows, 1)]
        for place, comparison in enumerate(self.against_best, 1):
            verdict = "worse" if comparison.significant else "as good, for all that is known"
            lines[place] += f"  {verdict} (p = {comparison.p:.2g})"
        return "\n".join(lines)

    __repr__ = __str__


def rank(rivals: Mapping[str, Callable[[int], float]], seeds: int | Sequence[int] = 3,
         higher_is_better: bool = False) -> Ranking:
    """Run every rival, a function of a seed that gives a number, with the same seeds, and order them by their means.

    >>> rivals = {"a": lambda seed: 0.9 + 0.01 * seed, "b": lambda seed: 0.5 + 0.02 * seed}
    >>> found = cr.train.rank(rivals, higher_is_better=True)
    >>> [row.name for row in found.rows]
    ['a', 'b']
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if wrong := [name for name, run in rivals.items() if not callable(run)]:
        raise ArgumentError(explain(f"{wrong[0]!r} is not a function", got=repr(rivals[wrong[0]]),
                                    expected="a function of a seed that gives a number"))
    if not rivals or not chosen:
        raise ArgumentError(explain("there is nothing to rank", got=f"{len(rivals)} rivals, {len(chosen)} seeds"))
    rows = [scores(name, [run(seed) for seed in chosen]) for name, run in rivals.items()]
    rows.sort(key=lambda row: (np.isnan(row.mean), -row.mean if higher_is_better else row.mean))
    finite = [row for row in rows if np.isfinite(row.values).all()]
    runs = [Run.of_scores(row.name, row.values, percent=False, higher_is_better=higher_is_better) for row in finite]
    return Ranking(tuple(rows), tuple(compare_all(runs, baseline=runs[0])) if len(runs) > 1 and len(chosen) > 1 else ())


def compare_optimizers(make: Callable[[], Any], data: DataLike, validation: DataLike, *, loss: LossLike,
                       metric: Any = None, optimizers: Mapping[str, Any] | None = None, seeds: int | Sequence[int] = 3,
                       backend: str | None = None, **options: Any) -> Ranking:
    """Train a new model with each optimiser and each seed, and rank them by what they reach on the validation data.

    Args:
        make: gives a new, untrained model.
        metric: of chainrule.metrics; by default the loss is compared.
        optimizers: name -> an optimiser, its name, or a function that makes one; by default eight with their usual
            learning rates.
        options: of `fit`.

    >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    >>> rivals = {"fast": lambda: cr.optim.SGD(0.1), "slow": lambda: cr.optim.SGD(1e-4)}
    >>> data = (x, 3 * x)
    >>> found = cr.train.compare_optimizers(lambda: nn.Dense(1), data, data, loss="mse", optimizers=rivals, epochs=5)
    >>> found.rows[0].name
    'fast'
    """
    def run(optimizer: Any, seed: int) -> float:
        model = make()
        fit(model, data, loss=loss, optimizer=_fresh(optimizer() if callable(optimizer) else optimizer), seed=seed,
            backend=backend, **({"progress": False} | options))
        result = evaluate(model, validation, loss=loss, metrics=[] if metric is None else [metric], backend=backend)
        last = list(result.values())[-1]
        return float(getattr(last, "value", last))

    rivals = {name: lambda seed, f=f: run(f, seed) for name,
              f in (OPTIMIZERS if optimizers is None else optimizers).items()}
    return rank(rivals, seeds, higher_is_better=metric is not None and metrics.get(metric).higher_is_better)
