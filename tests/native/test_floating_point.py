# SPDX-License-Identifier: Apache-2.0
"""Each statement of "Floating point" in docs/design.md. Oracle: NumPy's single operations, bit for bit; exact sums of
`math.fsum`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import chainrule as cr
from chainrule.native import target
from chainrule.ops.contract import conv

HERE = target._families(llvm.get_process_triple(), llvm.get_host_cpu_features())
FAMILIES = ["", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sse2", "avx2") if name in HERE)]
TINY = {"float32": np.float32(2.0**-149), "float64": 2.0**-1074}
RNG = np.random.default_rng(0)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=FAMILIES, autouse=True)
def _instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_INSTRUCTIONS", request.param)


def run(function: Callable[..., Any], *arrays: Any) -> Any:
    """What the compiled function gives, as arrays."""
    found = cr.compile(function, backend="native")(*(np.asarray(x) for x in arrays))
    return tuple(np.asarray(x) for x in found) if isinstance(found, tuple | list) else np.asarray(found)


def spread(count: int, dtype: str, seed: int) -> np.ndarray:
    """Numbers of all sizes and both signs, subnormal ones, zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    low, high = (-149, 127) if dtype == "float32" else (-1074, 1023)
    x = np.ldexp(rng.uniform(1, 2, count), rng.integers(low, high, count)) * rng.choice([-1, 1], count)
    near = rng.standard_normal(count)
    return np.concatenate([x, near, [0.0, -0.0, np.inf, -np.inf, np.nan]]).astype(dtype)


def bits(x: np.ndarray) -> np.ndarray:
    """The representation, one for all NaNs."""
    return np.where(np.isnan(x), np.nan, x).astype(x.dtype).view(f"u{x.dtype.itemsize}")


def same_bits(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(bits(np.asarray(found)), bits(np.asarray(wanted)))


# ---- operations on elements are rounded one by one

@each_dtype
@pytest.mark.parametrize("function", [
    lambda x, y, z: x * y + z, lambda x, y, z: x * y - z, lambda x, y, z: z - x * y, lambda x, y, z: (x + y) + z,
    lambda x, y, z: x + (y + z),
    lambda x, y, z: (x * y) * z, lambda x, y, z: x / y, lambda x, y, z: x / 3.0, lambda x, y, z: x * y + x * z,
    lambda x, y, z: (x - y) + y,
    lambda x, y, z: x - x, lambda x, y, z: x * 0.0, lambda x, y, z: x / x, lambda x, y, z: 0.0 - x,
    lambda x, y, z: x + 0.0, lambda x, y, z: -(x * -1.0),
    lambda x, y, z: (x * 2.0) * 0.5])  # fmt: skip
def test_chains_are_rounded_as_written(function: Callable[..., Any], dtype: str) -> None:
    x, y, z = (spread(300, dtype, seed) for seed in range(3))
    with np.errstate(all="ignore"):
        same_bits(run(function, x, y, z), function(x, y, z))


@each_dtype
def test_roots_and_rounding_are_exact(dtype: str) -> None:
    x = spread(300, dtype, 0)
    with np.errstate(all="ignore"):
        for ours, theirs in ((cr.sqrt, np.sqrt), (cr.floor, np.floor), (cr.ceil, np.ceil), (cr.round, np.round),
                             (cr.abs, np.abs), (cr.negative, np.negative)):
            same_bits(run(ours, x), theirs(x))


@each_dtype
def test_small_powers_are_products_roots_and_quotients(dtype: str) -> None:
    x = spread(300, dtype, 0)
    with np.errstate(all="ignore"):
        same_bits(run(lambda x: x**2, x), x * x)
        same_bits(run(lambda x: x**3, x), x * x * x)
        same_bits(run(lambda x: x**4, x), (x * x) * (x * x))
        same_bits(run(lambda x: x**-1, x), 1 / x)
        same_bits(run(lambda x: x**0.5, x), np.sqrt(x))
        same_bits(run(lambda x: x**-0.5, x), 1 / np.where(x == -np.inf, np.inf, np.sqrt(x) + 0.0).astype(dtype))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
def test_small_powers_of_integers_wrap_around(dtype: str) -> None:
    x = np.arange(-100, 100).astype(dtype)
    for exponent in (1, 2, 3, 4):
        np.testing.assert_array_equal(run(lambda x, n=exponent: x**n, x), x ** np.asarray(exponent, dtype))


# ---- sums and products: the order is the program's and the processor's

@each_dtype
@pytest.mark.parametrize("shape", [(10_001,), (37, 501), (501, 37)])
def test_sums_are_as_good_as_sums_by_blocks(dtype: str, shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal(shape).astype(dtype)
    for axis in (None, *range(len(shape))):
        found = run(lambda x, axis=axis: cr.sum(x, axis=axis), x)
        lines = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]) if axis is not None else x.reshape(1, -1)
        exact, size = (np.array([math.fsum(part(line)) for line in lines]) for part in (np.asarray, np.abs))
        bound = np.finfo(dtype).eps / 2 * lines.shape[1] ** 0.75
        assert np.all(np.abs(found.reshape(-1).astype("float64") - exact) <= bound * size)


def test_threads_never_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = RNG.standard_normal((300, 700)).astype("float32"), RNG.standard_normal((700, 90)).astype("float32")
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("CHAINRULE_THREADS", threads)
        found.append(run(lambda x, w: (cr.sum(x), cr.sum(x, axis=0), cr.tanh(x @ w), cr.softmax(x)), x, w))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            same_bits(a, b)


@each_dtype
def test_products_of_whole_numbers_are_exact(dtype: str) -> None:
    a, b = RNG.integers(-9, 10, (33, 130)), RNG.integers(-9, 10, (130, 45))
    np.testing.assert_array_equal(run(cr.matmul, a.astype(dtype), b.astype(dtype)), a @ b)


# ---- subnormal numbers are kept

@each_dtype
def test_subnormal_numbers_are_kept(dtype: str) -> None:
    tiny, one = np.full(35, TINY[dtype] * 3, dtype), np.ones(35, dtype)
    same_bits(run(lambda x: (x + x) * 1.5, tiny), (tiny + tiny) * np.asarray(1.5, dtype))
    same_bits(run(lambda x: x * 0.5, np.full(35, np.finfo(dtype).tiny)), np.full(35, np.finfo(dtype).tiny) / 2)
    assert run(cr.sum, tiny) == TINY[dtype] * 105
    same_bits(run(cr.matmul, np.diag(one), np.outer(tiny, one).astype(dtype)), np.outer(tiny, one).astype(dtype))
    image = np.outer(tiny, one).reshape(1, 35, 35, 1).astype(dtype)
    same_bits(run(lambda x, w: conv(x, w, stride=(1, 1), padding=((0, 0),) * 2, dilation=(1, 1)), image,
                  np.ones((1, 1, 1, 1), dtype)), image)
    least = -103.0 if dtype == "float32" else -744.0
    assert run(cr.exp, np.asarray([least], dtype)) == np.exp(np.asarray([least])).astype(dtype) != 0


# ---- NaN and infinities

@each_dtype
def test_nan_wins_in_extremes_and_passes_through_choices(dtype: str) -> None:
    nan, inf = np.nan, np.inf
    x, y = (np.tile(np.asarray(v, dtype), 9) for v in ([nan, 1, nan, -inf, inf, 2, nan],
                                                       [1, nan, nan, inf, -inf, 3, -inf]))
    for ours, theirs in ((cr.maximum, np.maximum), (cr.minimum, np.minimum)):
        same_bits(run(ours, x, y), theirs(x, y))
    same_bits(run(cr.relu, x), np.where(x < 0, 0, x).astype(dtype))
    same_bits(run(lambda x: cr.clip(x, -1.0, 1.0), x), np.clip(x, -1, 1))
    same_bits(run(lambda x: cr.clip(x, min=-1.0), x), np.maximum(x, np.asarray(-1, dtype)))
    for side in (x > 0, x <= 0, np.zeros_like(x, bool)):  # what is not chosen is not seen
        same_bits(run(cr.where, side, x, y), np.where(side, x, y))
    np.testing.assert_array_equal(run(lambda x, y: (x < y, x == y, x != y, x >= y), x, y),
                                  (x < y, x == y, x != y, x >= y))


@each_dtype
@pytest.mark.parametrize("shape", [(67,), (5, 67), (67, 5), (3, 300)])
def test_one_nan_is_found_by_every_reduction(dtype: str, shape: tuple[int, ...]) -> None:
    for _ in range(4):
        x = RNG.standard_normal(shape).astype(dtype)
        x.flat[RNG.integers(x.size)] = np.nan
        x.flat[RNG.integers(x.size)] = np.inf
        for axis in range(len(shape)):
            for ours, theirs in ((cr.max, np.max), (cr.min, np.min)):
                same_bits(run(lambda x, f=ours, a=axis: f(x, axis=a), x), theirs(x, axis=axis))
            for ours, theirs in ((cr.argmax, np.argmax), (cr.argmin, np.argmin)):
                np.testing.assert_array_equal(run(lambda x, f=ours, a=axis: f(x, axis=a), x), theirs(x, axis=axis))
            np.testing.assert_array_equal(np.isnan(run(lambda x, a=axis: cr.sum(x, axis=a), x)),
                                          np.isnan(x).any(axis=axis))
        np.testing.assert_array_equal(run(lambda x: cr.sort(x, axis=-1), x), np.sort(x, axis=-1))


@each_dtype
def test_nan_stays_in_its_row_of_a_product(dtype: str) -> None:
    a, b = RNG.standard_normal((37, 71)).astype(dtype), RNG.standard_normal((71, 53)).astype(dtype)
    a[36, 70], b[70, 52] = np.nan, np.inf
    found = run(cr.matmul, a, b)
    wanted = np.zeros((37, 53), bool)
    wanted[36] = wanted[:, 52] = True
    np.testing.assert_array_equal(~np.isfinite(found), wanted)


@pytest.mark.parametrize("channels", [7, 48])
def test_nan_stays_within_reach_of_a_filter(channels: int) -> None:
    """With few output channels also in pixels that share its vectors: they multiply it by 0."""
    x, w = (RNG.standard_normal((2, 9, 19, 5)).astype("float32"),
            RNG.standard_normal((3, 3, 5, channels)).astype("float32"))
    x[1, 8, 18, 4] = np.nan
    found = np.isnan(run(lambda x, w: conv(x, w, stride=(1, 1), padding=((1, 1),) * 2, dilation=(1, 1)), x, w))
    wanted, allowed = np.zeros((2, 2, 9, 19, channels), bool)
    wanted[1, 7:, 17:] = True
    allowed[1, 7:, 17 if channels == 48 else 19 - 16:] = True
    assert found[wanted].all() and not found[~allowed].any()


# ---- signed zeros

@each_dtype
def test_the_sign_of_zero_of_single_operations(dtype: str) -> None:
    zeros = np.tile(np.asarray([0.0, -0.0, 1.0, -1.0], dtype), 9)
    other = np.repeat(np.asarray([0.0, -0.0, 1.0, -1.0], dtype), 9)
    with np.errstate(all="ignore"):
        for function in (lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x + y, lambda x, y: x - y,
                         lambda x, y: -x, lambda x, y: abs(x)):
            same_bits(run(function, zeros, other), function(zeros, other))
        for ours, theirs in ((cr.sqrt, np.sqrt), (cr.sin, np.sin), (cr.tanh, np.tanh), (cr.expm1, np.expm1),
                             (cr.log1p, np.log1p), (cr.erf, lambda x: x)):
            np.testing.assert_array_equal(np.signbit(run(ours, zeros[:2])), np.signbit(theirs(zeros[:2])))
        same_bits(run(lambda x, y: cr.atan2(x, y), zeros[:2], np.ones(2, dtype)),
                  np.arctan2(zeros[:2], np.ones(2, dtype)))
