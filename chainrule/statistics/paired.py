# SPDX-License-Identifier: Apache-2.0
"""Tests of whether two runs differ, from paired measurements; all p-values are two-sided.

`mcnemar` for right and wrong answers to the same questions, `paired_t`, `wilcoxon` and `permutation` for numbers per
seed, per fold or per item; `adjust` corrects many p-values. Sources: McNemar, Psychometrika 1947; Fagerland et al., BMC
Medical Research Methodology 2013 (mid-p); Wilcoxon, Biometrics 1945; Holm, Scandinavian Journal of Statistics 1979;
Benjamini and Hochberg, JRSS B 1995; Newcombe, Statistics in Medicine 1998 (method 10).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard
from ..metrics.intervals import Interval, check_level, wilson
from .checks import by_name
from .tails import fair_coin, t_quantile, t_two_sided

EXACT_RANKS = 50     # up to so many differences Wilcoxon's null distribution is counted out
EXACT_FLIPS = 14     # up to 2^14 sign flips are all tried
CHUNK = 2**20


def differences(a: Any, b: Any) -> np.ndarray:
    """b - a, one per pair, in float64; ShapeError unless both are lists of one length, ArgumentError for NaN."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ShapeError(explain("a paired test needs two lists of one length", got=f"{a.shape} and {b.shape}",
                                 fix="measure both runs with the same seeds, folds or items, in the same order"))
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        raise ArgumentError(explain("a measurement is not finite", fix="leave this pair out of both lists, and say so"))
    return b - a


# ---- right and wrong answers

def mcnemar(only_a: int, only_b: int, *, method: str = "mid-p") -> float:
    """P-value that both are right equally often, from the number of items that only A and that only B got right.

    Args:
        method: "mid-p" (default, level close to nominal), "exact" (binomial; conservative), "chi2" ((|b - c| - 1)^2 /
            (b + c)).

    >>> cr.statistics.mcnemar(only_a=2, only_b=12)
    0.007385253906250002
    """
    low, total = int(min(only_a, only_b)), int(only_a) + int(only_b)
    if method not in ("mid-p", "exact", "chi2"):
        raise ArgumentError(explain("there is no such form of McNemar's test", got=repr(method),
                                    expected="mid-p | exact | chi2"))
    if low < 0:
        raise ArgumentError(explain("numbers of items are not negative", got=f"{only_a} and {only_b}",
                                    expected="counts from 0 upwards"))
    if not total:
        return 1.0
    if method == "chi2":
        return math.erfc(math.sqrt((abs(int(only_a) - int(only_b)) - 1) ** 2 / total / 2))
    below, mass = fair_coin(low, total)
    return min(1.0, 2 * below - (mass if method == "mid-p" else 0.0))


def paired_proportions(both: int, only_a: int, only_b: int, neither: int, level: float = 0.95) -> Interval:
    """Interval of the difference (share right of B) - (share right of A) on the same items, from Wilson intervals.

    >>> low, high = cr.statistics.paired_proportions(both=70, only_a=5, only_b=15, neither=10)
    >>> round(low, 3), round(high, 3)
    (0.014, 0.187)
    """
    n = both + only_a + only_b + neither
    if min(both, only_a, only_b, neither) < 0 or not n:
        raise ArgumentError(explain("numbers of items are not negative, and there is one at least",
                                    got=f"{both}, {only_a}, {only_b} and {neither}"))
    (la, ua), (lb, ub) = (wilson(both + only, n, level) or (0.0, 1.0) for only in (only_a, only_b))
    pa, pb = (both + only_a) / n, (both + only_b) / n
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    phi = (both * neither - only_a * only_b) / math.sqrt(margins) if margins else 0.0
    half = lambda x, y: math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))
    return pb - pa - half(pb - lb, ua - pa), pb - pa + half(ub - pb, pa - la)


# ---- numbers

def paired_t(d: np.ndarray) -> float:
    """P-value of mean 0 for normally distributed differences: t = mean / (s / sqrt n), n - 1 degrees of freedom.

    >>> cr.statistics.paired_t(np.array([1.0, 2.0, 1.5, 0.5]))
    0.030466291662170974
    """
    d = _enough(d)
    spread = _spread(d)
    if spread == 0:
        return 1.0 if d.mean() == 0 else 0.0
    return t_two_sided(float(d.mean()) / (spread / math.sqrt(len(d))), len(d) - 1)


def t_interval(d: np.ndarray, level: float = 0.95) -> Interval:
    """mean ± q s / sqrt(n) with the quantile q of Student's t.

    >>> low, high = cr.statistics.t_interval(np.array([1.0, 2.0, 1.5, 0.5]))
    >>> round(low, 3), round(high, 3)
    (0.223, 2.277)
    """
    d, check = _enough(d), check_level(level)
    half = t_quantile(check, len(d) - 1) * _spread(d) / math.sqrt(len(d))
    return float(d.mean()) - half, float(d.mean()) + half


def mean_interval(totals: np.ndarray, weights: np.ndarray, level: float = 0.95) -> Interval | None:
    """Interval r ± q s of the weighted mean r = sum a / sum w over independent samples with total a_i and weight w_i.

    s² = n / (n - 1) sum (a_i - r w_i)² / (sum w)², the linearised variance of a ratio (Cochran, Sampling Techniques,
    1977), q the quantile of Student's t with n - 1 degrees of freedom; for equal weights it is `t_interval`. Samples of
    weight 0 do not count; None for fewer than two others.

    >>> low, high = cr.statistics.mean_interval(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4))
    >>> round(low, 3), round(high, 3)
    (0.446, 4.554)
    """
    check_level(level)
    a, w = (np.asarray(x, np.float64) for x in (totals, weights))
    if a.shape != w.shape or a.ndim != 1 or (w < 0).any():
        raise ShapeError(explain("totals and weights are two lists of one length", got=f"{a.shape} and {w.shape}",
                                 expected="(n,) and (n,), no weight below 0"))
    a, w = a[w != 0], w[w != 0]
    if len(a) < 2 or not w.sum() > 0:
        return None
    mean = a.sum() / w.sum()
    half = t_quantile(level, len(a) - 1) * math.sqrt(len(a) / (len(a) - 1) * np.square(a - mean * w).sum()) / w.sum()
    return float(mean - half), float(mean + half)


def _listed(d: np.ndarray) -> np.ndarray:
    d = np.asarray(d, np.float64)
    if d.ndim != 1:
        raise ShapeError(explain("differences are one list of numbers", got=f"shape {d.shape}", expected="(n,)"))
    return d


def _enough(d: np.ndarray) -> np.ndarray:
    d = _listed(d)
    if len(d) < 2:
        raise ArgumentError(explain("this needs at least two pairs, or two values", got=f"{len(d)}",
                                    fix="repeat both runs with more seeds (5 or more are better)"))
    return d


def _spread(d: np.ndarray) -> float:
    """Standard deviation; differences that differ by rounding errors only have none."""
    spread = float(d.std(ddof=1))
    return 0.0 if spread <= 4e-16 * float(np.abs(d).max(initial=0.0)) else spread


def wilcoxon(d: np.ndarray) -> float:
    """Wilcoxon's signed-rank test that the differences are symmetric about 0; zeros are left out.

    Up to 50 differences the distribution is counted out, ties included; above, the normal approximation with the
    correction for ties.

    >>> cr.statistics.wilcoxon(np.array([1.0, 2.0, 1.5, 0.5, 2.5]))
    0.0625
    """
    d = _listed(d)
    d = d[d != 0]
    if not len(d):
        return 1.0
    doubled = _doubled_ranks(np.abs(d))
    total, positive = int(doubled.sum()), int(doubled[d > 0].sum())
    low = min(positive, total - positive)
    if len(d) <= EXACT_RANKS:
        ways = _ways(doubled)
        return min(1.0, 2 * float(ways[:low + 1].sum() / ways.sum()))
    deviation = math.sqrt(float((doubled.astype(np.float64) ** 2).sum()) / 4)
    return min(1.0, math.erfc((total / 2 - low) / deviation / math.sqrt(2)))


def _doubled_ranks(x: np.ndarray) -> np.ndarray:
    """Twice the ranks 1, ..., n, equal values sharing their mean: whole numbers."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (2 * last - count + 1)[place]


def _ways(ranks: np.ndarray) -> np.ndarray:
    """In how many ways of choosing signs the positive ranks sum to 0, 1, ..."""
    ways = np.zeros(int(ranks.sum()) + 1)
    ways[0] = 1
    for rank in ranks:
        ways[rank:] = ways[rank:] + ways[:len(ways) - rank]
    return ways


def permutation(d: np.ndarray, *, resamples: int = 9999, seed: int = 0) -> float:
    """Share of sign flips whose |mean| is at least as large as that of the differences.

    Up to 14 differences all flips are tried; above, `resamples` random ones: (1 + hits) / (1 + resamples).

    >>> cr.statistics.permutation(np.array([1.0, 2.0, 1.5, 0.5]))
    0.125
    """
    d = _enough(d)
    bound = abs(float(d.sum())) * (1 - 1e-12)
    if len(d) <= EXACT_FLIPS:
        bits = (np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ d) >= bound))
    rng, rows = np.random.default_rng(seed), max(1, CHUNK // len(d))
    hits = 0
    for start in range(0, resamples, rows):
        signs = rng.integers(0, 2, (min(rows, resamples - start), len(d)), dtype=np.int8) * 2 - 1
        hits += int(np.count_nonzero(np.abs(signs @ d) >= bound))
    return (1 + hits) / (1 + resamples)


# ---- many tests

def adjust(p: Sequence[float], method: str = "holm") -> np.ndarray:
    """P-values corrected for how many there are, in the given order.

    Args:
        method: "holm" (chance of any false rejection), "benjamini-hochberg" (share of false ones among the rejections),
            "none".

    >>> cr.statistics.adjust([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p, np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ArgumentError(explain("a p-value lies between 0 and 1", got=f"{p[~((p >= 0) & (p <= 1))][0]:g}"))
    if method == "none":
        return p
    if method not in ("holm", "benjamini-hochberg"):
        raise ArgumentError(explain("there is no such correction", got=repr(method),
                                    expected="holm | benjamini-hochberg | none"))
    order = np.argsort(p, kind="stable")
    n, place = len(p), np.arange(len(p))
    if method == "holm":
        sorted_p = np.maximum.accumulate(p[order] * (n - place))
    else:
        sorted_p = np.minimum.accumulate((p[order] * n / (place + 1))[::-1])[::-1]
    result = np.empty(n)
    result[order] = np.minimum(sorted_p, 1.0)
    return result


FUNCTIONS = ("adjust", "mcnemar", "mean_interval", "paired_proportions", "paired_t", "permutation", "t_interval",
             "wilcoxon")

guard(globals(), FUNCTIONS, by_name(FUNCTIONS))

__all__ = ["adjust", "differences", "mcnemar", "mean_interval", "paired_proportions", "paired_t", "permutation",
           "t_interval", "wilcoxon"]
