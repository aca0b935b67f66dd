# SPDX-License-Identifier: Apache-2.0
"""Where weights start: arrays drawn from the default generator of `chainrule.random`, so that one seed fixes them all.

`fan_in` and `fan_out` are the connections of one unit, from shapes (*kernel, in, out). Glorot and Bengio (2010), He et
al. (2015), LeCun et al. (1998), Saxe et al. (2014) for orthogonal matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import random
from ..errors import ArgumentError, ShapeError, explain, shown
from ..foundations.names import look_up, named
from ..foundations.remade import remade
from ..ir import no_grad
from ..ir.trace import eager
from ..ir.variable import Variable
from .core.budget import count_variable, filled_later

Initializer = Callable[[tuple[int, ...], Any], np.ndarray]
TABLE: dict[str, Callable[..., Any]] = {}
_STD_OF_TRUNCATED = 0.87962566103423978  # of a standard normal cut at ±2


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan in, fan out) of a weight (*kernel, in, out)."""
    field = math.prod(shape[:-2])
    if len(shape) < 2:
        return (shape[0] if shape else 1,) * 2
    return field * shape[-2], field * shape[-1]


def _draw(kind: str, *args: Any, dtype: Any) -> np.ndarray:
    with eager(), no_grad():
        return getattr(random.default, kind)(*args, dtype=dtype).numpy()


@named(TABLE)
def zeros(shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """All 0."""
    return np.zeros(shape, dtype)


@named(TABLE)
def ones(shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """All 1."""
    return np.ones(shape, dtype)


@named(TABLE)
def normal(shape: tuple[int, ...], dtype: Any = "float32", std: float = 0.05, mean: float = 0.0) -> np.ndarray:
    """Normally distributed around `mean`."""
    return _draw("normal", shape, mean, std, dtype=dtype)


@named(TABLE)
def uniform(shape: tuple[int, ...], dtype: Any = "float32", low: float = -0.05, high: float = 0.05) -> np.ndarray:
    """Equally likely in [low, high)."""
    return _draw("uniform", shape, low, high, dtype=dtype)


@named(TABLE)
def truncated_normal(shape: tuple[int, ...], dtype: Any = "float32", std: float = 0.05) -> np.ndarray:
    """Normal numbers with those beyond two standard deviations drawn again; `std` is that before cutting."""
    values = _draw("normal", shape, dtype=dtype)
    values = np.array(values)
    while (far := np.abs(values) > 2).any():
        values[far] = _draw("normal", (int(far.sum()),), dtype=dtype)
    return (values * std).astype(dtype)


@named(TABLE)
def orthogonal(shape: tuple[int, ...], dtype: Any = "float32", gain: float = 1.0) -> np.ndarray:
    """Orthonormal columns (or rows, whichever are fewer), times `gain`; leading axes are rows."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(_draw("normal", (max(rows, columns), min(rows, columns)), dtype="float64"))
    q = q * np.sign(np.diagonal(r))  # uniform over the orthogonal group
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(dtype)


@named(TABLE)
def identity(shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """1 on the diagonal of a matrix, 0 elsewhere."""
    if len(shape) != 2:
        raise ShapeError(explain("the identity starts matrices only", got=f"shape {shape}", expected="two axes"))
    return np.eye(*shape, dtype=dtype)


@named(TABLE)
def dirac(shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """Filters (*kernel, in, out) that give the image back: 1 in the middle, from channel i to channel i."""
    values = np.zeros(shape, dtype)
    values[tuple(n // 2 for n in _kernel(shape, "dirac"))] = np.eye(*shape[-2:])
    return values


@named(TABLE)
def delta_orthogonal(shape: tuple[int, ...], dtype: Any = "float32", gain: float = 1.0) -> np.ndarray:
    """Filters (*kernel, in, out) that are an orthogonal matrix in the middle and 0 elsewhere, so that lengths are kept
    (Xiao et al., 2018); in must not exceed out."""
    kernel = _kernel(shape, "delta_orthogonal")
    if shape[-2] > shape[-1]:
        raise ShapeError(explain("a delta-orthogonal filter cannot have fewer channels out than in", got=str(shape),
                                 expected="in <= out", fix='use "orthogonal"'))
    values = np.zeros(shape, dtype)
    values[tuple(n // 2 for n in kernel)] = orthogonal(shape[-2:], dtype, gain)
    return values


def _kernel(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    if len(shape) < 3:
        raise ShapeError(explain(f"{name} starts filters only", got=f"shape {shape}", expected="(*kernel, in, out)"))
    return shape[:-2]


@remade
def variance_scaling(scale: float = 1.0, mode: str = "in", distribution: str = "normal") -> Initializer:
    """Variance scale / fan, where the fan is that of mode "in", "out" or "average", drawn from a "normal" that is cut
    at
    two standard deviations, from an "untruncated" normal, or "uniform"."""
    modes, kinds = ("in", "out", "average"), ("normal", "untruncated", "uniform")
    if mode not in modes or distribution not in kinds or not scale > 0:
        raise ArgumentError(explain("there is no such scaling of the variance",
                                    got=f"scale={scale}, mode={mode!r}, distribution={distribution!r}",
                                    expected=f"a positive scale; {' | '.join(modes)}; {' | '.join(kinds)}"))

    def initializer(shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        fan_in, fan_out = fans(shape)
        variance = scale / max(1.0, {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[mode])
        if distribution == "uniform":
            bound = math.sqrt(3 * variance)
            return uniform(shape, dtype, -bound, bound)
        if distribution == "untruncated":
            return normal(shape, dtype, math.sqrt(variance))
        return truncated_normal(shape, dtype, math.sqrt(variance) / _STD_OF_TRUNCATED)
    return initializer


def log_times(units: int, longest: int) -> np.ndarray:
    """log(t - 1) with t even in [2, longest]: biases with which sigmoid gates keep a state for t steps, float64
    (units,)."""
    return np.log(_draw("uniform", (units,), dtype="float64") * max(longest - 2, 0) + 1)


@remade
def constant(value: float) -> Initializer:
    """All elements `value`."""
    return lambda shape, dtype="float32": np.full(shape, value, dtype)


def _enter(name: str, scale: float, mode: str, kind: str) -> None:
    function = variance_scaling(scale, mode, kind)
    fan = {"in": "fan in", "out": "fan out", "average": "mean of fan in and fan out"}[mode]
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{kind.title()} with variance {scale:g} / {fan}."
    TABLE[name] = globals()[name] = function


for _name, _mode, _scale in (("glorot", "average", 1.0), ("he", "in", 2.0), ("lecun", "in", 1.0),
                             ("he_out", "out", 2.0)):
    for _kind in ("uniform", "normal"):
        _enter(f"{_name}_{_kind}", _scale, _mode, _kind)


def get(initializer: Any) -> Initializer:
    """A name, a number (constant) or a function (shape, dtype) -> array as a function."""
    if isinstance(initializer, str):
        return look_up("initialiser", initializer, TABLE)
    if isinstance(initializer, int | float):
        return constant(float(initializer))
    if not callable(initializer):
        raise ArgumentError(explain("an initialiser is a name, a number or a function (shape, dtype) -> array",
                                    got=shown(initializer)))
    return initializer


def seed(seed: int) -> None:
    """The same as `chainrule.random.seed`: the next weights are a function of it."""
    random.seed(seed)


def make(initializer: Any, shape: Sequence[int], dtype: Any, name: str, trainable: bool = True) -> Variable:
    """A Variable of the given shape with what the initialiser gives."""
    shape = tuple(int(n) for n in shape)
    count_variable(shape, dtype)
    value = (np.broadcast_to(np.zeros((), dtype), shape) if filled_later()
             else np.asarray(get(initializer)(shape, dtype)))
    if value.shape != shape:
        raise ShapeError(explain(f"the initialiser of {name} gives another shape", got=str(value.shape),
                                 expected=str(shape)))
    return Variable(value.astype(dtype, copy=False), name=name, trainable=trainable)
