# SPDX-License-Identifier: Apache-2.0
"""`Variable`: a named array that programs read and update in place: parameters, running statistics, optimiser slots.

In a trace, the first read makes an input of the graph and an assignment makes an output; outside, both act at once.
A compiled program may write into the array itself, so a Variable whose array was handed out (`value`) is copied first.
A program for another device leaves the content there, and it comes back when somebody looks at it.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import unmasked
from ..typing import ArrayLike, DTypeLike
from .dtype import canonical
from .graph import input_node
from .node import CONSTANT, REGISTRY, Node, Type
from .tensor import Tensor
from .trace import current_trace
from .watched import changed

LINE = 64  # bytes of a cache line


def _copy(source: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in row-major order; a large one begins at a cache line, because vectors that lie across two lines cost
    twice."""
    size = source.size * dtype.itemsize
    if size < 16 * LINE:
        return np.array(source, dtype, order="C", copy=True)
    blank = _is_blank(source)
    raw = (np.zeros if blank else np.empty)(size + LINE, np.uint8)
    start = -raw.__array_interface__["data"][0] % LINE
    array = raw[start:start + size].view(dtype).reshape(source.shape)
    if not blank:
        array[...] = source
    return array


def _is_blank(source: np.ndarray) -> bool:
    """Whether a source repeats one zero: the system gives zeros as memory that costs nothing until something is written
    to it."""
    return not any(source.strides) and not source.flat[0].tobytes().strip(b"\0")


_bringing = threading.Lock()


class _RemoteLeaf(Node):
    """A leaf whose array is on another device until somebody looks at it."""

    __slots__ = ("_here", "_there")

    def __init__(self, variable: Any, there: Any):
        self._here: np.ndarray | None = None
        self._there: Any = there
        super().__init__(CONSTANT, (), {}, variable.type, source=variable)

    def bring(self) -> np.ndarray:
        """The array, here."""
        with _bringing:  # who overwrites the other device's array waits until it is here
            if self._here is None:
                self._here, self._there = _copy(np.asarray(self._there), self.type.dtype), None
            return self._here

    @property
    def data(self) -> np.ndarray:  # type: ignore[override]
        return self.bring()

    @data.setter
    def data(self, value: Any) -> None:
        """A leaf is made without an array."""


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


def note(variables: Iterable[Variable]) -> None:
    """Tell who notes assignments that these Variables are about to be assigned."""
    for notes in _notes.get():
        for variable in variables:
            if variable not in notes:
                notes[variable] = variable.numpy()


# ---- one program at a time overwrites a Variable

_NOBODY = contextlib.nullcontext()
_numbers = itertools.count()
_making = threading.Lock()


class Lock:
    """A lock of Variables that programs update together; all are taken in the order of their numbers."""

    __slots__ = ("__weakref__", "held", "number")

    def __init__(self) -> None:
        self.held, self.number = threading.RLock(), next(_numbers)
        _locks.add(self)

    def __enter__(self) -> None:
        self.held.acquire()

    def __exit__(self, *error: object) -> None:
        self.held.release()


class _Several:
    """Several locks, in order."""

    def __init__(self, locks: list[Lock]):
        self._locks = locks

    def __enter__(self) -> None:
        for lock in self._locks:
            lock.held.acquire()

    def __exit__(self, *error: object) -> None:
        for lock in reversed(self._locks):
            lock.held.release()


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


def lock_of(variables: Iterable[Variable]) -> Any:
    """What a program holds from reading these Variables until it has put back what it assigned."""
    with _making:
        variables = list(variables)
        locks = (sorted({variable.lock for variable in variables if variable.lock is not None},
                        key=lambda lock: lock.number) or [Lock()])
        for variable in variables:
            if variable.lock is None:
                variable.lock = locks[0]
    return locks[0].held if len(locks) == 1 else _Several(locks)


def _after_fork() -> None:
    """The threads that held locks are not in the child."""
    for plain in (_making, _bringing):
        plain._at_fork_reinit()  # type: ignore[attr-defined]
    for lock in list(_locks):
        lock.held._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Variable:
    """An array with a name that keeps its shape and dtype for life.

    Args:
        value: initial content; Python floats become float32.
        name: shown in messages, summaries and files.
        trainable: whether optimisers and `parameters()` see it; compiled functions that use it notice a change.

    Attributes:
        type: shape and dtype.
        lent: the leaf that `lend` gave of the present content, or None.
        lock: held while a program overwrites the content (see `lock_of`), or None.

    >>> w = cr.Variable([1.0, 2.0], name="w")
    >>> w.assign([3.0, 4.0])
    >>> w.numpy()
    array([3., 4.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_frozen", "_host", "_leaf", "_remote", "_trainable", "lent", "lock", "name", "type")
    __array_priority__ = 1000

    def __init__(self, value: ArrayLike, name: str = "", trainable: bool = True, dtype: DTypeLike | None = None):
        source = value.numpy() if isinstance(value, Tensor | Variable) else np.asarray(unmasked(value))
        if (
            dtype is None
            and source.dtype.kind == "f"
            and not isinstance(value, np.ndarray | np.generic | Tensor | Variable)
        ):
            dtype = "float32"
        self.lock: Any = None
        self._host: np.ndarray | None = _copy(source, canonical(dtype or source.dtype))
        # the same content on another device; one of both may be None, both while a program has taken it out
        self._remote: Any = None
        self._leaf: Node | None = None
        self.lent: Node | None = None
        self.type = Type(self._host.shape, self._host.dtype)
        self.name, self._trainable, self._frozen = name, bool(trainable), False

    @property
    def trainable(self) -> bool:
        """Whether optimisers and `parameters()` see it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._switch(bool(value), self._frozen)

    @property
    def frozen(self) -> bool:
        """Whether the layer that keeps a statistic here leaves it as it is, in training too."""
        return self._frozen

    @frozen.setter
    def frozen(self, value: bool) -> None:
        self._switch(self._trainable, bool(value))

    @property
    def mode(self) -> tuple[bool, bool]:
        """(trainable, frozen): a compiled function that met the Variable is another one when this has changed."""
        return self._trainable, self._frozen

    def _switch(self, trainable: bool, frozen: bool) -> None:
        before = self.mode
        if (trainable, frozen) != before:
            self._trainable, self._frozen = trainable, frozen
            changed()
            trace = current_trace()
            if trace is not None:
                trace.switched.setdefault(self, before)

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
        if self._host is None:
            return self._array.copy()
        leaf = self.lend()  # a program that overwrites the content meanwhile takes another array
        return leaf.data.copy()

    def assign(self, value: ArrayLike) -> None:
        """Replace the content; `value` needs the same shape and dtype (Python numbers and lists are converted)."""
        tensor = (value if isinstance(value, Tensor) else value.value if isinstance(value, Variable)
                  else self._converted(value))
        self._check(tensor)
        trace = current_trace()
        if trace is not None:
            trace.writes[self] = self._assigned(tensor.node)
        else:
            note((self,))
            array = _copy(tensor.numpy(), self.dtype)
            with self.lock or _NOBODY:
                self.put_array(array)

    @property
    def _array(self) -> np.ndarray:
        array = self._host
        if array is None:
            with self.lock or _NOBODY:  # where a program has taken it out, wait until it comes back
                array = self._host
                if array is None:
                    array = self._host = _copy(np.asarray(self._there()), self.dtype)
        return array

    def _there(self) -> Any:
        if self._remote is None:
            raise ArgumentError(explain(f"the content of variable {self.name or '(unnamed)'} is lost",
                                        got="a fork, or an error of a device, while a program was updating it",
                                        fix="start processes before the first step, or with the method 'spawn'"))
        return self._remote

    def take_array(self, write: bool) -> np.ndarray:
        """The array itself, for a program that runs now; with `write`, one that nobody else looks at."""
        if not write:
            return self._array
        array = self.take_out()
        self.put_array(array)
        return array

    def take_out(self) -> np.ndarray:
        """The array, for a program that overwrites it: nobody else sees it until `put_array` brings one back. The
        caller holds `lock`."""
        array = self._array
        leaf, lent = self._leaf, self.lent
        self._host = self._remote = self._leaf = self.lent = None
        return (_copy(array, self.dtype) if leaf is not None
                or (lent is not None and (_ALONE is None or _holders(lent) > _ALONE)) else array)

    def put_array(self, array: np.ndarray) -> None:
        """Take over `array` as the content (after a program has run)."""
        self._host, self._remote, self._leaf, self.lent = array, None, None, None

    def take_remote(self, send: Callable[[np.ndarray], Any], write: bool = False) -> Any:
        """The content on another device, where `send` brings it if it is not there yet; with `write`, to be overwritten
        there,
        and taken out until `put_remote` brings it back."""
        if self._remote is None:
            self._remote = send(self._array)
        there = self._remote
        if write:
            lent = self.lent
            self._host = self._remote = self._leaf = self.lent = None
            if type(lent) is _RemoteLeaf and (_ALONE is None or _holders(lent) > _ALONE):
                lent.bring()
        return there

    def put_remote(self, array: ArrayLike) -> None:
        """Take over what a program has left on its device (of this shape and dtype, readable by `numpy.asarray`)."""
        self._host, self._remote, self._leaf, self.lent = None, array, None, None

    def lend(self) -> Node:
        """The present content as a leaf for a recorded call: as long as that lives, a program that overwrites it copies
        it first."""
        lent = self.lent
        if lent is None:
            with self.lock or _NOBODY:
                if self._host is None and self._remote is not None:
                    lent = self.lent = _RemoteLeaf(self, self._remote)
                else:
                    lent = self.lent = Node(CONSTANT, (), {}, self.type, self._array, source=self)
        return lent

    def _eager_leaf(self) -> Node:
        leaf = self._leaf
        if leaf is None:
            with self.lock or _NOBODY:
                leaf = self._leaf = Node(CONSTANT, (), {}, self.type, self._array, source=self)
        return leaf

    def _assigned(self, node: Node) -> Node:
        """What a later read in the same trace gives: a leaf for gradients, as it is outside a trace."""
        return Node(REGISTRY["custom_gradient"], (node,), {"rule": None}, node.type, where=node.where, layer=node.layer,
                    source=self)

    def _traced(self, trace: Any) -> Node:
        if self in trace.writes:
            return trace.writes[self]
        if self not in trace.reads:
            trace.reads[self] = input_node(self.type, source=self)
        return trace.reads[self]

    def _converted(self, value: Any) -> Tensor:
        array = np.asarray(unmasked(value))
        array = array if isinstance(value, np.ndarray | np.generic) else array.astype(self.dtype)
        return Tensor(Node(CONSTANT, (), {}, Type(array.shape, array.dtype), array))

    def _check(self, value: Any) -> None:
        if value.shape != self.shape:
            raise ShapeError(explain(f"variable {self.name or '(unnamed)'} keeps its shape", got=f"shape {value.shape}",
                                     expected=f"shape {self.shape}", fix="reshape the value, or make a new Variable"))
        if value.dtype != self.dtype:
            raise ArgumentError(explain(f"variable {self.name or '(unnamed)'} keeps its dtype", got=str(value.dtype),
                                        expected=str(self.dtype),
                                        fix=f"cast the value with cr.astype(value, '{self.dtype}')"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=None)

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> Any:
        """A pickle holds the content, the name and whether it is trainable and frozen."""
        return _restored, (self.numpy(), self.name, *self.mode)

    def __repr__(self) -> str:
        return f"Variable({self.name or 'unnamed'}: {self.type}{'' if self.trainable else ', not trainable'})"


def _restored(array: np.ndarray, name: str, trainable: bool, frozen: bool) -> Variable:
    variable = Variable(array, name, trainable)
    variable._frozen = frozen
    return variable



class ThreadVariable(Variable):
    """A Variable whose content is each thread's own, so that a program draws from the state of the thread that calls
    it.

    Args:
        start: what it holds where a thread has assigned nothing; asked again when `restart` was called since.
    """

    __slots__ = ("_local", "_restarts", "_start")

    def __init__(self, start: Callable[[], np.ndarray], name: str = ""):
        self._local, self._start, self._restarts = threading.local(), start, 0
        super().__init__(start(), name=name, trainable=False)

    def restart(self) -> None:
        """Threads that have drawn from what they started with start again."""
        self._restarts += 1

    def own(self) -> None:
        """What this thread holds is its own from now on, whatever is started again elsewhere."""
        self._here().restarts = None

    def _here(self) -> Any:
        local = self._local
        restarts = getattr(local, "restarts", -1)
        if restarts is not None and restarts != self._restarts:
            local.restarts = self._restarts
            local.host, local.remote, local.leaf, local.lent = (
                _copy(array := self._start(), array.dtype),
                None,
                None,
                None,
            )
        return local

    def _part(name: str) -> Any:  # type: ignore[misc]
        return property(lambda self: getattr(self._here(), name),
                        lambda self, value: setattr(self._here(), name, value))

    _host, _remote, _leaf, lent = _part("host"), _part("remote"), _part("leaf"), _part("lent")  # type: ignore[assignment]
    del _part


# ---- whether a recorded call still holds what a Variable lent

def _holders(leaf: Any) -> int:
    return sys.getrefcount(leaf)


def _count() -> int | None:
    """What `_holders` says of a leaf that only its caller holds; None where counts do not tell (threads without a
    lock)."""
    if not hasattr(sys, "getrefcount") or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    variable = Variable(0.0)
    variable.lend()
    lent = variable.lent
    variable.lent = None
    return _holders(lent)


_ALONE = _count()
