# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers against PyTorch, and padded sequences against each sequence alone."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DTypeError, ShapeError

X = np.random.default_rng(0).standard_normal((3, 6, 4))
KINDS = {"rnn": nn.SimpleRNN, "lstm": nn.LSTM, "gru": nn.GRU}


def theirs(torch, kind, layer):
    """PyTorch's layer with our weights: gates in its order, (out, in)."""
    made = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM,
            "gru": torch.nn.GRU}[kind](4, 5, batch_first=True, dtype=torch.float64)
    order = {"rnn": [0], "lstm": [0, 1, 2, 3], "gru": [1, 0, 2]}[kind]
    columns = np.concatenate([np.arange(5) + 5 * i for i in order])
    w, u, b = (np.asarray(v.numpy())[..., columns] for v in (layer.weight, layer.recurrent_weight, layer.bias))
    with torch.no_grad():
        made.weight_ih_l0.copy_(torch.tensor(w.T.copy()))
        made.weight_hh_l0.copy_(torch.tensor(u.T.copy()))
        made.bias_ih_l0.copy_(torch.tensor(b))
        made.bias_hh_l0.zero_()
        if kind == "gru":
            made.bias_hh_l0[10:] = torch.tensor(layer.recurrent_bias.numpy())
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_as_pytorch(kind):
    torch = pytest.importorskip("torch")
    layer = KINDS[kind](5, return_sequences=True, return_state=True, dtype="float64")
    layer(X)
    layer.bias.assign(np.random.default_rng(1).standard_normal(layer.bias.shape))
    if kind == "gru":
        layer.recurrent_bias.assign(np.random.default_rng(2).standard_normal(5))
    x = cr.Variable(X)
    y, states = layer(x)
    t = torch.tensor(X, requires_grad=True)
    expected, last = theirs(torch, kind, layer)(t)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    for a, b in zip(states, last if kind == "lstm" else [last], strict=True):
        np.testing.assert_allclose(a.numpy(), b[0].detach().numpy(), rtol=1e-10, atol=1e-12)
    ours = cr.gradients(cr.sum(y * y), [x])[0].numpy()
    np.testing.assert_allclose(ours, torch.autograd.grad((expected * expected).sum(), t)[0].numpy(), rtol=1e-9,
                               atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_padded_equals_one_by_one(kind, reverse):
    lengths = [6, 2, 4]
    mask = np.arange(6) < np.array(lengths)[:, None]
    layer = KINDS[kind](5, reverse=reverse, dtype="float64")
    padded = layer(np.where(mask[..., None], X, 1e3), mask=mask).numpy()
    for i, n in enumerate(lengths):
        np.testing.assert_allclose(padded[i], layer(X[i:i + 1, :n]).numpy()[0], rtol=1e-12)


def test_states_continue_a_sequence():
    layer = nn.LSTM(5, return_sequences=True, return_state=True, dtype="float64")
    whole, _ = layer(X)
    first, states = layer(X[:, :2])
    second, _ = layer(X[:, 2:], states=states)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()], axis=1), whole.numpy(), rtol=1e-12)


def test_both_ways():
    layer = nn.Bidirectional(nn.GRU(5, return_sequences=True, dtype="float64"))
    y = layer(X).numpy()
    assert y.shape == (3, 6, 10)
    np.testing.assert_allclose(y[..., :5], layer.onward(X).numpy())
    flipped = nn.GRU(5, return_sequences=True, dtype="float64")
    flipped(X)
    for target, source in zip(flipped.variables().values(), layer.back.variables().values(), strict=True):
        target.assign(source.numpy())
    np.testing.assert_allclose(y[..., 5:], flipped(X[:, ::-1].copy()).numpy()[:, ::-1], rtol=1e-12)


def test_mistakes_of_recurrent_layers():
    x = X.astype("float32")
    with pytest.raises(ShapeError, match=r"x\[\.\.\., None\]"):
        nn.LSTM(3)(x[..., 0])
    with pytest.raises(DTypeError, match="True: the step exists"):
        nn.LSTM(3)(x, mask=np.ones((3, 6), "int64"))
    with pytest.raises(ShapeError, match="does not fit the sequences"):
        nn.LSTM(3)(x, mask=np.ones((3, 5), bool))
    with pytest.raises(ShapeError, match="2 of shapes"):
        nn.LSTM(3)(x, states=np.zeros((3, 3), "float32"))
    with pytest.raises(ArgumentError, match="both ways"):
        nn.Bidirectional(nn.Dense(3))
