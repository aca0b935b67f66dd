# SPDX-License-Identifier: Apache-2.0
"""The columns of a table as a network reads them: what each is, is found out on the training rows, said, and kept as
plain data.

    Number     standardised; missing ones are the median, and marked where training had any
    Category   an id: 0 for rare and unknown values, then the known ones, a missing value being one of them
    Date       days since 1970 standardised, time of the year and of the day as points on circles, weekday as a category
    Words      free text as a bag of words
    LeftOut    says nothing: constant, empty, or another value in each row
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ..data.columns import IDENTIFIER
from ..data.files import count
from ..data.table import is_missing, parse_number
from ..errors import DataError, explain, shown
from .words import Vocabulary, words

MOSTLY = 0.9           # of the values must be numbers, or dates, for a column to be one of these
RARE_SHARE = 0.0005    # categories in fewer rows, or in one only, share the id 0
MANY = 0.5             # with more different texts per row a column names its rows, or is free text
FREE_TEXT = 3          # words of a text, on average, from which on it is free
FEW_ROWS = 20
LARGEST = 1e30
MISSING = ""
ISO = re.compile(r"(\d{4})[-/](\d\d?)[-/](\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d(?:\.\d+)?))?)?(?:Z|[+-]\d\d:?\d\d)?")
OTHER = re.compile(r"(\d\d?)([./])(\d\d?)\2(\d{4})(?: (\d\d?):(\d\d)(?::(\d\d))?)?")


@dataclass(frozen=True)
class Column:
    """A fitted column: plain data that turns values into numbers and categories."""

    kind: ClassVar[str] = ""
    name: str

    @property
    def sizes(self) -> list[int]:
        """How many values each of its categories has."""
        return []

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """(n, numbers), float64."""
        return np.zeros((len(values), 0))

    def categories(self, values: np.ndarray) -> np.ndarray:
        """(n, categories), int64."""
        return np.zeros((len(values), 0), np.int64)


@dataclass(frozen=True)
class LeftOut(Column):
    """A column that is not used, and why."""

    kind: ClassVar[str] = "left out"
    why: str


@dataclass(frozen=True)
class Number(Column):
    """(value - mean) / std, and a mark of missing values if training had any."""

    kind: ClassVar[str] = "number"
    mean: float
    std: float
    median: float
    marks: bool

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """The number, and perhaps its mark; DataError for what is no number."""
        found = as_numbers(values, self.name)
        gone = np.isnan(found)
        scaled = (np.where(gone, self.median, found) - self.mean) / self.std
        return np.stack([scaled, gone.astype(np.float64)], axis=1) if self.marks else scaled[:, None]


@dataclass(frozen=True)
class Category(Column):
    """The place of a value among the known ones, from 1; 0 for others."""

    kind: ClassVar[str] = "category"
    known: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        return [len(self.known) + 1]

    def categories(self, values: np.ndarray) -> np.ndarray:
        """(n, 1)."""
        ids = {value: i for i, value in enumerate(self.known, 1)}
        return np.array([ids.get(text, 0) for text in as_texts(values)], np.int64)[:, None]


@dataclass(frozen=True)
class Date(Column):
    """Days, year and day as circles, and the weekday; a missing date is the mean one on a weekday of its own."""

    kind: ClassVar[str] = "date"
    mean: float
    std: float
    hours: bool
    day_first: bool

    @property
    def sizes(self) -> list[int]:
        return [8]

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """Days standardised, sine and cosine of the year, and of the day where training had times."""
        days = as_days(values, self.day_first)
        gone = np.isnan(days)
        days = np.where(gone, self.mean, days)
        circles = [2 * np.pi * days / 365.2425, *([2 * np.pi * (days % 1)] if self.hours else [])]
        found = [(days - self.mean) / self.std, *(turn(angle) for angle in circles for turn in (np.sin, np.cos))]
        return np.stack(found, axis=1)

    def categories(self, values: np.ndarray) -> np.ndarray:
        """The weekday, 1 (Thursday, as 1970 began) to 7; 0 for none."""
        days = as_days(values, self.day_first)
        return np.where(np.isnan(days), 0, np.floor(np.nan_to_num(days)) % 7 + 1).astype(np.int64)[:, None]


@dataclass(frozen=True)
class Words(Column):
    """Free text: the words of the vocabulary that all such columns share."""

    kind: ClassVar[str] = "text"


KINDS: dict[str, type[Column]] = {kind.kind: kind for kind in (Number, Category, Date, Words, LeftOut)}


# ---- values


def as_texts(values: np.ndarray) -> list[str]:
    """Each value as a text; the empty one where it is missing. Whole floats are written as integers, so that files and
    frames agree."""
    return [_text(value) for value in values.tolist()]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType"):
        return MISSING
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST:
        return str(int(value))
    text = str(value).strip()
    return MISSING if is_missing(text) else text


def as_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Values as float64, NaN where missing; DataError with the row for what is no finite number."""
    if values.dtype.kind in "buif":
        found = values.astype(np.float64)
    else:
        texts = as_texts(values)
        parsed = [np.nan if text == MISSING else parse_number(text) for text in texts]
        if None in parsed:
            row = parsed.index(None)
            raise DataError(explain(f"row {row:,}, column {name!r}: {shown(texts[row])} is not a number, and the other "
                                    "values are",
                                    fix="correct the value, leave it empty, or name the column in categorical="))
        found = np.array(parsed, np.float64)
    if (bad := np.flatnonzero(np.abs(found) > LARGEST)).size:
        raise DataError(explain(f"row {bad[0]:,}, column {name!r}: {found[bad[0]]:g} is not a finite number",
                                fix="correct the value or leave it empty"))
    return found


def as_days(values: np.ndarray, day_first: bool = False) -> np.ndarray:
    """Dates as days since 1970-01-01, with the time as a fraction; NaN for what is no date."""
    if values.dtype.kind == "M":
        found = values.astype("datetime64[s]").astype(np.float64) / 86400
        return np.where(np.isnat(values), np.nan, found)
    return np.array([_days(value, day_first) for value in values.tolist()], np.float64)


def _days(value: Any, day_first: bool) -> float:
    text = str(value).strip()
    if found := ISO.fullmatch(text):
        year, month, day, *clock = found.groups()
    elif found := OTHER.fullmatch(text):
        first, sign, second, year, *clock = found.groups()
        month, day = (second, first) if day_first or sign == "." else (first, second)
    else:
        return np.nan
    try:
        whole = np.datetime64(f"{year}-{int(month):02}-{int(day):02}").astype(np.float64)
    except ValueError:
        return np.nan
    hours, minutes, seconds = (float(part or 0) for part in clock)
    return float(whole) + (hours + minutes / 60 + seconds / 3600) / 24


# ---- what a column is


def learn(name: str, values: np.ndarray, categorical: bool) -> tuple[Column, str | None]:
    """What a column of the training rows is, and what is worth saying of it."""
    if values.dtype.kind == "M":
        return _date(name, values, False)
    if values.dtype.kind in "uif" and not categorical:
        return _number(name, values)
    if (
        values.dtype.kind == "O"
        and not categorical
        and all(
            value is None or (isinstance(value, int | float) and not isinstance(value, bool))
            for value in values.tolist()
        )
    ):
        return _number(name, np.array([np.nan if value is None else value for value in values.tolist()], np.float64))
    texts = as_texts(values)
    present = [text for text in texts if text != MISSING]
    sizes = Counter(present)
    if not present or (len(sizes) == 1 and len(present) == len(texts)):
        why = f"always {shown(present[0])}" if present else "no values"
        return LeftOut(name, why), f"{name}: {why}, left out"
    if not categorical:
        if sum(size for text, size in sizes.items() if parse_number(text) is not None) > MOSTLY * len(present):
            return _number(name, values)
        if (day_first := _day_first(sizes)) is not None:
            return _date(name, values, day_first)
        if len(sizes) > MANY * len(present) and len(sizes) > 2:
            return _many(name, present, sizes)
    return _category(name, texts, sizes)


def _number(name: str, values: np.ndarray) -> tuple[Column, str | None]:
    numbers = as_numbers(values, name)
    known = numbers[~np.isnan(numbers)]
    if not len(known) or known.min() == known.max():
        why = f"always {known[0]:g}" if len(known) else "no values"
        return LeftOut(name, why), f"{name}: {why}, left out"
    if _counts_rows(name, numbers):
        return (LeftOut(name, "names the rows"),
                f"{name}: another whole number in each row, it names them: left out (use={name!r} keeps it)")
    gone = len(numbers) - len(known)
    scale = float(np.abs(known).max()) or 1.0
    column = Number(name, float(known.mean()), float((known / scale).std()) * scale or 1.0, float(np.median(known)),
                    gone > 0)
    return column, f"{name}: {gone:,} missing → the median {column.median:g}, and a mark" if gone else None


def _counts_rows(name: str, numbers: np.ndarray) -> bool:
    """Whether whole numbers, different in all rows, count them, or are called an id."""
    if (
        len(numbers) < FEW_ROWS
        or np.isnan(numbers).any()
        or (numbers % 1).any()
        or len(np.unique(numbers)) < len(numbers)
    ):
        return False
    consecutive = numbers.max() - numbers.min() == len(numbers) - 1 and (np.diff(numbers) > 0).all()
    return bool(consecutive or IDENTIFIER.search(name))


def is_date(values: np.ndarray) -> bool | None:
    """Whether a column holds dates, and if so whether the day stands first (where a slash leaves it open); None for no
    dates."""
    if values.dtype.kind == "M":
        return False
    if values.dtype.kind not in "OU":
        return None
    sizes = Counter(text for text in as_texts(values) if text != MISSING)
    return _day_first(sizes) if sizes else None


def _day_first(sizes: Mapping[str, int]) -> bool | None:
    """Whether texts are dates, and if so whether the day stands first (where a slash leaves it open); None for no
    dates."""
    total = sum(sizes.values())
    found = {first: sum(size for text, size in sizes.items() if not np.isnan(_days(text, first)))
             for first in (False, True)}
    if max(found.values()) <= MOSTLY * total:
        return None
    return found[True] > found[False]


def _date(name: str, values: np.ndarray, day_first: bool) -> tuple[Column, str | None]:
    days = as_days(values, day_first)
    known = days[~np.isnan(days)]
    column = Date(name, float(known.mean()), float(known.std()) or 1.0, bool((known % 1).any()), day_first)
    first, last = (np.datetime64(int(np.floor(end)), "D") for end in (known.min(), known.max()))
    return (column, f"{name}: dates from {first} to {last} → days, season, "
                    f"weekday{' and time of day' if column.hours else ''}")


def _many(name: str, present: Sequence[str], sizes: Mapping[str, int]) -> tuple[Column, str | None]:
    """Another text in most rows: free text, or a name of the row."""
    length = float(np.mean([len(words(text)) for text in present]))
    if length >= FREE_TEXT:
        return Words(name), f"{name}: free text of {length:.0f} words on average → its words"
    return (LeftOut(name, "names the rows"),
            f"{name}: {len(sizes):,} different texts in {count(len(present), 'row')}, left out")


def _category(name: str, texts: Sequence[str], sizes: Counter[str]) -> tuple[Column, str | None]:
    least = max(2, round(RARE_SHARE * len(texts)))
    gone = texts.count(MISSING)
    known = tuple(sorted(text for text, size in sizes.items() if size >= least)) + ((MISSING,) if gone else ())
    rare = len(sizes) - sum(1 for text in known if text != MISSING)
    parts = [f"{len(sizes):,} categories", *([f"{rare:,} of them rare"] if rare else []),
             *([f"{gone:,} missing → own category"] if gone else [])]
    return Category(name, known), f"{name}: {', '.join(parts)}" if rare or gone else None


# ---- all columns


class Encoder:
    """All columns of a table but its target, as network inputs.

    Attributes:
        columns: fitted, in the order of the table.
        edges: of the bins of each number that comes out.
        vocabulary: of the free text, None without.
    """

    def __init__(self, columns: Sequence[Column], edges: Sequence[Sequence[float]], vocabulary: Vocabulary | None):
        self.columns, self.edges, self.vocabulary = list(columns), [list(column) for column in edges], vocabulary

    @classmethod
    def of(cls, table: Mapping[str, np.ndarray], categorical: Sequence[str] = (), drop: Sequence[str] = (),
           use: Sequence[str] = (), bins: int = 32) -> tuple[Encoder, list[str]]:
        """Fitted on training rows, with what is worth saying; DataError if nothing is left to learn from."""
        columns, notes = [], []
        for name, values in table.items():
            column, note = (
                (LeftOut(name, "on request"), f"{name}: left out on request")
                if name in drop
                else learn(name, values, name in categorical)
            )
            if name in use and isinstance(column, LeftOut):
                column, note = (Number(name, float(values.mean()), float(values.std()) or 1.0, float(np.median(values)),
                                       False), None)
            columns.append(column)
            notes += [note] if note else []
        if all(isinstance(column, LeftOut) for column in columns):
            raise DataError(explain("no column is left to learn from", got="; ".join(notes) or "only the target"))
        texts = [column for column in columns if isinstance(column, Words)]
        vocabulary = Vocabulary.of(_joined(table, texts), least=2, most=20_000) if texts else None
        made = cls(columns, [], vocabulary)
        made.edges = [_edges(values, bins) for values in made._numbers(table).T]
        return made, notes

    @property
    def used(self) -> list[str]:
        """Names of the columns that serving needs."""
        return [column.name for column in self.columns if not isinstance(column, LeftOut)]

    @property
    def sizes(self) -> list[int]:
        """How many values each category has."""
        return [size for column in self.columns for size in column.sizes]

    @property
    def words(self) -> int:
        """Size of the vocabulary of the free text, 0 without."""
        return len(self.vocabulary) if self.vocabulary is not None else 0

    def __call__(self, table: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(numbers float32 (n, f), categories int64 (n, c), ids of words int64 (n, w)); one column of zeros where there
        are none."""
        if missing := [name for name in self.used if name not in table]:
            raise DataError(explain(f"there is no column {missing[0]!r}", got=", ".join(list(table)[:12]),
                                    expected=", ".join(self.used[:12]),
                                    fix="give all columns that were there in training; a value may be missing (None or "
                                        "NaN)"))
        rows = len(next(iter(table.values())))
        categories = [column.categories(table[column.name]) for column in self.columns if column.sizes]
        texts = [column for column in self.columns if isinstance(column, Words)]
        words = self.vocabulary(_joined(table, texts)) if self.vocabulary is not None else np.zeros((rows, 1), np.int64)
        return (self._numbers(table).astype(np.float32), np.concatenate(categories, axis=1) if categories
                else np.zeros((rows, 1), np.int64), words)

    def _numbers(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = len(next(iter(table.values())))
        found = [column.numbers(table[column.name]) for column in self.columns if not isinstance(column, LeftOut)]
        joined = np.concatenate(found, axis=1) if found else np.zeros((rows, 0))
        return joined if joined.shape[1] else np.zeros((rows, 1))

    def to_config(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"columns": [{"kind": column.kind} | asdict(column) for column in self.columns], "edges": self.edges,
                "vocabulary": None if self.vocabulary is None else self.vocabulary.to_config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Encoder:
        """The encoder that `to_config` described."""
        columns = [KINDS[column["kind"]](**{key: tuple(value) if isinstance(value, list) else value
                                            for key, value in column.items() if key != "kind"})
                   for column in config["columns"]]
        vocabulary = None if config["vocabulary"] is None else Vocabulary.from_config(config["vocabulary"])
        return cls(columns, config["edges"], vocabulary)


def _joined(table: Mapping[str, np.ndarray], columns: Sequence[Column]) -> list[str]:
    """The free texts of each row, one after the other."""
    return [" ".join(row) for row in zip(*(as_texts(table[column.name]) for column in columns), strict=True)]


def _edges(values: np.ndarray, bins: int) -> list[float]:
    """Quantiles of the values as edges of at most `bins` bins; none for two values, which one number tells apart."""
    if len(np.unique(values)) <= 2:
        return []
    found = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)).astype(np.float32))
    return found.astype(np.float64).tolist()
