# SPDX-License-Identifier: Apache-2.0
"""How far two sets of samples are apart: Fréchet and energy distance, improved precision and recall, density and
coverage.

In come features (n, d) of real and of generated samples: raw numbers, or what a classifier's hidden layer makes of them
(`model.features(x)`). Which features are taken decides what a distance means, so two figures compare only with the same
ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError, explain, shown
from .intervals import NORMAL, Estimate, check_level, wilson

__all__ = ["Coverage", "PrecisionRecall", "coverage", "energy_distance", "frechet_distance", "precision_recall"]

BLOCK = 2**22  # distances at once (32 MiB)


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1] with Wilson's intervals: generated samples that could be real, real ones that could be
    generated.

    >>> rng = np.random.default_rng(0)
    >>> found = cr.metrics.precision_recall(rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 100.0)
    >>> isinstance(found, cr.metrics.PrecisionRecall)
    True
    """

    precision: Estimate
    recall: Estimate


class Coverage(NamedTuple):
    """`coverage` in [0, 1]: real samples with a generated one near; `density` (1 where they are alike): generated ones
    per real ball.

    >>> rng = np.random.default_rng(0)
    >>> found = cr.metrics.coverage(rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 100.0)
    >>> isinstance(found, cr.metrics.Coverage), float(found.density)
    (True, 0.0)
    """

    density: Estimate
    coverage: Estimate


def frechet_distance(a: np.ndarray, b: np.ndarray, *, resamples: int = 50, level: float = 0.95,
                     seed: int = 0) -> Estimate:
    """Fréchet distance of the normal distributions with the means and covariances of two samples.

    d² = |μ_a - μ_b|² + tr(C_a + C_b - 2 (C_a C_b)^½) (Dowson and Landau, 1982; Heusel et al., 2017, on Inception's
    features as FID). It is biased upwards by about d / n for few samples: compare sets of one size.

    Args:
        a, b: features (n, d) and (m, d); ArgumentError for fewer than two rows or NaN, ShapeError for another d.
        resamples: bootstrap resamples for the standard error of the interval; 0 gives none.

    >>> import numpy as np, chainrule as cr
    >>> a = np.random.default_rng(0).normal(size=(500, 2))
    >>> round(float(cr.metrics.frechet_distance(a, a + 1.0)), 6)
    2.0
    """
    a, b = _pair(a, b)
    return _bootstrapped(_frechet, a, b, resamples, level, seed)


def energy_distance(a: np.ndarray, b: np.ndarray, *, resamples: int = 50, level: float = 0.95,
                    seed: int = 0) -> Estimate:
    """Energy distance sqrt(2 E|X - Y| - E|X - X'| - E|Y - Y'|), 0 only for equal distributions (Székely and Rizzo,
    2004).

    Expectations run over all pairs, those of a sample with itself included, as `scipy.stats.energy_distance` does in
    one dimension. Time grows with (n + m)². Arguments as of `frechet_distance`.

    >>> import chainrule as cr
    >>> round(float(cr.metrics.energy_distance([[0.0], [1.0]], [[2.0], [3.0]])), 4)
    1.7321
    """
    a, b = _pair(a, b)
    inside, across, other = _distances(a, a), _distances(a, b), _distances(b, b)

    def value(i: np.ndarray, j: np.ndarray) -> float:
        """By how often each sample was drawn."""
        u, v = np.bincount(i, minlength=len(a)) / len(i), np.bincount(j, minlength=len(b)) / len(j)
        return float(np.sqrt(max(2 * u @ across @ v - u @ inside @ u - v @ other @ v, 0.0)))

    return _with_error(value, len(a), len(b), resamples, level, seed)


def precision_recall(real: np.ndarray, generated: np.ndarray, *, k: int = 3, level: float = 0.95) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al., 2019).

    A sample lies on the manifold of a set if it is inside a ball around one of the set that reaches to its k-th
    neighbour in the set.
    Precision: share of generated samples on the manifold of the real ones; recall: the other way round.

    Args:
        real, generated: features (n, d) and (m, d).
        k: neighbours; fewer than there are samples.

    >>> import numpy as np, chainrule as cr
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> cr.metrics.precision_recall(x, x[:50]).precision.value
    1.0
    """
    real, generated = _pair(real, generated)
    across = _distances(real, generated)
    precise = int((across <= _radii(real, k)[:, None]).any(axis=0).sum())
    recalled = int((across <= _radii(generated, k)[None]).any(axis=1).sum())
    return PrecisionRecall(_share(precise, len(generated), level), _share(recalled, len(real), level))


def coverage(real: np.ndarray, generated: np.ndarray, *, k: int = 5, level: float = 0.95) -> Coverage:
    """Density and coverage (Naeem et al., 2020): by balls around real samples only, so that outliers among the
    generated count less.

    density = Σ_j #{i: generated_j in ball_i} / (k m), coverage = share of the balls that hold a generated sample.

    >>> import numpy as np, chainrule as cr
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> cr.metrics.coverage(x, x).coverage.value
    1.0
    """
    real, generated = _pair(real, generated)
    inside = _distances(real, generated) <= _radii(real, k)[:, None]
    return Coverage(Estimate(float(inside.sum() / (k * len(generated)))),
                    _share(int(inside.any(axis=1).sum()), len(real), level))


def _frechet(a: np.ndarray, b: np.ndarray) -> float:
    shift, first, second = a.mean(axis=0) - b.mean(axis=0), _covariance(a), _covariance(b)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    both = np.linalg.eigvalsh(root @ second @ root)  # those of C_a C_b, which is not symmetric
    distance = shift @ shift + np.trace(first) + np.trace(second) - 2 * np.sqrt(np.maximum(both, 0)).sum()
    return float(max(distance, 0.0))


def _covariance(x: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(x, rowvar=False))


def _bootstrapped(value: Callable[[np.ndarray, np.ndarray], float], a: np.ndarray, b: np.ndarray, resamples: int,
                  level: float, seed: int) -> Estimate:
    return _with_error(lambda i, j: value(a[i], b[j]), len(a), len(b), resamples, level, seed)


def _with_error(value: Callable[[np.ndarray, np.ndarray], float], n: int, m: int, resamples: int, level: float,
                seed: int) -> Estimate:
    """The value with a normal interval of the bootstrap's standard error: its percentiles would be off by the bias of a
    distance."""
    check_level(level)
    found = value(np.arange(n), np.arange(m))
    if resamples < 2:
        return Estimate(found, level=level)
    random = np.random.default_rng(seed)
    spread = np.std([value(random.integers(0, n, n), random.integers(0, m, m)) for _ in range(resamples)], ddof=1)
    reach = NORMAL.inv_cdf((1 + level) / 2) * float(spread)
    return Estimate(found, max(found - reach, 0.0), found + reach, level)


def _share(count: int, total: int, level: float) -> Estimate:
    low, high = wilson(count, total, level)
    return Estimate(count / total, low, high, level, percent=True)


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """(n,): the distance of each sample to its k-th neighbour in the set."""
    if not 0 < k < len(x):
        raise ArgumentError(explain("there are not so many neighbours", got=f"k={k}, {len(x)} samples",
                                    expected="0 < k < samples"))
    return np.partition(_distances(x, x), k, axis=1)[:, k]  # the nearest is the sample itself


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, m), by differences: what |a|² + |b|² - 2ab loses would be the whole of a small distance.
    """
    rows = max(1, BLOCK // max(1, len(b) * a.shape[1]))
    return np.concatenate([np.sqrt(np.square(a[i:i + rows, None] - b[None]).sum(axis=-1))
                           for i in range(0, len(a), rows)])


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    for name, x in (("first", a), ("second", b)):
        if x.ndim != 2 or len(x) < 2:
            raise ShapeError(explain(f"the {name} set of samples is no table of features", got=f"shape {x.shape}",
                                     expected="(samples, features), at least 2 samples",
                                     fix="x.reshape(len(x), -1), or model.features(x)"))
        if not np.isfinite(x).all():
            raise ArgumentError(explain(f"the {name} set of samples holds NaN or infinite features", got=shown(x)))
    if a.shape[1] != b.shape[1]:
        raise ShapeError(explain("two sets of samples with other features",
                                 got=f"{a.shape[1]} and {b.shape[1]} features", expected="the same"))
    return a, b
