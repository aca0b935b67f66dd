# SPDX-License-Identifier: Apache-2.0
"""Where the settings of the next trial come from: at random, from densities of what has done well and what has not
(TPE),
or from a model of the score (a Gaussian process).

A sampler is a function (space, finished trials, seed, number of the trial, what is accepted) -> settings, accepted ones
if it can choose among several. It keeps no state: what it proposes follows from its arguments, so a search that was
stopped and goes on proposes what it would have proposed. Random search: Bergstra and Bengio, JMLR 2012. Tree-structured
Parzen estimator: Bergstra et al., NeurIPS 2011.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from . import gaussian, parzen
from .journal import Record
from .space import Accept, Dimension, Settings, anything, sample

Sampler = Callable[[Mapping[str, Dimension], Sequence[Record], int, int, Accept], Settings]
FIRST_AT_RANDOM = 10  # of the methods that learn


def stream(seed: int, number: int) -> np.random.Generator:
    """Random numbers that belong to one trial."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))


def random(space: Mapping[str, Dimension], done: Sequence[Record], seed: int, number: int,
           accept: Accept = anything) -> Settings:
    """Every dimension by itself; trial n is the same whatever came out of the others."""
    shares = dict(zip(space, stream(seed, number).random(len(space)), strict=True))
    return sample(space, lambda name, dimension: dimension.draw(float(shares[name])))


def tpe(space: Mapping[str, Dimension], done: Sequence[Record], seed: int, number: int,
        accept: Accept = anything) -> Settings:
    """Where good trials are dense and bad ones are not, all dimensions together; ten trials at random come first."""
    if len(done) < FIRST_AT_RANDOM:
        return random(space, done, seed, number, accept)
    return parzen.propose(space, done, FIRST_AT_RANDOM, stream(seed, number), accept)


def gaussian_process(space: Mapping[str, Dimension], done: Sequence[Record], seed: int, number: int,
                     accept: Accept = anything) -> Settings:
    """Where a Gaussian process expects the most; ten trials at random come first."""
    if len(done) < FIRST_AT_RANDOM:
        return random(space, done, seed, number, accept)
    return gaussian.propose(space, done, stream(seed, number), accept)


SAMPLERS: dict[str, Sampler] = {"random": random, "tpe": tpe, "gp": gaussian_process}
