# SPDX-License-Identifier: Apache-2.0
"""What data say: estimation, Bayes' rule, comparison of runs, calibration.

    print(cr.compare(outputs_a, outputs_b, labels))      # B better by 0.7 pt, 95 % CI [0.2, 1.2], p = 0.006
    fitted = statistics.mle(cr.distributions.Gamma, data)
    baseline = statistics.GaussianNB().fit(x, y)
"""

from .bayes import (
    BetaBinomial,
    DirichletMultinomial,
    NormalNormal,
    condition,
    condition_normal,
    conditional,
    marginal,
    posterior,
)
from .calibration import Reliability, expected_calibration_error, reliability
from .forecasts import diebold_mariano, long_run_variance, mean_over_time
from .likelihood import maximize, mle
from .naive_bayes import GaussianNB, MultinomialNB
from .paired import adjust, mcnemar, mean_interval, paired_proportions, paired_t, permutation, t_interval, wilcoxon
from .runs import Comparison, Run, compare, compare_all, fingerprint
from .streaming import Moments

__all__ = [
    "BetaBinomial", "Comparison", "DirichletMultinomial", "GaussianNB", "Moments", "MultinomialNB", "NormalNormal",
    "Reliability", "Run", "adjust", "compare", "compare_all", "condition", "condition_normal", "conditional",
    "diebold_mariano", "expected_calibration_error", "fingerprint", "long_run_variance", "marginal", "maximize",
    "mcnemar", "mean_interval", "mean_over_time", "mle", "paired_proportions",
    "paired_t", "permutation", "posterior", "reliability", "t_interval", "wilcoxon",
]
