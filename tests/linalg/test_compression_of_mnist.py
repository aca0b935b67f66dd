# SPDX-License-Identifier: Apache-2.0
"""Compression and principal components on real digits: fewer weights at the same accuracy. Slow: trains a network."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.data.idx import read_pair


def mnist(folder):
    parts = [read_pair(folder / "mnist" / f"{name}-images-idx3-ubyte.gz") for name in ("train", "t10k")]
    return [array for part in parts for array in (part.x.reshape(len(part.x), -1).astype(np.float32) / 255, part.y)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_the_weights_of_a_trained_network_do_the_same(shared_data, seed) -> None:
    x_train, y_train, x_test, y_test = mnist(shared_data)
    cr.random.seed(seed)
    model = nn.Sequential([nn.Dense(256, activation="relu", input_shape=(784,)), nn.Dense(128, activation="relu"),
                           nn.Dense(10)])
    cr.fit(model, (x_train, y_train), loss="cross_entropy", optimizer=optim.Adam(1e-3), epochs=4, batch_size=128,
           seed=seed, progress=False)
    small = cr.compress(model, budget=0.4, verbose=False)
    cr.fit(small, (x_train, y_train), loss="cross_entropy", optimizer=optim.Adam(3e-4), epochs=1, batch_size=128,
           seed=seed, progress=False)
    weights = [sum(v.size for v in m.parameters().values()) for m in (model, small)]
    accuracy = [np.mean(cr.predict(m, x_test).numpy().argmax(axis=1) == y_test) for m in (model, small)]
    assert weights[0] >= 2 * weights[1]
    assert accuracy[0] > 0.965
    assert accuracy[1] >= accuracy[0] - 0.005
