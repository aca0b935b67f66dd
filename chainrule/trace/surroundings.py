# SPDX-License-Identifier: Apache-2.0
"""What a function finds beside its arguments: the values of global names and of enclosing functions, attributes,
settings.

They are constants of a traced function, so a compiled one must know whether they are still what they were. Two
questions are asked: `moved`, in every call, whether a name stands for another object (cheap: what nobody rebinds is the
same object), and `state`, when something has moved, which value all of it has.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from ..errors import PACKAGE
from ..ir import Tensor, Variable
from ..ir.watched import Watched

PLAIN = (int, float, complex, bool, str, bytes, type(None))
Place = tuple[int, str]  # of a value: which object, and which of its names
FEW = 64  # items of a container that are looked at
LIBRARIES = tuple({os.path.normpath(path) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib")
                   if (path := sysconfig.get_paths().get(key))})


class Same:
    """A value that equals itself alone."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def key_of(value: Any, depth: int = 4) -> Any:
    """What is compared to know whether a value is still the same: plain values and small containers of them by value,
    others by identity."""
    if type(value) in PLAIN:
        return type(value), value
    if depth and isinstance(value, list | tuple | set | frozenset) and len(value) <= FEW:
        return type(value), tuple(key_of(item, depth - 1) for item in value)
    if depth and isinstance(value, dict) and len(value) <= FEW:
        return type(value), tuple((key_of(name, depth - 1), key_of(item, depth - 1)) for name, item in value.items())
    return Same(value)


class Surroundings:
    """The surroundings of one function, as they are when this is made; what it changes itself whenever it is traced is
    in `own`."""

    def __init__(self, function: Callable[..., Any], own: Collection[Place] = ()):
        self._own = own
        self._names: list[tuple[Any, str, Any]] = []  # a namespace, a name, what it stands for
        self._cells: list[tuple[Any, Any]] = []
        self._containers: list[tuple[Any, Any]] = []  # a list or dict, and its items as they were
        self._watched: dict[int, Watched] = {}
        self._seen: set[int] = set()
        self._function(function)
        self.any = bool(self._names or self._cells or self._containers)

    def moved(self) -> bool:
        """Whether a name stands for another object, or a container holds others."""
        for space, name, value in self._names:
            if space.get(name) is not value:
                return True
        for cell, value in self._cells:
            if _content(cell) is not value:
                return True
        return any(_items(held) != items for held, items in self._containers) if self._containers else False

    def state(self) -> dict[Place, Any]:
        """The value of everything that was found: a program is right where those of its state hold."""
        state = {(id(space), name): key_of(space.get(name)) for space, name, _ in self._names}
        state |= {(id(cell), ""): key_of(_content(cell)) for cell, _ in self._cells}
        state |= {(id(x), name): key_of(value) for x in self._watched.values() for name, value in vars(x).items()}
        return {place: key for place, key in state.items() if place not in self._own}

    # ---- finding them

    def _new(self, x: Any) -> bool:
        if id(x) in self._seen or len(self._seen) > 10_000:
            return False
        self._seen.add(id(x))
        return True

    def _function(self, function: Any) -> None:
        """A Python function: those of users with their global names, those of libraries with what they enclose alone.
        """
        if not isinstance(function, types.FunctionType):
            self._value(function, None)
            return
        if not self._new(function):
            return
        code = function.__code__
        foreign = _foreign(code.co_filename)
        names = None if foreign else tuple(dict.fromkeys(_names(code)))
        for cell in function.__closure__ or ():
            value = _content(cell)
            if (id(cell), "") in self._own:
                continue
            if not foreign:
                self._cells.append((cell, value))
            self._value(value, names)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._value(value, names)
        space = function.__globals__
        for name in names or ():
            if name in space and not isinstance(space[name], types.ModuleType) and not _of_a_library(space[name]):
                self._name(space, name, names)

    def _name(self, space: Any, name: str, names: tuple[str, ...] | None) -> None:
        if (id(space), name) not in self._own:
            self._names.append((space, name, space[name]))
            self._value(space[name], names)

    def _value(self, value: Any, names: tuple[str, ...] | None) -> None:
        """What a name stands for: functions and objects lead further; of objects that nobody watches, the attributes in
        `names`.

        `names` are those that the user's function says beside its own; None: it is not the user's function that has the
        value.
        """
        if type(value) in PLAIN or isinstance(value, Tensor | Variable | np.ndarray | type | types.ModuleType):
            return
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif self._new(value):
            self._object(value, names)

    def _object(self, value: Any, names: tuple[str, ...] | None) -> None:
        if isinstance(value, list | tuple | dict | set):
            if names is not None and not isinstance(value, tuple) and len(value) <= FEW:
                self._containers.append((value, _items(value)))
            for item in list(value.values() if isinstance(value, dict) else value)[:FEW]:
                self._value(item, None)
            return
        for part in _parts(value):
            self._value(part, names)
        function = getattr(value, "__func__", None)
        if isinstance(function, types.FunctionType):
            self._function(function)
            self._value(value.__self__, None if _foreign(function.__code__.co_filename)
                        else tuple(_names(function.__code__)))
        else:
            self._attributes(value, names)

    def _attributes(self, value: Any, names: tuple[str, ...] | None) -> None:
        held = getattr(value, "__dict__", None)
        if not isinstance(held, dict):
            return
        if isinstance(value, Watched):
            self._watched[id(value)] = value
            forward = getattr(type(value), "forward", None)
            if isinstance(forward, types.FunctionType):
                self._function(forward)
            for item in list(held.values()):
                self._value(item, None)
            return
        for name in names or ():
            if name in held:
                self._name(held, name, names)


def _parts(value: Any) -> tuple[Any, ...]:
    """What partial functions and wrappers are made of."""
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    return (value.__wrapped__,) if "__wrapped__" in getattr(value, "__dict__", ()) else ()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _items(held: Any) -> Any:
    """The items of a container for comparing: by identity, and by value where they are plain."""
    items = list(held.items()) if isinstance(held, dict) else list(held)
    return [key_of(item, 2) for item in items] if len(items) <= FEW else len(items)


def _names(code: types.CodeType) -> Iterator[str]:
    """The names in a function and in those that it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _foreign(filename: str) -> bool:
    """Whether a file belongs to this package, to Python or to an installed library, whose names nobody rebinds."""
    return filename.startswith((PACKAGE, "<frozen")) or os.path.normpath(filename).startswith(LIBRARIES)


def _of_a_library(value: Any) -> bool:
    """Whether a global is a function or class of a library."""
    if not isinstance(value, types.FunctionType | type | types.BuiltinFunctionType):
        return False
    module = getattr(value, "__module__", None)
    if module == "__main__":
        return False
    found = sys.modules.get(module) if isinstance(module, str) else None
    return module == "builtins" or found is None or _foreign(getattr(found, "__file__", None) or "<frozen>")
