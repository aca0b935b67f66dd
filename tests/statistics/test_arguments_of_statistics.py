# SPDX-License-Identifier: Apache-2.0
"""Every argument of every public function of statistics: of another kind, NaN, infinite, negative, ragged; refused with
our own errors."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from chainrule import distributions, statistics
from chainrule.errors import ChainruleError
from chainrule.statistics import bayes

D = np.array([0.1, 0.3, -0.2, 0.4])
TABLE = np.array([[0.1, 0.2], [0.3, 0.4]])
NORMAL = distributions.MultivariateNormal(np.zeros(2), np.eye(2))
CALLS = {
    "adjust": (statistics.adjust, {"p": [0.1, 0.2]}), "mcnemar": (statistics.mcnemar, {"only_a": 3, "only_b": 5}),
    "mean_interval": (statistics.mean_interval, {"totals": D, "weights": np.ones(4)}),
    "paired_t": (statistics.paired_t, {"d": D}),
    "paired_proportions": (statistics.paired_proportions, {"both": 3, "only_a": 1, "only_b": 2, "neither": 4}),
    "permutation": (statistics.permutation, {"d": D}),
    "t_interval": (statistics.t_interval, {"d": D}), "wilcoxon": (statistics.wilcoxon, {"d": D}),
    "posterior": (statistics.posterior, {"prior": [0.5, 0.5], "likelihood": [0.1, 0.2]}),
    "condition": (statistics.condition, {"joint": TABLE, "axis": 0, "index": 1}),
    "conditional": (statistics.conditional, {"joint": TABLE, "given": 0}),
    "marginal": (statistics.marginal, {"joint": TABLE, "keep": 0}),
    "condition_normal": (statistics.condition_normal, {"joint": NORMAL, "observed": [0], "values": [0.5]}),
    "reliability": (statistics.reliability, {"probabilities": TABLE / TABLE.sum(1, keepdims=True), "labels": [0, 1]}),
    "expected_calibration_error": (statistics.expected_calibration_error,
                                   {"probabilities": [0.5, 0.7], "labels": [0, 1]}),
    "maximize": (statistics.maximize, {"function": lambda x: -(x[0] - 1) ** 2, "start": [0.0]}),
    "mle": (statistics.mle, {"distribution": distributions.Normal, "data": D}),
    "compare": (statistics.compare, {"a": D, "b": D + 0.1}),
    "compare_all": (statistics.compare_all, {"runs": [statistics.Run.of_scores(n, D + i) for i, n in enumerate("ab")]}),
    "diebold_mariano": (statistics.diebold_mariano, {"a": np.arange(9.0) ** 2, "b": np.arange(9.0)}),
    "long_run_variance": (statistics.long_run_variance, {"x": np.arange(9.0), "lags": 1}),
    "mean_over_time": (statistics.mean_over_time, {"x": np.arange(9.0)}),
    "BetaBinomial": (statistics.BetaBinomial, {}),
    "BetaBinomial.update": (statistics.BetaBinomial().update, {"successes": 1, "failures": 2}),
    "BetaBinomial.log_predictive": (statistics.BetaBinomial().log_predictive, {"successes": 1, "trials": 2}),
    "DirichletMultinomial": (statistics.DirichletMultinomial, {"concentration": [1.0, 2.0]}),
    "DirichletMultinomial.update": (statistics.DirichletMultinomial([1.0, 2.0]).update, {"counts": [1, 2]}),
    "DirichletMultinomial.log_predictive": (statistics.DirichletMultinomial([1.0, 2.0]).log_predictive,
                                            {"counts": [1, 2]}),
    "NormalNormal": (bayes.NormalNormal, {"noise": 1.0}),
    "NormalNormal.update": (bayes.NormalNormal(noise=1.0).update, {"data": D}),
    "GaussianNB": (statistics.GaussianNB, {}),
    "GaussianNB.fit": (lambda x, y: statistics.GaussianNB().fit(x, y), {"x": np.eye(3), "y": [0, 1, 1]}),
    "GaussianNB.predict": (statistics.GaussianNB().fit(np.eye(3), [0, 1, 1]).predict, {"x": np.eye(3)}),
    "MultinomialNB": (statistics.MultinomialNB, {}),
    "Moments.update": (statistics.Moments().update, {"batch": D}),
    "Moments.merge": (statistics.Moments().merge, {"other": statistics.Moments()}),
    "Moments.variance": (statistics.Moments().update(D).variance, {"correction": 1.0}),
}
WRONG = ["x", None, object(), 1j, {"a": 1}, {1}, b"1", [[1.0], [1.0, 2.0]], ["1", "2"], np.ones(2, "complex64"),
         np.array(["2020-01-01"], "M8[D]"), np.array([object()]), len,
         math.nan, math.inf, [0.5, math.nan], np.ma.masked_array([1.0, 2.0], [False, True])]
FREE = {("mle", "distribution"), ("Moments.update", "batch"), ("GaussianNB.fit", "y"), ("compare", "targets"),
        ("compare", "names"), ("compare", "b"), ("compare", "a"), ("diebold_mariano", "names"),
        ("compare_all", "baseline"), ("compare", "higher_is_better"), ("compare", "percent"),
        ("compare_all", "options"), ("mle", "fixed")}
RIGHT = {("maximize", "function"): len}


@pytest.mark.parametrize("name", CALLS)
def test_every_argument(name):
    function, right = CALLS[name]
    function(**right)
    bad = []
    for argument, parameter in inspect.signature(function).parameters.items():
        for value in WRONG if (name, argument) not in FREE else ():
            if value is parameter.default or value is RIGHT.get((name, argument)):
                continue
            try:
                function(**{**right, argument: value})
                bad.append(f"{argument}={value!r} is taken")
            except ChainruleError:
                pass
            except Exception as error:
                bad.append(f"{argument}={value!r}: {type(error).__name__}: {error}")
    assert not bad


@pytest.mark.parametrize(("name", "argument", "value"), [
    ("condition", "axis", 5), ("condition", "index", 7), ("conditional", "given", 4), ("marginal", "keep", -3),
    ("t_interval", "level", 1.0), ("t_interval", "level", -0.5),
    ("reliability", "bins", 0), ("reliability", "bins", 2.5), ("permutation", "resamples", 0),
    ("permutation", "seed", -1), ("paired_t", "d", np.ones((2, 2))),
    ("wilcoxon", "d", np.ones((2, 2))), ("paired_proportions", "both", -5), ("mcnemar", "only_a", 2.5),
    ("maximize", "steps", 0), ("maximize", "tolerance", -1.0),
    ("BetaBinomial.update", "successes", -1), ("BetaBinomial", "alpha", 0.0), ("condition_normal", "observed", [5]),
    ("posterior", "prior", [0.5, 0.2, 0.3])])
def test_numbers_out_of_range(name, argument, value):
    function, right = CALLS[name]
    with pytest.raises(ChainruleError):
        print(function(**{**right, argument: value}))


def test_every_public_function_has_a_row():
    functions = {name for name in statistics.__all__ if inspect.isfunction(getattr(statistics, name))}
    assert functions <= set(CALLS) | {"fingerprint"}
