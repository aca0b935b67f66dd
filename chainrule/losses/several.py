# SPDX-License-Identifier: Apache-2.0
"""One loss for each output: the objective is the weighted sum of their means, and each keeps sum and weight of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import stack
from ..errors import ArgumentError, ChainruleError, explain, shown
from ..ir import Tensor, as_tensor
from ..ir.watched import Watched
from ..ops import reduce
from ..ops.elementwise import where, zeros_like
from ..typing import ArrayLike, LossLike
from .base import Loss, get

Path = tuple[Any, ...]


class Several(Watched):
    """Losses by the path of the output that each belongs to.

    Args:
        losses: path → Loss, such as {("a",): mse, ("b",): cross_entropy}.
        factors: path → what its mean counts in the objective.

    `sum_and_weight` gives vectors (losses,), `per_sample` matrices (samples, losses): the objective is not one weighted
    mean where some samples have no weight in one of the outputs, so the sums stay apart until the end of an epoch.

    >>> loss = cr.losses.of_outputs(("cross_entropy", "mse"))
    >>> isinstance(loss, cr.losses.Several)
    True
    """

    own = together = False

    def __init__(self, losses: Mapping[Path, Loss], factors: Mapping[Path, float]):
        self.losses, self.factors = dict(losses), np.array([factors.get(path, 1.0) for path in losses], np.float32)
        self.names = [".".join(map(str, path)) for path in losses]
        self.name = ", ".join(f"{name}: {loss.name}"
                              for name, loss in zip(self.names, self.losses.values(), strict=True))

    def each(self, what: Callable[[Loss, Any, Any, Any], Any], outputs: ArrayLike, targets: ArrayLike,
             weights: ArrayLike) -> list[Any]:
        """`what` of each loss with its part of outputs, targets and weights; an error names the output."""
        found = []
        for path, loss in self.losses.items():
            try:
                found.append(what(loss, _part(outputs, path, "outputs"), _part(targets, path, "targets"),
                                  weights if _is_array(weights) else _part(weights, path, "weights")))
            except ChainruleError as error:
                error.add_note(f"  in the loss of output {'.'.join(map(str, path))!r}")
                raise
        return found

    def sum_and_weight(self, outputs: ArrayLike, targets: ArrayLike,
                       weights: ArrayLike | None = None) -> tuple[Tensor, Tensor]:
        """(weighted sums, sums of weights), one number for each loss."""
        return _stacked(self.each(lambda loss, *parts: loss.sum_and_weight(*parts), outputs, targets, weights), 0)

    def per_sample(self, outputs: ArrayLike, targets: ArrayLike,
                   weights: ArrayLike | None = None) -> tuple[Tensor, Tensor]:
        """The same for each sample, (N, losses); OneNumber for a function of one's own that gives a single number for
        the batch."""
        return _stacked(self.each(lambda loss, *parts: loss.per_sample(*parts), outputs, targets, weights), 1)

    def check(self, outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike) -> None:
        """BoundsError for the first target that is wrong, before anything is computed."""
        self.each(lambda loss, *parts: loss.check(*parts), outputs, targets, weights)

    def objective(self, totals: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of the means; a batch in which nothing of an output counts does not count for it."""
        return reduce.sum(self._terms(totals, weights))

    def terms(self, totals: Tensor, weights: Tensor) -> list[Tensor]:
        """The parts of the objective, one for each loss."""
        found = self._terms(totals, weights)
        return [found[k] for k in range(len(self.names))]

    def _terms(self, totals: Tensor, weights: Tensor) -> Tensor:
        counts = weights != 0
        means = where(counts, totals / where(counts, weights, zeros_like(weights) + 1), zeros_like(totals))
        return means * as_tensor(self.factors)

    def mean(self, totals: Any, weights: ArrayLike) -> float:
        """The objective of sums over an epoch."""
        means = self.means(totals, weights)
        return (float("nan") if np.isnan(means).all()
                else float(np.where(np.broadcast_to(np.asarray(weights) != 0, means.shape), means, 0)
                           @ self.factors.astype(np.float64)))

    def means(self, totals: Any, weights: ArrayLike) -> np.ndarray:
        """The mean of each loss over an epoch, NaN where nothing counted."""
        totals, weights = (np.broadcast_to(np.asarray(x, np.float64), (len(self.names),)) for x in (totals, weights))
        return np.divide(totals, weights, out=np.full(len(self.names), np.nan), where=weights != 0)

    @property
    def recipe(self) -> list[Any]:
        """What tells it from others made of the same losses."""
        return [self.names, [loss.values if loss.own else loss for loss in self.losses.values()], self.factors.tolist()]

    def __repr__(self) -> str:
        return f"losses by output ({self.name})"


def _stacked(pairs: list[tuple[Tensor, Tensor]], axis: int) -> tuple[Tensor, Tensor]:
    totals, weights = zip(*pairs, strict=True)
    return stack(totals, axis=axis), stack([w if isinstance(w, Tensor) else as_tensor(w) for w in weights], axis=axis)


def _is_array(x: Any) -> bool:
    return x is None or not isinstance(x, Mapping | tuple | list)


def _part(structure: Any, path: Path, what: str) -> Any:
    for depth, key in enumerate(path):
        known = (list(structure) if isinstance(structure, Mapping) else list(range(len(structure)))
                 if isinstance(structure, tuple | list) else [])
        if key not in known:
            raise ArgumentError(explain(f"the {what} have no part {'.'.join(map(str, path[:depth + 1]))!r}, for which "
                                        "there is a loss", got=", ".join(map(str, known)) or "one array",
                                        expected=".".join(map(str, path)),
                                        fix=f"give losses, outputs and targets the same structure; the {what} are "
                                            "where it is missing"))
        structure = structure[key]
    return structure


def of_outputs(loss: LossLike, factors: Any = None, targets: ArrayLike | None = None) -> Any:
    """A Loss, or `Several`: from a structure of names or functions, None where an output has none, or one for nested
    `targets`.

    `factors` is what each counts in the objective, by the same structure; what is left out counts 1.

    >>> loss = cr.losses.of_outputs({"class": "cross_entropy", "size": "mse"})
    >>> type(loss).__name__
    'Several'
    """
    if isinstance(loss, Several):
        return loss
    if not isinstance(loss, Mapping | tuple | list):
        single = get(loss)
        if single.own or not isinstance(targets, Mapping | tuple | list):
            if factors is not None:
                raise ArgumentError(explain("loss_weights are for several losses", got=f"one loss, {single.name}",
                                            fix="leave them out, or give loss={...} by output"))
            return single
        loss = _like(targets, single)
    found = {path: get(one) for path, one in _leaves(loss) if one is not None}
    if not found:
        raise ArgumentError(explain("no output has a loss", got=shown(loss)))
    return Several(found, _factors(factors, found))


def _like(targets: Any, value: Any) -> Any:
    if isinstance(targets, Mapping):
        return {key: _like(item, value) for key, item in targets.items()}
    return [_like(item, value) for item in targets] if isinstance(targets, tuple | list) else value


def _factors(factors: Any, losses: Mapping[Path, Loss]) -> dict[Path, float]:
    given = dict(_leaves(factors)) if factors is not None else {}
    for path, value in given.items():
        if path not in losses:
            raise ArgumentError(explain("a loss weight belongs to no loss", got=".".join(map(str, path))
                                        or shown(factors), expected=", ".join(".".join(map(str, p)) for p in losses)))
        if isinstance(value, bool) or not isinstance(value, int | float
                                                     | np.number) or not np.isfinite(value) or value < 0:
            raise ArgumentError(explain(f"the loss weight of {'.'.join(map(str, path))!r} is no number",
                                        got=shown(value), expected="0 or more"))
    return {path: float(value) for path, value in given.items()}


def _leaves(structure: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    items = (structure.items() if isinstance(structure, Mapping) else enumerate(structure)
             if isinstance(structure, tuple | list) else None)
    return ([(path, structure)] if items is None
            else [leaf for key, item in items for leaf in _leaves(item, (*path, key))])


__all__ = ["Several", "of_outputs"]
