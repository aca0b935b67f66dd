# SPDX-License-Identifier: Apache-2.0
"""The mean of a measurement that was repeated, over seeds or folds, with its confidence interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .paired import t_interval


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """`values` of one thing, one per seed or fold, and the interval [low, high] of their mean (Student's t)."""

    values: tuple[float, ...]
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return float(np.mean(self.values))


def measured(values: Iterable[float], level: float = 0.95) -> dict[str, Any]:
    """The fields of a Repeated; the interval is the whole line for a single value, or where one is not finite."""
    values = tuple(map(float, values))
    known = len(values) > 1 and bool(np.isfinite(values).all())
    low, high = t_interval(np.array(values), level) if known else (float("-inf"), float("inf"))
    return {"values": values, "low": low, "high": high}
