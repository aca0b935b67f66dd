# SPDX-License-Identifier: Apache-2.0
"""What `x + y`, `x[...]`, `x @ y` mean: the words put on Tensor and Variable, in one table, and indexing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import BoundsError, DTypeError, ShapeError, TraceError, explain
from ..foundations.arguments import guard, is_whole
from ..ir.bind import as_tensor, bind
from ..ir.dtype import bool_, int64, is_integer
from ..ir.tensor import Tensor
from ..ir.trace import current_trace
from ..ir.variable import Variable
from . import elementwise as e
from . import reduce, types
from .broadcast import broadcast_to
from .compose import greater, greater_equal, matmul, matrix_transpose, not_equal
from .index import iota, scatter, take, wrap
from .movement import SLICE, permute_dims, reshape

# ---- indexing: slices, integers, None and ... first, then at most one group of index arrays


def getitem(x: Any, key: Any) -> Tensor:
    """x[key] with slices, integers, None, `...`, integer arrays and (outside compiled functions) boolean masks."""
    x = as_tensor(x)
    items = [item for part in (key if isinstance(key, tuple) else (key,)) for item in _item(part)]
    x, left = _basic(x, _expanded(x, items))
    arrays = [(axis, item) for axis, item in enumerate(left) if item is not None]
    return _advanced(x, arrays, _together(items)) if arrays else x


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value: the handle moves to a new array; what was computed from the old one stays as it is."""
    if current_trace() is not None or x.node.data is None:
        raise TraceError(explain("a tensor cannot be assigned to in place in a compiled function",
                                 fix="use cr.where(mask, value, x), or keep the array in a cr.Variable"))
    x.node = _updated(x, key, value).node


def set_rows(variable: Variable, key: Any, value: Any) -> None:
    """variable[key] = value: the Variable is assigned what it held, with the elements at `key` replaced."""
    variable.assign(_updated(variable.value, key, value))


def _updated(x: Tensor, key: Any, value: Any) -> Tensor:
    positions = getitem(reshape(iota((x.size,), 0), x.shape), key)
    value = as_tensor(value, x.dtype if isinstance(value, bool | int | float) else None, x.dtype)
    if value.dtype != x.dtype:
        if np.result_type(value.dtype, x.dtype) != x.dtype:
            raise DTypeError(explain("the value has a wider dtype than the array", got=str(value.dtype),
                                     expected=str(x.dtype), fix="cast it with cr.astype(value, x.dtype)"))
        value = e.astype(value, x.dtype)
    value = _fitted(value, positions.shape)
    flat = scatter(reshape(x, (x.size,)), reshape(positions, (positions.size,)), reshape(value, (positions.size,)),
                   mode="set")
    return reshape(flat, x.shape)


def _fitted(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    lead = value.ndim - len(shape)
    if lead > 0 and all(n == 1 for n in value.shape[:lead]):
        value = reshape(value, value.shape[lead:])
    return broadcast_to(value, shape)


def _expanded(x: Tensor, items: list[Any]) -> list[Any]:
    """The items with `...` written out, one per axis (None adds one)."""
    used = sum(1 for item in items if item is not None and item is not Ellipsis and not _is_single(item))
    if used > x.ndim:
        raise BoundsError(explain("there are more indices than axes", got=f"{used} indices",
                                  expected=f"at most {x.ndim} for shape {x.shape}"))
    if sum(1 for item in items if item is Ellipsis) > 1:
        raise BoundsError(explain("an index may hold one `...` only",
                                  got=f"{sum(1 for item in items if item is Ellipsis)} of them"))
    rest = [slice(None)] * (x.ndim - used)
    if not any(item is Ellipsis for item in items):
        return [*items, *rest]
    at = next(i for i, item in enumerate(items) if item is Ellipsis)
    return [*items[:at], *rest, *items[at + 1:]]


def _item(item: Any) -> list[Any]:
    """A part of a key as items: a list as an array, a mask as one item for each of its axes."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return [item]
    if isinstance(item, int | np.integer) and not isinstance(item, bool | np.bool_):
        return [int(item)]
    array = as_tensor(item)
    if array.dtype == bool_:
        return [_Mask(array, axis) for axis in range(array.ndim or 1)]
    if not is_integer(array.dtype):
        raise DTypeError(explain("an index must be an integer, a slice, None, `...` or a boolean mask",
                                 got=f"{array.dtype}", fix="cast it with cr.astype(i, cr.int64)"))
    return [array]


def _is_single(item: Any) -> bool:
    """Whether the item is a mask without axes, which selects all or nothing along a new axis."""
    return isinstance(item, _Mask) and not item.mask.ndim


class _Mask:
    """One axis of a boolean mask; its positions are known once the mask's data are."""

    def __init__(self, mask: Tensor, axis: int):
        self.mask, self.axis = mask, axis

    def positions(self, shape: tuple[int, ...]) -> Tensor:
        if self.mask.ndim != len(shape) or any(m not in (n, 0) for m, n in zip(self.mask.shape, shape, strict=True)):
            raise BoundsError(explain("a boolean mask must have the shape of the axes it selects from",
                                      got=f"mask {self.mask.shape}", expected=str(shape)))
        known = self.mask._data("a boolean mask", "use cr.where(mask, a, b), whose shape does not depend on the data")
        return as_tensor(np.nonzero(np.atleast_1d(known))[self.axis])


def _basic(x: Tensor, items: list[Any]) -> tuple[Tensor, list[Any]]:
    """Apply slices, integers and new axes; what is left is one entry per axis: an index array or None."""
    start, count, step, shape = list[int](), list[int](), list[int](), list[int]()
    left: list[Any] = []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            left.append(None)
            continue
        if _is_single(item):
            shape.append(1)
            left.append(item.positions(()))
            continue
        first, n, d = _range(item, x.shape[axis], axis)
        start.append(first)
        count.append(n)
        step.append(d)
        if not isinstance(item, int):
            shape.append(n)
            left.append(_positions(item, x, axis))
        axis += 1
    if tuple(count) != x.shape or any(d != 1 for d in step):
        x = bind(SLICE, x, start=tuple(start), count=tuple(count), step=tuple(step))
    return reshape(x, tuple(shape)), left


def _positions(item: Any, x: Tensor, axis: int) -> Tensor | None:
    if isinstance(item, _Mask):
        lead = axis - item.axis
        return item.positions(x.shape[lead:lead + item.mask.ndim])
    return item if isinstance(item, Tensor) else None


def _range(item: Any, extent: int, axis: int) -> tuple[int, int, int]:
    """(start, count, step) of an integer or a slice; index arrays take the whole axis for now."""
    if isinstance(item, slice):
        if not all(b is None or is_whole(b) for b in (item.start, item.stop, item.step)):
            raise DTypeError(explain("the bounds of a slice are integers", got=f"{item.start}:{item.stop}:{item.step}",
                                     fix="round them with int(...)"))
        if item.step is not None and int(item.step) == 0:
            raise BoundsError(explain("the step of a slice must not be 0", got="x[::0]"))
        bounds = [None if b is None else int(b) for b in (item.start, item.stop, item.step)]
        start, stop, step = slice(*bounds).indices(extent)
        n = len(range(start, stop, step))
        return (start if n else 0), n, (step if n else 1)
    if isinstance(item, int):
        if not -extent <= item < extent:
            raise BoundsError(explain(f"index {item} is out of bounds for axis {axis}", got=str(item),
                                      expected=f"{-extent} to {extent - 1}" if extent else "nothing: the axis is empty",
                                      fix="indices start at 0; the last element is x[-1]"))
        return item % extent, 1, 1
    return 0, extent, 1


def _together(items: list[Any]) -> bool:
    """Whether index arrays stand side by side in the key; beside them an integer is an array without axes, as in NumPy.
    """
    places = [i for i, item in enumerate(items) if isinstance(item, int | Tensor | _Mask)]
    return places[-1] - places[0] == len(places) - 1


def _advanced(x: Tensor, arrays: list[tuple[int, Tensor]], together: bool) -> Tensor:
    """Index arrays broadcast together; their axes come where they index, or first if something stands between the
    arrays."""
    axes = [axis for axis, _ in arrays]
    shape = types.broadcast_shapes(*(index.shape for _, index in arrays))
    rest = [i for i in range(x.ndim) if i not in axes]
    target = axes[0] if together else 0
    flat = np.prod([x.shape[a] for a in axes], dtype=np.int64)
    lead = rest[:target]
    moved = reshape(permute_dims(x, (*lead, *axes, *rest[target:])),
                    (*(x.shape[i] for i in lead), int(flat), *(x.shape[i] for i in rest[target:])))
    return take(moved, _linear(x, arrays, shape), axis=target)


def _linear(x: Tensor, arrays: list[tuple[int, Tensor]], shape: tuple[int, ...]) -> Tensor:
    if len(arrays) == 1:
        return arrays[0][1]
    total: Any = 0
    lowest: Any = 0  # a product with -huge may come back into bounds, so the part that is out is carried beside
    for axis, index in arrays:
        extent = x.shape[axis]
        part = wrap(e.astype(broadcast_to(index, shape), int64), extent)
        total, lowest = total * extent + part, e.minimum(part, lowest)
    return e.where(e.less(lowest, 0), lowest, total)


# ---- the table

def _reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda self, other: function(other, self)


def _operator(function: Callable[..., Tensor]) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, Tensor | Variable | np.ndarray | np.generic | bool | int | float):
            return NotImplemented
        return function(self, other)
    return method


# fmt: off
_BINARY: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": e.add, "sub": e.subtract, "mul": e.multiply, "truediv": e.divide, "floordiv": e.floor_divide,
    "mod": e.remainder,
    "pow": e.power, "matmul": matmul, "and": e.bitwise_and, "or": e.bitwise_or, "xor": e.bitwise_xor,
    "lshift": e.bitwise_left_shift, "rshift": e.bitwise_right_shift,
}
_COMPARE: dict[str, Callable[[Any, Any], Tensor]] = {
    "eq": e.equal, "ne": not_equal, "lt": e.less, "le": e.less_equal, "gt": greater, "ge": greater_equal,
}
_UNARY: dict[str, Callable[[Any], Tensor]] = {
    "neg": e.negative, "pos": as_tensor, "abs": e.abs, "invert": e.bitwise_invert,
}
# fmt: on


guard(globals(), ("getitem", "set_rows", "setitem"))


def _install(kind: Any, assigned: Callable[..., None]) -> None:
    for name, function in {**_BINARY, **_COMPARE}.items():
        setattr(kind, f"__{name}__", _operator(function))
    for name, function in _BINARY.items():
        setattr(kind, f"__r{name}__", _operator(_reflected(function)))
    for name, unary in _UNARY.items():
        setattr(kind, f"__{name}__", lambda self, unary=unary: unary(self))
    kind.__getitem__, kind.__setitem__ = getitem, assigned
    kind.__contains__ = lambda self, item: bool(reduce.any(e.equal(self, item)))
    kind.T, kind.mT = property(_need_axes), property(matrix_transpose)


def _need_axes(x: Any) -> Tensor:
    x = as_tensor(x)
    if x.ndim != 2:
        raise ShapeError(explain(".T is for matrices", got=f"shape {x.shape}",
                                 fix="use .mT or cr.permute_dims(x, axes)"))
    return permute_dims(x, (1, 0))


_AS_ITS_VALUE = ("len", "iter", "bool", "int", "float", "complex", "index", "format", "round", "dlpack",
                 "dlpack_device")


def _of_value(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)
    return lambda self, *args, **options: method(self.value, *args, **options)


_install(Tensor, setitem)
_install(Variable, set_rows)
for _name in _AS_ITS_VALUE:
    setattr(Variable, f"__{_name}__", _of_value(f"__{_name}__"))
