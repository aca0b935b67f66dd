# SPDX-License-Identifier: Apache-2.0
"""Penalties on the weights, added to a loss: functions of a model that give one number.

They look at the trainable parameters with two axes or more: matrices and filters, not biases or scales; `only`, a
pattern of names as for files ("0.*", "encoder.*"), limits them to some layers. A penalty pulls weights towards 0 but
seldom makes them exactly 0; for that, and for whole units, see `optim.proximal`.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, explain
from ..ir import Tensor, as_tensor
from ..ops import reduce
from ..ops.elementwise import abs, sqrt
from .base import not_negative
from .settings import setting

Penalty = Callable[[Any], Tensor]


def chosen(model: Any, only: str | None = None) -> dict[str, Any]:
    """Name → Variable of the trainable weights (two axes or more) whose names fit the pattern `only`."""
    found = model.parameters() if hasattr(model, "parameters") else model
    weights = {name: v for name, v in found.items() if v.ndim > 1 and v.trainable}
    fitting = {name: v for name, v in weights.items() if only is None or fnmatch.fnmatchcase(name, only)}
    if weights and not fitting:
        raise ArgumentError(explain(f"no weights fit the pattern {only!r}", got=", ".join(list(weights)[:5]),
                                    fix='patterns are those of file names: "0.*", "encoder.*"'))
    return fitting


def _total(model: Any, only: str | None, of: Callable[[Tensor], Tensor]) -> Tensor:
    parts = [of(v.value) for v in chosen(model, only).values()]
    return sum(parts[1:], start=parts[0]) if parts else as_tensor(0.0)


@setting
def l2(strength: float, only: str | None = None) -> Penalty:
    """strength * (sum of w^2), with gradient 2 strength w."""
    strength = not_negative("strength", strength)
    return lambda model: strength * _total(model, only, lambda w: reduce.sum(w * w))


@setting
def ridge(strength: float, only: str | None = None) -> Penalty:
    """strength / 2 * (sum of w^2), with gradient strength w: the convention of weight decay (Hoerl and Kennard, 1970).

    With plain SGD, ridge(s), SGD(weight_decay=s) and decoupled decay are the same; with Adam only the first two are.
    """
    return l2(not_negative("strength", strength) / 2, only)


@setting
def l1(strength: float, only: str | None = None) -> Penalty:
    """strength * (sum of |w|): drives weights towards 0 (Tibshirani, 1996)."""
    strength = not_negative("strength", strength)
    return lambda model: strength * _total(model, only, lambda w: reduce.sum(abs(w)))


@setting
def l1_l2(l1_strength: float, l2_strength: float, only: str | None = None) -> Penalty:
    """Both together (the elastic net; Zou and Hastie, 2005)."""
    first, second = l1(l1_strength, only), l2(l2_strength, only)
    return lambda model: first(model) + second(model)


@setting
def group_lasso(strength: float, axis: int = -1, only: str | None = None) -> Penalty:
    """strength * (sum over groups of sqrt(weights in the group) * length of the group) (Yuan and Lin, 2006).

    A group is an index of `axis`: -1 for what goes into a unit or comes from a filter, -2 for what leaves an input.
    """
    strength = not_negative("strength", strength)

    def lengths(w: Tensor) -> Tensor:
        squares = reduce.sum(w * w, axis=others(w.ndim, axis))
        return math.sqrt(w.size / w.shape[axis]) * reduce.sum(sqrt(squares + 1e-12))
    return lambda model: strength * _total(model, only, lengths)


def others(rank: int, axis: int) -> tuple[int, ...]:
    """All axes but one."""
    return tuple(i for i in range(rank) if i != axis % rank)
