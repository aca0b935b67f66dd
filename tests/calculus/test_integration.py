# SPDX-License-Identifier: Apache-2.0
"""Integrals and their gradients. Oracle: scipy.integrate, closed forms, central differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ShapeError, TraceError
from chainrule.integration import IntegrationWarning
from chainrule.testing import check_gradient

INF = math.inf
INTEGRANDS = {  # name: (f in NumPy's or our operations, limits, places of kinks)
    "polynomial": (lambda m, x: x**5 - 3 * x**2 + 1, -1, 2, ()),
    "sine": (lambda m, x: m.sin(x), 0, math.pi, ()),
    "fast oscillation": (lambda m, x: m.cos(100 * x) * x, 0, 1, ()),
    "exponential": (lambda m, x: m.exp(-3 * x), 0, 4, ()),
    "Runge": (lambda m, x: 1 / (1 + 25 * x * x), -1, 1, ()),
    "narrow peak": (lambda m, x: 1 / (1e-4 + (x - 0.3) ** 2), 0, 1, ()),
    "square root": (lambda m, x: m.sqrt(x), 0, 1, ()),
    "logarithm": (lambda m, x: m.log(x), 0, 1, ()),
    "inverse root": (lambda m, x: 1 / m.sqrt(x), 0, 1, ()),
    "kink": (lambda m, x: m.abs(x - 0.3), 0, 1, (0.3,)),
    "step": (lambda m, x: m.where(x < 0.7, 1.0 + 0 * x, 5.0 * x), 0, 1, (0.7,)),
    "Gaussian": (lambda m, x: m.exp(-x * x / 2), -INF, INF, ()),
    "half a Gaussian": (lambda m, x: m.exp(-x * x / 2) * x**2, 0, INF, ()),
    "Cauchy": (lambda m, x: 1 / (1 + x * x), -INF, 1, ()),
    "tail": (lambda m, x: m.exp(-x) / x, 1, INF, ()),
    "gamma": (lambda m, x: x**3.5 * m.exp(-x), 0, INF, ()),
    "backwards": (lambda m, x: m.tanh(x) + m.cos(x), 3, -2, ()),
}


@pytest.mark.parametrize("name", INTEGRANDS)
def test_integrals_are_those_of_quad(name) -> None:
    quad = pytest.importorskip("scipy.integrate").quad
    f, a, b, points = INTEGRANDS[name]
    wanted = quad(lambda x: f(np, x), a, b, epsabs=1e-13, epsrel=1e-13, limit=500,
                  **({"points": points} if points else {}))[0]
    found = cr.integrate(lambda x: f(cr, x), a, b, points=points).item()
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_the_normal_distribution_function() -> None:
    norm = pytest.importorskip("scipy.stats").norm
    density = lambda x: cr.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    for x in (-5.0, -1.0, 0.0, 0.3, 2.0, 6.0):
        assert cr.integrate(density, -INF, x).item() == pytest.approx(norm.cdf(x), rel=1e-8)
        assert cr.grad(lambda t: cr.integrate(density, -INF,
                                              t))(np.float64(x)).item() == pytest.approx(norm.pdf(x), rel=1e-8)


@pytest.mark.parametrize(("a", "b"), [(0.2, 1.7), (1.7, 0.2), (0.0, INF), (-INF, 0.4), (-INF, INF)])
def test_leibniz(a, b) -> None:
    """Gradients in the limits and in a parameter, to the second order."""
    finite = [np.float64(x) for x in (a, b) if math.isfinite(x)]
    def function(t, *limits):
        limits = list(limits)
        low, high = (limits.pop(0) if math.isfinite(x) else x for x in (a, b))
        return cr.integrate(lambda x: cr.exp(-t * x * x) * cr.cos(x + t), low, high)
    check_gradient(function, np.float64(0.8), *finite, order=2)


def test_the_gradient_in_the_limits_is_the_integrand() -> None:
    da, db = cr.grad(lambda a, b: cr.integrate(cr.exp, a, b), argnums=(0, 1))(np.float64(0.5), np.float64(2.0))
    assert da.item() == pytest.approx(-math.exp(0.5), rel=1e-12)
    assert db.item() == pytest.approx(math.exp(2.0), rel=1e-12)


def test_several_integrals_at_once() -> None:
    k = np.arange(1.0, 4.0)
    found = cr.integrate(lambda x: cr.cos(x[:, None] * k), 0, 1)
    np.testing.assert_allclose(found, np.sin(k) / k, rtol=1e-12)
    gradient = cr.grad(lambda k: cr.sum(cr.integrate(lambda x: cr.exp(-x[:, None] * k), 0, INF)))(k)
    np.testing.assert_allclose(gradient, -1 / k**2, rtol=1e-9)


def test_variables_get_gradients() -> None:
    w = cr.Variable(np.array(2.0))
    value = cr.integrate(lambda x: cr.exp(-w.value * x), 0, INF)
    assert value.item() == pytest.approx(0.5, rel=1e-10)
    assert cr.gradients(value, w).item() == pytest.approx(-0.25, rel=1e-9)


def test_corners_of_integrate() -> None:
    assert cr.integrate(cr.sin, 1.0, 1.0).item() == 0
    assert cr.integrate(lambda x: 0 * x, -INF, INF).item() == 0
    assert cr.integrate(lambda x: 3 + 0 * x, 0, 2).item() == pytest.approx(6)
    with pytest.raises(ShapeError, match="constant"):
        cr.integrate(lambda x: 3.0, 0, 2)
    with pytest.raises(ShapeError, match="limit"):
        cr.integrate(cr.sin, np.zeros(2), 1)
    with pytest.raises(ArgumentError, match="not a number"):
        cr.integrate(cr.sin, math.nan, 1)
    with pytest.raises(ArgumentError, match="not finite"):
        cr.integrate(lambda x: 1 / (x - 0.5), 0, 1)
    with pytest.raises(TraceError, match="trapezoid"):
        cr.compile(lambda b: cr.integrate(cr.sin, 0, b))(cr.asarray(1.0))
    with pytest.warns(IntegrationWarning, match="accuracy"):
        cr.integrate(lambda x: cr.where(x < 0.7, 1.0, 5.0), 0, 1, limit=5)


# ---- samples

@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
@pytest.mark.parametrize("places", ["dx", "x", "each"])
def test_rules_on_samples_are_scipys(n, places) -> None:
    integrate = pytest.importorskip("scipy.integrate")
    rng = np.random.default_rng(n)
    y, x = rng.normal(size=(3, n, 2)), np.cumsum(rng.uniform(0.5, 1.5, size=(3, n, 2)), axis=1)
    options = {"dx": {"dx": 0.3}, "x": {"x": x[0, :, 0]}, "each": {"x": x}}[places]
    np.testing.assert_allclose(cr.trapezoid(y, axis=1, **options), integrate.trapezoid(y, axis=1, **options),
                               rtol=1e-12)
    if n > 1:
        np.testing.assert_allclose(cr.simpson(y, axis=1, **options), integrate.simpson(y, axis=1, **options),
                                   rtol=1e-12)


def test_rules_on_samples_are_differentiable_and_compile() -> None:
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(2, 6)), np.cumsum(rng.uniform(0.5, 1.5, size=6))
    for rule in (cr.trapezoid, cr.simpson):
        check_gradient(rule, y, x)
        np.testing.assert_allclose(cr.compile(rule)(y, x), rule(y, x), rtol=1e-12)
    with pytest.raises(ShapeError, match="places"):
        cr.trapezoid(y, x[:3])


def test_simpson_is_exact_for_cubics() -> None:
    x = np.linspace(0, 2, 9)
    assert cr.simpson(x**3, x).item() == pytest.approx(4.0, rel=1e-14)


def test_the_area_under_a_roc_curve() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    scores = np.round(rng.normal(size=200) + labels, 1)
    false, true, _ = metrics.roc_curve(labels, scores)
    assert cr.trapezoid(true, false).item() == pytest.approx(metrics.roc_auc_score(labels, scores), rel=1e-14)
