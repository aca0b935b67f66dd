# SPDX-License-Identifier: Apache-2.0
"""Whatever a user types: an option has an effect or is refused, a mistake is told in the words of the command line,
nothing raw gets out."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

import chainrule as cr
from chainrule.cli.app import FIELDS, app
from chainrule.cli.settings import Settings
from chainrule.cli.words import in_own_words
from chainrule.errors import ChainruleError
from chainrule.foundations.files import alone

STUMP = ("--epochs", "1", "--hidden", "4", "--progress", "none")
INTERPRETED = ("--epochs", "1", "--backend", "reference", "--progress", "none")


def call(*arguments):
    """(exit status, all that was said); ours are status 1, everything else that is raised fails the test."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, ChainruleError):
        return 1, in_own_words(str(result.exception))
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, repr(result.exception))
    return result.exit_code, result.output + result.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table, arrays, a damaged file, an empty one, a run and a run without a model."""
    folder = tmp_path_factory.mktemp("typed")
    r = np.random.default_rng(0)
    rows = [f"{i},{a:.4f},{t},2024-0{1 + i % 9}-1{i % 7},{'yes' if a > 0.8 else 'no'}"
            for i, (a, t) in enumerate(zip(r.normal(size=120), r.choice(["Bonn", "Ulm"], 120), strict=True))]
    (folder / "t.csv").write_text("\n".join(["id,size,town,day,member", *rows]), encoding="utf-8")
    np.savez(folder / "a.npz", x=r.random((60, 5)).astype(np.float32), y=r.integers(0, 3, 60))
    (folder / "damaged.npz").write_bytes((folder / "a.npz").read_bytes()[:300])
    (folder / "empty").write_text("")
    (folder / "nothing").mkdir()
    assert call("train", folder / "t.csv", *STUMP, "--output", folder / "run")[0] == 0
    (folder / "begun").mkdir()
    (folder / "begun" / "config.toml").write_text((folder / "run" / "config.toml").read_text())
    (folder / "begun" / "data.safetensors").write_bytes((folder / "run" / "data.safetensors").read_bytes())
    return folder


SOURCES = ["t.csv", "a.npz", "damaged.npz", "empty", "nothing", "absent.csv", "run", "t.csv/x", "digits", "", "-", "\0",
           "x" * 300]
OPTIONS = [("--target", "member"), ("--target", "absent"), ("--test", "a.npz"), ("--test", "absent"), ("--drop", "id"),
           ("--drop", "absent"),
           ("--resize", "0"), ("--resize", "8"), ("--model", "cnn"), ("--model", "mpl"), ("--hidden", "0"),
           ("--dropout", "1.5"), ("--dropout", "nan"),
           ("--epochs", "0"), ("--epochs", "-1"), ("--batch-size", "0"), ("--batch-size", "100000"),
           ("--learning-rate", "0"), ("--learning-rate", "inf"),
           ("--weight-decay", "-1"), ("--validation-fraction", "1"), ("--validation-fraction", "nan"),
           ("--patience", "0"), ("--seed", "-1"), ("--seed", str(2**70)),
           ("--backend", "cuda"), ("--output", "t.csv"), ("--output", "t.csv/x"), ("--output", "run"),
           ("--config", "absent"), ("--config", "t.csv"),
           ("--resume", "absent"), ("--resume", "nothing"), ("--resume", "t.csv"), ("--progress", "loud"),
           ("--task", "clustering"), ("--categorical", "absent"),
           ("--delimiter", ";;"), ("--decimal", "x"), ("--encoding", "klingon"), ("--header",), ("--missing", "no"),
           ("--epochs", "three"), ("--unknown",)]


@pytest.mark.parametrize("option", OPTIONS, ids=" ".join)
def test_no_option_meets_a_source_with_a_traceback(place, option, monkeypatch, tmp_path):
    monkeypatch.chdir(place)
    for source in ("t.csv", "a.npz"):
        status, said = call("train", source,
                            *(() if option[0] in ("--epochs", "--hidden", "--output", "--progress", "--resume",
                                                  "--config") else ("--output", tmp_path / source, *STUMP)), *option)
        assert status in (0, 1, 2) and (status == 0 or len(said.strip()) > 20)


@pytest.mark.parametrize("source", SOURCES, ids=repr)
def test_no_source_ends_with_a_traceback(place, source, monkeypatch, tmp_path):
    monkeypatch.chdir(place)
    assert call("train", source, "--output", tmp_path / "r",
                *STUMP)[0] == (0 if source in ("t.csv", "a.npz", "digits") else 1)
    for command in ("evaluate", "predict"):
        for run in ("run", "begun", source):
            status, _ = call(command, run, *(() if command == "evaluate" and source == "digits" else (source,)))
            assert status in (0, 1, 2)


def test_misspelt_words_are_answered_with_what_was_meant(place):
    assert "--epochs" in call("train", "digits", "--epoch", 3)[1]
    assert "train" in call("trian", "digits")[1]
    assert "'mlp'" in call("train", "digits", "--model", "mpl")[1]
    assert "size" in call("train", place / "t.csv", "--target", "sise")[1]


def test_options_that_change_nothing_are_refused(place, tmp_path):
    for arguments in (("digits", "--target", "y"), ("digits", "--test", place / "a.npz"),
                      (place / "a.npz", "--resize", 8), (place / "a.npz", "--decimal", ","),
                      (place / "t.csv", "--resize", 8), (place / "t.csv", "--model", "cnn"),
                      ("digits", "--hidden", 8, "--hidden", 8),
                      (place / "t.csv", "--patience", 2, "--validation-fraction", 0), (place / "a.npz", "--drop", "x")):
        assert call("train", *arguments, "--output", tmp_path / "r")[0] == 1, arguments
    assert not (tmp_path / "r").exists()


def test_an_option_given_twice_is_refused_where_the_last_would_win(place):
    for option in ("--target", "--epochs", "--output", "--test"):
        status, said = call("train", place / "t.csv", option, "1", option, "2")
        assert status == 2 and "more than once" in said


OTHER = {"source": "a.npz", "target": "size", "test": "a.npz", "drop": "size", "categorical": "size",
         "task": "regression", "header": None, "delimiter": ";",
         "decimal": ",", "encoding": "latin-1", "missing": "zz", "resize": 7, "validation_fraction": 0.2,
         "model": "mlp", "hidden": 9, "dropout": 0.3, "epochs": 2,
         "batch_size": 16, "learning_rate": 0.02, "weight_decay": 0.5, "class_weight": "balanced", "patience": 3,
         "seed": 4, "backend": "reference",
         "devices": 2}


def test_every_setting_is_an_option_and_reaches_the_run(place, monkeypatch):
    """What is given is in the settings of the run, alone, beside --config, and is refused beside --resume."""
    seen = []
    monkeypatch.setattr("chainrule.cli.run.train_run", lambda settings, output, **rest: seen.append(settings))
    assert OTHER.keys() == FIELDS
    for (name, value), base in itertools.product(OTHER.items(), ((), ("--config", place / "run"))):
        word = [value] if name == "source" else [f"--{name.replace('_', '-')}", *([] if value is None else [value])]
        status, said = call("train", *word, *base)
        assert status == 0, said
        found, default = getattr(seen[-1], name), getattr(Settings(), name)
        assert found != default and found in (value, (value,), True)
        status, said = call("train", *word, "--resume", place / "run")
        assert status == (0 if name in ("epochs", "backend", "devices") else 1), said


@pytest.mark.parametrize(("option", "value"), [("seed", 1), ("dropout", 0.5), ("batch_size", 7), ("learning_rate", 0.1),
                                               ("weight_decay", 5.0), ("hidden", 7),
                                               ("validation_fraction", 0.3), ("drop", "size"), ("categorical", "id"),
                                               ("task", "classification")])
def test_an_option_changes_the_model(place, tmp_path, option, value):
    source, base = (place / "a.npz", ("--task", "regression")) if option == "task" else (place / "t.csv", ())
    assert call("train", source, *INTERPRETED, *base,
                *(() if option == "task" else (f"--{option.replace('_', '-')}", value)), "--output",
                tmp_path / "b")[0] == 0
    plain = place / f"plain {source.name}"
    if not plain.exists():
        call("train", source, *INTERPRETED, "--output", plain)
    a, b = (cr.io.model.read_model(run / "model.safetensors")[0].variables() for run in (plain, tmp_path / "b"))
    assert [v.shape for v in a.values()] != [v.shape for v in b.values()] or any(
        not np.array_equal(u.numpy(), v.numpy()) for u, v in zip(a.values(), b.values(), strict=True)
    )


def test_what_is_worth_knowing_is_said_in_options(place, tmp_path):
    said = call("train", place / "t.csv", *STUMP, "--output", tmp_path / "r")[1]
    assert "column id: another whole number in each row" in said and "(--drop)" in said
    assert "day" in said and "these are dates" in said
    assert "classes of unequal size: no has" in said
    assert tomllib.loads((tmp_path / "r" / "config.toml").read_text())["settings"]["source"] == str(place / "t.csv")
    pillow = pytest.importorskip("PIL.Image")
    for i in range(4):
        (tmp_path / "p" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pillow.fromarray(np.zeros((8 + i, 9), np.uint8)).save(tmp_path / "p" / "ab"[i % 2] / f"{i}.png")
    said = call("train", tmp_path / "p", "--output", tmp_path / "never")[1]
    assert "--resize" in said and "load(" not in said


def test_names_as_the_target_are_doubted(tmp_path):
    (tmp_path / "names.csv").write_text("\n".join(["a,b,name", *(f"{i},{i * i % 7},name {i // 2}" for i in range(60))]))
    assert "30 classes for" in (said := call("train", tmp_path / "names.csv", *INTERPRETED, "--output",
                                             tmp_path / "r")[1]) and "--target" in said


def test_advice_in_own_words():
    assert (
        in_own_words("x\n  fix       load(..., resize=(32, 48))\n  at        run.py:3  x")
        == "x\n  fix       --resize 32"
    )
    assert in_own_words("load(..., missing=['NA', 'n a'])") == '--missing NA --missing "n a"'
    assert in_own_words("name the column in categorical=") == "name the column in --categorical"
    assert in_own_words("say which: header=True or header=False") == "say which: --header or --no-header"
    assert in_own_words("the target=price of y") == "the --target price of y"


# ---- what the system does

def run(command, **options):
    return subprocess.run(command, shell=True, capture_output=True, text=True, executable="/bin/bash", **options)


CHAINRULE = f"{sys.executable} -m chainrule"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_and_a_closed_pipe_are_told_without_a_traceback(place):
    done = run(f"{CHAINRULE} predict run t.csv > /dev/full", cwd=place)
    assert (
        done.returncode == 1
        and "the disk is full" in done.stderr
        and "Traceback" not in done.stderr
        and "Exception" not in done.stderr
    )
    done = run(f"{CHAINRULE} predict run {'t.csv ' * 200} | head -1; exit ${{PIPESTATUS[0]}}", cwd=place)
    assert (
        done.returncode == 141
        and len(done.stdout.splitlines()) == 1
        and "Traceback" not in done.stderr
        and "Exception" not in done.stderr
    )
    done = run(f"{CHAINRULE} train t.csv --epochs 40 --hidden 4 --progress lines --output piped | head -1; exit "
               f"${{PIPESTATUS[0]}}", cwd=place)
    assert (
        done.returncode == 141
        and "--resume piped" in done.stderr
        and "Traceback" not in done.stderr
        and "Exception" not in done.stderr
    )
    assert run(f"{CHAINRULE} train --resume piped --progress none", cwd=place).returncode == 0


def test_one_training_at_a_time_in_a_folder(place, tmp_path):
    pytest.importorskip("fcntl")
    with alone(place / "begun", "wait"):
        done = run(f"{CHAINRULE} train --resume {place / 'begun'}")
        assert done.returncode == 1 and "another training is writing into this folder" in done.stderr
    assert run(f"{CHAINRULE} train --resume {place / 'begun'} --progress none").returncode == 0


def test_a_folder_that_cannot_be_written_is_found_before_the_work(place, monkeypatch):
    monkeypatch.setattr("chainrule.cli.run.load", lambda settings: pytest.fail("the data were read"))
    status, said = call("train", place / "t.csv", "--output", "/proc/nothing")
    assert status == 1 and ("permission" in said or "no such file" in said.lower() or "/proc" in said)
