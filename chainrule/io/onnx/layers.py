# SPDX-License-Identifier: Apache-2.0
"""Operators of networks: products, convolutions, pooling, norms and resizing. ONNX's channels come first; here they are
turned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import arrays as xp
from ...arrays.einsum import einsum
from ...errors import ArgumentError, explain
from ...ops import contract, pool
from ...ops.movement import slice_axis
from .movement import padded
from .words import Call, axes_of, tensor, word

Pairs = list[tuple[int, int]]


def last(x: Any) -> Any:
    """(N, C, *S) → (N, *S, C)."""
    return xp.permute_dims(x, (0, *range(2, x.ndim), 1))


def first(x: Any) -> Any:
    """(N, *S, C) → (N, C, *S)."""
    return xp.permute_dims(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


# ---- products

@word("MatMul")
def _matmul(call: Call, a: Any, b: Any) -> Any:
    return xp.matmul(tensor(a), tensor(b))


@word("Gemm", "FusedMatMul")
def _gemm(call: Call, a: Any, b: Any, c: Any = None) -> Any:
    a, b = tensor(a), tensor(b)
    product = xp.matmul(xp.matrix_transpose(a) if call.get("transA", 0) else a,
                        xp.matrix_transpose(b) if call.get("transB", 0) else b)
    product = product if call.get("alpha", 1.0) == 1 else xp.astype(product * call.get("alpha"), a.dtype)
    if c is None:
        return product
    c = tensor(c)
    return product + (c if call.get("beta", 1.0) == 1 else xp.astype(c * call.get("beta"), c.dtype))


@word("Einsum")
def _einsum(call: Call, *operands: Any) -> Any:
    return einsum(call.get("equation").replace(" ", ""), *map(tensor, operands))


# ---- windows

def _windows(call: Call, extents: Sequence[int],
             kernel: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...], Pairs]:
    """(stride, dilation, padding) along each axis; rounding up as more padding."""
    rank = len(kernel)
    stride, dilation = tuple(call.get("strides", [1] * rank)), tuple(call.get("dilations", [1] * rank))
    given, spans = call.get("pads", [0] * 2 * rank), [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = list(zip(given[:rank], given[rank:], strict=True))
    auto = call.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        pads = [_same(n, s, span, auto == "SAME_LOWER") for n, s, span in zip(extents, stride, spans, strict=True)]
    elif auto == "VALID":
        pads = [(0, 0)] * rank
    return stride, dilation, pads


def _same(extent: int, stride: int, span: int, lower: bool) -> tuple[int, int]:
    total = max((-(-extent // stride) - 1) * stride + span - extent, 0)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


def _rounded_up(call: Call, extents: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
                dilation: Sequence[int], pads: Pairs) -> Pairs:
    """More padding at the end where extents are rounded up, as long as a window begins within."""
    if not call.get("ceil_mode", 0):
        return pads
    more = []
    for n, k, s, d, (low, high) in zip(extents, kernel, stride, dilation, pads, strict=True):
        count = -(-(n + low + high - (k - 1) * d - 1) // s) + 1
        count -= (count - 1) * s >= n + low
        more.append((low, high + max((count - 1) * s + (k - 1) * d + 1 - n - low - high, 0)))
    return more


def _filter(w: Any) -> Any:
    """(O, C, *K) → (*K, C, O)."""
    return xp.permute_dims(w, (*range(2, w.ndim), 1, 0))


@word("Conv")
def _conv(call: Call, x: Any, w: Any, b: Any = None) -> Any:
    x, w = tensor(x), tensor(w)
    stride, dilation, pads = _windows(call, x.shape[2:], w.shape[2:])
    y = contract.conv(last(x), _filter(w), stride=stride, padding=tuple(pads), dilation=dilation,
                      groups=call.get("group", 1))
    return first(y if b is None else y + tensor(b))


@word("ConvTranspose")
def _conv_transpose(call: Call, x: Any, w: Any, b: Any = None) -> Any:
    x, w = tensor(x), tensor(w)
    kernel, rank = w.shape[2:], w.ndim - 2
    stride, dilation, pads = _windows(call, x.shape[2:], kernel)
    more = call.get("output_padding", [0] * rank)
    whole = [(n - 1) * s + (k - 1) * d + 1 + m
             for n, s, k, d, m in zip(x.shape[2:], stride, kernel, dilation, more, strict=True)]
    pads = _transposed_pads(call, whole, more, x.shape[2:], stride, pads)
    extents = tuple(n - low - high for n, (low, high) in zip(whole, pads, strict=True))
    y = contract.conv_transpose(last(x), _filter(w), extents=extents, stride=stride, padding=tuple(pads),
                                dilation=dilation, groups=call.get("group", 1))
    return first(y if b is None else y + tensor(b))


def _transposed_pads(call: Call, whole: Sequence[int], more: Sequence[int], extents: Sequence[int],
                     stride: Sequence[int], pads: Pairs) -> Pairs:
    wanted, auto = call.get("output_shape"), call.get("auto_pad", "NOTSET")
    if wanted is None and not auto.startswith("SAME"):
        return [(low, high) for low, high in pads]
    wanted = wanted[-len(whole):] if wanted else [n * s for n, s in zip(extents, stride, strict=True)]
    totals = [n - m for n, m in zip(whole, wanted, strict=True)]
    return [(t // 2, t - t // 2) if auto == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]


def _pooled(call: Call, x: Any) -> tuple[Any, tuple[int, ...], tuple[int, ...], tuple[int, ...], Pairs, Pairs]:
    x = tensor(x)
    kernel = tuple(call.get("kernel_shape"))
    stride, dilation, pads = _windows(call, x.shape[2:], kernel)
    return last(x), kernel, stride, dilation, pads, _rounded_up(call, x.shape[2:], kernel, stride, dilation, pads)


@word("MaxPool")
def _max_pool(call: Call, x: Any) -> Any:
    image, kernel, stride, dilation, _, pads = _pooled(call, x)
    small = image.dtype.kind != "f"
    wide = xp.astype(image, "float32") if small else image
    y = first(pool.max_pool(wide, kernel, stride, pads, dilation))
    y = xp.astype(y, image.dtype) if small else y
    return (y, _indices(call, image, kernel, stride, dilation, pads)) if call.results > 1 else y


def _indices(call: Call, image: Any, kernel: Any, stride: Any, dilation: Any, pads: Any) -> Any:
    """Positions in the whole array (N, C, *S), row by row or column by column."""
    n, *extents, c = image.shape
    place = first(pool.max_pool_indices(image, kernel, stride, pads, dilation))
    if call.get("storage_order", 0):
        place, parts = place, []
        for extent in reversed(extents):
            parts.append(place % extent)
            place = place // extent
        place, scale = 0, 1
        for part, extent in zip(reversed(parts), extents, strict=True):
            place, scale = place + part * scale, scale * extent
    images = np.arange(n * c).reshape(n, c, *(1,) * len(extents)) * math.prod(extents)
    return xp.astype(place + images, "int64")


@word("AveragePool")
def _average_pool(call: Call, x: Any) -> Any:
    image, kernel, stride, dilation, counted, pads = _pooled(call, x)
    if all(d == 1 for d in dilation):
        return first(pool.avg_pool(image, kernel, stride, pads, counted if call.get("count_include_pad", 0) else None))
    ones = xp.ones((1, *image.shape[1:-1], 1), dtype=image.dtype)
    members = _totals(ones, kernel, stride, pads, dilation, counted if call.get("count_include_pad", 0) else None)
    return first(_totals(image, kernel, stride, pads, dilation) / members)


def _totals(image: Any, kernel: Any, stride: Any, pads: Pairs, dilation: Any, counted: Pairs | None = None) -> Any:
    """The sum of each window, as a convolution with ones; `counted` padding is as if it were 1."""
    c = image.shape[-1]
    for axis, (low, high) in enumerate(counted or (), 1):
        image = padded(image, axis, low, high, "constant", 1.0)
    pads = pads if counted is None else [(a - b, d - e) for (a, d), (b, e) in zip(pads, counted, strict=True)]
    return contract.conv(image, xp.ones((*kernel, 1, c), dtype=image.dtype), stride=stride, padding=tuple(pads),
                         dilation=dilation, groups=c)


@word("LpPool")
def _power_pool(call: Call, x: Any) -> Any:
    image, kernel, stride, dilation, _, pads = _pooled(call, x)
    p = float(call.get("p", 2))
    return first(_totals(xp.abs(image) ** p, kernel, stride, pads, dilation) ** (1 / p))


@word("GlobalAveragePool")
def _global_average(call: Call, x: Any) -> Any:
    x = tensor(x)
    return xp.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@word("GlobalMaxPool")
def _global_max(call: Call, x: Any) -> Any:
    x = tensor(x)
    return xp.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@word("MaxUnpool")
def _max_unpool(call: Call, x: Any, indices: Any, shape: Any = None) -> Any:
    from ...ops.index import scatter

    x, indices = tensor(x), tensor(indices)
    kernel = call.get("kernel_shape")
    stride, _, pads = _windows(call, x.shape[2:], kernel)
    extents = [(n - 1) * s + k - low - high
               for n, s, k, (low, high) in zip(x.shape[2:], stride, kernel, pads, strict=True)]
    extents = list(call.integers(shape, "the shape")[2:]) if shape is not None else extents
    own = [(n - 1) * s + k - low - high for n, s, k, (low, high) in zip(x.shape[2:], stride, kernel, pads, strict=True)]
    places, scale = _moved(indices, own, extents), (*x.shape[:2], *extents)
    flat = scatter(xp.zeros((math.prod(scale),), dtype=x.dtype), xp.reshape(places, (-1,)), xp.reshape(x, (-1,)),
                   axis=0, mode="set")
    return xp.reshape(flat, scale)


def _moved(places: Any, own: Sequence[int], extents: Sequence[int]) -> Any:
    """Positions in arrays of `own` extents as those in larger ones."""
    found, scale = 0, 1
    for n, m in zip(reversed(own), reversed(extents), strict=True):
        found, places, scale = found + places % n * scale, places // n, scale * m
    return found + places * scale


# ---- norms

@word("BatchNormalization")
def _batch_norm(call: Call, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    x = tensor(x)
    column = lambda value: xp.reshape(tensor(value), (1, -1, *(1,) * (x.ndim - 2)))
    epsilon = call.get("epsilon", 1e-5)
    normed = lambda m, v: (x - column(m)) / xp.sqrt(column(v) + epsilon) * column(scale) + column(bias)
    if not call.get("training_mode", 0):
        return normed(mean, var)
    axes, momentum = (0, *range(2, x.ndim)), call.get("momentum", 0.9)
    here, spread = xp.mean(x, axis=axes), xp.var(x, axis=axes)
    return (normed(here, spread), tensor(mean) * momentum + here * (1 - momentum),
            tensor(var) * momentum + spread * (1 - momentum))


def _normal(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any, Any]:
    """(x with mean 0 and variance 1, the mean, 1 / the deviation)."""
    middle = xp.mean(x, axis=axes, keepdims=True)
    scale = 1 / xp.sqrt(xp.var(x, axis=axes, keepdims=True) + epsilon)
    return (x - middle) * scale, middle, scale


@word("InstanceNormalization")
def _instance_norm(call: Call, x: Any, scale: Any, bias: Any) -> Any:
    x = tensor(x)
    column = lambda value: xp.reshape(tensor(value), (1, -1, *(1,) * (x.ndim - 2)))
    return _normal(x, tuple(range(2, x.ndim)), call.get("epsilon", 1e-5))[0] * column(scale) + column(bias)


@word("GroupNormalization")
def _group_norm(call: Call, x: Any, scale: Any, bias: Any) -> Any:
    x, groups = tensor(x), call.get("num_groups")
    grouped = xp.reshape(x, (x.shape[0], groups, -1))
    normed = xp.reshape(_normal(grouped, (2,), call.get("epsilon", 1e-5))[0], x.shape)
    return normed * _per_channel(scale, groups, x) + _per_channel(bias, groups, x)


def _per_channel(value: Any, groups: int, x: Any) -> Any:
    """One number per channel; before opset 21, one per group."""
    value = tensor(value)
    value = xp.repeat(value, x.shape[1] // groups) if value.shape[0] == groups else value
    return xp.reshape(value, (1, -1, *(1,) * (x.ndim - 2)))


@word("LayerNormalization")
def _layer_norm(call: Call, x: Any, scale: Any, bias: Any = None) -> Any:
    x = tensor(x)
    axes = tuple(range(call.get("axis", -1) % x.ndim, x.ndim))
    y, middle, inverse = _normal(x, axes, call.get("epsilon", 1e-5))
    y = y * tensor(scale)
    return (y if bias is None else y + tensor(bias), middle, inverse)[:max(call.results, 1)]


@word("RMSNormalization", "SimplifiedLayerNormalization")
def _rms_norm(call: Call, x: Any, scale: Any) -> Any:
    x = tensor(x)
    axes = tuple(range(call.get("axis", -1) % x.ndim, x.ndim))
    return x / xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True) + call.get("epsilon", 1e-5)) * tensor(scale)


@word("MeanVarianceNormalization")
def _mean_variance(call: Call, x: Any) -> Any:
    x = tensor(x)
    axes = axes_of(call.get("axes", [0, 2, 3]), x.ndim)
    return (x - xp.mean(x, axis=axes, keepdims=True)) / (xp.std(x, axis=axes, keepdims=True) + 1e-9)


@word("LRN")
def _local_response(call: Call, x: Any) -> Any:
    x, size = tensor(x), call.get("size")
    low = (size - 1) // 2
    squares = padded(x * x, 1, low, size - 1 - low, "constant", 0.0)
    total = sum(slice_axis(squares, 1, i, i + x.shape[1]) for i in range(size))
    return x / (call.get("bias", 1.0) + call.get("alpha", 1e-4) / size * total) ** call.get("beta", 0.75)


# ---- patches

@word("Col2Im")
def _col2im(call: Call, x: Any, image: Any, block: Any) -> Any:
    """Overlapping blocks added up: a transposed convolution with one filter for each place of the block."""
    x, extents, kernel = tensor(x), call.integers(image, "the image"), call.integers(block, "the block")
    stride, dilation, pads = _windows(call, extents, kernel)
    counts = [(n + low + high - (k - 1) * d - 1) // s + 1
              for n, k, s, d, (low, high) in zip(extents, kernel, stride, dilation, pads, strict=True)]
    channels, size = x.shape[1] // math.prod(kernel), math.prod(kernel)
    columns = xp.reshape(x, (x.shape[0] * channels, size, *counts))
    places = np.eye(size, dtype=x.dtype).reshape(*kernel, 1, size)
    y = contract.conv_transpose(last(columns), tensor(places), extents=extents, stride=stride, padding=tuple(pads),
                                dilation=dilation)
    return xp.reshape(y, (x.shape[0], channels, *extents))


# ---- resizing

@word("Resize", "Upsample")
def _resize(call: Call, x: Any, *given: Any) -> Any:
    x = tensor(x)
    scales, sizes, roi = _sizes(call, x, given)
    for axis, n in enumerate(sizes):
        if n != x.shape[axis] or scales[axis] != 1 or (roi is not None and call.get("coordinate_transformation_mode")
                                                       == "tf_crop_and_resize"):
            x = _resized(call, x, axis, n, scales[axis], None if roi is None else (roi[axis], roi[axis + len(sizes)]))
    return x


def _sizes(call: Call, x: Any, given: Sequence[Any]) -> tuple[list[float], list[int], list[float] | None]:
    """(scale of each axis, its new extent, what part of it is taken)."""
    parts = (None, *given) if call.node.kind == "Upsample" or call.opset < 11 else given
    roi, scales, sizes = (*parts, None, None, None)[:3]
    axes = axes_of(call.get("axes", list(range(x.ndim))), x.ndim)
    spread = lambda values, default: [dict(zip(axes, values, strict=True)).get(i, default(i)) for i in range(x.ndim)]
    taken = call.static(roi, "the part").astype(float).tolist() if roi is not None and np.size(roi) else None
    if taken is not None:
        half = len(taken) // 2
        taken = [*spread(taken[:half], lambda i: 0.0), *spread(taken[half:], lambda i: 1.0)]
    if sizes is None or not np.size(sizes):
        values = call.static(scales, "the scales").astype(float).tolist() if scales is not None else call.get("scales")
        factors = spread(values, lambda i: 1.0)
        parts_of = (
            [1.0] * x.ndim
            if taken is None or call.get("coordinate_transformation_mode") != "tf_crop_and_resize"
            else [taken[i + x.ndim] - taken[i] for i in range(x.ndim)]
        )
        return (factors, [math.floor(n * f * p + 1e-9) for n, f, p in zip(x.shape, factors, parts_of, strict=True)],
                taken)
    wanted = spread(call.integers(sizes, "the sizes"), lambda i: x.shape[i])
    policy = call.get("keep_aspect_ratio_policy", "stretch")
    ratios = [wanted[i] / x.shape[i] for i in axes]
    if policy != "stretch":
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        wanted = [math.floor(x.shape[i] * ratio + 0.5) if i in axes else n for i, n in enumerate(wanted)]
        return [ratio if i in axes else 1.0 for i in range(x.ndim)], wanted, taken
    return [n / m for n, m in zip(wanted, x.shape, strict=True)], wanted, taken


def _resized(call: Call, x: Any, axis: int, size: int, scale: float, part: tuple[float, float] | None) -> Any:
    """Along one axis: each new element from its neighbours, as a product with a matrix, or by position."""
    extent, mode = x.shape[axis], call.get("mode", "nearest")
    place = _places(call, extent, size, scale, part)
    outside = (place < 0) | (place > extent - 1)
    if mode == "nearest":
        y = xp.take(x, np.clip(_nearest(call, place), 0, extent - 1).astype(np.int64), axis=axis)
    else:
        matrix = _weights(call, place, extent, min(scale, 1.0) if call.get("antialias", 0) else 1.0)
        moved = xp.moveaxis(x, axis, -1)
        y = xp.moveaxis(xp.astype(xp.matmul(xp.astype(moved, "float32"), matrix.T.astype(np.float32)), x.dtype), -1,
                        axis)
    if call.get("coordinate_transformation_mode") == "tf_crop_and_resize" and outside.any():
        column = outside.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        y = xp.where(tensor(column), xp.full((), call.get("extrapolation_value", 0.0), dtype=x.dtype), y)
    return y


def _places(call: Call, extent: int, size: int, scale: float, part: tuple[float, float] | None) -> np.ndarray:
    """Where each new element lies in the old axis."""
    i, how = (np.arange(size, dtype=np.float64),
              call.get("coordinate_transformation_mode", "half_pixel" if call.opset >= 11 else "asymmetric"))
    whole = extent * scale
    if how == "asymmetric":
        return i / scale
    if how == "align_corners":
        return i * (extent - 1) / (whole - 1) if whole > 1 else np.zeros(size)
    if how == "tf_crop_and_resize":
        a, b = part or (0.0, 1.0)
        return a * (extent - 1) + (i * (b - a) * (extent - 1) / (size - 1) if size > 1 else 0.5 * (b - a) * (extent - 1)
                                   + i * 0)
    if how == "pytorch_half_pixel" and size == 1:
        return np.zeros(size)
    if how == "half_pixel_symmetric":
        shift = extent / 2 * (1 - size / whole)
        return shift + (i + 0.5) / scale - 0.5
    return (i + 0.5) / scale - 0.5


def _nearest(call: Call, place: np.ndarray) -> np.ndarray:
    how = call.get("nearest_mode", "round_prefer_floor" if call.opset >= 11 else "floor")
    place = np.round(place, 9)
    return {"floor": np.floor, "ceil": np.ceil, "round_prefer_ceil": lambda x: np.floor(x + 0.5),
            "round_prefer_floor": lambda x: np.ceil(x - 0.5)}[how](place)


def _weights(call: Call, place: np.ndarray, extent: int, scale: float) -> np.ndarray:
    """(size, extent): what each old element adds to each new one; a wider kernel where an image is made smaller without
    aliasing."""
    cubic = call.get("mode", "nearest") == "cubic"
    if call.get("mode") not in ("linear", "cubic"):
        raise ArgumentError(explain("there is no such way of resizing", got=str(call.get("mode")),
                                    expected="nearest, linear or cubic"))
    reach = math.ceil((2 if cubic else 1) / scale)
    base = np.floor(place).astype(int)
    taps = base[:, None] + np.arange(-reach + 1, reach + 1)[None]
    values = _kernel((place[:, None] - taps) * scale, call.get("cubic_coeff_a", -0.75) if cubic else None)
    if call.get("exclude_outside", 0):
        values = np.where((taps >= 0) & (taps < extent), values, 0.0)
    if call.get("exclude_outside", 0) or scale < 1:
        values = values / values.sum(axis=1, keepdims=True)
    matrix = np.zeros((len(place), extent))
    np.add.at(matrix, (np.arange(len(place))[:, None], np.clip(taps, 0, extent - 1)), values)
    return matrix


def _kernel(distance: np.ndarray, a: float | None) -> np.ndarray:
    d = np.abs(distance)
    if a is None:
        return np.maximum(1 - d, 0)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
