# SPDX-License-Identifier: Apache-2.0
"""Weights in few bits: the bound on each weight, files, and a language model that stays as good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, models, nn, optim
from chainrule.data import CharacterTokenizer, pack
from chainrule.errors import ArgumentError

X = np.random.default_rng(0).normal(size=(5, 24)).astype(np.float32)


@pytest.mark.parametrize("bits, group", [(8, None), (8, 6), (4, None), (4, 8)])
def test_no_weight_moves_by_more_than_half_a_step(bits, group):
    model = nn.Sequential([nn.Dense(7, activation="relu"), nn.Dense(4)])
    model(X)
    made = nn.quantize(model, bits, group, keep=["1"])
    w, q = model[0].weight.numpy(), made[0].weight().numpy()
    steps = np.abs(w.reshape(-1, group or 24, 7)).max(1) / (127 if bits == 8 else 7)
    assert (np.abs(w - q).reshape(-1, group or 24, 7) <= 0.5001 * steps[:, None]).all()
    assert type(made[1]) is nn.Dense and made[0].integers.size == 24 * 7 * bits // 8
    by_hand = np.maximum(X @ q + model[0].bias.numpy(), 0) @ model[1].weight.numpy() + model[1].bias.numpy()
    np.testing.assert_allclose(made(X).numpy(), by_hand, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cr.compile(made)(X).numpy(), by_hand, rtol=1e-5, atol=1e-6)


def test_integers_by_hand():
    model = nn.Sequential([nn.Dense(1, bias=False)])
    model(np.zeros((1, 4), np.float32))
    model[0].weight.assign(np.array([[7.0], [-3.6], [0.4], [0.0]], np.float32))
    np.testing.assert_array_equal(nn.quantize(model, 4)[0].weight().numpy().ravel(), [7, -4, 0, 0])
    np.testing.assert_array_equal(nn.quantize(model, 8)[0].integers.numpy().ravel(), [127, -65, 7, 0])


def test_layers_made_inside_of_others_are_found_and_saved(tmp_path):
    cr.random.seed(0)
    model = models.llama(20, 8, 64, 2, 4, key_heads=2, hidden=96)
    ids = np.arange(12).reshape(2, 6)
    expected = model(ids).numpy()
    made = nn.quantize(model, 8)
    assert isinstance(made.blocks[1].attention.query,
                      nn.QuantizedDense) and type(model.blocks[1].attention.query) is nn.Dense
    np.testing.assert_allclose(made(ids).numpy(), expected, atol=0.1)
    loaded = cr.load(cr.save(made, tmp_path / "q.safetensors"))
    np.testing.assert_array_equal(loaded(ids).numpy(), made(ids).numpy())
    cr.save(model, tmp_path / "f.safetensors")
    assert (tmp_path / "q.safetensors").stat().st_size < 0.6 * (tmp_path / "f.safetensors").stat().st_size


def test_perplexity_of_a_trained_language_model_stays_within_a_percent():
    text = "".join(f"{a} plus {b} is {a + b}. " for a in range(12) for b in range(12))
    tokenizer = CharacterTokenizer(text)
    x, y = pack(tokenizer.encode(text), 24)
    cr.random.seed(0)
    model = models.llama(len(tokenizer), 24, 32, 1, 2, hidden=64)
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(1e-2), epochs=12, batch_size=16, progress=False)
    perplexity = lambda m: float(np.exp(losses.cross_entropy(m(x), y).item()))
    exact = perplexity(model)
    assert exact < 5 and abs(perplexity(nn.quantize(model, 8)) / exact - 1) < 0.01


@pytest.mark.parametrize("options", [{"bits": 3}, {"group": 5}, {"bits": 4, "group": 7}])
def test_what_cannot_be(options):
    model = nn.Sequential([nn.Dense(3)])
    model(X)
    with pytest.raises(ArgumentError):
        nn.quantize(model, **options)
    with pytest.raises(ArgumentError, match="built"):
        nn.quantize(nn.Sequential([nn.Dense(3)]))


def test_zeros_that_are_filled_later_take_no_memory():
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        pytest.skip("the system does not show what is resident")
    pages = lambda: int(statistics.read_text().split()[1])
    before = pages()
    kept = [cr.Variable(np.broadcast_to(np.zeros((), dtype), (1 << 14, 1 << 12)))
            for dtype in ("float32", "int8", "float64")]
    assert (pages() - before) * 4096 < 64 << 20, "of 832 MB"
    kept[1].assign(np.full((1 << 14, 1 << 12), 3, "int8"))
    assert kept[1].numpy()[::5000, ::3000].tolist() == [[3] * 2] * 4 and not kept[0].value[7:9, 5:7].numpy().any()


@pytest.mark.parametrize("value", [-0.0, 1.0, np.nan])
def test_one_repeated_number_that_is_no_zero_is_kept(value):
    np.testing.assert_array_equal(cr.Variable(np.broadcast_to(np.float32(value), (40, 50))).numpy().view("int32"),
                                  np.full((40, 50), value, "float32").view("int32"))
