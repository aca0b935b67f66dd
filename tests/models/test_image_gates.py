# SPDX-License-Identifier: Apache-2.0
"""What convolutional networks must reach on well-known data, from the files to the score on the whole test set."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import augment, models, optim
from chainrule.data import load


def images(folder):
    data = load(str(folder))
    scale = lambda x: (x.reshape(-1, 28, 28, 1) / np.float32(255)).astype("float32")
    return scale(data.x_train), data.y_train, scale(data.x_test), data.y_test


def accuracy(model, x, y):
    run = cr.compile(lambda x: model(x))
    return np.mean([run(x[i:i + 500]).numpy().argmax(1) == y[i:i + 500] for i in range(0, len(x), 500)])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name, epochs, least, changes",
                         [("mnist", 4, 0.99, None), ("fashion-mnist", 9, 0.92, augment.Flip())])
def test_a_small_network_on_mnist(shared_data, name, epochs, least, changes):
    x, y, x_test, y_test = images(shared_data / name)
    cr.random.seed(0)
    model = models.cnn(10, (28, 28, 1), width=16)
    steps = len(x) // 128 * epochs
    cr.fit(model, (x, y), loss="cross_entropy", epochs=epochs, batch_size=128, progress=False, seed=0,
           optimizer=optim.Adam(optim.schedules.one_cycle(4e-3, steps)), augment=changes)
    assert accuracy(model, x_test, y_test) >= least
