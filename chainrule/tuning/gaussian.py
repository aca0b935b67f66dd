# SPDX-License-Identifier: Apache-2.0
"""Settings from a Gaussian process: a smooth model of the score with its uncertainty, and the place where most is
expected.

Few trials that take long are where it pays. Settings become points of the unit cube (choices: one axis per option); the
kernel is Matérn 5/2 with a length for each axis, by the largest likelihood; the next settings have the largest expected
improvement among many at random and near the best. Source: Snoek, Larochelle and Adams, NeurIPS 2012. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .journal import Record
from .space import Accept, Choice, Dimension, Settings, anything, likeliest, sample

AT_RANDOM, NEARBY, WIDTHS = 1000, 250, (0.2, 0.05, 0.01, 0.002)   # candidates, and how near those near the best are
NOISES = (1e-6, 1e-4, 1e-2, 1e-1)                                  # shares of the variance of the scores
SQRT5 = math.sqrt(5)


def propose(space: Mapping[str, Dimension], done: Sequence[Record], generator: np.random.Generator,
            accept: Accept = anything) -> Settings:
    """The accepted settings with the largest expected improvement over the best score so far."""
    points = np.stack([encoded(space, record.settings) for record in done])
    scores = levelled(np.array([record.score if record.state == "finished" else math.nan for record in done]))
    process = fitted(points, scores, generator)
    candidates = [*_anywhere(space, generator), *_near(space, done[int(scores.argmin())].settings, generator)]
    gains = expected_improvement(process, np.stack([encoded(space, c) for c in candidates]), float(scores.min()))
    return likeliest(candidates, gains, accept)


def levelled(scores: np.ndarray) -> np.ndarray:
    """Standardised scores; what is far worse than the rest, or failed, is only as bad as a bad one."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.zeros(len(scores))
    low, middle, high = np.quantile(finite, (0.0, 0.5, 0.75))
    limit = high + 1.0 * max(high - middle, 0.5 * (middle - low), 1e-12)
    clipped = np.minimum(np.where(np.isfinite(scores), scores, limit), limit)
    return (clipped - clipped.mean()) / max(float(clipped.std()), 1e-12)


# ---- points

def place(dimension: Dimension, value: float) -> float:
    """The share of a number in its dimension: what `draw` made it of."""
    low, high = (dimension.low, dimension.high)  # type: ignore[attr-defined]
    if high == low:
        return 0.5
    if dimension.log:  # type: ignore[attr-defined]
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def encoded(space: Mapping[str, Dimension], settings: Settings) -> np.ndarray:
    """A point of the cube: numbers by their share, choices by one axis per option, what is absent in the middle."""
    parts: list[float] = []
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            parts += [float(name in settings and settings[name] == option) for option in dimension.options]
        else:
            parts.append(place(dimension, settings[name]) if name in settings else 0.5)
    return np.array(parts)


def _anywhere(space: Mapping[str, Dimension], generator: np.random.Generator) -> list[Settings]:
    rows = [dict(zip(space, map(float, shares), strict=True)) for shares in generator.random((AT_RANDOM, len(space)))]
    return [sample(space, lambda name, dimension, row=row: dimension.draw(row[name])) for row in rows]


def _near(space: Mapping[str, Dimension], best: Settings, generator: np.random.Generator) -> list[Settings]:
    def moved(name: str, dimension: Dimension, width: float) -> object:
        if name not in best or (isinstance(dimension, Choice) and generator.random() < 0.2):
            return dimension.draw(float(generator.random()))
        if isinstance(dimension, Choice):
            return best[name]
        share = place(dimension, best[name]) + width * generator.normal()
        return dimension.draw(min(max(share, 0.0), 1 - 1e-9))
    return [sample(space, lambda name, dimension, width=width: moved(name, dimension, width))
            for width in WIDTHS for _ in range(NEARBY)]


# ---- the process

@dataclass(frozen=True)
class Process:
    """A fitted Gaussian process of mean zero and variance one."""

    points: np.ndarray
    lengths: np.ndarray
    factor: np.ndarray    # lower triangular, of the covariance with noise
    weights: np.ndarray   # covariance^-1 scores

    def __call__(self, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean, standard deviation) at points (n, axes)."""
        k = covariance(asked, self.points, self.lengths)
        v = np.linalg.solve(self.factor, k.T)
        return k @ self.weights, np.sqrt(np.maximum(1 - np.square(v).sum(axis=0), 1e-12))


def covariance(a: np.ndarray, b: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Matérn 5/2: (1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r) of the scaled distances r."""
    a, b = a / lengths, b / lengths
    squares = np.maximum(np.square(a).sum(1)[:, np.newaxis] + np.square(b).sum(1) - 2 * a @ b.T, 0)
    r = np.sqrt(squares)
    return (1 + SQRT5 * r + 5 / 3 * squares) * np.exp(-SQRT5 * r)


def fitted(points: np.ndarray, scores: np.ndarray, generator: np.random.Generator, tries: int = 30,
           rounds: int = 4) -> Process:
    """Lengths and noise by the largest likelihood: some at random, the best of them improved axis by axis."""
    axes = points.shape[1]
    starts = [(np.exp(generator.uniform(math.log(0.1), math.log(3), axes)),
               NOISES[i % len(NOISES)]) for i in range(tries)]
    lengths, noise = max(starts, key=lambda start: _likelihood(points, scores, *start))
    best = _likelihood(points, scores, lengths, noise)
    for step in np.geomspace(2.0, 1.15, rounds):
        for axis in range(axes):
            for factor in (step, 1 / step):
                other = np.where(np.arange(axes) == axis, np.clip(lengths * factor, 0.03, 10), lengths)
                if (value := _likelihood(points, scores, other, noise)) > best:
                    lengths, best = other, value
        noise = max(NOISES, key=lambda n: _likelihood(points, scores, lengths, n))
        best = _likelihood(points, scores, lengths, noise)
    factor = np.linalg.cholesky(covariance(points, points, lengths) + (noise + 1e-8) * np.eye(len(points)))
    return Process(points, lengths, factor, np.linalg.solve(factor.T, np.linalg.solve(factor, scores)))


def _likelihood(points: np.ndarray, scores: np.ndarray, lengths: np.ndarray, noise: float) -> float:
    """Logarithm, to a constant, with a weak wish for lengths near one."""
    factor = np.linalg.cholesky(covariance(points, points, lengths) + (noise + 1e-8) * np.eye(len(points)))
    white = np.linalg.solve(factor, scores)
    return float(-0.5 * white @ white - np.log(np.diag(factor)).sum() - 0.1 * np.square(np.log(lengths)).sum())


def expected_improvement(process: Process, asked: np.ndarray, best: float) -> np.ndarray:
    """E max(best - f, 0) at each point: d Phi(d / s) + s phi(d / s) with d = best - mean."""
    mean, spread = process(asked)
    d = best - mean
    z = d / spread
    below = 0.5 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in z]))
    return d * below + spread * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
