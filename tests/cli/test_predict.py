# SPDX-License-Identifier: Apache-2.0
"""`chainrule predict`: files, folders, standard input; lines on the screen and tables in files, a batch at a time."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import chainrule as cr
from chainrule.cli.app import app
from chainrule.errors import ChainruleError


def call(*arguments, stdin=None):
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders for a table, a regression and images, with the files they were trained on."""
    folder = tmp_path_factory.mktemp("predict")
    r = np.random.default_rng(0)
    rows = [f"{a:.4f},{t},{'yes' if a > 0 else 'no'}"
            for a, t in zip(r.normal(size=200), r.choice(["Bonn", "Ulm"], 200), strict=True)]
    (folder / "t.csv").write_text("\n".join(["size,town,member", *rows]), encoding="utf-8")
    (folder / "p.csv").write_text("\n".join(["size,price", *(f"{a},{3 * a + 100}" for a in r.normal(size=100))]))
    call("train", folder / "t.csv", "--epochs", 3, "--output", folder / "table", "--progress", "none")
    call("train", folder / "p.csv", "--epochs", 3, "--output", folder / "numbers", "--progress", "none")
    call("train", "digits", "--epochs", 2, "--output", folder / "images", "--progress", "none")
    return folder


@pytest.fixture(scope="module")
def pictures(runs):
    """A folder with 30 digits in two folders, and their arrays in the order of their names."""
    pillow = pytest.importorskip("PIL.Image")
    x = cr.data.digits().x_test[:30]
    for i, image in enumerate(x):
        (runs / "pictures" / f"{i // 15}").mkdir(parents=True, exist_ok=True)
        pillow.fromarray(image[..., 0]).save(runs / "pictures" / f"{i // 15}" / f"{i:02}.png")
    return runs / "pictures", x


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("size", [1, 7, 256])
def test_a_folder_is_its_files_whatever_the_batch(runs, pictures, size):
    folder, x = pictures
    np.save(runs / "x.npy", x)
    arrays = call("predict", runs / "images", runs / "x.npy").output.splitlines()
    lines = call("predict", runs / "images", folder, "--batch-size", size).output.splitlines()
    assert [line.split("\t")[1:] for line in lines] == [line.split("\t")[1:] for line in arrays]
    assert lines[0].startswith(str(folder / "0" / "00.png") + "\t") and len(lines) == 30


def test_tables_of_predictions(runs, pictures):
    folder, _ = pictures
    for suffix in ("csv", "jsonl", "parquet"):
        if suffix == "parquet":
            pytest.importorskip("pyarrow")
        call("predict", runs / "images", folder, folder / "0" / "03.png", "-o", runs / f"o.{suffix}", "--batch-size", 8)
    rows = read_csv(runs / "o.csv")
    names = [f"probability_{i}" for i in range(10)]
    assert list(rows[0]) == ["id", "prediction", *names] and len(rows) == 31
    for row in rows:
        shares = [float(row[name]) for name in names]
        assert sum(shares) == pytest.approx(1, abs=1e-5) and row["prediction"] == str(int(np.argmax(shares)))
    assert rows[3]["prediction"] == rows[30]["prediction"] and rows[3]["id"] == rows[30]["id"] == str(
        folder / "0" / "03.png"
    )
    objects = [json.loads(line) for line in (runs / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [{k: str(v) for k, v in o.items()} for o in objects] == rows


def test_parquet_holds_the_same(runs):
    parquet = pytest.importorskip("pyarrow.parquet")
    for suffix in ("csv", "parquet"):
        call("predict", runs / "table", runs / "t.csv", "-o", runs / f"t_out.{suffix}", "--batch-size", 64)
    found = parquet.read_table(runs / "t_out.parquet").to_pylist()
    assert [{k: str(v) for k, v in row.items()} for row in found] == read_csv(runs / "t_out.csv") and len(found) == 200


def test_numbers(runs):
    call("predict", runs / "numbers", runs / "p.csv", "-o", runs / "n.csv")
    rows, lines = read_csv(runs / "n.csv"), call("predict", runs / "numbers", runs / "p.csv").output.splitlines()
    assert list(rows[0]) == ["id", "prediction"] and len(rows) == len(lines) == 100
    assert float(lines[7].split("\t")[1]) == pytest.approx(float(rows[7]["prediction"]), rel=1e-4)


def test_standard_input(runs, pictures):
    expected = [line.split("\t")[1:] for line in call("predict", runs / "table", runs / "t.csv").output.splitlines()]
    found = call("predict", runs / "table", "-", stdin=(runs / "t.csv").read_text(encoding="utf-8")).output.splitlines()
    assert [line.split("\t")[1:] for line in found] == expected and found[5].startswith("-[5]\t")
    without_target = "\n".join(line.rsplit(",", 1)[0]
                               for line in (runs / "t.csv").read_text(encoding="utf-8").splitlines())
    assert [line.split("\t")[1:] for line in call("predict", runs / "table", "-",
                                                  stdin=without_target).output.splitlines()] == expected
    names = [str(path) for path in sorted(pictures[0].rglob("*.png"))]
    direct = call("predict", runs / "images", *names[:4]).output
    assert call("predict", runs / "images", "-", stdin="\n".join(names[:4])).output == direct
    assert call("predict", runs / "images", "-",
                stdin=(pictures[0] / "0"
                       / "03.png").read_bytes()).output.split("\t")[1] == direct.splitlines()[3].split("\t")[1]
    with pytest.raises(ChainruleError, match="standard input is empty"):
        call("predict", runs / "table", "-", stdin="")


def test_unseen_categories_are_said_beside_the_predictions(runs):
    (runs / "new.csv").write_text("size,town\n0.5,Bonn\n0.25,Wien\n")
    result = call("predict", runs / "table", runs / "new.csv")
    assert len(result.stdout.splitlines()) == 2 and "'Wien'" in result.stderr


def test_nothing_is_written_if_a_file_cannot_be_used(runs):
    (runs / "broken.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(ChainruleError, match=r"broken\.npy"):
        call("predict", runs / "images", runs / "broken.npy", "-o", runs / "never.csv")
    assert not (runs / "never.csv").exists() and not list(runs.glob(".never*"))


@pytest.mark.parametrize(("arguments", "message"), [
    (("numbers", "p.csv", "--top", 2), "--top concerns classes"),
    (("table", "t.csv", "-o", "x.xlsx"), "predictions cannot be written"),
    (("table", "t.csv", "--top", 2, "-o", "x.csv"), "--top concerns what is shown"),
    (("table", "t.csv", "--top", 0), "--top is too small"),
    (("table", "x.npy"), "a model of tables predicts rows"), (("images", "t.csv"), "cannot be predicted"),
    (("images", "p"), "there is no such file"),
    (("table", "t.csv", "--backend", "nativ"), "did you mean 'native'"),
    (("table", "t.csv", "-o", "t.csv/x.csv"), "a file lies where a folder is expected"),
])
def test_what_does_not_fit_is_told(runs, arguments, message, monkeypatch):
    monkeypatch.chdir(runs)
    np.save(runs / "x.npy", np.zeros((2, 8, 8, 1)))
    with pytest.raises(ChainruleError, match=message):
        call("predict", *arguments)
