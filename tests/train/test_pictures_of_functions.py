# SPDX-License-Identifier: Apache-2.0
"""Curves, schedules and ways downhill: their numbers against closed forms, their pictures as files."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import inspect, nn, optim
from chainrule.errors import ArgumentError, ShapeError

PNG = b"\x89PNG\r\n\x1a\n"
CURVATURES = np.array([1.0, 10.0])


def bowl(w):
    return 0.5 * cr.sum(cr.asarray(CURVATURES) * w * w)


def test_a_curve_is_the_activation_and_its_derivative():
    x, y, slope = inspect.activation_curve("tanh")
    np.testing.assert_allclose(y, np.tanh(x), rtol=1e-12)
    np.testing.assert_allclose(slope, 1 - np.tanh(x) ** 2, atol=1e-12)
    assert inspect.activation_curve("relu")[2][200] == 0  # at 0
    with pytest.raises(ShapeError, match="no curve"):
        inspect.activation_curve("crelu")


def test_every_elementwise_activation_can_be_drawn(tmp_path):
    names = [name for name in nn.activations.FUNCTIONS
             if name not in ("glu", "reglu", "geglu", "swiglu", "crelu", "softmax", "softmin", "log_softmax",
                             "sparsemax")]
    assert inspect.draw_activations(names, tmp_path / "all.png").path.read_bytes()[:8] == PNG
    assert inspect.draw_activations("gelu", tmp_path / "one.png").path.read_bytes()[:8] == PNG


def test_schedules_are_drawn_before_training(tmp_path):
    cosine = optim.schedules.cosine(0.1, 50)
    np.testing.assert_allclose(inspect.schedule_values(cosine, 50),
                               [0.05 * (1 + math.cos(math.pi * t / 50)) for t in range(50)], rtol=1e-12)
    figure = inspect.draw_schedules({"cosine": cosine, "step": optim.schedules.step(0.1, 20)}, 50, tmp_path / "s.png")
    assert figure.path.read_bytes()[:8] == PNG


def test_gradient_descent_in_a_bowl_is_its_closed_form():
    rate, start = 0.05, np.array([3.0, -2.0])
    points = inspect.descend(bowl, start, optim.SGD(rate), 60)
    k = np.arange(61)[:, None]
    np.testing.assert_allclose(points, start * (1 - rate * CURVATURES) ** k, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("rate", "converges"), [(0.199, True), (0.201, False)])
def test_it_diverges_exactly_above_two_over_the_largest_curvature(rate, converges):
    points = inspect.descend(bowl, [1.0, 1.0], optim.SGD(rate), 400)
    assert (abs(points[-1, 1]) < abs(points[0, 1])) == converges


def test_nesterov_needs_fewer_steps_than_momentum_and_momentum_than_none():
    def needed(optimizer):
        points = inspect.descend(lambda w: 0.5 * cr.sum(cr.asarray([1.0, 200.0]) * w * w), [1.0, 1.0], optimizer, 700)
        return np.flatnonzero(np.linalg.norm(points, axis=1) >= 1e-4).max() + 1
    plain, momentum, nesterov = (needed(optim.SGD(0.004, **o))
                                 for o in ({}, {"momentum": 0.95}, {"momentum": 0.95, "nesterov": True}))
    assert nesterov < momentum < plain


def test_ways_are_drawn(tmp_path):
    ways = {name: inspect.descend(bowl, [3.0, -2.0], make, 20)
            for name, make in (("sgd", optim.SGD(0.05)), ("adam", optim.Adam(0.3)))}
    assert inspect.draw_descent(bowl, ways, tmp_path / "w.png", resolution=20).path.read_bytes()[:8] == PNG
    with pytest.raises(ShapeError, match="points"):
        inspect.draw_descent(bowl, np.zeros((4, 3)), tmp_path / "x.png")
    with pytest.raises(ArgumentError, match="infinity"):
        inspect.draw_descent(bowl, np.array([[0.0, 0.0], [np.inf, 0.0]]), tmp_path / "x.png")
