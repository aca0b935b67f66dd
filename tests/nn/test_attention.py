# SPDX-License-Identifier: Apache-2.0
"""Attention: shared key heads, positions, and step-by-step decoding, each against a definition of its own."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, BoundsError, ShapeError
from chainrule.nn.transformers.positions import alibi_slopes

X = np.random.default_rng(0).standard_normal((2, 7, 8))


def test_grouped_heads_are_repeated_heads():
    grouped, full = nn.MultiHeadAttention(4, key_heads=2, dtype="float64"), nn.MultiHeadAttention(4, dtype="float64")
    grouped(X)
    full(X)
    for name in ("query", "output"):
        for part in ("weight", "bias"):
            getattr(getattr(full, name), part).assign(getattr(getattr(grouped, name), part).numpy())
    for name in ("key", "value"):
        ours, theirs = getattr(grouped, name), getattr(full, name)
        theirs.weight.assign(np.repeat(ours.weight.numpy().reshape(8, 2, 2), 2, axis=1).reshape(8, 8))
    np.testing.assert_allclose(grouped(X, causal=True).numpy(), full(X, causal=True).numpy(), rtol=1e-12)


def test_scores_of_turned_vectors_depend_on_the_distance():
    q, k = np.random.default_rng(1).standard_normal((2, 1, 1, 1, 6))

    def score(m, n):
        return float((nn.rotate(cr.asarray(q), m).numpy() * nn.rotate(cr.asarray(k), n).numpy()).sum())
    for shift in (1, 5, 100):
        assert score(3 + shift, 1 + shift) == pytest.approx(score(3, 1), rel=1e-10)
    assert score(3, 1) != pytest.approx(score(4, 1), rel=1e-3)
    a = nn.rotate(cr.asarray(q), 2).numpy()[0, 0, 0]
    z = (q[0, 0, 0, :3] + 1j * q[0, 0, 0, 3:]) * np.exp(2j * 10000.0 ** (-np.arange(3) / 3))
    np.testing.assert_allclose(a, np.r_[z.real, z.imag], rtol=1e-12)


def test_alibi_is_a_penalty_on_the_distance():
    np.testing.assert_allclose(alibi_slopes(8), 2.0 ** -np.arange(1, 9))
    assert len(alibi_slopes(6)) == 6
    bias = nn.alibi_bias(2, 3, 3, 0, "float64").numpy()[0, 0]
    np.testing.assert_allclose(bias, -2.0**-4 * np.abs(np.arange(3)[:, None] - np.arange(3)))
    plain, penalised = (nn.MultiHeadAttention(1, dtype="float64"),
                        nn.MultiHeadAttention(1, positions="alibi", dtype="float64"))
    plain(X)
    penalised(X)
    for a, b in zip(plain.variables().values(), penalised.variables().values(), strict=True):
        a.assign(b.numpy())
    w = {name: v.numpy() for name, v in plain.variables().items()}
    q, k, v = (X @ w[f"{n}.weight"] + w[f"{n}.bias"] for n in ("query", "key", "value"))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(8) - 2.0**-8 * np.abs(np.arange(7)[:, None] - np.arange(7))
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(penalised(X).numpy(), p @ v @ w["output.weight"] + w["output.bias"], rtol=1e-10)


@pytest.mark.parametrize("backend", [None, "reference", "native"])
@pytest.mark.parametrize("options", [{}, {"positions": "rotary", "key_heads": 1},
                                     {"positions": "alibi", "key_heads": 2}])
def test_decoding_by_steps_is_the_whole(options, backend):
    layer = nn.MultiHeadAttention(4, dtype="float64", **options)
    whole = layer(X, causal=True).numpy()
    cache = layer.cache(2, 9)
    def run(x):
        return layer(x, cache=cache)
    run = cr.compile(run, backend=backend) if backend else run
    np.testing.assert_allclose(run(X[:, :3]).numpy(), whole[:, :3], rtol=1e-10, atol=1e-13)
    for t in range(3, 7):
        np.testing.assert_allclose(run(X[:, t:t + 1]).numpy(), whole[:, t:t + 1], rtol=1e-10, atol=1e-13)
    assert backend is None or len(run.entries) == 2
    cache.reset()
    np.testing.assert_allclose(run(X[:, :3]).numpy(), whole[:, :3], rtol=1e-10, atol=1e-13)


def test_a_decoder_with_caches():
    layers = [nn.TransformerDecoderLayer(2, 16, dtype="float64", positions="rotary", gated=True, norm="rms")
              for _ in range(2)]

    def model(x, caches=(None, None)):
        for layer, cache in zip(layers, caches, strict=True):
            x = layer(x, cache=cache)
        return x
    whole = model(X).numpy()
    caches = [layer.cache(2, 7) for layer in layers]
    for t in range(7):
        np.testing.assert_allclose(model(X[:, t:t + 1], caches).numpy(), whole[:, t:t + 1], rtol=1e-10, atol=1e-12)
    with pytest.raises(BoundsError, match="full"):
        model(X[:, :1], caches)
    with pytest.raises(ShapeError, match="another batch"):
        layers[0](X[:1, :1], cache=layers[0].cache(2, 7))


@pytest.mark.parametrize("compiled", [False, True])
def test_dropout_of_the_weights(compiled):
    """A weight is 0 or twice itself before it meets its value; the decisions are the layer's own next numbers."""
    cr.random.seed(5)
    layer = nn.MultiHeadAttention(4, dropout=0.5, key_heads=2, dtype="float64")
    with nn.recorded_attention() as records:
        whole = layer(X, causal=True).numpy()
    np.testing.assert_allclose(layer(X, causal=True).numpy(), whole, rtol=1e-12)
    twin = cr.random.Generator(0)
    twin.state.assign(layer.random.state.numpy())
    kept = twin.bernoulli(0.5, (2, 4, 7, 7)).numpy()
    assert 0.4 < kept.mean() < 0.6
    train = lambda x: layer(x, causal=True, training=True)
    found = (cr.compile(train) if compiled else train)(X).numpy()
    heads = np.einsum("nhts,nshd->nthd", 2 * kept * records[0].weights.numpy(), records[0].value.numpy())
    expected = heads.reshape(2, 7, 8) @ layer.output.weight.numpy() + layer.output.bias.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert np.abs(found - train(X).numpy()).max() > 1e-3


def test_dropout_of_a_block():
    """Of the weights as of the rest, or with a rate of their own."""
    decoder = nn.TransformerDecoderLayer(2, 16, dropout=0.3)
    decoder(X.astype("float32"), X.astype("float32"))
    assert (decoder.attention.rate, decoder.cross_attention.rate) == (0.3, 0.3)
    block = nn.TransformerEncoderLayer(2, 16, dropout=0.3, attention_dropout=0.0)
    block(X.astype("float32"))
    assert block.attention.rate == 0 and block.dropout_attention.rate == 0.3
    assert cr.nn.Module.config(block)["attention_dropout"] == 0.0


def test_gated_feed_forward():
    layer = nn.GatedFeedForward(6, dtype="float64")
    y = layer(X).numpy()
    g, u, d = (getattr(layer, n).weight.numpy() for n in ("gate", "up", "down"))
    a = X @ g
    np.testing.assert_allclose(y, (a / (1 + np.exp(-a)) * (X @ u)) @ d, rtol=1e-10)


def test_without_positions_an_encoder_does_not_see_the_order():
    layer, order = nn.TransformerEncoderLayer(2, 16, dtype="float64"), np.random.default_rng(0).permutation(7)
    np.testing.assert_allclose(layer(X[:, order]).numpy(), layer(X).numpy()[:, order], rtol=1e-10, atol=1e-12)
    turned = nn.TransformerEncoderLayer(2, 16, dtype="float64", positions="rotary")
    assert np.abs(turned(X[:, order]).numpy() - turned(X).numpy()[:, order]).max() > 1e-3


def test_mistakes():
    for make in (lambda: nn.MultiHeadAttention(4, key_heads=3), lambda: nn.MultiHeadAttention(4, positions="rope"),
                 lambda: nn.MultiHeadAttention(4).cache(2, 3), lambda: nn.TransformerEncoderLayer(2, 4, norm="batch"),
                 lambda: nn.MultiHeadAttention(8, positions="rotary", dtype="float64")(X)):
        with pytest.raises(ArgumentError):
            make()
