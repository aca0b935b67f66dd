# SPDX-License-Identifier: Apache-2.0
"""L-BFGS: quasi-Newton steps from the last few changes of parameters and gradient (Liu and Nocedal, 1989), for smooth
losses over all data. Loss and gradient are one compiled program; the loop around it is plain NumPy on one flat vector.

Formulas and symbols as in Nocedal and Wright (2006): algorithm 7.4 (two loops), 3.5 and 3.6 (strong Wolfe conditions).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler.compile import compile
from ..compiler.transform import gradients
from ..errors import ArgumentError, NonFiniteError, explain, shown
from ..foundations.arguments import guard_methods
from ..ir import Variable
from .base import _named, positive
from .settings import OF_OPTIMIZERS

SUFFICIENT, CURVATURE = 1e-4, 0.9  # c1 and c2 of the Wolfe conditions, the book's values for quasi-Newton steps


@dataclass(frozen=True)
class Minimum:
    """What a minimisation came to; the parameters hold where it ended.

    >>> w = cr.Variable(np.array([5.0]))
    >>> found = cr.optim.LBFGS().minimize(lambda: cr.sum((w - 2.0) ** 2), [w])
    >>> isinstance(found, cr.optim.Minimum), round(found.loss, 6), found.converged
    (True, 0.0, True)
    """

    loss: float
    gradient: float
    """Largest absolute element of the gradient."""
    iterations: int
    evaluations: int
    reason: str

    @property
    def converged(self) -> bool:
        """Whether it ended because the gradient or the steps became small."""
        return self.reason != "iterations"


@dataclass(frozen=True)
class _Point:
    """The objective along a line: step, value, gradient, slope."""

    t: float
    f: float
    g: np.ndarray
    slope: float


class LBFGS:
    """p = p - t H g, with H from the last `history` pairs (s, y) of changes of p and g; H is I s.y / y.y before them.

    Args:
        learning_rate: t without a line search, and the first trial of one. The very first step is shortened to length
            one at most, because nothing is known of the scale yet.
        history: how many pairs are kept.
        line_search: "strong_wolfe", or None for fixed steps.
        tolerance: stop when the largest element of the gradient is below this.
        least_change: stop when loss or parameters change less than this.

    >>> w = cr.Variable(np.array([-1.2, 1.0]))
    >>> rosenbrock = lambda: (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
    >>> found = cr.optim.LBFGS().minimize(rosenbrock, [w])
    >>> found.converged, w.numpy().round(4)
    (True, array([1., 1.]))
    """

    def __init__(self, learning_rate: float = 1.0, history: int = 10, line_search: str | None = "strong_wolfe",
                 tolerance: float = 1e-7, least_change: float = 1e-9):
        if line_search not in ("strong_wolfe", None):
            raise ArgumentError(explain("there is no such line search", got=shown(line_search),
                                        expected='"strong_wolfe" or None'))
        self.learning_rate, self.history = positive("learning_rate", learning_rate), int(positive("history", history))
        self.line_search, self.tolerance, self.least_change = line_search, tolerance, least_change
        self.pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=self.history)
        self._started = False
        self._program: tuple[Any, Any, Any] | None = None

    def minimize(self, loss: Callable[[], Any], parameters: Any, iterations: int = 100,
                 backend: str | None = None) -> Minimum:
        """Minimise `loss()` over the parameters (a module, a dict or a list of Variables), which are changed in place.

        `loss` reads the parameters and gives a scalar; it is compiled. A further call with the same function goes on
        with what was learnt of the curvature.

        Raises NonFiniteError if the loss is not finite at the start.
        """
        variables = [v for v in _named(parameters).values() if v.trainable]
        evaluate = self._evaluator(loss, variables, backend)
        x = np.concatenate([v.numpy().ravel().astype("float64") for v in variables])
        here = _Point(0.0, *evaluate(x), 0.0)
        if not math.isfinite(here.f):
            raise NonFiniteError(explain("the loss is not finite where the minimisation starts", got=f"{here.f}",
                                         fix="start from other weights, or scale the data"))
        counts, reason = [0, 1], "iterations"
        while counts[0] < iterations:
            reason, x, here = self._iterate(evaluate, x, here, counts)
            if reason:
                break
        _put(variables, x)
        return Minimum(here.f, float(np.abs(here.g).max(initial=0.0)), *counts, reason or "iterations")

    def _evaluator(self, loss: Any, variables: Sequence[Variable], backend: str | None) -> Callable[..., Any]:
        if self._program is None or self._program[0] is not loss or self._program[1] != list(map(id, variables)):
            def both() -> Any:
                value = loss()
                return value, gradients(value, list(variables))
            self._program = (loss, list(map(id, variables)), compile(both, backend=backend))
            self.pairs.clear()
            self._started = False
        run = self._program[2]

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            _put(variables, x)
            value, grads = run()
            return value.item(), np.concatenate([g.numpy().ravel().astype("float64") for g in grads])
        return evaluate

    def _iterate(self, evaluate: Any, x: np.ndarray, here: _Point, counts: list[int]) -> tuple[str, np.ndarray, _Point]:
        """One step: (why to stop or "", new parameters, the objective there)."""
        if np.abs(here.g).max(initial=0.0) <= self.tolerance:
            return "gradient", x, here
        d = self.direction(here.g)
        slope = _dot(here.g, d)
        if slope > -self.least_change ** 2:
            return "no descent", x, here
        first = self.learning_rate * (1.0 if self._started else min(1.0, 1 / np.abs(here.g).sum()))
        self._started = True
        counts[0] += 1

        def along(t: float) -> _Point:
            counts[1] += 1
            f, g = evaluate(x + t * d)
            return _Point(t, f, g, _dot(g, d))
        start = _Point(0.0, here.f, here.g, slope)
        there = strong_wolfe(along, start, first) if self.line_search else along(first)
        s, y = there.t * d, there.g - here.g
        if _dot(s, y) > 1e-10:  # positive curvature, which keeps H positive definite
            self.pairs.append((s, y))
        small = np.abs(s).max() <= self.least_change or abs(there.f - here.f) < self.least_change
        return "change" if small else "", x + s, there

    def direction(self, g: np.ndarray) -> np.ndarray:
        """-H g by the two loops over the pairs, newest first and back."""
        q, kept = -g, []
        for s, y in reversed(self.pairs):
            a = _dot(s, q) / _dot(s, y)
            q = q - a * y
            kept.append(a)
        if self.pairs:
            s, y = self.pairs[-1]
            q = q * (_dot(s, y) / _dot(y, y))
        for (s, y), a in zip(self.pairs, reversed(kept), strict=True):
            q = q + s * (a - _dot(y, q) / _dot(s, y))
        return q


def strong_wolfe(along: Callable[[float], _Point], start: _Point, t: float, most: int = 25) -> _Point:
    """A step with f(t) <= f(0) + c1 t f'(0) and |f'(t)| <= c2 |f'(0)| (algorithm 3.5), or the best found in `most`."""
    before = start
    for i in range(most):
        now = along(t)
        if _too_high(now, start) or (i and now.f >= before.f):
            return _zoom(along, start, before, now, most - i)
        if abs(now.slope) <= -CURVATURE * start.slope:
            return now
        if now.slope >= 0:
            return _zoom(along, start, now, before, most - i)
        t = min(max(_cubic(before, now), now.t + 0.1 * (now.t - before.t)), 10 * now.t)
        before = now
    return before


def _too_high(now: _Point, start: _Point) -> bool:
    return not now.f <= start.f + SUFFICIENT * now.t * start.slope  # also for NaN


def _zoom(along: Callable[[float], _Point], start: _Point, low: _Point, high: _Point, most: int) -> _Point:
    """The step between the lower point and another with the minimum between them (algorithm 3.6)."""
    for _ in range(most):
        left, width = min(low.t, high.t), abs(high.t - low.t)
        if width * np.abs(start.g).max() < 1e-16 * max(abs(start.f), 1e-300):
            break
        t = min(max(_cubic(low, high), left + 0.1 * width), left + 0.9 * width)
        now = along(t)
        if _too_high(now, start) or now.f >= low.f:
            high = now
            continue
        if abs(now.slope) <= -CURVATURE * start.slope:
            return now
        if now.slope * (high.t - low.t) >= 0:
            high = low
        low = now
    return low


def _cubic(a: _Point, b: _Point) -> float:
    """Where the cubic through both values and slopes is least (equation 3.59); the middle if there is no such place."""
    middle = 0.5 * (a.t + b.t)
    if a.t == b.t or not math.isfinite(b.f):
        return middle
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    under = d1 * d1 - a.slope * b.slope
    if not under >= 0:
        return middle
    d2 = math.copysign(math.sqrt(under), b.t - a.t)
    bottom = b.slope - a.slope + 2 * d2
    t = b.t - (b.t - a.t) * (b.slope + d2 - d1) / bottom if bottom else middle
    return t if math.isfinite(t) else middle


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Their inner product, by pairwise sums: a product of BLAS adds in an order that depends on its threads."""
    return float(np.sum(a * b))


def _put(variables: Sequence[Variable], x: np.ndarray) -> None:
    at = 0
    for v in variables:
        v.assign(x[at:at + v.size].reshape(v.shape).astype(v.dtype))
        at += v.size


guard_methods(LBFGS, ["__init__"], {"__init__": OF_OPTIMIZERS})

__all__ = ["LBFGS", "Minimum", "strong_wolfe"]
