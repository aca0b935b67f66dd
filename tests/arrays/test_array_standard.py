# SPDX-License-Identifier: Apache-2.0
"""The functions of the array API standard. Oracle: NumPy, which has the same names and meanings; equality is exact for
integers and for functions that only move elements. Every row also runs compiled and must give the same bits."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, AxisError, BoundsError, DTypeError, ShapeError, TraceError
from chainrule.testing import check_gradient

RNG = np.random.default_rng(5)
SHAPES = [(), (1,), (0, 3), (4,), (3, 4), (2, 1, 5), (2, 3, 4)]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMBERS = [*INTEGERS, "float32", "float64"]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 1e-30, 3e8, -3e8, 1e30, -1e30, math.inf, -math.inf, math.nan]


def draw(shape, dtype="float64") -> np.ndarray:
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.asarray(RNG.integers(0, 2, shape) == 1)
    if dtype.kind in "iu":
        return np.asarray(RNG.integers(-20 if dtype.kind == "i" else 0, 60, shape)).astype(dtype)
    return np.asarray(RNG.normal(size=shape)).astype(dtype)


def agree(found, wanted, exact=False) -> None:
    found, wanted = (list(x) if isinstance(x, tuple | list) else [x] for x in (found, wanted))
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if exact or a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b)
        else:
            eps = np.finfo(a.dtype).eps
            np.testing.assert_allclose(a, b, rtol=100 * eps, atol=100 * eps)


def same_compiled(function, *arrays) -> None:
    eager = function(*map(cr.asarray, arrays))
    compiled = cr.compile(function, backend="reference")(*arrays)
    agree(compiled, eager, exact=True)


MOVING = {
    "expand_dims": (lambda xp, x: xp.expand_dims(x, axis=-1), 0),
    "flip": (lambda xp, x: xp.flip(x), 0),
    "flip_axis": (lambda xp, x: xp.flip(x, axis=-1), 1),
    "moveaxis": (lambda xp, x: xp.moveaxis(x, 0, -1), 1),
    "moveaxis_two": (lambda xp, x: xp.moveaxis(x, (0, 2), (1, 0)), 3),
    "permute_dims": (lambda xp, x: xp.permute_dims(x, tuple(range(x.ndim))[::-1]), 0),
    "repeat": (lambda xp, x: xp.repeat(x, 3), 0),
    "repeat_axis": (lambda xp, x: xp.repeat(x, 2, axis=-1), 1),
    "roll": (lambda xp, x: xp.roll(x, 2), 0),
    "roll_axis": (lambda xp, x: xp.roll(x, -3, axis=0), 1),
    "roll_axes": (lambda xp, x: xp.roll(x, (1, 2), axis=(0, -1)), 2),
    "squeeze": (lambda xp, x: xp.squeeze(xp.expand_dims(x, axis=0), axis=0), 0),
    "stack": (lambda xp, x: xp.stack([x, x], axis=-1), 0),
    "concat": (lambda xp, x: xp.concat([x, x], axis=-1), 1),
    "concat_flat": (lambda xp, x: xp.concat([x, x], axis=None), 0),
    "tile": (lambda xp, x: xp.tile(x, (2, 1, 3)), 0),
    "tile_short": (lambda xp, x: xp.tile(x, (2,)), 0),
    "tril": (lambda xp, x: xp.tril(x, k=1), 2),
    "triu": (lambda xp, x: xp.triu(x, k=-1), 2),
    "unstack": (lambda xp, x: xp.unstack(x, axis=-1), 1),
    "meshgrid": (lambda xp, x: tuple(xp.meshgrid(x, x)), "vector"),
    "meshgrid_ij": (lambda xp, x: tuple(xp.meshgrid(x, x, x, indexing="ij")), "vector"),
    "sort": (lambda xp, x: xp.sort(x, axis=0), 1),
    "take_along_axis": (lambda xp, x: xp.take_along_axis(x, xp.argsort(x, axis=-1, stable=True), axis=-1), 1),
    "take": (lambda xp, x: xp.take(x, xp.asarray([0, -1, 0]), axis=-1), "filled"),
    "slices": (lambda xp, x: x[::-2], 1),
    "ellipsis": (lambda xp, x: x[..., None, -1:], 1),
    "index_arrays": (lambda xp, x: x[xp.asarray([0, 1, -1]), xp.asarray([[0], [1]])], "matrix"),
    "index_apart": (lambda xp, x: x[xp.asarray([0, 1]), :, xp.asarray([1, 1])], 3),
}


def fits(shape, needs) -> bool:
    if needs == "vector":
        return len(shape) == 1
    if needs == "filled":
        return len(shape) > 0 and 0 not in shape
    if needs == "matrix":
        return len(shape) == 2 and 0 not in shape
    return len(shape) >= needs and not (needs == 3 and 1 in shape)


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("dtype", ["bool", "int32", "uint64", "float32"])
def test_moving_elements(name, dtype) -> None:
    function, needs = MOVING[name]
    for shape in (shape for shape in SHAPES if fits(shape, needs)):
        x = draw(shape, dtype)
        agree(function(cr, cr.asarray(x)), function(np, x), exact=True)
        same_compiled(lambda x: function(cr, x), x)


@pytest.mark.parametrize("name", [name for name in MOVING if name not in ("sort", "take_along_axis")])
def test_moving_elements_is_differentiable(name) -> None:
    function, needs = MOVING[name]
    shape = next(shape for shape in reversed(SHAPES) if fits(shape, needs))
    check_gradient(lambda x: function(cr, x), draw(shape))


REDUCING = {
    "sum": lambda xp, x, axis: xp.sum(x, axis=axis),
    "prod": lambda xp, x, axis: xp.prod(x, axis=axis),
    "mean": lambda xp, x, axis: xp.mean(x, axis=axis, keepdims=True),
    "var": lambda xp, x, axis: xp.var(x, axis=axis, correction=1),
    "std": lambda xp, x, axis: xp.std(x, axis=axis),
    "max": lambda xp, x, axis: xp.max(x, axis=axis),
    "min": lambda xp, x, axis: xp.min(x, axis=axis, keepdims=True),
    "any": lambda xp, x, axis: xp.any(x, axis=axis),
    "all": lambda xp, x, axis: xp.all(x, axis=axis),
    "count_nonzero": lambda xp, x, axis: xp.astype(xp.asarray(xp.count_nonzero(x, axis=axis)), xp.int64),
}


@pytest.mark.parametrize("name", REDUCING)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_reductions(name, dtype) -> None:
    if name in ("mean", "var", "std") and dtype in INTEGERS:
        pytest.skip("defined for floating-point arrays")
    for shape, axes in [((4,), [None, 0]), ((3, 4), [None, 1, (0, 1)]), ((2, 3, 4), [(0, 2), -2])]:
        x = draw(shape, dtype)
        for axis in axes:
            agree(REDUCING[name](cr, cr.asarray(x), axis), REDUCING[name](np, x, axis))
            same_compiled(lambda x, axis=axis: REDUCING[name](cr, x, axis), x)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "max", "min"])
def test_reductions_are_differentiable(name) -> None:
    check_gradient(lambda x: REDUCING[name](cr, x, (0, 2)), draw((2, 3, 4)))


def test_sums_of_nothing() -> None:
    x = cr.zeros((0, 3))
    agree([cr.sum(x, axis=0), cr.prod(x, axis=0)], [np.zeros(3, "f4"), np.ones(3, "f4")])
    assert not cr.any(x).item() and cr.all(x).item()
    with pytest.raises(ArgumentError, match="no elements"):
        cr.max(x)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float32", "float64"])
def test_running_sums_and_products(dtype) -> None:
    x = draw((3, 5), dtype)
    for axis in (0, 1):
        for first in (False, True):
            agree(cr.cumulative_sum(cr.asarray(x), axis=axis, include_initial=first),
                  np.cumulative_sum(x, axis=axis, include_initial=first))
            agree(cr.cumulative_prod(cr.asarray(x), axis=axis, include_initial=first),
                  np.cumulative_prod(x, axis=axis, include_initial=first))
    check_gradient(lambda x: (cr.cumulative_sum(x, axis=1), cr.cumulative_prod(x, axis=1)), draw((2, 5)))


UNARY_REAL = ["abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "exp", "expm1", "floor",
              "isfinite",
              "isinf", "isnan", "log", "log10", "log1p", "log2", "negative", "positive", "reciprocal", "round", "sign",
              "signbit",
              "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc"]


@pytest.mark.parametrize("name", UNARY_REAL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_one_number(name, dtype) -> None:
    huge_angle = name in ("sin", "cos", "tan")
    special = [v for v in SPECIAL if not (huge_angle and 1e3 < abs(v) < math.inf)]
    x = np.concatenate([np.array(special), np.linspace(-5, 5, 41), np.linspace(-1, 1, 21)]).astype(dtype)
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(x)
    found = np.asarray(getattr(cr, name)(cr.asarray(x)))
    rtol = 2e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-7 if dtype == "float32" else 1e-15)
    assert found.dtype == wanted.dtype
    if wanted.dtype.kind == "f":
        numbers = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(wanted)[numbers])
    same_compiled(getattr(cr, name), x)


BINARY_REAL = ["add", "atan2", "copysign", "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot",
               "less", "less_equal",
               "logaddexp", "maximum", "minimum", "multiply", "nextafter", "not_equal", "pow", "remainder", "subtract"]


@pytest.mark.parametrize("name", BINARY_REAL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_two_numbers(name, dtype) -> None:
    values = np.array([*SPECIAL, *RNG.normal(size=8)]).astype(dtype)
    a, b = (x.ravel() for x in np.meshgrid(values, values))
    if name == "floor_divide":  # NumPy rounds 1 // -inf to -1; the standard says -0
        a, b = a[np.isfinite(b) & np.isfinite(a)], b[np.isfinite(b) & np.isfinite(a)]
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(a, b)
    found = np.asarray(getattr(cr, name)(cr.asarray(a), cr.asarray(b)))
    exact = name not in ("hypot", "logaddexp", "pow", "atan2")
    np.testing.assert_allclose(found, wanted, rtol=0 if exact else 4 * np.finfo(dtype).eps,
                               atol=np.finfo(dtype).eps if name == "logaddexp" else 0)
    same_compiled(getattr(cr, name), a, b)


@pytest.mark.parametrize("name", ["add", "bitwise_and", "bitwise_or", "bitwise_xor", "equal", "floor_divide", "less",
                                  "maximum",
                                  "minimum", "multiply", "remainder", "subtract"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_functions_of_two_integers(name, dtype) -> None:
    a, b = draw((5, 1, 4), dtype), draw((3, 4), dtype)
    b = b + (b == 0).astype(dtype)
    with np.errstate(over="ignore"):
        agree(getattr(cr, name)(cr.asarray(a), cr.asarray(b)), getattr(np, name)(a, b))


SMOOTH = {
    **dict.fromkeys(["acos", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "expm1", "log", "log10", "log1p",
                     "log2",
                     "reciprocal", "sin", "sinh", "sqrt", "square", "tan", "tanh"], 0.5),
    "acosh": 2.0,
}


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_functions_of_one_number(name) -> None:
    check_gradient(getattr(cr, name), SMOOTH[name] + RNG.uniform(-0.3, 0.3, 6))


@pytest.mark.parametrize("name", ["sinh", "asinh", "atanh", "tanh", "sin", "asin", "atan", "expm1", "log1p"])
def test_the_derivative_at_zero_is_one(name) -> None:
    np.testing.assert_array_equal(cr.grad(lambda x: cr.sum(getattr(cr, name)(x)))(np.zeros(2)), [1.0, 1.0])


@pytest.mark.parametrize("name", ["atan2", "copysign", "divide", "hypot", "logaddexp", "multiply", "pow", "maximum"])
def test_derivatives_of_functions_of_two_numbers(name) -> None:
    check_gradient(getattr(cr, name), RNG.uniform(0.5, 1.0, 6), RNG.uniform(1.2, 2.0, 6))


def test_hypot_has_a_gradient_at_the_origin() -> None:
    found = cr.grad(lambda a, b: cr.sum(cr.hypot(a, b)), (0, 1))(np.zeros(1), np.zeros(1))
    np.testing.assert_array_equal(np.stack(found), 0.0)


# ---- creation

@pytest.mark.parametrize("bounds", [(5,), (0,), (2, 9), (9, 2), (9, 2, -2), (0, 10, 3), (-3, 3, 2)])
@pytest.mark.parametrize("dtype", [None, "int8", "int64", "float32", "float64"])
def test_arange_counts_as_numpy_does(bounds, dtype) -> None:
    np.testing.assert_array_equal(cr.arange(*bounds, dtype=dtype), np.arange(*bounds, dtype=dtype))


def test_creation_from_shapes_and_rules() -> None:
    agree(cr.zeros((2, 3)), np.zeros((2, 3), "f4"))
    agree(cr.ones(4, dtype=cr.int8), np.ones(4, "i1"))
    agree(cr.full((2,), True), np.array([True, True]))
    agree(cr.full((2,), 1.5), np.array([1.5, 1.5], "f4"))
    agree(cr.eye(3, 5, k=1, dtype=cr.float64), np.eye(3, 5, k=1))
    agree(cr.eye(3, k=-10), np.zeros((3, 3), "f4"))
    agree(cr.linspace(0, 1, 7, dtype=cr.float64), np.linspace(0, 1, 7))
    agree(cr.linspace(0, 1, 4, endpoint=False), np.linspace(0, 1, 4, endpoint=False).astype("f4"))
    agree(cr.arange(0.0, 1.0, 0.1), np.arange(0.0, 1.0, 0.1).astype("f4"))
    agree(cr.full_like(cr.zeros((2, 2), dtype=cr.int32), 7), np.full((2, 2), 7, "i4"))
    agree(cr.compile(lambda x: x + cr.zeros(3) + cr.arange(3) + cr.full(3, 2.0), backend="reference")(cr.ones(3)),
          np.array([3, 4, 5], "f4"))


def test_asarray_converts_what_it_is_given() -> None:
    agree(cr.asarray([1, 2]), np.array([1, 2], "i8"))
    agree(cr.asarray([[1.0], [2]]), np.array([[1.0], [2]], "f4"))
    agree(cr.asarray(np.float64(3)), np.array(3.0))
    agree(cr.asarray(True), np.array(True))
    agree(cr.asarray([2**63, 1], dtype=cr.uint64), np.array([2**63, 1], "u8"))
    agree(cr.asarray(memoryview(b"ab")), np.array([97, 98], "u1"))
    agree(cr.from_dlpack(np.arange(3.0)), np.arange(3.0))
    agree(np.from_dlpack(cr.asarray([1.0, 2.0])), np.array([1.0, 2.0], "f4"))
    agree(cr.asarray([[cr.asarray(1.0), 2.0], [cr.asarray([3.0])[0], cr.Variable(4.0)]]),
          np.array([[1, 2], [3, 4]], "f4"))
    check_gradient(lambda x, y: cr.asarray([x, y, x * y]), np.array(2.0), np.array(3.0))


def test_asarray_copies_when_asked() -> None:
    source = np.zeros(2)
    kept, shared = cr.asarray(source, copy=True), cr.asarray(source, copy=False)
    source[0] = 1
    assert kept[0].item() == 0 and shared[0].item() == 1
    x = cr.zeros(2)
    y = cr.asarray(x, copy=True)
    y[0] = 5.0
    assert x[0].item() == 0 and y[0].item() == 5
    for bad in ([1.0], 2.0, [x]):
        with pytest.raises(ArgumentError, match="copy=False"):
            cr.asarray(bad, copy=False)
    with pytest.raises(ArgumentError, match="copy=False"):
        cr.asarray(source, dtype=cr.float32, copy=False)


@pytest.mark.parametrize(("bad", "error"), [(["a"], DTypeError), ([[1], [1, 2]], ShapeError), ([1j], DTypeError),
                                            (1j, DTypeError)])
def test_asarray_refuses_what_is_no_array(bad, error) -> None:
    for dtype in (None, "float32"):
        with pytest.raises(error):
            cr.asarray(bad, dtype=dtype)


def test_devices() -> None:
    x = cr.ones(2, device="cpu")
    assert x.device == "cpu" and x.to_device("cpu") is x
    with pytest.raises(ArgumentError, match="CPU"):
        cr.zeros_like(x, device="gpu")


# ---- searching, sets, differences

@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side) -> None:
    for n in (0, 1, 2, 7, 64):
        table = np.sort(draw((n,), "int64")).astype("f8")
        table = np.concatenate([table, [np.nan]]) if n > 2 else table
        values = np.concatenate([draw((3, 4), "int64").ravel().astype("f8"), [np.inf, -np.inf, np.nan]])
        agree(cr.searchsorted(cr.asarray(table), cr.asarray(values), side=side),
              np.searchsorted(table, values, side=side))
        same_compiled(lambda a, b: cr.searchsorted(a, b, side=side), table, values)
    table = draw((9,))
    order = np.argsort(table)
    agree(cr.searchsorted(cr.asarray(table), cr.asarray([0.1, 0.7]), sorter=order),
          np.searchsorted(table, np.array([0.1, 0.7], "f4"), sorter=order))


def test_sets_and_positions() -> None:
    x = draw((4, 5), "int8")
    agree(cr.unique_all(cr.asarray(x)), np.unique_all(x))
    agree(cr.unique_counts(cr.asarray(x)), np.unique_counts(x))
    agree(cr.unique_inverse(cr.asarray(x)), np.unique_inverse(x))
    agree(cr.unique_values(cr.asarray([np.nan, 1.0, np.nan])), np.array([1.0, np.nan, np.nan], "f4"))
    agree(cr.nonzero(cr.asarray(x)), np.nonzero(x))
    for function in (cr.nonzero, cr.unique_values, lambda x: x[x > 0], lambda x: cr.repeat(x, x)):
        with pytest.raises(TraceError, match="compiled"):
            cr.compile(function, backend="reference")(np.array([1, 2]))


def test_repeat_by_an_array_of_counts() -> None:
    x = draw((3, 2))
    agree(cr.repeat(cr.asarray(x), cr.asarray([0, 2, 1]), axis=0), np.repeat(x, [0, 2, 1], axis=0))
    check_gradient(lambda x: cr.repeat(x, np.array([0, 2, 1]), axis=0), x)


def test_differences() -> None:
    x = draw((3, 6))
    agree(cr.diff(cr.asarray(x), n=2), np.diff(x, n=2))
    agree(cr.diff(cr.asarray(x), axis=0, prepend=cr.zeros((1, 6), dtype=cr.float64), append=0.0),
          np.diff(x, axis=0, prepend=0.0, append=0.0))
    agree(cr.diff(cr.asarray(x), n=9), np.diff(x, n=9))
    agree(cr.diff(cr.asarray([True, False, False])), np.array([True, False]))
    check_gradient(lambda x: cr.diff(x, n=2, prepend=1.0), x)


def test_sorting_keeps_the_order_of_equals() -> None:
    x = np.array([[3, 1, 2, 1, 3], [0, 0, 0, 0, 0]], "float32")
    agree(cr.argsort(cr.asarray(x)), np.argsort(x, stable=True))
    np.testing.assert_array_equal(cr.argsort(cr.asarray(x), descending=True), [[0, 4, 2, 1, 3], [0, 1, 2, 3, 4]])
    check_gradient(lambda x: cr.sort(x, descending=True), draw((3, 4)))


# ---- products

def test_tensordot_and_vecdot() -> None:
    a, b = draw((2, 3, 4)), draw((4, 3, 5))
    agree(cr.tensordot(cr.asarray(a), cr.asarray(b), axes=((1, 2), (1, 0))), np.tensordot(a, b, axes=((1, 2), (1, 0))))
    agree(cr.tensordot(cr.asarray(a), cr.asarray(b), axes=1), np.tensordot(a, b, axes=1))
    agree(cr.tensordot(cr.asarray(a), cr.asarray(b), axes=0), np.tensordot(a, b, axes=0))
    agree(cr.vecdot(cr.asarray(a), cr.asarray(a[:1])), np.vecdot(a, a[:1]))
    agree(cr.vecdot(cr.asarray(a), cr.asarray(a[0]), axis=-2), np.vecdot(a, a[0], axis=-2))
    check_gradient(lambda a, b: cr.tensordot(a, b, axes=((1, 2), (1, 0))), a, b)
    with pytest.raises(ShapeError):
        cr.vecdot(cr.asarray(a), cr.asarray(b))


# ---- data types

@pytest.mark.parametrize("a", ["bool", *NUMBERS])
@pytest.mark.parametrize("b", ["bool", *NUMBERS])
def test_promotion_within_a_kind_is_numpys(a, b) -> None:
    kinds = {np.dtype(a).kind.replace("u", "i"), np.dtype(b).kind.replace("u", "i")}
    wanted = np.result_type(a, b)
    if len(kinds) == 1 and not (kinds == {"i"} and wanted.kind == "f"):
        assert cr.result_type(cr.zeros(1, dtype=a), b) == wanted
        assert cr.can_cast(a, b) == (wanted == np.dtype(b))
    elif kinds == {"i"}:
        with pytest.raises(DTypeError, match="no integer type"):
            cr.result_type(a, b)


def test_data_type_functions() -> None:
    assert cr.result_type(cr.int8, 3, True) == cr.int8 and cr.result_type(cr.int8, 3.0) == cr.float32
    assert cr.isdtype(cr.uint8, "unsigned integer") and cr.isdtype("float64", ("integral", "real floating"))
    assert not cr.isdtype(cr.bool, "numeric") and cr.isdtype(cr.float32, cr.float32)
    assert cr.finfo(cr.float64).eps == np.finfo("f8").eps and cr.iinfo(cr.asarray([1], dtype=cr.int8)).min == -128
    assert set(cr.__array_namespace_info__().dtypes(kind="integral")) == set(INTEGERS)
    assert cr.zeros(1).__array_namespace__(api_version="2024.12") is cr
    with pytest.raises(ArgumentError, match="kind"):
        cr.isdtype(cr.int8, "nice")
    with pytest.raises(DTypeError):
        cr.finfo(cr.int8)
    with pytest.raises(DTypeError):
        cr.zeros(2, dtype="complex64")


# ---- operators

def test_in_place_operators_leave_others_alone() -> None:
    x = y = cr.ones(2)
    x += 1
    assert y[0].item() == 1 and x[0].item() == 2
    v = w = cr.Variable(np.ones(2, "f4"))
    v *= 3.0
    assert v is w and w.numpy().tolist() == [3, 3]


def test_masks() -> None:
    x = draw((3, 4))
    mask = x > 0
    agree(cr.asarray(x)[cr.asarray(mask)], x[mask])
    agree(cr.asarray(x)[cr.asarray(mask[:, 0])], x[mask[:, 0]])
    agree(cr.asarray(x)[cr.asarray(True)], x[np.array(True)])
    agree(cr.asarray(x)[False], x[False])
    y = cr.asarray(x)
    y[cr.asarray(mask)] = 0.0
    agree(y, np.where(mask, 0, x))
    with pytest.raises(BoundsError, match="mask"):
        cr.asarray(x)[cr.asarray([True, False])]


def test_wrong_axes_are_index_errors_and_value_errors() -> None:
    with pytest.raises(AxisError, match="no axis 3") as caught:
        cr.expand_dims(cr.zeros((2, 2)), 3)
    assert isinstance(caught.value, IndexError) and isinstance(caught.value, ValueError)
    for call in (lambda: cr.squeeze(cr.zeros((2, 1)), 0), lambda: cr.moveaxis(cr.zeros((2, 1)), (0, 0), (0, 1)),
                 lambda: cr.roll(cr.zeros((2, 1)), (1, 1), axis=0), lambda: cr.tril(cr.zeros(3))):
        with pytest.raises((ShapeError, ArgumentError)):
            call()


# ---- the surface

STANDARD = """
    abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh bitwise_and
    bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor broadcast_arrays broadcast_to
    can_cast ceil clip concat conj copysign cos cosh count_nonzero cumulative_prod cumulative_sum diff divide empty
    empty_like equal exp expand_dims expm1 eye finfo flip floor floor_divide from_dlpack full full_like greater
    greater_equal hypot iinfo imag isdtype isfinite isinf isnan less less_equal linspace log log10 log1p log2
    logaddexp logical_and logical_not logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min
    minimum moveaxis multiply negative nextafter nonzero not_equal ones ones_like permute_dims positive pow prod real
    reciprocal remainder repeat reshape result_type roll round searchsorted sign signbit sin sinh sort sqrt square
    squeeze stack std subtract sum take take_along_axis tan tanh tensordot tile tril triu trunc unique_all
    unique_counts unique_inverse unique_values unstack var vecdot where zeros zeros_like
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 e pi inf nan newaxis
    __array_api_version__ __array_namespace_info__
"""
LINALG = """
    cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose outer
    pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
"""


def test_every_name_of_the_standard_is_exported() -> None:
    assert [name for name in STANDARD.split() if name not in cr.__all__ or not hasattr(cr, name)] == []
    assert [name for name in LINALG.split() if not callable(getattr(cr.linalg, name, None))] == []
    assert [name for name in cr.__all__ if not hasattr(cr, name)] == []
