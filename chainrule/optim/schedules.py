# SPDX-License-Identifier: Apache-2.0
"""Learning rates as functions of the step (0, 1, ...), made of operations, so that they run inside the compiled step.

A schedule is any function from the step, an integer tensor, to a number or a tensor (cr.astype(step, "float64") keeps
all digits where weights are float64); these make the usual ones.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError, explain, shown
from ..foundations.names import unknown_attribute
from ..ir import Tensor, as_tensor
from ..ir.dtype import float64
from ..ops.elementwise import (
    astype,
    cos,
    exp,
    floor,
    full_like,
    less,
    log,
    maximum,
    minimum,
    sqrt,
    where,
)
from ..typing import LearningRate
from .settings import setting

Schedule = Callable[[Any], Tensor]


def _real(step: Any) -> Tensor:
    return astype(as_tensor(step), float64)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(explain(f"{name} is a positive number of steps", got=shown(value),
                                    fix="steps are batches: epochs * batches per epoch"))
    return value


@setting
def constant(learning_rate: float) -> Schedule:
    """Always the same.

    >>> float(cr.optim.schedules.constant(0.1)(100))
    0.1
    """
    return lambda step: full_like(_real(step), learning_rate)


@setting
def step(learning_rate: float, every: int, factor: float = 0.1) -> Schedule:
    """learning_rate * factor^floor(step / every).

    >>> rate = cr.optim.schedules.step(0.1, every=30)
    >>> [round(float(rate(step)), 4) for step in (0, 30, 60)]
    [0.1, 0.01, 0.001]
    """
    every = _count("every", every)
    return lambda step: learning_rate * _power(factor, floor(_real(step) / every))


@setting
def multi_step(learning_rate: float, boundaries: Sequence[int], factor: float = 0.1) -> Schedule:
    """learning_rate * factor^(how many of `boundaries` are not above the step).

    >>> rate = cr.optim.schedules.multi_step(0.1, boundaries=[30, 60])
    >>> [round(float(rate(step)), 4) for step in (0, 30, 60)]
    [0.1, 0.01, 0.001]
    """
    def rate(step: Any) -> Tensor:
        t = _real(step)
        value = full_like(t, learning_rate)
        for boundary in boundaries:
            value = where(less(t, float(boundary)), value, value * factor)
        return value
    return rate


@setting
def exponential(learning_rate: float, decay_steps: int, factor: float) -> Schedule:
    """learning_rate * factor^(step / decay_steps).

    >>> rate = cr.optim.schedules.exponential(0.1, decay_steps=100, factor=0.5)
    >>> [round(float(rate(step)), 4) for step in (0, 100, 200)]
    [0.1, 0.05, 0.025]
    """
    decay_steps = _count("decay_steps", decay_steps)
    return lambda step: learning_rate * _power(factor, _real(step) / decay_steps)


def _power(base: float, exponent: Tensor) -> Tensor:
    return exp(exponent * math.log(base))


@setting
def cosine(learning_rate: float, decay_steps: int, final: float = 0.0) -> Schedule:
    """From learning_rate to `final` along half a cosine, then `final` (Loshchilov and Hutter, 2017).

    >>> rate = cr.optim.schedules.cosine(0.1, decay_steps=100)
    >>> [round(float(rate(step)), 4) for step in (0, 50, 100)]
    [0.1, 0.05, 0.0]
    """
    decay_steps = _count("decay_steps", decay_steps)
    return lambda step: final + (0.5 * (learning_rate
                                        - final)) * (1 + cos(minimum(_real(step) / decay_steps, 1.0) * math.pi))


@setting
def linear(learning_rate: float, decay_steps: int, final: float = 0.0) -> Schedule:
    """From learning_rate to `final` along a line, then `final`.

    >>> rate = cr.optim.schedules.linear(0.1, decay_steps=100)
    >>> [round(float(rate(step)), 4) for step in (0, 50, 200)]
    [0.1, 0.05, 0.0]
    """
    decay_steps = _count("decay_steps", decay_steps)
    return lambda step: learning_rate + (final - learning_rate) * minimum(_real(step) / decay_steps, 1.0)


@setting
def polynomial(learning_rate: float, decay_steps: int, power: float = 1.0, final: float = 0.0) -> Schedule:
    """(learning_rate - final) (1 - step / decay_steps)^power + final, then `final`.

    >>> rate = cr.optim.schedules.polynomial(0.1, decay_steps=100, power=2.0)
    >>> [round(float(rate(step)), 4) for step in (0, 50, 100)]
    [0.1, 0.025, 0.0]
    """
    decay_steps = _count("decay_steps", decay_steps)

    def rate(step: Any) -> Tensor:
        left = 1.0 - minimum(_real(step) / decay_steps, 1.0)
        return final + (learning_rate - final) * left**power
    return rate


@setting
def inverse_sqrt(learning_rate: float, warmup_steps: int) -> Schedule:
    """learning_rate * min((step + 1) / warmup, sqrt(warmup / (step + 1))) (Vaswani et al., 2017).

    >>> rate = cr.optim.schedules.inverse_sqrt(0.1, warmup_steps=100)
    >>> [round(float(rate(step)), 4) for step in (49, 99, 399)]
    [0.05, 0.1, 0.05]
    """
    warmup_steps = _count("warmup_steps", warmup_steps)

    def rate(step: Any) -> Tensor:
        t = _real(step) + 1
        return learning_rate * minimum(t / warmup_steps, sqrt(warmup_steps / t))
    return rate


@setting
def cosine_restarts(learning_rate: float, period: int, factor: float = 1.0, final: float = 0.0) -> Schedule:
    """Half a cosine from learning_rate to `final` over `period` steps, then again, each period `factor` times as long
    as the one before (Loshchilov and Hutter, 2017).

    >>> rate = cr.optim.schedules.cosine_restarts(0.1, period=10)
    >>> [round(float(rate(step)), 4) for step in (0, 5, 10)]
    [0.1, 0.05, 0.1]
    """
    period = _count("period", period)
    if factor < 1:
        raise ArgumentError(explain("the periods must not become shorter", got=f"factor={factor}",
                                    expected="1 or more"))

    def share(t: Tensor) -> Tensor:
        """How much of its period is over at step t."""
        if factor == 1:
            return t / period - floor(t / period)
        done = floor(log(t * ((factor - 1) / period) + 1) * (1 / math.log(factor)) + 1e-9)  # whole periods before t
        grown = _power(factor, done)
        return (t - (grown - 1) * (period / (factor - 1))) / (grown * period)
    return lambda step: final + (0.5 * (learning_rate - final)) * (1 + cos(share(_real(step)) * math.pi))


@setting
def one_cycle(learning_rate: float, steps: int, rise: float = 0.3, first: float = 25.0, last: float = 1e4,
              shape: str = "cosine", phases: int = 2) -> Schedule:
    """From learning_rate / first up to learning_rate over the share `rise` of all steps, then down to
    learning_rate / (first * last) (Smith and Topin, 2018).

    Args:
        shape: "cosine" for half cosines, "linear" for lines.
        phases: 2, or 3: down to where it began in as many steps as up, and then to the end.

    >>> rate = cr.optim.schedules.one_cycle(0.1, steps=100)
    >>> [round(float(rate(step)), 4) for step in (0, 30, 99)]
    [0.004, 0.0999, 0.0]
    """
    top, end = rise * _count("steps", steps) - 1, float(steps - 1)
    if shape not in ("cosine", "linear") or phases not in (2, 3):
        raise ArgumentError(explain("a cycle has another form", got=f"shape={shape!r}, phases={phases!r}",
                                    expected='shape "cosine" or "linear", 2 or 3 phases'))
    ends = [top, end] if phases == 2 else [top, 2 * top, end]
    if not 0 < ends[0] or any(a >= b for a, b in itertools.pairwise(ends)):
        raise ArgumentError(explain("one of the ways has no steps", got=f"rise={rise}, steps={steps}, phases={phases}",
                                    expected="a share between 0 and 1 of enough steps" if phases == 2
                                    else "a share below 1/2 of enough steps"))
    low = learning_rate / first
    levels = [low, learning_rate, *([low] if phases == 3 else []), low / last]

    def between(start: float, stop: float, share: Tensor) -> Tensor:
        share = minimum(maximum(share, 0.0), 1.0)
        return (start + (stop - start) * share if shape == "linear" else stop + (0.5 * (start - stop))
                * (1 + cos(share * math.pi)))

    def rate(step: Any) -> Tensor:
        t = _real(step)
        value, begin = between(levels[0], levels[1], t / top), top
        for start, stop, until in zip(levels[1:], levels[2:], ends[1:], strict=False):
            value = where(less(t, begin), value, between(start, stop, (t - begin) / (until - begin)))
            begin = until
        return value
    return rate


@setting
def cyclic(low: float, high: float, rise_steps: int, fall_steps: int | None = None, shrink: float = 1.0,
           decay: float = 1.0) -> Schedule:
    """A line from `low` to `high` and back, again and again; each cycle's height is `shrink` times that before it, and
    each step's `decay` times (Smith, 2017).

    >>> rate = cr.optim.schedules.cyclic(0.01, 0.1, rise_steps=10)
    >>> [round(float(rate(step)), 4) for step in (0, 10, 20)]
    [0.01, 0.1, 0.01]
    """
    rise_steps = _count("rise_steps", rise_steps)
    fall_steps = rise_steps if fall_steps is None else _count("fall_steps", fall_steps)
    whole = rise_steps + fall_steps

    def rate(step: Any) -> Tensor:
        t = _real(step)
        cycle = floor(t / whole)
        at = t - cycle * whole
        height = where(less(at, float(rise_steps)), at / rise_steps, (whole - at) / fall_steps)
        for factor, count in ((shrink, cycle), (decay, t)):
            height = height if factor == 1 else height * _power(factor, count)
        return low + (high - low) * height
    return rate


@setting
def warmup(schedule: LearningRate, warmup_steps: int) -> Schedule:
    """`schedule` (a schedule or a number) times (step + 1) / warmup_steps, until that is 1.

    >>> rate = cr.optim.schedules.warmup(0.1, warmup_steps=10)
    >>> [round(float(rate(step)), 4) for step in (0, 4, 100)]
    [0.01, 0.05, 0.1]
    """
    warmup_steps = _count("warmup_steps", warmup_steps)
    inner = schedule if callable(schedule) else constant(schedule)
    return lambda step: as_tensor(inner(step)) * minimum((_real(step) + 1) / warmup_steps, 1.0)


@setting
def warmup_cosine(learning_rate: float, warmup_steps: int, decay_steps: int, final: float = 0.0) -> Schedule:
    """A line up to learning_rate over `warmup_steps`, then half a cosine down to `final` at step `decay_steps`.

    >>> rate = cr.optim.schedules.warmup_cosine(0.1, warmup_steps=10, decay_steps=100)
    >>> [round(float(rate(step)), 4) for step in (0, 9, 100)]
    [0.01, 0.1, 0.0]
    """
    if not warmup_steps:
        return cosine(learning_rate, decay_steps, final)
    if _count("decay_steps", decay_steps) <= _count("warmup_steps", warmup_steps):
        raise ArgumentError(explain("the schedule ends before its warm-up does",
                                    got=f"warmup_steps {warmup_steps}, decay_steps {decay_steps}",
                                    expected="decay_steps, counted from the start, above warmup_steps"))
    rise = linear(learning_rate / warmup_steps, warmup_steps, learning_rate + learning_rate / warmup_steps)
    return sequence([rise, cosine(learning_rate, decay_steps - warmup_steps, final)], [warmup_steps])


@setting
def sequence(schedules: Sequence[Any], boundaries: Sequence[int]) -> Schedule:
    """The first schedule until boundaries[0], the next, which counts its steps from there, until boundaries[1], ...

    >>> from chainrule.optim import schedules
    >>> rate = schedules.sequence([0.1, schedules.linear(0.1, 10)], boundaries=[5])
    >>> [round(float(rate(step)), 4) for step in (0, 5, 10)]
    [0.1, 0.1, 0.05]
    """
    if len(schedules) != len(boundaries) + 1:
        raise ArgumentError(explain("there is one boundary between two schedules",
                                    got=f"{len(schedules)} schedules, {len(boundaries)} boundaries"))
    parts = [s if callable(s) else constant(s) for s in schedules]

    def rate(step: Any) -> Tensor:
        t = _real(step)
        value = as_tensor(parts[0](t))
        for part, boundary in zip(parts[1:], boundaries, strict=True):
            value = where(less(t, float(boundary)), value, part(t - float(boundary)))
        return value
    return rate


@setting
def product(schedule: LearningRate, *factors: Any) -> Schedule:
    """A schedule times others, whose values are factors: product(cosine(0.1, 1000), linear(0.2, 50, 1.0)) is a cosine
    with a warm-up.

    >>> from chainrule.optim import schedules
    >>> rate = schedules.product(schedules.constant(0.1), schedules.linear(1.0, 10))
    >>> [round(float(rate(step)), 4) for step in (0, 5, 10)]
    [0.1, 0.05, 0.0]
    """
    parts = [s if callable(s) else constant(s) for s in (schedule, *factors)]
    return lambda step: functools.reduce(operator.mul, (as_tensor(part(step)) for part in parts))


def __getattr__(name: str) -> Any:
    raise unknown_attribute("optim.schedules", name,
                            [k for k, v in globals().items() if inspect.isfunction(v) and v.__module__ == __name__])
