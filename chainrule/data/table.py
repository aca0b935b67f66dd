# SPDX-License-Identifier: Apache-2.0
"""CSV and its relatives: a text file comes in, a Table of trimmed texts with the line of each row goes out.

Encoding, delimiter (',' ';' tab '|'), decimal comma and header line are found out and said in the notes. A row with too
few or too many columns is a DataError with file and line; nothing is skipped silently. What the texts mean is decided
in `preprocess.py`; here stand only the two rules that both need: what is a number, and what is missing.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .files import close_names, count, existing, fault, read_bytes

DELIMITERS = ("\t", ";", "|", ",")
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", ".", "-"})
MISSING_TARGET = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null"})
SAMPLE = 200
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value: '', '?', NA, NaN, null, …"""
    return text.lower() in MISSING


def parse_number(text: str, decimal: str = ".") -> float | None:
    """The number that a text is, or None; ``inf`` is a number here, so that it can be refused by name."""
    if decimal == ",":
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

    def __len__(self) -> int:
        return len(self.rows)

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


def read_text(path: str | os.PathLike) -> str:
    """A text file, whatever its encoding (UTF-8, UTF-16, else Latin-1); `CharacterTokenizer(text)` makes numbers of it."""
    path = existing(path)
    return _decode(path, read_bytes(path))[0]


def read_table(path: str | os.PathLike, header: bool | None = None) -> Table:
    """Read a delimited text file; `header` says whether the first line names the columns, None finds it out.

    The first line is taken for names if no cell of it is a number or empty while some column below is numeric; if no
    column is numeric, if no cell of it comes again below in its column. Raises DataError with file and line.
    """
    path = existing(path)
    text, encoding = _decode(path, read_bytes(path))
    delimiter = find_delimiter(text)
    rows, lines = _parse(path, text, delimiter)
    if not rows:
        raise fault(f"{path}: the file holds no rows")
    _check_width(path, rows, lines)
    decimal = _find_decimal(rows, delimiter)
    has_header = looks_like_header(rows, decimal) if header is None else header
    names = _unique_names(rows[0]) if has_header else [f"column_{i}" for i in range(len(rows[0]))]
    table = Table(str(path), names, rows[has_header:], lines[has_header:], has_header, delimiter, decimal)
    if not table.rows:
        raise fault(f"{path}: the file holds a header line and no rows below it")
    table.notes.append(_describe(table, encoding))
    return table


def _describe(table: Table, encoding: str) -> str:
    shown = {"\t": "tab", ",": "','", ";": "';'", "|": "'|'"}[table.delimiter]
    parts = [f"{table.path}: {count(len(table), 'row')}, {count(len(table.names), 'column')}, delimiter {shown}",
             "header line" if table.header else "no header line: columns are named column_0, column_1, …"]
    if table.decimal == ",":
        parts.append("decimal comma")
    if encoding not in ("utf-8", "utf-8-sig"):
        parts.append(f"read as {encoding}")
    return ", ".join(parts)


def _decode(path: Path, content: bytes) -> tuple[str, str]:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding != "utf-16" and (zero := content.find(b"\0")) >= 0:
        raise fault(f"{path}: this is not a text file: byte {zero:,} is zero",
                    expected="a CSV, .npz, idx or tar file, or a folder of images")
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"


def find_delimiter(text: str) -> str:
    """The delimiter that gives all first lines one width above 1; else the one that does so for most of them.

    Tab and ';' go before ',', because a file with decimal commas also falls apart evenly at its commas.
    """
    sample = [line for line in text[:100_000].splitlines()[:SAMPLE] if line.strip()]
    best, best_share = ",", 0.0
    for delimiter in DELIMITERS:
        widths = Counter(len(row) for row in csv.reader(sample, delimiter=delimiter, skipinitialspace=True))
        width, often = widths.most_common(1)[0] if widths else (0, 0)
        share = often / len(sample) if width > 1 else 0.0
        if share > best_share:
            best, best_share = delimiter, share
    return best


def _parse(path: Path, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
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
                    fix="check the quotes: each opening quote needs a closing one, a quote inside is doubled") from error
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
    if delimiter == ",":
        return "."
    cells = [cell for row in rows[:SAMPLE] for cell in row]
    points = any(re.fullmatch(r"[-+]?\d*\.\d+", cell) for cell in cells)
    return "," if not points and any(re.fullmatch(r"[-+]?\d+,\d+", cell) for cell in cells) else "."


def looks_like_header(rows: list[list[str]], decimal: str = ".") -> bool:
    """Whether the first row names the columns of the others; the rule stands at `read_table`."""
    first, below = rows[0], rows[1:SAMPLE]
    if not below or any(parse_number(cell, decimal) is not None for cell in first):
        return False
    columns = list(zip(*below, strict=True))
    if any(_is_numeric(column, decimal) for column in columns):
        return sum(is_missing(cell) for cell in first) <= 1
    return len(set(first)) == len(first) and all(cell not in column for cell, column in zip(first, columns, strict=True))


def _is_numeric(cells: Sequence[str], decimal: str) -> bool:
    present = [cell for cell in cells if not is_missing(cell)]
    return bool(present) and all(parse_number(cell, decimal) is not None for cell in present)


def _unique_names(cells: list[str]) -> list[str]:
    names: list[str] = []
    for i, cell in enumerate(cells):
        name = cell or f"column_{i}"
        while name in names:
            name += "_2"
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
    raise fault(f"{table.path}: there is no {what} column {wanted!r}", got=", ".join(table.names),
                expected="a name, or an index from 0" + ("" if table.header else "; the file has no header line"),
                fix=f"did you mean {' or '.join(map(repr, close))}?" if close else None)


def align(table: Table, names: list[str]) -> Table:
    """The columns of a table in the order of `names`, found by name; DataError if one is not there."""
    missing = [name for name in names if name not in table.names]
    if missing:
        close = close_names(missing[0], table.names)
        raise fault(f"{table.path}: there is no column {missing[0]!r}", got=", ".join(table.names),
                    expected=", ".join(names),
                    fix=f"is it {close[0]!r} here? Give both files the same header" if close else None)
    return table if table.names == names else table.select([table.names.index(name) for name in names])


def read_like(path: str | os.PathLike, names: list[str], header: bool) -> Table:
    """Read a second file with the columns `names`, such as a test set: by its header line, else by position."""
    table = read_table(path, header=header)
    if header and not set(table.names) & set(names):
        table = read_table(path, header=False)
    if table.header:
        return align(table, names)
    if len(table.names) != len(names):
        raise fault(f"{table.path}: wrong number of columns", got=str(len(table.names)),
                    expected=f"{len(names)}: {', '.join(names)}")
    table.names = list(names)
    return table
