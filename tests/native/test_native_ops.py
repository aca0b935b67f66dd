# SPDX-License-Identifier: Apache-2.0
"""Every primitive on the native backend against its NumPy meaning, over shapes (empty, odd, 0-d, large) and dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_check import check, graph_of

import chainrule as cr
from chainrule import native
from chainrule.ir.bind import as_tensor, bind
from chainrule.ir.node import REGISTRY

SHAPES = [(), (1,), (7,), (16,), (33,), (3, 5), (4, 16), (2, 3, 17), (0,), (3, 0), (1, 1, 4), (5, 1, 3), (70, 40)]
FLOATS = ["float32", "float64"]
INTEGERS = ["int8", "int32", "int64", "uint8", "uint32", "uint64"]


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0, positive: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed + len(shape))
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0 if dtype.startswith("u") or positive else -50, 50, shape).astype(dtype)
    x = np.asarray(rng.standard_normal(shape), dtype)
    return np.abs(x) + np.asarray(0.1, dtype) if positive else x


def run(name: str, *arrays: np.ndarray, **attrs: Any) -> None:
    check(lambda *x: bind(REGISTRY[name], *x, **attrs), *arrays)


UNARY = ["neg", "abs", "sign", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin",
         "acos", "sinh", "cosh", "tanh",
         "asinh", "acosh", "atanh", "erf", "floor", "ceil", "round"]
BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "atan2", "floor_divide", "remainder", "equal",
          "less", "less_equal"]


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    for shape in SHAPES:
        run(name, numbers(shape, "float32", positive=name in ("log", "log1p", "sqrt")))
    run(name, numbers((21,), "float64", positive=name in ("log", "log1p", "sqrt")))


@pytest.mark.parametrize("dtype", FLOATS)
def test_large_angles_at_every_level_of_a_kernel(dtype: str) -> None:
    rng = np.random.default_rng(0)
    a, b, w = ((rng.standard_normal(s) * 10.0 ** rng.integers(0, 30, s)).astype(dtype)
               for s in ((7,), (7, 37), (37, 9)))
    check(lambda a, b: cr.sin(a)[:, None] * cr.cos(b) + cr.tan(a[0]), a, b, rtol=1e-4)
    check(lambda a, b: cr.sum(cr.sin(b) * cr.cos(b), axis=1) + cr.sum(cr.sin(a)), a, b, rtol=1e-4)
    check(lambda a, b: cr.sum(cr.sin(b) * cr.cos(a)[:, None], axis=0), a, b, rtol=1e-4)
    check(lambda a, b: cr.max(cr.cos(b)) + cr.sin(a), a, b, rtol=1e-4)
    check(lambda w: cr.cos(np.eye(37, dtype=dtype) @ w), w, rtol=1e-4)  # in the product's own pass over its results


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    for shape in SHAPES:
        positive = name == "pow"
        run(name, numbers(shape, "float32", positive=positive), numbers(shape, "float32", 1, positive=positive))
    run(name, numbers((21,), "float64", positive=True), numbers((21,), "float64", 1, positive=True))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "maximum", "minimum", "floor_divide", "remainder", "equal",
                                  "less",
                                  "less_equal", "and", "or", "xor", "shift_left", "shift_right", "neg", "abs", "sign",
                                  "not", "pow"])
def test_integers(name: str, dtype: str) -> None:
    x, y = numbers((3, 19), dtype), numbers((3, 19), dtype, 1)
    if name.startswith("shift") or name == "pow":
        y = (np.abs(y) % 9).astype(dtype)
    run(name, *((x,) if name in ("neg", "abs", "sign", "not") else (x, y)))


@pytest.mark.parametrize("name", ["and", "or", "xor", "equal", "not"])
def test_booleans(name: str) -> None:
    x, y = numbers((3, 19), "bool"), numbers((3, 19), "bool", 1)
    run(name, *((x,) if name == "not" else (x, y)))


@pytest.mark.parametrize("source", ["bool", *INTEGERS, *FLOATS])
def test_cast(source: str) -> None:
    for target in ["bool", "int8", "int16", "int32", "int64", "uint8", "uint32", "float32", "float64"]:
        run("cast", numbers((3, 19), source, positive=target.startswith("u")), dtype=np.dtype(target))


def test_bitcast() -> None:
    run("bitcast", numbers((3, 19), "float32"), dtype=np.dtype("int32"))
    run("bitcast", numbers((3, 19), "uint32"), dtype=np.dtype("float32"))


def test_where() -> None:
    for shape in SHAPES:
        run("where", numbers(shape, "bool"), numbers(shape, "float32"), numbers(shape, "float32", 1))


def test_special_values() -> None:
    x = np.asarray([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], "float32")
    a, b = (np.ascontiguousarray(v) for v in np.meshgrid(x, x))
    for name in ("maximum", "minimum", "equal", "less", "add", "mul"):
        run(name, a, b)
    for name in ("max", "min", "sum"):
        run(name, a, axes=(0,))
    run("argmax", a, axis=1)
    run("argmin", a, axis=0)
    run("argmax", np.full((3, 40), -np.inf, "float32"), axis=1)


def test_movement() -> None:
    for dtype in ("float32", "int64", "bool"):
        x = numbers((4, 6, 5), dtype)
        run("reshape", x, shape=(24, 5))
        run("reshape", x, shape=(5, 24))
        run("transpose", x, axes=(2, 0, 1))
        run("slice", x, start=(1, 5, 0), count=(2, 3, 5), step=(2, -2, 1))
        run("slice", x, start=(0, 0, 4), count=(4, 6, 5), step=(1, 1, -1))
        run("pad", x, low=(1, 0, 2), high=(0, 3, 1), interior=(0, 1, 2), value=1.0)
        run("concat", x, numbers((4, 2, 5), dtype), x, axis=1)
        run("concat", x, numbers((4, 6, 33), dtype), axis=2)
        run("broadcast", numbers((4, 1, 5), dtype), shape=(3, 4, 6, 5))
        run("window", x, axes=(1, 2), kernel=(2, 3), stride=(2, 1), dilation=(1, 1))
    run("broadcast", numbers((), "float32"), shape=(3, 0, 2))
    run("pad", numbers((0, 3), "float32"), low=(1, 0), high=(1, 0), interior=(0, 0), value=2.0)
    run("concat", numbers((0, 3), "float32"), numbers((2, 3), "float32"), axis=0)


@pytest.mark.parametrize("kernel, stride, dilation",
                         [((2, 2), (2, 2), (1, 1)), ((3, 2), (1, 2), (2, 1)), ((3, 3), (2, 2), (1, 1))])
def test_unwindow(kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> None:
    out = [(9 - ((k - 1) * d + 1)) // s + 1 for k, s, d in zip(kernel, stride, dilation, strict=True)]
    x = numbers((2, *out, 20, *kernel), "float32")
    run("unwindow", x, extents=(9, 9), axes=(1, 2), kernel=kernel, stride=stride, dilation=dilation)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
@pytest.mark.parametrize("name", ["sum", "max", "min"])
def test_reduce(name: str, dtype: str) -> None:
    for shape, axes in [((5,), (0,)), ((3, 40), (1,)), ((3, 40), (0,)), ((3, 40), (0, 1)), ((4, 5, 19), (0, 2)),
                        ((4, 5, 19), (1,)), ((2, 3, 4, 5), (1, 3)), ((300, 33), (0,)), ((1, 1), (0,)), ((16, 1), (0,))]:
        run(name, numbers(shape, dtype), axes=axes)


@pytest.mark.parametrize("shape, axes", [((100_000,), (0,)), ((3000, 70), (0,)), ((3000, 70), (0, 1)),
                                         ((2, 50_000), (1,)),
                                         ((64, 32, 32, 16), (0, 1, 2)), ((10_007,), (0,)), ((3001, 3), (0,))])
def test_long_reductions(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = numbers(shape, "float32", positive=True)
    run("sum", x, axes=axes)
    run("max", x, axes=axes)


def test_empty_reductions() -> None:
    run("sum", numbers((0, 3), "float32"), axes=(0,))
    run("sum", numbers((3, 0), "float32"), axes=(1,))
    run("max", numbers((3, 0, 2), "float32"), axes=(0,))


def test_boolean_extremes() -> None:
    run("max", numbers((4, 30), "bool"), axes=(1,))
    run("min", numbers((4, 30), "bool"), axes=(0,))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_index_of(name: str) -> None:
    for shape, axis in [((7,), 0), ((3, 40), 1), ((3, 40), 0), ((4, 5, 19), 1), ((200, 10), 1)]:
        run(name, numbers(shape, "float32"), axis=axis)
        run(name, numbers(shape, "int32") // 20, axis=axis)  # ties


def test_contract() -> None:
    cases = [((3, 4), (4, 5), ((1,), (0,)), ((), ())), ((4, 3), (4, 5), ((0,), (0,)), ((), ())),
             ((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))), ((2, 3, 4), (5, 4, 2), ((2,), (1,)), ((0,), (2,))),
             ((2, 3, 4), (3, 4, 6), ((1, 2), (0, 1)), ((), ())), ((6,), (6,), ((0,), (0,)), ((), ())),
             ((3, 0), (0, 5), ((1,), (0,)), ((), ())), ((40, 50), (50, 60), ((1,), (0,)), ((), ())),
             ((2, 3, 4, 5), (3, 5, 7), ((1, 3), (0, 1)), ((), ())), ((2, 3, 4), (4, 5), ((2,), (0,)), ((), ()))]
    for a, b, contracting, batch in cases:
        for dtype in ("float32", "float64", "int32"):
            run("contract", numbers(a, dtype), numbers(b, dtype), contracting=contracting, batch=batch)


CONVOLUTIONS = [((2, 8, 9, 3), (3, 3, 3, 8), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
                ((2, 8, 8, 4), (3, 2, 4, 6), (2, 2), ((0, 1), (1, 0)), (1, 2), 1),
                ((1, 6, 6, 4), (3, 3, 1, 4), (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
                ((2, 12, 5), (3, 5, 7), (2,), ((2, 2),), (1,), 1)]


@pytest.mark.parametrize("x, w, stride, padding, dilation, groups", CONVOLUTIONS)
def test_convolution(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    image, weight = numbers(x, "float32"), numbers(w, "float32")
    from chainrule.ir.node import Type
    out = REGISTRY["conv"].infer(Type(x, image.dtype), Type(w, image.dtype), **attrs).shape
    run("conv", image, weight, **attrs)
    run("conv_input_gradient", numbers(out, "float32"), weight, extents=x[1:-1], **attrs)
    run("conv_filter_gradient", image, numbers(out, "float32"), kernel=w[:-2], **attrs)


def test_take_and_scatter() -> None:
    rng = np.random.default_rng(0)
    x = numbers((10, 19), "float32")
    index = rng.integers(-10, 10, (3, 5))
    run("take", x, index, axis=0)
    run("take", x, index.astype("int32"), axis=1)
    run("take", numbers((4, 7, 33), "int64"), rng.integers(0, 7, (6,)), axis=1)
    run("take", x, np.zeros((0,), "int64"), axis=0)
    for mode in ("add", "set"):
        run("scatter", x, np.asarray([3, -1, 4]), numbers((3, 19), "float32", 1), axis=0, mode=mode)
    run("scatter", x, index, numbers((3, 5, 19), "float32", 1), axis=0, mode="add")
    run("scatter", x, np.asarray([3, 3]), numbers((10, 2), "float32", 1), axis=1, mode="add")


def test_positions_and_bits() -> None:
    for axis in (0, 1):
        run("iota", shape=(5, 19), axis=axis, dtype=np.dtype("int64"))
        run("iota", shape=(5, 19), axis=axis, dtype=np.dtype("float32"))
    state = np.asarray([1, 2, 3, 4], "uint32")
    for shape in [(1,), (7,), (3, 19), (40, 64)]:
        run("random_bits", state, shape=shape)


def test_host_operations() -> None:
    x = numbers((4, 4), "float32")
    spd = x @ x.T + 4 * np.eye(4, dtype="float32")
    run("cholesky", spd)
    run("solve", spd, numbers((4, 2), "float32"))
    run("argsort", numbers((3, 20), "float32"), axis=1)
    for axis in (0, 1):
        run("cumsum", numbers((5, 20), "float32"), axis=axis)
        run("cumsum", numbers((5, 20), "int64"), axis=axis)
    check(lambda a: list(bind(REGISTRY["qr"], a)), x)
    check(lambda a: list(bind(REGISTRY["eigh"], a)), spd)
    check(lambda a: list(bind(REGISTRY["svd"], a)), x)
    check(lambda a: list(bind(REGISTRY["slogdet"], a)), spd)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 4.0, 0.0, -1.0, 0.5, 2.5])
def test_constant_exponents(exponent: float) -> None:
    x = np.append(numbers((37,), "float32", positive=exponent % 1 != 0), np.float32([0.0, np.inf, np.nan]))
    check(lambda v: bind(REGISTRY["pow"], v, bind(REGISTRY["broadcast"], as_tensor(np.float32(exponent)),
                                                  shape=v.shape)), x)


def test_identities() -> None:
    x = numbers((3, 5), "float32")
    run("barrier", x)
    check(lambda a: bind(REGISTRY["custom_gradient"], a * 2.0, a, rule=None), x)
    check(lambda a: [a, a, a * 1.0], x)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_padded_parts_that_are_added_are_put_side_by_side(dtype: str) -> None:
    parts = [numbers((5, n), dtype, seed=n) for n in (2, 4, 3, 3)]
    pad = lambda x, low, high: bind(REGISTRY["pad"], x, low=(0, low), high=(0, high), interior=(0, 0), value=0.0)
    a, b, c, d = parts
    whole = check(lambda a, b, c, d: pad(c, 6, 3) + pad(a, 0, 10) + pad(b, 2, 6) + pad(d, 9, 0), a, b, c, d)
    assert not any("add(" in step.text for step in whole.plan.steps)
    check(lambda a, b, c, d: pad(c, 7, 3) + pad(b, 3, 6), a, b, c, d)  # with zeros on both sides
    check(lambda a, b, c, d: pad(c, 6, 3) + pad(b, 1, 7), a, b, c, d)  # with a gap
    check(lambda a, b, c, d: pad(c, 6, 3) + pad(b, 3, 5), a, b, c, d)  # overlapping
    check(lambda a, b, c, d: pad(a, 0, 2) + pad(a, 2, 0) + b, a, b, c, d)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_dot_product_is_exact_to_a_few_roundings(threads: int) -> None:
    rng = np.random.default_rng(5)
    for draw in (rng.random, rng.standard_normal):
        x, y = draw(10**6).astype("float32"), draw(10**6).astype("float32")
        dot = native.load(graph_of(lambda x, y: bind(REGISTRY["contract"], x, y, contracting=((0,), (0,)),
                                                     batch=((), ())), (x, y)), threads)
        exact = x.astype("float64") @ y.astype("float64")
        assert abs(float(dot([x, y])[0]) - exact) <= 1e-5 * abs(exact)


@pytest.mark.parametrize("shape", [(1,), (50,), (7, 300), (3, 40, 5), (0,), (4, 0)])
def test_the_order_of_floats_is_stable(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    x = rng.integers(-3, 4, shape).astype("float32") * np.float32(1e-40)  # ties, zeros of both signs, subnormals
    x[rng.random(shape) < 0.1] = np.nan
    x[rng.random(shape) < 0.1] = -np.nan
    x[rng.random(shape) < 0.1] = np.inf
    x[rng.random(shape) < 0.1] = -np.inf
    x[rng.random(shape) < 0.2] *= np.float32(-1e38)
    for axis in range(len(shape)):
        run("argsort", x, axis=axis)
        run("argsort", x.astype("float64"), axis=axis)
