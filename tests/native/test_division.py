# SPDX-License-Identifier: Apache-2.0
"""Floor division, remainders, simple powers and angles at the edges, bit for bit as NumPy has them (angles nearly)."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import check, graph_of

import chainrule as cr
from chainrule import native
from chainrule.ir.graph import interpret


def pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.meshgrid(values, values)
    return np.ascontiguousarray(a.ravel()), np.ascontiguousarray(b.ravel())


def same_bits(function, *arrays: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    graph = graph_of(function, arrays)
    with np.errstate(all="ignore"):
        want, = interpret(graph, list(arrays))
    got, = native.load(graph, 1)(list(arrays))
    np.testing.assert_array_equal(got, want)
    if want.dtype.kind == "f":
        known = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(want)[known])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
def test_integers(dtype: str) -> None:
    limits, rng = np.iinfo(dtype), np.random.default_rng(0)
    powers = [2**i for i in range(limits.bits - 1)]
    near = [p + d for p in powers for d in (-1, 0, 1)] + [limits.max, limits.max - 1, limits.min, limits.min + 1, 3, 7,
                                                          10, 1000003]
    values = [v for v in {*near, *(-v for v in near)} if limits.min <= v <= limits.max]
    edges = pairs(np.array(sorted(values), dtype))
    wide = rng.integers(limits.min, limits.max, 20_000, dtype, endpoint=True)
    other = (rng.integers(limits.min, limits.max, 20_000, dtype, endpoint=True)
             >> rng.integers(0, limits.bits, 20_000).astype(dtype)).astype(dtype)
    for a, b in (edges, (wide, other)):
        same_bits(lambda a, b: a // b, a, b)
        same_bits(lambda a, b: a % b, a, b)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint32"])
def test_by_a_constant(dtype: str) -> None:
    limits = np.iinfo(dtype)
    ends = [limits.min, limits.min + 1, limits.max, limits.max - 1]
    x = np.array([*ends, *range(-30 if limits.min else 0, 31), *(limits.max // 7 * d for d in range(7))], dtype)
    for number in {1, 2, 3, 7, 10, 64, 0, limits.max, limits.min, *((-1, -2, -7) if limits.min else ())}:
        divisor = np.array(number, dtype)
        same_bits(lambda x, d=divisor: x // d, x)
        same_bits(lambda x, d=divisor: x % d, x)


def test_floats() -> None:
    rng = np.random.default_rng(0)
    values = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -7.5, 0.1, 1e-45, -1e-45, 1e-38, 3e38, -3e38, 16777216.0, np.inf, -np.inf,
              np.nan]
    edges = pairs(np.array(values, "float32"))
    bits = rng.integers(0, 1 << 32, (2, 50_000), "uint32").view("float32")
    near = rng.integers(-1000, 1000, (2, 20_000)).astype("float32") / np.float32(8)
    for a, b in (edges, bits, near):
        same_bits(lambda a, b: a % b, a, b)
        same_bits(lambda a, b: a // b, a, b)


@pytest.mark.parametrize("exponent", [0.5, -0.5, -1.0, 1.0, 2.0, 3.0, 4.0])
def test_simple_powers(exponent: float) -> None:
    x = np.array([0.0, -0.0, 1.0, -1.0, 2.25, 1e-30, 1e-40, 7e8, np.inf, -np.inf, np.nan, *np.linspace(0.1, 5, 50)],
                 "float32")
    if exponent == 0.5:
        x = x[~np.isin(x, [0.0, -np.inf])]  # where versions of NumPy differ
    with np.errstate(all="ignore"):
        check(lambda x: x**exponent, x, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_angle_of_one(dtype: str) -> None:
    x = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e30, 1e-30, 0.4, 0.5, 3.0] * 2, dtype)
    one, eps = np.ones(1, dtype), float(np.finfo(dtype).eps)
    check(lambda x: cr.atan2(x, one), x, rtol=4 * eps, atol=0)
    program = native.load(graph_of(lambda x: cr.atan2(x, one), [x]), 1)
    np.testing.assert_array_equal(np.signbit(program([x])[0]), np.signbit(np.arctan(x)))


@pytest.mark.parametrize("step", [2, 3, 5])
def test_elements_far_apart(step: int) -> None:
    x = np.arange(40 * 97, dtype="float32").reshape(40, 97)
    check(lambda x: x[:, ::step] + 1.0, x)
    check(lambda x: x[::step, 1:90:step] * 2.0, x)
