# SPDX-License-Identifier: Apache-2.0
"""Where the settings of the next trial come from: at random, from those that have done well
(TPE, by Optuna), or from a model of the score (a Gaussian process).

A sampler is a function (space, finished trials, seed, number of the trial) -> settings. It keeps no state: what it
proposes follows from its arguments, so a search that was stopped and goes on proposes what it would have proposed.
Random search: Bergstra and Bengio, JMLR 2012. Tree-structured Parzen estimator: Bergstra et al., NeurIPS 2011.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import MissingExtra
from . import gaussian
from .journal import Record
from .space import Choice, Dimension, Real, Settings, sample

Sampler = Callable[[Mapping[str, Dimension], Sequence[Record], int, int], Settings]
FIRST_AT_RANDOM, CANDIDATES = 10, 64  # of the methods that learn; of TPE


def stream(seed: int, number: int) -> np.random.Generator:
    """Random numbers that belong to one trial."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))


def random(space: Mapping[str, Dimension], done: Sequence[Record], seed: int, number: int) -> Settings:
    """Every dimension by itself; trial n is the same whatever came out of the others."""
    shares = dict(zip(space, stream(seed, number).random(len(space)), strict=True))
    return sample(space, lambda name, dimension: dimension.draw(float(shares[name])))


def tpe(space: Mapping[str, Dimension], done: Sequence[Record], seed: int, number: int) -> Settings:
    """Where good trials are dense and bad ones are not, all dimensions together; ten trials at random come first."""
    optuna = _optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of multivariate and group
        sampler = _parzen(optuna, seed, number)
    study = optuna.create_study(sampler=sampler)
    for record in done:
        study.add_trial(_known(optuna, space, record))
    trial = study.ask()
    return sample(space, lambda name, dimension: _suggested(trial, name, dimension))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra('tune(method="tpe")', "optuna", "tune") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _parzen(optuna: Any, seed: int, number: int) -> Any:
    return optuna.samplers.TPESampler(seed=int(stream(seed, number).integers(2**31)), multivariate=True, group=True,
                                      n_startup_trials=FIRST_AT_RANDOM, n_ei_candidates=CANDIDATES)


def _suggested(trial: Any, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return dimension.options[trial.suggest_categorical(name, range(len(dimension.options)))]
    suggest = trial.suggest_float if isinstance(dimension, Real) else trial.suggest_int
    return suggest(name, dimension.low, dimension.high, log=dimension.log)


def _known(optuna: Any, space: Mapping[str, Dimension], record: Record) -> Any:
    """A trial as Optuna keeps it; options of a choice are known by their place."""
    values, distributions = {}, {}
    for name, value in record.settings.items():
        values[name], distributions[name] = _encoded(optuna.distributions, space[name], value)
    states = optuna.trial.TrialState
    state = states.COMPLETE if math.isfinite(record.score) and record.state == "finished" else states.PRUNED
    reports = {step: value for step, value in record.reports.items() if math.isfinite(value)}
    return optuna.trial.create_trial(state=state, value=record.score
                                     if state is states.COMPLETE else None, params=values,
                                     distributions=distributions, intermediate_values=reports)


def _encoded(distributions: Any, dimension: Dimension, value: Any) -> tuple[Any, Any]:
    if isinstance(dimension, Choice):
        return dimension.options.index(value), distributions.CategoricalDistribution(range(len(dimension.options)))
    kind = distributions.FloatDistribution if isinstance(dimension, Real) else distributions.IntDistribution
    return value, kind(dimension.low, dimension.high, log=dimension.log)


def gaussian_process(space: Mapping[str, Dimension], done: Sequence[Record], seed: int, number: int) -> Settings:
    """Where a Gaussian process expects the most; ten trials at random come first."""
    if len(done) < FIRST_AT_RANDOM:
        return random(space, done, seed, number)
    return gaussian.propose(space, done, stream(seed, number))


SAMPLERS: dict[str, Sampler] = {"random": random, "tpe": tpe, "gp": gaussian_process}
