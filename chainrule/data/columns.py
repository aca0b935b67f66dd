# SPDX-License-Identifier: Apache-2.0
"""One column of a table: texts come in, the slots of a float32 matrix are filled.

    NumericColumn    (value - mean) / std, plus a slot that marks missing values if the training data had any
    CategoryColumn   one slot per category, one for rare and unknown ones, one for missing if the training data had any
    DroppedColumn    no slot: constant, empty, or a different text in most rows
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..errors import shown
from .files import count, fault
from .table import MISSING, MOSTLY, column_label, is_missing, parse_number

RARE_SHARE = 0.001      # categories in fewer rows (and in fewer than 2) share one slot
LARGEST = 3.4e38        # of float32
IDENTIFIER_SHARE = 0.5  # with more different texts per row, a column names its rows

# numbers of some dialect
OTHERWISE = re.compile(r"[-+]?(\d+,\d+|\d{1,3}(\.\d{3})+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d*\.\d+)")

FEW_ROWS = 20
IDENTIFIER = re.compile(r"(^|[_\W])(id|index|key|nr|no|number)$|^unnamed|^column_0$", re.IGNORECASE)
DATE = re.compile(r"\d{4}-\d\d?-\d\d?([T ]|$)|\d{4}/\d\d?/\d\d?([T ]|$)|\d\d?[./]\d\d?[./]\d{2,4}([T ]|$)")

Place = Callable[[int], str]


@dataclass(frozen=True)
class Column:
    """A fitted column: plain data."""

    kind: ClassVar[str] = ""
    name: str

    def features(self) -> list[str]:
        """The names of its slots."""
        return []

    def encode(self, texts: Sequence[str], out: np.ndarray, decimal: str, place: Place,
               words: frozenset[str] = MISSING) -> None:
        """Fill `out` (N, slots), which is zero at first."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Column:
        """The column that a config described."""
        found = {field.name: config[field.name] for field in fields(cls)}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in found.items()})


@dataclass(frozen=True)
class DroppedColumn(Column):
    """A column without a slot, and why."""

    kind: ClassVar[str] = "dropped"
    reason: str


@dataclass(frozen=True)
class NumericColumn(Column):
    """A number, standardised; missing ones are the median, and marked if `marks_missing`."""

    kind: ClassVar[str] = "numeric"
    mean: float
    std: float
    median: float
    marks_missing: bool

    def features(self) -> list[str]:
        """The number itself, and perhaps the mark."""
        return [self.name, f"{self.name} (missing)"] if self.marks_missing else [self.name]

    def encode(self, texts: Sequence[str], out: np.ndarray, decimal: str, place: Place,
               words: frozenset[str] = MISSING) -> None:
        """Fill the number and the mark; DataError for a text that is no number."""
        values, missing = read_numbers(texts, decimal, place, words)
        out[:, 0] = (np.where(missing, self.median, values) - self.mean) / self.std
        if self.marks_missing:
            out[:, 1] = missing


@dataclass(frozen=True)
class CategoryColumn(Column):
    """One-hot; `(other)` stands for rare and unknown categories."""

    kind: ClassVar[str] = "categories"
    categories: tuple[str, ...]
    has_missing: bool

    def features(self) -> list[str]:
        """``name=category`` for each, then ``name=(other)`` and perhaps ``name=(missing)``."""
        names = [f"{self.name}={category}" for category in (*self.categories, "(other)")]
        return [*names, f"{self.name}=(missing)"] if self.has_missing else names

    def encode(self, texts: Sequence[str], out: np.ndarray, decimal: str, place: Place,
               words: frozenset[str] = MISSING) -> None:
        """Set one slot of each row."""
        slots = {category: slot for slot, category in enumerate(self.categories)}
        other = len(self.categories)
        missing = other + self.has_missing
        chosen = [slots[text] if text in slots else missing if is_missing(text, words) else other for text in texts]
        out[np.arange(len(texts)), chosen] = 1.0


def read_numbers(texts: Sequence[str], decimal: str, place: Place,
                 words: frozenset[str] = MISSING) -> tuple[np.ndarray, np.ndarray]:
    """Values as float64, NaN where missing, and the mask of missing; DataError for no number or an infinite one."""
    missing = np.zeros(len(texts), bool)
    if (plain := plain_numbers(texts, decimal, words)) is not None:
        return plain, missing
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        if is_missing(text, words):
            missing[row] = True
            continue
        number = parse_number(text, decimal)
        if number is None:
            raise fault(f"{place(row)}: {shown(text)} is not a number, and the other values are",
                        fix="correct the value, leave it empty, or name the column in categorical=")
        if not abs(number) <= LARGEST:
            raise fault(f"{place(row)}: {shown(text)} is not a finite number",
                        fix="correct the value or leave it empty")
        values[row] = number
    return values, missing


def plain_numbers(texts: Sequence[str], decimal: str, words: frozenset[str] = MISSING) -> np.ndarray | None:
    """The texts as float64 if they all are finite numbers, at the speed of NumPy; None if one is anything else."""
    if words is not MISSING and not words.isdisjoint(texts):
        return None  # a number may be a word for missing, such as -999
    try:
        values = np.array(texts, np.float64)
    except ValueError:
        return None
    with np.errstate(invalid="ignore"):
        plain = decimal == "." and bool((np.abs(values) <= LARGEST).all())
    return values if plain and "_" not in "".join(texts) else None


# ---- deciding


def fit_column(name: str, texts: Sequence[str], decimal: str, categorical: bool, place: Place,
               words: frozenset[str] = MISSING) -> tuple[Column, str | None]:
    """Decide what a column is and fit it; the second result says what is worth saying of it.

    Numeric if all present values are numbers; more than 90 % numbers is a DataError at the first other value. Columns
    with one value, no value, or a text that differs in more than half of the rows are left out. Categories in less than
    0.1 % of the rows, or in one row only, share the slot ``(other)``.
    """
    plain = None if categorical else plain_numbers(texts, decimal, words)
    if plain is not None and plain.min() < plain.max():
        return (NumericColumn(name, float(plain.mean()), _spread(plain), float(np.median(plain)), False),
                _row_numbers(name, plain))
    present = [text for text in texts if not is_missing(text, words)]
    if not present:
        return DroppedColumn(name, "empty"), f"{column_label(name)}: no values → left out"
    if len(present) == len(texts) and len(set(present)) == 1:
        return DroppedColumn(name, "constant"), f"{column_label(name)}: always {_short(present[0])} → left out"
    sizes = Counter(present)
    if not categorical:
        numbers = sum(size for text, size in sizes.items() if parse_number(text, decimal) is not None)
        if numbers > MOSTLY * len(present):
            return _fit_numbers(name, texts, decimal, place, words)
        _refuse_other_numbers(texts, sizes, numbers, decimal, place)
    return _fit_categories(name, texts, sizes, categorical, words)


def _refuse_other_numbers(texts: Sequence[str], sizes: Counter[str], numbers: int, decimal: str, place: Place) -> None:
    """DataError if nearly all values would be numbers in some dialect of files, such as 1,5 or 1.234,5 or 1,234."""
    other = {text: size for text, size in sizes.items() if OTHERWISE.fullmatch(text)
             and parse_number(text, decimal) is None}
    if other and numbers + sum(other.values()) > MOSTLY * sum(sizes.values()):
        first = next(iter(other))
        raise fault(f"{place(texts.index(first))}: {shown(first)} is a number in some files, and not where the decimal "
                    f"sign is {decimal!r}",
                    expected="one decimal sign in the whole file, and nothing between thousands",
                    fix=f"say which decimal sign it is, decimal={'.' if decimal == ',' else ','!r}; correct the file; "
                        "or name the column in categorical=")


def _row_numbers(name: str, values: np.ndarray) -> str | None:
    """A word on a column of whole numbers that differ in all rows, if it counts them or is called so."""
    if len(values) < FEW_ROWS or (values % 1).any() or len(np.unique(values)) < len(values):
        return None
    counts = (np.diff(values) > 0).all() and values[-1] - values[0] < 2 * len(values)
    if not (counts or IDENTIFIER.search(name)):
        return None
    return (f"{column_label(name)}: another whole number in each row; it is taken for a quantity: "
            "if it only names the rows, leave it out (drop)")


def _dates(sizes: Counter[str]) -> str:
    """What is said of texts that are dates or times."""
    if sum(size for text, size in sizes.items() if DATE.match(text)) <= MOSTLY * sum(sizes.values()):
        return ""
    return "; these are dates: to use them, write year, month, weekday or days since a day into columns of their own"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _spread(values: np.ndarray) -> float:
    """The standard deviation, also where the squares would be too small for float64; 1 for equal values."""
    away = values - values.mean()
    furthest = float(np.abs(away).max())
    return float(values.std()) or (furthest * float((away / furthest).std()) if furthest else 1.0)


def _missing_words(texts: Sequence[str], words: frozenset[str]) -> str:
    """`` (words: 'NA' 4, '?' 2)``; nothing where only empty cells are missing."""
    found = Counter(text for text in texts if is_missing(text, words))
    words_found = ", ".join(f"{shown(text, 20)} {number:,}" for text, number in found.most_common(5))
    return "" if set(found) == {""} else f" (words: {words_found})"


def _fit_numbers(name: str, texts: Sequence[str], decimal: str, place: Place,
                 words: frozenset[str]) -> tuple[Column, str | None]:
    values, missing = read_numbers(texts, decimal, place, words)
    known = values[~missing]
    if known.min() == known.max() and len({text for text, gone in zip(texts, missing, strict=True) if not gone}) > 1:
        return DroppedColumn(name, "digits"), (f"{column_label(name)}: its numbers differ by less than float64 can "
                                               "hold → left out "
                                               "(categorical= takes them as names)")
    median = float(np.median(known))
    column = NumericColumn(name, float(known.mean()), _spread(known), median, bool(missing.any()))
    if not missing.any():
        return column, None
    return (column, f"{column_label(name)}: {missing.sum():,} missing → median {median:g} and a column that marks "
                    f"them{_missing_words(texts, words)}")


def _fit_categories(name: str, texts: Sequence[str], sizes: Counter[str],
                    wanted: bool, words: frozenset[str]) -> tuple[Column, str | None]:
    present = sum(sizes.values())
    if len(sizes) > IDENTIFIER_SHARE * present and len(sizes) > 2 and not wanted:
        reason = f"{len(sizes):,} different texts in {count(present, 'row')}"
        return DroppedColumn(name, "identifier"), f"{column_label(name)}: {reason} → left out{_dates(sizes)}"
    least = max(2, round(RARE_SHARE * len(texts)))
    kept = tuple(sorted(category for category, size in sizes.items() if size >= least))
    missing = len(texts) - present
    note = f"{column_label(name)}: {len(sizes):,} categories{_dates(sizes)}"
    if len(kept) < len(sizes):
        note += f", {len(sizes) - len(kept):,} of them in fewer than {least} rows → one category for rare and unknown"
    if missing:
        note += f", {missing:,} missing → own category{_missing_words(texts, words)}"
    return CategoryColumn(name, kept, missing > 0), note
