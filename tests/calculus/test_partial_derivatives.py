# SPDX-License-Identifier: Apache-2.0
"""Textbook functions: partial derivatives in closed form to 1e-10, higher orders, and what is held constant."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError
from chainrule.ops.control import stop_gradient
from chainrule.testing import check_gradient

# name: (f, partial derivatives, point)
TEXTBOOK = {
    "plane": (lambda x, y: 3 * x - 2 * y + 1, (lambda x, y: 3, lambda x, y: -2), (0.3, 1.2)),
    "paraboloid": (lambda x, y: x**2 + y**2, (lambda x, y: 2 * x, lambda x, y: 2 * y), (0.3, -1.2)),
    "saddle": (lambda x, y: x**2 - y**2 + x * y, (lambda x, y: 2 * x + y, lambda x, y: x - 2 * y), (1.5, 0.4)),
    "product": (lambda x, y, z: x * y * z, (lambda x, y, z: y * z, lambda x, y, z: x * z, lambda x, y, z: x * y),
                (2.0, -3.0, 0.5)),
    "quotient": (lambda x, y: x / y, (lambda x, y: 1 / y, lambda x, y: -x / y**2), (2.0, -3.0)),
    "power": (lambda x, y: x**y, (lambda x, y: y * x ** (y - 1), lambda x, y: x**y * math.log(x)), (1.7, 2.3)),
    "distance": (lambda x, y: cr.sqrt(x * x + y * y),
                 (lambda x, y: x / math.hypot(x, y), lambda x, y: y / math.hypot(x, y)), (3.0, 4.5)),
    "angle": (lambda x, y: cr.atan2(y, x), (lambda x, y: -y / (x * x + y * y), lambda x, y: x / (x * x + y * y)),
              (1.0, 2.0)),
    "wave": (lambda x, t: cr.sin(x - 2 * t), (lambda x, t: math.cos(x - 2 * t), lambda x, t: -2 * math.cos(x - 2 * t)),
             (0.7, 0.2)),
    "damped oscillation": (lambda t, k: cr.exp(-k * t) * cr.cos(t),
                           (lambda t, k: math.exp(-k * t) * (-k * math.cos(t) - math.sin(t)),
                            lambda t, k: -t * math.exp(-k * t) * math.cos(t)), (1.1, 0.4)),
    "normal density": (lambda x, m, s: cr.exp(-((x - m) / s) ** 2 / 2) / (s * math.sqrt(2 * math.pi)),
                       (lambda x, m, s: -(x - m) / s**2 * density(x, m, s),
                        lambda x, m, s: (x - m) / s**2 * density(x, m, s), lambda x, m, s: ((x - m) ** 2 / s**3 - 1 / s)
                        * density(x, m, s)), (0.4, -0.3, 1.3)),
    "logistic": (lambda x, a: 1 / (1 + cr.exp(-a * x)), (lambda x, a: a * logistic(a * x) * logistic(-a * x),
                                                         lambda x, a: x * logistic(a * x) * logistic(-a * x)),
                 (0.8, 2.5)),
    "soft maximum": (lambda x, y: cr.log(cr.exp(x) + cr.exp(y)),
                     (lambda x, y: logistic(x - y), lambda x, y: logistic(y - x)), (0.2, 1.1)),
    "Cobb-Douglas": (lambda k, l: 2 * k**0.3 * l**0.7,
                     (lambda k, l: 0.6 * (l / k) ** 0.7, lambda k, l: 1.4 * (k / l) ** 0.3), (3.0, 5.0)),
    "ideal gas": (lambda n, t, v: 8.314 * n * t / v, (lambda n, t, v: 8.314 * t / v, lambda n, t, v: 8.314 * n / v,
                                                      lambda n, t, v: -8.314 * n * t / v**2), (1.5, 300.0, 2.0)),
    "gravity": (lambda m, r: 6.674 * m / r**2, (lambda m, r: 6.674 / r**2, lambda m, r: -2 * 6.674 * m / r**3),
                (4.0, 1.5)),
    "Rosenbrock": (lambda x, y: (1 - x) ** 2 + 100 * (y - x * x) ** 2,
                   (lambda x, y: -2 * (1 - x) - 400 * x * (y - x * x), lambda x, y: 200 * (y - x * x)), (-1.2, 1.0)),
    "squared error": (lambda w, b: (w * 2.0 + b - 3.0) ** 2,
                      (lambda w, b: 4 * (2 * w + b - 3), lambda w, b: 2 * (2 * w + b - 3)), (0.4, 0.1)),
    "entropy": (lambda p: -p * cr.log(p) - (1 - p) * cr.log(1 - p), (lambda p: math.log((1 - p) / p),), (0.3,)),
    "tower": (lambda x: cr.sin(cr.exp(cr.tanh(x * x))),
              (lambda x: math.cos(math.exp(math.tanh(x * x))) * math.exp(math.tanh(x * x))
               * (1 - math.tanh(x * x) ** 2) * 2 * x,), (0.6,)),
    "hyperbolic": (lambda x, y: cr.sinh(x) * cr.cosh(y),
                   (lambda x, y: math.cosh(x) * math.cosh(y), lambda x, y: math.sinh(x) * math.sinh(y)), (0.5, -0.9)),
    "arc": (lambda x, y: cr.asin(x) + cr.acos(y) + cr.atan(x * y),
            (lambda x, y: 1 / math.sqrt(1 - x * x) + y / (1 + x * x * y * y),
             lambda x, y: -1 / math.sqrt(1 - y * y) + x / (1 + x * x * y * y)), (0.3, -0.6)),
}


def density(x, m, s):
    return math.exp(-((x - m) / s) ** 2 / 2) / (s * math.sqrt(2 * math.pi))


def logistic(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("name", TEXTBOOK)
@pytest.mark.parametrize("compiled", [False, True])
def test_partial_derivatives_in_closed_form(name, compiled) -> None:
    function, partials, point = TEXTBOOK[name]
    point = [np.float64(x) for x in point]
    for i, partial in enumerate(partials):
        gradient = cr.grad(function, argnums=i)
        gradient = cr.compile(gradient) if compiled else gradient
        assert float(np.asarray(gradient(*point))) == pytest.approx(partial(*point), rel=1e-10, abs=1e-12)
    together = cr.grad(function, argnums=tuple(range(len(point))))(*point)
    assert [g.item() for g in together] == pytest.approx([p(*point) for p in partials], rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_to_the_third_order(name) -> None:
    function, _, point = TEXTBOOK[name]
    check_gradient(function, *(np.float64(x) for x in point), order=3, step=3e-5, rtol=1e-4)


@pytest.mark.parametrize(("function", "derivatives"), [
    (cr.sin, [math.cos, lambda x: -math.sin(x), lambda x: -math.cos(x), math.sin, math.cos]),
    (cr.exp, [math.exp] * 5),
    (lambda x: 1 / x, [lambda x, n=n: (-1) ** n * math.factorial(n) / x ** (n + 1) for n in range(1, 6)]),
    (cr.log, [lambda x, n=n: (-1) ** (n - 1) * math.factorial(n - 1) / x**n for n in range(1, 6)]),
    (lambda x: x**4, [lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x, lambda x: 24.0, lambda x: 0.0]),
    (cr.tanh, [lambda x: 1 - math.tanh(x) ** 2, lambda x: -2 * math.tanh(x) * (1 - math.tanh(x) ** 2)]),
])
def test_derivatives_nested_to_the_fifth_order(function, derivatives) -> None:
    for wanted in derivatives:
        function = cr.grad(function)
        assert function(np.float64(0.7)).item() == pytest.approx(wanted(0.7), rel=1e-10, abs=1e-12)


def test_what_is_held_constant() -> None:
    x, y = np.float64(2.0), np.float64(3.0)
    assert cr.grad(lambda x, y: stop_gradient(x * y) * x)(x, y).item() == 6
    assert cr.grad(lambda x: x * stop_gradient(x))(x).item() == 2
    w, v = cr.Variable(np.array(2.0), name="w"), cr.Variable(np.array(3.0), name="v")
    assert cr.gradients(w.value**2 * v.value, v).item() == 4
    found = cr.gradients(w.value**2 * v.value, {"w": w})
    assert set(found) == {"w"}
    assert found["w"].item() == 12
    with pytest.raises(ArgumentError, match="not computed from"):
        cr.gradients(w.value**2, v)
    assert cr.gradients(w.value**2, v, unrelated="zero").item() == 0


def test_named_parameters_of_a_module() -> None:
    model = cr.nn.Sequential([cr.nn.Dense(3, activation="tanh", input_shape=(2,)), cr.nn.Dense(1)])
    loss = cr.mean(model(np.ones((4, 2), "float32")) ** 2)
    every = cr.gradients(loss, model)
    one = cr.gradients(loss, model.parameters()["0.bias"])
    np.testing.assert_array_equal(one, every["0.bias"])
    model[0].freeze()
    assert list(cr.gradients(loss, model)) == ["1.weight", "1.bias"]


def test_jacobian_and_hessian_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    a, x = np.random.default_rng(0).normal(size=(3, 4)), np.random.default_rng(1).normal(size=4)
    t = torch.tensor(a)
    ours, theirs = cr.asarray(a), torch.autograd.functional
    np.testing.assert_allclose(cr.jacobian(lambda x: cr.tanh(ours @ x) * x[0])(x),
                               theirs.jacobian(lambda x: torch.tanh(t @ x) * x[0], torch.tensor(x)), rtol=1e-10)
    np.testing.assert_allclose(cr.hessian(lambda x: cr.sum(cr.exp(cr.sin(ours @ x))))(x),
                               theirs.hessian(lambda x: torch.exp(torch.sin(t @ x)).sum(), torch.tensor(x)), rtol=1e-10)
