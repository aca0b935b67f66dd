# SPDX-License-Identifier: Apache-2.0
"""Gates and memory cells against NumPy, peepholes and projections, Keras's GRU, and loops in pieces: the same gradients
from less memory."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.testing import check_gradient

X = np.random.default_rng(0).standard_normal((3, 7, 4))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def randomized(layer, x=X, seed=1):
    layer(x)
    rng = np.random.default_rng(seed)
    for variable in layer.parameters().values():
        variable.assign(0.5 * rng.standard_normal(variable.shape))
    return layer


# ---- LSTM

def numpy_lstm(layer, x):
    """Every gate and state of every step, name -> (batch, steps, units)."""
    w, u, b = (v.numpy() for v in (layer.weight, layer.recurrent_weight, layer.bias))
    units = layer.units
    p = layer.peephole_weight.numpy() if layer.peephole else np.zeros((3, units))
    r = layer.projection_weight.numpy() if layer.projection else np.eye(units)
    h, c, trace = np.zeros((len(x), r.shape[1])), np.zeros((len(x), units)), {}
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ w + h @ u + b, 4, axis=1)
        i, f, g = sigmoid(i + p[0] * c), sigmoid(f + p[1] * c), np.tanh(g)
        c = f * c + i * g
        o = sigmoid(o + p[2] * c)
        h = (o * np.tanh(c)) @ r
        for name, value in (("input_gate", i), ("forget_gate", f), ("candidate", g), ("output_gate", o),
                            ("memory_cell", c), ("hidden_state", h)):
            trace.setdefault(name, []).append(value)
    return {name: np.stack(values, 1) for name, values in trace.items()}


@pytest.mark.parametrize("options", [{}, {"peephole": True}, {"projection": 2}, {"peephole": True, "projection": 3}])
def test_every_gate_and_the_memory_cell(options):
    layer = randomized(nn.LSTM(5, return_sequences=True, dtype="float64", **options))
    expected, found = numpy_lstm(layer, X), layer.inspect(X)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(layer(X).numpy(), expected["hidden_state"], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("options", [{"peephole": True}, {"projection": 2}])
def test_gradients_of_peepholes_and_projections(options):
    layer = randomized(nn.LSTM(3, dtype="float64", **options))
    check_gradient(lambda x: layer(x), X[:2, :3])
    variables = list(layer.parameters().values())
    found = cr.gradients(cr.sum(layer(X) ** 2), variables)
    for variable, slope in zip(variables, found, strict=True):
        start, direction = variable.numpy(), np.random.default_rng(2).standard_normal(variable.shape)
        values = []
        for step in (1e-6, -1e-6):
            variable.assign(start + step * direction)
            values.append(cr.sum(layer(X) ** 2).item())
        variable.assign(start)
        np.testing.assert_allclose((values[0] - values[1]) / 2e-6, np.sum(slope.numpy() * direction), rtol=1e-6,
                                   atol=1e-8)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_projection_as_pytorch(layers):
    torch = pytest.importorskip("torch")
    stack = nn.StackedRNN([nn.LSTM(5, True, dtype="float64", projection=3) for _ in range(layers)])
    randomized(stack)
    theirs = torch.nn.LSTM(4, 5, layers, batch_first=True, proj_size=3, dtype=torch.float64)
    with torch.no_grad():
        for k, layer in enumerate(stack.layers):
            for name, value in (("weight_ih", layer.weight), ("weight_hh", layer.recurrent_weight),
                                ("weight_hr", layer.projection_weight)):
                getattr(theirs, f"{name}_l{k}").copy_(torch.tensor(value.numpy().T.copy()))
            getattr(theirs, f"bias_ih_l{k}").copy_(torch.tensor(layer.bias.numpy()))
            getattr(theirs, f"bias_hh_l{k}").zero_()
    x, t = cr.Variable(X), torch.tensor(X, requires_grad=True)
    y, expected = stack(x), theirs(t)[0]
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    ours = cr.gradients(cr.sum(y * y), [x])[0].numpy()
    np.testing.assert_allclose(ours, torch.autograd.grad((expected * expected).sum(), t)[0].numpy(), rtol=1e-8,
                               atol=1e-11)


def test_the_memory_cell_carries_an_error_unchanged():
    """Forget gate 1, input gate 0: c stays, and its gradient passes through 7 steps unchanged (constant error
    carousel)."""
    layer = nn.LSTM(2, return_state=True, dtype="float64")
    layer(X)
    for variable in (layer.weight, layer.recurrent_weight):
        variable.assign(np.zeros(variable.shape))
    layer.bias.assign(np.repeat([-1e3, 1e3, 0.0, 0.0], 2))
    h, c = np.zeros((3, 2)), cr.Variable(np.full((3, 2), 0.7))
    _, (_, last) = layer(X, states=[h, c])
    np.testing.assert_array_equal(last.numpy(), c.numpy())
    np.testing.assert_array_equal(cr.gradients(cr.sum(last), [c])[0].numpy(), np.ones((3, 2)))
    gates = layer.inspect(X)
    assert np.all(gates["forget_gate"].numpy() == 1) and np.all(gates["input_gate"].numpy() == 0)


# ---- GRU, as Keras defines both of its variants (its gates are in our order: z, r, n)

@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_as_keras(reset_after):
    layer = randomized(nn.GRU(5, return_sequences=True, dtype="float64", reset_after=reset_after))
    kernel, recurrent, bias = (v.numpy() for v in (layer.weight, layer.recurrent_weight, layer.bias))
    recurrent_bias = np.r_[np.zeros(10), layer.recurrent_bias.numpy()] if reset_after else np.zeros(15)
    h, outputs = np.zeros((3, 5)), []
    for t in range(X.shape[1]):
        x_z, x_r, x_h = np.split(X[:, t] @ kernel + bias, 3, axis=1)
        if reset_after:
            r_z, r_r, r_h = np.split(h @ recurrent + recurrent_bias, 3, axis=1)
            z, r = sigmoid(x_z + r_z), sigmoid(x_r + r_r)
            candidate = np.tanh(x_h + r * r_h)
        else:
            z, r = sigmoid(x_z + h @ recurrent[:, :5]), sigmoid(x_r + h @ recurrent[:, 5:10])
            candidate = np.tanh(x_h + (r * h) @ recurrent[:, 10:])
        h = z * h + (1 - z) * candidate
        outputs.append(h)
    np.testing.assert_allclose(layer(X).numpy(), np.stack(outputs, 1), rtol=1e-10, atol=1e-13)
    assert list(layer.inspect(X)) == ["update_gate", "reset_gate", "candidate", "hidden_state"]


# ---- loops

def unrolled(layer, x):
    """The same layer step by step in Python."""
    states, outputs = None, []
    for t in range(x.shape[1])[::-1] if layer.reverse else range(x.shape[1]):
        y, states = single(layer, x[:, t:t + 1], states)
        outputs.append(y)
    return outputs[::-1] if layer.reverse else outputs


def single(layer, x, states):
    z = layer._driven(x)[:, 0]
    states = layer._states(states, x.shape[0])
    new = layer.cell(states, z, cr.asarray(layer.recurrent_weight.value))
    return new[0], list(new)


@pytest.mark.parametrize("kind", [nn.SimpleRNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("piece", [None, 1, 3, 7, 20])
def test_gradient_of_the_loop_is_that_of_the_steps(kind, reverse, piece):
    layer = randomized(kind(5, return_sequences=True, dtype="float64", reverse=reverse, piece=piece))
    x = cr.Variable(X)
    targets = [x, *layer.parameters().values()]
    weights = np.random.default_rng(3).standard_normal((3, 7, 5))
    y = layer(x)
    parts = unrolled(layer, x)
    np.testing.assert_allclose(y.numpy(), np.stack([p.numpy() for p in parts], 1), rtol=1e-12, atol=1e-14)
    ours = cr.gradients(cr.sum(y * weights), targets)
    theirs = cr.gradients(sum(cr.sum(p * weights[:, t]) for t, p in enumerate(parts)), targets)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)


def test_pieces_with_masks_and_states():
    mask = np.arange(7) < np.array([[7], [3], [5]])
    for reverse in (False, True):
        plain, pieces = (nn.LSTM(5, return_state=True, dtype="float64", reverse=reverse, piece=p) for p in (None, 3))
        randomized(plain)
        randomized(pieces)
        states = [0.3 * np.ones((3, 5)), -0.2 * np.ones((3, 5))]
        for a, b in zip(plain(X, mask=mask, states=states)[1], pieces(X, mask=mask, states=states)[1], strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)


def arena(piece, steps):
    """Bytes that a compiled training step keeps for what it computes on the way."""
    cr.random.seed(0)
    layer = nn.LSTM(16, piece=piece)
    x = np.zeros((4, steps, 8), "float32")
    layer(x)
    step = cr.compile(lambda x: list(cr.gradients(cr.sum(layer(x)), layer).values()), backend="native")
    step(x)
    (entry,) = step.entries.values() if isinstance(step.entries, dict) else step.entries
    return entry.program.arena.nbytes


def test_pieces_take_less_memory():
    whole, pieces = arena(None, 256), arena(16, 256)
    assert pieces < whole / 4
    assert arena(32, 1024) < 3 * pieces  # square roots: 4 times the steps, twice the memory
