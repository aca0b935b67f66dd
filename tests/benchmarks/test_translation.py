# SPDX-License-Identifier: Apache-2.0
"""The translation benchmark: both sides are the same model, a stopped run goes on with the same bits, batches hold what
they say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import translation
from chainrule import losses
from chainrule.train.checkpoint import read_state, write_state

BATCH = (np.array([[5, 6, 7, 0], [8, 9, 0, 0]]), np.array([[1, 5, 6, 0], [1, 7, 8, 0]]),
         np.array([[5, 6, 2, 0], [7, 8, 2, 0]]))


@pytest.fixture
def small(monkeypatch):
    for name, value in {"VOCABULARY": 40, "WIDTH": 16, "DEPTH": 1, "HIDDEN": 24}.items():
        monkeypatch.setattr(translation, name, value)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_both_sides_are_one_model(small):
    torch = pytest.importorskip("torch")
    ours, theirs = (side(3, lambda step: 1e-3) for side in (translation.Ours, translation.Theirs))
    loss = losses.get("cross_entropy").using(label_smoothing=translation.SMOOTHING, ignore_label=0)
    for module in (theirs.transformer, theirs.dropout):
        module.eval()
    logits = theirs.logits(*map(torch.tensor, BATCH[:2])).reshape(-1, 40)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(BATCH[2]).reshape(-1), ignore_index=0,
                                                 label_smoothing=translation.SMOOTHING)
    assert loss(ours.model(*BATCH[:2]), BATCH[2]).item() == pytest.approx(expected.item(), rel=1e-5)
    for module in (theirs.transformer, theirs.dropout):
        module.train()
    theirs.step(*BATCH)
    model = theirs.translator()  # compares the logits after the step
    assert [len(ids) <= 3 for ids in model.generate(BATCH[0], translation.START, translation.END, 3)] == [True, True]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", translation.SIDES)
def test_a_stopped_run_goes_on(name, small, tmp_path):
    if name == "pytorch":
        pytest.importorskip("torch")
    make = lambda: translation.SIDES[name](3, lambda step: 1e-3)
    whole = make()
    whole.step(*BATCH)
    write_state(tmp_path / "run.safetensors", {"side": whole.state()})
    expected = [whole.step(*BATCH) for _ in range(2)]
    resumed = make()
    resumed.restore(read_state(tmp_path / "run.safetensors")["side"])
    assert [resumed.step(*BATCH) for _ in range(2)] == expected


def test_batches_hold_each_pair_at_most_once():
    rng = np.random.default_rng(0)
    pairs = [([3 + i % 9] * int(rng.integers(1, 12)), [3 + i % 7] * int(rng.integers(1, 12))) for i in range(500)]
    groups = translation.by_length(pairs)
    assert sum(map(len, groups.values())) == 500 and all(max(len(a), len(b) + 1) <= n for n, rows in groups.items()
                                                         for a, b in rows)
    found = translation.batches(groups, rng)
    assert found and all(x.shape == y.shape == z.shape and len(x) == translation.TOKENS // x.shape[1]
                         for x, y, z in found)
    for _, given, wanted in found:
        assert (given[:, 0] == translation.START).all() and ((wanted == translation.END).sum(1) == 1).all()
        np.testing.assert_array_equal(np.where(wanted == translation.END, 0, wanted)[:, :-1], given[:, 1:])
