# SPDX-License-Identifier: Apache-2.0
"""What a search knows, as lines of JSON in a file: what was tried, what it reported, and how it ended.

Every line is one write at the end of the file, so that several processes may add to it and a kill at any moment costs
at most the line that was being written. Scores in the records are smaller-is-better; the file has what the user gave.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, explain, shown
from ..foundations.files import read_regular, reading

KINDS = ("search", "start", "report", "end", "repeat")


@dataclass
class Record:
    """One trial: its settings, what it reported by step, and how it ended ("running" until then).

    `state` is "finished", "pruned", "diverged" or "running"; `value` is what the training function returned (NaN where
    it
    did not); `score` is the same with its sign turned if larger values are better.

    >>> found = cr.tune(lambda trial: trial["x"] ** 2, {"x": cr.tuning.uniform(-1.0, 1.0)}, trials=5, repeats=0)
    >>> isinstance(found.best, cr.tuning.Record), found.best.state
    (True, 'finished')
    """

    number: int
    settings: dict[str, Any]
    state: str = "running"
    value: float = math.nan
    score: float = math.nan
    seconds: float = 0.0
    reports: dict[int, float] = field(default_factory=dict)


class Journal:
    """The file of one search."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.is_dir():
            raise DataError(explain("the journal of a search is a file", got=f"{path}, a folder",
                                    fix=f"{self.path / 'search.jsonl'}"))

    def write(self, **entry: Any) -> None:
        """Add one line."""
        line = json.dumps({key: _plain(value) for key, value in entry.items()}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def entries(self) -> Iterator[dict[str, Any]]:
        """All whole lines; DataError for a line that is not one of ours."""
        content = read_regular(self.path) if os.path.lexists(self.path) else b""
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                return  # the line that a kill cut off
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise self._foreign(number, line) from error
            if not isinstance(entry, dict) or entry.get("kind") not in KINDS:
                raise self._foreign(number, line)
            yield entry

    def _foreign(self, number: int, line: bytes) -> DataError:
        return DataError(explain(f"line {number} of {self.path} is not a line of a search",
                                 got=shown(line.decode("utf-8", "replace").rstrip(), 60),
                                 fix="name a new file, or the journal of an earlier tune(...)"))

    def repair(self) -> None:
        """Cut off a last line that was not written whole."""
        if self.path.exists():
            content = read_regular(self.path)
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(self.path, whole)

    def records(self, sign: float = 1.0) -> dict[int, Record]:
        """Number -> trial; scores are the values times `sign`."""
        found: dict[int, Record] = {}
        for entry in self.entries():
            with reading(self.path, "journal", "name a new file, or the journal of an earlier tune(...)"):
                _apply(found, entry, sign)
        return found

    def repeats(self, number: int) -> dict[int, float]:
        """Index -> what the trial of this number gave when it was repeated with a fresh seed."""
        with reading(self.path, "journal", "name a new file"):
            return {int(entry["index"]): _number(entry["value"]) for entry in self.entries()
                    if entry["kind"] == "repeat" and entry["number"] == number}


FIELDS: dict[str, dict[str, Any]] = {
    "search": {}, "start": {"number": int, "settings": dict},
    "report": {"number": int, "step": int, "value": (int, float, type(None))},
    "end": {"number": int, "state": str, "value": (int, float, type(None)), "seconds": (int, float)},
    "repeat": {"number": int, "index": int, "value": (int, float, type(None))},
}


def _checked(entry: Any) -> dict[str, Any]:
    """The entry, if it has what its kind has; else ValueError."""
    fields = FIELDS.get(entry.get("kind")) if isinstance(entry, dict) and isinstance(entry.get("kind"), str) else None
    if fields is None or not all(name in entry and isinstance(entry[name], kind) for name, kind in fields.items()):
        raise ValueError("not an entry of a search")
    return entry


def _apply(found: dict[int, Record], entry: dict[str, Any], sign: float) -> None:
    number = entry.get("number")
    if entry["kind"] == "start":
        found[int(number)] = Record(int(number), dict(entry["settings"]))  # type: ignore[arg-type]
    elif entry["kind"] == "report":
        _started(found, number).reports[entry["step"]] = sign * _number(entry["value"])
    elif entry["kind"] == "end":
        record = _started(found, number)
        record.state, record.value, record.seconds = (str(entry["state"]), _number(entry["value"]),
                                                      float(entry["seconds"]))
        record.score = sign * record.value


def _started(found: dict[int, Record], number: Any) -> Record:
    if number not in found:
        raise DataError(explain("the journal of the search is damaged",
                                got=f"a line of trial {number}, which was not started",
                                fix="name a new file, or the journal of an earlier tune(...)"))
    return found[number]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
