# SPDX-License-Identifier: Apache-2.0
"""Tables as sources: rows of CSV, Parquet and Arrow files, and of the tables of pandas, polars and pyarrow, as dicts of
values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import MissingExtra
from ...foundations.files import reading
from ..files import close_names, existing, fault
from ..table import is_missing, parse_number, read_table
from .arrays import Arrays
from .frames import plain_column
from .parquet import Column, columns_in_file, opened

ARROW = {".arrow", ".feather", ".ipc"}


class Rows(Arrays):
    """The rows of a table: samples are dicts of values by column name, or (such a dict, target).

    Args:
        path: a .csv (.tsv, .txt) file, a .parquet, .arrow or .feather file.
        columns: names of those that are wanted; None: all.
        target: name of the column that is the second half of each sample.

    Columns of numbers are float64 (as the file has them, in Parquet and Arrow), a missing number is NaN; others are
    texts. Parquet and Arrow files need pyarrow. Of an uncompressed Arrow file, columns of numbers of which none is
    missing stay in the file. Of a Parquet file, row groups are decoded when their rows are asked for, and the last 256
    MiB of them are kept: a larger file is quick in its order, or shuffled once it is in `cr.data.cache(source)`. All
    else is read into memory. Raises DataError that names the file or the column.

    >>> from pathlib import Path
    >>> size = Path("rows.csv").write_text("size,label\\n1,a\\n2,b\\n")
    >>> source = cr.data.Rows("rows.csv")
    >>> len(source)
    2
    """

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None, target: str | None = None):
        self.path, self._told = str(existing(path)), (None if columns is None else list(columns), target)
        found = _columns_of(self.path, None if columns is None
                            else [*columns, *([target] if target and target not in columns else [])])
        if target is None:
            super().__init__(found)
        else:
            super().__init__(({name: column for name, column in found.items() if name != target},
                              _chosen(found, target, self.path)))

    @cached_property
    def labels(self) -> np.ndarray | None:  # type: ignore[override]
        """Class of each row where the target is a column of whole numbers; read when it is asked for."""
        last = self.leaves[-1]
        whole = self._told[1] is not None and isinstance(last, Column) and last.dtype.kind in "iub"
        return last[np.arange(len(last))] if whole else None

    def where(self, index: int) -> str:
        return f"{self.path}, row {index + 1:,}"

    def key(self) -> str:
        state = os.stat(self.path)
        return f"{os.path.realpath(self.path)} of {state.st_size} bytes at {state.st_mtime_ns}, {self._told}"


def _chosen(columns: dict[str, Any], name: str, path: str) -> Any:
    if name not in columns:
        close = close_names(name, list(columns))
        raise fault(f"{path}: there is no such column", got=repr(name), expected=", ".join(columns),
                    fix=f"did you mean {close[0]!r}?" if close else None)
    return columns[name]


def read_columns(path: str, wanted: list[str] | None = None) -> dict[str, np.ndarray]:
    """The columns of a file by name (all, or those that are `wanted`); DataError that names the file or the column."""
    suffix = os.path.splitext(path)[1].lower()
    return _checked(path, _parquet(path) if suffix == ".parquet" else _arrow(path) if suffix in ARROW else _csv(path),
                    wanted)


def _columns_of(path: str, wanted: list[str] | None) -> dict[str, Any]:
    """The same, with what can be left in the file read by row groups."""
    if os.path.splitext(path)[1].lower() != ".parquet":
        return read_columns(path, wanted)
    _pyarrow(path)
    with reading(path, "table"):
        names = opened(path).schema_arrow.names
        columns = columns_in_file(path, wanted if wanted is None or set(wanted) <= set(names) else None)
        missing = [name for name, column in columns.items() if column is None]
        columns |= _of_arrow(opened(path).read(columns=missing)) if missing else {}
    return _checked(path, columns, wanted)


def _checked(path: str, columns: dict[str, Any], wanted: list[str] | None) -> dict[str, Any]:
    if wanted is not None:
        columns = {name: _chosen(columns, name, path) for name in wanted}
    if not columns or not len(next(iter(columns.values()))):
        raise fault(f"{path}: the table has no rows")
    return columns


def _csv(path: str) -> dict[str, np.ndarray]:
    table = read_table(path)
    return {name: _numbers(table.column(i), table.decimal) for i, name in enumerate(table.names)}


def _numbers(cells: Sequence[str], decimal: str) -> np.ndarray:
    values = [np.nan if is_missing(cell) else parse_number(cell, decimal) for cell in cells]
    return np.array(cells) if None in values else np.array(values, np.float64)


def _pyarrow(path: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra(f"reading {path}", "pyarrow", "data") from error
    return pyarrow


def _parquet(path: str) -> dict[str, np.ndarray]:
    _pyarrow(path)
    import pyarrow.parquet
    with reading(path, "table"):
        return _of_arrow(pyarrow.parquet.read_table(path, memory_map=True))


def _arrow(path: str) -> dict[str, np.ndarray]:
    arrow = _pyarrow(path)
    with reading(path, "table"):
        source = arrow.memory_map(path)
        try:
            table = arrow.ipc.open_file(source).read_all()
        except arrow.ArrowInvalid:
            source.seek(0)
            table = arrow.ipc.open_stream(source).read_all()
        return _of_arrow(table)


def _of_arrow(table: Any) -> dict[str, Any]:
    return {name: _in_place(table.column(name)) for name in table.column_names}


def _in_place(column: Any) -> Any:
    """A column of numbers where it lies, also in a mapped file; others as arrays in memory."""
    kind = str(column.type)
    if column.null_count or not kind.startswith(("int", "uint", "float", "double")) or kind == "halffloat":
        return plain_column(column.to_numpy())
    chunks = [chunk.to_numpy(zero_copy_only=True) for chunk in column.chunks if len(chunk)]
    return chunks[0] if len(chunks) == 1 else Chunks(chunks) if chunks else column.to_numpy()


class Chunks:
    """Arrays one after the other, which are not put together."""

    def __init__(self, chunks: list[np.ndarray]):
        self.chunks, self.ends, self.dtype = chunks, np.cumsum([len(chunk) for chunk in chunks]), chunks[0].dtype
        self.shape = (int(self.ends[-1]),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """One number, those at rising indices, or a slice."""
        index = np.arange(len(self))[index] if isinstance(index, slice) else index
        places = np.searchsorted(self.ends, index, side="right")
        if np.ndim(index) == 0:
            return self.chunks[places][index - self.ends[places] + len(self.chunks[places])]
        out = np.empty(len(index), self.dtype)
        for place in np.unique(places):
            chosen = places == place
            out[chosen] = self.chunks[place][index[chosen] - self.ends[place] + len(self.chunks[place])]
        return out
