# SPDX-License-Identifier: Apache-2.0
"""`require`: values that pass on if they are what somebody needs, and end the program with an error if not, compiled or
not.

What is needed is a `Demand`, a record beside the layer or loss that makes it: the same record checks an array before a
run (`Demand.check`), a tensor that is there (eager code) and one that a compiled program reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BoundsError, ShapeError, explain
from ..ir.bind import bind
from ..ir.node import Op, Type, op
from ..ir.tensor import Tensor


@dataclass(frozen=True)
class Demand:
    """What values must be: every one from `low` to `high`. `what` they are and the `fix` are for the message."""

    what: str
    low: float
    high: float
    fix: str | None = None

    def holds(self, x: Any) -> Any:
        """Where it is met, for an array or a tensor; nowhere for NaN."""
        return (x >= self.low) & (x <= self.high)

    def error(self, x: np.ndarray, ok: np.ndarray, **where: Any) -> BoundsError:
        """The error for the first value that is not `ok`."""
        place = tuple(int(i) for i in np.argwhere(~ok)[0]) if not ok.all() else ()
        return BoundsError.at(place, x.shape, lambda told: self.words(x, place, told, **where))

    def words(self, x: np.ndarray, place: tuple[int, ...], told: tuple[int, ...], **where: Any) -> str:
        """The message for the value at `place`, told to be at another."""
        got = f"{x[place]:g}{at(told)}" if len(place) == x.ndim else None  # a Variable's old value may be gone
        return explain(f"{self.what} is out of range", got=got, expected=self.expected(), fix=self.fix, **where)

    def expected(self) -> str:
        """The range in words."""
        if self.low == -np.inf:
            return f"{self.high:g} or less"
        return f"{self.low:g} or more" if self.high == np.inf else f"{self.low:g} to {self.high:g}"

    def check(self, x: np.ndarray) -> None:
        """BoundsError for the first element of an array that does not meet it."""
        ok = self.holds(x)
        if not ok.all():
            raise self.error(x, ok)


def at(place: tuple[int, ...]) -> str:
    """A position in words: " at index 3"."""
    return f" at index {place[0] if len(place) == 1 else place}" if place else ""


def _infer(x: Type, ok: Type, *, demand: Demand) -> Type:
    if ok.shape != x.shape:
        raise ShapeError(explain("there must be one condition for each value", got=str(ok),
                                 expected=f"bool{list(x.shape)}"))
    return x


def _meaning(x: np.ndarray, ok: np.ndarray, *, demand: Demand) -> np.ndarray:
    if not np.all(ok):
        raise demand.error(x, np.asarray(ok))
    return x


REQUIRE: Op = op("require", infer=_infer, meaning=_meaning, vjp=(lambda g, y, x, ok, demand: g, None))


def require(x: Tensor, ok: Tensor, demand: Demand) -> Tensor:
    """`x`, or the demand's BoundsError for the first element that is not `ok`."""
    return bind(REQUIRE, x, ok, demand=demand)
