# SPDX-License-Identifier: Apache-2.0
"""Cells, stacks, stateful layers and truncated back-propagation against the layers themselves and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).standard_normal((3, 6, 4))
PAIRS = [(nn.SimpleRNN, nn.SimpleRNNCell), (nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell)]


def copy(target, source):
    for a, b in zip(target.variables().values(), source.variables().values(), strict=True):
        a.assign(b.numpy())


@pytest.mark.parametrize("kind, cell_kind", PAIRS)
def test_step_by_step_is_the_whole_sequence(kind, cell_kind):
    layer, cell = kind(5, return_sequences=True, dtype="float64"), cell_kind(5, dtype="float64")
    whole, states = layer(X).numpy(), None
    cell(X[:, 0])
    copy(cell, layer)
    for t in range(6):
        y, states = cell(X[:, t], states)
        np.testing.assert_allclose(y.numpy(), whole[:, t], rtol=1e-12, atol=1e-14)
    for reverse in (False, True):
        again, direct = (nn.RNN(cell, True, reverse=reverse),
                         kind(5, return_sequences=True, reverse=reverse, dtype="float64"))
        direct(X)
        copy(direct, layer)
        np.testing.assert_allclose(again(X).numpy(), direct(X).numpy(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(nn.RNN(cell, reverse=reverse)(X).numpy(), direct(X).numpy()[:, 0 if reverse else -1],
                                   rtol=1e-12, atol=1e-14)
    mask = np.arange(6) < np.array([[6], [2], [4]])
    np.testing.assert_allclose(nn.RNN(cell)(X, mask=mask).numpy(), whole[range(3), [5, 1, 3]], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [nn.SimpleRNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("compiled", [False, True])
def test_stateful_layers_go_on(kind, compiled):
    layer, plain = (kind(5, return_sequences=True, dtype="float64", stateful=True),
                    kind(5, return_sequences=True, dtype="float64"))
    plain(X)
    layer(X[:, :2])
    for a, b in zip(layer.parameters().values(), plain.parameters().values(), strict=True):
        a.assign(b.numpy())
    layer.reset_states()
    run = cr.compile(lambda x: layer(x), backend="reference") if compiled else layer
    parts = [run(x).numpy() for (x,) in nn.chunks(2, X)]
    np.testing.assert_allclose(np.concatenate(parts, 1), plain(X).numpy(), rtol=1e-12, atol=1e-14)
    layer.reset_states()
    np.testing.assert_allclose(layer(X[:, :2]).numpy(), parts[0], rtol=1e-12)
    assert list(layer.parameters()) == list(plain.parameters())
    with pytest.raises(ShapeError, match="one batch size"):
        layer(X[:2])


def test_truncated_gradients_are_those_of_each_piece():
    layer, plain = nn.GRU(5, dtype="float64", stateful=True), nn.GRU(5, return_state=True, dtype="float64")
    layer(X[:, :3])
    plain(X)
    for a, b in zip(plain.parameters().values(), layer.parameters().values(), strict=True):
        a.assign(b.numpy())
    layer.reset_states()
    states = None
    for (x,) in nn.chunks(3, X):
        ours = cr.gradients(cr.sum(layer(x) ** 2), layer)
        y, states = plain(x, states=states)
        theirs = cr.gradients(cr.sum(y**2), plain)
        states = [s.numpy() for s in states]
        for name in ours:
            np.testing.assert_allclose(ours[name].numpy(), theirs[name].numpy(), rtol=1e-10, atol=1e-13)


class Mixing(nn.Module):
    """A cell of a user: no default for its states, and a layer within."""

    def __init__(self):
        self.dense = nn.Dense(4, dtype="float64")

    def initial_states(self, n):
        return [np.zeros((n, 4)), np.ones((n, 1))]

    def forward(self, x, states):
        h, count = states
        h = cr.tanh(self.dense(x + h)) / count
        return h, [h, count + 1]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_cell_of_ones_own(compiled, tmp_path):
    layer = nn.RNN(Mixing(), return_sequences=True)
    y = (cr.compile(layer) if compiled else layer)(X)
    w, b, h = layer.step_of.dense.weight.numpy(), layer.step_of.dense.bias.numpy(), np.zeros((3, 4))
    for t in range(6):
        h = np.tanh((X[:, t] + h) @ w + b) / (t + 1)
        np.testing.assert_allclose(y.numpy()[:, t], h, rtol=1e-10, atol=1e-13)
    again = cr.load(cr.save(layer, tmp_path / "layer.safetensors"))
    np.testing.assert_array_equal(again(X).numpy(), layer(X).numpy())


@pytest.mark.parametrize("both_ways", [False, True])
def test_stacks_as_pytorch(both_ways):
    torch = pytest.importorskip("torch")
    kind = (
        (lambda: nn.Bidirectional(nn.LSTM(5, True, dtype="float64")))
        if both_ways
        else lambda: nn.LSTM(5, True, dtype="float64")
    )
    stack = nn.StackedRNN([kind() for _ in range(3)])
    y = stack(X).numpy()
    theirs = torch.nn.LSTM(4, 5, 3, batch_first=True, bidirectional=both_ways, dtype=torch.float64)
    with torch.no_grad():
        for i, layer in enumerate(stack.layers):
            for suffix, part in (("", layer.onward if both_ways else layer),
                                 ("_reverse", layer.back if both_ways else None)):
                if part is not None:
                    getattr(theirs, f"weight_ih_l{i}{suffix}").copy_(torch.tensor(part.weight.numpy().T.copy()))
                    getattr(theirs, f"weight_hh_l{i}{suffix}").copy_(
                        torch.tensor(part.recurrent_weight.numpy().T.copy())
                    )
                    getattr(theirs, f"bias_ih_l{i}{suffix}").copy_(torch.tensor(part.bias.numpy()))
                    getattr(theirs, f"bias_hh_l{i}{suffix}").zero_()
    np.testing.assert_allclose(y, theirs(torch.tensor(X))[0].detach().numpy(), rtol=1e-10, atol=1e-12)


def test_states_of_a_stack():
    stack = nn.StackedRNN([nn.LSTM(5, True, True, dtype="float64"), nn.GRU(3, True, True, dtype="float64")],
                          return_state=True)
    whole, _ = stack(X)
    first, states = stack(X[:, :2])
    second, _ = stack(X[:, 2:], states=states)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()], 1), whole.numpy(), rtol=1e-12,
                               atol=1e-14)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_states_of_both_ways(kind):
    """Those of each way alone, taken and given, through a stack too; the padded steps change nothing."""
    layer = nn.Bidirectional(getattr(nn, kind)(5, return_sequences=True, return_state=True, dtype="float64"))
    exists = np.arange(6) < np.array([[6], [2], [4]])
    y, states = layer(X, mask=exists)
    (a, after), (b, before) = layer.onward(X, mask=exists), layer.back(X, mask=exists)
    np.testing.assert_array_equal(y.numpy(), np.concatenate([a.numpy(), b.numpy()], -1))
    for found, expected in zip(states, [*after, *before], strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    again = layer(X, states=states)[0].numpy()
    np.testing.assert_array_equal(again[..., :5], layer.onward(X, states=after)[0].numpy())
    np.testing.assert_array_equal(again[..., 5:], layer.back(X, states=before)[0].numpy())
    stack = nn.StackedRNN([layer, getattr(nn, kind)(3, return_state=True, dtype="float64")], return_state=True)
    _, found = stack(X)
    assert [len(states) for states in found] == [2 * layer.onward.state_count, layer.onward.state_count]
    assert np.abs(stack(X, states=found)[0].numpy() - stack(X)[0].numpy()).max() > 1e-3
    with pytest.raises(ShapeError, match="the states do not fit"):
        layer(X, states=states[:-1])
    with pytest.raises(ArgumentError, match="not stateful"):
        nn.Bidirectional(getattr(nn, kind)(5, stateful=True))


def test_a_model_forgets_in_all_its_layers():
    model = nn.Sequential([nn.LSTM(3, stateful=True, return_sequences=True),
                           nn.Residual([nn.GRU(3, stateful=True, return_sequences=True)])])
    x = X.astype("float32")
    first, second = model(x).numpy(), model(x).numpy()
    assert np.abs(second - first).max() > 1e-3
    model.reset_states()
    np.testing.assert_array_equal(model(x).numpy(), first)


def test_reset_before_the_product():
    layer = nn.GRU(3, dtype="float64", reset_after=False)
    layer(X)
    w, u, b = (v.numpy() for v in (layer.weight, layer.recurrent_weight, layer.bias))
    h = np.zeros((3, 3))
    for t in range(6):
        z, r, n = np.split(X[:, t] @ w + b, 3, axis=1)
        z, r = (1 / (1 + np.exp(-(a + h @ v))) for a, v in ((z, u[:, :3]), (r, u[:, 3:6])))
        h = z * h + (1 - z) * np.tanh(n + (r * h) @ u[:, 6:])
    np.testing.assert_allclose(layer(X).numpy(), h, rtol=1e-12)


def test_gates_close_and_open():
    cell = nn.LSTMCell(2, dtype="float64")
    x, states = np.ones((1, 3)), [np.full((1, 2), 0.3), np.full((1, 2), 0.7)]
    cell(x)
    cell.weight.assign(np.zeros((3, 8)))
    cell.recurrent_weight.assign(np.zeros((2, 8)))
    far = 1e3

    def run(i, f, o):
        cell.bias.assign(np.repeat([i, f, 1.0, o], 2))
        return [s.numpy() for s in cell(x, states)[1]]
    np.testing.assert_array_equal(run(-far, far, 0.0)[1], states[1])
    np.testing.assert_array_equal(run(-far, -far, 0.0)[1], 0)
    np.testing.assert_allclose(run(far, -far, 0.0)[1], np.tanh(1.0))
    np.testing.assert_array_equal(run(far, far, -far)[0], 0)


def test_conv_lstm():
    clips = np.random.default_rng(0).standard_normal((2, 5, 1, 1, 4))
    clip, flat = (nn.ConvLSTM2D(3, 1, return_sequences=True, dtype="float64"),
                  nn.LSTM(3, return_sequences=True, dtype="float64"))
    y = clip(clips).numpy()
    flat(clips[:, :, 0, 0])
    flat.weight.assign(clip.step_of.from_input.weight.numpy()[0, 0])
    flat.recurrent_weight.assign(clip.step_of.from_state.weight.numpy()[0, 0])
    np.testing.assert_allclose(y[:, :, 0, 0], flat(clips[:, :, 0, 0]).numpy(), rtol=1e-12)
    torch = pytest.importorskip("torch")
    conv, large = torch.nn.functional.conv2d, np.random.default_rng(1).standard_normal((2, 3, 5, 6, 4))
    layer = nn.ConvLSTM2D(2, 3, dtype="float64")
    found = layer(large).numpy()
    w, b, u = (torch.tensor(v.numpy()) for v in layer.variables().values())
    h = c = torch.zeros(2, 2, 5, 6, dtype=torch.float64)
    for t in range(3):
        x = torch.tensor(large[:, t]).movedim(-1, 1)
        z = conv(x, w.permute(3, 2, 0, 1), b, padding=1) + conv(h, u.permute(3, 2, 0, 1), padding=1)
        i, f, g, o = z.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    np.testing.assert_allclose(found, h.movedim(1, -1).numpy(), rtol=1e-10, atol=1e-12)


def test_mistakes():
    with pytest.raises(ArgumentError, match="initial_states"):
        nn.RNN(nn.Dense(3))
    with pytest.raises(ArgumentError, match="return_sequences"):
        nn.StackedRNN([nn.GRU(3), nn.GRU(3)])
    with pytest.raises(ArgumentError, match="return_state"):
        nn.StackedRNN([nn.GRU(3, True, True), nn.GRU(3)])
    with pytest.raises(ShapeError, match="one step"):
        nn.GRUCell(3, dtype="float64")(X)
    with pytest.raises(ShapeError):
        list(nn.chunks(2, X, X[:, :3]))
