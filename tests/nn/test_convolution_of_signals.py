# SPDX-License-Identifier: Apache-2.0
"""`cr.convolve` and `cr.correlate` against SciPy, by all three ways, with gradients and compiled; fixed kernels."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.testing import check_gradient

signal = pytest.importorskip("scipy.signal")
METHODS = ["direct", "im2col", "fft"]
SHAPES = [((7,), (3,)), ((3,), (8,)), ((1,), (1,)), ((33,), (32,)), ((6, 5), (3, 4)), ((5, 6), (6, 5)),
          ((4, 5, 6), (2, 2, 3)), ((2, 2, 2), (4, 5, 6))]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("method", [*METHODS, "auto"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_as_scipy(shapes, mode, method):
    a, b = normal(*shapes[0]), normal(*shapes[1], seed=1)
    for name in ("convolve", "correlate"):
        ours = getattr(cr, name)
        if mode == "valid" and shapes == ((5, 6), (6, 5)):
            with pytest.raises(ShapeError, match="neither signal"):
                ours(a, b, mode, method)
            continue
        expected = getattr(signal, name)(a, b, mode, "direct")
        found = ours(a, b, mode, method).numpy()
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_commutes_associates_and_has_a_one(method):
    a, b, c = normal(9), normal(5, seed=1), normal(4, seed=2)
    convolve = lambda x, y: cr.convolve(x, y, method=method)
    np.testing.assert_allclose(convolve(a, b).numpy(), convolve(b, a).numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(convolve(convolve(a, b), c).numpy(), convolve(a, convolve(b, c)).numpy(), rtol=1e-11,
                               atol=1e-12)
    np.testing.assert_allclose(convolve(a, np.ones(1)).numpy(), a, rtol=1e-12, atol=1e-14)


def test_convolution_theorem():
    a, b = normal(100), normal(60, seed=1)
    expected = np.fft.irfft(np.fft.rfft(a, 159) * np.fft.rfft(b, 159), 159)
    for method in METHODS:
        np.testing.assert_allclose(cr.convolve(a, b, method=method).numpy(), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_gradients(method, rank):
    a, b = normal(*(5, 4)[:rank]), normal(*(3, 2)[:rank], seed=1)
    for mode in ("full", "same", "valid"):
        check_gradient(lambda a, b, mode=mode: cr.convolve(a, b, mode, method), a, b)


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("method", METHODS)
def test_compiled(method, backend):
    a, b = normal(40).astype("float32"), normal(9, seed=1).astype("float32")
    run = cr.compile(lambda a, b: cr.correlate(a, b, "same", method), backend=backend)
    np.testing.assert_allclose(run(a, b).numpy(), signal.correlate(a, b, "same"), rtol=1e-4, atol=1e-4)


def test_integers_and_mistakes():
    found = cr.convolve([1, 2, 3], [1, 1])
    np.testing.assert_array_equal(found.numpy(), [1.0, 3.0, 5.0, 3.0])
    assert found.dtype == np.float64
    with pytest.raises(ShapeError, match="same number of axes"):
        cr.convolve(np.ones(3), np.ones((2, 2)))
    with pytest.raises(ShapeError, match="empty"):
        cr.convolve(np.ones(3), np.ones(0))
    with pytest.raises(ArgumentError, match="no such mode"):
        cr.convolve(np.ones(3), np.ones(3), "ful")


# ---- fixed kernels in layers

SOBEL = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def fixed(kernel, padding="valid"):
    """A layer with this kernel for one channel, which training does not change."""
    layer = nn.Conv2D(1, kernel.shape, padding=padding, bias=False, dtype="float64",
                      weight_initializer=lambda shape, dtype: kernel.reshape(shape).astype(dtype),
                      input_shape=(9, 9, 1))
    layer.variables()
    layer.freeze()
    return layer


def test_sobel_of_a_ramp_is_constant():
    ramp = np.broadcast_to(0.5 * np.arange(9.0), (9, 9))
    layer = fixed(SOBEL)
    np.testing.assert_array_equal(layer(ramp[None, :, :, None]).numpy(), np.full((1, 7, 7, 1), 8 * 0.5))
    np.testing.assert_array_equal(cr.correlate(ramp, SOBEL, "valid").numpy(), np.full((7, 7), 4.0))
    np.testing.assert_array_equal(layer(ramp.T[None, :, :, None]).numpy(), np.zeros((1, 7, 7, 1)))
    assert layer.parameters() == {}


def test_all_ones_is_nine_times_the_local_mean():
    ndimage = pytest.importorskip("scipy.ndimage")
    image = normal(9, 9)
    expected = 9 * ndimage.uniform_filter(image, 3, mode="constant")
    found = fixed(np.ones((3, 3)), "same")(image[None, :, :, None]).numpy()[0, :, :, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(cr.convolve(image, np.ones((3, 3)), "same").numpy(), expected, atol=1e-12)
