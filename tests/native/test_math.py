# SPDX-License-Identifier: Apache-2.0
"""The emitters of native/llvm/math/table.py against NumPy and SciPy in higher precision: ulp, special values, every
vector width.

Float results are compared with the double functions of NumPy and SciPy, double results with those in long double, where
the platform has one. The limits are the errors that four million points show, rounded up.
"""

from __future__ import annotations

import ctypes
from functools import cache

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from scipy import special

from chainrule.native.llvm.math.lanes import emitter
from chainrule.native.llvm.math.significand import split
from chainrule.native.llvm.math.table import MATH, emit_floor_divide, emit_remainder
from chainrule.native.target import Target

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

TYPES = {
    "float32": ir.FloatType(), "float64": ir.DoubleType(),
    **{f"{u}int{n}": ir.IntType(n) for u in ("", "u") for n in (8, 16, 32, 64)},
}
WIDTHS = (1, 4, 8, 16)
INF, NAN = np.inf, np.nan


# ---- a small compiler: out[i] = emit(in0[i], in1[i] …)

def loop_module(emit, dtype: str, width: int, arity: int) -> ir.Module:
    """kernel(out, in0 …, count): `width` elements at a time."""
    element, index = TYPES[dtype], ir.IntType(64)
    lanes = ir.VectorType(element, width) if width > 1 else element
    module = Target.host().module("loop")
    kind = ir.FunctionType(ir.VoidType(), [element.as_pointer()] * (arity + 1) + [index])
    function = ir.Function(module, kind, "kernel")
    entry, body, done = (function.append_basic_block(name) for name in ("entry", "body", "done"))
    builder = ir.IRBuilder(entry)
    builder.branch(body)
    builder.position_at_end(body)
    i = builder.phi(index)
    at = [builder.bitcast(builder.gep(p, [i]), lanes.as_pointer()) for p in function.args[:-1]]
    result = emit(builder, *(builder.load(p, align=element_size(dtype)) for p in at[1:]))
    builder.store(result, at[0], align=element_size(dtype))
    following = builder.add(i, index(width))
    i.add_incoming(index(0), entry)
    i.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, function.args[-1]), body, done)
    ir.IRBuilder(done).ret_void()
    return module


def element_size(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def compile_module(module: ir.Module):
    """The execution engine that holds the optimised machine code of a module, and its assembly text."""
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3)
    module.triple = llvm.get_default_triple()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    text = machine.emit_assembly(parsed)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    return engine, text


@cache
def kernel(emit, dtype: str, width: int, arity: int):
    engine, text = compile_module(loop_module(emit, dtype, width, arity))
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (arity + 1), ctypes.c_int64)
    return engine, prototype(engine.get_function_address("kernel")), text


def apply(emit, *inputs: np.ndarray, width: int = 16) -> np.ndarray:
    dtype, count = str(inputs[0].dtype), inputs[0].size
    padded = [np.resize(x, -(-count // width) * width) for x in inputs]
    out = np.empty_like(padded[0])
    _engine, call, _ = kernel(emit, dtype, width, len(inputs))
    call(out.ctypes.data, *(x.ctypes.data for x in padded), padded[0].size)
    return out[:count]


# ---- what goes in, and how far what comes out is off

def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|got - exact| in units of the last place of `got.dtype` at `exact`; infinite where NaN or infinity disagree."""
    dtype, info = got.dtype, np.finfo(got.dtype)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        rounded = exact.astype(dtype)
        one = np.maximum(np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, info.max))), info.smallest_subnormal)
        error = np.abs(got.astype(exact.dtype) - exact) / one.astype(exact.dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(same & ~np.isfinite(rounded), 0, np.where(np.isnan(error), INF, error))


def inputs_float32(low: float, high: float, count: int, seed: int = 0) -> np.ndarray:
    """Log-spaced numbers of both signs, evenly spaced ones, and the neighbours of all powers of two, within bounds."""
    rng = np.random.default_rng(seed)
    size = np.exp2(rng.uniform(-149, 128, count)).astype("float32")
    even = rng.uniform(max(low, -110), min(high, 110), count // 2)
    powers = np.exp2(np.arange(-149, 128)).astype("float32")
    edges = np.concatenate([powers, np.nextafter(powers, np.float32(0)), np.nextafter(powers, np.float32(INF))])
    x = np.concatenate([size, -size, even, edges, -edges]).astype("float32")
    return x[(x >= low) & (x <= high) & np.isfinite(x)]


def inputs_float64(low: float, high: float, count: int) -> np.ndarray:
    """Log-spaced numbers of both signs and evenly spaced ones, within bounds."""
    rng = np.random.default_rng(1)
    size = np.exp2(rng.uniform(-1074, 1024, count))
    near = np.exp2(rng.uniform(-30, 10, count))
    x = np.concatenate([size, -size, near, -near, 1 + near, rng.uniform(max(low, -800), min(high, 800), count)])
    return x[(x >= low) & (x <= high) & np.isfinite(x)]


def quietly(function, *inputs):
    """The oracle without its warnings about what is outside the domain."""
    with np.errstate(all="ignore"):
        return function(*inputs)


# name: (the oracle, the range |x| up to which it is compared, allowed ulp in float32, allowed ulp in float64)
# fmt: off
UNARY = {
    "exp":     (np.exp,        INF,  0.95, 1.0),
    "exp2":    (np.exp2,       INF,  0.95, 1.0),
    "expm1":   (np.expm1,      INF,  1.6,  2.0),
    "log":     (np.log,        INF,  1.0,  1.0),
    "log2":    (np.log2,       INF,  2.0,  2.0),
    "log10":   (np.log10,      INF,  1.9,  3.0),
    "log1p":   (np.log1p,      INF,  1.1,  1.5),
    "sinh":    (np.sinh,       INF,  1.6,  2.5),
    "cosh":    (np.cosh,       INF,  1.4,  2.5),
    "tanh":    (np.tanh,       INF,  1.6,  3.0),
    "asinh":   (np.arcsinh,    INF,  1.5,  3.0),
    "acosh":   (np.arccosh,    INF,  1.5,  3.0),
    "atanh":   (np.arctanh,    INF,  1.5,  2.5),
    "sigmoid": (special.expit, INF,  2.0,  2.0),
    "erf":     (special.erf,   INF,  1.2,  3.5),
    "sin":     (np.sin,        INF,  1.6,  1.0),
    "cos":     (np.cos,        INF,  1.6,  1.0),
    "tan":     (np.tan,        INF,  2.6, 2.5),
    "asin":    (np.arcsin,     INF,  1.5,  2.0),
    "acos":    (np.arccos,     INF,  1.5,  1.5),
    "atan":    (np.arctan,     INF,  2.0,  2.5),
    "sqrt":    (np.sqrt,       INF,  0.51, 0.51),
    "rsqrt":   (lambda x: 1 / np.sqrt(x), INF, 1.6, 1.6),
    "reciprocal": (lambda x: 1 / x, INF, 0.51, 0.51),
}
EXACT = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint, "abs": np.abs, "sign": np.sign}
BINARY = {"pow": (np.power, 1.4, 1.5), "atan2": (np.arctan2, 2.0, 2.5)}
# fmt: on
HAS_LONG_DOUBLE = np.finfo(np.longdouble).nmant > 52


def check_float32(name: str, count: int) -> None:
    oracle, bound, allowed, _ = UNARY[name]
    x = inputs_float32(-bound, bound, count)
    error = ulps(apply(MATH[name], x), quietly(oracle, x.astype("float64")))
    worst = np.argmax(error)
    assert error[worst] <= allowed, f"{error[worst]:.3f} ulp at {x[worst]!r}"


def specials(dtype: str) -> np.ndarray:
    """Signed zeros, infinities, NaN, the ends of the range, subnormals, and a few plain numbers."""
    info = np.finfo(dtype)
    ends = [info.smallest_subnormal, info.tiny * info.dtype.type(0.3), info.tiny, info.max]
    plain = [0.0, INF, 1.0, 2.0, 0.5, 1e-30, 3.0, 2.5, 3.5, 1.5, 1e10, 90.0]
    return np.array([NAN, *(s * v for v in [*ends, *plain] for s in (1, -1))], dtype)


def assert_same(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    """Equal within a relative tolerance, with the same sign of zero."""
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=0)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(wanted)[known])


# ---- accuracy

@pytest.mark.parametrize("name", UNARY)
def test_float32_stays_within_its_ulp(name):
    check_float32(name, 60_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNARY)
def test_float32_stays_within_its_ulp_on_millions_of_points(name):
    check_float32(name, 1_700_000)


@pytest.mark.parametrize("name", UNARY)
def test_float64_stays_within_its_ulp(name):
    oracle, bound, _, allowed = UNARY[name]
    wide = np.float64 if name == "erf" else np.longdouble    # SciPy has no erf in long double
    x = inputs_float64(-bound, bound, 20_000)
    error = ulps(apply(MATH[name], x, width=8), quietly(oracle, x.astype(wide)))
    worst = np.argmax(error)
    assert error[worst] <= allowed + (not HAS_LONG_DOUBLE), f"{error[worst]:.3f} ulp at {x[worst]!r}"


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_float32_stay_within_their_ulp(name):
    oracle, allowed, _ = BINARY[name]
    rng = np.random.default_rng(2)
    x = np.exp2(rng.uniform(-149, 128, 100_000)).astype("float32")
    y = rng.uniform(-30, 30, x.size).astype("float32") / np.log2(x).astype("float32")
    near = rng.uniform(0.5, 2, x.size).astype("float32")
    x = np.concatenate([x, near, -near])
    y = np.concatenate([y, rng.uniform(-140, 140, near.size), rng.integers(-99, 99, near.size)]).astype("float32")
    error = ulps(apply(MATH[name], x, y), quietly(oracle, x.astype("float64"), y.astype("float64")))
    worst = np.argmax(error)
    assert error[worst] <= allowed, f"{error[worst]:.3f} ulp at {x[worst]!r}, {y[worst]!r}"


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_float64_stay_within_their_ulp(name):
    oracle, _, allowed = BINARY[name]
    rng, n = np.random.default_rng(3), 20_000
    x = np.concatenate([np.exp2(rng.uniform(-1074, 1024, n)), rng.uniform(0.5, 2, n),
                        np.abs(1 + 10 ** rng.uniform(-15, -1, n))])
    y = rng.uniform(-740, 740, x.size) / np.log(x)  # powers over the whole range, subnormal ones included
    y[:100] = np.exp2(rng.uniform(-1074, -1060, 100))
    error = ulps(apply(MATH[name], x, y, width=8), quietly(oracle, x.astype(np.longdouble), y.astype(np.longdouble)))
    worst = np.argmax(error)
    assert error[worst] <= allowed + (not HAS_LONG_DOUBLE), f"{error[worst]:.3f} ulp at {x[worst]!r}, {y[worst]!r}"


# ---- special values, widths, the code itself

@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*UNARY, *EXACT])
def test_special_values_are_those_of_numpy(name, dtype):
    oracle, bound, *_ = UNARY[name] if name in UNARY else (EXACT[name], INF)
    x = specials(dtype)
    x = x[~np.isfinite(x) | (np.abs(x) <= bound)]
    wanted = quietly(lambda: oracle(x.astype("float64")).astype(dtype))
    assert_same(apply(MATH[name], x), wanted, 3e-7 if dtype == "float32" else 1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BINARY)
def test_special_pairs_are_those_of_numpy(name, dtype):
    x, y = (v.ravel().copy() for v in np.meshgrid(specials(dtype), specials(dtype)))
    wanted = quietly(lambda: BINARY[name][0](x.astype("float64"), y.astype("float64")).astype(dtype))
    assert_same(apply(MATH[name], x, y), wanted, 3e-7 if dtype == "float32" else 1e-15)


def pi_times(one: int) -> int:
    """π one, by Machin's formula in whole numbers."""
    def inverse_tangent(of_one_over: int) -> int:
        total, power, k = 0, one // of_one_over, 1
        while power:
            total, power, k = total + power // k * (2 - k % 4), power // of_one_over**2, k + 2
        return total
    return 4 * (4 * inverse_tangent(5) - inverse_tangent(239))


def reduced(x: float) -> tuple[int, np.longdouble]:
    """(k modulo 4, r) with x = k π/2 + r, in whole numbers of 2**-1400."""
    scaled = int(x) << DIGITS
    k = (2 * scaled + HALF_PI) // (2 * HALF_PI)
    r = scaled - k * HALF_PI
    high = r / (1 << DIGITS)
    low = (r - (int(high * 2.0**200) << DIGITS - 200)) / (1 << DIGITS)
    return k % 4, np.longdouble(high) + np.longdouble(low)


DIGITS = 1400
HALF_PI = pi_times(1 << DIGITS + 40) >> 41


def large_angles(dtype: str) -> np.ndarray:
    """Whole numbers of both signs over all exponents from 2**40, and doubles that are close to a multiple of π/2."""
    info, rng = np.finfo(dtype), np.random.default_rng(6)
    exponents = np.repeat(np.arange(40, info.maxexp), 4)
    x = np.ldexp(rng.uniform(1, 2, exponents.size), exponents).astype(dtype)
    near = ([np.ldexp(6381956970095103.0, 797), np.ldexp(5319372648326541.0, 261)] if dtype == "float64"
            else [16367173.0 * 2.0**72])
    x = np.concatenate([x, np.ldexp(np.ones(1, dtype), np.arange(40, info.maxexp)), [info.max], near]).astype(dtype)
    return np.trunc(np.concatenate([x, -x]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 8])
def test_large_angles_are_reduced_exactly(dtype, width):
    x = large_angles(dtype)
    k, r = (np.array(v) for v in zip(*map(reduced, x.astype(float).tolist()), strict=True))
    sine, cosine = np.sin(r), np.cos(r)
    wanted = {"sin": np.choose(k, [sine, cosine, -sine, -cosine]), "cos": np.choose(k, [cosine, -sine, -cosine, sine])}
    wanted["tan"] = wanted["sin"] / wanted["cos"]
    for name, exact in wanted.items():
        allowed = UNARY[name][2 if dtype == "float32" else 3] + (not HAS_LONG_DOUBLE)
        error = ulps(apply(MATH[name], x, width=width), exact)
        worst = np.argmax(error)
        assert error[worst] <= allowed, f"{name}: {error[worst]:.3f} ulp at {x[worst]!r}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_a_large_angle_leaves_its_neighbours_alone(name, dtype):
    x = np.random.default_rng(7).uniform(-50, 50, 64).astype(dtype)
    alone = apply(MATH[name], x)
    mixed = x.copy()
    mixed[::5] = np.resize(np.array([1e20, -1e30, INF, NAN, 2.0**47], dtype), 13)
    got = apply(MATH[name], mixed)
    np.testing.assert_array_equal(np.delete(got, np.s_[::5]), np.delete(alone, np.s_[::5]))
    with np.errstate(invalid="ignore"):
        wanted = getattr(np, name)(mixed[::5].astype("float64"))
    np.testing.assert_allclose(got[::5], wanted, rtol=3e-7 if dtype == "float32" else 1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MATH)
def test_every_width_gives_the_same_bits(name, dtype):
    arity = 2 if name in BINARY else 1
    x = np.concatenate([specials(dtype), np.random.default_rng(3).uniform(-5, 5, 64).astype(dtype)])
    results = [apply(MATH[name], *[x, x[::-1].copy()][:arity], width=width) for width in WIDTHS]
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("name", MATH)
def test_float32_emits_no_call_of_the_c_library(name):
    arity = 2 if name in BINARY else 1
    module = loop_module(MATH[name], "float32", 16, arity)
    assert all(f.name.startswith("llvm.") for f in module.functions if f.is_declaration)
    assert "llvm.pow" not in str(module)


@pytest.mark.parametrize("name", MATH)
def test_only_large_angles_add_blocks(name):
    arity = 2 if name in BINARY else 1
    module = loop_module(MATH[name], "float32", 8, arity)
    assert len(module.globals["kernel"].blocks) == (5 if name in ("sin", "cos", "tan") else 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 16])
def test_exponents_and_significands_are_exact(dtype, width):
    info = np.finfo(dtype)
    powers = np.ldexp(np.ones(1, dtype), np.arange(info.minexp - info.nmant, info.maxexp))
    x = np.concatenate([powers, powers * dtype_of(dtype)(1.5), np.nextafter(powers, dtype_of(dtype)(0))])
    x = x[(x > 0) & np.isfinite(x)]
    k, m = (apply(emit, x, width=width) for emit in (EXPONENT, SIGNIFICAND))
    assert m.min() >= 0.75 and m.max() < 1.5
    np.testing.assert_array_equal(np.ldexp(m, k.astype(int)), x)


EXPONENT, SIGNIFICAND = emitter(lambda x: split(x)[0]), emitter(lambda x: split(x)[1])
dtype_of = lambda name: np.dtype(name).type


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logarithms_of_powers_are_whole(dtype):
    info = np.finfo(dtype)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp)
    np.testing.assert_array_equal(apply(MATH["log2"], np.ldexp(np.ones(1, dtype), exponents)), exponents)


# ---- integers and remainders

@pytest.mark.parametrize("dtype", [name for name in TYPES if "int" in name])
@pytest.mark.parametrize("width", WIDTHS)
def test_integer_division_is_that_of_numpy(dtype, width):
    info, rng = np.iinfo(dtype), np.random.default_rng(4)
    small = np.array([0, 1, 2, 3, 7, info.max, info.max - 1, info.min, info.min + 1], dtype)
    negative = small[:5] * info.dtype.type(-1 if info.min else 1)
    values = np.concatenate([small, negative, rng.integers(info.min, info.max, 20, dtype)])
    a, b = (v.ravel().copy() for v in np.meshgrid(values, values))
    signed = info.min < 0
    for emit, oracle in ((emit_floor_divide, np.floor_divide), (emit_remainder, np.remainder)):
        got = apply(SIGNED[emit] if signed else UNSIGNED[emit], a, b, width=width)
        np.testing.assert_array_equal(got, quietly(oracle, a, b))


SIGNED = {emit: emit for emit in (emit_floor_divide, emit_remainder)}
UNSIGNED = {
    emit_floor_divide: lambda builder, a, b: emit_floor_divide(builder, a, b, signed=False),
    emit_remainder: lambda builder, a, b: emit_remainder(builder, a, b, signed=False),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", WIDTHS)
def test_float_division_is_that_of_numpy(dtype, width):
    values = np.concatenate([specials(dtype), np.random.default_rng(5).uniform(-9, 9, 20).astype(dtype)])
    a, b = (v.ravel().copy() for v in np.meshgrid(values, values))
    for emit, oracle in ((emit_floor_divide, np.floor_divide), (emit_remainder, np.remainder)):
        assert_same(apply(emit, a, b, width=width), quietly(oracle, a, b), 0.0)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_abs_sign_and_rounding_take_integers(dtype):
    x = np.array([0, 1, -1, 100, -100], dtype)
    for name, oracle in (("abs", np.abs), ("sign", np.sign), ("floor", lambda v: v), ("round", lambda v: v)):
        np.testing.assert_array_equal(apply(MATH[name], x, width=4), oracle(x))
