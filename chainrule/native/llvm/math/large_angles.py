# SPDX-License-Identifier: Apache-2.0
"""Trigonometric functions of angles that are too large for a product with π/2: a branch that is seldom taken.

The angle is m 2**e with a whole m. Of its product with 2/π only what is below four quarter turns matters, so of the
bits of 2/π only the 192 that begin where m 2**e times a bit is below that (Payne and Hanek 1983). Doubles come within
2**-61.5 of a whole number of quarter turns at the closest; 75 bits of what is left of the product are right then.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from llvmlite import ir

from . import coefficients as tables
from .lanes import DOUBLE, FLOAT, FORMATS, Lanes, intrinsic, type_name

LARGE_ANGLE = 2.0**47  # a multiple of π/2 taken from a smaller one leaves all digits
WORD, NARROW, BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
BITS = WORD.width
# whose window begins with the first bit of TWO_OVER_PI, which is worth 2**6
LOWEST_EXPONENT = FORMATS["double"].bias + 47
Finish = Callable[..., Lanes]


def mend_large(x: Lanes, result: Lanes, finish: Finish) -> Lanes:
    """`result`, but in lanes with a finite |x| >= 2**47 `finish(x, n, r, rest)` with x = n π/2 + r + rest (see
    `trigonometric`)."""
    b = x.builder
    close = _open_end(b)
    large = (x.call("fabs") >= LARGE_ANGLE).value
    if isinstance(x.type, ir.VectorType):
        large = b.icmp_unsigned("!=", b.bitcast(large, ir.IntType(x.type.count)), ir.IntType(x.type.count)(0))
    before = b.block
    with b.if_then(large, likely=False):
        mended, seldom = b.call(_mending(b.module, x.type, finish), [x.value, result.value]), b.block
    joined = b.phi(x.type)
    joined.add_incoming(result.value, before)
    joined.add_incoming(mended, seldom)
    close()
    return Lanes(b, joined)


def _open_end(b: ir.IRBuilder) -> Callable[[], None]:
    """Make room for branches where a block that already ends is written; what is returned lets the last of them end so.
    """
    end = b.block.terminator
    if end is None:
        return lambda: None
    b.block.instructions.remove(end)
    b.block.terminator = None

    def close() -> None:
        end.parent = b.block
        b.block.instructions.append(end)
        b.block.terminator = end
        b.position_before(end)
    return close


def _mending(module: ir.Module, type_: ir.Type, finish: Finish) -> ir.Function:
    """``T mend(T x, T result)``, lane by lane."""
    name = f"{finish.__name__}_large_{type_name(type_)}"
    function, b = _function(module, name, ir.FunctionType(type_, [type_, type_]))
    if b is None:
        return function
    x, result = function.args
    if not isinstance(type_, ir.VectorType):
        b.ret(_mended(b, x, result, finish))
        return function
    entry, body, done = b.block, b.append_basic_block("lane"), b.append_basic_block("done")
    b.branch(body)
    b.position_at_end(body)
    lane, so_far = b.phi(NARROW), b.phi(type_)
    one = _mended(b, b.extract_element(x, lane), b.extract_element(so_far, lane), finish)
    following, more = b.add(lane, NARROW(1)), b.insert_element(so_far, one, lane)
    for place, first, later in ((lane, NARROW(0), following), (so_far, result, more)):
        place.add_incoming(first, entry)
        place.add_incoming(later, b.block)
    b.cbranch(b.icmp_unsigned("<", following, NARROW(type_.count)), body, done)
    b.position_at_end(done)
    b.ret(more)
    return function


def _function(module: ir.Module, name: str, type_: ir.FunctionType) -> tuple[ir.Function, ir.IRBuilder | None]:
    """The function of that name, and where to write it if it is new."""
    if name in module.globals:
        return module.globals[name], None
    function = ir.Function(module, type_, name)
    function.linkage = "internal"
    for attribute in ("noinline", "nounwind"):
        function.attributes.add(attribute)
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def _mended(b: ir.IRBuilder, x: ir.Value, result: ir.Value, finish: Finish) -> ir.Value:
    """`result`, or what `finish` makes of a large angle."""
    size = Lanes(b, x).call("fabs")
    before = b.block
    with b.if_then(b.and_((size >= LARGE_ANGLE).value, (size < math.inf).value)):
        value, inside = _finished(Lanes(b, x), finish).value, b.block
    joined = b.phi(x.type)
    joined.add_incoming(result, before)
    joined.add_incoming(value, inside)
    return joined


def _finished(x: Lanes, finish: Finish) -> Lanes:
    b, is_float = x.builder, x.element == FLOAT
    wide = x.convert("fpext", DOUBLE) if is_float else x
    parts = b.call(_reduction(b.module), [wide.value])
    n, r, rest = (Lanes(b, b.extract_value(parts, i)) for i in range(3))
    if is_float:
        return finish(x, n.convert("trunc", NARROW), r.convert("fptrunc", FLOAT))
    return finish(x, n, r, rest)


# ---- one angle

def _reduction(module: ir.Module) -> ir.Function:
    """``{i64 n, double r, double rest} reduce(double x)`` with x = n π/2 + r + rest, up to whole turns, and |r| <= π/4.
    """
    function, b = _function(module, "reduce_large_angle",
                            ir.FunctionType(ir.LiteralStructType([WORD, DOUBLE, DOUBLE]), [DOUBLE]))
    if b is not None:
        result = ir.Constant(function.ftype.return_type, ir.Undefined)
        for i, part in enumerate(_reduced(Lanes(b, function.args[0]))):
            result = b.insert_value(result, part.value, i)
        b.ret(result)
    return function


def _reduced(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    b = x.builder
    turns, sign = _quarter_turns(x), x.bits() >> (BITS - 1)
    n = (turns[0] + (1 << 61)).logical_right(62)
    # signed, in 2**-192 quarter turns
    fraction = [_funnel(b, turns[0], turns[1], 2), _funnel(b, turns[1], turns[2], 2), turns[2] << 2]
    below = fraction[0] >> (BITS - 1)
    fraction = [part ^ below for part in fraction]
    zeros = Lanes(b, b.ctlz(fraction[0].value, BIT(0)))
    first, second = (_funnel(b, one, two, zeros) for one, two in itertools.pairwise(fraction))
    scale = (((1023 - zeros) << 52) | ((sign ^ below) << (BITS - 1))).as_float()
    high = first.logical_right(11).convert("sitofp", DOUBLE) * scale * 2.0**-53
    low = (((first & 0x7FF) << 42) | second.logical_right(22)).convert("sitofp", DOUBLE) * scale * 2.0**-106
    half_pi, below_half_pi, _ = tables.HALF_PI_64
    product = high * half_pi
    rest = high.fma(half_pi, -product) + low.fma(half_pi, high * below_half_pi)
    r = product + rest
    return (n ^ sign) - sign, r, rest - (r - product)


def _quarter_turns(x: Lanes) -> list[Lanes]:
    """|x| 2/π modulo 4 as three words, the highest first; the point is after the first two bits."""
    b, fraction = x.builder, FORMATS["double"].fraction
    exponent = x.bits().logical_right(fraction) & 0x7FF
    significand = (x.bits() & (1 << fraction) - 1) | (1 << fraction)
    start = exponent - LOWEST_EXPONENT
    words = [_word(b, start.logical_right(6) + i) for i in range(4)]
    window = [_funnel(b, one, two, start & (BITS - 1)) for one, two in itertools.pairwise(words)]
    wide = ir.IntType(2 * BITS)
    product, total = [], Lanes(b, wide(0))
    for word in reversed(window):
        total = significand.convert("zext", wide) * word.convert("zext", wide) + total.logical_right(BITS)
        product.insert(0, total.convert("trunc", WORD))
    return product


def _word(b: ir.IRBuilder, number: Lanes) -> Lanes:
    count = len(tables.TWO_OVER_PI)
    return Lanes(b, b.extract_element(ir.Constant(ir.VectorType(WORD, count), list(tables.TWO_OVER_PI)), number.value))


def _funnel(b: ir.IRBuilder, high: Lanes, low: Lanes, count: Lanes | int) -> Lanes:
    """The upper word of two, shifted to the left by fewer than 64 places."""
    return Lanes(b, intrinsic(b, "fshl", high.value, low.value, high.like(count)))
