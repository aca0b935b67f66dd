# SPDX-License-Identifier: Apache-2.0
"""Distances of sets of samples equal their definitions, and their intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats

from chainrule import metrics
from chainrule.errors import ArgumentError, ShapeError

A = np.random.default_rng(0).normal(size=(60, 4)) @ np.diag([1, 2, 0.5, 0.1])
B = np.random.default_rng(1).normal(size=(80, 4)) + 0.3


def test_frechet_distance_is_its_definition() -> None:
    first, second = np.cov(A, rowvar=False), np.cov(B, rowvar=False)
    wanted = np.square(A.mean(0) - B.mean(0)).sum() + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)
    assert float(metrics.frechet_distance(A, B)) == pytest.approx(wanted, rel=1e-9)
    assert float(metrics.frechet_distance(A, A)) == pytest.approx(0, abs=1e-9)
    assert float(metrics.frechet_distance(A[:, :1], B[:, :1])) == pytest.approx(
        (A[:, 0].mean() - B[:, 0].mean()) ** 2 + (A[:, 0].std(ddof=1) - B[:, 0].std(ddof=1)) ** 2)


def test_frechet_distance_of_directions_that_do_not_vary() -> None:
    flat = np.concatenate([A, np.zeros((60, 2))], axis=1)
    assert float(metrics.frechet_distance(flat, flat + [0, 0, 0, 0, 3, 4])) == pytest.approx(25)


def test_energy_distance_is_its_definition() -> None:
    assert float(metrics.energy_distance(A[:, :1], B[:, :1])) == pytest.approx(
        stats.energy_distance(A[:, 0], B[:, 0]), rel=1e-9
    )
    mean = lambda x, y: np.mean([np.linalg.norm(p - q) for p in x for q in y])
    assert float(metrics.energy_distance(A, B)) == pytest.approx(
        np.sqrt(2 * mean(A, B) - mean(A, A) - mean(B, B)), rel=1e-9
    )


def test_precision_and_recall_are_their_definition() -> None:
    def share(of: np.ndarray, around: np.ndarray, k: int) -> float:
        radius = [sorted(np.linalg.norm(p - q) for q in around)[k] for p in around]
        return np.mean([any(np.linalg.norm(x - p) <= r for p, r in zip(around, radius, strict=True)) for x in of])
    found = metrics.precision_recall(A, B, k=3)
    assert found.precision.value == pytest.approx(share(B, A, 3))
    assert found.recall.value == pytest.approx(share(A, B, 3))


def test_coverage_of_one_of_two_modes_is_a_half() -> None:
    random = np.random.default_rng(0)
    modes = [random.normal(size=(200, 2)) + center for center in (0, 50)]
    found = metrics.coverage(np.concatenate(modes), random.normal(size=(400, 2)))
    assert found.coverage.value == pytest.approx(0.5, abs=0.03)
    assert found.coverage.low < 0.5 < found.coverage.high
    assert metrics.precision_recall(np.concatenate(modes), modes[0]).recall.value == pytest.approx(0.5, abs=0.02)


def test_intervals_hold_the_distance_of_the_distributions() -> None:
    inside = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        found = metrics.frechet_distance(random.normal(size=(400, 1)), random.normal(size=(400, 1)) + 2)
        inside += found.low <= 4 <= found.high
    assert 34 <= inside <= 40


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ShapeError, match="no table of features"):
        metrics.frechet_distance(np.zeros((3, 4, 4)), np.zeros((3, 4, 4)))
    with pytest.raises(ShapeError, match="other features"):
        metrics.energy_distance(A, B[:, :2])
    with pytest.raises(ArgumentError, match="NaN"):
        metrics.coverage(A, np.where(B > 1, np.nan, B))
    with pytest.raises(ArgumentError, match="not so many neighbours"):
        metrics.precision_recall(A, B, k=60)
