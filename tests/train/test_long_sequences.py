# SPDX-License-Identifier: Apache-2.0
"""What lies 100 or 200 steps back: plain recurrent networks cannot learn it, gated ones can (Hochreiter and
Schmidhuber, 1997)."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim

CHANCE = 0.167  # variance of the sum of two uniform numbers


def copy_memory(generator, n, between=100, symbols=8):
    """One of `symbols` symbols, then other ones that do not matter, then a mark at which the first symbol is asked for.
    """
    ids = generator.integers(symbols, 2 * symbols, (n, between + 2))
    ids[:, 0], ids[:, -1] = generator.integers(0, symbols, n), 2 * symbols
    return np.eye(2 * symbols + 1, dtype=np.float32)[ids], ids[:, 0]


def adding(generator, n, steps=200):
    """Random numbers and two marks, one in each half: the sum of the two marked numbers is asked for."""
    x = np.zeros((n, steps, 2), np.float32)
    x[:, :, 0] = generator.random((n, steps))
    for half in (0, steps // 2):
        x[np.arange(n), generator.integers(half, half + steps // 2, n), 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(1, keepdims=True)


def train(layer, outputs, loss, draw, steps, batch, done):
    generator = np.random.default_rng(0)
    model, optimizer = nn.Sequential([layer, nn.Dense(outputs)]), optim.Adam(3e-3, clip_norm=1.0)
    model(draw(generator, 2)[0])

    @cr.compile
    def step(x, y):
        value = loss(model(x, training=True), y)
        optimizer.update(model, cr.gradients(value, model))
        return value
    x, y = draw(generator, 1000)
    for number in range(steps):
        step(*draw(generator, batch))
        if number % 100 == 99 and done(cr.predict(model, x).numpy(), y):
            break
    return cr.predict(model, x).numpy(), y


def right(outputs, y):
    return (outputs.argmax(-1) == y).mean()


def error(outputs, y):
    return np.square(outputs - y).mean()


def test_the_biases_of_a_layer_with_memory_keep_states_for_its_steps():
    for layer, place in ((nn.LSTM(100, memory=300), 1), (nn.GRU(100, memory=300), 0)):
        layer(np.zeros((1, 2, 3), np.float32))
        keep = layer.bias.numpy().reshape(-1, 100)[place]
        times = 1 + np.exp(keep)  # 1 / (1 - sigmoid(b)): steps until a state has fallen to 1/e
        assert 2 <= times.min() < 20 and 280 < times.max() <= 300 and abs(times.mean() - 151) < 25


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copy_memory_over_a_hundred_steps(seed):
    cr.random.seed(seed)
    run = lambda layer, steps: right(*train(layer, 8, losses.cross_entropy, copy_memory, steps, 64,
                                            lambda p, y: right(p, y) == 1))
    assert run(nn.SimpleRNN(64), 1000) < 0.3
    assert run(nn.LSTM(64, memory=100), 1500) >= 0.95
    assert run(nn.GRU(64, memory=100), 1500) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_adding_problem_over_two_hundred_steps(seed):
    cr.random.seed(seed)
    run = lambda layer, steps: error(*train(layer, 1, losses.mean_squared_error, adding, steps, 32,
                                            lambda p, y: error(p, y) < 0.008))
    assert run(nn.SimpleRNN(64), 600) > 0.1 * CHANCE
    assert run(nn.LSTM(64, memory=200), 4000) < 0.01
