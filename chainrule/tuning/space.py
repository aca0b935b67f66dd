# SPDX-License-Identifier: Apache-2.0
"""What may be chosen: a search space is a dict from names to dimensions, some of which exist only when others say so.

    space = {"optimizer": choice("sgd", "adam"), "learning_rate": log_uniform(1e-4, 1e-1),
             "momentum": uniform(0.0, 0.99).when(optimizer="sgd"), "layers": integer(1, 4)}

A dimension turns a number of [0, 1) into a value, so that any source of uniform numbers samples it. Conditions look at
names that come before; a name whose condition does not hold is left out of the settings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from ..errors import ArgumentError, explain
from ..foundations.names import closest

Settings = dict[str, Any]
Accept = Callable[[Settings], bool]


@dataclass(frozen=True)
class Dimension:
    """One thing that may be chosen; `conditions` maps earlier names to the values for which it exists."""

    conditions: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, kw_only=True)

    def when(self, **conditions: Any) -> Self:
        """The same, but only where the named settings have these values (a tuple or list: any of them)."""
        values = {name: tuple(v) if isinstance(v, tuple | list) else (v,) for name, v in conditions.items()}
        return replace(self, conditions={**self.conditions, **values})

    def active(self, settings: Settings) -> bool:
        """Whether it exists, given what has been chosen before."""
        return all(name in settings and settings[name] in values for name, values in self.conditions.items())

    def draw(self, u: float) -> Any:
        """The value at the share u, 0 <= u < 1, of the dimension."""
        raise NotImplementedError

    def holds(self, value: Any) -> bool:
        """Whether it could have drawn the value."""
        raise NotImplementedError

    def restored(self, value: Any) -> Any:
        """A value that was read from JSON, as it was drawn."""
        return value


@dataclass(frozen=True)
class Real(Dimension):
    """A number in [low, high], even on a plain or a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def draw(self, u: float) -> float:
        if not self.log:
            return self.low + u * (self.high - self.low)
        return min(max(math.exp(math.log(self.low) + u * math.log(self.high / self.low)), self.low), self.high)

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Whole(Dimension):
    """A whole number in low..high, both included, even on a plain or a logarithmic scale."""

    low: int
    high: int
    log: bool = False

    def draw(self, u: float) -> int:
        edges = Real(self.low - 0.5 * self.log, self.high + (0.5 if self.log else 1), log=self.log)
        value = edges.draw(u)
        return min(max(round(value) if self.log else math.floor(value), self.low), self.high)

    def holds(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice(Dimension):
    """One of the options: plain values (numbers, texts, True, False, None, tuples of them), all equally likely."""

    options: tuple[Any, ...]

    def draw(self, u: float) -> Any:
        return self.options[min(int(u * len(self.options)), len(self.options) - 1)]

    def holds(self, value: Any) -> bool:
        return value in self.options

    def restored(self, value: Any) -> Any:
        texts = [json.dumps(option) for option in self.options]
        return self.options[texts.index(json.dumps(value))]


def uniform(low: float, high: float) -> Real:
    """Numbers in [low, high], all equally likely: dropout rates, momentum.

    >>> cr.tuning.uniform(0.0, 0.5)
    Real(conditions={}, low=0.0, high=0.5, log=False)
    """
    return Real(*_ends(low, high))


def log_uniform(low: float, high: float) -> Real:
    """Positive numbers whose orders of magnitude are equally likely: learning rates, strengths of penalties.

    >>> cr.tuning.log_uniform(1e-5, 1e-1)
    Real(conditions={}, low=1e-05, high=0.1, log=True)
    """
    return Real(*_ends(low, high, positive=True), log=True)


def integer(low: int, high: int, log: bool = False) -> Whole:
    """Whole numbers from low to high, both included: layers, units; with `log`, orders of magnitude are equally
    likely.

    >>> cr.tuning.integer(16, 256, log=True)
    Whole(conditions={}, low=16, high=256, log=True)
    """
    low, high = _ends(low, high, positive=log)
    if not all(isinstance(end, int) for end in (low, high)):
        raise ArgumentError(explain("the ends of an integer dimension are whole numbers", got=f"integer({low}, {high})",
                                    fix="uniform(low, high)"))
    return Whole(low, high, log)


def choice(*options: Any) -> Choice:
    """One of the options, such as names of activations or optimisers.

    >>> cr.tuning.choice("relu", "gelu")
    Choice(conditions={}, options=('relu', 'gelu'))
    """
    if not options:
        raise ArgumentError(explain("there is nothing to choose from", got="choice()", fix='choice("relu", "tanh")'))
    if len(options) == 1 and isinstance(options[0], list):
        raise ArgumentError(explain("a list is one option, and nothing to choose from", got=f"choice({options[0]!r})",
                                    fix=f"choice(*{options[0]!r})"))
    try:
        json.dumps(options)
    except TypeError:
        raise ArgumentError(explain("an option is not a plain value", got=repr(options),
                                    expected="numbers, texts, True, False, None, or tuples of them",
                                    fix="give options names, and look objects up in the training function")) from None
    return Choice(options)


def _ends(low: Any, high: Any, positive: bool = False) -> tuple[Any, Any]:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high and (low > 0 or not positive)):
        raise ArgumentError(explain("these cannot be the ends of a dimension", got=f"low {low}, high {high}",
                                    expected="0 < low <= high" if positive else "low <= high, both finite"))
    return low, high


def check_space(space: Mapping[str, Dimension]) -> dict[str, Dimension]:
    """The space itself; ArgumentError for what is no dimension, or for a condition on a name that does not come
    before.
    """
    before: list[str] = []
    for name, dimension in space.items():
        if not isinstance(dimension, Dimension):
            raise ArgumentError(explain(f"{name!r} of the search space is not a dimension", got=repr(dimension),
                                        fix=f"choice({dimension!r}) keeps it; or uniform, log_uniform, integer"))
        for other, values in dimension.conditions.items():
            if other not in before:
                raise ArgumentError(explain(f"{name!r} depends on {other!r}, which does not come before it",
                                            got=", ".join(before) or "nothing",
                                            fix=closest(other, before) or f"put {other!r} before {name!r}"))
            if not any(space[other].holds(value) for value in values):
                never = f"{other!r} is never {' or '.join(map(repr, values))}"
                raise ArgumentError(explain(f"{name!r} never exists: {never}", got=str(space[other])))
        before.append(name)
    return dict(space)


def sample(space: Mapping[str, Dimension], value: Callable[[str, Dimension], Any]) -> Settings:
    """Settings in the order of the space, each from `value(name, dimension)`; only what exists is asked for."""
    settings: Settings = {}
    for name, dimension in space.items():
        if dimension.active(settings):
            settings[name] = value(name, dimension)
    return settings


def anything(settings: Settings) -> bool:
    """Accepts all settings."""
    return True


def likeliest(candidates: Sequence[Settings], gains: np.ndarray, accept: Accept) -> Settings:
    """The candidate with the largest gain that is accepted, or with the largest at all if none is."""
    order = np.argsort(-gains, kind="stable")
    return next((candidates[i] for i in order if accept(candidates[i])), candidates[order[0]])


def problems(space: Mapping[str, Dimension], settings: Settings) -> Iterator[str]:
    """What is wrong with settings, in words: nothing for those that the space can give."""
    for name in settings:
        if name not in space:
            yield f"{name} is not in the space"
    for name, dimension in space.items():
        if dimension.active(settings) != (name in settings):
            yield f"{name} is {'missing' if name not in settings else 'there without its condition'}"
        elif name in settings and not dimension.holds(settings[name]):
            yield f"{name} = {settings[name]!r} lies outside"


__all__ = ["Choice", "Dimension", "Real", "Whole", "choice", "integer", "log_uniform", "uniform"]
