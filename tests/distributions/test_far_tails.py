# SPDX-License-Identifier: Apache-2.0
"""Distributions of float32 parameters hold in far tails and for large parameters; draws stay below an open end."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

import chainrule as cr
from chainrule import distributions as d
from chainrule import random
from chainrule.distributions.special import erfc

ROWS = {
    "beta": (lambda: d.Beta(30.0, 1000.0), stats.beta(30, 1000), (0.01, 0.03, 0.3)),
    "beta large": (lambda: d.Beta(3000.0, 100000.0), stats.beta(3000, 100000), (0.029, 0.03)),
    "gamma large": (lambda: d.Gamma(1e5, 2.0), stats.gamma(1e5, scale=0.5), (49900.0, 50001.0)),
    "binomial": (lambda: d.Binomial(5000, 0.875), stats.binom(5000, 0.875), (30.0, 4300.0, 4375.0)),
    "poisson": (lambda: d.Poisson(1e6), stats.poisson(1e6), (999000.0, 1000100.0)),
    "laplace": (lambda: d.Laplace(), stats.laplace(), (-80.0, -20.0, 0.0, 3.0)),
    "normal": (lambda: d.Normal(), stats.norm(), (-12.0, -6.0, -1.0, 0.0, 4.0)),
    "student": (lambda: d.StudentT(1e6), stats.t(1e6), (-5.0, 1.0)),
    "exponential": (lambda: d.Exponential(2.0), stats.expon(scale=0.5), (1e-9, 3.0)),
}


@pytest.mark.parametrize("name", ROWS)
def test_float32_has_all_its_digits(name: str) -> None:
    make, oracle, points = ROWS[name]
    log_prob = oracle.logpmf if make().discrete else oracle.logpdf
    for x in points:
        np.testing.assert_allclose(make().cdf(x), np.float32(oracle.cdf(x)), rtol=2e-6)
        np.testing.assert_allclose(make().log_prob(x), log_prob(x), rtol=2e-6)
        np.testing.assert_allclose(cr.compile(lambda x: make().log_prob(x))(np.float32(x)), log_prob(x), rtol=2e-6)


def test_erfc() -> None:
    x = np.concatenate([np.linspace(-6, 26, 4001), [np.inf, -np.inf, 0.5, 2 * np.pi]])
    np.testing.assert_allclose(erfc(x), special.erfc(x), rtol=1e-14)
    np.testing.assert_allclose(cr.compile(erfc)(x), special.erfc(x), rtol=1e-13)
    gradient = np.asarray(cr.grad(lambda x: cr.sum(erfc(x)))(x))
    np.testing.assert_allclose(gradient, -2 / np.sqrt(np.pi) * np.exp(-x * x), rtol=1e-12)


@pytest.mark.parametrize("name", ["laplace", "normal"])
def test_the_slope_of_a_cdf_is_the_density(name: str) -> None:
    make = ROWS[name][0]
    x = np.array([-20.0, -3.0, -0.5, 0.0, 0.5, 3.0])
    np.testing.assert_allclose(cr.grad(lambda x: cr.sum(make().cdf(x)))(x), make().prob(x), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("low", "high"), [(1e6, 1e6 + 1), (-1.0, 1e-8), (0.1, 0.3), (-3.0, 7.0), (5.0, 5.0)])
@pytest.mark.parametrize("backend", ["eager", "native", "reference"])
def test_uniform_numbers_stay_below_the_upper_end(dtype: str, low: float, high: float, backend: str) -> None:
    draw = lambda low, high: random.Generator(0).uniform((1 << 16,), low, high, dtype=dtype)
    end = np.asarray(high, dtype)
    for bounds in ((low, high), (np.asarray(low, dtype), end)):
        x = np.asarray(draw(*bounds) if backend == "eager"
                       else cr.compile(lambda bounds=bounds: draw(*bounds), backend=backend)())
        assert (x >= np.asarray(low, dtype)).all()
        assert ((x < end) | (low == high)).all()


def test_uniform_numbers_over_the_whole_range() -> None:
    x = np.asarray(random.Generator(0).uniform((1000,), -3e38, 3e38))
    assert np.isfinite(x).all()
    assert x.min() < -2e38 < 2e38 < x.max()


def test_bounds_that_make_no_sense() -> None:
    with pytest.raises(cr.errors.ArgumentError, match="above the upper"):
        random.uniform((3,), 1.0, 0.0)
    with pytest.raises(cr.errors.ArgumentError, match="do not fit into uint8"):
        random.randint(0, 300, (3,), dtype="uint8")
