# SPDX-License-Identifier: Apache-2.0
"""The command line on real and made-up data: what it writes, what it says, and how it tells mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

import chainrule as cr
from chainrule.cli.app import app
from chainrule.errors import ChainruleError

RUN_FILES = {"model.safetensors", "data.safetensors", "config.toml", "history.jsonl", "checkpoint.safetensors",
             "result.json", "learning_curves.png"}


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    result = call("train", "digits", "--epochs", 6, "--output", folder, "--progress", "lines")
    return folder, result.output


def test_digits_run_folder(digits_run):
    folder, output = digits_run
    assert {p.name for p in folder.iterdir()} == RUN_FILES | {"confusion_matrix.png", "mistakes.png"}
    result = json.loads((folder / "result.json").read_text())
    assert result["accuracy"]["value"] > 0.95
    assert result["accuracy"]["low"] < result["accuracy"]["value"] < result["accuracy"]["high"]
    assert len((folder / "history.jsonl").read_text().splitlines()) == 6
    assert tomllib.loads((folder / "config.toml").read_text())["settings"]["epochs"] == 6
    assert "95 % interval" in output and "360 held-out samples" in output


def test_same_seed_same_bits(digits_run, tmp_path):
    call("train", "--config", digits_run[0] / "config.toml", "--output", tmp_path / "again", "--progress", "none")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (digits_run[0] / "model.safetensors").read_bytes()


def test_evaluate_agrees_with_training(digits_run):
    value = json.loads((digits_run[0] / "result.json").read_text())["accuracy"]["value"]
    assert f"{value * 100:.1f} %" in call("evaluate", digits_run[0]).output


def test_predict_arrays_and_pictures(digits_run, tmp_path):
    images = cr.data.digits()
    np.save(tmp_path / "some.npy", images.x_test[:20])
    lines = call("predict", digits_run[0], tmp_path / "some.npy").output.strip().splitlines()
    right = sum(line.split("\t")[1] == images.class_names[label]
                for line, label in zip(lines, images.y_test, strict=False))
    assert len(lines) == 20 and right >= 18
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(images.x_test[0, :, :, 0]).save(tmp_path / "one.png")
    assert call("predict", digits_run[0], tmp_path / "one.png").output.split("\t")[1] == lines[0].split("\t")[1]


def test_a_table_with_gaps_and_categories(tmp_path):
    generator = np.random.default_rng(0)
    rows = ["age,town,member"]
    for _ in range(300):
        age, town = generator.integers(18, 80), generator.choice(["Bonn", "Köln", "?"])
        rows.append(f"{'' if generator.random() < 0.1 else age},{town},{'yes' if age > 45 else 'no'}")
    (tmp_path / "people.csv").write_text("\n".join(rows), encoding="utf-8")
    output = call("train", tmp_path / "people.csv", "--target", "member", "--epochs", 15, "--output", tmp_path / "run",
                  "--progress", "none").output
    assert "missing" in output and "town" in output
    assert json.loads((tmp_path / "run" / "result.json").read_text())["accuracy"]["value"] > 0.8
    predicted = call("predict", tmp_path / "run", tmp_path / "people.csv").output.strip().splitlines()
    assert len(predicted) == 300


def test_regression(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 3)).astype(np.float32)
    np.savez(tmp_path / "r.npz", x=x, y=(1000 + 50 * x @ [1.0, -2.0, 0.5]).astype(np.float32))
    call("train", tmp_path / "r.npz", "--epochs", 30, "--output", tmp_path / "run", "--progress", "none")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["r2"]["value"] > 0.95 and (tmp_path / "run" / "regression.png").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (("train", "digits", "--epochs", "-1"), "--epochs is too small"),
    (("train", "digits", "--model", "rnn"), "no such model"),
    (("train", "nowhere.csv"), "nowhere.csv"),
    (("evaluate", "nowhere"), "nowhere"),
])
def test_mistakes(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChainruleError, match=message):
        call(*arguments)
    assert not list(tmp_path.iterdir())


def test_a_mistake_ends_without_a_traceback(tmp_path):
    done = subprocess.run([sys.executable, "-m", "chainrule", "train", "nowhere.npz"], capture_output=True, text=True,
                          cwd=tmp_path)
    assert done.returncode == 1 and "error:" in done.stderr and "Traceback" not in done.stderr


def test_interrupted_and_resumed(tmp_path, digits_run):
    code = ("import importlib, signal\nf = importlib.import_module('chainrule.train.fit')\n"
            "old = f.Training._done\n"
            "def done(self, steps):\n    old(self, steps)\n    if self.step_number >= 100: "
            "signal.raise_signal(signal.SIGINT)\n"
            "f.Training._done = done\nimport chainrule.cli; chainrule.cli.main()")
    done = subprocess.run([sys.executable, "-c", code, "train", "digits", "--epochs", "6", "--output", "r",
                           "--progress", "lines"],
                          capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "--resume r" in done.stdout, done.stdout + done.stderr
    call("train", "--resume", tmp_path / "r", "--progress", "none")
    assert (tmp_path / "r" / "model.safetensors").read_bytes() == (digits_run[0] / "model.safetensors").read_bytes()
