# SPDX-License-Identifier: Apache-2.0
"""Many steps in one call: how a run keeps Python out of the way of small networks.

In: the rows of several batches. Out: what each step returned, stacked. A compiled step that can gather its batches
itself runs them in one call of machine code; how many is chosen by time alone, so that the bar moves and Ctrl-C is
heard, and it never changes a bit. Where it is not possible (other backends, steps with parts that run in NumPy, data
that is not row-major), the length stays one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..compiler.compile import Entry

SECONDS = 0.025  # of one call
GROWTH = 4  # from one call to the next, because the first times are not typical
MOST_BYTES = 2**22  # of outputs that wait for metrics


class Stretch:
    """The calls of one run.

    Args:
        lower: gives the compiled step for a batch of these rows.
        data: the arrays whose rows are the arguments of a step.
        outputs: whether somebody looks at all that a step gives, and not at its first two numbers alone.
        possible: whether steps take rows of `data` as they are.
    """

    def __init__(self, lower: Callable[[np.ndarray], Entry], data: list[np.ndarray] | None, outputs: bool,
                 possible: bool):
        self.lower, self.data, self.outputs, self.possible = lower, data, outputs, possible
        self.length, self.most = 1, 2**30
        self._steps: Callable[[np.ndarray], Any] | None = None

    def __call__(self, chosen: np.ndarray) -> tuple[int, Any] | None:
        """(steps that were run, their stacked results) for rows (steps, rows); a step that is not finite is the last.

        None: the program cannot do it, and nothing was run.
        """
        self.prepare(chosen[0])
        return self._steps(chosen[:self.most]) if self._steps is not None else None

    def observe(self, steps: int, seconds: float) -> None:
        """Choose the length of the next call by the time of the last."""
        wanted = int(SECONDS * steps / max(seconds, 1e-9))
        self.length = max(1, min(wanted, GROWTH * self.length, self.most)) if self.possible else 1

    def prepare(self, rows: np.ndarray) -> None:
        """Compile for batches of as many rows, if that is not done."""
        if self._steps is not None or not self.possible:
            return
        entry = self.lower(rows)
        last = len(entry.types) - 1  # (numbers…, outputs…, finite)
        keep = frozenset(range(last + 1) if self.outputs else (0, 1, last))
        self._steps = entry.repeated(self.data or [], len(rows), last, keep)
        self.possible = self._steps is not None
        self.most = max(1, MOST_BYTES // max(1, sum(entry.types[i].bytes for i in keep)))
