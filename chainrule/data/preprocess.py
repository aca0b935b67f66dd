# SPDX-License-Identifier: Apache-2.0
"""From what a source holds to the float32 inputs of a network: fitted on the training part, saved inside the model.

    TablePreprocess   rows of texts    → numbers standardised, missing values filled and marked, categories one-hot
    ImageScaling      uint8 (N,H,W,C)  → (x - mean) / std per channel
    FeatureScaling    (N, features)    → (x - mean) / std per feature

Each is plain data: `to_config()` is ready for JSON, and `preprocess_from_config` gives back an object whose `transform`
returns the same bits, because Python writes floats so that they read back exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from .arrays import prepare
from .columns import CategoryColumn, Column, DroppedColumn, NumericColumn, fit_column
from .files import count, fault, listed
from .table import MISSING, Table, align, column_label, find_column, is_missing

CHUNK_VALUES = 1 << 20


# ---- tables


@dataclass(frozen=True)
class TablePreprocess:
    """The fitted columns of a table, without its target; `names` are all columns of the file, target included.

    >>> from pathlib import Path
    >>> size = Path("table.csv").write_text("size,label\\n" + "\\n".join(f"{i},{'ab'[i % 2]}" for i in range(20)))
    >>> data = cr.data.load("table.csv", target="label")
    >>> isinstance(data.preprocess, cr.data.TablePreprocess), data.preprocess.names
    (True, ('size', 'label'))
    """

    kind: ClassVar[str] = "table"
    names: tuple[str, ...]
    target: str
    columns: tuple[Column, ...]
    decimal: str = "."
    missing: frozenset[str] = MISSING

    def __repr__(self) -> str:
        return (f"TablePreprocess({count(len(self.columns), 'column')} to {count(len(self.feature_names), 'feature')}, "
                f"target {self.target!r})")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the encoded features: ``age``, ``workclass=Private``, ``age (missing)``, …"""
        return tuple(name for column in self.columns for name in column.features())

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """The shape of one transformed sample."""
        return (len(self.feature_names),)

    def transform(self, rows: Table | Sequence[Any]) -> np.ndarray:
        """Rows to float32 (N, features).

        `rows` is a Table, a list of dicts (name → value), or a list of lists with the columns in the order of the file,
        with or without the target. Values may be texts, numbers or None. Raises DataError with the place of a value
        that cannot be used.
        """
        if isinstance(rows, Table):
            table = align(rows, self.used)
            columns = {name: table.column(i) for i, name in enumerate(table.names)}
            return self._encode(columns, len(table), lambda row, name: table.place(row, table.names.index(name)),
                                table.decimal)
        columns = _columns_of(rows, [name for name in self.names if name != self.target], self.names, self.used,
                              self.decimal)
        return self._encode(columns, len(rows), lambda row, name: f"row {row}, {column_label(name)}", self.decimal)

    @property
    def used(self) -> list[str]:
        """The columns that a transformation needs."""
        return [column.name for column in self.columns if column.features()]

    def unseen(self, table: Table) -> list[str]:
        """Lines that say which categories of a table are none of the training data's, and in how many rows."""
        notes, places = [], {name: place for place, name in enumerate(table.names)}
        for column in self.columns:
            texts = table.column(places[column.name]) if isinstance(column, CategoryColumn) else []
            known = set(column.categories) if isinstance(column, CategoryColumn) else set()
            other = [text for text in texts if not is_missing(text, self.missing) and text not in known]
            if other:
                shown = ", ".join(map(repr, sorted(set(other))[:5])) + (", …" if len(set(other)) > 5 else "")
                notes.append(f"{column_label(column.name)}: {count(len(other), 'row')} with a category that was rare "
                             "or not there in training "
                             f"({shown}), taken as one category (other)")
        return notes

    def _encode(self, columns: Mapping[str, list[str]], size: int, place: Callable[[int, str], str],
                decimal: str) -> np.ndarray:
        out = np.zeros((size, *self.feature_shape), np.float32)
        start = 0
        for column in self.columns:
            width = len(column.features())
            if width:
                column.encode(columns[column.name], out[:, start:start + width], decimal,
                              lambda row, name=column.name: place(row, name), self.missing)
            start += width
        return out

    def to_config(self) -> dict[str, Any]:
        """Plain data for JSON."""
        columns = [{"kind": column.kind} | asdict(column) for column in self.columns]
        return {"kind": self.kind, "names": list(self.names), "target": self.target, "decimal": self.decimal,
                "missing": None if self.missing == MISSING else sorted(self.missing), "columns": columns}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TablePreprocess:
        """The object that `to_config` described."""
        kinds = {kind.kind: kind for kind in (NumericColumn, CategoryColumn, DroppedColumn)}
        columns = tuple(kinds[column["kind"]].from_config(column) for column in config["columns"])
        words = config.get("missing")
        return cls(tuple(config["names"]), config["target"], columns, config["decimal"],
                   MISSING if words is None else frozenset(words))


def fit_table(table: Table, target: int, categorical: Sequence[str | int] = (),
              drop: Sequence[str | int] = ()) -> tuple[TablePreprocess, list[str]]:
    """Fit every column of a table but the target; returns the preprocessing and lines that say what was decided.

    A column is numeric if all its values are numbers, else categorical; `categorical` (names or indices) makes numeric
    columns categorical, `drop` leaves columns out. The rules for each kind stand at `columns.fit_column`.
    """
    chosen = {find_column(table, column, "categorical") for column in categorical}
    dropped = {find_column(table, column, "dropped") for column in drop}
    columns: list[Column] = []
    notes: list[str] = []
    for i, name in enumerate(table.names):
        if i == target:
            continue
        if i in dropped:
            column, note = DroppedColumn(name, "on request"), f"{column_label(name)}: left out on request"
        else:
            column, note = fit_column(name, table.column(i), table.decimal, i in chosen,
                                      lambda row, i=i: table.place(row, i), table.missing)
        columns.append(column)
        notes += [note] if note else []
    plain = sum(isinstance(column, NumericColumn) for column in columns)
    preprocess = TablePreprocess(tuple(table.names), table.names[target], tuple(columns), table.decimal, table.missing)
    if not preprocess.feature_names:
        raise fault(f"{table.path}: no column is left to learn from", got="; ".join(notes) or "only the target")
    notes.append(f"{count(plain, 'numeric column')} standardised; "
                 f"{count(len(preprocess.feature_names), 'feature')} after encoding")
    return preprocess, notes


def _columns_of(rows: Any, sources: list[str], names: Sequence[str], used: list[str],
                decimal: str) -> dict[str, list[str]]:
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):  # a DataFrame of pandas or polars
        given = {str(name): name for name in rows.columns}
        if absent := [name for name in used if name not in given]:
            raise fault(f"there is no column {absent[0]!r}", got=listed(list(given)), expected=listed(used))
        return {name: [_text(value, decimal) for value in rows[given[name]]] for name in used}
    order = {len(sources): sources, len(names): list(names)}
    for i, row in enumerate(rows):
        if isinstance(row, Mapping) and (absent := [name for name in used if name not in row]):
            raise fault(f"row {i}: there is no value for {absent[0]!r}", expected=listed(used),
                        fix="give None for a missing value")
        if isinstance(row, str) or not hasattr(row, "__len__"):
            raise fault(f"row {i} is no row of a table", got=type(row).__name__, expected="a dict, or a list of values")
        if not isinstance(row, Mapping) and len(row) not in order:
            raise fault(f"row {i} has {count(len(row), 'value')}", expected=f"{len(sources)}: {', '.join(sources)}")
    dicts = [row if isinstance(row, Mapping) else dict(zip(order[len(row)], row, strict=True)) for row in rows]
    return {name: [_text(row[name], decimal) for row in dicts] for name in used}


def _text(value: Any, decimal: str) -> str:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas' own words for missing
        return ""
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else repr(float(value)).removesuffix(".0").replace(".", decimal)
    return str(value).strip()


# ---- arrays


@dataclass(frozen=True)
class Scaling:
    """(x - mean) / std along the last axis as float32, computed in float64 where the numbers need it; a single mean and
    std
    hold for all features. `dtype` is that of the data it was fitted on, None if it is not known.
    """

    kind: ClassVar[str] = ""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    feature_shape: tuple[int, ...]
    dtype: str | None = None

    def transform(self, x: np.ndarray) -> np.ndarray:
        """An array (N, *feature_shape) to float32 of the same shape; DataError for another shape."""
        x = np.asarray(x)
        if x.shape[1:] != self.feature_shape:
            raise fault("the inputs have another shape than the training data", got=str(x.shape),
                        expected=f"(N, {', '.join(map(str, self.feature_shape))})")
        if x.dtype.kind not in "buif":
            raise fault("the inputs are not numbers", got=str(x.dtype), expected="integers or floats")
        if x.dtype in (np.uint8, np.float32) and self._coarse():
            out = x.astype(np.float32)
            out -= np.float32(self.mean)
            out /= np.float32(self.std)
            return out
        out = np.empty(x.shape, np.float32)
        block = max(1, CHUNK_VALUES // max(1, math.prod(self.feature_shape)))
        for start in range(0, len(x), block):
            out[start:start + block] = (x[start:start + block].astype(np.float64) - self.mean) / self.std
        return out

    def _coarse(self) -> bool:
        """Whether float32 is fine enough for the difference from the mean: its steps there are below 1e-6 of the
        spread."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        return bool((np.spacing(np.abs(mean).astype(np.float32)) < 1e-6 * std).all())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(inputs of shape {self.feature_shape}: {self.describe()})"

    def describe(self) -> str:
        """One line for the user: what happens to the values."""
        if len(self.mean) > 4:
            return f"{len(self.mean)} features standardised (mean 0, spread 1 over the training set)"
        shown = ", ".join(f"{mean:.4g} and {std:.4g}" for mean, std in zip(self.mean, self.std, strict=True))
        return f"values scaled by mean and spread of the training set: {shown}"

    def to_config(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"kind": self.kind, "mean": list(self.mean), "std": list(self.std),
                "feature_shape": list(self.feature_shape),
                "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Scaling:
        """The object that `to_config` described."""
        numbers = [tuple(float(value) for value in config[name]) for name in ("mean", "std")]
        return cls(*numbers, tuple(int(size) for size in config["feature_shape"]), config.get("dtype"))


class ImageScaling(Scaling):
    """Scaling of images (N, H, W, C) by the mean and standard deviation of each channel.

    >>> scaling = cr.data.ImageScaling(mean=(128.0,), std=(64.0,), feature_shape=(2, 2, 1))
    >>> scaling.transform(np.full((1, 2, 2, 1), 192, "uint8")).ravel()
    array([1., 1., 1., 1.], dtype=float32)
    """

    kind: ClassVar[str] = "image"

    @classmethod
    def fit(cls, x: np.ndarray) -> ImageScaling:
        """Mean and standard deviation over all pixels of each channel; a constant channel gets the spread 1."""
        return cls(*_moments(x, x.shape[-1]), tuple(x.shape[1:]), str(x.dtype))


class FeatureScaling(Scaling):
    """Scaling of vectors (N, features) or sequences (N, time, features) by each feature; uint8 by one mean and std.

    >>> scaling = cr.data.FeatureScaling(mean=(1.0, 10.0), std=(2.0, 5.0), feature_shape=(2,))
    >>> scaling.transform(np.array([[3.0, 20.0]], "float32"))
    array([[1., 2.]], dtype=float32)
    """

    kind: ClassVar[str] = "features"

    @classmethod
    def fit(cls, x: np.ndarray) -> FeatureScaling:
        """Mean and standard deviation of each feature, or of all values if they are bytes (flattened images)."""
        return cls(*_moments(x, 1 if x.dtype == np.uint8 else x.shape[-1]), tuple(x.shape[1:]), str(x.dtype))


def _moments(x: np.ndarray, width: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each of the `width` last-axis entries, in float64, block by block.

    Bytes are summed as whole numbers, so the result is exact; other numbers are summed in two passes.
    """
    rows = x.reshape(len(x), -1)
    size = rows.size // width
    if x.dtype == np.uint8:
        sums, squares = _fold(rows, width, np.uint64, lambda block: block.astype(np.uint16))
        exact = [int(square) * size - int(total) ** 2 for total, square in zip(sums, squares, strict=True)]
        mean, std = sums / size, np.sqrt(np.array(exact, np.float64)) / size
    else:
        mean = _fold(rows, width, np.float64, lambda block: block.astype(np.float64))[0] / size
        tiled = np.tile(mean, rows.shape[1] // width)
        scale = _furthest(rows, tiled, width)  # so that neither the smallest nor the largest squares leave float64
        spread = _fold(rows, width, np.float64,
                       lambda block: (block - tiled) / np.tile(scale, rows.shape[1] // width))[1]
        std = scale * np.sqrt(spread / size)
    constant = _constant(rows, width) | (std == 0)
    return (tuple(map(float, mean)),
            tuple(1.0 if same else float(value) for same, value in zip(constant, std, strict=True)))


def _furthest(rows: np.ndarray, mean: np.ndarray, width: int) -> np.ndarray:
    """The largest distance from the mean of each of the `width` entries; 1 where all is equal."""
    largest = np.maximum(rows.max(axis=0) - mean, mean - rows.min(axis=0)).reshape(-1, width).max(axis=0)
    return np.where(largest > 0, largest, 1.0)


def _constant(rows: np.ndarray, width: int) -> np.ndarray:
    """Which of the `width` entries never change."""
    least, most = (extreme(rows, axis=0).reshape(-1, width) for extreme in (np.min, np.max))
    return least.min(axis=0) == most.max(axis=0)


def _fold(rows: np.ndarray, width: int, dtype: Any, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Sum and sum of squares, (2, width), of the changed rows: down the columns first, where memory is contiguous."""
    totals = np.zeros((2, rows.shape[1]), dtype)
    block = max(1, CHUNK_VALUES // rows.shape[1])
    for start in range(0, len(rows), block):
        values = change(rows[start:start + block])
        totals[0] += values.sum(axis=0, dtype=dtype)
        totals[1] += (values * values).sum(axis=0, dtype=dtype)
    return totals.reshape(2, -1, width).sum(axis=1)


def fit_array(x: np.ndarray) -> Scaling:
    """ImageScaling for (N, H, W, C), FeatureScaling for everything else; DataError if all values are the same."""
    if x.size and x.min() == x.max():
        raise fault("the training inputs are all the same: there is nothing to learn from",
                    got=f"every value is {x.flat[0]:g}", fix="look at how the files were written")
    return ImageScaling.fit(x) if x.ndim == 4 else FeatureScaling.fit(x)


def constant_features(x: np.ndarray) -> list[str]:
    """A line for the user if some features of vectors never change in the training data."""
    if x.ndim != 2 or x.dtype == np.uint8:
        return []
    same = np.flatnonzero(_constant(x, x.shape[1]))
    shown = ", ".join(map(str, same[:10])) + (", …" if len(same) > 10 else "")
    return [f"{count(len(same), 'feature')} with one value in all of the training set: {shown}"] if len(same) else []


def as_inputs(x: np.ndarray, name: str = "x") -> np.ndarray:
    """A user's array in the common form (uint8 or float32, channels last), checked for values that are not finite.

    >>> cr.data.as_inputs(np.zeros((5, 28, 28), "uint8")).shape
    (5, 28, 28, 1)
    """
    return prepare(np.asarray(x), name, [])


def preprocess_from_config(config: Mapping[str, Any]) -> TablePreprocess | Scaling:
    """The preprocessing that a `to_config()` described, of any kind.

    >>> scaling = cr.data.FeatureScaling(mean=(1.0,), std=(2.0,), feature_shape=(1,))
    >>> cr.data.preprocess_from_config(scaling.to_config()) == scaling
    True
    """
    kinds = {kind.kind: kind for kind in (TablePreprocess, ImageScaling, FeatureScaling)}
    if config.get("kind") not in kinds:
        raise fault("unknown kind of preprocessing", got=repr(config.get("kind")), expected=", ".join(kinds))
    try:
        return kinds[config["kind"]].from_config(config)
    except (KeyError, TypeError) as error:
        raise fault(f"the saved preprocessing of kind {config['kind']} is incomplete", got=repr(error)) from error
