# SPDX-License-Identifier: Apache-2.0
"""`Tensor`: the user's handle on a node.

A tensor is a typed value; outside a compiled function it has data at once. The handle may be rebound (`x[0] = 1`), the
node behind it never changes. Operators and indexing are put on the class by `ops.operators`, next to the words they
use.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError, TraceError, describe_frame, explain, shown
from .node import CONSTANT, Node, Shape, Type
from .trace import current_trace


class _Taken(threading.local):
    count: int = 0


_taken = _Taken()


def values_taken() -> int:
    """How often this thread took the data out of a tensor with a history: what is computed of them has lost it."""
    return _taken.count


class Tensor:
    """An array of one dtype; made by `cr.asarray` and by every operation.

    `np.asarray(x)`, `x.numpy()`, `x.item()` give the data; they raise TraceError inside a compiled function, where
    there is none yet.

    >>> x = cr.asarray([1.0, 2.0])
    >>> isinstance(x, cr.Tensor), x.shape, x.dtype
    (True, (2,), dtype('float32'))
    >>> (x + 1).sum()
    Tensor(5., dtype=float32)
    """

    __slots__ = ("__weakref__", "node")
    __array_priority__ = 1000

    def __init__(self, node: Node):
        self.node = node

    @property
    def shape(self) -> Shape:
        """Extent of each axis."""
        return self.node.type.shape

    @property
    def dtype(self) -> np.dtype:
        """Data type of the elements."""
        return self.node.type.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.node.type.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.node.type.size

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return self.node.type.bytes

    @property
    def device(self) -> str:
        """Where the data lives; always "cpu" for eager tensors."""
        return "cpu"

    # ---- the data

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array, shared and read-only."""
        return self._data("numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._data("np.asarray"), dtype=dtype, copy=copy)

    def __dlpack__(self, *, stream: Any = None, max_version: tuple[int, int] | None = None,
                   dl_device: tuple[Any, int] | None = None, copy: bool | None = None) -> Any:
        # whoever forbids the copy must not write
        data = self._data("__dlpack__").copy() if copy is not False else self.node.data
        return data.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __bool__(self) -> bool:
        return bool(self._only("a truth value", "use cr.where(condition, a, b) instead of if"))

    def __int__(self) -> int:
        return int(self._only("an int"))

    def __float__(self) -> float:
        return float(self._only("a float"))

    def __complex__(self) -> complex:
        return complex(self._only("a complex"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only an integer tensor can be an index, this one is {self.dtype}")
        return int(self._only("an index"))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor with no axes")
        return self.shape[0]

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("iteration over a tensor with no axes")
        return (self[i] for i in range(self.shape[0]))

    def __hash__(self) -> int:
        return id(self)

    def __round__(self, digits: int | None = None) -> Any:
        return self.round(digits or 0)

    def __format__(self, spec: str) -> str:
        """The only element in the given form; without a form, as `str` shows the tensor."""
        if not spec:
            return str(self)
        return format(self._only(f"the format {spec!r}", "format it outside the compiled function").item(), spec)

    def __reduce__(self) -> Any:
        """A pickle holds the data, not what they were computed from."""
        return _restored, (np.array(self._data("a pickle")),)

    def __copy__(self) -> Tensor:
        return Tensor(self.node)

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self.copy()

    def __repr__(self) -> str:
        if self.node.data is None:
            return f"Tensor({self.node.type}, traced)"
        if self.ndim > 6 and self.size > 100:  # two numbers along each of so many axes are too many
            return f"Tensor({shown(self)})"
        text = np.array2string(self.node.data, separator=", ", prefix="Tensor(", threshold=100,
                               edgeitems=3 if self.ndim <= 3 else 1)
        return f"Tensor({text}, dtype={self.dtype})"

    def _data(self, wanted: str, fix: str = "return it from the compiled function and look at it there") -> np.ndarray:
        if self.node.data is None:
            raise TraceError(explain(
                f"{wanted} needs the value of a tensor that does not exist yet: {_why()}",
                got=f"Tensor({self.node.type}) made by {self.node.op.name} at "
                    f"{describe_frame(self.node.where) or 'the arguments'}",
                expected="a tensor that has data" if _mapped() else "a tensor outside a compiled function", fix=fix))
        if self.node.inputs:
            _taken.count += 1
        data = self.node.data.view()
        data.flags.writeable = False
        return data

    def _only(self, wanted: str, fix: str = "return it from the compiled function and look at it there") -> np.ndarray:
        if self.size != 1:
            raise ShapeError(explain(f"{wanted} needs exactly one element", got=f"shape {self.shape}",
                                     expected="shape () or (1,)",
                                     fix="reduce it first, for example with cr.any, cr.all, cr.sum or cr.mean"))
        return self._data(wanted, fix).reshape(())

    if TYPE_CHECKING:  # put on the class by ops.operators
        T: Any
        mT: Any
        __add__: Any
        __radd__: Any
        __sub__: Any
        __rsub__: Any
        __mul__: Any
        __rmul__: Any
        __truediv__: Any
        __rtruediv__: Any
        __pow__: Any
        __neg__: Any
        __matmul__: Any
        __invert__: Any
        __and__: Any
        __or__: Any
        __lt__: Any
        __le__: Any
        __gt__: Any
        __ge__: Any
        __getitem__: Any
        __setitem__: Any

    if TYPE_CHECKING:  # put on the class by arrays.methods
        item: Any
        tolist: Any
        sum: Any
        prod: Any
        mean: Any
        var: Any
        std: Any
        max: Any
        min: Any
        any: Any
        all: Any
        argmax: Any
        argmin: Any
        cumsum: Any
        cumprod: Any
        reshape: Any
        transpose: Any
        swapaxes: Any
        squeeze: Any
        flatten: Any
        ravel: Any
        astype: Any
        clip: Any
        round: Any
        copy: Any
        repeat: Any
        take: Any
        argsort: Any
        nonzero: Any
        dot: Any


class Number(Tensor):
    """A Python float that a compiled function was given: float32 like any other, and whole (`exact`) beside float64.

    So `x * 0.1` means the same whether 0.1 stands in the function or comes as an argument.
    """

    __slots__ = ("exact",)

    def __init__(self, node: Node, exact: Tensor):
        super().__init__(node)
        self.exact = exact  # float64; `node` is its cast


def _restored(data: np.ndarray) -> Tensor:
    return Tensor(Node(CONSTANT, (), {}, Type(data.shape, data.dtype), data))


def _mapped() -> bool:
    """Whether there are symbols because of `vmap`, not because of `compile`."""
    trace = current_trace()
    return trace is not None and trace.purpose == "vmap"


def _why() -> str:
    return "vmap runs the function once, for all examples" if _mapped() else "the function is being compiled"
