# SPDX-License-Identifier: Apache-2.0
"""What training has measured so far: one row of plain numbers per epoch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .. import metrics
from ..errors import ArgumentError, explain
from ..names import closest


def better_when_larger(name: str) -> bool:
    """Whether a larger value of the column is the better one: as its metric says, and no for losses."""
    try:
        return metrics.get(name.removeprefix("validation_")).higher_is_better
    except ArgumentError:
        return False


class History:
    """The rows of a run: `history["validation_loss"]` is a column, `history.rows` are dicts with `epoch` from 1.

    `interrupted` says whether the run was stopped by Ctrl-C before its last epoch.
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None):
        self.rows: list[dict[str, Any]] = list(rows or [])
        self.interrupted = False

    def __getitem__(self, name: str) -> list[Any]:
        known = dict.fromkeys(key for row in self.rows for key in row)
        if name not in known:
            fix = "give fit(..., validation=(x, y))" if name.startswith("val") else None
            raise ArgumentError(explain(f"the history has no column {name!r}", got=name, expected=", ".join(known) or "nothing yet",
                                        fix=closest(re.sub("^val_", "validation_", name), known) or fix))
        return [row.get(name) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def best(self, name: str) -> dict[str, Any]:
        """The row of the best epoch by that column."""
        rows = [row for row in self.rows if row.get(name) is not None]
        if not rows:
            self[name]
            raise ArgumentError(explain(f"no epoch has a value of {name!r}"))
        choose = max if better_when_larger(name) else min
        return choose(rows, key=lambda row: row[name])

    def __repr__(self) -> str:
        last = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in self.rows[-1].items()) if self.rows else "empty"
        return f"History({len(self)} epochs; {last})"
