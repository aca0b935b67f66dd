# SPDX-License-Identifier: Apache-2.0
"""Settings from densities: where good trials lie close together and bad ones do not.

In: the trials so far. Out: settings with the largest l(x) / g(x) among candidates drawn from l, the density of the best
trials; g is that of all others. Choices are drawn, not maximised: all candidates share those of the first, so that an
option that has done badly so far is tried again. Each density is a mixture of kernels around its trials, over all
dimensions together (normal and cut to the range for numbers; for a choice, the option of the trial or any), and an even
part, so that no place is ever given up. All kernels grow narrower with the number of trials: wide ones look for the
valleys, narrow ones for their bottom.
Sources: Bergstra et al., NeurIPS 2011 (the estimator); Falkner et al., ICML 2018 (kernels over all dimensions).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .gaussian import place
from .journal import Record
from .space import Accept, Choice, Dimension, Settings, Whole, anything, likeliest, sample

CANDIDATES, EVEN = 64, 0.2          # drawn for each proposal; share of the even part
BEST, SHARE, MOST = 4, 0.1, 25      # the good trials: at least so many, this share of all, at most
WIDTH, POWER, NARROWEST = 0.15, 1.5, 0.003  # of the kernels, in shares of the range: WIDTH (first / trials)^POWER
LOYALTY = 0.8                       # most that a kernel of a choice puts on the option of its trial


def propose(space: Mapping[str, Dimension], done: Sequence[Record], first: int, generator: np.random.Generator,
            accept: Accept = anything) -> Settings:
    """The best of the accepted candidates; `first` trials were drawn at random."""
    scores = np.array([record.score if record.state == "finished" else math.inf for record in done])
    order = np.argsort(np.where(np.isfinite(scores), scores, math.inf), kind="stable")
    good = min(max(BEST, math.ceil(SHARE * len(done))), MOST, len(done) - 1)
    narrowing = (first / len(done)) ** POWER
    near, far = (Density(space, [done[i].settings for i in part], narrowing) for part in (order[:good], order[good:]))
    chosen = near.draw(generator)
    candidates = [chosen, *(near.draw(generator, chosen) for _ in range(CANDIDATES - 1))]
    gains = near.log(candidates) - far.log(candidates)
    return likeliest(candidates, gains, accept)


@dataclass
class Density:
    """The mixture of kernels around some settings; `narrowing` in (0, 1] is how narrow they are."""

    space: Mapping[str, Dimension]
    around: Sequence[Settings]
    narrowing: float

    def _width(self, dimension: Dimension) -> float:
        steps = dimension.high - dimension.low + 1 if isinstance(dimension, Whole) else math.inf
        return max(WIDTH * self.narrowing, NARROWEST, 1 / steps)

    def _loyalty(self) -> float:
        """How much a kernel of a choice puts on its own option, beside the even rest."""
        return min(1 - self.narrowing, LOYALTY)

    def draw(self, generator: np.random.Generator, options: Settings | None = None) -> Settings:
        """Settings from the mixture; with the choices of `options`, where it makes them."""
        origin = {} if generator.random() < EVEN else self.around[int(generator.integers(len(self.around)))]

        def moved(name: str, dimension: Dimension) -> object:
            if options and name in options and isinstance(dimension, Choice):
                return options[name]
            if name not in origin or (isinstance(dimension, Choice) and generator.random() >= self._loyalty()):
                return dimension.draw(float(generator.random()))
            if isinstance(dimension, Choice):
                return origin[name]
            share, width = place(dimension, origin[name]), self._width(dimension)
            while not 0 <= (found := share + width * generator.normal()) <= 1:
                pass
            return dimension.draw(min(found, 1 - 1e-9))
        return sample(self.space, moved)

    def log(self, asked: Sequence[Settings]) -> np.ndarray:
        """The logarithm of the density at each of `asked`, relative to the even density of its dimensions."""
        total = np.zeros((len(asked), len(self.around)))
        for name, dimension in self.space.items():
            there = np.array([name in settings for settings in asked])
            known = np.array([name in settings for settings in self.around])
            both = np.ix_(there, known)
            if not both[0].size or not both[1].size:
                continue
            x, centre = ([settings[name] for settings in part if name in settings] for part in (asked, self.around))
            total[both] += (self._choice(dimension, x, centre) if isinstance(dimension, Choice)
                            else self._number(dimension, x, centre))
        top = total.max(axis=1)
        kernels = top + np.log((1 - EVEN) * np.exp(total - top[:, None]).mean(axis=1))
        return np.logaddexp(math.log(EVEN), kernels)

    def _choice(self, dimension: Choice, x: list[object], centre: list[object]) -> np.ndarray:
        same = np.array([[a == b for b in centre] for a in x])
        return np.log(1 - self._loyalty() + self._loyalty() * len(dimension.options) * same)

    def _number(self, dimension: Dimension, x: list[float], centre: list[float]) -> np.ndarray:
        width = self._width(dimension)
        shares, means = (np.array([place(dimension, value) for value in part]) for part in (x, centre))
        inside = np.array([_normal((1 - m) / width) - _normal(-m / width) for m in means])
        z = (shares[:, None] - means) / width
        return -0.5 * z * z - np.log(inside * width * math.sqrt(2 * math.pi))


def _normal(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))
