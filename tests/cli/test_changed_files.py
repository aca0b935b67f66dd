# SPDX-License-Identifier: Apache-2.0
"""Runs whose file has changed: `evaluate` and `--resume` use what was saved, and say what is not as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from chainrule.cli.app import app
from chainrule.errors import ChainruleError

ROWS = 300


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def lines(seed=0, rows=ROWS, scale=1.0):
    a = np.random.default_rng(seed).normal(size=(rows, 3))
    return [f"{u * scale},{v},{w},{'yn'[int(v > 0)]}" for u, v, w in a]


def write(path, rows):
    path.write_text("\n".join(["a,b,c,y", *rows]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed")
    write(folder / "t.csv", lines())
    call("train", folder / "t.csv", "--output", folder / "run", "--epochs", 10, "--progress", "none")
    return folder


def accuracy(trained):
    return json.loads((trained / "run" / "result.json").read_text())["accuracy"]["value"]


def test_the_same_samples_are_measured_however_the_file_grows(trained):
    expected = f"accuracy  {accuracy(trained) * 100:.1f} %"
    old = lines()
    for rows in (old, old[::-1], [*lines(1, 100), *old], [*old, *old]):
        write(trained / "t.csv", rows)
        output = call("evaluate", trained / "run")
        assert expected in output and f"on {ROWS // 5} samples" in output
        assert ("the data changed since the training" in output) == (len(rows) > ROWS)


def test_samples_that_are_gone_are_said(trained):
    write(trained / "t.csv", lines()[:200])
    output = call("evaluate", trained / "run")
    assert "in the test part" in output and f"on {ROWS // 5} samples" not in output


def test_another_unit_is_not_measured_as_if_nothing_had_happened(trained):
    write(trained / "t.csv", lines(scale=1000))
    with pytest.raises(ChainruleError, match=r"(?s)the data changed: none of the 60 samples.*evaluate .*run .*t.csv"):
        call("evaluate", trained / "run")


def test_other_data_say_how_much_of_them_was_trained_on(trained):
    write(trained / "other.csv", [*lines()[:100], *lines(7, 100)])
    output = call("evaluate", trained / "run", trained / "other.csv")
    assert "of the 200 samples were trained on" in output and "on 200 samples" in output
    write(trained / "other.csv", lines(7, 100))
    assert "trained on" not in call("evaluate", trained / "run", trained / "other.csv")


def test_going_on_uses_the_samples_of_the_beginning_or_refuses(trained, tmp_path):
    write(trained / "t.csv", lines())
    done = (trained / "run" / "model.safetensors").read_bytes()
    call("train", "--config", trained / "run" / "config.toml", "--output", tmp_path / "r", "--progress", "none")
    (tmp_path / "r" / "checkpoint.safetensors").unlink()
    write(trained / "t.csv", [*lines(3, 50), *lines()[::-1]])
    output = call("train", "--resume", tmp_path / "r", "--progress", "none")
    assert "before its first checkpoint" in output and "50 samples new" in output
    assert (tmp_path / "r" / "model.safetensors").read_bytes() == done
    write(trained / "t.csv", lines()[5:])
    with pytest.raises(ChainruleError, match="the data changed: the run cannot go on"):
        call("train", "--resume", tmp_path / "r", "--progress", "none")
    assert (tmp_path / "r" / "model.safetensors").read_bytes() == done


def test_other_seeds_are_measured_on_the_same_samples(trained, tmp_path):
    from chainrule.cli.kept import read_kept

    write(trained / "t.csv", lines())
    call("train", trained / "t.csv", "--output", tmp_path / "r", "--epochs", 1, "--seed", 5, "--progress", "none")
    assert np.array_equal(read_kept(tmp_path / "r").split["test"].whole, read_kept(trained / "run").split["test"].whole)
