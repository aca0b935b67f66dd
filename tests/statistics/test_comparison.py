# SPDX-License-Identifier: Apache-2.0
"""Comparison of runs: p-values, corrections, intervals, verdicts, refusals. Oracles: SciPy, closed forms, golden text,
simulation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats as stats

import chainrule as cr
from chainrule import statistics
from chainrule.errors import ArgumentError, ShapeError
from chainrule.statistics import Run, tails

GOLDEN = Path(__file__).parents[1] / "golden" / "statistics" / "verdicts.txt"
RNG = np.random.default_rng(8)

# ---- tails


def test_tails_equal_scipy():
    for df in (1, 2, 4, 9, 30.5, 1000, 1e5):
        for t in (0.0, 1e-6, 0.3, 1.96, 5.0, 40.0):
            assert tails.t_two_sided(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-10, abs=1e-300)
        for level in (0.5, 0.95, 0.999):
            assert tails.t_quantile(level, df) == pytest.approx(stats.t.ppf(0.5 + level / 2, df), rel=1e-9)
    for k, n in ((0, 1), (0, 7), (3, 10), (50, 100), (4990, 10_000)):
        assert tails.fair_coin(k, n) == pytest.approx((stats.binom.cdf(k, n, 0.5), stats.binom.pmf(k, n, 0.5)),
                                                      rel=1e-10)


# ---- tests of hypotheses

@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 3), (1, 8), (12, 25), (400, 351)])
def test_mcnemar(b, c):
    exact = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert statistics.mcnemar(b, c, method="exact") == pytest.approx(exact, abs=1e-9)
    if b + c:
        mid = 2 * stats.binom.cdf(min(b, c), b + c, 0.5) - stats.binom.pmf(min(b, c), b + c, 0.5)
        assert statistics.mcnemar(b, c) == pytest.approx(min(mid, 1), abs=1e-9)
        assert statistics.mcnemar(b, c, method="chi2") == pytest.approx(
            stats.chi2.sf((abs(b - c) - 1) ** 2 / (b + c), 1), abs=1e-12
        )


@pytest.mark.parametrize("n", [2, 5, 12, 60])
def test_tests_of_numbers_equal_scipy(n):
    a = RNG.normal(size=n)
    b = a + RNG.normal(0.3, 0.7, size=n)
    d = b - a
    assert statistics.paired_t(d) == pytest.approx(stats.ttest_rel(b, a).pvalue, abs=1e-10)
    assert statistics.t_interval(d) == pytest.approx(tuple(stats.ttest_rel(b, a).confidence_interval(0.95)), abs=1e-9)
    assert statistics.wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="exact" if n <= 50 else "approx").pvalue,
                                                   abs=1e-10)
    if n <= 12:
        wanted = stats.permutation_test((b, a), lambda x, y, axis: np.mean(x - y, axis=axis),
                                        permutation_type="samples", vectorized=True, n_resamples=np.inf)
        assert statistics.permutation(d) == pytest.approx(wanted.pvalue, abs=1e-10)
    else:
        assert statistics.permutation(d, resamples=20_000) == pytest.approx(statistics.paired_t(d), abs=0.01)


def test_wilcoxon_with_ties_and_zeros():
    d = np.array([1.0, 1.0, -1.0, 2.0, 0.0, 2.0, 3.0, -0.5])
    kept = d[d != 0]
    ranks, n = stats.rankdata(np.abs(kept)), len(kept)
    signs = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    sums = signs @ ranks
    observed = min(ranks[kept > 0].sum(), ranks[kept < 0].sum())
    assert statistics.wilcoxon(d) == pytest.approx(min(1, 2 * np.mean(sums <= observed)), abs=1e-12)
    many = np.round(RNG.normal(0.2, 1, 200), 1)
    assert statistics.wilcoxon(many) == pytest.approx(stats.wilcoxon(many[many != 0], method="approx").pvalue,
                                                      abs=1e-10)
    assert statistics.wilcoxon(np.zeros(4)) == 1


def test_equal_differences():
    assert statistics.paired_t(np.zeros(5)) == 1
    assert statistics.paired_t(np.full(5, 0.1)) == 0


def test_corrections():
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.5, 0.04])
    np.testing.assert_allclose(statistics.adjust(p, "benjamini-hochberg"), stats.false_discovery_control(p), atol=1e-12)
    # by hand: 6 x 0.005, 5 x 0.01, 4 x 0.03, ...
    np.testing.assert_allclose(statistics.adjust(p), [0.05, 0.12, 0.12, 0.03, 0.5, 0.12], atol=1e-12)
    np.testing.assert_array_equal(statistics.adjust(p, "none"), p)
    with pytest.raises(ArgumentError, match="no such correction"):
        statistics.adjust(p, "bonferoni")


# ---- verdicts

def _answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    return a, b, np.ones_like(a)


def _verdicts() -> str:
    seeds = [0.931, 0.929, 0.933, 0.930, 0.934]
    better = [0.938, 0.935, 0.939, 0.938, 0.940]
    lines = [
        ("right and wrong answers", cr.compare(*_answers(9000, 289, 359, 352))),
        ("more certain", cr.compare(*_answers(9200, 130, 200, 470))),
        ("A is the better one", cr.compare(*_answers(900, 50, 20, 30))),
        ("no difference", cr.compare(*_answers(900, 31, 33, 36))),
        ("seeds, paired t", cr.compare(seeds, better, names=("adam", "lion"))),
        ("seeds, Wilcoxon", cr.compare(seeds, better, test="wilcoxon")),
        ("seeds, permutation", cr.compare(seeds, better, test="permutation")),
        ("losses", cr.compare([2.51, 2.49, 2.55], [2.31, 2.33, 2.36], percent=False, higher_is_better=False,
                              level=0.99)),
        ("the same twice", cr.compare(seeds, seeds)),
    ]
    first = Run.of_scores("first", seeds)
    runs = [Run.of_scores("second", better),
            Run.of_scores("third", [s + e for s, e in zip(seeds, (0.002, -0.001, 0, 0.001, -0.002), strict=True)])]
    lines += [("corrected", c) for c in statistics.compare_all(runs, baseline=first)]
    return "".join(f"{name}: {verdict}\n" for name, verdict in lines)


def test_verdicts_are_golden():
    assert _verdicts() == GOLDEN.read_text()


def test_predictions_of_classifiers():
    logits = RNG.normal(size=(500, 4))
    labels = RNG.integers(0, 4, 500)
    better = logits + 1.5 * np.eye(4)[labels]
    found = cr.compare(logits, better, labels)
    right_a, right_b = logits.argmax(1) == labels, better.argmax(1) == labels
    assert found.p == statistics.mcnemar((right_a & ~right_b).sum(), (~right_a & right_b).sum())
    assert found.difference == pytest.approx(right_b.mean() - right_a.mean(), abs=1e-12)
    assert found.low < found.difference < found.high
    assert found.significant
    assert str(cr.compare(better, logits, labels)).startswith("A better")


def test_losses_per_item():
    a, b = RNG.exponential(size=200), RNG.exponential(size=200) * 0.5
    found = cr.compare(Run.of_losses("old", a), Run.of_losses("new", b))
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-10)
    assert str(found).startswith("new better by")


def test_refusals():
    outputs, labels = RNG.normal(size=(50, 3)), RNG.integers(0, 3, 50)
    first = Run.of_predictions("first", outputs, labels, inputs=np.arange(50))
    with pytest.raises(ArgumentError, match="different test sets"):
        cr.compare(first, Run.of_predictions("second", outputs, labels, inputs=np.arange(50) + 1))
    with pytest.raises(ArgumentError, match="different test sets"):
        cr.compare(Run.of_predictions("first", outputs, labels),
                   Run.of_predictions("second", outputs[::-1], labels[::-1]))
    with pytest.raises(ArgumentError, match="different things"):
        cr.compare(first, Run.of_scores("second", np.ones(50)))
    with pytest.raises(ShapeError, match="different numbers of values"):
        cr.compare([0.1, 0.2, 0.3], [0.1, 0.2])
    with pytest.raises(ArgumentError, match="at least two pairs"):
        cr.compare([0.1], [0.2])
    with pytest.raises(ArgumentError, match="McNemar's test needs"):
        cr.compare([0.1, 0.3], [0.2, 0.4], test="mcnemar")
    with pytest.raises(ArgumentError, match="not finite"):
        cr.compare([0.1, np.nan], [0.2, 0.4])


# ---- simulation

def _pairs(rng: np.random.Generator, gain: float, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Right answers of two runs with 90 % and 90 % + gain, positively dependent as those of real models are."""
    hard = rng.beta(0.9, 0.1, n)
    return (rng.random(n) < hard).astype(float), (rng.random(n) < np.clip(hard + gain, 0, 1)).astype(float)


def test_the_null_is_rejected_at_its_level():
    rng = np.random.default_rng(0)
    rejected = [statistics.paired_t(rng.normal(size=6)) <= 0.05 for _ in range(500)]
    assert 0.03 <= np.mean(rejected) <= 0.07


@pytest.mark.parametrize("test", ["mcnemar", "paired_t", "wilcoxon", "permutation"])
def test_a_against_a_rejects_at_five_per_cent(test):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(2000):
        if test == "mcnemar":
            a, b = (Run(name, values, "item") for name, values in zip("AB", _pairs(rng, 0.0, 2000), strict=True))
        else:
            a, b = (Run.of_scores(name, rng.normal(0.9, 0.01, 12)) for name in "AB")
        found.append(cr.compare(a, b, test=test) if test in ("mcnemar", "paired_t")
                     else getattr(statistics, test)(b.values - a.values))
    p = np.array([c if isinstance(c, float) else c.p for c in found])
    assert 0.04 <= np.mean(p <= 0.05) <= 0.06
    if test == "paired_t":
        assert stats.kstest(p, "uniform").pvalue > 1e-3
    if test in ("mcnemar", "paired_t"):
        assert 0.94 <= np.mean([c.low <= 0 <= c.high for c in found]) <= 0.96


def test_power_for_one_point():
    """90 % against 91 % on 10,000 items: the discordant items give the expected power of about (z - 1.96)."""
    rng = np.random.default_rng(2)
    found = [cr.compare(*(Run(name, values, "item") for name, values in zip("AB", _shifted(rng), strict=True)))
             for _ in range(300)]
    discordant, n = 0.06, 10_000
    expected = stats.norm.sf(1.96 - 0.01 * n / math.sqrt(n * (discordant - 0.01**2)))
    assert abs(np.mean([c.significant for c in found]) - expected) < 0.04
    assert abs(np.mean([c.low <= 0.01 <= c.high for c in found]) - 0.95) < 0.04


def _shifted(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    kind = rng.choice(4, 10_000, p=[0.875, 0.025, 0.035, 0.065])
    return np.isin(kind, [0, 1]).astype(float), np.isin(kind, [0, 2]).astype(float)


# ---- calibration

def test_calibrated_probabilities():
    rng = np.random.default_rng(4)
    p = rng.dirichlet([1, 1, 1], 20_000)
    labels = (rng.random(20_000)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    table = statistics.reliability(p, labels)
    assert table.expected_calibration_error < 0.015
    filled = table.counts > 50
    assert np.mean((table.low <= table.confidence)[filled] & (table.confidence <= table.high)[filled]) > 0.8
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert statistics.expected_calibration_error(sharp, labels) > 0.1


def test_calibration_error_by_hand():
    p, labels = np.array([0.95, 0.95, 0.95, 0.55]), np.array([1, 1, 0, 1])
    table = statistics.reliability(p, labels, bins=10)
    assert table.expected_calibration_error == pytest.approx(0.75 * abs(2 / 3 - 0.95) + 0.25 * abs(1 - 0.55), abs=1e-12)
    assert table.maximum_calibration_error == pytest.approx(0.45, abs=1e-12)
    assert str(table).splitlines() == [
        "confidence       items   mean   right   95 % interval",
        "0.50 to 0.60        1  0.550  1.000   0.207 to 1.000",
        "0.90 to 1.00        3  0.950  0.667   0.208 to 0.939",
        "expected calibration error 0.3250",
    ]
    two = np.stack([1 - p, p], axis=1)
    assert statistics.expected_calibration_error(two, labels, bins=10) == pytest.approx(0.325, abs=1e-12)
    with pytest.raises(ArgumentError, match="not probabilities"):
        statistics.reliability(np.array([0.5, 3.0]), np.array([0, 1]))
    with pytest.raises(ShapeError):
        statistics.reliability(p, labels[:2])
