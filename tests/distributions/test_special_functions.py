# SPDX-License-Identifier: Apache-2.0
"""Gamma functions composed from operations. Oracles: scipy.special, finite differences, the compiled backends."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special as special

import chainrule as cr
from chainrule.distributions import special as own
from chainrule.testing import check_gradient, compare_backends

POSITIVE = np.concatenate([np.geomspace(1e-8, 1e8, 1001), np.linspace(0.01, 30, 997)])
EVERYWHERE = np.concatenate([POSITIVE, np.linspace(-9.7, 3, 501)])


@pytest.mark.parametrize(("function", "oracle"), [(own.lgamma, special.gammaln), (own.digamma, special.digamma)])
def test_gamma_functions_equal_scipy(function, oracle):
    found, wanted = function(EVERYWHERE).numpy(), oracle(EVERYWHERE)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_polygamma_equals_scipy(n):
    np.testing.assert_allclose(own.polygamma(n, POSITIVE).numpy(), special.polygamma(n, POSITIVE), rtol=1e-12)


def test_corners():
    x = np.array([0.0, -1.0, -2.0, np.inf, np.nan, 1.0, 2.0])
    np.testing.assert_allclose(own.lgamma(x).numpy(), special.gammaln(x), atol=1e-14)
    assert np.isnan(own.digamma(np.array([0.0, -1.0, -7.0])).numpy()).all()


def test_single_precision():
    x = np.geomspace(1e-3, 1e4, 500).astype(np.float32)
    assert own.lgamma(x).dtype == cr.float32
    np.testing.assert_allclose(own.lgamma(x).numpy(), special.gammaln(x.astype(np.float64)), rtol=2e-6, atol=3e-6)


@pytest.mark.parametrize(("function", "order"), [(own.lgamma, 2), (own.digamma, 1), (lambda x: own.digamma(abs(x)), 2),
                                                 (lambda x: own.polygamma(2, abs(x)), 2),
                                                 (lambda x: own.lbeta(abs(x), 1.7), 2)])
def test_derivatives(function, order):
    check_gradient(function, np.array([0.3, 1.4, 2.0, 7.9, 11.0, -0.4, -2.3]), order=order)


def test_compiled():
    x = np.array([0.3, 1.4, 2.0, 7.9, 11.0, -0.4])
    compare_backends(lambda x: (own.lgamma(x), own.digamma(x), own.polygamma(1, x)), x, rtol=1e-10, atol=1e-11)


def test_zero_times_log_zero():
    p = np.array([0.0, 0.5, 0.0])
    found = own.xlogy(np.array([0.0, 2.0, 1.0]), p).numpy()
    np.testing.assert_array_equal(found, special.xlogy([0.0, 2.0, 1.0], p))
    slope = cr.grad(lambda p: own.xlogy(0.0, p) + own.xlog1py(0.0, -p))(np.float64(0.0))
    assert slope.item() == 0
