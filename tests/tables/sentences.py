# SPDX-License-Identifier: Apache-2.0
"""One row per function of `ops.compose` and `ops.reduce`: the formula in NumPy or SciPy, where it is smooth, and its
corners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special as special

from chainrule.ops import compose as c
from chainrule.ops import elementwise as e
from chainrule.ops import reduce as r


@dataclass(frozen=True)
class Sentence:
    """A function, its oracle, the interval of smooth arguments, special arguments, and how often it is differentiated.
    """

    function: Callable[..., Any]
    oracle: Callable[..., Any]
    low: float = -2.0
    high: float = 2.0
    corners: tuple[float, ...] = ()
    arity: int = 1
    order: int = 2
    shape: tuple[int, ...] = (3, 5)
    rtol: float = 1e-12


INF, NAN = np.inf, np.nan
TAILS = (0.0, -0.0, 1e-12, -1e-12, 30.0, -30.0, 700.0, -700.0, 1000.0, -1000.0, INF, -INF, NAN)
WIDE = (*TAILS, 1e9, -1e9, 1e200, -1e200)


def _mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(np.logaddexp(0, x))



# fmt: off
ROWS: dict[str, Sentence] = {
    "square":     Sentence(c.square, np.square, corners=WIDE),
    "reciprocal": Sentence(c.reciprocal, np.reciprocal, 0.5, 3, corners=WIDE),
    "tan":        Sentence(e.tan, np.tan, -1, 1, corners=(0.0, -0.0, INF, NAN)),
    "log2":       Sentence(e.log2, np.log2, 0.2, 9, corners=(0.0, 1.0, 8.0, INF, -1.0, NAN)),
    "log10":      Sentence(e.log10, np.log10, 0.2, 9, corners=(0.0, 1.0, 1000.0, INF, -1.0, NAN)),
    "logaddexp":  Sentence(c.logaddexp, np.logaddexp, corners=(0.0, 700.0, -700.0, INF, -INF, NAN), arity=2),
    "asin":       Sentence(e.asin, np.arcsin, -0.9, 0.9, corners=(0.0, 1.0, -1.0, 1e-9, 1 - 1e-9, 1.5, NAN)),
    "acos":       Sentence(e.acos, np.arccos, -0.9, 0.9, corners=(0.0, 1.0, -1.0, 1e-9, 1 - 1e-9, 1.5, NAN)),
    "atan":       Sentence(c.atan, np.arctan, corners=WIDE),
    "sinh":       Sentence(e.sinh, np.sinh, corners=(0.0, -0.0, 1e-12, -1e-12, 30.0, -30.0, 709.0, -709.0, 710.2,
                                                     1000.0, INF, -INF, NAN)),
    "cosh":       Sentence(e.cosh, np.cosh, corners=(0.0, 1e-12, 30.0, -30.0, 709.0, 710.2, 1000.0, INF, -INF, NAN)),
    "asinh":      Sentence(e.asinh, np.arcsinh, 0.1, 2, corners=WIDE),
    "acosh":      Sentence(e.acosh, np.arccosh, 1.2, 4, corners=(1.0, 1 + 1e-9, 1e9, 1e200, INF, 0.5, NAN)),
    "atanh":      Sentence(e.atanh, np.arctanh, 0.1, 0.9, corners=(0.0, 1.0, -1.0, 1e-12, -1e-12, 1 - 1e-9, 1.5, NAN)),
    "clip":       Sentence(lambda x: c.clip(x, -1.0, 1.5), lambda x: np.clip(x, -1.0, 1.5), corners=WIDE),
    "relu":       Sentence(c.relu, lambda x: np.where(x > 0, x, 0.0), corners=(0.0, -3.0, INF, -INF)),
    "leaky_relu": Sentence(c.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x), corners=WIDE),
    "elu":        Sentence(c.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), corners=TAILS),
    "selu":       Sentence(c.selu, lambda x: 1.0507009873554805
                           * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))), corners=TAILS),
    "sigmoid":    Sentence(c.sigmoid, special.expit, corners=WIDE),
    "log_sigmoid": Sentence(c.log_sigmoid, special.log_expit,
                            corners=(0.0, 1e-12, 30.0, -30.0, 700.0, -700.0, -1000.0, NAN)),
    "softplus":   Sentence(c.softplus, lambda x: np.logaddexp(0, x), corners=TAILS),
    "softsign":   Sentence(c.softsign, lambda x: x / (1 + np.abs(x)), 0.1, 2, corners=(0.0, 1e9, -1e9, NAN)),
    "silu":       Sentence(c.silu, lambda x: x * special.expit(x), corners=(*TAILS[:-2], 1e9, INF, NAN)),
    "mish":       Sentence(c.mish, _mish, corners=(0.0, 30.0, 700.0, 1000.0, INF, NAN)),
    "gelu":       Sentence(c.gelu, lambda x: x * special.ndtr(x), corners=(0.0, 30.0, 1000.0, INF, NAN), rtol=1e-11),
    "gelu tanh":  Sentence(lambda x: c.gelu(x, approximate="tanh"),
                           lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
                           corners=(0.0, 30.0, -30.0, NAN)),
    "hard_sigmoid": Sentence(c.hard_sigmoid, lambda x: np.clip(x / 6 + 0.5, 0, 1), corners=WIDE),
    "hard_tanh":  Sentence(c.hard_tanh, lambda x: np.clip(x, -1, 1), corners=WIDE),
    "softmax":     Sentence(c.softmax, lambda x: special.softmax(x, axis=-1)),
    "softmax 0":   Sentence(lambda x: c.softmax(x * 400.0, axis=0), lambda x: special.softmax(x * 400, axis=0),
                            order=0),
    "log_softmax": Sentence(c.log_softmax, lambda x: special.log_softmax(x, axis=-1)),
    "log_softmax 0": Sentence(lambda x: c.log_softmax(x * 400.0, axis=0),
                              lambda x: special.log_softmax(x * 400, axis=0), order=0),
    "logsumexp":   Sentence(c.logsumexp, special.logsumexp),
    "logsumexp 1": Sentence(lambda x: c.logsumexp(x * 900.0, axis=1, keepdims=True),
                            lambda x: special.logsumexp(x * 900, axis=1, keepdims=True), order=0),
    "mean":   Sentence(lambda x: r.mean(x, axis=0), lambda x: np.mean(x, axis=0)),
    "var":    Sentence(lambda x: r.var(x, axis=(0, 2), keepdims=True), lambda x: np.var(x, axis=(0, 2), keepdims=True),
                       shape=(2, 3, 4)),
    "var correction": Sentence(lambda x: r.var(x + 1e6, axis=1, correction=1),
                               lambda x: np.var(x + 1e6, axis=1, ddof=1), order=0),
    "std":    Sentence(lambda x: r.std(x, axis=1, correction=1), lambda x: np.std(x, axis=1, ddof=1)),
    "prod":   Sentence(lambda x: r.prod(x, axis=1), lambda x: np.prod(x, axis=1), shape=(3, 7)),
    "prod all": Sentence(r.prod, np.prod, 0.5, 1.5),
    "cumulative_sum":  Sentence(lambda x: r.cumulative_sum(x, axis=1), lambda x: np.cumsum(x, axis=1)),
    "cumulative_sum initial": Sentence(lambda x: r.cumulative_sum(x, axis=0, include_initial=True),
                                       lambda x: np.concatenate([np.zeros((1, 5)), np.cumsum(x, axis=0)])),
    "cumulative_prod": Sentence(lambda x: r.cumulative_prod(x, axis=1), lambda x: np.cumprod(x, axis=1), shape=(2, 9)),
    "max": Sentence(lambda x: r.max(x, axis=1), lambda x: np.max(x, axis=1)),
    "min": Sentence(lambda x: r.min(x, axis=(0, 1), keepdims=True), lambda x: np.min(x, axis=(0, 1), keepdims=True)),
}
# fmt: on
