# SPDX-License-Identifier: Apache-2.0
"""Learning rates as functions of the step (0, 1, ...), made of operations, so that they run inside the compiled step.

A schedule is any function from the step, an integer tensor, to a number or a tensor; these make the usual ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError, explain
from ..ir import Tensor, as_tensor
from ..ir.dtype import float64
from ..ops.elementwise import astype, cos, exp, floor, full_like, less, minimum, where

Schedule = Callable[[Any], Tensor]


def _real(step: Any) -> Tensor:
    return astype(as_tensor(step), float64)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(explain(f"{name} is a positive number of steps", got=repr(value),
                                    fix="steps are batches: epochs * batches per epoch"))
    return value


def constant(learning_rate: float) -> Schedule:
    """Always the same."""
    return lambda step: full_like(_real(step), learning_rate)


def step(learning_rate: float, every: int, factor: float = 0.1) -> Schedule:
    """learning_rate * factor^floor(step / every)."""
    every = _count("every", every)
    return lambda step: learning_rate * _power(factor, floor(_real(step) / every))


def multi_step(learning_rate: float, boundaries: Sequence[int], factor: float = 0.1) -> Schedule:
    """learning_rate * factor^(how many of `boundaries` are not above the step)."""
    def rate(step: Any) -> Tensor:
        t = _real(step)
        value = full_like(t, learning_rate)
        for boundary in boundaries:
            value = where(less(t, float(boundary)), value, value * factor)
        return value
    return rate


def exponential(learning_rate: float, decay_steps: int, factor: float) -> Schedule:
    """learning_rate * factor^(step / decay_steps)."""
    decay_steps = _count("decay_steps", decay_steps)
    return lambda step: learning_rate * _power(factor, _real(step) / decay_steps)


def _power(base: float, exponent: Tensor) -> Tensor:
    return exp(exponent * math.log(base))


def cosine(learning_rate: float, decay_steps: int, final: float = 0.0) -> Schedule:
    """From learning_rate to `final` along half a cosine, then `final` (Loshchilov and Hutter, 2017)."""
    decay_steps = _count("decay_steps", decay_steps)
    return lambda step: final + (0.5 * (learning_rate
                                        - final)) * (1 + cos(minimum(_real(step) / decay_steps, 1.0) * math.pi))


def linear(learning_rate: float, decay_steps: int, final: float = 0.0) -> Schedule:
    """From learning_rate to `final` along a line, then `final`."""
    decay_steps = _count("decay_steps", decay_steps)
    return lambda step: learning_rate + (final - learning_rate) * minimum(_real(step) / decay_steps, 1.0)


def warmup(schedule: Any, warmup_steps: int) -> Schedule:
    """`schedule` (a schedule or a number) times (step + 1) / warmup_steps, until that is 1."""
    warmup_steps = _count("warmup_steps", warmup_steps)
    inner = schedule if callable(schedule) else constant(schedule)
    return lambda step: as_tensor(inner(step)) * minimum((_real(step) + 1) / warmup_steps, 1.0)


def warmup_cosine(learning_rate: float, warmup_steps: int, decay_steps: int, final: float = 0.0) -> Schedule:
    """A line up to learning_rate over `warmup_steps`, then half a cosine down to `final` at step `decay_steps`."""
    if not warmup_steps:
        return cosine(learning_rate, decay_steps, final)
    if _count("decay_steps", decay_steps) <= _count("warmup_steps", warmup_steps):
        raise ArgumentError(explain("the schedule ends before its warm-up does",
                                    got=f"warmup_steps {warmup_steps}, decay_steps {decay_steps}",
                                    expected="decay_steps, counted from the start, above warmup_steps"))
    rise = linear(learning_rate / warmup_steps, warmup_steps, learning_rate + learning_rate / warmup_steps)
    return sequence([rise, cosine(learning_rate, decay_steps - warmup_steps, final)], [warmup_steps])


def sequence(schedules: Sequence[Any], boundaries: Sequence[int]) -> Schedule:
    """The first schedule until boundaries[0], the next, which counts its steps from there, until boundaries[1], ..."""
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
