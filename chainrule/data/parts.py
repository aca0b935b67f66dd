# SPDX-License-Identifier: Apache-2.0
"""What every reader hands on: up to three parts (train, test, val), each inputs and targets as they stand in the file.

A reader knows its format and nothing of tasks, classes or scaling; `dataset.py` makes a Dataset of what it hands on.
Each part can say where in its file an item stands, so that later mistakes still name the file and the place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Part:
    """Inputs `x` (an array or a Table) and raw targets `y` (N,), from `origin`; `where(item)` is the place in the file.
    """

    x: Any
    y: np.ndarray
    origin: str
    where: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Part({self.origin!r}: {len(self):,} samples)"

    def take(self, indices: np.ndarray) -> Part:
        """The part with only these items; places still refer to the file."""
        x = self.x[indices] if isinstance(self.x, np.ndarray) else self.x.take(indices)
        return Part(x, self.y[indices], self.origin, lambda item: self.where(int(indices[item])))


@dataclass
class Parts:
    """What one source holds; `class_names` if the source names its classes, `notes` say what the reader found."""

    train: Part
    test: Part | None = None
    val: Part | None = None
    notes: list[str] = field(default_factory=list)
    class_names: tuple[str, ...] | None = None

    def items(self) -> list[tuple[str, Part]]:
        """(name, part) of the parts that exist, train first."""
        named = (("train", self.train), ("test", self.test), ("val", self.val))
        return [(name, part) for name, part in named if part is not None]
