# SPDX-License-Identifier: Apache-2.0
"""Windows and their way back, shuffled channels, bags of ids, norms without weights and additive attention."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError

torch = pytest.importorskip("torch")
F = torch.nn.functional


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def first(x):
    return x.movedim(-1, 1)


def last(x):
    return x.movedim(1, -1)


def check(layer, x, function):
    """Value and gradient, against a function in torch."""
    variable, t = cr.Variable(x), torch.tensor(x, requires_grad=True)
    y, expected = layer(variable), function(t)
    g = normal(*y.shape, seed=9)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    ours, theirs = (cr.gradients(cr.sum(y * g), [variable])[0],
                    torch.autograd.grad((expected * torch.tensor(g)).sum(), t)[0])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-11)


def channel_last(windows, channels):
    """PyTorch's (N, C * k, L) as (N, L, k * C)."""
    n, _, count = windows.shape
    return windows.reshape(n, channels, -1, count).permute(0, 3, 2, 1).reshape(n, count, -1)


@pytest.mark.parametrize("kernel, stride, padding, dilation", [(2, 2, 0, 1), ((3, 2), (1, 2), 1, 1), (2, 1, 0, 2)])
def test_windows(kernel, stride, padding, dilation):
    pairs = "valid" if padding == 0 else padding
    check(nn.Unfold(kernel, stride, pairs, dilation), normal(2, 6, 7, 3),
          lambda t: channel_last(F.unfold(first(t), kernel, dilation, padding, stride), 3))


@pytest.mark.parametrize("kernel, stride", [(2, None), ((3, 2), (1, 2))])
def test_windows_put_together(kernel, stride):
    x, theirs = normal(2, 6, 8, 3), torch.nn.Fold((6, 8), kernel, stride=stride or kernel)
    windows = nn.Unfold(kernel, stride)(x)

    def reference(t):
        n, count, _ = t.shape
        return last(theirs(t.reshape(n, count, -1, 3).permute(0, 3, 2, 1).reshape(n, -1, count)))
    check(nn.Fold((6, 8), kernel, stride), windows.numpy(), reference)
    if stride is None:
        np.testing.assert_array_equal(nn.Fold((6, 8), kernel)(windows).numpy(), x)
    with pytest.raises(ShapeError, match="do not make the image"):
        nn.Fold((6, 9), kernel, stride)(windows.numpy()[:, :-1])


def test_channels_dealt_out():
    check(nn.ChannelShuffle(2), normal(2, 4, 5, 6), lambda t: last(F.channel_shuffle(first(t), 2)))
    with pytest.raises(ShapeError, match="do not divide"):
        nn.ChannelShuffle(4)(normal(2, 4, 5, 6))


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_local_response_norm(size):
    check(nn.LocalResponseNorm(size, 0.7, 0.6, 1.5), normal(2, 3, 4, 6),
          lambda t: last(F.local_response_norm(first(t), size, 0.7, 0.6, 1.5)))


def test_unit_norm():
    check(nn.UnitNorm(), normal(3, 5), lambda t: F.normalize(t, dim=-1))
    assert np.isfinite(nn.UnitNorm()(np.zeros((2, 3), "float32")).numpy()).all()


@pytest.mark.parametrize("reduce", ["mean", "sum", "max"])
@pytest.mark.parametrize("mask_id", [None, 0])
def test_bags(reduce, mask_id):
    layer = nn.EmbeddingBag(9, 4, reduce, dtype="float64", mask_id=mask_id)
    ids = np.random.default_rng(0).integers(0, 9, (5, 6))
    ids[0] = 0
    y = layer(ids)
    weight = torch.tensor(layer.weight.numpy(), requires_grad=True)
    expected = F.embedding_bag(torch.tensor(ids), weight, mode=reduce, padding_idx=mask_id)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    g = normal(5, 4, seed=2)
    ours = cr.gradients(cr.sum(y * g), [layer.weight])[0].numpy()
    theirs = torch.autograd.grad((expected * torch.tensor(g)).sum(), weight)[0].numpy()
    # a tie of the whole bag: PyTorch gives all to one, we too, perhaps another
    if not (reduce == "max" and mask_id is None):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    with pytest.raises(ArgumentError, match="mean"):
        nn.EmbeddingBag(9, 4, "median")


def test_additive_attention():
    layer, q, s = (nn.AdditiveAttention(6, return_weights=True, dtype="float64"), normal(3, 4, 5),
                   normal(3, 7, 2, seed=1))
    mask = np.arange(7) < np.array([[7], [3], [1]])
    y, weights = layer(q, s, mask=mask)
    p = {name: v.numpy() for name, v in layer.parameters().items()}
    expected = np.empty((3, 4, 7))
    for t in range(4):
        for i in range(7):
            inner = np.tanh(q[:, t] @ p["of_query.weight"] + s[:, i] @ p["of_key.weight"] + p["of_key.bias"])
            expected[:, t, i] = (inner @ p["weight"])[:, 0]
    expected = np.where(mask[:, None], np.exp(expected), 0)
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-11)
    np.testing.assert_allclose(y.numpy(), expected @ s, rtol=1e-11)
    np.testing.assert_allclose(layer(q, s)[1].numpy().sum(-1), 1, rtol=1e-12)


@pytest.mark.parametrize("size", [(5, 9), (14, 3), (7, 6)])
@pytest.mark.parametrize("mode, theirs", [("linear", {"mode": "bilinear", "align_corners": False}),
                                          ("nearest", {"mode": "nearest-exact"})])
def test_other_sizes(size, mode, theirs):
    check(nn.Resizing(size, mode), normal(2, 7, 6, 3), lambda t: last(F.interpolate(first(t), size, **theirs)))


def test_fixed_scale_and_middle():
    x = normal(2, 7, 6, 3)
    np.testing.assert_allclose(nn.Rescaling(1 / 255, -0.5)(x).numpy(), x / 255 - 0.5)
    np.testing.assert_array_equal(nn.CenterCrop((3, 4))(x).numpy(), x[:, 2:5, 1:5])
    with pytest.raises(ShapeError, match="smaller"):
        nn.CenterCrop(9)(x)
