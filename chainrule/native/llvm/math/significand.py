# SPDX-License-Identifier: Apache-2.0
"""x = 2**k m with 3/4 <= m < 3/2, the first step of every logarithm, and tables in registers.

In: `Lanes`. Out: exact `Lanes`, so that the way there never changes a bit. AVX-512 has an instruction for k, one for m,
which know all special values, and one that looks up sixteen numbers at once; other processors need some fifteen
operations on integers and as many loads.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

from llvmlite import ir

from .lanes import DOUBLE, Lanes, declare, with_element

NARROW = ir.IntType(32)
LOWEST_BITS = {32: struct.unpack("<I", struct.pack("<f", 0.75))[0], 64: struct.unpack("<Q", struct.pack("<d", 0.75))[0]}
POSITIVE, CURRENT_ROUNDING = 3 | 3 << 2, 4  # significands in [3/4, 3/2), NaN of negative numbers


def split(x: Lanes) -> tuple[Lanes, Lanes]:
    """(k, m) with x = 2**k m; k is minus infinity of 0 and infinite of infinity, one of both is NaN of NaN and below 0.
    """
    return _by_instructions(x) if _has_instructions(x) else _by_integers(x)


def _by_integers(x: Lanes) -> tuple[Lanes, Lanes]:
    format_ = x.format
    lowest, fraction = LOWEST_BITS[format_.bits], format_.fraction
    subnormal = x < 2.0 ** (1 - format_.bias)
    bits = subnormal.choose(x * 2.0**fraction, x).bits()
    exponent = (bits - lowest) >> fraction
    k = exponent.convert("sitofp", x.element) - subnormal.choose(x.constant(float(fraction)), 0.0)
    k = (x < math.inf).choose(k, x)
    k = (x <= 0.0).choose(x.equals(0.0).choose(x.constant(-math.inf), math.nan), k)
    return k, (bits - (exponent << fraction)).as_float()


def scale(x: Lanes, k: Lanes) -> Lanes:
    """x * 2**k for a whole or infinite k, rounded once; |x| is between 1/2 and 2 or NaN, and NaN is what NaN in k
    gives."""
    if _has_instructions(x):
        return _by_registers(lambda *both: _instruction("scalef", *both), x, k)
    bias, fraction = x.format.bias, x.format.fraction
    k = k.clamp(-bias - fraction - 3.0, bias + 2.0)
    n = (k + (x.format.round_shift + 2 * bias)).bits()
    half = n.logical_right(1)
    return x * (half << fraction).as_float() * ((n - half) << fraction).as_float() + (k - k)


# ---- with AVX-512

def _has_instructions(x: Lanes) -> bool:
    """Whether there are instructions for these lanes: whole registers of a processor that has them (`Target.module`).
    """
    return (getattr(x.builder.module, "has_avx512", False) and isinstance(x.type, ir.VectorType) and x.type.count
            * x.format.bits % 512 == 0)


def _by_instructions(x: Lanes) -> tuple[Lanes, Lanes]:
    m = _by_registers(lambda part: _instruction("getmant", part, NARROW(POSITIVE)), x)
    exponent = lambda value: _by_registers(lambda part: _instruction("getexp", part), value)
    return exponent(x) - exponent(m), m


def _instruction(name: str, *operands: Lanes | ir.Constant) -> Lanes:
    """One instruction on one register, by its intrinsic with a mask."""
    b, type_ = operands[0].builder, operands[0].type
    mask = ir.IntType(type_.count)
    values = [*(x.value if isinstance(x, Lanes) else x for x in operands), ir.Constant(type_, ir.Undefined), mask(-1),
              NARROW(CURRENT_ROUNDING)]
    suffix = "ps" if type_.count == 16 else "pd"
    callee = declare(b.module, f"llvm.x86.avx512.mask.{name}.{suffix}.512",
                     ir.FunctionType(type_, [x.type for x in values]))
    return Lanes(b, b.call(callee, values))


def _by_registers(function: Callable[..., Lanes], *values: Lanes) -> Lanes:
    """A function of registers of 64 bytes, where each value fills one or two."""
    b, type_ = values[0].builder, values[0].type
    count = 512 // values[0].format.bits
    if type_.count == count:
        return function(*values)
    order = lambda first, n: ir.Constant(ir.VectorType(NARROW, n), list(range(first, first + n)))
    part = lambda x, first: Lanes(b, b.shuffle_vector(x.value, x.value, order(first, count)))
    halves = [function(*(part(x, first) for x in values)).value for first in (0, count)]
    return Lanes(b, b.shuffle_vector(*halves, order(0, 2 * count)))


# ---- tables

def lookup(table: Sequence[float], place: Lanes, element: ir.Type = DOUBLE) -> Lanes:
    """table[place] in every lane, as `element`; the length of the table is a power of 2, and places are below it.

    Written as choices of single lanes from registers of as many numbers as there are lanes, which LLVM turns into one
    permutation.
    """
    b, type_ = place.builder, place.type
    if not isinstance(type_, ir.VectorType):
        return Lanes(b, b.extract_element(ir.Constant(ir.VectorType(element, len(table)), list(table)), place.value))
    size = min(len(table), type_.count, 512 // (64 if element == DOUBLE else 32))
    low, found = place & (size - 1) if size < len(table) else place, None
    for first in range(0, len(table), size):
        part = _permuted(ir.Constant(ir.VectorType(element, size), list(table[first:first + size])), low)
        found = part if found is None else (place < first).choose(found, part)
    return found


def _permuted(register: ir.Value, place: Lanes) -> Lanes:
    b, result = place.builder, ir.Constant(with_element(place.type, register.type.element), ir.Undefined)
    for i in range(place.type.count):
        one = b.extract_element(register, b.extract_element(place.value, NARROW(i)))
        result = b.insert_element(result, one, NARROW(i))
    return Lanes(b, result)
