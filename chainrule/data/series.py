# SPDX-License-Identifier: Apache-2.0
"""Series in time as numbers, and the windows that a forecaster learns from: the past in, the next steps out, never the
future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, ShapeError, explain, shown
from ..typing import ArrayLike
from .files import count, listed
from .table import is_missing, parse_number, read_table


@dataclass(frozen=True)
class Series:
    """Numbers (steps, columns) float64 in the order of the file, the columns' names, and the texts of the time column,
    if there is one.

    >>> from pathlib import Path
    >>> size = Path("sales.csv").write_text("day,sales\\n1,10\\n2,12\\n3,15\\n")
    >>> series = cr.data.read_series("sales.csv", columns=["sales"])
    >>> isinstance(series, cr.data.Series), series.names, len(series)
    (True, ('sales',), 3)
    """

    values: np.ndarray
    names: tuple[str, ...]
    times: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The values: what takes an array takes a series."""
        return np.array(self.values, dtype, copy=copy) if copy else np.asarray(self.values, dtype)

    def __repr__(self) -> str:
        times = f", {self.times[0]} to {self.times[-1]}" if self.times else ""
        return f"Series({count(len(self), 'step')} of {listed(self.names, 6)}{times})"


def read_series(path: str | Path, columns: Sequence[str] | None = None) -> Series:
    """The numeric columns of a table in a text file (or those named), one row per step; the first column that holds no
    numbers is the time.

    >>> from pathlib import Path
    >>> size = Path("sales.csv").write_text("day,sales\\n1,10\\n2,12\\n3,15\\n")
    >>> cr.data.read_series("sales.csv", columns=["sales"]).values.ravel()
    array([10., 12., 15.])
    """
    table = read_table(path)
    numbers, times = {}, ()
    for place, name in enumerate(table.names):
        cells = [row[place] for row in table.rows]
        values = [np.nan if is_missing(cell) else parse_number(cell, table.decimal) for cell in cells]
        if None not in values:
            numbers[name] = np.array(values, np.float64)
        else:
            times = times or tuple(cells)
    missing = [name for name in columns or () if name not in numbers]
    if missing or not numbers:
        raise DataError(explain(f"{path} has no such column of numbers",
                                got=", ".join(missing) or "no column of numbers",
                                expected=", ".join(numbers) or "numbers"))
    chosen = tuple(columns or numbers)
    return Series(np.stack([numbers[name] for name in chosen], axis=1), chosen, times)


def windows(series: ArrayLike, length: int, horizon: int = 1, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(x (n, length, columns), y (n, horizon, columns)): y follows x at once; views of the series, in order of time.

    Args:
        series: a `Series`, or an array (steps,) or (steps, columns).
        length: steps that the forecaster sees.
        horizon: steps that it is to foretell.
        stride: steps from the start of one window to that of the next.

    >>> x, y = cr.data.windows(np.arange(5.0), length=3)
    >>> x[..., 0], y[..., 0]
    (array([[0., 1., 2.],
           [1., 2., 3.]]), array([[3.],
           [4.]]))
    """
    values = np.asarray(series)
    if values.dtype.kind not in "buifc":
        raise ArgumentError(explain("a series holds numbers", got=shown(series),
                                    expected="a Series, or an array of numbers"))
    values = values[:, np.newaxis] if values.ndim == 1 else values
    if values.ndim != 2:
        raise ShapeError(explain("a series has steps and columns", got=f"shape {values.shape}",
                                 expected="(steps,) or (steps, columns)"))
    if min(length, horizon, stride) < 1 or len(values) < length + horizon:
        raise ArgumentError(explain("no window fits",
                                    got=f"{len(values)} steps, length {length}, horizon {horizon}, stride {stride}",
                                    expected="length + horizon <= steps, all at least 1"))
    whole = np.lib.stride_tricks.sliding_window_view(values, length + horizon, axis=0)[::stride].transpose(0, 2, 1)
    return whole[:, :length], whole[:, length:]
