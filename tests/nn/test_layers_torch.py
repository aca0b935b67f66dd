# SPDX-License-Identifier: Apache-2.0
"""Layers and losses against PyTorch, forward and gradients, in float64 over random configurations."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn
from chainrule.errors import ArgumentError, ShapeError

torch = pytest.importorskip("torch")
F = torch.nn.functional

RTOL = 1e-9


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def compare(layer, x, reference, parameters=()):
    """Outputs, input gradient and parameter gradients of `layer` and of the function `reference(x, *parameters)`."""
    variable = cr.Variable(x)
    y = layer(variable, training=True)
    g = random(y.shape, 9)
    ours = cr.gradients(cr.sum(y * g), [variable, *layer.parameters().values()])
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *(v.numpy() for v in layer.parameters().values()))]
    expected = reference(*leaves)
    theirs = torch.autograd.grad((expected * torch.tensor(g)).sum(), leaves)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=RTOL, atol=1e-10)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=RTOL, atol=1e-9)


def first(x):
    """Channels-last to channels-first."""
    return x.movedim(-1, 1)


def last(x):
    return x.movedim(1, -1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution(rank, seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2]))
    kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, 4, rank)) for _ in range(3))
    low = tuple(int(n) for n in rng.integers(0, 3, rank))
    x = random((2, *rng.integers(7, 10, rank), 2 * groups), seed)
    layer = getattr(nn, f"Conv{rank}D")(3 * groups, kernel, stride=stride, padding=tuple((p, p) for p in low),
                                        dilation=dilation,
                                         groups=groups, dtype="float64", bias_initializer="normal")
    function = getattr(F, f"conv{rank}d")

    def reference(x, w, b):
        return last(function(first(x), w.movedim((-1, -2), (0, 1)), b, stride, low, dilation, groups))
    compare(layer, x, reference)


@pytest.mark.parametrize("extent, kernel, stride", [(7, 3, 2), (8, 3, 2), (8, 2, 1), (5, 4, 3), (6, 1, 2)])
def test_same_padding_is_that_of_keras(extent, kernel, stride):
    x = random((2, extent, extent, 3))
    layer = nn.Conv2D(4, kernel, stride=stride, padding="same", dtype="float64")
    out = -(-extent // stride)
    total = max((out - 1) * stride + kernel - extent, 0)

    def reference(x, w, b):
        padded = F.pad(first(x), (total // 2, total - total // 2) * 2)
        return last(F.conv2d(padded, w.permute(3, 2, 0, 1), b, stride))
    compare(layer, x, reference)
    assert layer(x).shape[1:3] == (out, out)


@pytest.mark.parametrize("kernel, stride, dilation", [(3, 1, 1), (4, 2, 1), (2, 1, 3), (1, 3, 2)])
def test_causal_padding_is_that_of_keras(kernel, stride, dilation):
    """Zeros before the sequence only; no step sees what comes later."""
    x = random((2, 9, 3))
    layer = nn.Conv1D(4, kernel, stride=stride, padding="causal", dilation=dilation, dtype="float64")
    compare(layer, x, lambda x, w, b: last(F.conv1d(F.pad(first(x), ((kernel - 1) * dilation, 0)), w.permute(2, 1, 0),
                                                    b, stride, 0, dilation)))
    later = x.copy()
    later[:, 4:] += 1
    steps = -(-4 // stride)  # those whose last input is before step 4
    np.testing.assert_array_equal(layer(later).numpy()[:, :steps], layer(x).numpy()[:, :steps])
    with pytest.raises(ArgumentError, match="not understood"):
        nn.Conv2D(4, 3, padding="causal")
    with pytest.raises(ArgumentError, match="no causal padding"):
        nn.Conv1DTranspose(4, 3, padding="causal")


@pytest.mark.parametrize("kernel, stride, padding, dilation",
                         [(3, 1, 0, 1), (3, 2, 1, 1), (2, 3, 0, 1), ((3, 2), (2, 1), (1, 0), (1, 2))])
def test_transposed_convolution(kernel, stride, padding, dilation):
    layer = nn.Conv2DTranspose(4, kernel, stride=stride, padding=padding, dilation=dilation, dtype="float64")

    def reference(x, w, b):
        return last(F.conv_transpose2d(first(x), w.permute(3, 2, 0, 1), b, stride, padding, 0, 1, dilation))
    compare(layer, random((2, 5, 6, 3)), reference)


@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise_convolution(multiplier):
    layer = nn.DepthwiseConv2D(3, padding=1, multiplier=multiplier, dtype="float64")
    compare(layer, random((2, 5, 6, 4)), lambda x, w, b: last(F.conv2d(first(x), w.permute(3, 2, 0, 1), b, 1, 1, 1, 4)))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)])
def test_pooling(rank, kernel, stride, padding):
    x = np.round(random((2, *(7, 6, 8)[:rank], 3)) * 2)  # many ties: the first maximum gets the gradient
    pairs = ((padding, padding),) * rank
    maximum = getattr(nn, f"MaxPool{rank}D")(kernel, stride=stride, padding=pairs)
    compare(maximum, x, lambda x: last(getattr(F, f"max_pool{rank}d")(first(x), kernel, stride, padding)))
    mean = getattr(nn, f"AvgPool{rank}D")(kernel, stride=stride, padding=pairs)
    compare(
        mean,
        x,
        lambda x: last(getattr(F, f"avg_pool{rank}d")(first(x), kernel, stride, padding, count_include_pad=False)),
    )


def test_padding_layers():
    x = random((2, 5, 6, 3))
    compare(nn.ReflectPad2D(((1, 2), (3, 0))), x, lambda x: last(F.pad(first(x), (3, 0, 1, 2), mode="reflect")))
    compare(nn.ZeroPad2D(2), x, lambda x: last(F.pad(first(x), (2, 2, 2, 2))))


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (2, 4, 5, 4)])
def test_normalisation(shape):
    x = random(shape) * 3 + 10
    compare(nn.LayerNorm(dtype="float64"), x, lambda x, w, b: F.layer_norm(x, (4,), w, b))
    compare(nn.RMSNorm(dtype="float64"), x, lambda x, w: F.rms_norm(x, (4,), w, 1e-6))
    compare(nn.GroupNorm(2, dtype="float64"), x, lambda x, w, b: last(F.group_norm(first(x), 2, w, b)) if x.ndim > 2
            else F.group_norm(x, 2, w, b))
    compare(nn.BatchNorm(dtype="float64"), x,
            lambda x, w, b: last(F.batch_norm(first(x), None, None, w, b, training=True))
            if x.ndim > 2 else F.batch_norm(x, None, None, w, b, training=True))


def test_what_is_normalised_together_and_learnt():
    x = random((3, 5, 4)) * 3 + 10
    compare(nn.LayerNorm(dtype="float64", axes=2), x, lambda x, w, b: F.layer_norm(x, (5, 4), w, b))
    compare(nn.GroupNorm(2, dtype="float64", scale=False, shift=False), x, lambda x: last(F.group_norm(first(x), 2)))
    compare(nn.RMSNorm(dtype="float64", scale=False), x, lambda x: F.rms_norm(x, (4,), None, 1e-6))
    compare(nn.ELU(0.3), x - 10, lambda x: F.elu(x, 0.3))
    layer = nn.LayerNorm(axes=2, dtype="float64")
    layer(x)
    with pytest.raises(ShapeError, match=r"built for \(5, 4\)"):
        layer(x[:, :3])
    with pytest.raises(ShapeError, match="2 axes of features"):
        layer(x[0])


def test_running_statistics_of_batch_norm():
    layer, theirs = nn.BatchNorm(dtype="float64"), torch.nn.BatchNorm1d(4, dtype=torch.float64)
    for i in range(3):
        x = random((6, 4), i) + i
        layer(x, training=True)
        theirs(torch.tensor(x))
    np.testing.assert_allclose(layer.running_mean.numpy(), theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(layer.running_variance.numpy(), theirs.running_var.numpy(), rtol=1e-12)
    x = random((6, 4), 7)
    np.testing.assert_allclose(layer(x).numpy(), theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal):
    n, steps, width, heads = 3, 5, 8, 2
    x = random((n, steps, width))
    mask = np.random.default_rng(1).random((n, steps)) < 0.7
    mask[:, 0] = True
    layer = nn.MultiHeadAttention(heads, dtype="float64")
    variable = cr.Variable(x)
    y = layer(variable, mask=mask, causal=causal)
    ours = cr.gradients(cr.sum(y * y), [variable])[0]
    theirs = torch.nn.MultiheadAttention(width, heads, batch_first=True, dtype=torch.float64)
    p = {name: torch.tensor(v.numpy()) for name, v in layer.parameters().items()}
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p[f"{name}.weight"].T for name in ("query", "key", "value")]))
        theirs.in_proj_bias.copy_(torch.cat([p[f"{name}.bias"] for name in ("query", "key", "value")]))
        theirs.out_proj.weight.copy_(p["output.weight"].T)
        theirs.out_proj.bias.copy_(p["output.bias"])
    t = torch.tensor(x, requires_grad=True)
    hidden = torch.triu(torch.ones(steps, steps, dtype=torch.bool), 1) if causal else None
    expected = theirs(t, t, t, key_padding_mask=torch.tensor(~mask), attn_mask=hidden, need_weights=False)[0]
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=RTOL, atol=1e-10)
    np.testing.assert_allclose(ours.numpy(), torch.autograd.grad((expected * expected).sum(), t)[0].numpy(), rtol=RTOL,
                               atol=1e-10)


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer(norm_first):
    layer = nn.TransformerEncoderLayer(2, 16, norm_first=norm_first, activation="relu", dtype="float64")
    x = random((3, 5, 8))
    y = layer(x).numpy()
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, norm_first=norm_first, batch_first=True,
                                              dtype=torch.float64)
    p = {name: torch.tensor(v.numpy()) for name, v in layer.parameters().items()}
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([p[f"attention.{name}.weight"].T
                                                         for name in ("query", "key", "value")]))
        theirs.self_attn.in_proj_bias.zero_()
        theirs.self_attn.out_proj.weight.copy_(p["attention.output.weight"].T)
        theirs.linear1.weight.copy_(p["network.0.weight"].T)
        theirs.linear2.weight.copy_(p[next(n for n in p if n.startswith("network.") and n.endswith("weight")
                                           and not n.startswith("network.0"))].T)
        for part in (theirs.self_attn.out_proj, theirs.linear1, theirs.linear2):
            part.bias.zero_()
    np.testing.assert_allclose(y, theirs(torch.tensor(x)).detach().numpy(), rtol=RTOL, atol=1e-10)


# ---- losses

def loss_and_gradient(loss, outputs, *args, **options):
    variable = cr.Variable(outputs)
    value = loss(variable, *args, **options)
    return value.item(), cr.gradients(value, [variable])[0].numpy()


def torch_loss(function, outputs):
    x = torch.tensor(outputs, requires_grad=True)
    value = function(x)
    return value.item(), torch.autograd.grad(value, x)[0].numpy()


def same(ours, theirs):
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-10)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(smoothing, weighted):
    rng = np.random.default_rng(0)
    x, labels, probabilities = rng.standard_normal((6, 5)) * 4, rng.integers(0, 5, 6), rng.dirichlet(np.ones(5), 6)
    weights = rng.random(5) + 0.5 if weighted else None
    options = {"class_weights": weights, "label_smoothing": smoothing}
    theirs = torch_loss(lambda t: F.cross_entropy(t, torch.tensor(labels),
                                                  weight=None if weights is None else torch.tensor(weights),
                                                  label_smoothing=smoothing), x)
    same(loss_and_gradient(losses.cross_entropy, x, labels, **options), theirs)
    same(loss_and_gradient(losses.cross_entropy, x, np.eye(5)[labels], **options), theirs)
    if not weighted:  # PyTorch divides by the number of samples then
        same(loss_and_gradient(losses.cross_entropy, x, probabilities, **options),
             torch_loss(lambda t: F.cross_entropy(t, torch.tensor(probabilities), label_smoothing=smoothing), x))


def test_labels_that_do_not_count():
    x, labels = random((6, 5)), np.array([1, -100, 4, 0, -100, 2])
    weights = random((5,), 3) ** 2
    same(loss_and_gradient(losses.cross_entropy, x, labels, ignore_label=-100),
         torch_loss(lambda t: F.cross_entropy(t, torch.tensor(labels)), x))
    same(loss_and_gradient(losses.cross_entropy, x, labels, ignore_label=-100, class_weights=weights),
         torch_loss(lambda t: F.cross_entropy(t, torch.tensor(labels), weight=torch.tensor(weights)), x))
    same(loss_and_gradient(losses.cross_entropy, x, labels, ignore_label=-100, label_smoothing=0.1),
         torch_loss(lambda t: F.cross_entropy(t, torch.tensor(labels), label_smoothing=0.1), x))
    same(loss_and_gradient(losses.cross_entropy, x, labels, ignore_label=-100, label_smoothing=0.1,
                           class_weights=weights),
         torch_loss(lambda t: F.cross_entropy(t, torch.tensor(labels), weight=torch.tensor(weights),
                                              label_smoothing=0.1), x))


def test_elementwise_losses():
    x, t = random((6, 3)) * 3, random((6, 3), 1)
    for loss, function in ((losses.mean_squared_error, F.mse_loss), (losses.mean_absolute_error, F.l1_loss),
                           (losses.huber, F.huber_loss), (losses.poisson, F.poisson_nll_loss)):
        same(loss_and_gradient(loss, x, t), torch_loss(lambda o, function=function: function(o, torch.tensor(t)), x))
    same(loss_and_gradient(losses.huber, x, t, delta=0.3),
         torch_loss(lambda o: F.huber_loss(o, torch.tensor(t), delta=0.3), x))


def test_two_classes():
    x, t = random((6, 3)) * 30, (random((6, 3), 1) > 0).astype("float64")
    same(loss_and_gradient(losses.binary_cross_entropy, x, t),
         torch_loss(lambda o: F.binary_cross_entropy_with_logits(o, torch.tensor(t)), x))
    same(loss_and_gradient(losses.binary_cross_entropy, x, t, positive_weight=3.0),
         torch_loss(lambda o: F.binary_cross_entropy_with_logits(o, torch.tensor(t), pos_weight=torch.tensor(3.0)), x))
    each = np.array([0.5, 1.0, 4.0])
    same(loss_and_gradient(losses.binary_cross_entropy, x, t, positive_weight=each),
         torch_loss(lambda o: F.binary_cross_entropy_with_logits(o, torch.tensor(t), pos_weight=torch.tensor(each)), x))


def test_divergences():
    x, t = random((6, 3)), np.random.default_rng(1).dirichlet(np.ones(3), 6)
    t[0] = [1, 0, 0]
    same(loss_and_gradient(losses.kl_divergence, x, t),
         torch_loss(lambda o: F.kl_div(F.log_softmax(o, -1), torch.tensor(t), reduction="batchmean"), x))
    u = random((6, 3), 2)
    same(loss_and_gradient(losses.cosine_distance, x, u),
         torch_loss(lambda o: F.cosine_embedding_loss(o, torch.tensor(u), torch.ones(6, dtype=torch.float64)), x))
