# SPDX-License-Identifier: Apache-2.0
"""How each primitive works on a batch: one entry per operation, whose batch axis is always the first.

A rule gets (op, n, xs, on, attrs): the operation, the number of examples, its operands, which of them have the batch
axis, and the attributes for one example. It returns the result with the batch axis in front. Most operations only shift
the axes they name by one (`along`); what has no entry runs as a loop over the examples (`one_by_one`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.bind import bind
from ..ir.dtype import int64
from ..ir.node import Op, Shape
from ..ir.tensor import Tensor
from ..ops.broadcast import broadcast_to
from ..ops.contract import contract
from ..ops.elementwise import astype
from ..ops.index import SCATTER, TAKE, iota, wrap
from ..ops.movement import permute_dims, reshape
from ..ops.scan import scan

Flags = Sequence[bool]
Rule = Callable[[Op, int, Sequence[Tensor], Flags, dict[str, Any]], Any]


def lift(x: Tensor, n: int, on: bool) -> Tensor:
    """`x` with a batch axis in front: its own, or n times the same."""
    return x if on else broadcast_to(x, (n, *x.shape))


def move(x: Tensor, source: int, target: int) -> Tensor:
    """One axis brought to another place, the others in their order."""
    order = [i for i in range(x.ndim) if i != source]
    order.insert(target, source)
    return permute_dims(x, order)


def along(*names: str) -> Rule:
    """The operation itself, with the axes in the attributes `names` moved by one."""
    def rule(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Any:
        moved = lambda axes: axes + 1 if isinstance(axes, int) else tuple(a + 1 for a in axes)
        shifted = {name: moved(attrs[name]) for name in names}
        return bind(op, *(lift(x, n, b) for x, b in zip(xs, on, strict=True)), **{**attrs, **shifted})
    return rule


def one_by_one(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Any:
    """A loop over the examples that is one operation: what serves when there is no better way."""
    moving, fixed = ([x for x, b in zip(xs, on, strict=True) if b is wanted] for wanted in (True, False))

    def body(_: Any, slices: Sequence[Tensor], constants: Sequence[Tensor]) -> tuple[list[Any], list[Any]]:
        own, shared = iter(slices), iter(constants)
        result = bind(op, *(next(own) if b else next(shared) for b in on), **attrs)
        return [], list(result) if isinstance(result, tuple) else [result]

    _, found = scan(body, [], moving, fixed)
    kind = op.infer(*(_one(x, b) for x, b in zip(xs, on, strict=True)), **attrs)
    return found if isinstance(kind, tuple) else found[0]


def _one(x: Tensor, on: bool) -> Any:
    kind = x.node.type
    return type(kind)(kind.shape[1:], kind.dtype) if on else kind


# ---- movement

def _reshape(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    return reshape(xs[0], (n, *attrs["shape"]))


def _transpose(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    return permute_dims(xs[0], (0, *(a + 1 for a in attrs["axes"])))


def _slice(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    return bind(op, xs[0], start=(0, *attrs["start"]), count=(n, *attrs["count"]), step=(1, *attrs["step"]))


def _pad(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    return bind(op, xs[0], value=attrs["value"], **{name: (0, *attrs[name]) for name in ("low", "high", "interior")})


def _broadcast(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    (x,), shape = xs, attrs["shape"]
    ones = (1,) * (len(shape) - x.ndim + 1)
    return broadcast_to(reshape(x, (n, *ones, *x.shape[1:])), (n, *shape))


# ---- products

def _contract(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    """Both batched: one more batch axis. One batched: its examples are rows of one larger product."""
    a, b = xs
    (ca, cb), (ba, bb) = attrs["contracting"], attrs["batch"]
    up: Callable[[Shape], Shape] = lambda axes: tuple(i + 1 for i in axes)
    if all(on):
        return contract(a, b, contracting=(up(ca), up(cb)), batch=((0, *up(ba)), (0, *up(bb))))
    if on[0]:
        return move(contract(a, b, contracting=(up(ca), cb), batch=(up(ba), bb)), len(ba), 0)
    product = move(contract(b, a, contracting=(up(cb), ca), batch=(up(bb), ba)), len(ba), 0)
    free = b.ndim - 1 - len(cb) - len(bb)  # free axes of b come first here; those of a belong before them
    start = 1 + len(ba)
    own = range(start, start + free)
    return permute_dims(product, (*range(start), *range(start + free, product.ndim), *own))


def _fold(x: Tensor) -> Tensor:
    """Examples among the images: (n, N, ...) -> (n N, ...)."""
    return reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _beside(x: Tensor) -> Tensor:
    """Examples among the channels: (n, ..., C) -> (..., n C)."""
    moved = move(x, 0, x.ndim - 2)
    return reshape(moved, (*moved.shape[:-2], moved.shape[-2] * moved.shape[-1]))


def _apart(x: Tensor, n: int) -> Tensor:
    """The way back: (..., n C) -> (n, ..., C)."""
    return move(reshape(x, (*x.shape[:-1], n, x.shape[-1] // n)), x.ndim - 1, 0)


def _packed_product(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    """A batch of x alone is more rows."""
    if on[1] or on[2]:
        return one_by_one(op, n, xs, on, attrs)
    x = xs[0]
    y = bind(op, reshape(x, (n * x.shape[1], x.shape[2])), *xs[1:], **attrs)
    return reshape(y, (n, x.shape[1], y.shape[1]))


def _convolution(shared: int | None) -> Rule:
    """A face of the convolution. If only the operands with images have the batch axis (the other one, the filter at
    place `shared`, has not), the examples are more images; else they are more groups of channels."""
    def rule(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
        if shared is not None and not on[shared]:
            result = bind(op, *(_fold(x) if b else x for x, b in zip(xs, on, strict=True)), **attrs)
            return reshape(result, (n, xs[0].shape[1], *result.shape[1:]))
        if not n:
            return one_by_one(op, n, xs, on, attrs)
        parts = [_beside(lift(x, n, b)) for x, b in zip(xs, on, strict=True)]
        return _apart(bind(op, *parts, **{**attrs, "groups": attrs["groups"] * n}), n)
    return rule


def _attention(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> list[Tensor]:
    """The examples are more sequences: (n, N, ...) -> (n N, ...)."""
    whole = [lift(x, n, b) for x, b in zip(xs, on, strict=True)]
    count = whole[0].shape[1]
    full = [broadcast_to(x, (n, count, *x.shape[2:])) for x in whole]  # a mask may be one for all sequences
    return [reshape(y, (n, count, *y.shape[1:])) for y in bind(op, *map(_fold, full), **attrs)]


# ---- positions

def _take(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    x, indices = xs
    axis = attrs["axis"]
    if not on[1]:
        return bind(TAKE, x, indices, axis=axis + 1)
    if not on[0]:
        return move(bind(TAKE, x, indices, axis=axis), axis, 0)
    rows = _rows(x, axis)
    found = bind(TAKE, rows, _places(indices, x.shape[axis + 1]), axis=0)  # (n, *I, *before, *after)
    k = indices.ndim
    return permute_dims(found, (0, *range(k, k + axis), *range(1, k), *range(k + axis, found.ndim)))


def _scatter(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Tensor:
    (base, indices, updates), axis, how = xs, attrs["axis"], {k: v for k, v in attrs.items() if k != "axis"}
    base, updates = lift(base, n, on[0]), lift(updates, n, on[2])
    if not on[1]:
        return bind(SCATTER, base, indices, updates, axis=axis + 1, **how)
    k = indices.ndim - 1
    own, before, after = range(1 + axis, 1 + axis + k), range(1, 1 + axis), range(1 + axis + k, updates.ndim)
    values = permute_dims(updates, (0, *own, *before, *after))
    rows = bind(SCATTER, _rows(base, axis), _places(indices, base.shape[axis + 1]), values, axis=0, **how)
    moved = reshape(rows, (n, base.shape[axis + 1], *rows.shape[1:]))
    return move(moved, 1, axis + 1)


def _rows(x: Tensor, axis: int) -> Tensor:
    """(n, *before, extent, *after) -> (n extent, *before, *after): the positions of all examples along one axis."""
    moved = move(x, axis + 1, 1)
    return reshape(moved, (moved.shape[0] * moved.shape[1], *moved.shape[2:]))


def _places(indices: Tensor, extent: int) -> Tensor:
    """Positions in the rows of all examples; what was out of bounds stays so."""
    own = wrap(astype(indices, int64), extent)
    first = iota((indices.shape[0], *(1,) * (indices.ndim - 1)), 0) * extent
    return own + broadcast_to(first, own.shape)


# ---- the table

_same = along()
_axis, _axes = along("axis"), along("axes")
_POINTWISE = (
    "neg abs sign exp expm1 log log1p log2 log10 sqrt sin cos tan asin acos sinh cosh tanh asinh acosh atanh erf floor "
    "ceil round "
    "not add sub mul div pow maximum minimum "
    "atan2 floor_divide remainder and or xor shift_left shift_right equal less less_equal where cast bitcast bfloat16 "
    "barrier require "
    "cholesky solve slogdet qr eigh svd"  # matrices are the last two axes
)
# fmt: off
RULES: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE.split(), _same),
    "reshape":   _reshape,
    "transpose": _transpose,
    "slice":     _slice,
    "pad":       _pad,
    "broadcast": _broadcast,
    "concat":    _axis,
    "window":    _axes,
    "unwindow":  _axes,
    "sum":       _axes,
    "max":       _axes,
    "min":       _axes,
    "argmax":    _axis,
    "argmin":    _axis,
    "cumsum":    _axis,
    "sort":      _axis,
    "argsort":   _axis,
    "contract":  _contract,
    "packed_product": _packed_product,
    "conv":                 _convolution(shared=1),
    "conv_input_gradient":  _convolution(shared=1),
    "conv_filter_gradient": _convolution(shared=None),
    "attention":            _attention,
    "attention_gradient":   _attention,
    "take":        _take,
    "scatter":     _scatter,
    "random_bits": one_by_one,  # a state of its own for each example
}
# fmt: on
STRUCTURAL = ("custom_gradient", "scan", "while")  # they hold functions and programs: see `mapping`
NEVER = ("input", "constant", "output", "iota")  # they have no operands that could be batched


def batched(op: Op, n: int, xs: Sequence[Tensor], on: Flags, attrs: dict[str, Any]) -> Any:
    """The operation on a batch of n, by its rule or one by one."""
    return RULES.get(op.name, one_by_one)(op, n, xs, on, attrs)
