# SPDX-License-Identifier: Apache-2.0
"""Arrays of a program that depend on the sizes of free axes, because Python computed them: numbers, and arrays of a
form that can be computed.

An array is written if it is one number everywhere, counts along an axis, counts with a border (as the positions of a
reflected image do), or is a part of a larger one of its kind (a table of positions): the first elements, the last or
those in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, ChainruleError, explain, shown
from ..sizes import Sizes, fixed
from .lowering import Use, cast, counted
from .writer import Value

BORDER = 16  # elements at either end of an array that counts between


def constant(use: Use) -> Value:
    """An array of the program."""
    arrays = use.family.values(use.node, "value")
    if all(array is arrays[0] or (array.shape == arrays[0].shape and array.tobytes() == arrays[0].tobytes())
           for array in arrays[1:]):
        return Value(use.writer.constant(arrays[0]))
    if all(array.size and (array == array.flat[0]).all() for array in arrays):
        return Value(_number(use, [array.flat[0] for array in arrays]), arrays[0].ndim > 0)
    for form in (_counting, _bordered, _table):
        if (value := form(use, arrays)) is not None:
            return value
    raise ArgumentError(explain("an array that was computed in Python depends on the size of a free axis",
                                got=shown([a.shape for a in arrays]), expected="one that counts, or a part of a table",
                                fix="fix the sizes: cr.export(model, path, x, free=())", layer=use.node.layer))


# ---- numbers

def _number(use: Use, numbers: Sequence[Any]) -> str:
    """A number for each of the sizes: a linear function of extents, 1 / n, sqrt(n) or 1 / sqrt(n)."""
    dtype = use.dtype
    if all(number == numbers[0] for number in numbers):
        return use.writer.constant(numbers[0])
    if all(float(n).is_integer() for n in numbers):
        return cast(use.writer, use.add("Squeeze", use.writer.extent(tuple(map(int, numbers)))), dtype)
    for power in (-1.0, 2.0, -2.0):
        below = _near([float(number) ** power for number in numbers], dtype)
        if below is not None:
            name = cast(use.writer, use.add("Squeeze", use.writer.extent(below)), dtype)
            name = use.add("Sqrt", name) if abs(power) == 2 else name
            return use.add("Reciprocal", name) if power < 0 else name
    raise ArgumentError(explain("a number that was computed in Python depends on the size of a free axis",
                                got=shown(list(map(float, numbers))), layer=use.node.layer,
                                fix="fix the sizes: cr.export(model, path, x, free=())"))


def _near(numbers: Sequence[float], dtype: np.dtype) -> Sizes | None:
    """The integers that these are, but for rounding."""
    if dtype.kind != "f" or not all(0 < n < 2**31 for n in numbers):
        return None
    rounded = [round(n) for n in numbers]
    close = all(r and abs(n - r) <= 8 * np.finfo(dtype).eps * r for n, r in zip(numbers, rounded, strict=True))
    return tuple(rounded) if close else None


# ---- arrays

def _counting(use: Use, arrays: Sequence[np.ndarray]) -> Value | None:
    """start + step i along one axis, the same along the others."""
    extents = use.family.extents(use.node)
    for axis in range(arrays[0].ndim):
        rows = [np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in arrays]
        if any(len(row) < 2 or not (row == row[:, :1]).all() for row in rows):
            continue
        start, step = rows[0][0, 0], rows[0][1, 0] - rows[0][0, 0]
        if all((row[:, 0] == (start + np.arange(len(row)) * step).astype(row.dtype)).all() for row in rows):
            name = counted(use, extents[axis], arrays[0].ndim - axis - 1, use.dtype)
            name = use.add("Add", use.add("Mul", name, use.scalar(step, use.dtype)), use.scalar(start, use.dtype))
            return Value(name, arrays[0].ndim > 1)
    return None


def _bordered(use: Use, arrays: Sequence[np.ndarray]) -> Value | None:
    """Of integers: some that are linear in extents, then 0, 1, 2, … from one of them on, then some that are linear
    again."""
    if arrays[0].ndim != 1 or use.dtype.kind != "i":
        return None
    first, last = max(_before(a) for a in arrays), max(_before(a[::-1], -1) for a in arrays)
    middle = [len(a) - first - last for a in arrays]
    if first > BORDER or last > BORDER or min(middle) < 1:
        return None
    border = [a[:first] for a in arrays], [a[len(a) - last:] for a in arrays]
    start = tuple(int(a[first]) for a in arrays)
    ends = [[use.writer.extent(tuple(map(int, numbers))) for numbers in zip(*part, strict=True)] for part in border]
    counting = use.add("Range", use.scalar(0, np.int64), use.add("Squeeze", use.writer.extent(tuple(middle))),
                       use.scalar(1, np.int64))
    parts = [*ends[0], use.add("Add", counting, use.writer.extent(start)), *ends[1]]
    name = use.add("Concat", *parts, axis=0)
    return Value(name if use.dtype == np.int64 else cast(use.writer, name, use.dtype))


def _before(array: np.ndarray, step: int = 1) -> int:
    """How many elements come before the longest stretch of numbers in a row."""
    breaks = np.flatnonzero(np.diff(array) != step) + 1
    starts, ends = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(array)]])
    return int(starts[np.argmax(ends - starts)])


def _table(use: Use, arrays: Sequence[np.ndarray]) -> Value | None:
    """A part of the array that a long example has."""
    extents = use.family.extents(use.node)
    moving = [axis for axis, sizes in enumerate(extents) if not fixed(sizes)]
    if len(moving) != 1 or use.family.tables is None:
        return None
    (axis,) = moving
    table = _long(use)
    if table is None or table.shape[axis] < max(extents[axis]):
        return None
    for share in (0, 2, 1):  # of what is too much, the part that lies before: none, all, half
        if all(_is_part(table, array, axis, share) for array in arrays):
            return Value(_part(use, table, extents[axis], axis, share))
    return None


def _long(use: Use) -> np.ndarray | None:
    try:
        graphs = use.family.tables(use.writer.longest)  # type: ignore[misc]
    except ChainruleError:  # the model takes no such lengths
        return None
    return graphs.same[use.node][1].attrs["value"] if use.node in graphs.same else None


def _is_part(table: np.ndarray, array: np.ndarray, axis: int, share: int) -> bool:
    begin = (table.shape[axis] - array.shape[axis]) * share // 2
    part = np.take(table, np.arange(begin, begin + array.shape[axis]), axis=axis)
    return part.shape == array.shape and np.array_equal(part, array)


def _part(use: Use, table: np.ndarray, sizes: Sizes, axis: int, share: int) -> str:
    writer, name, count = use.writer, use.writer.constant(table), use.writer.extent(sizes)
    if share == 0:
        return use.add("Slice", name, writer.integers(0), count, writer.integers(axis))
    begin = use.add("Sub", writer.integers(table.shape[axis]), count)
    begin = use.add("Div", begin, writer.integers(2)) if share == 1 else begin
    places = use.add("Range", use.add("Squeeze", begin), use.add("Squeeze", use.add("Add", begin, count)),
                     use.scalar(1, np.int64))
    return use.add("Gather", name, places, axis=axis)
