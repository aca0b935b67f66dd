# SPDX-License-Identifier: Apache-2.0
"""Padding, pooling, resampling, transposed and separable convolutions, reparametrised weights, dropout and activations
against NumPy and PyTorch in float64."""

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


def check(layer, x, function, training=True):
    """Value and gradients with respect to x and all parameters; `function(x, *parameters)` in torch."""
    layer(x)
    variable = cr.Variable(x)
    y = layer(variable, training=training)
    g = normal(*y.shape, seed=9)
    ours = cr.gradients(cr.sum(y * g), [variable, *layer.parameters().values()])
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *(v.numpy() for v in layer.parameters().values()))]
    expected = function(*leaves)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-11)
    for a, b in zip(ours, torch.autograd.grad((expected * torch.tensor(g)).sum(), leaves), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-8, atol=1e-10)


SHAPES = {1: (2, 7, 3), 2: (2, 6, 7, 3), 3: (2, 5, 6, 4, 2)}


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("mode, name", [("reflect", "Reflect"), ("symmetric", "Symmetric"), ("edge", "Edge"),
                                        ("wrap", "Circular")])
def test_padding_is_that_of_numpy(rank, mode, name):
    x, pairs = normal(*SHAPES[rank]), ((1, 2), (3, 0), (2, 2))[:rank]
    found = getattr(nn, f"{name}Pad{rank}D")(pairs)(x).numpy()
    np.testing.assert_array_equal(found, np.pad(x, ((0, 0), *pairs, (0, 0)), mode=mode))


def test_cropping_undoes_padding():
    x = normal(2, 5, 6, 3)
    np.testing.assert_array_equal(nn.Cropping2D(((1, 2), 3))(nn.ZeroPad2D(((1, 2), 3))(x)).numpy(), x)
    with pytest.raises(ShapeError, match="nothing is left"):
        nn.Cropping2D(3)(x)


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("mode, theirs", [("reflect", "reflect"), ("edge", "replicate"), ("circular", "circular")])
def test_padding_modes_of_convolutions(rank, mode, theirs):
    layer = getattr(nn, f"Conv{rank}D")(4, 3, padding=1, padding_mode=mode, dtype="float64")

    def reference(x, w, b):
        return last(getattr(F, f"conv{rank}d")(F.pad(first(x), (1, 1) * rank, mode=theirs), w.movedim((-1, -2), (0, 1)),
                                               b))
    check(layer, normal(*SHAPES[rank]), reference)


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("mode, numpys", [("zero", "constant"), ("reflect", "reflect"), ("symmetric", "symmetric"),
                                          ("edge", "edge"), ("circular", "wrap")])
def test_padding_on_both_sides_is_padding_first(rank, mode, numpys):
    pairs, x = ((1, 2), (3, 0), (0, 1))[:rank], normal(*SHAPES[rank])
    layer, plain = (getattr(nn, f"Conv{rank}D")(4, 2, stride=2, padding=padding, padding_mode=kind, dtype="float64")
                    for padding, kind in ((pairs, mode), ("valid", "zero")))
    padded = np.pad(x, ((0, 0), *pairs, (0, 0)), mode=numpys)
    layer(x), plain(padded)
    for a, b in zip(plain.variables().values(), layer.variables().values(), strict=True):
        a.assign(b.numpy())
    np.testing.assert_allclose(layer(x).numpy(), plain(padded).numpy(), rtol=1e-12, atol=1e-13)


def test_shift_then_convolve_is_convolve_then_shift():
    layer, x = nn.Conv2D(4, 3, padding="same", padding_mode="circular", dtype="float64"), normal(2, 6, 7, 3)
    np.testing.assert_allclose(layer(np.roll(x, 2, axis=2)).numpy(), np.roll(layer(x).numpy(), 2, axis=2), rtol=1e-12,
                               atol=1e-13)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rank", SHAPES)
def test_transposed_convolutions(rank, seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, 4, rank)) for _ in range(3))
    more = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
    cut = tuple(int(rng.integers(0, ((k - 1) * d) // 2 + 1)) for k, d in zip(kernel, dilation, strict=True))
    layer = getattr(nn, f"Conv{rank}DTranspose")(2 * groups, kernel, stride=stride, padding=tuple((c, c) for c in cut),
                                                 dilation=dilation, groups=groups, output_padding=more, dtype="float64")
    x = normal(2, *rng.integers(4, 6, rank), 3 * groups, seed=seed)

    def reference(x, w, b):  # ours (*kernel, out / groups, in), theirs (in, out / groups, *kernel)
        return last(getattr(F, f"conv_transpose{rank}d")(first(x), w.movedim((-1, -2), (0, 1)), b, stride, cut, more,
                                                         groups, dilation))
    check(layer, x, reference)


def test_separable_convolution():
    layer = nn.SeparableConv2D(5, 3, padding=1, multiplier=2, dtype="float64")

    def reference(x, d, p, b):
        y = F.conv2d(first(x), d.permute(3, 2, 0, 1), None, 1, 1, 1, 3)
        return last(F.conv2d(y, p.permute(3, 2, 0, 1), b))
    check(layer, normal(2, 5, 6, 3), reference)


def test_a_convolution_of_size_one_is_dense():
    layer, x = nn.Conv2D(32, (1, 1), activation="relu", input_shape=(32, 32, 3)), normal(2, 32, 32, 3).astype("float32")
    assert sum(v.size for v in layer.parameters().values()) == 128
    dense = nn.Dense(32, activation="relu")
    dense(x)
    dense.weight.assign(layer.weight.numpy()[0, 0])
    np.testing.assert_allclose(layer(x).numpy(), dense(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("kernel, stride, padding, dilation, ceil",
                         [(2, 2, 0, 1, True), (3, 2, 1, 1, True), (2, 1, 0, 2, False), (3, 2, 1, 1, False),
                                                                      (2, 3, 1, 1, True)])
def test_pooling(rank, kernel, stride, padding, dilation, ceil):
    x, pairs = normal(*SHAPES[rank]), ((padding, padding),) * rank
    pool = getattr(F, f"max_pool{rank}d")
    layer = getattr(nn, f"MaxPool{rank}D")(kernel, stride, pairs, ceil, dilation, return_indices=True)
    maxima, places = layer(x)
    expected, indices = pool(first(torch.tensor(x)), kernel, stride, padding, dilation, ceil, True)
    np.testing.assert_array_equal(maxima.numpy(), last(expected).numpy())
    np.testing.assert_array_equal(places.numpy(), last(indices).numpy())
    check(getattr(nn, f"MaxPool{rank}D")(kernel, stride, pairs, ceil, dilation), x,
          lambda x: last(pool(first(x), kernel, stride, padding, dilation, ceil)))
    if dilation == 1:
        for counted in (False, True):
            check(
                getattr(nn, f"AvgPool{rank}D")(kernel, stride, pairs, ceil, counted),
                x,
                lambda x, counted=counted: last(
                    getattr(F, f"avg_pool{rank}d")(first(x), kernel, stride, padding, ceil, counted)
                ),
            )
    if stride == kernel and not ceil:
        back = getattr(nn, f"MaxUnpool{rank}D")(kernel, stride, pairs, output_size=x.shape[1:-1])(maxima, places)
        np.testing.assert_array_equal(back.numpy(),
                                      last(getattr(F, f"max_unpool{rank}d")(expected, indices, kernel, stride, padding,
                                                                                         x.shape[1:-1])).numpy())


def test_places_lie_within_the_image_where_all_is_minus_infinity():
    x = np.full((1, 5, 4, 1), -np.inf, np.float32)
    _, places = nn.MaxPool2D(3, 2, padding=1, return_indices=True)(x)
    _, expected = F.max_pool2d(first(torch.tensor(x)), 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(places.numpy(), last(expected).numpy())


@pytest.mark.parametrize("padding", ["same", ((1, 1), (1, 1)), ((0, 1), (1, 0))])
@pytest.mark.parametrize("backend", ["reference", "native"])
def test_padding_is_no_maximum(padding, backend):
    """What is padded is minus infinity, not zero, and of equal values the first wins."""
    layer, x = nn.MaxPool2D(2, padding=padding, return_indices=True), np.full((1, 5, 5, 2), -3.0)
    maxima, places = cr.compile(lambda x: layer(x), backend=backend)(x)
    assert np.all(maxima.numpy() == -3)
    low = 0 if padding == "same" else padding[0][0]
    rows = np.maximum(2 * np.arange(maxima.shape[1]) - low, 0)
    np.testing.assert_array_equal(places.numpy()[0, :, 0, 0] // 5, rows)


@pytest.mark.parametrize("rank", SHAPES)
def test_unpooling_and_its_gradient(rank):
    x = normal(*SHAPES[rank])
    maxima, places = getattr(nn, f"MaxPool{rank}D")(2, return_indices=True)(x)
    v, layer = cr.Variable(maxima.numpy()), getattr(nn, f"MaxUnpool{rank}D")(2, output_size=x.shape[1:-1])
    y = layer(v, places)
    t = torch.tensor(maxima.numpy(), requires_grad=True)
    expected = last(getattr(F, f"max_unpool{rank}d")(first(t), first(torch.tensor(places.numpy())), 2,
                                                     output_size=x.shape[1:-1]))
    np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
    g = normal(*y.shape, seed=2)
    ours = cr.gradients(cr.sum(y * g), [v])[0].numpy()
    np.testing.assert_array_equal(ours, torch.autograd.grad((expected * torch.tensor(g)).sum(), t)[0].numpy())
    run = cr.compile(lambda m, p: layer(m, p), backend="native")
    np.testing.assert_array_equal(run(maxima, places).numpy(), y.numpy())


@pytest.mark.parametrize("rank, sizes", [(1, 3), (1, 9), (2, (4, 3)), (2, 1), (3, (2, 3, 4))])
def test_adaptive_pooling(rank, sizes):
    for kind, name in (("avg", "Avg"), ("max", "Max")):
        check(getattr(nn, f"Adaptive{name}Pool{rank}D")(sizes), normal(*SHAPES[rank]),
              lambda x, kind=kind: last(getattr(F, f"adaptive_{kind}_pool{rank}d")(first(x), sizes)))


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_power_pooling(power):
    check(nn.LpPool2D(power, 3, 2), np.abs(normal(2, 6, 7, 3)), lambda x: last(F.lp_pool2d(first(x), power, 3, 2)))


@pytest.mark.parametrize("rank, linear", [(1, "linear"), (2, "bilinear"), (3, "trilinear")])
def test_resampling(rank, linear):
    x, factor = normal(*SHAPES[rank]), (2, 3, 2)[:rank]
    layer = getattr(nn, f"UpSampling{rank}D")
    check(layer(factor), x, lambda x: last(F.interpolate(first(x), scale_factor=factor, mode="nearest")))
    check(layer(factor, linear), x, lambda x: last(F.interpolate(first(x), scale_factor=factor, mode=linear)))


def test_cubic_resampling():
    x = normal(2, 5, 6, 3)
    check(nn.UpSampling2D((2, 3), "bicubic"), x,
          lambda x: last(F.interpolate(first(x), scale_factor=(2, 3), mode="bicubic")))
    for size in ((4, 9), (5, 6), (1, 13)):
        check(nn.Resizing(size, "cubic"), x,
              lambda x, size=size: last(F.interpolate(first(x), size=size, mode="bicubic")))
    with pytest.raises(ArgumentError, match="nearest \\| linear \\| cubic"):
        nn.UpSampling2D(2, "lanczos")


def test_pixels_and_channels():
    check(nn.PixelShuffle(2), normal(2, 3, 4, 8), lambda x: last(F.pixel_shuffle(first(x), 2)))
    check(nn.PixelUnshuffle(2), normal(2, 4, 6, 3), lambda x: last(F.pixel_unshuffle(first(x), 2)))
    with pytest.raises(ShapeError):
        nn.PixelShuffle(2)(normal(1, 2, 2, 3))


def test_instance_norm_and_prelu():
    check(nn.InstanceNorm(dtype="float64"), normal(2, 5, 6, 4),
          lambda x, w, b: last(F.instance_norm(first(x), None, None, w, b)))
    check(nn.PReLU(dtype="float64"), normal(2, 5, 6, 4), lambda x, w: last(F.prelu(first(x), w)))


def test_bilinear_and_einsum():
    layer, a, b = nn.Bilinear(3, dtype="float64", bias_initializer="normal"), normal(5, 4), normal(5, 2, seed=1)
    y = layer(a, b).numpy()
    expected = F.bilinear(torch.tensor(a), torch.tensor(b), torch.tensor(layer.weight.numpy()).permute(2, 0, 1),
                          torch.tensor(layer.bias.numpy()))
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-12)
    layer = nn.EinsumDense("abc,cd->abd", (None, 6), bias_axes="d", dtype="float64", bias_initializer="normal")
    check(layer, normal(2, 3, 4), lambda x, w, b: x @ w + b)
    check(nn.Maxout(3, 2, dtype="float64"), normal(5, 4), lambda x, w, b: (x @ w + b).reshape(5, 3, 2).amax(-1))
    with pytest.raises(ArgumentError):
        nn.EinsumDense("abc->abd", (None, 6))


# ---- weights that are functions

def test_weight_norm():
    layer = nn.WeightNorm(nn.Dense(3, dtype="float64"))
    x = normal(5, 4)
    plain = nn.Dense(3, dtype="float64", input_shape=(4,))
    layer(x)
    plain(x)
    plain.weight.assign(layer.layer.weight.numpy())
    np.testing.assert_allclose(layer(x).numpy(), plain(x).numpy(), rtol=1e-12)
    layer.magnitude.assign(np.array([1.0, 2.0, 3.0]))
    assert list(layer.parameters()) == ["layer.weight", "layer.bias", "magnitude"]
    check(layer, x, lambda x, v, b, g: x @ (v * g / v.norm(dim=0)) + b)


def test_spectral_norm():
    layer, x = nn.SpectralNorm(nn.Conv2D(5, 3, dtype="float64"), iterations=20), normal(2, 6, 6, 4)
    for _ in range(10):
        y = layer(x, training=True)
    weight = layer.layer.weight.numpy()
    sigma = np.linalg.svd(weight.reshape(-1, 5), compute_uv=False)[0]
    plain = nn.Conv2D(5, 3, dtype="float64", input_shape=(6, 6, 4))
    plain(x)
    plain.weight.assign(weight / sigma)
    np.testing.assert_allclose(y.numpy(), plain(x).numpy(), rtol=1e-8, atol=1e-10)
    assert list(layer.parameters()) == ["layer.weight", "layer.bias"]
    u, v = layer.left.numpy(), layer.right.numpy()

    def reference(x, w, b):
        return last(F.conv2d(first(x), (w / (torch.tensor(u) @ w.reshape(-1, 5) @ torch.tensor(v))).permute(3, 2, 0, 1),
                             b))
    check(layer, x, reference, training=False)
    with pytest.raises(ArgumentError, match="has no weight"):
        nn.WeightNorm(nn.ReLU())(x)


# ---- noise

@pytest.mark.parametrize("make, mean, std",
                         [(lambda: nn.AlphaDropout(0.2), 0.0, 1.0), (lambda: nn.GaussianNoise(0.5), 0.0, 1.25**0.5),
                          (lambda: nn.GaussianDropout(0.2), 0.0, 1.25**0.5), (lambda: nn.Dropout(0.2), 0.0, 1.25**0.5)])
def test_moments_of_noise(make, mean, std):
    cr.random.seed(0)
    x, layer = normal(400, 500), make()
    y = layer(x, training=True).numpy()
    assert y.mean() == pytest.approx(mean, abs=0.01)
    assert y.std() == pytest.approx(std, rel=0.01)
    np.testing.assert_array_equal(layer(x).numpy(), x)


def test_what_is_dropped_together():
    cr.random.seed(0)
    x = np.ones((20, 4, 5, 30))
    y = nn.SpatialDropout2D(0.25)(x, training=True).numpy()
    assert (y == y[:, :1, :1]).all()
    assert np.unique(y).tolist() == [0, pytest.approx(4 / 3)]
    assert (y[:, 0, 0] == 0).mean() == pytest.approx(0.25, abs=0.05)
    y = nn.StochasticDepth(0.5)(x, training=True).numpy()
    assert (y == y[:, :1, :1, :1]).all()
    assert set(np.unique(y)) == {0.0, 2.0}


# ---- activations

def test_masked_softmax():
    x, mask = normal(4, 5) * 1e4, np.random.default_rng(0).random((4, 5)) < 0.5
    mask[0], mask[1] = False, True
    y = nn.activations.masked_softmax(x, mask, temperature=2.0).numpy()
    expected = torch.softmax(torch.tensor(np.where(mask, x / 2, -np.inf)), -1).nan_to_num(0.0).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(nn.activations.masked_softmax(x, mask[1]).numpy().sum(-1), 1)


def test_activations_of_ones_own():
    @nn.activations.register
    def twice_tanh(x):
        return 2 * cr.tanh(x)
    try:
        layer = nn.Dense(3, activation="twice_tanh")
        layer(normal(2, 4).astype("float32"))
        again = nn.from_config(nn.to_config(nn.Activation(twice_tanh)))
        np.testing.assert_allclose(again(np.ones((1, 1))).numpy(), 2 * np.tanh(1))
        with pytest.raises(ArgumentError, match="already"):
            nn.activations.register(type("relu", (), {"__name__": "relu"}))
    finally:
        del nn.activations.FUNCTIONS["twice_tanh"]


def test_time_distributed():
    x = normal(2, 3, 4, 5, 2)
    layer = nn.TimeDistributed(nn.Conv2D(3, 2, dtype="float64"))
    y = layer(x).numpy()
    for t in range(3):
        np.testing.assert_allclose(y[:, t], layer.layer(x[:, t]).numpy(), rtol=1e-12)


def test_sparsemax_is_the_projection_on_the_simplex():
    x = normal(6, 5) * 2
    y = nn.activations.sparsemax(x).numpy()
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-12)
    assert (y >= 0).all()
    assert (y == 0).any()
    for other in np.random.default_rng(1).dirichlet(np.ones(5), 50):
        assert (((y - x) ** 2).sum(-1) <= ((other - x) ** 2).sum(-1) + 1e-12).all()
    v, g, h = cr.Variable(x), normal(6, 5, seed=2), 1e-6
    ours = cr.gradients(cr.sum(nn.activations.sparsemax(v) * g), [v])[0].numpy()
    d = normal(6, 5, seed=3)
    numeric = ((nn.activations.sparsemax(x + h * d).numpy() - nn.activations.sparsemax(x - h * d).numpy())
               * g).sum() / (2 * h)
    assert (ours * d).sum() == pytest.approx(numeric, rel=1e-6)
