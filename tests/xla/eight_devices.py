# SPDX-License-Identifier: Apache-2.0
"""Run with eight host devices: networks trained on one device and on meshes; prints what came out as JSON."""

from __future__ import annotations

import json
import sys

import numpy as np

import chainrule as cr
from chainrule import models, nn, optim

STEPS = 20  # with an epsilon that keeps Adam from making steps of rounding, where a gradient is 0 (biases of keys)


def perceptron():
    x = np.random.default_rng(0).standard_normal((80, 16)).astype("float32")
    return (nn.Sequential([nn.Dense(64, activation="relu"), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(8)]),
            (x, np.arange(80) % 8), {})


def residual():
    x = np.random.default_rng(0).standard_normal((80, 8, 8, 3)).astype("float32")
    return models.resnet_cifar(20), (x, np.arange(80) % 10), {}


def recurrent():
    x = np.random.default_rng(0).standard_normal((80, 6, 8)).astype("float32")
    return nn.Sequential([nn.LSTM(16), nn.Dense(8)]), (x, np.arange(80) % 8), {}


def transformer():
    ids = np.random.default_rng(0).integers(0, 16, (80, 9))
    return models.gpt(vocabulary=16, length=8, width=32, depth=2, heads=4), (ids[:, :-1], ids[:, 1:]), {"blocks": 2}


def train(make, mesh=None, shard=None):
    """Losses of 20 steps, the weights after them, and the predictions."""
    model, (x, y), _ = make()
    history = cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(1e-3, epsilon=1e-3),
                     epochs=STEPS * 16 // 80, batch_size=16, seed=0, metrics=["accuracy"], backend="xla",
                     progress=False, shard=shard)
    outputs = cr.predict(model, x, backend="xla")
    return [*history["loss"], *history["accuracy"]], model.variables(), outputs


def apart(one, other):
    """The largest difference of losses, weights, and predictions."""
    weights = max(float(np.abs(v.numpy() - one[1][name].numpy()).max()) for name, v in other[1].items())
    return [float(np.abs(np.subtract(one[0], other[0])).max()), weights, float(np.abs(one[2] - other[2]).max())]


MESHES = {"copies": {"data": 8}, "fully_sharded": {"data": 8, "strategy": "fully_sharded"},
          "two axes": {"data": 4, "model": 2},
          "tensor": {"data": 2, "model": 4, "strategy": "tensor"}, "sequence": {"data": 2, "sequence": 4}}

if __name__ == "__main__":
    network, *names = sys.argv[1:]
    make = {"perceptron": perceptron, "residual": residual, "recurrent": recurrent, "transformer": transformer}[network]
    alone = train(make)
    found = {}
    for name in names:
        mesh = cr.distribute(**MESHES[name])
        with mesh:
            there = train(make, mesh, {"0.weight": (None, "model")} if name == "two axes" else None)
        cut = sum(axis is not None for v in there[1].values() for axis in mesh.of(v))
        found[name] = {"apart": apart(alone, there), "cut": cut}
    print(json.dumps(found))
