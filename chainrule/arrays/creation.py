# SPDX-License-Identifier: Apache-2.0
"""Creation functions of the array API standard: from numbers, sequences, other libraries' arrays, and rules.

What is made here has no history, except `asarray` of Tensors and lists of Tensors, through which gradients flow. Floats
made from Python numbers are float32. Inside a compiled function the result is a constant or a rule of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard, unmasked
from ..ir.bind import as_tensor, contains, leaf
from ..ir.dtype import DEFAULT_FLOAT, DEFAULT_INT, canonical, is_float
from ..ir.memory import room_for
from ..ir.tensor import Tensor
from ..ir.trace import current_trace
from ..ir.variable import Variable
from ..ops.broadcast import broadcast_to
from ..ops.compose import stack
from ..ops.elementwise import astype, equal, less, where
from ..ops.elementwise import full_like as _full_like
from ..ops.index import iota
from ..ops.movement import reshape
from ..ops.types import normalize_axis
from ..typing import ArrayLike, Device, DTypeLike

DEVICES = ("cpu",)


def check_device(device: Any) -> None:
    """Raise ArgumentError for anything but None and "cpu", where eager tensors live."""
    if device is not None and device not in DEVICES:
        raise ArgumentError(explain("eager tensors live on the CPU", got=f"device {device!r}", expected='"cpu" or None',
                                    fix='compile the function for another device: cr.compile(f, backend="xla")'))


# ---- from what is there already

def asarray(obj: ArrayLike, /, *, dtype: DTypeLike | None = None, device: Device = None,
            copy: bool | None = None) -> Tensor:
    """A Tensor of `obj`: Tensor, Variable, NumPy array, number, nested sequence, buffer or DLPack array of any library.

    Args:
        dtype: of the result; default what `obj` has, float32 for Python floats, int64 for ints.
        copy: None copies where needed only, True always, False raises ArgumentError where a copy is needed. A NumPy
            array that is not copied shares its memory, and should not be written to afterwards.

    Sequences that hold Tensors are stacked, and gradients flow through.

    >>> cr.asarray([[1, 2], [3, 4]], dtype="float32")
    Tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    check_device(device)
    if isinstance(obj, Tensor | Variable):
        return _from_tensor(as_tensor(obj), dtype, copy)
    if isinstance(obj, list | tuple) and contains(obj, Tensor | Variable):
        _refuse_copy(copy, "a sequence of tensors")
        joined = _stacked(obj)
        return joined if dtype is None else astype(joined, dtype)
    return _from_foreign(obj, dtype, copy)


def _from_tensor(x: Tensor, dtype: Any, copy: bool | None) -> Tensor:
    if dtype is not None and canonical(dtype) != x.dtype:
        _refuse_copy(copy, f"a conversion from {x.dtype} to {canonical(dtype)}")
        return astype(x, dtype)
    return Tensor(x.node) if copy else x  # nodes never change, so another handle is another array


def _stacked(items: Any) -> Tensor:
    if isinstance(items, list | tuple):
        return stack([_stacked(item) for item in items])
    return as_tensor(items)


def _from_foreign(obj: Any, dtype: Any, copy: bool | None) -> Tensor:
    if isinstance(obj, bool | int | float | list | tuple) and not isinstance(obj, np.generic):
        _refuse_copy(copy, "a Python object")
        return as_tensor(obj, dtype)
    array = _as_numpy(obj)
    wanted = canonical(array.dtype if dtype is None else dtype)
    if wanted != array.dtype:
        _refuse_copy(copy, f"a conversion from {array.dtype} to {wanted}")
    return as_tensor(np.array(array, dtype=wanted, copy=True) if copy else array, wanted)


def _as_numpy(obj: Any) -> np.ndarray:
    if isinstance(obj, np.ndarray | np.generic) or not hasattr(obj, "__dlpack__"):
        return np.asarray(unmasked(obj))
    return np.from_dlpack(obj)


def _refuse_copy(copy: bool | None, what: str) -> None:
    if copy is False:
        raise ArgumentError(explain("this needs a copy, which copy=False forbids", got=what, fix="leave copy=None"))


def from_dlpack(x: ArrayLike, /, *, device: Device = None, copy: bool | None = None) -> Tensor:
    """The array of another library, through DLPack; memory is shared where it can be, unless `copy`.

    >>> cr.from_dlpack(np.array([1.0, 2.0]))
    Tensor([1., 2.], dtype=float64)
    """
    check_device(device)
    array = np.from_dlpack(unmasked(x))
    return as_tensor(np.array(array, copy=True) if copy else array)


# ---- from a shape

def full(shape: int | Sequence[int], fill_value: ArrayLike, *, dtype: DTypeLike | None = None,
         device: Device = None) -> Tensor:
    """An array of the shape, each element `fill_value`.

    >>> cr.full((2, 2), 7)
    Tensor([[7, 7],
            [7, 7]], dtype=int64)
    """
    check_device(device)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    value = as_tensor(fill_value, dtype)
    if current_trace() is None and not isinstance(fill_value, Tensor | Variable):
        with room_for("full", shape, value.dtype):
            return leaf(np.full(shape, value.node.data))
    return broadcast_to(value if dtype is None else astype(value, dtype), shape)


def zeros(shape: int | Sequence[int], *, dtype: DTypeLike | None = None, device: Device = None) -> Tensor:
    """An array of zeros, float32 unless `dtype` says otherwise.

    >>> cr.zeros((2, 2))
    Tensor([[0., 0.],
            [0., 0.]], dtype=float32)
    """
    return full(shape, 0, dtype=DEFAULT_FLOAT if dtype is None else dtype, device=device)


def ones(shape: int | Sequence[int], *, dtype: DTypeLike | None = None, device: Device = None) -> Tensor:
    """An array of ones, float32 unless `dtype` says otherwise.

    >>> cr.ones((2, 2))
    Tensor([[1., 1.],
            [1., 1.]], dtype=float32)
    """
    return full(shape, 1, dtype=DEFAULT_FLOAT if dtype is None else dtype, device=device)


def empty(shape: int | Sequence[int], *, dtype: DTypeLike | None = None, device: Device = None) -> Tensor:
    """An array whose content does not matter; here zeros, so that every run gives the same.

    >>> cr.empty((2, 3)).shape
    (2, 3)
    """
    return zeros(shape, dtype=dtype, device=device)


def full_like(x: ArrayLike, /, fill_value: ArrayLike, *, dtype: DTypeLike | None = None,
              device: Device = None) -> Tensor:
    """An array of the shape (and dtype, unless given) of `x`, each element `fill_value`.

    >>> cr.full_like([1.0, 2.0], 5)
    Tensor([5., 5.], dtype=float32)
    """
    check_device(device)
    return _full_like(x, fill_value, dtype=dtype)


def empty_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None, device: Device = None) -> Tensor:
    """An array like `x` whose content does not matter; here zeros.

    >>> cr.empty_like([1, 2, 3]).dtype
    dtype('int64')
    """
    return full_like(x, 0, dtype=dtype, device=device)


def zeros_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None, device: Device = None) -> Tensor:
    """An array of zeros of the shape (and dtype, unless given) of `x`.

    >>> cr.zeros_like([1, 2, 3])
    Tensor([0, 0, 0], dtype=int64)
    """
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None, device: Device = None) -> Tensor:
    """An array of ones of the shape (and dtype, unless given) of `x`.

    >>> cr.ones_like([1, 2, 3])
    Tensor([1, 1, 1], dtype=int64)
    """
    return full_like(x, 1, dtype=dtype, device=device)


# ---- from a rule

def arange(start: float, /, stop: float | None = None, step: float = 1, *, dtype: DTypeLike | None = None,
           device: Device = None) -> Tensor:
    """start, start + step, ... up to and without `stop`; `arange(n)` counts 0, 1, ..., n - 1.

    ints give int64, floats float32; the values are computed in float64 and rounded once.

    >>> cr.arange(2, 8, 2)
    Tensor([2, 4, 6], dtype=int64)
    """
    check_device(device)
    start, stop = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(v, int) for v in (start, stop, step))
    target = canonical(dtype) if dtype is not None else DEFAULT_INT if whole else DEFAULT_FLOAT
    if step == 0:
        raise ArgumentError(explain("the step of arange must not be 0", got=f"arange({start}, {stop}, {step})"))
    with room_for("arange", (_count(start, stop, step),), target):
        return as_tensor(_arange(start, stop, step, target).astype(target))


def _count(start: float, stop: float, step: float) -> int:
    if all(isinstance(v, int) for v in (start, stop, step)):
        return len(range(start, stop, step))  # type: ignore[arg-type]
    return max(int(np.ceil((stop - start) / step)), 0)


def _arange(start: float, stop: float, step: float, target: np.dtype) -> np.ndarray:
    count = _count(start, stop, step)
    if all(isinstance(v, int) for v in (start, stop, step)) and not is_float(target):
        first = np.array(start, dtype=target) if count else np.array(0, dtype=target)
        return first + np.arange(count).astype(target) * np.asarray(step).astype(target)
    return start + np.arange(count) * step


def linspace(start: float, stop: float, /, num: int, *, dtype: DTypeLike | None = None, device: Device = None,
             endpoint: bool = True) -> Tensor:
    """`num` evenly spaced values from `start` to `stop` (without it, if not `endpoint`); float32 unless `dtype` is
    given.

    >>> cr.linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    check_device(device)
    target = DEFAULT_FLOAT if dtype is None else canonical(dtype)
    if np.ndim(start) or np.ndim(stop):
        raise ShapeError(explain("the ends of a row of numbers are two numbers",
                                 got=f"shapes {np.shape(start)} and {np.shape(stop)}"))
    with room_for("linspace", (num,), np.float64):
        return as_tensor(np.linspace(start, stop, num, endpoint=endpoint, dtype=np.float64).astype(target))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DTypeLike | None = None,
        device: Device = None) -> Tensor:
    """Ones on diagonal `k` (0 the main one, 1 the one above it), zeros elsewhere.

    >>> cr.eye(2, 3, k=1)
    Tensor([[0., 1., 0.],
            [0., 0., 1.]], dtype=float32)
    """
    check_device(device)
    shape = (n_rows, n_rows if n_cols is None else n_cols)
    return astype(equal(iota(shape, 1), iota(shape, 0) + _within(k, shape)), DEFAULT_FLOAT if dtype is None else dtype)


def tril(x: ArrayLike, /, *, k: int = 0) -> Tensor:
    """The lower triangles of the matrices (..., m, n): zero above diagonal `k`.

    >>> cr.tril([[1, 2], [3, 4]])
    Tensor([[1, 0],
            [3, 4]], dtype=int64)
    """
    x = as_tensor(x)
    return where(_above(x, k), zeros_like(x), x)


def triu(x: ArrayLike, /, *, k: int = 0) -> Tensor:
    """The upper triangles of the matrices (..., m, n): zero below diagonal `k`.

    >>> cr.triu([[1, 2], [3, 4]])
    Tensor([[1, 2],
            [0, 4]], dtype=int64)
    """
    x = as_tensor(x)
    return where(_above(x, k - 1), x, zeros_like(x))


def _above(x: Tensor, k: int) -> Tensor:
    if x.ndim < 2:
        raise ArgumentError(explain("a triangle needs matrices", got=f"shape {x.shape}", expected="(..., m, n)"))
    return less(iota(x.shape[-2:], 0) + _within(k, x.shape[-2:]), iota(x.shape[-2:], 1))


def _within(k: int, shape: Sequence[int]) -> int:
    """The number of a diagonal; of those outside of the matrix, the nearest."""
    return sorted((-shape[0] - 1, k, shape[1]))[1]


def meshgrid(*arrays: ArrayLike, indexing: str = "xy") -> list[Tensor]:
    """Coordinate arrays of the grid spanned by 1-d `arrays`; "xy" exchanges the first two axes, "ij" does not.

    >>> x, y = cr.meshgrid([0, 1, 2], [10, 20])
    >>> y
    Tensor([[10, 10, 10],
            [20, 20, 20]], dtype=int64)
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(explain("there is no such indexing", got=repr(indexing), expected='"xy" | "ij"'))
    parts = [as_tensor(x) for x in arrays]
    order = list(range(len(parts)))
    if indexing == "xy" and len(parts) > 1:
        order[0], order[1] = 1, 0
    shape = [0] * len(parts)
    for x, axis in zip(parts, order, strict=True):
        shape[axis] = x.size
    return [broadcast_to(_along(x, axis, len(parts)), tuple(shape)) for x, axis in zip(parts, order, strict=True)]


def _along(x: Tensor, axis: int, ndim: int) -> Tensor:
    axis = normalize_axis(axis, ndim)
    return reshape(x, tuple(x.size if i == axis else 1 for i in range(ndim)))


__all__ = ["arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace",
           "meshgrid",
           "ones", "ones_like", "tril", "triu", "zeros", "zeros_like"]

guard(globals(), __all__)
