# SPDX-License-Identifier: Apache-2.0
"""The columns of other libraries' tables, which need not be installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, explain


def columns_of(table: Any) -> dict[str, np.ndarray] | None:
    """The columns of a DataFrame of pandas or polars or of a table of pyarrow, by name; None for anything else."""
    owner, kind = type(table).__module__.partition(".")[0], type(table).__name__
    if owner == "pyarrow" and kind in ("Table", "RecordBatch"):
        return {name: plain_column(table.column(name).to_numpy(zero_copy_only=False) if kind == "RecordBatch"
                                   else table.column(name).to_numpy())
                for name in table.schema.names}
    if owner in ("pandas", "polars") and kind == "DataFrame":
        names = list(table.columns)
        if len({str(name) for name in names}) != len(names):
            raise ArgumentError(explain("two columns of the table have one name", got=", ".join(map(str, names))))
        return {str(name): plain_column(_of_frame(table[name])) for name in names}
    return None


def _of_frame(column: Any) -> np.ndarray:
    """One column; a number that is missing is NaN."""
    kind = getattr(column.dtype, "kind", None)
    if type(column).__module__.startswith("pandas") and kind in ("i", "u", "f", "b") and column.hasnans:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.to_numpy()


def plain_column(column: np.ndarray) -> np.ndarray:
    """Objects as what they are: texts as an array of texts, rows of numbers as one array; what has both stays as it is.
    """
    if column.dtype != object or not len(column):
        return column
    if all(isinstance(value, str) for value in column):
        return column.astype(str)
    if all(isinstance(value, np.ndarray | list)
           for value in column) and len({np.shape(value) for value in column}) == 1:
        return np.stack([np.asarray(value) for value in column])
    return column
