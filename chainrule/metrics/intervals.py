# SPDX-License-Identifier: Apache-2.0
"""How far a measured value can be trusted: confidence intervals.

In come counts or a statistic of records, out comes (low, high). Proportions use the score interval (Wilson, 1927),
which keeps its level for few samples and near 0 and 1. Everything else is resampled: the BCa bootstrap (Efron, "Better
bootstrap confidence intervals", JASA 1987) on how often each record occurs, so that a statistic is a function of a
matrix of counts (resamples, records) and thousands of resamples are one call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from ..errors import ArgumentError, explain

__all__ = ["Estimate", "Interval", "bootstrap", "resample", "wilson"]

Interval = tuple[float, float]
Statistic = Callable[[np.ndarray], np.ndarray]
NORMAL = NormalDist()
CHUNK = 2**21  # numbers in one block of counts (16 MiB), so that resampling never needs much memory
JACKKNIFE_GROUPS = 1024


class Estimate(float):
    """A measured value, which is a number, with its confidence interval; `low` and `high` are None where there is none.

    `str()` gives ``98.6 % (95 % interval 96.8 to 99.4 %)`` if `percent`, else ``0.412 (95 % interval 0.389 to 0.436)``.

    >>> x = cr.metrics.Estimate(0.93, 0.91, 0.95)
    >>> float(x), x.low, x.high
    (0.93, 0.91, 0.95)
    """

    low: float | None
    high: float | None
    level: float
    percent: bool

    def __new__(cls, value: float, low: float | None = None, high: float | None = None, level: float = 0.95,
                percent: bool = False) -> Estimate:
        made = super().__new__(cls, value)
        made.low, made.high, made.level, made.percent = low, high, level, percent
        return made

    @property
    def value(self) -> float:
        """The number alone."""
        return float(self)

    def __getnewargs__(self) -> tuple[float, float | None, float | None, float, bool]:
        return self.value, self.low, self.high, self.level, self.percent

    def __repr__(self) -> str:
        return (f"Estimate({self.value!r}, low={self.low!r}, high={self.high!r}, level={self.level}, "
                f"percent={self.percent})")

    def __str__(self) -> str:
        digits, unit = self._digits(), " %" if self.percent else ""
        show = lambda x: f"{100 * x:.{digits}f}" if self.percent else f"{x:.{digits}g}"
        if self.low is None or self.high is None:
            return f"{show(self.value)}{unit}"
        return f"{show(self.value)}{unit} ({100 * self.level:g} % interval {show(self.low)} to {show(self.high)}{unit})"

    def _digits(self) -> int:
        """As many digits as the width of the interval deserves: at least one decimal of a per cent, or four digits."""
        least = 1 if self.percent else 4
        if self.low is None or self.high is None or not self.high > self.low:
            return least
        width, size = self.high - self.low, max(abs(self.value), abs(self.low), abs(self.high))
        needed = math.ceil(-math.log10(100 * width)) if self.percent else math.ceil(math.log10(size / width))
        return min(max(least, needed + 1), 10)


def check_level(level: float) -> float:
    """The level itself; raises ArgumentError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise ArgumentError(explain("the level of an interval cannot be used", got=f"level={level}",
                                    expected="a number between 0 and 1", fix="use level=0.95 for 95 %"))
    return level


# ---- proportions


def wilson(successes: float, trials: float, level: float = 0.95) -> Interval | None:
    """Score interval of a proportion, (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = successes / trials.

    Both may be fractional (an effective number of trials). None without trials. Raises ArgumentError for a level
    outside (0, 1). Source: Wilson, JASA 1927.

    >>> low, high = cr.metrics.wilson(successes=90, trials=100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    z = NORMAL.inv_cdf(0.5 + check_level(level) / 2)
    if not trials > 0:
        return None
    if not 0 <= successes <= trials * (1 + 1e-12):
        raise ArgumentError(explain("there are more successes than trials" if successes > 0
                                    else "a number of successes is negative",
                                    got=f"{successes} of {trials}", expected="0 <= successes <= trials"))
    p, square = successes / trials, z * z
    centre = (p + square / (2 * trials)) / (1 + square / trials)
    half = z * math.sqrt(max(p * (1 - p), 0.0) / trials + square / (4 * trials * trials)) / (1 + square / trials)
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    return (0.0 if p <= 0 else low), (1.0 if p >= 1 else high)


# ---- everything else


def bootstrap(statistic: Statistic, multiplicities: np.ndarray, *, level: float = 0.95, resamples: int = 2000,
              method: str = "bca", seed: int = 0) -> Interval | None:
    """Bootstrap interval of a statistic of records.

    `multiplicities` (records,) says how often each record occurs (ones for a plain sample); `statistic` maps counts
    (resamples, records) to values (resamples,), NaN where it is undefined; such resamples are left out. `method` is
    "bca" (default) or "percentile". The same seed gives the same interval. None if there are fewer than two records
    in all, if most resamples are undefined, or if all agree: that says nothing about the spread.

    >>> scores = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    >>> low, high = cr.metrics.bootstrap(lambda counts: counts @ scores / counts.sum(axis=-1), np.ones(5))
    >>> low < 0.6 < high
    True
    """
    check_level(level)
    if method not in ("bca", "percentile"):
        raise ArgumentError(explain("unknown kind of bootstrap", got=f"method={method!r}", expected="bca | percentile"))
    counts = np.asarray(multiplicities, np.float64)
    if counts.sum() < 2:
        return None
    values = resample(statistic, counts, resamples, seed)
    values = values[np.isfinite(values)]
    if 2 * len(values) < resamples or values.min() == values.max():
        return None
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        tails = _corrected(tails, values, float(statistic(counts[None])[0]), _acceleration(statistic, counts, seed))
    low, high = np.quantile(values, tails)
    return float(low), float(high)


def resample(statistic: Statistic, counts: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """The statistic (resamples,) of as many samples drawn with replacement from records that occur `counts` times."""
    generator, size = np.random.default_rng(seed), len(counts)
    rows = max(1, CHUNK // size)
    plain = bool(np.all(counts == 1))
    draw = _draw_plain if plain else _draw_grouped
    blocks = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([statistic(draw(generator, counts, block)) for block in blocks])


def _draw_plain(generator: np.random.Generator, counts: np.ndarray, resamples: int) -> np.ndarray:
    size = len(counts)
    picks = generator.integers(0, size, (resamples, size)) + size * np.arange(resamples)[:, None]
    return np.bincount(picks.ravel(), minlength=resamples * size).reshape(resamples, size).astype(np.float64)


def _draw_grouped(generator: np.random.Generator, counts: np.ndarray, resamples: int) -> np.ndarray:
    total = counts.sum()
    return generator.multinomial(max(round(float(total)), 1), counts / total, resamples).astype(np.float64)


def _corrected(tails: np.ndarray, values: np.ndarray, value: float, acceleration: float) -> np.ndarray:
    """Efron's corrected tail probabilities: Φ(z₀ + (z₀ + z) / (1 - a (z₀ + z)))."""
    below = (np.count_nonzero(values < value) + np.count_nonzero(values <= value)) / (2 * len(values))
    if not 0 < below < 1:
        return tails
    bias = NORMAL.inv_cdf(below)
    shifted = [bias + NORMAL.inv_cdf(tail) for tail in tails]
    return np.array([NORMAL.cdf(bias + z / (1 - acceleration * z)) for z in shifted])


def _acceleration(statistic: Statistic, counts: np.ndarray, seed: int) -> float:
    """Skewness of the leave-one-out values / 6; beyond 1024 distinct records, from a random choice of as many."""
    groups = np.flatnonzero(counts)
    total = len(groups)
    if total > JACKKNIFE_GROUPS:
        groups = np.sort(np.random.default_rng(seed).choice(groups, JACKKNIFE_GROUPS, replace=False))
    rows = max(1, CHUNK // len(counts))
    left_out = [_without_one(counts, groups[start:start + rows]) for start in range(0, len(groups), rows)]
    values, occurs = np.concatenate([statistic(block) for block in left_out]), counts[groups] * (total / len(groups))
    defined = np.isfinite(values)
    values, occurs = values[defined], occurs[defined]
    if not len(values):
        return 0.0
    change = np.average(values, weights=occurs) - values
    spread = float(occurs @ change**2)
    return float(occurs @ change**3) / (6 * spread**1.5) if spread > 0 else 0.0


def _without_one(counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    block = np.repeat(counts[None], len(groups), axis=0)
    place = np.arange(len(groups)), groups
    block[place] = np.maximum(block[place] - 1, 0)
    return block
