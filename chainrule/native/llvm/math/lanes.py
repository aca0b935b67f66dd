# SPDX-License-Identifier: Apache-2.0
"""`Lanes`: a scalar or vector LLVM value that is written like arithmetic, for the emitters of elementary functions.

In: an `ir.IRBuilder` and a value of type float, double, an integer, or a vector of them, of any width. Out: more such
values; `a * b + c` emits the instructions. Python numbers beside a `Lanes` become constants of its type in all lanes.
Nothing here carries fast-math flags, so that NaN, infinities and signed zeros keep their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llvmlite import ir

DOUBLE, FLOAT = ir.DoubleType(), ir.FloatType()


@dataclass(frozen=True)
class Format:
    """The layout of a floating-point type: width, bits of the fraction, bias of the exponent."""

    bits: int
    fraction: int
    bias: int

    @property
    def round_shift(self) -> float:
        """1.5 * 2**fraction: adding it rounds to an integer (ties to even) that stands in the low bits of the sum."""
        return 1.5 * 2.0**self.fraction


FORMATS = {"float": Format(32, 23, 127), "double": Format(64, 52, 1023)}


def element_type(type_: ir.Type) -> ir.Type:
    """The type of one lane."""
    return type_.element if isinstance(type_, ir.VectorType) else type_


def with_element(type_: ir.Type, element: ir.Type) -> ir.Type:
    """`type_` with lanes of another type: same width."""
    return ir.VectorType(element, type_.count) if isinstance(type_, ir.VectorType) else element


def splat(type_: ir.Type, number) -> ir.Constant:
    """The constant that holds `number` in all lanes."""
    return ir.Constant(type_, [number] * type_.count if isinstance(type_, ir.VectorType) else number)


def type_name(type_: ir.Type) -> str:
    """The name of a type inside the name of an overloaded intrinsic: f32, v16f32, i64 …"""
    element = element_type(type_)
    name = element.intrinsic_name
    return f"v{type_.count}{name}" if isinstance(type_, ir.VectorType) else name


def declare(module: ir.Module, name: str, type_: ir.FunctionType) -> ir.Function:
    """The function of that name in the module, declared where it is not there yet."""
    known = module.globals.get(name)
    return known if known is not None else ir.Function(module, type_, name)


def intrinsic(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    """Call ``llvm.<name>``, overloaded on the one type that all the values and the result share."""
    type_ = values[0].type
    function_type = ir.FunctionType(type_, [type_] * len(values))
    return builder.call(declare(builder.module, f"llvm.{name}.{type_name(type_)}", function_type), values)


class Lanes:
    """One value in a function that is being emitted; every operator emits one instruction."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: ir.IRBuilder, value: ir.Value):
        self.builder, self.value = builder, value

    # ---- what it is

    @property
    def type(self) -> ir.Type:
        return self.value.type

    @property
    def element(self) -> ir.Type:
        return element_type(self.value.type)

    @property
    def is_float(self) -> bool:
        return isinstance(self.element, ir.FloatType | ir.DoubleType)

    @property
    def format(self) -> Format:
        return FORMATS[str(self.element)]

    def like(self, other) -> ir.Value:
        """`other` as an LLVM value of this type: a Lanes as it is, a number in all lanes."""
        return other.value if isinstance(other, Lanes) else splat(self.type, other)

    def constant(self, number) -> Lanes:
        return Lanes(self.builder, splat(self.type, number))

    def _emit(self, name: str, *others) -> Lanes:
        return Lanes(self.builder, getattr(self.builder, name)(self.value, *map(self.like, others)))

    # ---- arithmetic

    def __add__(self, other) -> Lanes:
        return self._emit("fadd" if self.is_float else "add", other)

    def __sub__(self, other) -> Lanes:
        return self._emit("fsub" if self.is_float else "sub", other)

    def __rsub__(self, other) -> Lanes:
        return self.constant(other) - self

    def __mul__(self, other) -> Lanes:
        return self._emit("fmul" if self.is_float else "mul", other)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other) -> Lanes:
        return self._emit("fdiv", other)

    def __rtruediv__(self, other) -> Lanes:
        return self.constant(other) / self

    def __neg__(self) -> Lanes:
        return self._emit("fneg" if self.is_float else "neg")

    def fma(self, factor, summand) -> Lanes:
        """self * factor + summand, rounded once."""
        return Lanes(self.builder, intrinsic(self.builder, "fma", self.value, self.like(factor), self.like(summand)))

    def call(self, name: str, *others) -> Lanes:
        """The intrinsic ``llvm.<name>`` of this and further values of the same type."""
        return Lanes(self.builder, intrinsic(self.builder, name, self.value, *map(self.like, others)))

    def polynomial(self, coefficients: Iterable[float]) -> Lanes:
        """c0 + c1 x + c2 x² + …, by Horner's rule."""
        *rest, result = coefficients
        result = self.constant(result)
        for c in reversed(rest):
            result = result.fma(self, c)
        return result

    def even_and_odd(self, coefficients: Iterable[float]) -> Lanes:
        """The same polynomial by Estrin's rule: more products, but few that wait for each other."""
        terms, power = [self.constant(c) for c in coefficients], self
        while len(terms) > 1:
            pairs = [odd.fma(power, even) for even, odd in zip(terms[::2], terms[1::2], strict=False)]
            terms = [*pairs, terms[-1]] if len(terms) % 2 else pairs
            power = power * power
        return terms[0]

    def clamp(self, low: float, high: float) -> Lanes:
        """min(max(x, low), high), NaN staying NaN; each half becomes one instruction on x86."""
        raised = (self.constant(low) > self).choose(low, self)
        return (self.constant(high) < raised).choose(high, raised)

    # ---- bits

    def __and__(self, other) -> Lanes:
        return self._emit("and_", other)

    def __or__(self, other) -> Lanes:
        return self._emit("or_", other)

    def __xor__(self, other) -> Lanes:
        return self._emit("xor", other)

    def __invert__(self) -> Lanes:
        return self._emit("not_")

    def __lshift__(self, count) -> Lanes:
        return self._emit("shl", count)

    def __rshift__(self, count) -> Lanes:
        """The arithmetic shift, which keeps the sign."""
        return self._emit("ashr", count)

    def logical_right(self, count) -> Lanes:
        return self._emit("lshr", count)

    def _cast(self, name: str, element: ir.Type) -> Lanes:
        return Lanes(self.builder, getattr(self.builder, name)(self.value, with_element(self.type, element)))

    def bits(self) -> Lanes:
        """The representation of a float as an integer of the same width."""
        return self._cast("bitcast", ir.IntType(self.format.bits))

    def as_float(self) -> Lanes:
        """The float whose representation this integer is."""
        return self._cast("bitcast", FLOAT if self.element.width == 32 else DOUBLE)

    def convert(self, name: str, element: ir.Type) -> Lanes:
        """Lanes of `element` by a conversion instruction: `fpext`, `fptrunc`, `sitofp`, `zext`, `trunc` …"""
        return self._cast(name, element)

    def with_sign_of(self, other: Lanes) -> Lanes:
        return self.call("copysign", other)

    # ---- comparison: ordered, so false where a NaN is involved, except !=

    def _compare(self, sign: str, other) -> Lanes:
        name = ("fcmp_unordered" if sign == "!=" else "fcmp_ordered") if self.is_float else "icmp_signed"
        return Lanes(self.builder, getattr(self.builder, name)(sign, self.value, self.like(other)))

    def __lt__(self, other) -> Lanes:
        return self._compare("<", other)

    def __le__(self, other) -> Lanes:
        return self._compare("<=", other)

    def __gt__(self, other) -> Lanes:
        return self._compare(">", other)

    def __ge__(self, other) -> Lanes:
        return self._compare(">=", other)

    def equals(self, other) -> Lanes:
        return self._compare("==", other)

    def differs(self, other) -> Lanes:
        return self._compare("!=", other)

    def unordered(self, other) -> Lanes:
        """Whether this or `other` is NaN."""
        return Lanes(self.builder, self.builder.fcmp_unordered("uno", self.value, self.like(other)))

    def choose(self, yes, no) -> Lanes:
        """Of a condition: `yes` where it holds, `no` elsewhere; at least one of them is a Lanes."""
        model = yes if isinstance(yes, Lanes) else no
        return Lanes(self.builder, self.builder.select(self.value, model.like(yes), model.like(no)))


def known(value: ir.Value) -> float | int | None:
    """The number that is in all lanes, if it is a constant."""
    if not isinstance(value, ir.Constant):
        return None
    numbers = value.constant if isinstance(value.type, ir.VectorType) else [value]
    different = {number.constant for number in numbers}
    return different.pop() if len(different) == 1 else None


Emitter = Callable[..., ir.Value]


def emitter(function: Callable[..., Lanes]) -> Emitter:
    """Turn a function of Lanes into one of (builder, values …), the form in which the backend calls it."""

    def emit(builder: ir.IRBuilder, *values: ir.Value) -> ir.Value:
        return function(*(Lanes(builder, value) for value in values)).value

    emit.__name__, emit.__doc__ = f"emit_{function.__name__}", function.__doc__
    return emit


def per_lane(name: str, *values: Lanes) -> Lanes:
    """Call a double function of the C library (`erf` …) once for each lane."""
    builder, type_ = values[0].builder, values[0].type
    callee = declare(builder.module, name, ir.FunctionType(DOUBLE, [DOUBLE] * len(values)))
    if not isinstance(type_, ir.VectorType):
        return Lanes(builder, builder.call(callee, [value.value for value in values]))
    result = ir.Constant(type_, ir.Undefined)
    for i in range(type_.count):
        lane = ir.Constant(ir.IntType(32), i)
        one = builder.call(callee, [builder.extract_element(value.value, lane) for value in values])
        result = builder.insert_element(result, one, lane)
    return Lanes(builder, result)
