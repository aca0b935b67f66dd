# SPDX-License-Identifier: Apache-2.0
"""What statistics say to what they cannot use; what Bayes' rule prints of itself."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import metrics, statistics
from chainrule.errors import ArgumentError, ShapeError

ONES = np.ones((2, 2))


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: cr.compare(0.1, 0.2), ShapeError, "one number for each run"),
    (lambda: statistics.t_interval(np.ones(1)), ArgumentError, "two values"),
    (lambda: statistics.mean_interval(np.ones(3), np.ones(2)), ShapeError, r"\(3,\) and \(2,\)"),
    (lambda: statistics.mcnemar(-1, 2), ArgumentError, "-1 and 2"),
    (lambda: statistics.adjust([0.1, 2.0]), ArgumentError, "got +2"),
    (lambda: metrics.wilson(5, 3), ArgumentError, "5 of 3"),
    (lambda: metrics.wilson(-1, 3), ArgumentError, "-1 of 3"),
    (lambda: statistics.GaussianNB().predict(ONES), ArgumentError, "fit"),
    (lambda: statistics.GaussianNB().fit(ONES, [0, 1]).predict(np.ones((2, 3))), ShapeError, r"\(n, 2\)"),
    (lambda: statistics.BetaBinomial(-1, 1), ArgumentError, "got +-1"),
    (lambda: statistics.BetaBinomial().update(5, -3), ArgumentError, "got +-3"),
    (lambda: statistics.DirichletMultinomial([1.0, 0.0]), ArgumentError, "above 0"),
    (lambda: statistics.NormalNormal(0, 1, noise=0), ArgumentError, "above 0"),
    (lambda: statistics.reliability(ONES, [0, 1]), ArgumentError, "sum to 2"),
])
def test_what_does_not_fit_is_told(call, error, words) -> None:
    with pytest.raises(error, match=f"(?s){words}"):
        call()


def test_features_that_never_vary() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = statistics.GaussianNB().fit(np.ones((4, 2)), [0, 0, 0, 1])
        np.testing.assert_array_equal(model.predict(np.ones((3, 2))), [0, 0, 0])
        np.testing.assert_allclose(model.predict_proba(np.ones((1, 2))), [[0.75, 0.25]])


def test_posteriors_print_their_numbers() -> None:
    assert repr(statistics.BetaBinomial().update(3, 2)) == "BetaBinomial(4.0, 3.0)"
    assert repr(statistics.DirichletMultinomial([1, 1]).update([2, 0])) == "DirichletMultinomial([3.0, 1.0])"
    assert repr(statistics.NormalNormal(noise=1.0).update([1.0])).startswith("NormalNormal(0.5, 0.707")
