# SPDX-License-Identifier: Apache-2.0
"""The table as a picture: how many times faster than PyTorch, and how near the limit both come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(rows: Sequence[Any], path: Path) -> None:
    """Two charts side by side, one bar (or two) for each row that was measured."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [row for row in rows if not row.problem]
    names = [row.name for row in measured]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 0.45 * len(names) + 1.5), sharey=True)
    left.barh(names, [row.ratio for row in measured], color="#2a6f97")
    left.axvline(1, color="black", linewidth=1)
    left.set_xlabel("times as fast as PyTorch")
    places = range(len(names))
    for offset, side, colour in ((-0.2, "chainrule", "#2a6f97"), (0.2, "pytorch", "#c9ada7")):
        right.barh([i + offset for i in places], [100 * row.share(side) for row in measured], 0.4, color=colour,
                   label=side)
    right.set_xlabel("% of the limit of this machine")
    right.legend()
    left.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
