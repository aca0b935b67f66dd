# SPDX-License-Identifier: Apache-2.0
"""Several tensors as one: layers called with the tensors, or with one list of them: `nn.Add()(a, b)`, `nn.Add()([a,
b])`. Sums and products of integers are computed in int64 (of uint64 in float32), so that small types do not wrap."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...errors import ArgumentError, ShapeError, explain
from ...ir.dtype import int64, is_float, uint64
from ...ops.compose import concat, unit
from ...ops.elementwise import add, as_float, astype, maximum, minimum, multiply, subtract
from ...ops.reduce import sum
from ...ops.types import normalize_axis
from ..core.module import Module
from ..core.symbols import MERGED


class Merging(Module):
    """What they share: two tensors or more, all of one shape but for axes of extent 1, which are repeated."""

    least = 2

    def forward(self, *inputs: Any) -> Any:
        parts = list(inputs[0]) if len(inputs) == 1 and isinstance(inputs[0], list | tuple) else list(inputs)
        if len(parts) < self.least:
            raise ArgumentError(explain(f"{type(self).__name__} takes at least two tensors", got=f"{len(parts)}",
                                        fix=f"{type(self).__name__}()(a, b)"))
        ranks = {x.ndim for x in parts}
        if len(ranks) > 1:
            raise ShapeError(explain("the tensors have different numbers of axes",
                                     got=", ".join(str(x.shape) for x in parts), expected="one number of axes"))
        return self.merge(parts)

    def merge(self, parts: list[Any]) -> Any:
        """One tensor from several."""
        raise NotImplementedError


def _wide(x: Any) -> Any:
    """Integers and booleans in a type whose sums and products hold."""
    if is_float(x.dtype) or x.dtype == int64:
        return x
    return as_float(x) if x.dtype == uint64 else astype(x, int64)


def _of(name: str, function: Callable[[Any, Any], Any], text: str, shown: str,
        prepare: Callable[[Any], Any] = lambda x: x) -> type[Module]:
    def merge(self: Any, parts: list[Any]) -> Any:
        return functools.reduce(function, map(prepare, parts))
    example = f"    >>> nn.{name}()(cr.asarray([[1.0, 5.0]]), cr.asarray([[3.0, 2.0]])).numpy()\n    {shown}\n"
    return type(name, (Merging,), {"merge": merge, "__doc__": f"{text} {(Merging.__doc__ or '').rstrip()}\n\n{example}",
                                   "__module__": __name__})


Add = _of("Add", add, "The sum of all.", "array([[4., 7.]], dtype=float32)", _wide)
Subtract = _of("Subtract", subtract, "The first minus the others.", "array([[-2.,  3.]], dtype=float32)", _wide)
Multiply = _of("Multiply", multiply, "The product of all.", "array([[ 3., 10.]], dtype=float32)", _wide)
Maximum = _of("Maximum", maximum, "The largest of all, element by element.", "array([[3., 5.]], dtype=float32)")
Minimum = _of("Minimum", minimum, "The smallest of all, element by element.", "array([[1., 2.]], dtype=float32)")
MERGED.update(Add=Add, Subtract=Subtract, Multiply=Multiply)


class Average(Merging):
    __doc__ = f"""The mean of all. {Merging.__doc__}

    >>> nn.Average()(cr.asarray([[1.0, 5.0]]), cr.asarray([[3.0, 2.0]])).numpy()
    array([[2. , 3.5]], dtype=float32)
    """

    def merge(self, parts: list[Any]) -> Any:
        return functools.reduce(add, map(as_float, parts)) * (1 / len(parts))


class Concatenate(Merging):
    """The tensors one after another along `axis`; the other extents are equal.

    >>> nn.Concatenate()(cr.ones((2, 3)), cr.ones((2, 5))).shape
    (2, 8)
    """

    def __init__(self, axis: int = -1):
        self.axis = axis

    def merge(self, parts: list[Any]) -> Any:
        axis = normalize_axis(self.axis, parts[0].ndim)
        shapes = [(*x.shape[:axis], *x.shape[axis + 1:]) for x in parts]
        if len(set(shapes)) > 1:
            raise ShapeError(explain(f"only the extents of axis {self.axis} may differ",
                                     got=", ".join(str(x.shape) for x in parts),
                                     fix="pad, crop or resample what does not fit"))
        return concat(parts, axis=axis)


class Dot(Merging):
    """The product of two tensors summed over their last axis; with `normalize`, the cosine of their angle.

    >>> nn.Dot()(cr.asarray([[1.0, 2.0]]), cr.asarray([[3.0, 4.0]])).numpy()
    array([[11.]], dtype=float32)
    """

    def __init__(self, normalize: bool = False):
        self.normalize = normalize

    def merge(self, parts: list[Any]) -> Any:
        if len(parts) != 2:
            raise ArgumentError(explain("Dot takes two tensors", got=str(len(parts))))
        a, b = map(self._unit if self.normalize else _wide, parts)
        return sum(a * b, axis=-1, keepdims=True)

    def _unit(self, x: Any) -> Any:
        return unit(x, 1e-6)
