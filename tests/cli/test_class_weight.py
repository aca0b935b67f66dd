# SPDX-License-Identifier: Apache-2.0
"""`train --class-weight`: what is learnt is what `fit` learns with these weights, and what does not fit is told before
the work."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

from chainrule.cli.app import app
from chainrule.errors import ArgumentError


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two classes that overlap, 10 to 1."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "rare.csv"
    rows = [f"{rng.normal(0):.3f},good" for _ in range(500)] + [f"{rng.normal(1.2):.3f},not=good" for _ in range(50)]
    path.write_text("x,kind\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def train(table, folder, *options):
    return call("train", table, "--epochs", 12, "--output", folder, "--progress", "none", *options)


def rare(folder, table):
    """How many of the samples are said to be of the rare class."""
    return call("predict", folder, table).count("not=good")


def test_balanced(table, tmp_path):
    plain = train(table, tmp_path / "plain")
    assert "--class-weight balanced" in plain and "class weights" not in plain
    output = train(table, tmp_path / "balanced", "--class-weight", "balanced")
    assert (
        "class weights (balanced): good 0.55" in output and "not=good 5.5" in output and "always saying" not in output
    )
    assert rare(tmp_path / "balanced", table) > 3 * rare(tmp_path / "plain", table)
    assert tomllib.loads((tmp_path / "balanced"
                          / "config.toml").read_text())["settings"]["class_weight"] == ["balanced"]


def test_pairs(table, tmp_path):
    output = train(table, tmp_path / "pairs", "--class-weight", "not=good=20", "--class-weight", "good=0.5")
    assert "class weights: good 0.5, not=good 20" in output
    assert rare(tmp_path / "pairs", table) > 250
    again = call("train", "--config", tmp_path / "pairs", "--output", tmp_path / "again", "--progress", "none")
    assert "class weights: good 0.5" in again
    assert (tmp_path / "again"
            / "model.safetensors").read_bytes() == (tmp_path / "pairs" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("given", "text"), [
    (["balance"], "LABEL=WEIGHT"), (["good=-1"], "0 or more"), (["good=nan"], "0 or more"), (["good=inf"], "0 or more"),
    (["good="], "LABEL=WEIGHT"), (["=2"], "not in the data"),
    (["god=2"], "good"), (["balanced", "good=2"], "LABEL=WEIGHT"), (["good=2", "good=3"], "twice")])
def test_what_does_not_fit(table, tmp_path, given, text):
    with pytest.raises(ArgumentError, match=text):
        train(table, tmp_path / "run", *[part for word in given for part in ("--class-weight", word)])
    assert not (tmp_path / "run").exists()


def test_a_regression_has_no_classes(table, tmp_path):
    with pytest.raises(ArgumentError, match="regression"):
        train(table, tmp_path / "run", "--target", "x", "--class-weight", "balanced")
