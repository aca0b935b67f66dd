# SPDX-License-Identifier: Apache-2.0
"""What a run writes down: one record for each epoch, as JSON lines, as CSV, or as TensorBoard events.

In come records such as {"epoch": 3, "loss": 0.12, "accuracy": 0.97, "validation_loss": 0.2}, out come lines that are on
the disk when `write` returns. A log opened with `resumed_epoch=e` keeps the records up to epoch e and forgets what a
broken-off run wrote after them, half a line at the end included, so that a resumed run leaves the log of an unbroken
one.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
import warnings
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import ArgumentError, DataError, MissingExtra, explain
from ..foundations.files import read_regular, reading, write_atomically

__all__ = ["CsvLog", "JsonLinesLog", "Log", "TensorBoardLog", "read_history"]


class Log:
    """Base of all logs: `write` a record, `close` in the end; usable in a `with` statement."""

    def write(self, record: dict) -> None:
        """Append the record of one epoch; it must hold its number under "epoch". NumPy scalars count as numbers."""
        raise NotImplementedError

    def close(self) -> None:
        """Write out what is left and let the file go."""

    def __enter__(self):
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


# ---- JSON lines


class JsonLinesLog(Log):
    """One JSON object a line (`history.jsonl`); NaN and infinities, which JSON does not know, are written as null.

    Without `resumed_epoch` an old file is replaced; with it, a file that is not there yet is begun. Raises DataError if
    the file to resume is damaged before its last line, or ends before the resumed epoch.
    """

    def __init__(self, path: str | os.PathLike[str], resumed_epoch: int | None = None):
        self.path = Path(path)
        resumes = resumed_epoch is not None and self.path.exists()
        kept = _until(_read_objects(self.path), resumed_epoch, self.path) if resumes else []
        write_atomically(self.path, "".join(_json_line(record) for record in kept))

    def write(self, record: dict) -> None:
        _append(self.path, _json_line(_plain(record)))


def read_history(path: str | os.PathLike[str]) -> list[dict]:
    """The records of a history.jsonl, null read as NaN; half a line at the end (a run broken off) is left out.

    Raises DataError for a line before the end that is no JSON object, FileNotFoundError if there is no file.
    """
    return [{key: math.nan if value is None else value for key, value in record.items()}
            for record in _read_objects(Path(path))]


def _read_objects(path: Path) -> list[dict]:
    if not path.exists():
        raise FileNotFoundError(f"there is no such file: {path}")
    lines = read_regular(path).split(b"\n")
    whole = lines[:-1]  # what follows the last line feed was never finished
    return [_parse(line, number, path) for number, line in enumerate(whole, 1) if line.strip()]


def _parse(line: bytes, number: int, path: Path) -> dict:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(explain(f"{path}, line {number} is not JSON", got=repr(line[:60]), expected=str(error),
                                fix="remove the line, or start a new run")) from error
    if not isinstance(record, dict):
        raise DataError(explain(f"{path}, line {number} is not a record", got=repr(line[:60]),
                                expected="a JSON object"))
    return record


def _json_line(record: dict) -> str:
    return json.dumps(_without_nan(record), ensure_ascii=False, allow_nan=False) + "\n"


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- comma-separated values


class CsvLog(Log):
    """A table with one column for each key; a key that turns up later gets its column, and the rows before stay empty.

    Numbers are written so that they read back exactly; NaN as "nan". Resuming as for JsonLinesLog.
    """

    def __init__(self, path: str | os.PathLike[str], resumed_epoch: int | None = None):
        self.path = Path(path)
        self.columns: list[str] = []
        resumes = resumed_epoch is not None and self.path.exists()
        rows = _until(self._read(), resumed_epoch, self.path) if resumes else []
        self._rewrite(rows)

    def write(self, record: dict) -> None:
        record = _plain(record)
        new = [key for key in record if key not in self.columns]
        if new:
            rows = self._read()
            self.columns += new
            self._rewrite([*rows, record])
        else:
            _append(self.path, self._lines([record]))

    def _read(self) -> list[dict]:
        with reading(self.path, "log", "name a new file"):
            text = read_regular(self.path).decode("utf-8")
            reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
            rows = list(reader)
        self.columns = list(reader.fieldnames or [])
        return rows

    def _rewrite(self, rows: list[dict]) -> None:
        header = self._lines([dict(zip(self.columns, self.columns, strict=True))]) if self.columns else ""
        write_atomically(self.path, header + self._lines(rows))

    def _lines(self, rows: list[dict]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns, restval="", lineterminator="\n").writerows(rows)
        return text.getvalue()


# ---- TensorBoard


class TensorBoardLog(Log):
    """Scalars for TensorBoard, one tag for each key with a number, at the step "epoch"; NaN is shown as such.

    Names starting with "validation_" get the tag "validation/…", all others "training/…". With `resumed_epoch`
    TensorBoard is told to forget the steps after it. Raises MissingExtra without the package tensorboard.
    """

    def __init__(self, directory: str | os.PathLike[str], resumed_epoch: int | None = None):
        self.proto, writer = _tensorboard()
        Path(directory).mkdir(parents=True, exist_ok=True)
        self.writer = writer(str(directory))
        if resumed_epoch is not None:
            start = self.proto.SessionLog(status=self.proto.SessionLog.START)
            self._add(step=resumed_epoch + 1, session_log=start)

    def write(self, record: dict) -> None:
        record = _plain(record)
        values = [self.proto.Summary.Value(tag=_tag(key), simple_value=float(value)) for key, value in record.items()
                  if key != "epoch" and isinstance(value, int | float)]
        self._add(step=record["epoch"], summary=self.proto.Summary(value=values))
        self.writer.flush()

    def _add(self, **fields) -> None:
        self.writer.add_event(self.proto.Event(wall_time=time.time(), **fields))

    def close(self) -> None:
        self.writer.close()


class _Proto:
    """The four message types of an event file, collected from the modules that define them."""

    def __init__(self, event, summary):
        self.Event, self.SessionLog, self.Summary = event.Event, event.SessionLog, summary.Summary


def _tensorboard():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # those of its own dependencies at import
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise MissingExtra("writing TensorBoard events", "tensorboard", "log") from error
    return _Proto(event_pb2, summary_pb2), EventFileWriter


def _tag(key: str) -> str:
    part, name = ("validation", key.removeprefix("validation_")) if key.startswith("validation_") else ("training", key)
    return f"{part}/{name}"


# ---- what all logs share


def _plain(record: dict) -> dict:
    """The record with Python's own numbers; raises ArgumentError without a whole number of the epoch."""
    plain = {str(key): _plain_value(value) for key, value in record.items()}
    if type(plain.get("epoch")) is not int:
        raise ArgumentError(explain("a record of a log needs the number of its epoch", got=repr(plain.get("epoch")),
                                    expected='an integer under "epoch"', fix='log.write({"epoch": epoch, **values})'))
    return plain


def _plain_value(value):
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return float(value) if hasattr(value, "__float__") and not isinstance(value, int | float) else value


def _until(records: list[dict], epoch: int, path: Path) -> list[dict]:
    """The records up to this epoch; all of them must be there."""
    numbers = [int(record["epoch"]) if str(record.get("epoch", "")).isdigit() else -1 for record in records]
    last = max(numbers, default=0)
    if last < epoch:
        raise DataError(explain(f"{path} ends before the epoch to resume", got=f"records up to epoch {last}",
                                expected=f"records up to epoch {epoch}",
                                fix="resume from an earlier checkpoint, or start a new log"))
    return [record for record, number in zip(records, numbers, strict=True) if number <= epoch]


def _append(path: Path, text: str) -> None:
    """One write at the end of the file, on the disk when this returns."""
    with open(path, "ab") as stream:
        stream.write(text.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())
