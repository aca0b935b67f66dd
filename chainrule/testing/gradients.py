# SPDX-License-Identifier: Apache-2.0
"""`check_gradient`: reverse-mode derivatives against central differences along a random direction.

For f with values weighted to a scalar, <grad f(x), v> must equal (f(x + h v) - f(x - h v)) / 2h. The left side is
itself a function of x, so the second order is the same check applied to it, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..compiler.transform import grad
from ..errors import ArgumentError, explain
from ..foundations import tree
from ..ir import Tensor, as_tensor
from ..ir.dtype import float64, is_float
from ..ops.elementwise import astype
from ..ops.reduce import sum as total
from ..typing import ArrayLike

Scalar = Callable[..., Tensor]


def check_gradient(function: Callable[..., Any], *arrays: ArrayLike, order: int = 2, step: float = 1e-5,
                   rtol: float = 1e-5, atol: float = 1e-7, seed: int = 0) -> None:
    """Raise AssertionError unless the derivatives of `function` up to `order` agree with finite differences.

    Args:
        function: takes the arrays as tensors, returns a tensor or a structure of them; must be smooth around the
            arrays.
        arrays: the point; floating-point arrays are taken as float64 and varied, others are left as they are.
        order: how many times to differentiate.
        step: h of the central difference, relative to a direction of standard normal elements.
        rtol, atol: |difference| <= atol + rtol * (largest term of the directional derivative).

    >>> cr.testing.check_gradient(lambda x: cr.sum(cr.tanh(x)), np.array([0.1, 0.2]))
    """
    rng = np.random.default_rng(seed)
    point = [_double(x) for x in arrays]
    places = tuple(i for i, x in enumerate(point) if is_float(x.dtype))
    if not places:
        raise ArgumentError(explain("there is no floating-point array to vary",
                                    got=", ".join(str(x.dtype) for x in point)))
    current = _weighted(function, rng)
    for k in range(1, order + 1):
        direction = {i: rng.standard_normal(point[i].shape) for i in places}
        slope = _slope(current, direction)
        _compare(current, slope, point, direction, step, rtol, atol, k)
        current = slope


def _double(x: Any) -> np.ndarray:
    array = np.asarray(x)
    return array.astype(float64) if array.dtype.kind == "f" else array


def _weighted(function: Callable[..., Any], rng: np.random.Generator) -> Scalar:
    """The floating-point results of `function`, each element times a fixed random weight, added up."""
    weights: list[np.ndarray] = []

    def scalar(*args: Any) -> Tensor:
        outputs = [as_tensor(y) for y in tree.flatten(function(*args))[0]]
        floats = [astype(y, float64) for y in outputs if is_float(y.dtype)]
        if not floats:
            raise ArgumentError(explain("there is no floating-point result to differentiate"))
        if not weights:
            weights.extend(rng.uniform(0.5, 1.5, y.shape) for y in floats)
        return _sum([total(y * w) for y, w in zip(floats, weights, strict=True)])
    return scalar


def _slope(function: Scalar, direction: dict[int, np.ndarray]) -> Scalar:
    """<grad function, direction> as a function."""
    places = tuple(direction)

    def scalar(*args: Any) -> Tensor:
        found = grad(function, argnums=places)(*args)
        return _sum([total(g * direction[i]) for i, g in zip(places, found, strict=True)])
    return scalar


def _sum(terms: Sequence[Tensor]) -> Tensor:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def _compare(function: Scalar, slope: Scalar, point: Sequence[np.ndarray], direction: dict[int, np.ndarray],
             step: float, rtol: float, atol: float, order: int) -> None:
    above, below = (function(*_moved(point, direction, sign * step)).item() for sign in (1, -1))
    numeric, exact = (above - below) / (2 * step), slope(*map(as_tensor, point)).item()
    scale = max(abs(numeric), abs(exact), 1e-6 * abs(above))
    if not abs(numeric - exact) <= atol + rtol * scale:
        raise AssertionError(explain(f"the derivative of order {order} is wrong",
                                     got=f"{exact:.12g} along a random direction",
                                     expected=f"{numeric:.12g} by finite differences"))


def _moved(point: Sequence[np.ndarray], direction: dict[int, np.ndarray], amount: float) -> list[Tensor]:
    return [as_tensor(x + amount * direction[i] if i in direction else x) for i, x in enumerate(point)]
