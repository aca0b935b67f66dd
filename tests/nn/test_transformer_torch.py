# SPDX-License-Identifier: Apache-2.0
"""The whole transformer against torch.nn.Transformer with copied weights, and both of PyTorch's conventions for masks.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DTypeError, ShapeError

torch = pytest.importorskip("torch")
F = torch.nn.functional


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def copy_attention(ours, theirs):
    parts = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.copy_(torch.cat([torch.tensor(p.weight.numpy()).T for p in parts]))
    theirs.in_proj_bias.copy_(torch.cat([torch.tensor(p.bias.numpy()) for p in parts]))
    copy_dense(ours.output, theirs.out_proj)


def copy_dense(ours, theirs):
    theirs.weight.copy_(torch.tensor(ours.weight.numpy()).T)
    theirs.bias.copy_(torch.tensor(ours.bias.numpy()))


def copy_norm(ours, theirs):
    theirs.weight.copy_(torch.tensor(ours.weight.numpy()))
    theirs.bias.copy_(torch.tensor(ours.bias.numpy()))


def copy_layer(ours, theirs, decoder):
    copy_attention(ours.attention, theirs.self_attn)
    if decoder:
        copy_attention(ours.cross_attention, theirs.multihead_attn)
    dense = [layer for layer in ours.network if isinstance(layer, nn.Dense)]
    copy_dense(dense[0], theirs.linear1)
    copy_dense(dense[1], theirs.linear2)
    norms = [ours.norm_attention, *([ours.norm_cross_attention] if decoder else []), ours.norm_network]
    for i, norm in enumerate(norms, 1):
        copy_norm(norm, getattr(theirs, f"norm{i}"))


def random_weights(model):
    """Biases and scales that are not 0 and 1, so that each must be in its place."""
    rng = np.random.default_rng(5)
    for variable in model.parameters().values():
        variable.assign(variable.numpy() + 0.1 * rng.standard_normal(variable.shape))


def twins(norm_first):
    ours = nn.Transformer(2, 16, 2, 3, norm_first=norm_first, activation="relu", dtype="float64")
    ours(normal(1, 4, 8), normal(1, 3, 8))
    random_weights(ours)
    theirs = torch.nn.Transformer(8, 2, 2, 3, 16, 0.0, norm_first=norm_first, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name, decoder in (("encoder", False), ("decoder", True)):
            for a, b in zip(getattr(ours, name).layers, getattr(theirs, name).layers, strict=True):
                copy_layer(a, b, decoder)
            copy_norm(getattr(ours, name).norm, getattr(theirs, name).norm)
    return ours, theirs


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer(norm_first, masked):
    ours, theirs = twins(norm_first)
    source, target = normal(3, 6, 8), normal(3, 5, 8, seed=1)
    exists = np.arange(6) < np.array([[6], [4], [1]])
    a, b = cr.Variable(source), cr.Variable(target)
    y = ours(a, b, source_mask=exists if masked else None)
    gradients = cr.gradients(cr.sum(y * y), [a, b])
    s, t = (torch.tensor(x, requires_grad=True) for x in (source, target))
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    padding = torch.tensor(~exists) if masked else None
    expected = theirs(s, t, tgt_mask=hidden, src_key_padding_mask=padding, memory_key_padding_mask=padding)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-8, atol=1e-10)
    for ours_g, theirs_g in zip(gradients, torch.autograd.grad((expected * expected).sum(), (s, t)), strict=True):
        np.testing.assert_allclose(ours_g.numpy(), theirs_g.numpy(), rtol=1e-7, atol=1e-9)


def test_decoding_by_steps_is_the_whole():
    model = nn.Transformer(2, 16, 1, 2)
    source, target = normal(3, 6, 8).astype("float32"), normal(3, 5, 8, seed=1).astype("float32")
    whole = model(source, target).numpy()
    memory, cache = model.encode(source), model.cache(3, 5)
    parts = [model.decode(target[:, t:t + 1], memory, cache=cache).numpy() for t in range(5)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-4, atol=1e-5)
    with pytest.raises(ShapeError, match="do not fit"):
        model(source, target[:2])


def test_depth_and_norms():
    assert nn.TransformerEncoder(3, 2, 8).norm is not None
    assert nn.TransformerEncoder(3, 2, 8, norm_first=False).norm is None
    assert isinstance(nn.TransformerDecoder(1, 2, 8, norm="rms").norm, nn.RMSNorm)


def test_no_bias_anywhere():
    model = nn.Transformer(2, 16, 1, 1, bias=False, norm="rms")
    model(normal(1, 4, 8).astype("float32"), normal(1, 3, 8).astype("float32"))
    assert [name for name in model.parameters() if "bias" in name] == []


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm_first", [False, True])
def test_compiled_in_float32(norm_first):
    """Value and all gradients of the compiled whole, in float32, as PyTorch's."""
    ours, theirs = twins(norm_first)
    source, target = normal(2, 9, 8).astype("float32"), normal(2, 8, 8, seed=1).astype("float32")
    narrow = nn.Transformer(2, 16, 2, 3, norm_first=norm_first, activation="relu")
    narrow(source, target)
    for a, b in zip(narrow.variables().values(), ours.variables().values(), strict=True):
        a.assign(b.numpy().astype("float32"))

    @cr.compile
    def step(source, target):
        y = narrow(source, target)
        return y, cr.gradients(cr.sum(y * y), [source, target, narrow.encoder.layers[0].attention.query.weight])
    y, gradients = step(source, target)
    s, t = (torch.tensor(x.astype("float64"), requires_grad=True) for x in (source, target))
    expected = theirs(s, t, tgt_mask=torch.triu(torch.ones(8, 8, dtype=torch.bool), 1))
    weight = theirs.encoder.layers[0].self_attn.in_proj_weight
    slopes = torch.autograd.grad((expected * expected).sum(), (s, t, weight))
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    for a, b in zip(gradients, (slopes[0], slopes[1], slopes[2][:8].T), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4 * float(b.abs().max()))


# ---- masks

def theirs_by_function(q, k, v, mask):
    """scaled_dot_product_attention on (N, T, H, d)."""
    y = F.scaled_dot_product_attention(*(torch.tensor(x).transpose(1, 2) for x in (q, k, v)), attn_mask=mask)
    return y.transpose(1, 2).numpy()


@pytest.mark.parametrize("kind", ["none", "causal", "padding", "arbitrary", "float"])
def test_attention_is_that_of_pytorch(kind):
    q, k, v = normal(3, 5, 2, 4), normal(3, 6, 2, 4, seed=1), normal(3, 6, 2, 4, seed=2)
    rng = np.random.default_rng(3)
    arbitrary = rng.random((3, 2, 5, 6)) < 0.6
    arbitrary[..., 0] = True
    mask = {"none": None, "causal": np.tril(np.ones((5, 6), bool), 1), "arbitrary": arbitrary,
            "float": np.where(arbitrary, 0.0, -np.inf),
            "padding": np.broadcast_to((np.arange(6) < np.array([[6], [4], [1]]))[:, None, None], (3, 1, 5, 6))}[kind]
    expected = theirs_by_function(q, k, v, None if mask is None else torch.tensor(mask))
    found = nn.attention(*map(cr.asarray, (q, k, v)), nn.masks.from_torch(mask, of="scaled_dot_product_attention"))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-11)


def test_both_conventions():
    """True looks in one and does not in the other; after conversion both give what PyTorch gives."""
    x, exists = normal(3, 5, 8), np.arange(5) < np.array([[5], [3], [2]])
    layer, theirs = (nn.MultiHeadAttention(2, dtype="float64"),
                     torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64))
    layer(x)
    random_weights(layer)
    with torch.no_grad():
        copy_attention(layer, theirs)
    t, hidden = torch.tensor(x), np.triu(np.ones((5, 5), bool), 1)
    for attn in (None, hidden, np.where(hidden, -np.inf, 0.0)):
        padding = ~exists if attn is None or attn.dtype == bool else np.where(exists, 0.0, -np.inf)
        for key_padding in (None, padding):
            expected = theirs(t, t, t, attn_mask=None if attn is None else torch.tensor(attn), need_weights=False,
                              key_padding_mask=None if key_padding is None
                              else torch.tensor(key_padding))[0].detach().numpy()
            mask = nn.masks.from_torch(attn, key_padding)
            np.testing.assert_allclose(layer(x, mask=mask).numpy(), expected, rtol=1e-9, atol=1e-10)
    hidden = np.random.default_rng(0).random((6, 5, 5)) < 0.4
    hidden[..., 0] = False
    expected = theirs(t, t, t, attn_mask=torch.tensor(hidden), need_weights=False)[0].detach().numpy()
    np.testing.assert_allclose(layer(x, mask=nn.masks.from_torch(hidden, heads=2)).numpy(), expected, rtol=1e-9,
                               atol=1e-10)
    with pytest.raises(ShapeError, match="heads=4"):
        nn.masks.from_torch(hidden, heads=4)
    np.testing.assert_array_equal(layer(x, mask=nn.masks.ignore(~exists)).numpy(),
                                  layer(x, mask=nn.masks.keep(exists)).numpy())
    with pytest.raises(DTypeError, match="booleans"):
        nn.masks.keep(np.ones((3, 5)))
    with pytest.raises(ArgumentError, match="bias="):
        nn.masks.additive(np.array([[0.0, -2.5, -np.inf]]))
    with pytest.raises(DTypeError, match="added"):
        nn.masks.additive(exists)
    with pytest.raises(ArgumentError, match="attentions"):
        nn.masks.from_torch(exists, of="attention")


@pytest.mark.parametrize("heads, key_heads", [(4, 2), (4, 1)])
def test_grouped_heads_are_those_of_pytorch(heads, key_heads):
    q, k, v = normal(2, 5, heads, 3), normal(2, 6, key_heads, 3, seed=1), normal(2, 6, key_heads, 3, seed=2)
    repeated = [np.repeat(x, heads // key_heads, axis=2) for x in (k, v)]
    expected = F.scaled_dot_product_attention(*(torch.tensor(x).transpose(1, 2) for x in (q, k, v)),
                                              enable_gqa=True).transpose(1, 2)
    np.testing.assert_allclose(nn.attention(*map(cr.asarray, (q, *repeated))).numpy(), expected.numpy(), rtol=1e-9,
                               atol=1e-11)
