# SPDX-License-Identifier: Apache-2.0
"""How much may be built while a file describes what to build: a description of a few bytes can ask for any number of
any size.

Within `building_at_most` every Variable is counted before it is allocated, and every module before it is made. Weights
are zeros there: they come from the file.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DataError, explain


@dataclass
class Budget:
    """What is left to be built, in bytes and modules, and the file that asks for it."""

    place: str
    bytes: int
    modules: int


_budget: contextvars.ContextVar[Budget | None] = contextvars.ContextVar("chainrule_budget", default=None)


@contextlib.contextmanager
def building_at_most(size: int, modules: int, place: str) -> Iterator[None]:
    """DataError naming `place` as soon as Variables of more bytes, or more modules, are made within."""
    token = _budget.set(Budget(place, size, modules))
    try:
        yield
    finally:
        _budget.reset(token)


def filled_later() -> bool:
    """Whether what is built now gets its values from a file, so that none have to be drawn."""
    return _budget.get() is not None


def count_variable(shape: Sequence[int], dtype: Any) -> None:
    """A Variable of this shape is about to be made."""
    budget = _budget.get()
    if budget is None:
        return
    size = math.prod(shape) * np.dtype(dtype).itemsize
    budget.bytes -= size
    if budget.bytes < 0:
        raise DataError(explain(f"{budget.place}: the file describes larger layers than it holds weights for",
                                got=f"an array of shape {tuple(shape)}, {size:,} bytes", fix="copy the file again"))


def count_module() -> None:
    """A module is about to be made."""
    budget = _budget.get()
    if budget is None:
        return
    budget.modules -= 1
    if budget.modules < 0:
        raise DataError(explain(f"{budget.place}: the file describes more layers than it holds weights for",
                                fix="copy the file again"))
