# SPDX-License-Identifier: Apache-2.0
"""Ready-made networks for images: known numbers of parameters, known weights with known results, and that they learn.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, models, nn, optim
from chainrule.errors import ArgumentError
from chainrule.ir import Type
from chainrule.nn.core.module import watching

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cifar import lossless, published

COUNTS = {
    "lenet5": (lambda: models.lenet5(), (28, 28, 1), 61_706),
    "resnet18": (lambda: models.resnet(18), (224, 224, 3), 11_689_512),
    "resnet34": (lambda: models.resnet(34), (224, 224, 3), 21_797_672),
    "resnet50": (lambda: models.resnet(50), (224, 224, 3), 25_557_032),
    "resnet20": (lambda: models.resnet_cifar(20), (32, 32, 3), 269_722),
    "resnet56": (lambda: models.resnet_cifar(56), (32, 32, 3), 853_018),
}


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters(name):
    make, shape, expected = COUNTS[name]
    model = make()
    assert sum(v.size for v in model.parameters().values()) == expected
    assert model.trace(Type((2, *shape), np.dtype("float32")))[1].shape == (2, 10 if shape[0] < 200 else 1000)


def test_shapes_on_the_way():
    model = models.resnet(18)
    shapes = []
    with watching(lambda m, y: shapes.append(y.shape[1:]) if isinstance(m, nn.Residual) else None):
        model.trace(Type((1, 224, 224, 3), np.dtype("float32")))
    assert shapes[::2] == [(56, 56, 64), (28, 28, 128), (14, 14, 256), (7, 7, 512)]
    with pytest.raises(ArgumentError, match="no such residual network"):
        models.resnet(20)
    with pytest.raises(ArgumentError, match="6 n"):
        models.resnet_cifar(18)


def test_published_weights_give_the_published_accuracy(shared_data):
    model = published(shared_data / "pretrained" / "resnet-cifar10" / "resnet20.safetensors")
    x, y = lossless(shared_data)
    run = cr.compile(lambda x: model(x))
    logits = np.concatenate([run(x[i:i + 250]).numpy() for i in range(0, 1000, 250)])
    known = np.loadtxt(shared_data / "pretrained" / "resnet-cifar10" / "resnet20_logits_first8_test.csv", delimiter=",",
                       ndmin=2)
    np.testing.assert_allclose(logits[:8], known[:, -10:], rtol=1e-3, atol=2e-3)
    assert (logits.argmax(1) == y).sum() in range(913, 918)  # 915 by an independent implementation


@pytest.mark.parametrize("make", [lambda: models.lenet5(2, (16, 16, 1)), lambda: models.vgg(2, (8, 8, 1), (4, 8), 1),
                                  lambda: models.resnet_cifar(8, 2, (8, 8, 1), 4)])
def test_they_learn(make):
    cr.random.seed(0)
    model, rng = make(), np.random.default_rng(0)
    optimizer = optim.Adam(1e-2)

    def batch():
        y = rng.integers(0, 2, 32)
        x = 0.3 * rng.standard_normal((32, *model.input_shape))
        for image, upright, place in zip(x, y, rng.integers(0, model.input_shape[0], 32), strict=True):
            image[:, place] += upright
            image[place] += 1 - upright
        return x.astype("float32"), y

    @cr.compile(backend="reference")
    def step(x, y):
        value = losses.cross_entropy(model(x, training=True), y)
        optimizer.update(model, cr.gradients(value, model))
        return value
    values = [step(*batch()).item() for _ in range(50)]
    assert np.mean(values[-5:]) < 0.35
