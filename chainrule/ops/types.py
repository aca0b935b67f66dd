# SPDX-License-Identifier: Apache-2.0
"""Type rules that several operations share, and the shape arithmetic behind them: one function per rule."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import AxisError, DTypeError, ShapeError, explain, layer_path
from ..ir.dtype import bool_
from ..ir.node import Shape, Type


def same(*types: Type, **_: Any) -> Type:
    """All operands have one type, and so has the result."""
    first = types[0]
    for other in types[1:]:
        if other != first:
            raise ShapeError(explain("operands of an elementwise operation must agree",
                                     got=" and ".join(map(str, types)),
                                     fix="broadcast and cast them first (the public functions do)"))
    return first


def comparison(*types: Type) -> Type:
    """Operands of one type give booleans."""
    return Type(same(*types).shape, bool_)


def only(kinds: str, words: str) -> Any:
    """The rule `same`, for dtypes of the given kinds (NumPy's letters)."""
    def rule(*types: Type, **attrs: Any) -> Type:
        if types[0].dtype.kind not in kinds:
            raise DTypeError(explain(f"this operation needs {words}", got=str(types[0]),
                                     fix="cast the operand with cr.astype(x, ...)"))
        return same(*types, **attrs)
    return rule


floating = only("f", "a floating-point operand")
numeric = only("iuf", "a numeric operand")
integral = only("biu", "an integer or boolean operand")
integer = only("iu", "an integer operand")


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape in which all `shapes` meet by NumPy's rule; ShapeError when they do not."""
    different = {shape for shape in shapes if shape}
    if len(different) < 2:  # the common case, for which NumPy's function is slow
        return different.pop() if different else ()
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise ShapeError(explain("these shapes do not broadcast", got=" and ".join(map(str, shapes)),
                                 expected="equal extents, or 1, counted from the last axis",
                                 fix=_broadcast_fix(shapes))) from None


_strict: contextvars.ContextVar[bool] = contextvars.ContextVar("chainrule_strict", default=False)


@contextlib.contextmanager
def strict_broadcasting() -> Iterator[None]:
    """Within, arrays of different numbers of axes do not meet: (n, 1) with (n,), which gives (n, n), is a ShapeError.

    Numbers, equal shapes and extents of 1 between arrays of as many axes are fine; layers keep to their own rules.

    >>> with cr.strict_broadcasting():
    ...     try:
    ...         cr.zeros((3, 1)) - cr.zeros(3)
    ...     except cr.errors.ShapeError:
    ...         print("an axis is missing")
    an axis is missing
    """
    token = _strict.set(True)
    try:
        yield
    finally:
        _strict.reset(token)


def meeting_shape(*shapes: Shape) -> Shape:
    """The shape in which operands meet; under `strict_broadcasting` only those of as many axes do."""
    if _strict.get() and len({len(shape) for shape in shapes if shape}) > 1 and layer_path() is None:
        raise ShapeError(explain("arrays of different numbers of axes meet, which is refused here",
                                 got=" and ".join(map(str, shapes)),
                                 expected="as many axes on both sides (strict_broadcasting)",
                                 fix=_broadcast_fix(shapes)))
    return broadcast_shapes(*shapes)


def _broadcast_fix(shapes: Sequence[Shape]) -> str:
    a, b = shapes[0], shapes[-1]
    if len(a) == 2 and len(b) == 1 and a[0] == b[0]:
        return "one value per row needs shape (rows, 1): y[:, None]"
    if len(b) == 2 and len(a) == 1 and b[0] == a[0]:
        return "one value per row needs shape (rows, 1): x[:, None]"
    return "reshape one operand, or insert an axis with cr.expand_dims"


def normalize_axis(axis: int, ndim: int) -> int:
    """`axis` counted from the front; AxisError when there is no such axis."""
    if not -ndim <= axis < ndim:
        raise AxisError(explain(f"there is no axis {axis}", got=f"an array with {ndim} axes",
                                expected=f"an axis from {-ndim} to {ndim - 1}" if ndim else "no axis at all"))
    return axis % ndim


def normalize_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """None (all), an int or a tuple of ints as sorted axes counted from the front, each once."""
    if axis is None:
        return tuple(range(ndim))
    axes = [normalize_axis(int(a), ndim) for a in (axis if isinstance(axis, tuple | list) else (axis,))]
    if len(set(axes)) != len(axes):
        raise ShapeError(explain("an axis is named twice", got=str(axis)))
    return tuple(sorted(axes))


def without(shape: Shape, axes: Sequence[int]) -> Shape:
    """`shape` less the extents of `axes`."""
    return tuple(extent for i, extent in enumerate(shape) if i not in axes)


def window_extent(extent: int, kernel: int, stride: int, dilation: int) -> int:
    """How many windows of `kernel` elements `dilation` apart fit into `extent`, `stride` apart: floor((n - r) / s) + 1.
    """
    return max((extent - ((kernel - 1) * dilation + 1)) // stride + 1, 0)
