# SPDX-License-Identifier: Apache-2.0
"""Functions of floats take integers and booleans as float32 before anything is computed: every public function, every
dtype.

The oracle is the same function of the same numbers in float64. What computes in integers, as the array API standard
says, is listed by name, so that a new function is in one of the two lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import arrays, distributions, integration, linalg, random, signal
from chainrule.distributions import special
from chainrule.nn import activations

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32")

INTEGERS = {  # the standard's functions whose result keeps an integer dtype, or has one of its own
    "abs", "add", "all", "any", "arange", "argmax", "argmin", "argsort", "asarray", "astype", "bitwise_and",
    "bitwise_invert", "bitwise_left_shift",
    "bitwise_or", "bitwise_right_shift", "bitwise_xor", "broadcast_arrays", "broadcast_to", "can_cast", "ceil", "clip",
    "concat", "conj", "count_nonzero",
    "cumulative_prod", "cumulative_sum", "diff", "empty", "empty_like", "equal", "expand_dims", "eye", "finfo", "flip",
    "floor", "floor_divide",
    "from_dlpack", "full", "full_like", "greater", "greater_equal", "iinfo", "imag", "isdtype", "isfinite", "isinf",
    "isnan", "less", "less_equal",
    "linspace", "logical_and", "logical_not", "logical_or", "logical_xor", "matmul", "matrix_transpose", "max",
    "maximum", "meshgrid", "min", "minimum",
    "moveaxis", "multiply", "negative", "nonzero", "not_equal", "one_hot", "ones", "ones_like", "pad", "permute_dims",
    "positive", "pow", "prod", "real",
    "relu", "remainder", "repeat", "reshape", "result_type", "roll", "round", "searchsorted", "sign", "sort", "square",
    "squeeze", "stack",
    "stop_gradient", "subtract", "sum", "take", "take_along_axis", "tensordot", "tile", "tril", "triu", "trunc",
    "unique_all", "unique_counts",
    "unique_inverse", "unique_values", "unstack", "vecdot", "where", "zeros", "zeros_like", "__array_namespace_info__",
    "cross", "diagonal", "outer", "trace", "linear",
}
REFUSED = {"copysign", "hypot", "nextafter", "signbit"}  # they say in what dtype they are defined

VECTORS: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(arrays, name) for name in (
        "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "elu", "erf", "exp", "expm1", "gelu",
        "hard_sigmoid", "hard_tanh", "leaky_relu", "log", "log1p", "log2", "log10", "log_sigmoid", "log_softmax",
        "logsumexp", "mean", "mish", "reciprocal", "selu", "sigmoid", "silu", "sin", "sinh",
        "softmax", "softplus", "softsign", "sqrt", "std", "tan", "tanh", "var")},
    "atan2": lambda x: arrays.atan2(x, x[::-1]), "divide": lambda x: arrays.divide(x, x[::-1]),
    "logaddexp": lambda x: arrays.logaddexp(x, x[::-1]),
    **{name: function for name, function in activations.FUNCTIONS.items() if name not in INTEGERS},
    "masked_softmax": lambda x: activations.masked_softmax(x, np.array([True, True, False, True])),
    **{name: getattr(special, name) for name in ("digamma", "erfc", "lgamma")},
    "polygamma": lambda x: special.polygamma(2, x),
    **{name: lambda x, name=name: getattr(special, name)(x[0], x[1])
       for name in ("lbeta", "log_choose", "xlogy", "xlog1py")},
    "trapezoid": lambda x: integration.trapezoid(x, x=x[0]), "simpson": integration.simpson,
    "places of samples": lambda x: integration.trapezoid(np.ones(4, "float32"), x=x[0]),
    "convolve": lambda x: signal.convolve(x[0], x[1]),
    "correlate": lambda x: signal.correlate(x[0], x[1], method="direct"),
    "categorical": lambda x: random.Generator(0).categorical(x),
    "bernoulli": lambda x: random.Generator(0).bernoulli(arrays.clip(x, 0, 1)),
    "uniform": lambda x: random.Generator(0).uniform((), 0, x[0], dtype="float64" if getattr(x, "dtype", None)
                                                     == "float64" else "float32"),
    "normal log_prob": lambda x: distributions.Normal(x, 2.0).log_prob(x[0]),
    "exponential cdf": lambda x: distributions.Exponential(0.5).cdf(x),
}
MATRICES: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(linalg, name) for name in ("cond", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv",
                                                "matrix_norm", "matrix_rank", "pinv", "slogdet", "svd", "svdvals",
                                                "vector_norm")},
    "cholesky": linalg.cholesky, "qr": linalg.qr, "matrix_power": lambda x: linalg.matrix_power(x, -2),
    "solve": lambda x: linalg.solve(x, x[0]), "lstsq": lambda x: linalg.lstsq(x, x[0]),
}


def vectors(dtype: str) -> np.ndarray:
    """Small numbers, and those at the ends of the dtype (of 32 and 64 bits: whose squares do not fit)."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.array([[True, False, True, True], [False, True, True, False]])
    if kind.kind == "f":
        return np.array([[5, 3, 0, 200], [-100, 100, 7, 1]], kind)
    far = 2**(7 if kind.itemsize == 1 else 15 if kind.itemsize == 2 else 17 if kind.itemsize == 4 else 33)
    low, high = max(np.iinfo(kind).min, -far), min(np.iinfo(kind).max, 2 * far)
    return np.array([[5, 3, 0, low], [high, 100, 7, 1]], kind)


def matrix(dtype: str) -> np.ndarray:
    """Symmetric and positive definite; in small types with products that do not fit."""
    return np.eye(2, dtype=dtype) if dtype == "bool" else np.array([[120, 70], [70, 110]], dtype)


def close(got: Any, expected: Any) -> None:
    for one, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, expected)), strict=True):
        one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
        large = np.abs(other) > np.finfo("float32").max
        other = np.where(large & np.isinf(one), one, other)  # beyond the range of float32
        other = np.where(np.abs(other) < 1e-37, 0, other)
        np.testing.assert_allclose(one, other, rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VECTORS)
def test_a_function_of_floats_converts_first(name: str, dtype: str) -> None:
    x = vectors(dtype)
    if name == "mean" and x.dtype.itemsize == 8:
        x = x // 2**20
    close(VECTORS[name](x), VECTORS[name](x.astype("float64")))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MATRICES)
def test_linear_algebra_converts_first(name: str, dtype: str) -> None:
    x = matrix(dtype)
    close(MATRICES[name](x), MATRICES[name](x.astype("float64")))


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "logsumexp", "mish", "squareplus"])
def test_compiled_functions_convert_first(name: str) -> None:
    x = vectors("uint8")
    close(cr.compile(VECTORS[name])(x), VECTORS[name](x.astype("float64")))


def test_every_public_function_is_in_a_list() -> None:
    public = {name for module in (arrays, linalg) for name in module.__all__ if callable(getattr(module, name))
              and name not in ("bool",)}
    assert public | set(activations.FUNCTIONS) <= INTEGERS | REFUSED | set(VECTORS) | set(MATRICES) | {"dtype"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_defined_for_floats_alone_says_so(name: str) -> None:
    with pytest.raises(cr.errors.DTypeError):
        getattr(cr, name)(*([np.array([1, 2])] * (1 if name == "signbit" else 2)))


def test_steps_between_large_whole_numbers() -> None:
    seconds = 1_700_000_000 + np.array([0, 1, 3])
    assert float(cr.trapezoid(np.ones(3, "float32"), x=seconds)) == 3
    assert float(cr.trapezoid(np.ones(3, "float32"), x=np.array([9, 3, 1], "uint8"))) == -8
