# SPDX-License-Identifier: Apache-2.0
"""Stopping trials that will not win: asynchronous successive halving (Li et al., MLSys 2020).

At rungs first, first * reduction, first * reduction^2, ... a trial goes on if what it reports is among the best
1/reduction of all that any trial has reported there; nobody waits for anybody. Scores are smaller-is-better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ArgumentError, explain
from .journal import Record


@dataclass(frozen=True)
class ASHA:
    """Asynchronous successive halving.

    Args:
        first: the step of the first rung, at which trials are compared.
        reduction: one of so many trials passes a rung.

    >>> cr.tuning.ASHA(first=1, reduction=3)
    ASHA(first=1, reduction=3)
    """

    first: int = 1
    reduction: int = 3

    def __post_init__(self) -> None:
        if self.first < 1 or self.reduction < 2:
            raise ArgumentError(explain("no rungs can be made", got=str(self), expected="first >= 1, reduction >= 2"))

    def rung(self, step: int) -> bool:
        """Whether trials are compared at this step."""
        while step > self.first and step % self.reduction == 0:
            step //= self.reduction
        return step == self.first

    def stops(self, number: int, step: int, score: float, records: Iterable[Record]) -> bool:
        """Whether the trial `number`, which reports `score` at `step`, is given up."""
        if not self.rung(step):
            return False
        others = [r.reports[step] for r in records if r.number != number and step in r.reports]
        scores = [value for value in others if math.isfinite(value)]
        if not math.isfinite(score):
            return True
        passing = max((len(scores) + 1) // self.reduction, 1)
        return len(scores) + 1 >= self.reduction and sum(value < score for value in scores) >= passing


PRUNERS = {"asha": ASHA()}
