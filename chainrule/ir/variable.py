# SPDX-License-Identifier: Apache-2.0
"""`Variable`: a named array that programs read and update in place: parameters, running statistics, optimiser slots.

In a trace, the first read makes an input of the graph and an assignment makes an output; outside, both act at once.
A compiled program may write into the array itself, so a Variable whose array was handed out (`value`) is copied first.
A program for another device leaves the content there, and it comes back when somebody looks at it.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from .dtype import canonical
from .graph import input_node
from .node import CONSTANT, REGISTRY, Node, Type
from .tensor import Tensor
from .trace import current_trace

LINE = 64  # bytes of a cache line


def _copy(source: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in row-major order; a large one begins at a cache line, because vectors that lie across two lines cost twice."""
    size = source.size * dtype.itemsize
    if size < 16 * LINE:
        return np.array(source, dtype, order="C", copy=True)
    raw = np.empty(size + LINE, np.uint8)
    start = -raw.__array_interface__["data"][0] % LINE
    array = raw[start:start + size].view(dtype).reshape(source.shape)
    array[...] = source
    return array


Notes = dict[Any, np.ndarray]
_notes: contextvars.ContextVar[tuple[Notes, ...]] = contextvars.ContextVar("chainrule_notes", default=())


@contextlib.contextmanager
def noting_assignments() -> Iterator[Notes]:
    """Within, a dict fills up with what each Variable held before its first eager assignment."""
    notes: Notes = {}
    token = _notes.set((*_notes.get(), notes))
    try:
        yield notes
    finally:
        _notes.reset(token)


_switches = 0


def switches() -> int:
    """How often a Variable became trainable or ceased to be: who compiled for the state before looks when this has moved."""
    return _switches


class Variable:
    """An array with a name that keeps its shape and dtype for life.

    Args:
        value: initial content; Python floats become float32.
        name: shown in messages, summaries and files.
        trainable: whether optimisers and `parameters()` see it; compiled functions that use it notice a change.

    Attributes:
        type: shape and dtype.
    """

    __slots__ = ("__weakref__", "_host", "_leaf", "_remote", "_trainable", "name", "type")
    __array_priority__ = 1000

    def __init__(self, value: Any, name: str = "", trainable: bool = True, dtype: Any = None):
        source = value.numpy() if isinstance(value, Tensor | Variable) else np.asarray(value)
        if dtype is None and source.dtype.kind == "f" and not isinstance(value, np.ndarray | np.generic | Tensor | Variable):
            dtype = "float32"
        self._host: np.ndarray | None = _copy(source, canonical(dtype or source.dtype))
        self._remote: Any = None  # the same content on another device; one of both may be None
        self._leaf: Node | None = None
        self.type = Type(self._host.shape, self._host.dtype)
        self.name, self._trainable = name, bool(trainable)

    @property
    def trainable(self) -> bool:
        """Whether optimisers and `parameters()` see it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        global _switches
        if bool(value) is not self._trainable:
            self._trainable, _switches = bool(value), _switches + 1
            trace = current_trace()
            if trace is not None:
                trace.switched.setdefault(self, not value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of each axis."""
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        """Data type of the elements."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.type.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.type.size

    @property
    def value(self) -> Tensor:
        """The present content as a Tensor; gradients with respect to the Variable flow to it."""
        trace = current_trace()
        return Tensor(self._eager_leaf() if trace is None else self._traced(trace))

    def numpy(self) -> np.ndarray:
        """A copy of the content as a NumPy array."""
        return self._array.copy()

    def assign(self, value: Any) -> None:
        """Replace the content; `value` needs the same shape and dtype (Python numbers and lists are converted)."""
        tensor = value if isinstance(value, Tensor) else value.value if isinstance(value, Variable) else self._converted(value)
        self._check(tensor)
        trace = current_trace()
        if trace is not None:
            trace.writes[self] = self._assigned(tensor.node)
        else:
            for notes in _notes.get():
                notes.setdefault(self, self.numpy())
            self.put_array(_copy(tensor.numpy(), self.dtype))

    @property
    def _array(self) -> np.ndarray:
        if self._host is None:
            self._host = _copy(np.asarray(self._remote), self.dtype)
        return self._host

    def take_array(self, write: bool) -> np.ndarray:
        """The array itself, for a program that runs now; with `write`, one that nobody else looks at."""
        array = self._array if self._host is None else self._host
        if write:
            if self._leaf is not None:
                array = _copy(array, self.dtype)
            self.put_array(array)
        return array

    def put_array(self, array: np.ndarray) -> None:
        """Take over `array` as the content (after a program has run)."""
        self._host, self._remote, self._leaf = array, None, None

    def take_remote(self, send: Callable[[np.ndarray], Any]) -> Any:
        """The content on another device, where `send` brings it if it is not there yet."""
        if self._remote is None:
            self._remote = send(self._array)
        return self._remote

    def put_remote(self, array: Any) -> None:
        """Take over what a program has left on its device (of this shape and dtype, readable by `numpy.asarray`)."""
        self._host, self._remote, self._leaf = None, array, None

    def _eager_leaf(self) -> Node:
        if self._leaf is None:
            self._leaf = Node(CONSTANT, (), {}, self.type, self._array, source=self)
        return self._leaf

    def _assigned(self, node: Node) -> Node:
        """What a later read in the same trace gives: a leaf for gradients, as it is outside a trace."""
        return Node(REGISTRY["custom_gradient"], (node,), {"rule": None}, node.type, where=node.where, layer=node.layer, source=self)

    def _traced(self, trace: Any) -> Node:
        if self in trace.writes:
            return trace.writes[self]
        if self not in trace.reads:
            trace.reads[self] = input_node(self.type, source=self)
        return trace.reads[self]

    def _converted(self, value: Any) -> Tensor:
        array = np.asarray(value)
        array = array if isinstance(value, np.ndarray | np.generic) else array.astype(self.dtype)
        return Tensor(Node(CONSTANT, (), {}, Type(array.shape, array.dtype), array))

    def _check(self, value: Any) -> None:
        if value.shape != self.shape:
            raise ShapeError(explain(f"variable {self.name or '(unnamed)'} keeps its shape", got=f"shape {value.shape}",
                                     expected=f"shape {self.shape}", fix="reshape the value, or make a new Variable"))
        if value.dtype != self.dtype:
            raise ArgumentError(explain(f"variable {self.name or '(unnamed)'} keeps its dtype", got=str(value.dtype),
                                        expected=str(self.dtype), fix=f"cast the value with cr.astype(value, '{self.dtype}')"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._array, dtype=dtype)

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> Any:
        """A pickle holds the content, the name and whether it is trainable."""
        return Variable, (self.numpy(), self.name, self.trainable)

    def __repr__(self) -> str:
        return f"Variable({self.name or 'unnamed'}: {self.type}{'' if self.trainable else ', not trainable'})"
