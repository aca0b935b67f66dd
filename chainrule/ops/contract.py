# SPDX-License-Identifier: Apache-2.0
"""The product of arrays over chosen axes, and the three faces of convolution.

`contract` is every matrix product; `conv`, `conv_input_gradient` and `conv_filter_gradient` are the three bilinear maps
between an image, a filter and an output, each the others' derivative, so that a backend sees no pattern to recognise.
Layouts are channels-last: image (N, *S, Cin), filter (*K, Cin / groups, Cout), output (N, *O, Cout).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, explain
from ..ir.bind import bind
from ..ir.node import Op, Shape, Type, op
from ..ir.tensor import Tensor
from . import types
from .movement import permute_dims

Axes = tuple[Shape, Shape]
Padding = tuple[tuple[int, int], ...]


def _one_dtype(a: Type, b: Type) -> np.dtype:
    if a.dtype != b.dtype:
        raise DTypeError(explain("both operands of a product need one dtype", got=f"{a} and {b}",
                                 fix="cast one with cr.astype"))
    return a.dtype


def _free(ndim: int, *taken: Sequence[int]) -> Shape:
    return tuple(i for i in range(ndim) if not any(i in axes for axes in taken))


def _infer_contract(a: Type, b: Type, *, contracting: Axes, batch: Axes) -> Type:
    dtype = _one_dtype(a, b)
    for axes_a, axes_b, word in ((*contracting, "contracted"), (*batch, "batch")):
        extents_a, extents_b = [a.shape[i] for i in axes_a], [b.shape[i] for i in axes_b]
        if extents_a != extents_b:
            raise ShapeError(explain(f"the {word} axes of a product differ in extent", got=f"{a.shape} and {b.shape}",
                                     expected=f"{extents_a} (axes {axes_a}) to equal {extents_b} (axes {axes_b})"))
    free_a = [a.shape[i] for i in _free(len(a.shape), contracting[0], batch[0])]
    free_b = [b.shape[i] for i in _free(len(b.shape), contracting[1], batch[1])]
    return Type((*(a.shape[i] for i in batch[0]), *free_a, *free_b), dtype)


def _mean_contract(a: np.ndarray, b: np.ndarray, *, contracting: Axes, batch: Axes) -> np.ndarray:
    kind = _infer_contract(Type(a.shape, a.dtype), Type(b.shape, b.dtype), contracting=contracting, batch=batch)
    free_a, free_b = _free(a.ndim, contracting[0], batch[0]), _free(b.ndim, contracting[1], batch[1])
    shape_batch = tuple(a.shape[i] for i in batch[0])
    k = int(np.prod([a.shape[i] for i in contracting[0]], dtype=np.int64))
    rows = int(np.prod([a.shape[i] for i in free_a], dtype=np.int64))
    columns = int(np.prod([b.shape[i] for i in free_b], dtype=np.int64))
    left = a.transpose(*batch[0], *free_a, *contracting[0]).reshape(*shape_batch, rows, k)
    right = b.transpose(*batch[1], *contracting[1], *free_b).reshape(*shape_batch, k, columns)
    return np.matmul(left, right).reshape(kind.shape)


def _contract_vjp_a(g: Tensor, y: Tensor, a: Tensor, b: Tensor, contracting: Axes, batch: Axes) -> Tensor:
    return _operand_gradient(g, b, a.ndim, contracting, batch, first=True)


def _contract_vjp_b(g: Tensor, y: Tensor, a: Tensor, b: Tensor, contracting: Axes, batch: Axes) -> Tensor:
    swap = (contracting[1], contracting[0]), (batch[1], batch[0])
    return _operand_gradient(g, a, b.ndim, *swap, first=False)


def _operand_gradient(g: Tensor, other: Tensor, ndim: int, contracting: Axes, batch: Axes, first: bool) -> Tensor:
    """The gradient of one operand: the product of g with the other one over the other's free axes, axes put back in
    order."""
    n = len(batch[0])
    free_own, free_other = _free(ndim, contracting[0], batch[0]), _free(other.ndim, contracting[1], batch[1])
    own_in_g = tuple(range(n, n + len(free_own))) if first else tuple(range(n + len(free_other), g.ndim))
    other_in_g = tuple(i for i in range(n, g.ndim) if i not in own_in_g)
    lead = tuple(range(n))
    if first:
        product = contract(g, other, contracting=(other_in_g, free_other), batch=(lead, batch[1]))
        order = (*batch[0], *free_own, *_paired(contracting))
    else:
        product = contract(other, g, contracting=(free_other, other_in_g), batch=(batch[1], lead))
        order = (*batch[0], *_paired(contracting), *free_own)
    return permute_dims(product, tuple(int(i) for i in np.argsort(order)))


def _paired(contracting: Axes) -> Shape:
    """The own contracted axes in the order in which the other operand's appear in the product."""
    return tuple(own for _, own in sorted(zip(contracting[1], contracting[0], strict=True)))


CONTRACT = op("contract", infer=_infer_contract, meaning=_mean_contract, vjp=(_contract_vjp_a, _contract_vjp_b))


def contract(a: Tensor, b: Tensor, *, contracting: Axes, batch: Axes = ((), ())) -> Tensor:
    """Sum of products over paired axes: result axes are batch, free axes of `a`, free axes of `b`."""
    return bind(CONTRACT, a, b, contracting=(tuple(contracting[0]), tuple(contracting[1])),
                batch=(tuple(batch[0]), tuple(batch[1])))


# ---- convolution

def conv_extents(spatial: Shape, kernel: Shape, stride: Shape, padding: Padding, dilation: Shape) -> Shape:
    """Spatial extents of the output: floor((s + low + high - d (k - 1) - 1) / stride) + 1 along each axis, at least 0.
    """
    return tuple(types.window_extent(s + low + high, k, t, d)
                 for s, k, t, (low, high), d in zip(spatial, kernel, stride, padding, dilation, strict=True))


def _infer_conv(x: Type, w: Type, *, stride: Shape, padding: Padding, dilation: Shape, groups: int) -> Type:
    dtype = _one_dtype(x, w)
    if w.shape[-2] * groups != x.shape[-1] or w.shape[-1] % groups:
        raise ShapeError(explain("the filter does not fit the channels of the input",
                                 got=f"input {x.shape}, filter {w.shape}, groups {groups}",
                                 expected="filter (*kernel, input channels / groups, output channels)"))
    return Type((x.shape[0], *conv_extents(x.shape[1:-1], w.shape[:-2], stride, padding, dilation), w.shape[-1]), dtype)


def _windows(x: np.ndarray, kernel: Shape, out: Shape, stride: Shape, padding: Padding, dilation: Shape) -> np.ndarray:
    """Views (N, *O, *K, C) of the padded image."""
    x = np.pad(x, [(0, 0), *((max(low, 0), max(high, 0)) for low, high in padding), (0, 0)])
    crop = tuple(slice(max(-low, 0), x.shape[i + 1] - max(-high, 0)) for i, (low, high) in enumerate(padding))
    x = x[(slice(None), *crop, slice(None))]
    steps = [x.strides[i + 1] * s for i, s in enumerate(stride)]
    inner = [x.strides[i + 1] * d for i, d in enumerate(dilation)]
    return np.lib.stride_tricks.as_strided(x, (x.shape[0], *out, *kernel, x.shape[-1]),
                                           (x.strides[0], *steps, *inner, x.strides[-1]), writeable=False)


def _mean_conv(x: np.ndarray, w: np.ndarray, *, stride: Shape, padding: Padding, dilation: Shape,
               groups: int) -> np.ndarray:
    kind = _infer_conv(Type(x.shape, x.dtype), Type(w.shape, w.dtype), stride=stride, padding=padding,
                       dilation=dilation, groups=groups)
    kernel, out, rows = w.shape[:-2], kind.shape[1:-1], int(np.prod(kind.shape[:-1], dtype=np.int64))
    if not kind.size or not w.size:
        return np.zeros(kind.shape, kind.dtype)
    views = _windows(x, kernel, out, stride, padding, dilation)
    c, o = w.shape[-2], w.shape[-1] // groups
    parts = [views[..., i * c:(i + 1) * c].reshape(rows, -1) @ w[..., i * o:(i + 1) * o].reshape(-1, o)
             for i in range(groups)]
    return np.concatenate(parts, axis=-1).reshape(kind.shape)


def _mean_filter_gradient(x: np.ndarray, g: np.ndarray, *, kernel: Shape, stride: Shape, padding: Padding,
                          dilation: Shape, groups: int) -> np.ndarray:
    c, o, rows = x.shape[-1] // groups, g.shape[-1] // groups, int(np.prod(g.shape[:-1], dtype=np.int64))
    if not g.size or not x.size:
        return np.zeros((*kernel, c, g.shape[-1]), x.dtype)
    views = _windows(x, kernel, g.shape[1:-1], stride, padding, dilation)
    flat = g.reshape(rows, -1)
    parts = [views[..., i * c:(i + 1) * c].reshape(rows, -1).T @ flat[:, i * o:(i + 1) * o] for i in range(groups)]
    return np.concatenate(parts, axis=-1).reshape((*kernel, c, g.shape[-1]))


def _mean_input_gradient(g: np.ndarray, w: np.ndarray, *, extents: Shape, stride: Shape, padding: Padding,
                         dilation: Shape, groups: int) -> np.ndarray:
    c, o = w.shape[-2], w.shape[-1] // groups
    low = [max(a, 0) for a, _ in padding]
    room = [low_i + s + max(b, 0) for low_i, s, (_, b) in zip(low, extents, padding, strict=True)]
    result = np.zeros((g.shape[0], *room, c * groups), g.dtype)
    for offsets in np.ndindex(*w.shape[:-2]) if g.size else ():
        first = [k * d + max(-a, 0) for k, d, (a, _) in zip(offsets, dilation, padding, strict=True)]
        place = tuple(slice(f, f + (n - 1) * s + 1, s) for f, n, s in zip(first, g.shape[1:-1], stride, strict=True))
        for i in range(groups):
            part = g[..., i * o:(i + 1) * o] @ w[(*offsets, slice(None), slice(i * o, (i + 1) * o))].T
            result[(slice(None), *place, slice(i * c, (i + 1) * c))] += part
    return np.ascontiguousarray(result[(slice(None), *(slice(a, a + s) for a, s in zip(low, extents, strict=True)))])


def _infer_input_gradient(g: Type, w: Type, *, extents: Shape, groups: int, **_: Any) -> Type:
    return Type((g.shape[0], *extents, w.shape[-2] * groups), _one_dtype(g, w))


def _infer_filter_gradient(x: Type, g: Type, *, kernel: Shape, groups: int, **_: Any) -> Type:
    return Type((*kernel, x.shape[-1] // groups, g.shape[-1]), _one_dtype(x, g))


CONV = op("conv", infer=_infer_conv, meaning=_mean_conv,
          vjp=(lambda g, y, x, w, **attrs: bind(CONV_INPUT_GRADIENT, g, w, extents=x.shape[1:-1], **attrs),
               lambda g, y, x, w, **attrs: bind(CONV_FILTER_GRADIENT, x, g, kernel=w.shape[:-2], **attrs)))
CONV_INPUT_GRADIENT: Op = op("conv_input_gradient", infer=_infer_input_gradient, meaning=_mean_input_gradient,
          vjp=(lambda h, y, g, w, extents, **attrs: bind(CONV, h, w, **attrs),
               lambda h, y, g, w, extents, **attrs: bind(CONV_FILTER_GRADIENT, h, g, kernel=w.shape[:-2], **attrs)))
CONV_FILTER_GRADIENT: Op = op("conv_filter_gradient", infer=_infer_filter_gradient, meaning=_mean_filter_gradient,
          vjp=(lambda h, y, x, g, kernel, **attrs: bind(CONV_INPUT_GRADIENT, g, h, extents=x.shape[1:-1], **attrs),
               lambda h, y, x, g, kernel, **attrs: bind(CONV, x, h, **attrs)))


def conv(x: Tensor, w: Tensor, *, stride: Shape, padding: Padding, dilation: Shape, groups: int = 1) -> Tensor:
    """Cross-correlation y[n, o, c] = sum over k, i of x[n, o * stride + k * dilation - low, i] * w[k, i, c], zeros
    outside."""
    return bind(CONV, x, w, stride=tuple(stride), padding=tuple(padding), dilation=tuple(dilation), groups=groups)


def conv_transpose(g: Tensor, w: Tensor, *, extents: Shape, stride: Shape, padding: Padding, dilation: Shape,
                   groups: int = 1) -> Tensor:
    """The transpose of `conv` in its image: from (N, *O, Cout) and the same filter to (N, *extents, Cin)."""
    return bind(CONV_INPUT_GRADIENT, g, w, extents=tuple(extents), stride=tuple(stride), padding=tuple(padding),
                dilation=tuple(dilation), groups=groups)
