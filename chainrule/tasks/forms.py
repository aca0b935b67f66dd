# SPDX-License-Identifier: Apache-2.0
"""The forms in which users hand over samples: pairs of arrays, tables in memory or in files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data.files import close_names, listed
from ..data.sources.frames import columns_of
from ..data.sources.rows import read_columns
from ..errors import ArgumentError, DataError, explain, shown

Columns = dict[str, np.ndarray]


def is_pair(data: Any) -> bool:
    """Whether this is (x, y)."""
    return isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], str)


def table(data: Any) -> Columns | None:
    """The columns of a table: a file (.csv, .parquet, .arrow …), a DataFrame, a dict of columns or a list of dicts;
    None for anything else."""
    if isinstance(data, str | os.PathLike):
        return {str(name): np.asarray(column[:] if hasattr(column, "ends") else column)
                for name, column in read_columns(str(data)).items()}
    if (found := columns_of(data)) is not None:
        return {name: np.asarray(column) for name, column in found.items()}
    if isinstance(data, Mapping):
        return _of_dict(data)
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        names = list(dict.fromkeys(str(name) for row in data for name in row))
        return {name: column([row.get(name) for row in data]) for name in names}
    return None


def _of_dict(data: Mapping[Any, Any]) -> Columns:
    found = {str(name): column(values) for name, values in data.items()}
    sizes = {name: len(values) for name, values in found.items()}
    if len(set(sizes.values())) != 1:
        raise ArgumentError(explain("the columns of the table have different lengths",
                                    got=", ".join(f"{name} {size:,}" for name, size in sizes.items()),
                                    expected="one length for all"))
    return found


def column(values: Any) -> np.ndarray:
    """One column as an array: numbers with NaN where there is none, else objects as they are."""
    if isinstance(values, np.ndarray):
        return values
    values = list(values)
    try:
        numbers = all(value is None or (isinstance(value, int | float | np.number) and not isinstance(value, bool))
                      for value in values)
        return (np.array([np.nan if value is None else value for value in values], np.float64) if numbers
                else _objects(values))
    except (TypeError, ValueError, OverflowError):
        return _objects(values)


def _objects(values: Sequence[Any]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def named(columns: Columns, name: str, what: str) -> np.ndarray:
    """A column by its name; DataError with the nearest names."""
    if name not in columns:
        close = close_names(name, list(columns))
        raise DataError(explain(f"the table has no column {shown(name)}, which is to be {what}",
                                got=listed(list(columns)), fix=f"did you mean {close[0]!r}?" if close else None))
    return columns[name]


def texts_of(values: Any, who: str) -> list[str]:
    """Texts as a list of str; DataError, naming the task that fits, for numbers and other things."""
    if isinstance(values, str):
        raise ArgumentError(explain(f"{who} takes several texts", got=shown(values), expected="a list of texts",
                                    fix="put it into a list: [text]"))
    found = values.tolist() if isinstance(values, np.ndarray) else list(values)
    for i, value in enumerate(found):
        if not isinstance(value, str):
            other = "TabularClassifier" if isinstance(value, int | float | Sequence | np.ndarray) else None
            raise DataError(explain(f"{who} takes texts", got=f"sample {i}: {shown(value)}", expected="str",
                                    fix=f"for numbers: cr.tasks.{other}" if other
                                    else "leave it out, or give an empty text"))
    return found
