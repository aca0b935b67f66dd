# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements, make arrays, and choose by position."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ... import arrays as xp
from ...ops.elementwise import bitcast
from ...ops.index import scatter
from ...ops.movement import flip, slice_axis
from .elementwise import elementwise_positions
from .words import Call, axes_of, tensor, word

# ---- shapes


@word("Shape")
def _shape(call: Call, x: Any) -> Any:
    shape = np.array(np.shape(x), np.int64)
    return shape[slice(call.get("start", 0), call.get("end"))]


@word("Size")
def _size(call: Call, x: Any) -> Any:
    return np.array(math.prod(np.shape(x)), np.int64)


@word("Reshape")
def _reshape(call: Call, x: Any, shape: Any = None) -> Any:
    x, wanted = tensor(x), call.integers(shape, "the shape") if shape is not None else tuple(call.get("shape"))
    if not call.get("allowzero", 0):
        wanted = tuple(x.shape[i] if n == 0 else n for i, n in enumerate(wanted))
    return xp.reshape(x, wanted if x.size else _of_nothing(x.shape, wanted))


def _of_nothing(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    rest = math.prod(n for n in wanted if n != -1)
    return tuple((math.prod(shape) // rest if rest else 0) if n == -1 else n for n in wanted)


@word("Flatten")
def _flatten(call: Call, x: Any) -> Any:
    x, axis = tensor(x), call.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return xp.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@word("Transpose")
def _transpose(call: Call, x: Any) -> Any:
    x = tensor(x)
    return xp.permute_dims(x, call.get("perm", list(reversed(range(x.ndim)))))


def _given_axes(call: Call, axes: Any) -> list[int] | None:
    return list(call.integers(axes, "the axes")) if axes is not None else call.get("axes")


@word("Squeeze")
def _squeeze(call: Call, x: Any, axes: Any = None) -> Any:
    x = tensor(x)
    given = _given_axes(call, axes)
    away = [i for i, n in enumerate(x.shape) if n == 1] if given is None else axes_of(given, x.ndim)
    return xp.reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in away))


@word("Unsqueeze")
def _unsqueeze(call: Call, x: Any, axes: Any = None) -> Any:
    x, given = tensor(x), _given_axes(call, axes) or []
    new = axes_of(given, x.ndim + len(given))
    rest = iter(x.shape)
    return xp.reshape(x, tuple(1 if i in new else next(rest) for i in range(x.ndim + len(given))))


@word("Expand")
def _expand(call: Call, x: Any, shape: Any) -> Any:
    x = tensor(x)
    return xp.broadcast_to(x, call.shape(np.broadcast_shapes(x.shape, call.integers(shape, "the shape"))))


@word("Tile")
def _tile(call: Call, x: Any, repeats: Any) -> Any:
    x, times = tensor(x), call.integers(repeats, "the repeats")
    call.shape([n * m for n, m in zip(x.shape, times, strict=True)])
    return xp.tile(x, times)


@word("Concat")
def _concat(call: Call, *parts: Any) -> Any:
    return xp.concat([tensor(part) for part in parts], axis=call.get("axis", 0))


@word("Split")
def _split(call: Call, x: Any, sizes: Any = None) -> Any:
    x = tensor(x)
    axis, count = call.get("axis", 0) % x.ndim, call.get("num_outputs", call.results)
    given = list(call.integers(sizes, "the sizes")) if sizes is not None else call.get("split")
    most = -(-x.shape[axis] // count)
    given = given or [max(min(most, x.shape[axis] - i * most), 0) for i in range(count)]
    ends = np.cumsum([0, *given])
    return tuple(slice_axis(x, axis, int(a), int(b)) for a, b in itertools.pairwise(ends))


@word("Slice")
def _slice(call: Call, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    x = tensor(x)
    if starts is None:
        starts, ends, axes = (np.array(call.get(name)) if call.get(name) is not None else None
                              for name in ("starts", "ends", "axes"))
    first, last = call.integers(starts, "the start"), call.integers(ends, "the end")
    places = call.integers(axes, "the axes") if axes is not None else tuple(range(len(first)))
    strides = call.integers(steps, "the steps") if steps is not None else (1,) * len(first)
    for axis, a, b, s in zip(axes_of(places, x.ndim), first, last, strides, strict=True):
        x = _sliced(x, axis, *slice(a, b if b > -2**62 else None, s).indices(x.shape[axis]))
    return x


def _sliced(x: Any, axis: int, start: int, stop: int, step: int) -> Any:
    if step > 0:
        return slice_axis(x, axis, start, max(stop, start), step)
    count = max(-(-(start - stop) // -step), 0)
    lowest = start + (count - 1) * step if count else 0
    part = slice_axis(x, axis, lowest, start + 1 if count else lowest, -step)
    return flip(part, axis=axis)


@word("Pad")
def _pad(call: Call, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    x = tensor(x)
    given = call.integers(pads, "the padding") if pads is not None else tuple(call.get("pads"))
    places = axes_of(call.integers(axes, "the axes"), x.ndim) if axes is not None else tuple(range(x.ndim))
    call.shape([n + low + high for n, low, high in zip((x.shape[a] for a in places), given, given[len(places):],
                                                       strict=False)])
    number = (float(call.static(value, "the value").reshape(())) if value is not None and np.size(value)
              else call.get("value", 0.0))
    for axis, low, high in zip(places, given, given[len(places):], strict=False):
        x = padded(x, axis, low, high, call.get("mode", "constant"), number)
    return x


def padded(x: Any, axis: int, low: int, high: int, mode: str, value: float) -> Any:
    """More elements along an axis, or fewer where the numbers are negative."""
    x = slice_axis(x, axis, max(-low, 0), x.shape[axis] - max(-high, 0)) if min(low, high) < 0 else x
    low, high = max(low, 0), max(high, 0)
    if not low and not high:
        return x
    if mode == "constant":
        return xp.pad(x, [(low, high) if i == axis else (0, 0) for i in range(x.ndim)],
                      value=value if x.dtype.kind == "f" else int(value))
    places = np.pad(np.arange(x.shape[axis]), (low, high), mode=mode)
    return xp.take(x, places, axis=axis)


@word("Trilu")
def _trilu(call: Call, x: Any, k: Any = None) -> Any:
    diagonal = int(call.static(k, "the diagonal").reshape(())) if k is not None else 0
    return (xp.triu if call.get("upper", 1) else xp.tril)(tensor(x), k=diagonal)


@word("DepthToSpace")
def _depth_to_space(call: Call, x: Any) -> Any:
    x, b = tensor(x), call.get("blocksize")
    n, c, h, w = x.shape
    crd = call.get("mode", "DCR") == "CRD"
    y = xp.reshape(x, (n, c // b**2, b, b, h, w) if crd else (n, b, b, c // b**2, h, w))
    return xp.reshape(xp.permute_dims(y, (0, 1, 4, 2, 5, 3) if crd else (0, 3, 4, 1, 5, 2)),
                      (n, c // b**2, h * b, w * b))


@word("SpaceToDepth")
def _space_to_depth(call: Call, x: Any) -> Any:
    x, b = tensor(x), call.get("blocksize")
    n, c, h, w = x.shape
    y = xp.reshape(x, (n, c, h // b, b, w // b, b))
    return xp.reshape(xp.permute_dims(y, (0, 1, 3, 5, 2, 4) if call.get("mode", "DCR") == "CRD"
                                      else (0, 3, 5, 1, 2, 4)), (n, c * b * b, h // b, w // b))


@word("ReverseSequence")
def _reverse_sequence(call: Call, x: Any, lengths: Any) -> Any:
    x, time, batch = tensor(x), call.get("time_axis", 0), call.get("batch_axis", 1)
    wide = xp.reshape(tensor(lengths), tuple(-1 if i == batch else 1 for i in range(x.ndim)))
    place = elementwise_positions(x.shape, time)
    return xp.take_along_axis(x, xp.where(place < wide, wide - 1 - place, place), axis=time)


@word("CenterCropPad")
def _center_crop_pad(call: Call, x: Any, shape: Any) -> Any:
    x, wanted = tensor(x), call.integers(shape, "the shape")
    for axis, n in zip(axes_of(call.get("axes", list(range(x.ndim))), x.ndim), wanted, strict=True):
        more = n - x.shape[axis]
        low = more // 2 if more >= 0 else -(-more // 2)
        x = padded(x, axis, low, more - low, "constant", 0.0)
    return x


# ---- arrays out of nothing

@word("Constant")
def _constant(call: Call) -> Any:
    for name, make in (("value", lambda v: v), ("value_float", np.float32), ("value_int", np.int64),
                       ("value_floats", lambda v: np.array(v, np.float32)),
                       ("value_ints", lambda v: np.array(v, np.int64))):
        if (value := call.get(name)) is not None:
            return np.asarray(make(value)) if isinstance(value, np.ndarray | int | float | list) else value
    raise call.unknown("a constant of another kind")


@word("ConstantOfShape")
def _constant_of_shape(call: Call, shape: Any) -> Any:
    value = np.asarray(call.get("value", np.zeros(1, np.float32)))
    return xp.full(call.shape(call.integers(shape, "the shape")), value.reshape(())[()], dtype=value.dtype)


@word("Range")
def _range(call: Call, start: Any, limit: Any, delta: Any) -> Any:
    first, last, step = (call.static(x, "the range").reshape(()) for x in (start, limit, delta))
    (count,) = call.shape([max(math.ceil((float(last) - float(first)) / float(step)), 0)])
    return first + np.arange(count).astype(first.dtype) * step


@word("EyeLike")
def _eye_like(call: Call, x: Any) -> Any:
    dtype = call.dtype(call.get("dtype")) if call.get("dtype") else tensor(x).dtype
    return xp.eye(*call.shape(np.shape(x)), k=call.get("k", 0), dtype=dtype)


@word("OneHot")
def _one_hot(call: Call, indices: Any, depth: Any, values: Any) -> Any:
    count = int(call.static(depth, "the depth").reshape(-1)[0])
    indices, values = xp.astype(tensor(indices), "int64"), tensor(values)
    call.shape((*indices.shape, count))
    axis = call.get("axis", -1) % (indices.ndim + 1)
    wide = xp.expand_dims(xp.where(indices < 0, indices + count, indices), axis=axis)
    hot = xp.equal(wide, elementwise_positions((*wide.shape[:axis], count, *wide.shape[axis + 1:]), axis))
    return xp.where(hot, values[1], values[0])


# ---- positions

@word("Gather")
def _gather(call: Call, x: Any, indices: Any) -> Any:
    return xp.take(tensor(x), tensor(indices), axis=call.get("axis", 0))


@word("GatherElements")
def _gather_elements(call: Call, x: Any, indices: Any) -> Any:
    x, indices = tensor(x), tensor(indices)
    axis = call.get("axis", 0) % x.ndim
    for i, n in enumerate(indices.shape):
        x = slice_axis(x, i, 0, n) if i != axis and x.shape[i] != n else x
    return xp.take_along_axis(x, indices, axis=axis)


def _flat_places(x: Any, indices: Any, batch: int = 0) -> Any:
    """Positions in the array whose first axes are one, of tuples of indices along the last axis."""
    depth = indices.shape[-1]
    places: Any = 0
    for i in range(depth):
        extent = x.shape[batch + i]
        one = xp.astype(indices[..., i], "int64")
        places = places * extent + xp.where(one < 0, one + extent, one)
    return places


@word("GatherND")
def _gather_nd(call: Call, x: Any, indices: Any) -> Any:
    x, indices, batch = tensor(x), tensor(indices), call.get("batch_dims", 0)
    depth, lead = indices.shape[-1], math.prod(x.shape[:batch])
    places = _flat_places(x, indices, batch)
    span = math.prod(x.shape[batch:batch + depth])
    rows = np.arange(lead).reshape(*x.shape[:batch], *(1,) * (indices.ndim - 1 - batch)) * span
    flat = xp.reshape(x, (lead * span, *x.shape[batch + depth:]))
    return xp.take(flat, places + rows, axis=0)


@word("ScatterElements", "Scatter")
def _scatter_elements(call: Call, x: Any, indices: Any, updates: Any) -> Any:
    x, indices, updates = tensor(x), tensor(indices), tensor(updates)
    axis = call.get("axis", 0) % x.ndim
    grid = [elementwise_positions(indices.shape, i) for i in range(x.ndim)]
    grid[axis] = indices
    parts = xp.broadcast_arrays(*[xp.astype(tensor(part), "int64") for part in grid])
    return _written(call, x, xp.stack(parts, axis=-1), updates)


@word("ScatterND")
def _scatter_nd(call: Call, x: Any, indices: Any, updates: Any) -> Any:
    return _written(call, tensor(x), tensor(indices), tensor(updates))


def _written(call: Call, x: Any, indices: Any, updates: Any) -> Any:
    depth = indices.shape[-1]
    flat, places = xp.reshape(x, (math.prod(x.shape[:depth]), *x.shape[depth:])), _flat_places(x, indices)
    return xp.reshape(_reduced(call, flat, places, updates), x.shape)


def _reduced(call: Call, flat: Any, places: Any, updates: Any) -> Any:
    """Put, or added; with others, what is there and all that comes, one at a time."""
    how = call.get("reduction", "none")
    if how in ("none", "add"):
        return scatter(flat, places, updates, axis=0, mode="add" if how == "add" else "set")
    combine = {"mul": xp.multiply, "max": xp.maximum, "min": xp.minimum}[how]
    count, rest = math.prod(places.shape), flat.shape[1:]
    at, new = xp.reshape(places, (count,)), xp.reshape(updates, (count, *rest))
    for i in range(count):
        flat = scatter(flat, at[i:i + 1], combine(xp.take(flat, at[i:i + 1], axis=0), new[i:i + 1]), axis=0, mode="set")
    return flat


@word("Compress")
def _compress(call: Call, x: Any, condition: Any) -> Any:
    x, places = tensor(x), np.flatnonzero(call.static(condition, "the condition"))
    return (xp.take(xp.reshape(x, (-1,)), places, axis=0) if call.get("axis") is None
            else xp.take(x, places, axis=call.get("axis") % x.ndim))


@word("NonZero")
def _nonzero(call: Call, x: Any) -> Any:
    return np.stack(np.nonzero(call.static(x, "what is not zero"))).astype(np.int64)


@word("TopK")
def _top_k(call: Call, x: Any, k: Any = None) -> Any:
    x = tensor(x)
    axis, count = call.get("axis", -1) % x.ndim, call.integers(k, "how many")[0] if k is not None else call.get("k")
    high = x if x.dtype.kind == "f" or not call.get("largest", 1) else xp.astype(x, "int64")
    order = xp.argsort(-high if call.get("largest", 1) else high, axis=axis)
    order = slice_axis(order, axis, 0, count)
    return xp.take_along_axis(x, order, axis=axis), order


@word("Unique")
def _unique(call: Call, x: Any) -> Any:
    values = call.static(x, "the values")
    axis = call.get("axis")
    found, first, inverse, counts = np.unique(values, return_index=True, return_inverse=True, return_counts=True,
                                              axis=axis)
    if not call.get("sorted", 1):
        order = np.argsort(first)
        back = np.argsort(order)
        found, first, inverse, counts = (np.take(found, order, axis=axis or 0), first[order], back[inverse],
                                         counts[order])
    return found, first.astype(np.int64), inverse.reshape(-1).astype(np.int64), counts.astype(np.int64)


@word("BitCast")
def _bitcast(call: Call, x: Any) -> Any:
    x, dtype = tensor(x), call.dtype(call.get("to"))
    return x if x.dtype == dtype else bitcast(x, dtype)


@word("TensorScatter")
def _tensor_scatter(call: Call, cache: Any, update: Any, start: Any = None) -> Any:
    cache, update = tensor(cache), tensor(update)
    axis = call.get("axis", -2) % cache.ndim
    begin: Any = 0 if start is None else xp.reshape(tensor(start), (-1, *(1,) * (cache.ndim - 1)))
    places = begin + elementwise_positions(update.shape, axis)
    places = places % cache.shape[axis] if call.get("mode", "linear") == "circular" else places
    grid = [xp.astype(tensor(places if i == axis else elementwise_positions(update.shape, i)), "int64")
            for i in range(cache.ndim)]
    return _written(call, cache, xp.stack(xp.broadcast_arrays(*grid, xp.zeros(update.shape, dtype="int64"))[:-1],
                                          axis=-1), update)
