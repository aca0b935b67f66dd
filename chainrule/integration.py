# SPDX-License-Identifier: Apache-2.0
"""Integrals: adaptive Gauss-Kronrod for functions, the trapezoidal and Simpson's rule for samples.

In come a function of one variable and two limits (infinite ones by substitution), out comes a tensor that can be
differentiated with respect to the limits and to everything the function depends on (Leibniz):
d/dt ∫ f(x, t) dx from a to b = f(b, t) b' - f(a, t) a' + ∫ ∂f/∂t dx. The subintervals are found first, without
gradients (Piessens et al., QUADPACK, 1983, as QAG); the integral is then one weighted sum over all their nodes.
"""

from __future__ import annotations

import heapq
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import ArgumentError, ShapeError, TraceError, explain
from .foundations.arguments import counting, function, guard, not_negative, numbers, optional, places, whole
from .ir import Tensor, as_tensor, no_grad
from .ir.dtype import float64, is_float
from .ops.elementwise import as_float, astype
from .ops.movement import permute_dims, reshape, slice_axis
from .ops.reduce import sum as total
from .ops.types import normalize_axis
from .typing import ArrayLike


class IntegrationWarning(UserWarning):
    """The requested accuracy was not reached.

    >>> import warnings
    >>> warnings.simplefilter("error", cr.integration.IntegrationWarning)
    >>> issubclass(cr.integration.IntegrationWarning, UserWarning)
    True
    """


# Kronrod's 15 nodes on [-1, 1] (the non-negative ones), their weights, and those of the 7 Gauss nodes among them
NODES = np.array([0.991455371120812639206854697526329, 0.949107912342758524526189684047851,
                  0.864864423359769072789712788640926,
                  0.741531185599394439863864773280788, 0.586087235467691130294144838258730,
                  0.405845151377397166906606412076961,
                  0.207784955007898467600689403773245, 0.0])
KRONROD = np.array([0.022935322010529224963732008058970, 0.063092092629978553290700663189204,
                    0.104790010322250183839876322541518,
                    0.140653259715525918745189590510238, 0.169004726639267902826583426598550,
                    0.190350578064785409913256402421014,
                    0.204432940075298892414161999234649, 0.209482141084727828012999174891714])
GAUSS = np.array([0.0, 0.129484966168869693270611432679082, 0.0, 0.279705391489276667901467771423780,
                  0.0, 0.381830050505118944950369775488975, 0.0, 0.417959183673469387755102040816327])
X15 = np.concatenate([-NODES, NODES[-2::-1]])
K15, G7 = (np.concatenate([w, w[-2::-1]]) for w in (KRONROD, GAUSS))


def integrate(f: Callable[[Tensor], Any], a: ArrayLike, b: ArrayLike, *, rtol: float = 1e-10, atol: float = 1e-12,
              limit: int = 500, points: ArrayLike = ()) -> Tensor:
    """∫ f(x) dx from a to b, a scalar in float64 (or one per component, where f gives several).

    Args:
        f: takes x of shape (n,) and returns (n,), or (n, ...) for several integrals at once; written with operations of
            chainrule, so that gradients flow to whatever it depends on.
        a, b: the limits, scalars or tensors of shape (); either may be infinite, and a > b changes the sign.
        rtol, atol: halving stops once the estimated error is at most max(atol, rtol |integral|), in every component.
        limit: the largest number of subintervals; IntegrationWarning beyond it.
        points: places inside (a, b) where f has a kink or a jump.

    The subintervals suit f; a derivative that is much rougher than f is less accurate.

    Raises TraceError inside a compiled function, where the limits have no values yet.

    >>> cr.integrate(lambda x: cr.exp(-x * x), -np.inf, np.inf)
    Tensor(1.77245385, dtype=float64)
    """
    limits = [_limit(a), _limit(b)]
    low, high = (float(_value(x)) for x in limits)
    if math.isnan(low) or math.isnan(high):
        raise ArgumentError(explain("a limit of an integral is not a number", got=f"from {low} to {high}"))
    if low > high:
        return -integrate(f, b, a, rtol=rtol, atol=atol, limit=limit, points=points)
    change, unit = _substitution(limits, low, high)
    inside = [_position(float(p), low, high) for p in points if low < float(p) < high]
    pieces = _adapt(lambda u: _sampled(f, change, u), unit, sorted(inside), (rtol, atol, limit))
    return _weighted_sum(f, change, pieces)


def _limit(x: Any) -> Tensor:
    x = as_tensor(x, like=float64)
    if x.shape != ():
        raise ShapeError(explain("a limit of an integral is one number", got=f"shape {x.shape}", expected="shape ()"))
    return astype(x, float64)


def _value(x: Tensor) -> np.ndarray:
    if x.node.data is None:
        raise TraceError(explain("adaptive integration looks at values, and a compiled function has none yet",
                                 got=str(x.node.type),
                                 fix="integrate outside cr.compile, or use cr.trapezoid or cr.simpson on a fixed grid"))
    return np.asarray(x.node.data)


# ---- limits: x and dx / du as functions of u in a finite interval

Change = Callable[[Tensor], tuple[Tensor, Tensor]]


def _substitution(limits: list[Tensor], low: float, high: float) -> tuple[Change, tuple[float, float]]:
    """x(u) and dx / du on a fixed interval of u; the limits enter x as tensors, which is where their gradients come
    from."""
    a, b = limits
    if math.isfinite(low) and math.isfinite(high):
        return lambda u: (a + (b - a) * u, (b - a) + 0 * u), (0.0, 1.0)
    if low == high:
        return lambda u: (u, 0 * u), (0.0, 0.0)
    if math.isfinite(low):
        return lambda u: (a + u / (1 - u), 1 / (1 - u) ** 2), (0.0, 1.0)
    if math.isfinite(high):
        return lambda u: (b - (1 - u) / u, 1 / (u * u)), (0.0, 1.0)
    return lambda u: (u / (1 - u * u), (1 + u * u) / (1 - u * u) ** 2), (-1.0, 1.0)


def _position(x: float, low: float, high: float) -> float:
    """The u that belongs to x."""
    if math.isfinite(low) and math.isfinite(high):
        return (x - low) / (high - low)
    if math.isfinite(low):
        return (x - low) / (1 + x - low)
    if math.isfinite(high):
        return 1 / (1 + high - x)
    return 2 * x / (1 + math.sqrt(1 + 4 * x * x))


def _sampled(f: Callable[[Tensor], Any], change: Change, u: np.ndarray) -> Tensor:
    """f(x(u)) dx / du, shape (n, components)."""
    x, slope = change(as_tensor(u))
    y = as_tensor(f(x))
    y = astype(y, float64) if not is_float(y.dtype) or y.dtype != float64 else y
    if y.shape[:1] != u.shape:
        raise ShapeError(explain("an integrand gives one value, or one row of values, per x",
                                 got=f"shape {y.shape} for x of shape {u.shape}",
                                 expected=f"({u.size},) or ({u.size}, ...)", fix="a constant c is written c + 0 * x"))
    return y * reshape(slope, (u.size, *(1,) * (y.ndim - 1)))


# ---- subintervals

def _adapt(g: Callable[[np.ndarray], Tensor], unit: tuple[float, float], inside: list[float],
           goal: tuple[float, float, int]) -> list[tuple[float, float]]:
    """The subintervals of `unit` on which the 15 nodes are accurate enough: the one with the largest error is halved.
    """
    rtol, atol, limit = goal
    edges = [unit[0], *inside, unit[1]]
    heap: list[Any] = []
    for low, high in itertools.pairwise(edges):
        heapq.heappush(heap, _measured(g, low, high))
    while True:
        value, error = np.sum([h[3] for h in heap], axis=0), np.sum([h[4] for h in heap], axis=0)
        if not np.isfinite(value).all():
            raise ArgumentError(explain("the integrand is not finite",
                                        got=f"an integral of {np.ravel(value)[~np.isfinite(np.ravel(value))][0]}",
                                        fix="give the places of its singularities as points=[...], or limits that "
                                            "exclude them"))
        if np.all(error <= np.maximum(atol, rtol * np.abs(value))) or -heap[0][0] == 0:
            break
        _, low, high, _, _ = heap[0]
        middle = 0.5 * (low + high)
        if len(heap) >= limit or not low < middle < high:
            _complain(value, error, len(heap))
            break
        heapq.heapreplace(heap, _measured(g, low, middle))
        heapq.heappush(heap, _measured(g, middle, high))
    return sorted((h[1], h[2]) for h in heap)


def _measured(g: Callable[[np.ndarray], Tensor], low: float,
              high: float) -> tuple[float, float, float, np.ndarray, np.ndarray]:
    """(-largest error, low, high, integral, error) by 15 nodes; QUADPACK's error estimate."""
    half = 0.5 * (high - low)
    with no_grad():
        y = _value(g(0.5 * (low + high) + half * X15))
    y = y.reshape(15, -1)
    with np.errstate(all="ignore"):
        kronrod, gauss = half * (K15 @ y), half * (G7 @ y)
        spread = half * (K15 @ np.abs(y - kronrod / (2 * half if half else 1)))
        error = np.abs(kronrod - gauss)
        scaled = spread * np.minimum(1, (200 * error / spread) ** 1.5)
        error = np.where((spread > 0) & (error > 0), scaled, error)
        noise = 50 * np.finfo(float).eps * half * (K15 @ np.abs(y))
    error = np.where(error <= noise, 0.0, error)
    worst = float(error.max(initial=0.0)) if np.isfinite(error).all() else math.inf
    return -worst, low, high, kronrod, error


def _complain(value: np.ndarray, error: np.ndarray, pieces: int) -> None:
    worst = int(np.argmax(error))
    warnings.warn(explain("the integral did not reach the accuracy asked for",
                          got=f"{value[worst]:.12g} with an estimated error of {error[worst]:.2g} after {pieces} "
                              "intervals",
                          fix="give kinks and jumps as points=[...], a larger limit, or a larger rtol"),
                  IntegrationWarning, stacklevel=4)


def _weighted_sum(f: Callable[[Tensor], Any], change: Change, pieces: list[tuple[float, float]]) -> Tensor:
    low, high = np.array(pieces).T
    half = 0.5 * (high - low)
    nodes = (0.5 * (low + high)[:, None] + half[:, None] * X15).ravel()
    y = _sampled(f, change, nodes)
    weights = (half[:, None] * K15).ravel()
    return total(y * as_tensor(weights.reshape(-1, *(1,) * (y.ndim - 1))), axis=0)


# ---- samples

def trapezoid(y: ArrayLike, x: ArrayLike | None = None, *, dx: ArrayLike = 1.0, axis: int = -1) -> Tensor:
    """∫ y dx by the trapezoidal rule: the sum of (x_(i+1) - x_i) (y_i + y_(i+1)) / 2.

    Args:
        y: samples along `axis`.
        x: their places, one axis or the shape of y; None for places `dx` apart.

    >>> cr.trapezoid([0.0, 1.0, 4.0], dx=1.0)
    Tensor(3., dtype=float32)
    """
    y, steps = _samples(y, x, dx, axis)
    n = y.shape[-1]
    last = y.ndim - 1
    if n < 2:
        return total(0 * y, axis=-1)
    return total(0.5 * (slice_axis(y, last, 0, n - 1) + slice_axis(y, last, 1, n)) * steps, axis=-1)


def simpson(y: ArrayLike, x: ArrayLike | None = None, *, dx: ArrayLike = 1.0, axis: int = -1) -> Tensor:
    """∫ y dx by Simpson's rule: parabolas through three neighbours, exact for cubics on equally spaced samples.

    For an even number of samples the last interval takes the parabola through the last three (Cartwright, 2017).

    Args:
        y: at least three samples along `axis` (two give the trapezoidal rule).
        x: their places, one axis or the shape of y; None for places `dx` apart.

    >>> x = np.linspace(0, 3, 7)
    >>> cr.simpson(x**2, x)
    Tensor(9., dtype=float64)
    """
    y, steps = _samples(y, x, dx, axis)
    n = y.shape[-1]
    if n < 3:
        return trapezoid(y, dx=steps) if n == 2 else total(0 * y, axis=-1)
    count = n - 1 - (n - 1) % 2
    result = total(_parabolas(y, steps, count), axis=-1)
    return result if count == n - 1 else result + _last_interval(y, steps)


def _samples(y: Any, x: Any, dx: Any, axis: int) -> tuple[Tensor, Tensor]:
    """y with its samples along the last axis, and the distances between them, (..., n - 1)."""
    y = as_float(y)
    axis = normalize_axis(axis, y.ndim)
    order = (*(i for i in range(y.ndim) if i != axis), axis)
    moved = permute_dims(y, order)
    n = y.shape[axis]
    if x is None:
        dx = as_tensor(dx, like=y.dtype)
        return moved, dx if dx.ndim else reshape(dx, (1,)) + 0 * as_tensor(np.zeros(n - 1 if n else 0, y.dtype))
    x = as_tensor(x)
    if x.shape != y.shape and x.shape != (n,):
        raise ShapeError(explain("the places do not fit the samples", got=f"x {x.shape}, y {y.shape}",
                                 expected=f"({n},)" + (f" or {y.shape}" if y.ndim > 1 else "")))
    x = permute_dims(x, order) if x.ndim > 1 else x
    # neighbours that are large numbers stay apart
    x, kind = (x, x.dtype) if is_float(x.dtype) else (astype(x, float64), y.dtype)
    return moved, astype(slice_axis(x, x.ndim - 1, 1, n) - slice_axis(x, x.ndim - 1, 0, n - 1), kind)


def _every(x: Tensor, start: int, stop: int) -> Tensor:
    return slice_axis(x, x.ndim - 1, start, stop, 2)


def _parabolas(y: Tensor, steps: Tensor, count: int) -> Tensor:
    """The integrals over pairs of intervals h, k: (h + k) / 6 times ((2 - k/h) y0 + (h + k)^2 / (h k) y1 + (2 - h/k)
    y2)."""
    h, k = _every(steps, 0, count), _every(steps, 1, count)
    y0, y1, y2 = _every(y, 0, count), _every(y, 1, count), _every(y, 2, count + 1)
    return (h + k) / 6 * ((2 - k / h) * y0 + (h + k) ** 2 / (h * k) * y1 + (2 - h / k) * y2)


def _last_interval(y: Tensor, steps: Tensor) -> Tensor:
    """The integral over the last interval k of the parabola through the last three samples, h the interval before."""
    n, last = y.shape[-1], y.ndim - 1
    y0, y1, y2 = (reshape(slice_axis(y, last, n - i, n - i + 1), y.shape[:-1]) for i in (3, 2, 1))
    m = steps.shape[-1]
    h, k = (reshape(slice_axis(steps, steps.ndim - 1, m - i, m - i + 1), steps.shape[:-1]) for i in (2, 1))
    return (2 * k * k + 3 * h * k) / (6 * (h + k)) * y2 + (k * k + 3 * h
                                                           * k) / (6 * h) * y1 - k**3 / (6 * h * (h + k)) * y0


__all__ = ["IntegrationWarning", "integrate", "simpson", "trapezoid"]

NUMBERS = {"y": numbers, "x": optional(numbers), "dx": numbers}

guard(globals(), ("integrate", "simpson", "trapezoid"), {
    "integrate": {"f": function, "rtol": not_negative, "atol": not_negative, "limit": counting, "points": places},
    "simpson": NUMBERS | {"axis": whole}, "trapezoid": NUMBERS | {"axis": whole}})
