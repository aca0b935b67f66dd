# SPDX-License-Identifier: Apache-2.0
"""One function per operation: from operands to one machine value, scalar or vector, of any dtype.

In: a builder, the dtype and LLVM values (booleans are one bit in registers, one byte in memory). Out: a value. The
meaning is NumPy's: integers wrap around, shifts by too much give 0 or the sign, a NaN wins in maximum and minimum.
`bfloat16` is a dtype of memory: 16-bit integers that hold the upper halves of float32 numbers, cast when loaded and
stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from ..buffers import BRAIN
from .math.lanes import known, splat
from .math.table import MATH, emit_floor_divide, emit_remainder

ELEMENTS: dict[str, ir.Type] = {
    "bool": ir.IntType(1), "int8": ir.IntType(8), "int16": ir.IntType(16), "int32": ir.IntType(32),
    "int64": ir.IntType(64),
    "uint8": ir.IntType(8), "uint16": ir.IntType(16), "uint32": ir.IntType(32), "uint64": ir.IntType(64),
    "float32": ir.FloatType(), "float64": ir.DoubleType(), BRAIN: ir.IntType(16),
}
SIZES = {name: 2 if name == BRAIN else np.dtype(name).itemsize for name in ELEMENTS}


def memory_type(dtype: str) -> ir.Type:
    """The type of an element in memory."""
    return ir.IntType(8) if dtype == "bool" else ELEMENTS[dtype]


def is_float(dtype: str) -> bool:
    """Whether the dtype is a float."""
    return dtype.startswith("float")


def is_signed(dtype: str) -> bool:
    """Whether the dtype is a signed integer."""
    return dtype.startswith("int")


def constant(dtype: str, bits: str) -> ir.Constant:
    """The number whose bytes are `bits`, as a constant."""
    value = np.frombuffer(bytes.fromhex(bits), np.dtype(dtype))[0]
    return ir.Constant(ELEMENTS[dtype], float(value) if is_float(dtype) else int(value))


def _pick(for_float: str, for_integer: str) -> Callable[..., ir.Value]:
    return lambda b, dtype, *x: getattr(b, for_float if is_float(dtype) else for_integer)(*x)


def _compare(sign: str) -> Callable[..., ir.Value]:
    def emit(b: ir.IRBuilder, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
        return compare(b, sign, dtype, x, y)
    return emit


def compare(b: ir.IRBuilder, sign: str, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """x `sign` y as one bit per lane, false where a NaN is involved."""
    if is_float(dtype):
        return b.fcmp_ordered(sign, x, y)
    return (b.icmp_signed if is_signed(dtype) else b.icmp_unsigned)(sign, x, y)


def extreme(sign: str) -> Callable[..., ir.Value]:
    """The larger (">") or smaller ("<") of two values; a NaN wins, and of equal values (zeros of both signs) the
    second."""
    def emit(b: ir.IRBuilder, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
        better = b.select(compare(b, sign, dtype, x, y), x, y)  # y where one is NaN: one instruction on x86
        return b.select(b.fcmp_unordered("uno", x, x), x, better) if is_float(dtype) else better
    return emit


def _shift(name: str) -> Callable[..., ir.Value]:
    def emit(b: ir.IRBuilder, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
        signed = is_signed(dtype)
        width = 8 * SIZES[dtype]
        fits = b.icmp_unsigned("<", y, splat(y.type, width))
        shift = b.shl if name == "left" else b.ashr if signed else b.lshr
        safe = b.select(fits, y, splat(y.type, 0))
        beyond = b.ashr(x, splat(x.type, width - 1)) if signed and name == "right" else splat(x.type, 0)
        return b.select(fits, shift(x, safe), beyond)
    return emit


def _negative(b: ir.IRBuilder, dtype: str, x: ir.Value) -> ir.Value:
    return b.fneg(x) if is_float(dtype) else b.sub(splat(x.type, 0), x)


def _math(name: str) -> Callable[..., ir.Value]:
    return lambda b, dtype, *x: MATH[name](b, *x)


def _angle(b: ir.IRBuilder, dtype: str, y: ir.Value, x: ir.Value) -> ir.Value:
    return MATH["atan"](b, y) if known(x) == 1 else MATH["atan2"](b, y, x)


def _magnitude(name: str) -> Callable[..., ir.Value]:
    def emit(b: ir.IRBuilder, dtype: str, x: ir.Value) -> ir.Value:
        if is_float(dtype) or is_signed(dtype):
            return MATH[name](b, x)
        if name == "abs":
            return x
        return b.select(b.icmp_unsigned("!=", x, splat(x.type, 0)), splat(x.type, 1), splat(x.type, 0))
    return emit


def _rounding(name: str) -> Callable[..., ir.Value]:
    return lambda b, dtype, x: MATH[name](b, x) if is_float(dtype) else x


def _divide_floor(emit: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
    return lambda b, dtype, x, y: emit(b, x, y, signed=not dtype.startswith("u"))


# fmt: off
OPERATIONS: dict[str, Callable[..., ir.Value]] = {
    "add": _pick("fadd", "add"), "sub": _pick("fsub", "sub"), "mul": _pick("fmul", "mul"), "div": _pick("fdiv", "sdiv"),
    "neg": _negative, "not": lambda b, dtype, x: b.not_(x),
    "and": lambda b, dtype, x, y: b.and_(x, y), "or": lambda b, dtype, x, y: b.or_(x, y),
    "xor": lambda b, dtype, x, y: b.xor(x, y),
    "shift_left": _shift("left"), "shift_right": _shift("right"),
    "equal": _compare("=="), "less": _compare("<"), "less_equal": _compare("<="),
    "maximum": extreme(">"), "minimum": extreme("<"), "where": lambda b, dtype, c, x, y: b.select(c, x, y),
    "abs": _magnitude("abs"), "sign": _magnitude("sign"),
    "floor": _rounding("floor"), "ceil": _rounding("ceil"), "round": _rounding("round"),
    "floor_divide": _divide_floor(emit_floor_divide), "remainder": _divide_floor(emit_remainder),
    **{name: _math(name) for name in ("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan",
                                      "asin", "acos", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "pow")},
                                      "atan2": _angle,
}
# fmt: on


def widened(model: ir.Type, element: ir.Type) -> ir.Type:
    """A type of as many lanes as `model`, each an `element`."""
    return ir.VectorType(element, model.count) if isinstance(model, ir.VectorType) else element


def cast(b: ir.IRBuilder, x: ir.Value, source: str, result: str) -> ir.Value:
    """`x` converted as NumPy does: towards zero, wrapping around, booleans by being non-zero."""
    if source == result:
        return x
    if BRAIN in (source, result):
        return _upper_half(b, x) if result == BRAIN else _from_upper_half(b, x)
    if result == "bool":
        zero = splat(x.type, 0.0 if is_float(source) else 0)
        return b.fcmp_unordered("!=", x, zero) if is_float(source) else b.icmp_unsigned("!=", x, zero)
    type_ = widened(x.type, ELEMENTS[result])
    if is_float(source):
        return _from_float(b, x, source, result, type_)
    if is_float(result):
        return (b.sitofp if is_signed(source) else b.uitofp)(x, type_)
    before, after = ELEMENTS[source].width, ELEMENTS[result].width
    if before == after:
        return x
    return b.trunc(x, type_) if after < before else (b.sext if is_signed(source) else b.zext)(x, type_)


def _from_float(b: ir.IRBuilder, x: ir.Value, source: str, result: str, type_: ir.Type) -> ir.Value:
    if is_float(result):
        return b.fpext(x, type_) if result == "float64" else b.fptrunc(x, type_)
    if result == "uint64":
        return b.fptoui(x, type_)
    wide = "int64" if SIZES[result] == 8 or result == "uint32" else "int32"
    return cast(b, b.fptosi(x, widened(x.type, ELEMENTS[wide])), wide, result)


def _upper_half(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The bfloat16 number nearest to a float32, ties to the even one; by integers, because instructions flush tiny
    numbers."""
    narrow = ir.IntType(32)
    bits = b.bitcast(x, widened(x.type, narrow))
    number = lambda value: splat(bits.type, value)
    odd = b.and_(b.lshr(bits, number(16)), number(1))
    rounded = b.select(b.fcmp_unordered("uno", x, x), b.or_(bits, number(0x400000)),
                       b.add(b.add(bits, number(0x7FFF)), odd))
    return b.trunc(b.lshr(rounded, number(16)), widened(x.type, ELEMENTS[BRAIN]))


def _from_upper_half(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    bits = b.zext(x, widened(x.type, ir.IntType(32)))
    return b.bitcast(b.shl(bits, splat(bits.type, 16)), widened(x.type, ELEMENTS["float32"]))


def operation(b: ir.IRBuilder, name: str, result: str, sources: list[str], values: list[ir.Value]) -> ir.Value:
    """The value of an operation; the dtype that decides is that of the last operand."""
    if name == "cast":
        return cast(b, values[0], sources[0], result)
    if name == BRAIN:
        return cast(b, cast(b, values[0], "float32", BRAIN), BRAIN, "float32")
    if name == "bitcast":
        return b.bitcast(values[0], widened(values[0].type, ELEMENTS[result]))
    return OPERATIONS[name](b, sources[-1], *values)


def supports(name: str, dtypes: list[Any]) -> bool:
    """Whether there is machine code for an elementwise operation on these dtypes."""
    kinds = {d.kind for d in dtypes}
    if name == "pow" or name in ("exp", "log"):
        return kinds == {"f"}
    if name in ("shift_left", "shift_right"):
        return kinds <= {"i", "u"}
    if name == "bitcast":
        return "b" not in kinds
    return name in OPERATIONS or name in ("cast", BRAIN)

