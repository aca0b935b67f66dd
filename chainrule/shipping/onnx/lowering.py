# SPDX-License-Identifier: Apache-2.0
"""The dictionary of the ONNX format: each primitive as nodes of ONNX, opset 18.

A rule takes a `Use` (the node, its sizes and the writer) and the values of the operands, and returns the value of the
result, or several. Where ONNX has no numbers of 8, 16 or 32 bits without sign for an operation, it is computed in wider
integers, and cut to size again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain
from ...ir.node import Node, Type
from ...ops.packed import OFFSET
from ..sizes import Family, Sizes, fixed
from . import wire
from .writer import LAST, Value, Writer

WIDE = {"int8": "int32", "int16": "int32", "uint8": "int32", "uint16": "int32", "uint32": "int64"}


@dataclass(frozen=True)
class Use:
    """One node of the graph that is being written."""

    node: Node
    family: Family
    writer: Writer
    values: Mapping[Node, Any]

    @property
    def dtype(self) -> np.dtype:
        return self.node.dtype

    def operand(self, i: int) -> Type:
        """The type of an operand, for the first sizes."""
        return self.node.inputs[i].type

    def full(self, value: Value, i: int = 0) -> str:
        """The whole array of operand `i`."""
        return spread(self.writer, value, self.family.extents(self.node.inputs[i]))

    def add(self, kind: str, *inputs: str, **attributes: Any) -> Any:
        return self.writer.add(kind, *inputs, **attributes)

    def scalar(self, value: Any, dtype: Any) -> str:
        return self.writer.constant(np.array(value, dtype))


def spread(writer: Writer, value: Value, extents: Sequence[Sizes]) -> str:
    """A thin value written out."""
    return str(writer.add("Expand", value.name, writer.shape(extents))) if value.thin else value.name


def cast(writer: Writer, name: str, dtype: Any) -> str:
    """An array in another dtype."""
    return str(writer.add("Cast", name, to=wire.kind_of(dtype)))


Rule = Callable[..., Any]

# ---- elementwise


def elementwise(rule: Callable[..., str], wide: bool = True, narrow_result: bool = True) -> Rule:
    """A rule on names of arrays that broadcast; small integers come as wider ones, and go back to their size."""
    def apply(use: Use, *values: Value) -> Value:
        kinds = [use.operand(i).dtype for i in range(len(values))]
        to = WIDE.get(kinds[-1].name) if wide else None
        names = [cast(use.writer, value.name, to) if to and kind.name in WIDE else value.name
                 for value, kind in zip(values, kinds, strict=True)]
        name = rule(use, *names)
        if to and narrow_result and use.dtype.name in WIDE:
            name = cast(use.writer, name, use.dtype)
        return Value(name, all(value.thin for value in values))
    return apply


def plain(kind: str, **attributes: Any) -> Rule:
    """The ONNX operator of the same meaning."""
    return elementwise(lambda use, *names: use.add(kind, *names, **attributes))


def on_floats(kind: str) -> Rule:
    """The operator for floats; integers are round already."""
    return elementwise(lambda use, x: use.add(kind, x) if use.dtype.kind == "f" else x, wide=False)


def logical(word: str) -> Rule:
    """The operator of booleans, or that of bits."""
    return elementwise(lambda use, *names: use.add(word if use.dtype.kind == "b" else f"Bitwise{word}", *names),
                       wide=False)


def compared(kind: str) -> Rule:
    """A comparison; booleans as numbers."""
    def rule(use: Use, a: str, b: str) -> str:
        if use.operand(0).dtype.kind == "b":
            a, b = (cast(use.writer, x, "int32") for x in (a, b))
        return use.add(kind, a, b)
    return elementwise(rule, narrow_result=False)


def _not(use: Use, x: str) -> str:
    return use.add("Not" if use.dtype.kind == "b" else "BitwiseNot", x)


def extreme(kind: str) -> Rule:
    """Max or Min of two arrays; of booleans, or and and."""
    def rule(use: Use, a: str, b: str) -> str:
        if use.dtype.kind == "b":
            return use.add("Or" if kind == "Max" else "And", a, b)
        return use.add(kind, a, b)
    return elementwise(rule)


def by_booleans(kind: str) -> Rule:
    """Add and Mul, also of booleans: or and and."""
    def rule(use: Use, a: str, b: str) -> str:
        if use.dtype.kind == "b":
            return use.add("Or" if kind == "Add" else "And", a, b)
        return use.add(kind, a, b)
    return elementwise(rule)


def _expm1(use: Use, x: str) -> str:
    """tanh(x / 2) (e^x + 1), without the cancellation of e^x - 1; large x, where it is infinity, as e^x."""
    half = use.add("Tanh", use.add("Mul", x, use.scalar(0.5, use.dtype)))
    return use.add("Mul", half, use.add("Add", use.add("Exp", x), use.scalar(1, use.dtype)))


def _log1p(use: Use, x: str) -> str:
    """log(u) x / (u - 1) with u = 1 + x rounded (Kahan), and x where u is 1."""
    one = use.scalar(1, use.dtype)
    u = use.add("Add", x, one)
    low = use.add("Sub", u, one)
    special = use.add("Or", use.add("Equal", low, use.scalar(0, use.dtype)), use.add("IsInf", u))
    safe = use.add("Where", special, one, low)
    near = use.add("Where", use.add("Equal", low, use.scalar(0, use.dtype)), x, use.add("Log", u))
    return use.add("Where", special, near, use.add("Mul", use.add("Log", u), use.add("Div", x, safe)))


def _log(base: float) -> Rule:
    return elementwise(lambda use, x: use.add("Mul", use.add("Log", x), use.scalar(1 / math.log(base), use.dtype)))


def _atan2(use: Use, y: str, x: str) -> str:
    """By the arctangent of a quotient and the quadrant, with the signs of zeros."""
    scalar = lambda value: use.scalar(value, use.dtype)
    less = lambda a: use.add("Less", a, scalar(0))
    zero = lambda a: use.add("Equal", a, scalar(0))
    negative = lambda a: use.add("Or", less(a), use.add("And", zero(a), less(use.add("Div", scalar(1), a))))
    both = use.add("And", use.add("IsInf", x), use.add("IsInf", y))
    still = use.add("Or", both, use.add("And", zero(x), zero(y)))
    sign = use.add("Where", negative(y), scalar(-1), scalar(1))
    magnitude = use.add("Where", both, scalar(1),
                        use.add("Where", still, scalar(0), use.add("Abs", use.add("Div", y, x))))
    angle = use.add("Atan", magnitude)
    angle = use.add("Where", negative(x), use.add("Sub", scalar(math.pi), angle), angle)
    missing = use.add("Or", use.add("IsNaN", x), use.add("IsNaN", y))
    return use.add("Where", missing, scalar(math.nan), use.add("Mul", sign, angle))


def _zero_guard(use: Use, b: str) -> tuple[str, str]:
    """(where b is 0, b without zeros)."""
    kind = WIDE.get(use.dtype.name, use.dtype.name)
    zero = use.add("Equal", b, use.scalar(0, kind))
    return zero, use.add("Where", zero, use.scalar(1, kind), b)


def _modulo(use: Use, a: str, b: str) -> str:
    """Of floats: C's remainder, moved to the sign of the divisor."""
    zero = use.scalar(0, use.dtype)
    rest = use.add("Mod", a, b, fmod=1)
    apart = use.add("Xor", use.add("Less", rest, zero), use.add("Less", b, zero))
    moved = use.add("And", apart, use.add("Not", use.add("Equal", rest, zero)))
    return use.add("Where", moved, use.add("Add", rest, b), rest)


def _remainder(use: Use, a: str, b: str) -> str:
    if use.dtype.kind == "f":
        return _modulo(use, a, b)
    zero, safe = _zero_guard(use, b)
    return use.add("Where", zero, use.scalar(0, WIDE.get(use.dtype.name, use.dtype.name)), use.add("Mod", a, safe))


def _floor_divide(use: Use, a: str, b: str) -> str:
    """NumPy's: integers by 0 give 0, floats by 0 give a / b."""
    if use.dtype.kind == "f":
        quotient = use.add("Div", use.add("Sub", a, _modulo(use, a, b)), b)
        floor = use.add("Floor", quotient)
        up = use.add("Less", use.scalar(0.5, use.dtype), use.add("Sub", quotient, floor))
        floor = use.add("Where", up, use.add("Add", floor, use.scalar(1, use.dtype)), floor)
        return use.add("Where", use.add("Equal", b, use.scalar(0, use.dtype)), use.add("Div", a, b), floor)
    zero, safe = _zero_guard(use, b)
    exact = use.add("Div", use.add("Sub", a, use.add("Mod", a, safe)), safe)
    return use.add("Where", zero, use.scalar(0, WIDE.get(use.dtype.name, use.dtype.name)), exact)


def _shift(use: Use, a: str, b: str, direction: str) -> str:
    """BitShift takes numbers without sign; negative ones are shifted to the right as what their bits turned are."""
    unsigned = "uint64" if use.dtype.itemsize == 8 else "uint32"
    bits = cast(use.writer, a, unsigned)
    count = cast(use.writer, b, unsigned)
    shifted = use.add("BitShift", bits, count, direction=direction)
    if direction == "RIGHT" and use.dtype.kind == "i":
        below = use.add("BitwiseNot", use.add("BitShift", use.add("BitwiseNot", bits), count, direction=direction))
        return use.add("Where", use.add("Less", a, use.scalar(0, use.dtype)),
                       *(cast(use.writer, x, use.dtype) for x in (below, shifted)))
    return cast(use.writer, shifted, use.dtype)


def _where(use: Use, condition: str, a: str, b: str) -> str:
    """Of booleans in other words, which ONNX Runtime has."""
    if use.dtype.kind != "b":
        return use.add("Where", condition, a, b)
    return use.add("Or", use.add("And", condition, a), use.add("And", use.add("Not", condition), b))


def _power(use: Use, a: str, b: str) -> str:
    return use.add("Pow", a, b)


def _sign(use: Use, x: str) -> str:
    if use.dtype.kind != "f":
        return use.add("Sign", x)
    return use.add("Where", use.add("IsNaN", x), x, use.add("Sign", x))


def _cast(use: Use, value: Value) -> Value:
    return Value(cast(use.writer, value.name, use.dtype), value.thin)


def _bfloat16(use: Use, value: Value) -> Value:
    return Value(cast(use.writer, cast(use.writer, value.name, "bfloat16"), use.dtype), value.thin)


# ---- movement

def _reshape(use: Use, x: Value) -> Value:
    return Value(use.add("Reshape", use.full(x), _wanted(use)), False)


def _wanted(use: Use) -> str:
    """The shape of the result, one extent as -1 where it saves computing it."""
    extents = use.family.extents(use.node)
    moving = [i for i, sizes in enumerate(extents) if not fixed(sizes)]
    if len(moving) == 1 and all(extents[i][0] for i in range(len(extents)) if i != moving[0]):
        return use.writer.integers(*(-1 if i in moving else sizes[0] for i, sizes in enumerate(extents)))
    return use.writer.shape(extents)


def _transpose(use: Use, x: Value) -> Value:
    return Value(use.writer.transposed(use.full(x), use.node.attrs["axes"]))


def _slice(use: Use, x: Value) -> Value:
    starts, counts, steps = (use.family.numbers(use.node, name) for name in ("start", "count", "step"))
    whole = use.family.extents(use.node.inputs[0])
    axes = [i for i in range(len(whole)) if counts[i] != whole[i] or steps[i][0] != 1]
    if not all(fixed(steps[i]) for i in axes):
        raise _unwritten(use, "the step of a slice depends on a free axis")
    ends = [tuple(a + n * d if n else a for a, n, d in zip(starts[i], counts[i], steps[i], strict=True)) for i in axes]
    stops = [_stop(use, end, whole[i]) for end, i in zip(ends, axes, strict=True)]
    begins = [use.writer.extent(starts[i]) for i in axes]
    parts = [_joined(use, parts) for parts in (begins, stops)]
    return Value(use.add("Slice", use.full(x), *parts, use.writer.integers(*axes),
                         use.writer.integers(*(steps[i][0] for i in axes))))


def _stop(use: Use, end: Sizes, extent: Sizes) -> str:
    if all(n < 0 for n in end):
        return use.writer.integers(-LAST)
    return (use.writer.integers(LAST) if all(n >= m for n, m in zip(end, extent, strict=True))
            else use.writer.extent(end))


def _joined(use: Use, parts: list[str]) -> str:
    if all(part in use.writer.root.tensors for part in parts):
        return use.writer.integers(*(int(use.writer.root.tensors[part][0]) for part in parts))
    return parts[0] if len(parts) == 1 else use.add("Concat", *parts, axis=0)


def _unwritten(use: Use, what: str) -> ArgumentError:
    return ArgumentError(explain(what, got=use.node.op.name, layer=use.node.layer,
                                 fix="fix the sizes: cr.export(model, path, x, free=())"))


def _pad(use: Use, x: Value) -> Value:
    low, high, interior = (use.family.numbers(use.node, name) for name in ("low", "high", "interior"))
    value = use.node.attrs["value"]
    name = use.full(x)
    whole = use.family.extents(use.node.inputs[0])
    for axis, gap in enumerate(interior):
        if any(gap):
            name = _spaced(use, name, whole, axis, gap, value)
    return Value(padded(use, name, low, high, value))


def padded(use: Use, name: str, low: Sequence[Sizes], high: Sequence[Sizes], value: float, dtype: Any = None) -> str:
    """An array with (low, high) more elements along each axis; small integers and booleans in int32."""
    if not any(map(any, (*low, *high))):
        return name
    dtype = np.dtype(dtype or use.dtype)
    to = "int32" if dtype.kind == "b" else WIDE.get(dtype.name, dtype.name)
    if to != dtype.name:
        name = cast(use.writer, name, to)
    name = use.add("Pad", name, use.writer.shape([*low, *high]), use.scalar(value, to), mode="constant")
    return cast(use.writer, name, dtype) if to != dtype.name else name


def _spaced(use: Use, name: str, extents: Sequence[Sizes], axis: int, gap: Sizes, value: float) -> str:
    """(n,) as (n, 1), padded to (n, gap + 1), and as (n (gap + 1),) without the last gap."""
    if not fixed(gap):
        raise _unwritten(use, "the gaps of a padding depend on a free axis")
    if 0 in extents[axis]:
        return name
    whole = list(_shape_now(use, extents, axis, gap))
    name = use.add("Unsqueeze", name, use.writer.integers(axis + 1))
    zeros = [(0,) * len(gap)] * (len(extents) + 1)
    after = [gap if i == axis + 1 else zero for i, zero in enumerate(zeros)]
    name = padded(use, name, zeros, after, value)
    name = use.add("Reshape", name, use.writer.shape(whole))
    return use.add("Slice", name, use.writer.integers(0), use.writer.integers(-gap[0]), use.writer.integers(axis))


def _shape_now(use: Use, extents: Sequence[Sizes], axis: int, gap: Sizes) -> Sequence[Sizes]:
    """The shape with the gaps of the axes up to this one: spans for those before, one gap too many for this."""
    interior = use.family.numbers(use.node, "interior")
    spans = [tuple((n - 1) * (g + 1) + 1 for n, g in zip(sizes, interior[i], strict=True)) if i < axis else sizes
             for i, sizes in enumerate(extents)]
    spans[axis] = tuple(n * (g + 1) for n, g in zip(extents[axis], gap, strict=True))
    return spans


def _concat(use: Use, *parts: Value) -> Value:
    names = [use.full(part, i) for i, part in enumerate(parts)]
    return Value(use.add("Concat", *names, axis=use.node.attrs["axis"]))


def _broadcast(use: Use, x: Value) -> Value:
    return Value(x.name, True)


def _window(use: Use, x: Value) -> Value:
    """By positions: (count, kernel) of them for each axis, and the axis of the kernel moved to the end."""
    attrs, name, rank = use.node.attrs, use.full(x), len(use.operand(0).shape)
    counts = use.family.extents(use.node)
    for axis, k, s, d in zip(attrs["axes"], attrs["kernel"], attrs["stride"], attrs["dilation"], strict=True):
        count = _window_count(use, name, axis, counts[axis], (k - 1) * d + 1, s)
        first = use.add("Range", use.scalar(0, "int64"), use.add("Squeeze", count), use.scalar(1, "int64"))
        first = use.add("Unsqueeze", use.add("Mul", first, use.scalar(s, "int64")), use.writer.integers(1))
        places = use.add("Add", first, use.writer.constant(np.arange(k, dtype=np.int64) * d))
        name = use.add("Gather", name, places, axis=axis)
        order = [*(i for i in range(rank + 1) if i != axis + 1), axis + 1]
        name, rank = use.writer.transposed(name, order), rank + 1
    return Value(name)


def _window_count(use: Use, name: str, axis: int, sizes: Sizes, span: int, stride: int) -> str:
    """(n - span) // stride + 1: a floor, which no line through sizes is."""
    if fixed(sizes):
        return use.writer.integers(sizes[0])
    extent = use.add("Sub", use.add("Shape", name, start=axis, end=axis + 1), use.writer.integers(span - stride))
    return use.writer.teach(sizes, use.add("Div", extent, use.writer.integers(stride)) if stride > 1 else extent)


def _unwindow(use: Use, x: Value) -> Value:
    """The sum over the places of a kernel of what lies there, spread over the image."""
    attrs, name = use.node.attrs, use.full(x)
    axes, kernel, rank = attrs["axes"], attrs["kernel"], len(use.node.shape)
    extents, counts = use.family.extents(use.node), use.family.extents(use.node.inputs[0])
    zero = (0,) * len(extents[0]) if extents else (0,)
    total = None
    for offsets in np.ndindex(*kernel):
        part = name
        for i in reversed(range(len(kernel))):
            part = use.add("Gather", part, use.scalar(offsets[i], "int64"), axis=rank + i)
        low, high = [zero] * rank, [zero] * rank
        now = list(counts[:rank])
        for axis, k, s, d in zip(axes, offsets, attrs["stride"], attrs["dilation"], strict=True):
            if 0 in counts[axis]:
                continue
            part, now[axis] = _apart(use, part, now, axis, s)
            low[axis] = (k * d,) * len(zero)
            high[axis] = tuple(n - m - k * d for n, m in zip(extents[axis], now[axis], strict=True))
        part = padded(use, part, low, high, 0)
        total = part if total is None else _added(use, total, part)
    return Value(total if total is not None else name)


def _added(use: Use, a: str, b: str) -> str:
    to = WIDE.get(use.dtype.name)
    if to is None:
        return use.add("Add", a, b)
    return cast(use.writer, use.add("Add", *(cast(use.writer, x, to) for x in (a, b))), use.dtype)


def _apart(use: Use, name: str, extents: list[Sizes], axis: int, step: int) -> tuple[str, Sizes]:
    """The elements along an axis `step` apart, zeros between."""
    n = extents[axis]
    if step == 1:
        return name, n
    zeros = [(0,) * len(n)] * (len(extents) + 1)
    after = [(step - 1,) * len(n) if i == axis + 1 else zero for i, zero in enumerate(zeros)]
    name = padded(use, use.add("Unsqueeze", name, use.writer.integers(axis + 1)), zeros, after, 0)
    whole = [tuple(m * step for m in n) if i == axis else sizes for i, sizes in enumerate(extents)]
    name = use.add("Reshape", name, use.writer.shape(whole))
    name = use.add("Slice", name, use.writer.integers(0), use.writer.integers(1 - step), use.writer.integers(axis))
    return name, tuple(m * step - step + 1 for m in n)


# ---- reductions

def reduced(kind: str, of_windows: str) -> Rule:
    """A reduction over axes; over the windows of an image, a pooling."""
    def rule(use: Use, x: Value) -> Value:
        pool = _pooled(use, of_windows)
        if pool is not None:
            return pool
        dtype = use.operand(0).dtype
        to = "int32" if dtype.kind == "b" else WIDE.get(dtype.name)
        name = use.full(x)
        name = cast(use.writer, name, to) if to else name
        name = (use.add(kind, name, use.writer.integers(*use.node.attrs["axes"]), keepdims=0) if use.node.attrs["axes"]
                else name)
        return Value(cast(use.writer, name, dtype) if to else name)
    return rule


def _pooled(use: Use, kind: str) -> Value | None:
    """MaxPool or AveragePool for the largest or the sum of each window of an image (N, *S, C) of floats."""
    window, rank = use.node.inputs[0], len(use.node.shape)
    if window.op.name != "window" or use.dtype != np.float32 or window.inputs[0] not in use.values:
        return None
    attrs, last = window.attrs, tuple(range(rank, rank + len(window.attrs["axes"])))
    if (
        attrs["axes"] != tuple(range(1, rank - 1))
        or use.node.attrs["axes"] != last
        or len(last) > 3
        or 0 in use.node.shape[1:]
    ):
        return None
    if kind == "AveragePool" and any(d != 1 for d in attrs["dilation"]):
        return None
    image = spread(use.writer, use.values[window.inputs[0]], use.family.extents(window.inputs[0]))
    options = {"dilations": attrs["dilation"]} if kind == "MaxPool" else {}
    name = use.add(kind, use.writer.transposed(image, first_channels(rank)), kernel_shape=attrs["kernel"],
                   strides=attrs["stride"], **options)
    if kind == "AveragePool":
        name = use.add("Mul", name, use.scalar(math.prod(attrs["kernel"]), np.float32))
    return Value(use.writer.transposed(name, last_channels(rank)))


def first_channels(rank: int) -> list[int]:
    """(N, *S, C) → (N, C, *S)."""
    return [0, rank - 1, *range(1, rank - 1)]


def last_channels(rank: int) -> list[int]:
    """(N, C, *S) → (N, *S, C)."""
    return [0, *range(2, rank), 1]


def positions(kind: str) -> Rule:
    """The index of an extreme."""
    def rule(use: Use, x: Value) -> Value:
        dtype = use.operand(0).dtype
        to = "int32" if dtype.kind == "b" else WIDE.get(dtype.name)
        name = use.full(x)
        name = cast(use.writer, name, to) if to else name
        return Value(use.add(kind, name, axis=use.node.attrs["axis"], keepdims=0))
    return rule


def _cumsum(use: Use, x: Value) -> Value:
    to = WIDE.get(use.dtype.name)
    name = cast(use.writer, use.full(x), to) if to else use.full(x)
    name = use.add("CumSum", name, use.scalar(use.node.attrs["axis"], "int64"))
    return Value(cast(use.writer, name, use.dtype) if to else name)


# ---- products

def _contract(use: Use, a: Value, b: Value) -> Value:
    """A MatMul where the axes allow it, else an Einsum."""
    names = [use.full(a, 0), use.full(b, 1)]
    to = "int32" if use.dtype.kind == "b" else WIDE.get(use.dtype.name)
    names = [cast(use.writer, name, to) for name in names] if to else names
    name = _product(use, *names)
    return Value(cast(use.writer, name, use.dtype) if to else name)


def _product(use: Use, a: str, b: str) -> str:
    contracting, batch = use.node.attrs["contracting"], use.node.attrs["batch"]
    ranks = len(use.operand(0).shape), len(use.operand(1).shape)
    free = [[i for i in range(rank) if i not in taken and i not in shared]
            for rank, taken, shared in zip(ranks, contracting, batch, strict=True)]
    if len(contracting[0]) == 1 and len(free[1]) == 1 and (len(free[0]) == 1 or (not batch[0] and free[0])):
        a = use.writer.transposed(a, [*batch[0], *free[0], *contracting[0]])
        return use.add("MatMul", a, use.writer.transposed(b, [*batch[1], *contracting[1], *free[1]]))
    return use.add("Einsum", a, b, equation=_equation(ranks, contracting, batch, free))


def _packed_product(use: Use, x: Value, integers: Value, scale: Value) -> Value:
    """The integers as floats, times their scales, and a MatMul: they stay small in the file."""
    (rows, columns), (groups, _) = use.family.extents(use.node.inputs[1]), use.family.extents(use.node.inputs[2])
    bits, name = use.node.attrs["bits"], use.full(integers, 1)
    if bits == 4:
        low = use.add("BitwiseAnd", name, use.scalar(15, "uint8"))
        name = use.add("Concat", low, use.add("BitShift", name, use.scalar(4, "uint8"), direction="RIGHT"), axis=0)
        rows = tuple(2 * n for n in rows)
    numbers = cast(use.writer, name, use.dtype)
    numbers = use.add("Sub", numbers, use.scalar(OFFSET, use.dtype)) if bits == 4 else numbers
    size = tuple(n // g if g else 0 for n, g in zip(rows, groups, strict=True))
    grouped = use.add("Reshape", numbers, use.writer.shape((groups, size, columns)), allowzero=1)
    weight = use.add("Mul", grouped, use.add("Unsqueeze", use.full(scale, 2), use.writer.integers(1)))
    return Value(use.add("MatMul", use.full(x, 0), use.add("Reshape", weight, use.writer.shape((rows, columns)),
                                                           allowzero=1)))


def _equation(ranks: tuple[int, int], contracting: Any, batch: Any, free: list[list[int]]) -> str:
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    words = [[""] * ranks[0], [""] * ranks[1]]
    for pairs in (batch, contracting):
        for i, j in zip(*pairs, strict=True):
            words[0][i] = words[1][j] = next(letters)
    for word, axes in zip(words, free, strict=True):
        for i in axes:
            word[i] = next(letters)
    result = [words[0][i] for i in batch[0]] + [words[0][i] for i in free[0]] + [words[1][i] for i in free[1]]
    return f"{''.join(words[0])},{''.join(words[1])}->{''.join(result)}"


def _cropped(use: Use, name: str, padding: Any, rank: int, first: int) -> str:
    """Without what a negative padding takes away."""
    low, high = [max(-a, 0) for a, _ in padding], [max(-b, 0) for _, b in padding]
    if not any((*low, *high)):
        return name
    axes = range(first, first + len(low))
    ends = [-b if b else LAST for b in high]
    return use.add("Slice", name, use.writer.integers(*low), use.writer.integers(*ends), use.writer.integers(*axes))


def _convolution(use: Use, x: str, w: str, rank: int, stride: Any, padding: Any, dilation: Any, groups: int) -> str:
    """Conv of an image (N, *S, C) and a filter (*K, C, O)."""
    x = _cropped(use, x, padding, rank, 1)
    pads = [max(a, 0) for a, _ in padding] + [max(b, 0) for _, b in padding]
    image = use.writer.transposed(x, first_channels(rank))
    filters = use.writer.transposed(w, [rank - 1, rank - 2, *range(rank - 2)])
    y = use.add("Conv", image, filters, strides=stride, pads=pads, dilations=dilation, group=groups)
    return use.writer.transposed(y, last_channels(rank))


def _conv(use: Use, x: Value, w: Value) -> Value:
    attrs = use.node.attrs
    padding = tuple(tuple(map(_still(use), pair)) for pair in zip(*[iter(_flat(use, "padding"))] * 2, strict=True))
    rank = len(use.node.shape)
    return Value(_convolution(use, use.full(x, 0), use.full(w, 1), rank, attrs["stride"], padding, attrs["dilation"],
                              attrs["groups"]))


def _flat(use: Use, name: str) -> list[Sizes]:
    """The sizes of an attribute of pairs, one after the other."""
    return list(zip(*(tuple(n for pair in value for n in pair) for value in use.family.values(use.node, name)),
                    strict=True))


def _still(use: Use) -> Callable[[Sizes], int]:
    def number(sizes: Sizes) -> int:
        if not fixed(sizes):
            raise _unwritten(use, "the padding of a convolution depends on a free axis")
        return sizes[0]
    return number


def _conv_input_gradient(use: Use, g: Value, w: Value) -> Value:
    """ConvTranspose, then padded or cut to the extents."""
    attrs, rank = use.node.attrs, len(use.node.shape)
    kernel = use.operand(1).shape[:-2]
    image = use.writer.transposed(use.full(g, 0), first_channels(rank))
    filters = use.writer.transposed(use.full(w, 1), [rank - 1, rank - 2, *range(rank - 2)])
    whole = use.add("ConvTranspose", image, filters, strides=attrs["stride"], dilations=attrs["dilation"],
                    group=attrs["groups"])
    outputs, extents = use.family.extents(use.node.inputs[0])[1:-1], use.family.extents(use.node)[1:-1]
    low, high = [], []
    for n, m, k, s, d, (a, _) in zip(outputs, extents, kernel, attrs["stride"], attrs["dilation"], attrs["padding"],
                                     strict=True):
        spans = [(i - 1) * s + (k - 1) * d + 1 for i in n]
        low.append((-a,) * len(n))
        high.append(tuple(j + a - span for j, span in zip(m, spans, strict=True)))
    zero = (0,) * len(outputs[0])
    whole = padded(use, whole, [zero, zero, *low], [zero, zero, *high], 0.0)
    return Value(use.writer.transposed(whole, last_channels(rank)))


def _conv_filter_gradient(use: Use, x: Value, g: Value) -> Value:
    """A convolution in which samples are channels, strides are dilations, and the outputs are the filter."""
    attrs, rank = use.node.attrs, len(use.operand(0).shape)
    kernel, groups = attrs["kernel"], attrs["groups"]
    image, out = use.full(x, 0), use.full(g, 1)
    parts = [_one_filter(use, image, out, rank, kernel, i) for i in range(groups)]
    return Value(parts[0] if groups == 1 else use.add("Concat", *parts, axis=rank - 1))


def _one_filter(use: Use, image: str, out: str, rank: int, kernel: Any, group: int) -> str:
    attrs, groups = use.node.attrs, use.node.attrs["groups"]
    part = lambda name, i: _channels(use, name, use.operand(i).shape[-1] // groups, group, rank) if groups > 1 else name
    image = _cropped(use, part(image, 0), attrs["padding"], rank, 1)
    pads = [max(a, 0) for a, _ in attrs["padding"]] + [max(b, 0) for _, b in attrs["padding"]]
    image = use.writer.transposed(image, [rank - 1, 0, *range(1, rank - 1)])
    filters = use.writer.transposed(part(out, 1), [rank - 1, 0, *range(1, rank - 1)])
    y = use.add("Conv", image, filters, strides=attrs["dilation"], dilations=attrs["stride"], pads=pads)
    axes = range(2, rank)
    y = use.add("Slice", y, use.writer.integers(*(0 for _ in kernel)), use.writer.integers(*kernel),
                use.writer.integers(*axes))
    return use.writer.transposed(y, [*axes, 0, 1])


def _channels(use: Use, name: str, count: int, group: int, rank: int) -> str:
    return use.add("Slice", name, use.writer.integers(group * count), use.writer.integers((group + 1) * count),
                   use.writer.integers(rank - 1))


# ---- positions

def _take(use: Use, x: Value, indices: Value) -> Value:
    places = use.full(indices, 1)
    if use.operand(1).dtype.name not in ("int32", "int64"):
        places = cast(use.writer, places, "int64")
    return Value(use.add("Gather", use.full(x, 0), places, axis=use.node.attrs["axis"]))


def _scatter(use: Use, base: Value, indices: Value, updates: Value) -> Value:
    """ScatterND along the first axis; what goes out of bounds is written into one more row, which is cut off."""
    axis, drop = use.node.attrs["axis"], use.node.attrs.get("drop", False)
    rank, several = len(use.operand(0).shape), len(use.operand(1).shape)
    extent = use.family.extents(use.node)[axis]
    places = cast(use.writer, use.full(indices, 1), "int64")
    target = use.writer.transposed(use.full(base, 0), [axis, *(i for i in range(rank) if i != axis)])
    moved = [*range(axis, axis + several), *range(axis), *range(axis + several, rank + several - 1)]
    values = use.writer.transposed(use.full(updates, 2), moved)
    to = "int32" if use.dtype.kind == "b" else WIDE.get(use.dtype.name)
    if to:
        target, values = cast(use.writer, target, to), cast(use.writer, values, to)
    size = use.writer.extent(extent)
    places = use.add("Where", use.add("Less", places, use.scalar(0, "int64")), use.add("Add", places, size), places)
    if drop:
        outside = use.add("Or", use.add("Less", places, use.scalar(0, "int64")),
                          use.add("Less", use.add("Sub", size, use.scalar(1, "int64")), places))
        places = use.add("Where", outside, size, places)
        widths = np.zeros(2 * rank, np.int64)
        widths[rank] = 1
        target = use.add("Pad", target, use.writer.constant(widths), use.scalar(0, to or use.dtype), mode="constant")
    reduction = {"reduction": "add"} if use.node.attrs["mode"] == "add" else {}
    name = use.add("ScatterND", target, use.add("Unsqueeze", places, use.writer.integers(several)), values, **reduction)
    name = (use.add("Slice", name, use.writer.integers(0), use.writer.integers(-1), use.writer.integers(0)) if drop
            else name)
    name = cast(use.writer, name, use.dtype) if to else name
    return Value(use.writer.transposed(name, [*range(1, axis + 1), 0, *range(axis + 1, rank)]))


def ordered(result: int) -> Rule:
    """Sorted values (0) or their places (1), by TopK, which keeps the order of equals."""
    def rule(use: Use, x: Value) -> Value:
        dtype, axis = use.operand(0).dtype, use.node.attrs["axis"]
        to = "int32" if dtype.kind == "b" else WIDE.get(dtype.name)
        name = cast(use.writer, use.full(x), to) if to else use.full(x)
        count = use.writer.extent(use.family.extents(use.node)[axis])
        name = use.add("TopK", name, count, axis=axis, largest=0, sorted=1, outputs=2)[result]
        return Value(cast(use.writer, name, dtype) if to and result == 0 else name)
    return rule


def _iota(use: Use) -> Value:
    extents, axis, dtype = use.family.extents(use.node), use.node.attrs["axis"], use.dtype
    return Value(counted(use, extents[axis], len(extents) - axis - 1, dtype), len(extents) > 1)


def counted(use: Use, sizes: Sizes, after: int, dtype: Any) -> str:
    """0, 1, 2, … along an axis that has so many others after it."""
    if fixed(sizes):
        return use.writer.constant(np.arange(sizes[0]).astype(dtype).reshape(-1, *(1,) * after))
    name = use.add("Range", use.scalar(0, "int64"), use.add("Squeeze", use.writer.extent(sizes)),
                   use.scalar(1, "int64"))
    name = name if dtype == np.int64 else cast(use.writer, name, dtype)
    return use.add("Unsqueeze", name, use.writer.integers(*range(1, after + 1))) if after else name


def _first(use: Use, y: Value, *_: Value) -> Value:
    return y


RULES: dict[str, Rule] = {
    "require": _first,

    "neg":   plain("Neg"),
    "abs":   plain("Abs"),
    "sign":  elementwise(_sign),
    "exp":   plain("Exp"),
    "expm1": elementwise(_expm1),
    "log":   plain("Log"),
    "log1p": elementwise(_log1p),
    "log2":  _log(2),
    "log10": _log(10),
    "sqrt":  plain("Sqrt"),
    "sin":   plain("Sin"),
    "cos":   plain("Cos"),
    "tan":   plain("Tan"),
    "asin":  plain("Asin"),
    "acos":  plain("Acos"),
    "sinh":  plain("Sinh"),
    "cosh":  plain("Cosh"),
    "tanh":  plain("Tanh"),
    "asinh": plain("Asinh"),
    "acosh": plain("Acosh"),
    "atanh": plain("Atanh"),
    "erf":   plain("Erf"),
    "floor": on_floats("Floor"),
    "ceil":  on_floats("Ceil"),
    "round": on_floats("Round"),
    "not":   elementwise(_not, wide=False),

    "add": by_booleans("Add"),
    "sub": plain("Sub"),
    "mul": by_booleans("Mul"),
    "div": plain("Div"),
    "pow": elementwise(_power),
    "maximum": extreme("Max"),
    "minimum": extreme("Min"),
    "atan2":   elementwise(_atan2),
    "floor_divide": elementwise(_floor_divide),
    "remainder":    elementwise(_remainder),
    "and": logical("And"),
    "or":  logical("Or"),
    "xor": logical("Xor"),
    "shift_left":  elementwise(lambda use, a, b: _shift(use, a, b, "LEFT"), wide=False),
    "shift_right": elementwise(lambda use, a, b: _shift(use, a, b, "RIGHT"), wide=False),
    "equal":      compared("Equal"),
    "less":       compared("Less"),
    "less_equal": compared("LessOrEqual"),
    "where":   elementwise(_where, wide=False),
    "cast":    _cast,
    "bfloat16": _bfloat16,

    "reshape":   _reshape,
    "transpose": _transpose,
    "slice":     _slice,
    "pad":       _pad,
    "concat":    _concat,
    "window":    _window,
    "unwindow":  _unwindow,
    "broadcast": _broadcast,

    "sum":    reduced("ReduceSum", "AveragePool"),
    "max":    reduced("ReduceMax", "MaxPool"),
    "min":    reduced("ReduceMin", ""),
    "argmax": positions("ArgMax"),
    "argmin": positions("ArgMin"),
    "cumsum": _cumsum,

    "contract":             _contract,
    "packed_product":       _packed_product,
    "conv":                 _conv,
    "conv_input_gradient":  _conv_input_gradient,
    "conv_filter_gradient": _conv_filter_gradient,

    "custom_gradient": _first,
    "barrier":         _first,

    "take":    _take,
    "scatter": _scatter,
    "sort":    ordered(0),
    "argsort": ordered(1),
    "iota":    _iota,
}
