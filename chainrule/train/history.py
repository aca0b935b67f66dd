# SPDX-License-Identifier: Apache-2.0
"""What training has measured so far: one row of plain numbers per epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from .. import metrics
from ..errors import ArgumentError, explain
from ..foundations.names import closest


class History:
    """The rows of a run: `history["validation_loss"]` is a column, `history.rows` are dicts with `epoch` from 1.

    `interrupted` says whether the run was stopped by Ctrl-C before its last epoch. `kept` is the epoch whose weights
    the model has, with the number by which it was the best, such as {"epoch": 7, "validation_loss": 0.2}; None: those
    of the last step. `directions` are those of the metrics of the run: name -> whether larger is better.

    >>> history = cr.train.History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}])
    >>> history["loss"]
    [2.0, 1.0]
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None):
        self.rows: list[dict[str, Any]] = list(rows or [])
        self.interrupted = False
        self.kept: dict[str, Any] | None = None
        self.directions: dict[str, bool] = {}

    def __getitem__(self, name: str) -> list[Any]:
        known = dict.fromkeys(key for row in self.rows for key in row)
        if name not in known:
            fix = "give fit(..., validation=(x, y))" if name.startswith("val") else None
            raise ArgumentError(explain(f"the history has no column {name!r}", got=name,
                                        expected=", ".join(known) or "nothing yet",
                                        fix=closest(re.sub("^val_", "validation_", name), known) or fix))
        return [row.get(name) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def larger_is_better(self, name: str, said: bool | None = None) -> bool:
        """Whether larger values of the column are better, by its metric or as `said`; ArgumentError where nobody knows.
        """
        return metrics.larger_is_better(name, self.directions) if said is None else said

    def best(self, name: str, larger_is_better: bool | None = None) -> dict[str, Any]:
        """The row of the best epoch by that column, the first of several; the direction is that of its metric, unless
        it is given."""
        column = self[name]
        rows = [row for row, value in zip(self.rows, column, strict=True) if value is not None
                and not math.isnan(value)]
        if not rows:
            raise ArgumentError(explain(f"no epoch has a value of {name!r}"))
        choose = max if self.larger_is_better(name, larger_is_better) else min
        return choose(rows, key=lambda row: row[name])

    def __repr__(self) -> str:
        last = (", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in self.rows[-1].items())
                if self.rows else "empty")
        kept = f"; kept epoch {self.kept['epoch']}" if self.kept else ""
        return f"History({len(self)} epochs; {last}{kept})"
