# SPDX-License-Identifier: Apache-2.0
"""What the targets of a loss must be, declared beside it: read by eager code, by compiled programs and before a run.

A declaration gives, for outputs and targets of some shapes, the condition that every target has to meet and the words
for one that does not (`condition`). Nothing else in a loss looks at the values of its targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import explain
from ..ir import Tensor, as_tensor
from ..ir.dtype import is_float, is_integer
from ..ops import compose, reduce
from ..ops.elementwise import astype, where
from ..ops.index import iota
from ..ops.movement import reshape
from ..ops.require import Demand, at, require

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Targets:
    """Numbers from `low` to `high`; `fix` is said when one is not. `neutral` stands for what a mask leaves out."""

    low: float = -math.inf
    high: float = math.inf
    fix: str | None = None
    neutral: float = 0.0

    def condition(self, name: str, outputs: Any, targets: Tensor, options: Options) -> tuple[Tensor, Demand] | None:
        """(where it is met, the words where not) for targets of the loss `name`; None: whatever they are."""
        if self.low == -math.inf and self.high == math.inf:
            return None
        demand = Demand(f"a target of {name}", self.low, self.high, self.fix)
        return demand.holds(_real(targets)), demand

    def checked(self, name: str, outputs: Any, targets: Any, options: Options, keep: Tensor | None = None) -> Any:
        """The targets; where they are computed a BoundsError for the first that is wrong, among those that count
        (`keep`)."""
        found = None if not isinstance(targets, Tensor) else self.condition(name, outputs, targets, options)
        if found is None:
            return targets
        ok, demand = found
        return require(targets, ok if keep is None else ok | ~keep, demand)


ANY = Targets()
SHARES = Targets(0.0, 1.0, "the targets are probabilities, the outputs logits")


@dataclass(frozen=True)
class Classes(Demand):
    """Labels of classes; see `Labels`."""

    def holds(self, x: Any) -> Any:
        return super().holds(astype(x, "int64") if isinstance(x, Tensor) else x.astype(np.int64))

    def words(self, x: np.ndarray, place: tuple[int, ...], told: tuple[int, ...], **where: Any) -> str:
        classes, label = int(self.high) + 1, int(x[place]) if len(place) == x.ndim else None
        return explain(f"label {label} is not a class" if label is not None else "a label is not a class",
                       got=f"label {label}{at(told)}", expected=f"0 to {classes - 1}, for {classes} {self.what}",
                       fix=self.fix or self._advice(x, label), **where)

    def _advice(self, x: np.ndarray, label: int | None) -> str:
        largest = int(x.max())
        if label is not None and label < 0:
            return "a negative label is no class: leave the sample out with a mask"
        if largest == self.high + 1 and (x.size == 1 or x.min() > 0):
            return "are the labels 1-based? Use y - 1"
        return f"make the last layer Dense({largest + 1}), or mask the sample"


@dataclass(frozen=True)
class Labels(Targets):
    """Integers from 0 to the number of classes - 1; and, with `shares`, targets of the shape of the outputs in their
    place."""

    shares: bool = False
    classes_of: int = 0  # which of several outputs has the classes on its last axis

    def condition(self, name: str, outputs: Any, targets: Tensor, options: Options) -> tuple[Tensor, Demand] | None:
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        if len(parts) <= self.classes_of:
            return None
        scores = parts[self.classes_of]
        if self.shares and targets.shape == scores.shape:
            demand = Demand("a target probability", 0.0, 1.0, "pass integer labels, or rows that sum to 1")
            return demand.holds(_real(targets)), demand
        if (
            targets.dtype.kind not in "iub"
            or not scores.ndim
            or scores.shape[-1] < 2
            or parts[0].shape[:-1] != targets.shape
        ):
            return None  # refused for its dtype or shape
        demand = Classes("logits", 0, scores.shape[-1] - 1)
        ok = demand.holds(targets)
        ignored = options.get("ignore_label")
        return (ok if ignored is None else ok | compose.equal(astype(targets, "int64"), ignored)), demand


@dataclass(frozen=True)
class LogShares(Targets):
    """Probabilities, or with the option `log_targets` their logarithms."""

    def condition(self, name: str, outputs: Any, targets: Tensor, options: Options) -> tuple[Tensor, Demand] | None:
        if options.get("log_targets"):
            return Targets(high=0.0, fix="the targets are logarithms of probabilities").condition(
                name, outputs, targets, options
            )
        return SHARES.condition(name, outputs, targets, options)


@dataclass(frozen=True)
class Sequences(Targets):
    """Rows of integer labels that are no blank, as long as `target_lengths` says, or up to the first negative number;
    then only those."""

    def condition(self, name: str, outputs: Any, targets: Tensor, options: Options) -> tuple[Tensor, Demand] | None:
        if not is_integer(targets.dtype) or targets.ndim != 2 or outputs.ndim != 3:
            return None
        demand = Classes("logits per step", 0, outputs.shape[-1] - 1, self._fix(options))
        labels = astype(targets, "int64")
        inside = self.inside(labels, options.get("target_lengths"))
        return ~inside | (demand.holds(labels) & compose.not_equal(labels, options.get("blank", 0))), demand

    @staticmethod
    def inside(labels: Tensor, lengths: Any) -> Tensor:
        """Where the labels belong to the sequence of their row."""
        length = labels.shape[1]
        if lengths is not None:
            return iota((labels.shape[0], length), 1) < reshape(astype(as_tensor(lengths), "int64"), (-1, 1))
        if not length:
            return labels >= 0
        place = iota(labels.shape, 1)  # up to the last that is not negative
        return place <= reduce.max(where(labels >= 0, place, -1), axis=1, keepdims=True)

    @staticmethod
    def _fix(options: Options) -> str:
        return (f"labels are 0 to classes - 1 without the blank, {options.get('blank', 0)}; negative numbers only "
                "behind the end of a row")


def class_labels(targets: Tensor) -> Tensor:
    """Labels in a type that holds the number of every class."""
    return targets if targets.dtype.itemsize >= 4 and targets.dtype.kind == "i" else astype(targets, "int64")


def _real(targets: Tensor) -> Tensor:
    return targets if is_float(targets.dtype) else astype(targets, "float32")
