# SPDX-License-Identifier: Apache-2.0
"""Logs read back what was written, and a resumed log is the log of an unbroken run."""

from __future__ import annotations

import csv
import json
import math
import sys
import warnings

import numpy as np
import pytest

from chainrule import errors
from chainrule.train.logs import CsvLog, JsonLinesLog, TensorBoardLog, read_history


def record(epoch, **more):
    return {"epoch": epoch, "loss": 1 / (epoch + 2), "validation_accuracy": np.float32(0.1 * epoch), **more}


def test_json_lines_are_strict_json_and_nan_is_null(tmp_path):
    with JsonLinesLog(tmp_path / "run" / "history.jsonl") as log:
        log.write(record(1, grad_norm=math.nan, note="ä", parts={"a": [1.5, -math.inf]}))
        log.write(record(2, grad_norm=np.float64("inf"), count=np.int64(3)))
    forbid = lambda text: pytest.fail(f"{text} is not JSON")
    lines = [json.loads(line, parse_constant=forbid) for line in log.path.read_text(encoding="utf-8").splitlines()]
    assert lines[0]["grad_norm"] is None and lines[0]["parts"] == {"a": [1.5, None]} and lines[0]["note"] == "ä"
    accuracy = float(np.float32(0.2))
    assert lines[1] == {"epoch": 2, "loss": 0.25, "validation_accuracy": accuracy, "grad_norm": None, "count": 3}
    history = read_history(log.path)
    assert math.isnan(history[0]["grad_norm"]) and history[1]["loss"] == 0.25


@pytest.mark.parametrize("kind", [JsonLinesLog, CsvLog])
@pytest.mark.parametrize("rest", ["", '{"epoch": 6, "lo', "6,0.1"])
def test_resumed_log_is_that_of_an_unbroken_run(tmp_path, kind, rest):
    unbroken = kind(tmp_path / "unbroken")
    for epoch in range(1, 8):
        unbroken.write(record(epoch))
    broken = kind(tmp_path / "broken")
    for epoch in range(1, 6):
        broken.write(record(epoch))
    with open(broken.path, "a") as stream:
        stream.write(rest)
    resumed = kind(tmp_path / "broken", resumed_epoch=3)
    for epoch in range(4, 8):
        resumed.write(record(epoch))
    assert resumed.path.read_bytes() == unbroken.path.read_bytes()


@pytest.mark.parametrize("kind", [JsonLinesLog, CsvLog])
def test_a_new_log_replaces_the_old_one_and_gaps_are_told(tmp_path, kind):
    kind(tmp_path / "log").write(record(1))
    with pytest.raises(errors.DataError, match=r"(?s)records up to epoch 1.*expected *records up to epoch 4"):
        kind(tmp_path / "log", resumed_epoch=4)
    assert (tmp_path / "log").stat().st_size > 0
    kind(tmp_path / "log")
    assert (tmp_path / "log").read_text() == ""
    kind(tmp_path / "log", resumed_epoch=0).write(record(1))
    kind(tmp_path / "begun later", resumed_epoch=4).write(record(5))
    kind(tmp_path / "begun later", resumed_epoch=5).write(record(6))
    with pytest.raises(errors.ArgumentError, match="number of its epoch"):
        kind(tmp_path / "log").write({"loss": 1.0})


def test_damage_before_the_end_is_told(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(errors.DataError, match="line 2 is not JSON"):
        read_history(path)
    path.write_text("[1]\n")
    with pytest.raises(errors.DataError, match="not a record"):
        JsonLinesLog(path, resumed_epoch=1)
    assert path.read_text() == "[1]\n"


def test_csv_reads_back_exactly_and_grows_columns(tmp_path):
    log = CsvLog(tmp_path / "history.csv")
    log.write({"epoch": 1, "loss": 1 / 3})
    log.write({"epoch": 2, "loss": math.nan, "note": 'a "b", c'})
    log.write({"epoch": 3})
    with open(log.path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[0]["loss"]) == 1 / 3 and rows[1]["loss"] == "nan" and rows[2]["loss"] == ""
    assert [row["note"] for row in rows] == ["", 'a "b", c', ""]


def test_tensorboard_reads_the_events_back(tmp_path):
    pytest.importorskip("tensorboard")
    with TensorBoardLog(tmp_path) as log:
        for epoch in range(1, 6):
            log.write(record(epoch, note="text is left out"))
    with TensorBoardLog(tmp_path, resumed_epoch=3) as log:
        log.write(record(4, loss=math.nan))
    events = _accumulated(tmp_path)
    assert sorted(events.Tags()["scalars"]) == ["training/loss", "validation/accuracy"]
    accuracy = [(event.step, event.value) for event in events.Scalars("validation/accuracy")]
    assert accuracy == [(epoch, pytest.approx(0.1 * epoch)) for epoch in range(1, 5)]
    assert math.isnan(events.Scalars("training/loss")[-1].value)


def _accumulated(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    return EventAccumulator(str(path)).Reload()


def test_missing_tensorboard_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(errors.MissingExtra, match=r"pip install 'chainrule\[log\]'"):
        TensorBoardLog(tmp_path)
