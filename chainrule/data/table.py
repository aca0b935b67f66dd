# SPDX-License-Identifier: Apache-2.0
"""CSV and its relatives: a text file comes in, a Table of trimmed texts with the line of each row goes out.

Encoding, delimiter (',' ';' tab '|'), decimal comma and header line are told (`Dialect`) or found out on the whole
file, and said in the notes; where a file can be read in two ways, it is asked which. A row with too few or too many
columns is a DataError with file and line; nothing is skipped silently. What the texts mean is decided in
`preprocess.py`; here stand only the two rules that both need: what is a number, and what is missing.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, explain
from .files import close_names, count, existing, fault, listed, read_bytes

DELIMITERS = ("\t", ";", "|", ",")
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", ".", "-"})
MISSING_TARGET = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null"})
SAMPLE = 200   # lines that are looked at before the whole file is
MOSTLY = 0.9   # above this share of numbers, the other values are taken for mistakes
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32",
                    b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
YEARS = range(1800, 2200)
POINT, COMMA = re.compile(r"[-+]?\d*\.\d+"), re.compile(r"[-+]?\d+,\d+")
THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+")


@dataclass(frozen=True)
class Dialect:
    """What is known of a text file beforehand; None is found out.

    Attributes:
        header: whether the first line names the columns.
        delimiter: one character.
        decimal: "." or ",".
        encoding: such as "utf-8" or "cp1252".
        missing: the words that mean that there is no value, besides the empty cell; case does not count.

    >>> cr.data.Dialect(delimiter=";", decimal=",")
    Dialect(header=None, delimiter=';', decimal=',', encoding=None, missing=None)
    """

    header: bool | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ",") or self.delimiter == self.decimal == ",":
            raise ArgumentError(explain("the decimal sign cannot be used", got=repr(self.decimal),
                                        expected='"." or ",", and not the delimiter'))
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ArgumentError(explain("the delimiter cannot be used", got=repr(self.delimiter),
                                        expected='one character, such as ";"'))
        if self.encoding is not None and not _known_encoding(self.encoding):
            raise ArgumentError(explain("the encoding is not known", got=repr(self.encoding),
                                        expected='such as "utf-8", "cp1252" or "utf-16-le"'))
        if isinstance(self.missing, str):
            raise ArgumentError(explain("the words for missing values are several", got=repr(self.missing),
                                        expected=f"[{self.missing!r}]"))

    @property
    def words(self) -> frozenset[str]:
        """The words that mean missing, in small letters."""
        return MISSING if self.missing is None else frozenset(str(word).strip().lower() for word in self.missing) | {""}


def _known_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        return False


def is_missing(text: str, words: frozenset[str] = MISSING) -> bool:
    """Whether a cell says that there is no value: '', '?', NA, NaN, null, …, or one of `words`."""
    return text.lower() in words


def parse_number(text: str, decimal: str = ".") -> float | None:
    """The number that a text is, or None; ``inf`` is a number here, so that it can be refused by name.

    Where the decimal sign is a comma, a text with a point is none: it may stand for thousands.
    """
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".")
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


@dataclass
class Table:
    """Rows of trimmed texts, all of one width, with column names and the line in the file at which each row starts."""

    path: str
    names: list[str]
    rows: list[list[str]]
    lines: list[int]
    header: bool
    delimiter: str = ","
    decimal: str = "."
    notes: list[str] = field(default_factory=list)
    target: int = -1
    missing: frozenset[str] = MISSING

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Table({self.path!r}: {count(len(self), 'row')} of {listed(self.names, 6)})"

    def column(self, index: int) -> list[str]:
        """All texts of one column."""
        return [row[index] for row in self.rows]

    def take(self, indices: Sequence[int] | np.ndarray) -> Table:
        """The table with only these rows."""
        rows, lines = [self.rows[i] for i in indices], [self.lines[i] for i in indices]
        return replace(self, rows=rows, lines=lines)

    def select(self, columns: Sequence[int]) -> Table:
        """The table with only these columns."""
        rows = [[row[i] for i in columns] for row in self.rows]
        return replace(self, names=[self.names[i] for i in columns], rows=rows)

    def place(self, row: int, column: int | None = None) -> str:
        """``adult.csv:18, column age``: where a cell or a row stands."""
        return f"{self.path}:{self.lines[row]}" + ("" if column is None else f", {column_label(self.names[column])}")


def column_label(name: str) -> str:
    """``column age``; the made-up names of a file without header line are left as they are."""
    return name if name.startswith("column_") else f"column {name}"


# ---- reading


def read_text(path: str | os.PathLike, encoding: str | None = None) -> str:
    """A text file, whatever its encoding (UTF-8, UTF-16, else Windows-1252 or Latin-1); `CharacterTokenizer(text)`
    makes numbers of it.

    >>> from pathlib import Path
    >>> size = Path("poem.txt").write_text("Grüße", encoding="utf-16")
    >>> cr.data.read_text("poem.txt")
    'Grüße'
    """
    path = existing(path)
    return _decode(path, read_bytes(path), Dialect(encoding=encoding).encoding)[0]


def read_table(path: str | os.PathLike, header: bool | None = None, delimiter: str | None = None,
               decimal: str | None = None, encoding: str | None = None, missing: Sequence[Any] | None = None) -> Table:
    """Read a delimited text file; what is not told (see `Dialect`) is found out on the whole file.

    The first line is taken for names if no cell of it is a number or empty while some column below is numeric; if no
    column is numeric, if no cell of it comes again below in its column; and if it holds whole numbers, such as years,
    beside a name above a column of numbers, where they lie outside their columns or count up. Raises DataError with
    file and line, and for a first line that may be names or a row.

    >>> from pathlib import Path
    >>> size = Path("table.csv").write_text("size,colour\\n1,red\\n2,blue\\n")
    >>> table = cr.data.read_table("table.csv")
    >>> type(table).__name__
    'Table'
    """
    return read_dialect(path, Dialect(header, delimiter, decimal, encoding, missing))


def read_dialect(path: str | os.PathLike, told: Dialect) -> Table:
    """`read_table` with what is known as one object."""
    path = existing(path)
    text, encoding = _decode(path, read_bytes(path), told.encoding)
    rows, lines, delimiter = _cells(path, text, told.delimiter)
    decimal = told.decimal or _find_decimal(rows, delimiter)
    has_header = looks_like_header(rows, decimal, told.words) if told.header is None else told.header
    if has_header is None:
        raise fault(f"{path}:{lines[0]}: the first line may name the columns or be a row", got=_shortened(rows[0]),
                    fix="say which: header=True or header=False")
    names = _unique_names(rows[0]) if has_header else [f"column_{i}" for i in range(len(rows[0]))]
    table = Table(str(path), names, rows[has_header:], lines[has_header:], has_header, delimiter, decimal,
                  missing=told.words)
    if not table.rows:
        raise fault(f"{path}: the file holds a header line and no rows below it")
    table.notes.append(_describe(table, encoding))
    return table


def _cells(path: Path, text: str, told: str | None) -> tuple[list[list[str]], list[int], str]:
    """Rows, their lines and the delimiter: the first of the likely ones that gives the whole file one width above 1."""
    likely = [told] if told else rank_delimiters(text)
    first: tuple[list[list[str]], list[int], str] | None = None
    for delimiter in likely:
        try:
            rows, lines = _parse(path, text, delimiter)
        except DataError:
            if delimiter == likely[-1] and first is None:
                raise
            continue
        if not rows:
            raise fault(f"{path}: the file holds no rows")
        first = first or (rows, lines, delimiter)
        if len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows):
            return rows, lines, delimiter
    rows, lines, delimiter = first  # type: ignore[misc]
    _check_width(path, rows, lines)
    return rows, lines, delimiter


def _describe(table: Table, encoding: str) -> str:
    shown = {"\t": "tab"}.get(table.delimiter, repr(table.delimiter))
    parts = [f"{table.path}: {count(len(table), 'row')}, {count(len(table.names), 'column')}, delimiter {shown}",
             "header line" if table.header else "no header line: columns are named column_0, column_1, …"]
    if table.header and (numbers := [name for name in table.names if name.isdigit()]):
        parts[-1] += f" (with the numbers {_shortened(numbers)} as names)"
    if table.decimal == ",":
        parts.append("decimal comma")
    if encoding not in ("utf-8", "utf-8-sig"):
        parts.append(f"read as {encoding}")
    return ", ".join(parts)


def _decode(path: Path, content: bytes, told: str | None) -> tuple[str, str]:
    marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    encoding = told or marked or "utf-8"
    if encoding in ("utf-8", "utf-8-sig") and (zero := content.find(b"\0")) >= 0:
        raise fault(f"{path}: this is not a text file: byte {zero:,} is zero",
                    expected="a CSV, .npz, idx or tar file, or a folder of images",
                    fix='if it is a text, name its encoding: encoding="utf-16-le"')
    try:
        return content.decode(encoding), encoding
    except (UnicodeError, ValueError) as error:
        if told or marked:
            raise fault(f"{path}: the text cannot be read as {encoding}", got=str(error),
                        fix="name another encoding, or copy the file again") from error
        return _western(content)


def _western(content: bytes) -> tuple[str, str]:
    """A text that is not UTF-8: Windows' own encoding if it has what would be control characters in Latin-1, such as €.
    """
    text = content.decode("latin-1")
    if re.search("[\x80-\x9f]", text):
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode("cp1252"), "cp1252"
    return text, "latin-1"


def rank_delimiters(text: str) -> list[str]:
    """The delimiters, those first that give most of the first lines one width above 1.

    Tab and ';' go before ',' where both do, because a file with decimal commas also falls apart evenly at its commas.
    """
    sample = [line for line in text[:100_000].splitlines()[:SAMPLE] if line.strip()]
    shares = {}
    for delimiter in DELIMITERS:
        try:
            widths = Counter(len(row) for row in csv.reader(sample, delimiter=delimiter, skipinitialspace=True))
        except csv.Error:
            widths = Counter()
        width, often = widths.most_common(1)[0] if widths else (0, 0)
        shares[delimiter] = often / len(sample) if width > 1 else 0.0
    found = [delimiter for delimiter in sorted(shares, key=lambda d: -shares[d]) if shares[delimiter] > 0]
    return found or [","]


def _parse(path: Path, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t",
                        strict=True)
    rows, lines, line = [], [], 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if cells and (len(cells) > 1 or cells[0]):
                rows.append(cells)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise fault(f"{path}:{line}: the row cannot be read", got=str(error),
                    fix="check the quotes: each opening quote needs a closing one, a quote inside is "
                        "doubled") from error
    return rows, lines


def _check_width(path: Path, rows: list[list[str]], lines: list[int]) -> None:
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise fault(f"{path}:{line}: the row has {count(len(row), 'column')}", got=_shortened(row),
                        expected=f"{count(width, 'column')}, as in line {lines[0]}",
                        fix="correct the line; a text that holds the delimiter needs quotes")


def _shortened(row: list[str]) -> str:
    text = ", ".join(row)
    return text if len(text) <= 80 else text[:79] + "…"


def _find_decimal(rows: list[list[str]], delimiter: str) -> str:
    """A comma if cells of the whole file are numbers with one and none has a point; beside the delimiter ',' it must be
    more than thousands, as in "1,234".
    """
    if any(POINT.fullmatch(cell) for row in rows for cell in row if "." in cell):
        return "."
    commas = (cell for row in rows for cell in row if "," in cell and COMMA.fullmatch(cell))
    return "," if any(delimiter != "," or not THOUSANDS.fullmatch(cell) for cell in commas) else "."


def looks_like_header(rows: list[list[str]], decimal: str = ".", missing: frozenset[str] = MISSING) -> bool | None:
    """Whether the first row names the columns of the others; the rule stands at `read_table`. None: it may."""
    first, below = rows[0], rows[1:]
    if not below:
        return False
    numbers = [i for i, cell in enumerate(first) if parse_number(cell, decimal) is not None
               and not is_missing(cell, missing)]
    words = [i for i in range(len(first)) if i not in set(numbers)]
    named = any(_is_numeric([row[i] for row in below], decimal, missing) for i in words
                if not is_missing(first[i], missing))
    if numbers:
        named = (named or any(first[i] == "" and _is_numeric([row[i] for row in below], decimal, frozenset())
                              for i in words))
        weak = any(first[i] and first[i] not in {row[i] for row in below} for i in words)
        return _named_by_numbers(first, below, numbers, named, weak, decimal)
    if named or any(_is_numeric([row[i] for row in below], decimal, missing) for i in words):
        return sum(is_missing(cell, missing) for cell in first) <= 1
    seen = [{row[i] for row in below} for i in words]
    return len(set(first)) == len(first) and all(cell not in column for cell, column in zip(first, seen, strict=True))


def _named_by_numbers(first: list[str], below: list[list[str]], numbers: list[int], named: bool, weak: bool,
                      decimal: str) -> bool | None:
    """The rule for a first row that holds numbers (in these columns); `named`: it also has a word, or nothing, above
    numbers;
    `weak`: it has a word that does not come again below.
    """
    names = [first[i] for i in numbers]
    whole = all(name.isdigit() for name in names) and len(set(names)) == len(names)
    counted = whole and len(names) > 2 and _counts(names) and not _counts([below[0][i] for i in numbers])
    outside = whole and all(_outside(float(first[i]), [row[i] for row in below], decimal) for i in numbers)
    if (
        not named
        and weak
        and len(names) > 1
        and outside
        and all(name.isdigit() and int(name) in YEARS for name in names)
    ):
        return True
    if not named:
        return counted and names[0] in ("0", "1") and names[-1] == str(int(names[0]) + len(names) - 1)
    if not whole:
        return None
    return True if counted or outside else None


def _counts(cells: list[str]) -> bool:
    """Whether whole numbers follow each other in equal steps."""
    if not all(cell.isdigit() for cell in cells):
        return False
    steps = {int(b) - int(a) for a, b in itertools.pairwise(cells)}
    return len(steps) == 1 and steps != {0}


def _outside(name: float, cells: list[str], decimal: str) -> bool:
    values = [value for cell in cells if (value := parse_number(cell, decimal)) is not None]
    return not values or not min(values) <= name <= max(values)


def _is_numeric(cells: list[str], decimal: str, missing: frozenset[str]) -> bool:
    """Whether nearly all values are numbers; a look at the first ones decides for most columns of texts."""
    for some in (cells[:SAMPLE], cells):
        present = [cell for cell in some if not is_missing(cell, missing)]
        numbers = sum(parse_number(cell, decimal) is not None for cell in present)
        if present and numbers <= MOSTLY / 2 * len(present):
            return False
    return bool(present) and numbers > MOSTLY * len(present)


def _unique_names(cells: list[str]) -> list[str]:
    """The cells as names: column_3 for an empty one, ``a_2``, ``a_3`` for those that were there before."""
    taken, times, names = set(cells), Counter[str](), []
    for i, cell in enumerate(cells):
        name = base = cell or f"column_{i}"
        times[base] += 1
        while times[base] > 1 and (name := f"{base}_{times[base]}") in taken:
            times[base] += 1
        taken.add(name)
        names.append(name)
    return names


# ---- columns


def find_column(table: Table, wanted: str | int, what: str = "target") -> int:
    """The index of a column given by name or by index (0-based, negative from the end, also as text)."""
    width = len(table.names)
    if isinstance(wanted, str) and wanted in table.names:
        return table.names.index(wanted)
    if isinstance(wanted, int) or re.fullmatch(r"-?\d+", wanted):
        if -width <= int(wanted) < width:
            return int(wanted) % width
        raise fault(f"{table.path}: there is no {what} column {wanted}", got=count(width, "column"),
                    expected=f"an index from {-width} to {width - 1}")
    close = close_names(wanted, table.names)
    raise fault(f"{table.path}: there is no {what} column {wanted!r}", got=listed(table.names),
                expected="a name, or an index from 0" + ("" if table.header else "; the file has no header line"),
                fix=f"did you mean {' or '.join(map(repr, close))}?" if close else None)


def align(table: Table, names: list[str]) -> Table:
    """The columns of a table in the order of `names`, found by name; DataError if one is not there."""
    places = {name: place for place, name in enumerate(table.names)}
    missing = [name for name in names if name not in places]
    if missing:
        close = close_names(missing[0], table.names)
        raise fault(f"{table.path}: there is no column {missing[0]!r}", got=listed(table.names),
                    expected=listed(names),
                    fix=f"is it {close[0]!r} here? Give both files the same header" if close else None)
    return table if table.names == names else table.select([places[name] for name in names])


def read_like(path: str | os.PathLike, names: list[str], header: bool, told: Dialect | None = None) -> Table:
    """Read a second file with the columns `names`, such as a test set: by its header line, else by position."""
    told = told or Dialect()
    table = read_dialect(path, replace(told, header=header))
    if header and not set(table.names) & set(names):
        table = read_dialect(path, replace(told, header=False))
    if table.header:
        return align(table, names)
    if len(table.names) != len(names):
        raise fault(f"{table.path}: wrong number of columns", got=str(len(table.names)),
                    expected=f"{len(names)}: {', '.join(names)}")
    table.names = list(names)
    return table
