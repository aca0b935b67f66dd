# SPDX-License-Identifier: Apache-2.0
"""Arrays whose axes have names: they meet by name, not by position, so that a batch can never meet a feature.

    x = cr.named(images, "batch pixel")
    y = (x - x.mean("batch")) / x.std("batch")        # no [None, :], no keepdims
    z = y.dot(cr.named(w, "unit pixel"), "pixel")     # axes "batch unit"
    z.tensor("batch unit")                            # the plain array, in this order

A Named holds a Tensor and nothing else: gradients, `cr.compile` and `cr.vmap` see ordinary operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import AxisError, ShapeError, explain
from ..foundations.names import closest
from ..ir.bind import as_tensor
from ..ir.dtype import promote
from ..ir.tensor import Tensor
from ..ops import compose, reduce
from ..ops import elementwise as e
from ..ops.contract import contract
from ..ops.movement import permute_dims, reshape
from ..typing import ArrayLike


class Named:
    """A tensor with a name for each axis; made by `cr.named`.

    Attributes: axes (the names), shape, dtype.

    >>> x = cr.named(np.ones((2, 3)), "batch feature")
    >>> isinstance(x, cr.Named), x.axes
    (True, ('batch', 'feature'))
    """

    __slots__ = ("_tensor", "axes")
    __array_ufunc__ = None

    def __init__(self, tensor: Tensor, axes: tuple[str, ...]):
        self._tensor, self.axes = tensor, axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of each axis."""
        return self._tensor.shape

    @property
    def dtype(self) -> Any:
        """Data type of the elements."""
        return self._tensor.dtype

    def size(self, axis: str) -> int:
        """The extent of one axis."""
        return self.shape[self._place(axis)]

    def tensor(self, axes: str | Sequence[str]) -> Tensor:
        """The plain tensor with its axes in the given order: each is named once."""
        wanted = _words(axes)
        if sorted(wanted) != sorted(self.axes):
            raise AxisError(explain("the order must name each axis once", got=" ".join(wanted),
                                    expected=" ".join(self.axes)))
        return permute_dims(self._tensor, [self._place(axis) for axis in wanted])

    def rename(self, **names: str) -> Named:
        """The same with other names: x.rename(old="new")."""
        for name in names:
            self._place(name)
        return named(self._tensor, [names.get(axis, axis) for axis in self.axes])

    def dot(self, other: Named, axes: str | Sequence[str]) -> Named:
        """The sum over `axes`, which both have, of the products; axes that both have beside stay, one each."""
        over = _words(axes)
        places = [tuple(x._place(axis) for axis in over) for x in (self, other)]
        both = [axis for axis in self.axes if axis in other.axes and axis not in over]
        for axis in (*over, *both):
            _agree(self, other, axis)
        batch = [tuple(x._place(axis) for axis in both) for x in (self, other)]
        rest = [axis for x in (self, other) for axis in x.axes if axis not in over and axis not in both]
        result = e.astype(self._tensor, promote(self.dtype, other.dtype))
        product = contract(result, e.astype(other._tensor, result.dtype), contracting=(places[0], places[1]),
                           batch=(batch[0], batch[1]))
        return named(product, [*both, *rest])

    def map(self, function: Callable[[Tensor], Any]) -> Named:
        """An elementwise function: the axes stay."""
        found = as_tensor(function(self._tensor))
        if found.shape != self.shape:
            raise ShapeError(explain("this function is not elementwise", got=str(found.shape),
                                     expected=str(self.shape)))
        return Named(found, self.axes)

    def sum(self, axes: str | Sequence[str] | None = None) -> Named:
        """The sum over the named axes (default: all)."""
        return self._reduced(reduce.sum, axes)

    def mean(self, axes: str | Sequence[str] | None = None) -> Named:
        """The mean over the named axes (default: all)."""
        return self._reduced(reduce.mean, axes)

    def var(self, axes: str | Sequence[str] | None = None) -> Named:
        """The variance over the named axes (default: all)."""
        return self._reduced(reduce.var, axes)

    def std(self, axes: str | Sequence[str] | None = None) -> Named:
        """The standard deviation over the named axes (default: all)."""
        return self._reduced(reduce.std, axes)

    def max(self, axes: str | Sequence[str] | None = None) -> Named:
        """The largest element over the named axes (default: all)."""
        return self._reduced(reduce.max, axes)

    def min(self, axes: str | Sequence[str] | None = None) -> Named:
        """The smallest element over the named axes (default: all)."""
        return self._reduced(reduce.min, axes)

    def __neg__(self) -> Named:
        return Named(e.negative(self._tensor), self.axes)

    def _reduced(self, function: Callable[..., Tensor], axes: str | Sequence[str] | None) -> Named:
        gone = self.axes if axes is None else _words(axes)
        places = tuple(self._place(axis) for axis in gone)
        return Named(function(self._tensor, axis=places), tuple(axis for axis in self.axes if axis not in gone))

    def _place(self, axis: str) -> int:
        if axis not in self.axes:
            raise AxisError(explain(f"there is no axis {axis!r}", got=" ".join(self.axes) or "no axes",
                                    fix=closest(axis, self.axes)))
        return self.axes.index(axis)

    def _to(self, axes: tuple[str, ...]) -> Tensor:
        """With all of `axes`, those that it has not as extent 1."""
        own = permute_dims(self._tensor, [self._place(axis) for axis in axes if axis in self.axes])
        return reshape(own, tuple(self.size(axis) if axis in self.axes else 1 for axis in axes))

    def __repr__(self) -> str:
        extents = ", ".join(f"{axis} {n}" for axis, n in zip(self.axes, self.shape, strict=True))
        return f"Named({extents}; {self.dtype})"


def named(x: ArrayLike, axes: str | Sequence[str]) -> Named:
    """`x` with a name for each axis, as one text ("batch feature") or a list.

    >>> x = cr.named(np.ones((2, 3)), "batch feature")
    >>> x.sum("feature").axes
    ('batch',)
    """
    tensor, names = as_tensor(x), _words(axes)
    if len(names) != tensor.ndim or len(set(names)) != len(names):
        raise ShapeError(explain("each axis needs one name of its own",
                                 got=f"{' '.join(names) or 'no names'} for shape {tensor.shape}",
                                 expected=f"{tensor.ndim} different names"))
    return Named(tensor, names)


def _words(axes: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(axes.split() if isinstance(axes, str) else axes)


def _agree(a: Named, b: Named, axis: str) -> None:
    if a.size(axis) != b.size(axis):
        raise ShapeError(explain(f"the two arrays have different extents along {axis!r}", got=f"{a!r} and {b!r}",
                                 fix="name the axes differently if they are not the same thing"))


def _operator(function: Callable[[Any, Any], Tensor], reflected: bool = False) -> Callable[[Named, Any], Any]:
    def method(self: Named, other: Any) -> Any:
        if isinstance(other, bool | int | float):
            return Named(function(other, self._tensor) if reflected else function(self._tensor, other), self.axes)
        if not isinstance(other, Named):
            raise ShapeError(explain("an array without names meets one with names",
                                     got=f"{type(other).__name__} and {self!r}",
                                     fix='give it names: cr.named(y, "batch")'))
        for axis in self.axes:
            if axis in other.axes:
                _agree(self, other, axis)
        axes = (*self.axes, *(axis for axis in other.axes if axis not in self.axes))
        a, b = self._to(axes), other._to(axes)
        return Named(function(b, a) if reflected else function(a, b), axes)
    return method


_OPERATORS: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": e.add, "sub": e.subtract, "mul": e.multiply, "truediv": e.divide, "pow": e.power,
}
for _name, _function in _OPERATORS.items():
    setattr(Named, f"__{_name}__", _operator(_function))
    setattr(Named, f"__r{_name}__", _operator(_function, reflected=True))
for _name, _function in {"lt": e.less, "le": e.less_equal, "gt": compose.greater, "ge": compose.greater_equal}.items():
    setattr(Named, f"__{_name}__", _operator(_function))
