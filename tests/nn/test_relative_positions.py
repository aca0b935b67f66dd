# SPDX-License-Identifier: Apache-2.0
"""Learned relative positions: T5's buckets, Shaw's vectors by a loop, decoding with a cache; records of attention."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.nn.transformers.relative import relative_buckets
from chainrule.testing import check_gradient


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def bucket_by_the_paper(distance, buckets, most, causal):
    """One distance (key - query) at a time, as the paper's code tells it."""
    first, n = 0, -distance
    if causal:
        n = max(n, 0)
    else:
        buckets //= 2
        first, n = (buckets if n < 0 else 0), abs(n)
    exact = buckets // 2
    if n < exact:
        return first + n
    return first + min(exact + int(math.log(n / exact) / math.log(most / exact) * (buckets - exact)), buckets - 1)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("buckets, most", [(32, 128), (8, 20), (16, 300)])
def test_buckets(buckets, most, causal):
    distances = np.arange(-400, 401)
    expected = [bucket_by_the_paper(int(d), buckets, most, causal) for d in distances]
    np.testing.assert_array_equal(relative_buckets(distances, buckets, most, causal), expected)


def test_bias_depends_on_the_distance_alone():
    module, q, k = nn.RelativeBias(8, 20, dtype="float64"), normal(2, 6, 3, 4), normal(2, 9, 3, 4)
    bias = module(q, k, 3).numpy()
    assert bias.shape == (1, 3, 6, 9)
    for t in range(6):
        for s in range(9):
            np.testing.assert_array_equal(bias[0, :, t, s],
                                          module.weight.numpy()[bucket_by_the_paper(s - t - 3, 8, 20, False)])


def test_keys_of_relative_positions():
    module, q, k = nn.RelativeKeys(2, dtype="float64"), normal(2, 5, 3, 4), normal(2, 6, 3, 4)
    found, weight = module(q, k, 1).numpy(), module.weight.numpy()
    expected = np.empty((2, 3, 5, 6))
    for t in range(5):
        for s in range(6):
            expected[:, :, t, s] = q[:, t] @ weight[np.clip(s - t - 1, -2, 2) + 2] / 2
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    check_gradient(lambda q: module(q, k), q)


@pytest.mark.parametrize("backend", [None, "native"])
@pytest.mark.parametrize("make", [lambda: nn.RelativeBias(8, 16), lambda: nn.RelativeKeys(3)])
def test_decoding_by_steps_is_the_whole(make, backend):
    layer, x = nn.MultiHeadAttention(2, positions=make()), normal(2, 6, 8).astype("float32")
    whole = layer(x, causal=True).numpy()
    assert any("positions.weight" in name for name in layer.parameters())
    cache = layer.cache(2, 8)
    run = (
        (lambda x: layer(x, cache=cache))
        if backend is None
        else cr.compile(lambda x: layer(x, cache=cache), backend=backend)
    )
    parts = [run(x[:, t:t + 1]).numpy() for t in range(6)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-4, atol=1e-5)


def test_relative_positions_see_the_order():
    x, order = normal(1, 5, 8).astype("float32"), [3, 0, 4, 2, 1]
    for make in (lambda: nn.RelativeBias(), lambda: nn.RelativeKeys()):
        layer = nn.MultiHeadAttention(2, positions=make())
        assert np.abs(layer(x[:, order]).numpy() - layer(x).numpy()[:, order]).max() > 1e-4
    with pytest.raises(ArgumentError, match="buckets"):
        nn.RelativeBias(3)


def test_one_bias_for_several_layers():
    shared = nn.RelativeBias(8, 16)
    model = nn.Sequential([nn.TransformerEncoderLayer(2, 16, positions=shared) for _ in range(2)], input_shape=(5, 8))
    names = [name for name in model.parameters() if "positions" in name]
    assert len(names) == 1
    again = nn.from_config(nn.to_config(model))
    assert list(again.parameters()) == list(model.parameters())


# ---- records

def test_records_hold_queries_keys_values_and_weights():
    layer, x = nn.MultiHeadAttention(2, dtype="float64"), normal(3, 5, 8)
    mask = np.arange(5) < np.array([[5], [3], [1]])
    with nn.recorded_attention() as records:
        y = layer(x, mask=mask, causal=True)
    (record,) = records
    assert record.layer is layer
    for found, part in ((record.query, layer.query), (record.key, layer.key), (record.value, layer.value)):
        expected = x @ part.weight.numpy() + part.bias.numpy()
        np.testing.assert_allclose(found.numpy().reshape(3, 5, 8), expected, rtol=1e-12, atol=1e-13)
    weights = record.weights.numpy()
    assert weights.shape == (3, 2, 5, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-12)
    allowed = np.tril(np.ones((5, 5), bool)) & mask[:, None, None]
    assert np.all(weights[~np.broadcast_to(allowed, weights.shape)] == 0)
    heads = np.einsum("nhts,nshd->nthd", weights, record.value.numpy()).reshape(3, 5, 8)
    np.testing.assert_allclose(heads @ layer.output.weight.numpy() + layer.output.bias.numpy(), y.numpy(), rtol=1e-11,
                               atol=1e-12)
    layer(x)
    assert len(records) == 1


def test_one_head_is_plain_attention():
    layer, x = nn.MultiHeadAttention(1, dtype="float64"), normal(2, 5, 6)
    y = layer(x).numpy()
    q, k, v = (x @ p.weight.numpy() + p.bias.numpy() for p in (layer.query, layer.key, layer.value))
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(6)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(y, weights @ v @ layer.output.weight.numpy() + layer.output.bias.numpy(), rtol=1e-11,
                               atol=1e-12)
