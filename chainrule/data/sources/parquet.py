# SPDX-License-Identifier: Apache-2.0
"""Columns of a Parquet file that stay in the file: row groups are decoded when rows of them are asked for, and as many
are kept as fit into a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...foundations.files import reading

MOST = 1 << 28  # bytes of decoded row groups that are kept


class Groups:
    """The row groups of a file with those columns that are wanted, decoded; the last used at the end.

    Threads take turns; a copy in another process opens the file again.
    """

    def __init__(self, path: str, types: dict[str, np.dtype], sizes: Sequence[int]):
        self.path, self.types, self.ends = path, types, np.cumsum(sizes)
        self._forget()

    def _forget(self) -> None:
        self._kept: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    def column(self, g: int, name: str) -> np.ndarray:
        """A column of one row group."""
        with self._lock:
            if g not in self._kept:
                self._keep(g, self._decoded(g))
            self._kept.move_to_end(g)
            return self._kept[g][name]

    def _keep(self, g: int, columns: dict[str, np.ndarray]) -> None:
        self._kept[g] = columns
        self._bytes += _bytes(columns)
        while self._bytes > MOST and len(self._kept) > 1:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])

    def _decoded(self, g: int) -> dict[str, np.ndarray]:
        with reading(self.path, "table"):
            table = opened(self.path).read_row_group(g, columns=list(self.types), use_threads=False)
            return {name: _of_type(table.column(name).to_numpy(), kind) for name, kind in self.types.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "types": self.types, "ends": self.ends}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()


class Column:
    """One column of the row groups, read like an array: `column[i]`, `column[indices]` for rising ones, and slices."""

    def __init__(self, groups: Groups, name: str):
        self.groups, self.name, self.dtype = groups, name, groups.types[name]
        self.shape = (int(groups.ends[-1]),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        ends = self.groups.ends
        index = np.arange(len(self))[index] if isinstance(index, slice) else index
        places = np.searchsorted(ends, index, side="right")
        if np.ndim(index) == 0:
            values = self.groups.column(int(places), self.name)
            return values[index - ends[places] + len(values)]
        parts = [np.empty(0, self.dtype)]
        for g in np.unique(places):
            values = self.groups.column(int(g), self.name)
            parts.append(values[index[places == g] - ends[g] + len(values)])
        return np.concatenate(parts)


def opened(path: str) -> Any:
    """The file; not mapped, so that the room that it takes is that of what is read."""
    import pyarrow.parquet
    return pyarrow.parquet.ParquetFile(path, memory_map=False)


def columns_in_file(path: str, wanted: Sequence[str] | None) -> dict[str, Any]:
    """Columns by name: those of numbers, truth values, texts, bytes and lists stay in the file; others, such as dates,
    are None."""
    file = opened(path)
    sizes = [size for g in range(file.metadata.num_row_groups) if (size := file.metadata.row_group(g).num_rows)]
    names = [field.name for field in file.schema_arrow if wanted is None or field.name in wanted]
    types = {name: _type_of(file, name) for name in names}
    staying = {name: kind for name, kind in types.items() if kind is not None}
    if len(sizes) != file.metadata.num_row_groups or not sizes:
        return dict.fromkeys(names)
    groups = Groups(path, staying, sizes)
    return {name: Column(groups, name) if name in staying else None for name in names}


def _type_of(file: Any, name: str) -> np.dtype | None:
    """The dtype of all row groups together, as a missing value in one of them decides it."""
    from pyarrow import types
    kind = file.schema_arrow.field(name).type
    if (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    ):
        return np.dtype(object)
    text = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(text) or types.is_large_string(text):
        return np.dtype(object if _any_missing(file, name) else "U")
    if types.is_boolean(kind):
        return None if _any_missing(file, name) else np.dtype(bool)
    if types.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype())
    return (np.dtype(np.float64 if _any_missing(file, name) else kind.to_pandas_dtype()) if types.is_integer(kind)
            else None)


def _any_missing(file: Any, name: str) -> bool:
    """Whether a value of the column is missing: by the statistics of the file, or by reading it group by group."""
    metadata = file.metadata
    places = [j for j in range(metadata.num_columns) if metadata.schema.column(j).path == name]
    for g in range(metadata.num_row_groups):
        found = metadata.row_group(g).column(places[0]).statistics if places else None
        known = found is not None and found.has_null_count
        if (found.null_count if known else file.read_row_group(g, columns=[name]).column(name).null_count):
            return True
    return False


def _of_type(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    return values.astype(str) if kind.kind == "U" else values.astype(kind, copy=False)


def _bytes(columns: dict[str, np.ndarray]) -> int:
    """About what they take; an object counts by what it holds."""
    return sum(array.nbytes if array.dtype != object
               else sum(64 + (getattr(item, "nbytes", None) or len(item)) if item is not None else 8 for item in array)
               for array in columns.values())
