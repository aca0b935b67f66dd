# SPDX-License-Identifier: Apache-2.0
"""Stacks of recurrent layers against PyTorch: one to three layers, one or both ways, outputs, states and all gradients;
ragged batches against each sequence alone."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

torch = pytest.importorskip("torch")
X = np.random.default_rng(0).standard_normal((3, 6, 4))
KINDS = {"rnn": (nn.SimpleRNN, torch.nn.RNN, [0]), "lstm": (nn.LSTM, torch.nn.LSTM, [0, 1, 2, 3]),
         "gru": (nn.GRU, torch.nn.GRU, [1, 0, 2])}


def columns(order, units=5):
    """Our gates in PyTorch's order."""
    return np.concatenate([np.arange(units) + units * i for i in order])


def pairs(kind, stack, theirs, both_ways):
    """(our Variable, PyTorch's parameter, from our array to PyTorch's) for every parameter."""
    chosen = columns(KINDS[kind][2])
    for k, layer in enumerate(stack.layers):
        for suffix, part in (("", layer.onward), ("_reverse", layer.back)) if both_ways else (("", layer),):
            turn = lambda a: a[..., chosen].T.copy()
            yield part.weight, getattr(theirs, f"weight_ih_l{k}{suffix}"), turn
            yield part.recurrent_weight, getattr(theirs, f"weight_hh_l{k}{suffix}"), turn
            yield part.bias, getattr(theirs, f"bias_ih_l{k}{suffix}"), turn
            if kind == "gru":
                yield part.recurrent_bias, getattr(theirs, f"bias_hh_l{k}{suffix}"), lambda a: np.r_[np.zeros(10), a]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("both_ways", [False, True])
def test_outputs_and_all_gradients(kind, layers, both_ways):
    ours, theirs, _ = KINDS[kind]
    make = lambda: (
        nn.Bidirectional(ours(5, return_sequences=True, dtype="float64"))
        if both_ways
        else ours(5, return_sequences=True, dtype="float64")
    )
    stack = nn.StackedRNN([make() for _ in range(layers)])
    stack(X)
    rng = np.random.default_rng(1)
    for variable in stack.parameters().values():
        variable.assign(0.4 * rng.standard_normal(variable.shape))
    twin = theirs(4, 5, layers, batch_first=True, bidirectional=both_ways, dtype=torch.float64)
    matched = list(pairs(kind, stack, twin, both_ways))
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if name.startswith("bias_hh"):
                parameter.zero_()
        for variable, parameter, turn in matched:
            parameter.copy_(torch.tensor(turn(variable.numpy())))
    weights = rng.standard_normal((3, 6, 10 if both_ways else 5))
    x, t = cr.Variable(X), torch.tensor(X, requires_grad=True)
    y, expected = stack(x), twin(t)[0]
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    found = cr.gradients(cr.sum(y * weights), [x, *(variable for variable, *_ in matched)])
    slopes = torch.autograd.grad((expected * torch.tensor(weights)).sum(),
                                 [t, *(parameter for _, parameter, _ in matched)])
    np.testing.assert_allclose(found[0].numpy(), slopes[0].numpy(), rtol=1e-8, atol=1e-11)
    for g, slope, (variable, _, turn) in zip(found[1:], slopes[1:], matched, strict=True):
        mine, other = turn(g.numpy()), slope.numpy()
        if kind == "gru" and variable.name.endswith("recurrent_bias"):
            mine, other = mine[10:], other[10:]  # the other two gates have one bias here, two there
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ragged_batch_is_each_sequence_alone(kind):
    """As PyTorch with packed sequences: outputs, last states and gradients."""
    lengths, (ours, theirs, order) = [6, 2, 4], KINDS[kind]
    layer = ours(5, return_sequences=True, return_state=True, dtype="float64")
    layer(X)
    twin = theirs(4, 5, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        twin.weight_ih_l0.copy_(torch.tensor(layer.weight.numpy()[:, columns(order)].T.copy()))
        twin.weight_hh_l0.copy_(torch.tensor(layer.recurrent_weight.numpy()[:, columns(order)].T.copy()))
        twin.bias_ih_l0.copy_(torch.tensor(layer.bias.numpy()[columns(order)]))
        twin.bias_hh_l0.zero_()
    exists = np.arange(6) < np.array(lengths)[:, None]
    x, t = cr.Variable(X), torch.tensor(X, requires_grad=True)
    y, states = layer(x, mask=exists)
    packed = torch.nn.utils.rnn.pack_padded_sequence(t, lengths, batch_first=True, enforce_sorted=False)
    output, last = twin(packed)
    padded = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)[0]
    np.testing.assert_allclose(y.numpy()[exists], padded.detach().numpy()[exists], rtol=1e-10, atol=1e-12)
    for a, b in zip(states, last if kind == "lstm" else [last], strict=True):
        np.testing.assert_allclose(a.numpy(), b[0].detach().numpy(), rtol=1e-10, atol=1e-12)
    ours_g = cr.gradients(cr.sum(y * y * exists[..., None].astype("float64")), [x])[0].numpy()
    theirs_g = torch.autograd.grad((padded * padded * torch.tensor(exists[..., None])).sum(), t)[0].numpy()
    np.testing.assert_allclose(ours_g, theirs_g, rtol=1e-9, atol=1e-12)
    assert np.all(ours_g[~exists] == 0)
