# SPDX-License-Identifier: Apache-2.0
"""The benchmarks compare the same things: equal weights give equal losses and gradients on both sides, on small shapes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import run, shapes, worker

SMALL = {
    "mlp": shapes.mlp(5),
    "cnn": shapes.cnn(2),
    "separable": shapes.separable(3),
    "lstm": shapes.recurrent("lstm", 4, 12, 3, 5),
    "gru": shapes.recurrent("gru", 3, 12, 3, 5),
    "gpt": shapes.gpt(16, 2, 2, 3, 6),
    "infer-mlp": shapes.mlp(1, training=False),
    "bigru": shapes.bidirectional(12, 3, 5),
    "norm": shapes.norm(16, 2, 6),
    "ctc": shapes.ctc(12, 3, 9),
    "gqa": shapes.gqa(32, 2, 4, 3, 6),
    "lbfgs": shapes.lbfgs(20, 30, 5),
}


@pytest.mark.parametrize("name", SMALL)
def test_both_sides_compute_the_same(name, monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.setitem(shapes.SHAPES, name, SMALL[name])
    ours, theirs = (worker.load(side, name) for side in ("chainrule", "pytorch"))
    path = str(tmp_path / "exported.npz")
    worker.export(theirs, path, exact=False)
    found = worker.compare(ours, path)
    if not run.agree(found):  # kinks and batch normalisation: then both against float64
        exact = worker.export(theirs, path, exact=True)
        found = worker.compare(ours, path) | {f"pytorch_{part}": value for part, value in exact.items()}
    assert run.agree(found)


def test_another_weight_is_noticed(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.setitem(shapes.SHAPES, "mlp", SMALL["mlp"])
    ours, theirs = (worker.load(side, "mlp") for side in ("chainrule", "pytorch"))
    path = tmp_path / "exported.npz"
    worker.export(theirs, str(path), exact=False)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["weight1"] = arrays["weight1"] + 0.01
    np.savez(path, **arrays)
    assert not run.agree(worker.compare(ours, str(path)))


def test_flops_are_those_of_the_products():
    assert shapes.SHAPES["mlp-b32"].flops == 3 * 32 * 2 * (784 * 128 + 128 * 10)
    assert shapes.SHAPES["matmul-2048"].flops == 2 * 2048**3
    assert set(run.GOALS) == set(shapes.SHAPES)


def test_rows_are_medians_of_rounds():
    row = run.Row("mlp-b32", rounds={"chainrule": [1.0, 9.0, 2.0], "pytorch": [6.0, 4.0, 5.0]}, limit=1e9,
                  deviation={"value": 0.0, "gradients": 0.0})
    assert row.ratio == 2.5
    assert "2.50" in run.line(row)
    assert run.Row("mlp-b32", problem="not available: nn.X").plain()["problem"] == "not available: nn.X"


@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt"])
def test_bfloat16_is_as_near_to_float64_as_autocast(name, monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.setitem(shapes.SHAPES, name, SMALL[name])
    ours, theirs = (worker.load(side, name, "bfloat16") for side in ("chainrule", "pytorch"))
    path = str(tmp_path / "exported.npz")
    far = worker.export(theirs, path, exact=True)
    found = worker.compare(ours, path)
    assert run.agree(found | {f"pytorch_{key}": max(value, 0.02) for key, value in far.items()})
    assert found["gradients"] > 1e-4, "nothing was rounded"
