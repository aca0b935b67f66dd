# SPDX-License-Identifier: Apache-2.0
"""Sets in which weights may be kept: functions that put an array back, for `optim.constrained`.

The norm of a unit is that of all weights that lead to one index of the last axis: a column of Dense, one filter.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ArgumentError, explain, shown
from ..foundations.remade import remade
from ..ir import Tensor
from ..ops.compose import clip, length
from ..ops.elementwise import maximum, minimum

Constraint = Callable[[Tensor], Tensor]


def _norms(w: Tensor) -> Tensor:
    return length(w, tuple(range(w.ndim - 1)))


@remade
def max_norm(limit: float = 3.0) -> Constraint:
    """Units longer than `limit` are scaled down to it (Srebro et al., 2005; Srivastava et al., 2014)."""
    if not limit > 0:
        raise ArgumentError(explain("the largest norm is positive", got=shown(limit)))
    return lambda w: w * minimum(limit / maximum(_norms(w), 1e-30), 1.0)


@remade
def unit_norm() -> Constraint:
    """Every unit has length 1; one that is 0 stays 0."""
    return lambda w: w / maximum(_norms(w), 1e-30)


@remade
def non_negative() -> Constraint:
    """max(w, 0)."""
    return lambda w: maximum(w, 0.0)


@remade
def bounded(low: float, high: float) -> Constraint:
    """Each weight limited to [low, high] (weight clipping, Arjovsky et al., 2017)."""
    if not low < high:
        raise ArgumentError(explain("the lower bound is not below the upper one", got=f"{low}, {high}"))
    return lambda w: clip(w, low, high)


__all__ = ["bounded", "max_norm", "non_negative", "unit_norm"]
