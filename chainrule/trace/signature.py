# SPDX-License-Identifier: Apache-2.0
"""Specialisation by signature: what a call of a compiled function looks like: arrays are dynamic (only type counts),
everything else is static.

Tensors, arrays of NumPy and other libraries, NumPy scalars and Python floats are dynamic; ints, bools, strings, None,
functions, layers and other values are static: part of the key, so another value compiles another program.
"""

from __future__ import annotations

import functools
from array import array as buffer_array
from dataclasses import dataclass
from functools import cached_property
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ..errors import TraceError, explain
from ..foundations import tree as trees
from ..foundations.arguments import unmasked
from ..ir import Node, Tensor, Type, Variable
from ..ir.dtype import ALL, canonical, float64
from ..ir.watched import Watched
from .surroundings import Same

BUFFERS = (buffer_array, memoryview)
# what does not change, or tells it
FIXED = (Watched, Variable, FunctionType, BuiltinFunctionType, ModuleType, type, np.ufunc)

Tensors = tuple[tuple[int, Node], ...]  # of the arrays of a call, those that came as tensors: number, node


@dataclass(frozen=True)
class Dynamic:
    """The place of an array among the leaves of a call, or of a Python float, which is a float64 array until it meets
    others."""

    type: Type
    number: bool = False


@dataclass(frozen=True, eq=False)
class Static:
    """A leaf whose value is part of the program; compared by type and value."""

    value: Any

    @cached_property
    def _key(self) -> Any:
        return value_key(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def value_key(value: Any, depth: int = 3) -> Any:
    """The value of what is no array, as a key; TraceError for an object that may change without anybody noticing it."""
    kind = type(value)
    if isinstance(value, FIXED) or kind is object:
        return Same(value)
    if kind.__hash__ not in (None, object.__hash__):
        return kind, value
    if isinstance(value, functools.partial):
        return kind, value_key(value.func), value_key(value.args), value_key(value.keywords)
    if isinstance(value, tuple | list | dict | set | bytearray | slice):
        return kind, _content_key(value, depth, value)
    held = getattr(value, "__dict__", None)
    if depth and isinstance(held, dict) and not hasattr(kind, "__slots__"):
        return Same(value), _content_key(held, depth - 1, value)
    raise _unreadable(value)


def _content_key(value: Any, depth: int, owner: Any) -> Any:
    if isinstance(value, set):
        return frozenset(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    items = value.items() if isinstance(value, dict) else enumerate(value)
    pairs = tuple((name, item) for name, item in items)
    for name, item in pairs:
        if _array(item) is not None and type(item) is not float:
            raise _unreadable(owner, f"an array {name!r}")
        if isinstance(item, list | tuple | dict):
            _content_key(item, depth, owner)
    return tuple((name, value_key(item, depth)) for name, item in pairs)


def _unreadable(value: Any, got: str = "") -> TraceError:
    return TraceError(explain("a compiled function cannot tell whether this argument has changed since it was compiled",
                              got=f"{type(value).__name__}" + (f" with {got}" if got else ""),
                              expected="arrays, numbers, words, and lists, dicts, dataclasses or namespaces of them",
                              fix="pass the arrays that it holds, or make its class a dataclass"))


@dataclass(frozen=True)
class Call:
    """One call: the arrays, which of them are tensors (number and node), and the key under which its program is kept.
    """

    arrays: list[np.ndarray]
    nodes: Tensors
    leaves: tuple[Dynamic | Static, ...]
    tree: trees.Tree

    @property
    def key(self) -> Any:
        """Hashable; equal keys run the same program."""
        return self.leaves, self.tree


def read_flat(args: tuple[Any, ...]) -> tuple[list[np.ndarray], tuple[Any, ...], Tensors] | None:
    """(arrays, key, tensors) of a call whose arguments are arrays in the machine's byte order and nothing else; None
    for any other, which `read_call` reads.

    A training loop calls thousands of times a second; this costs a tenth of `read_call`. Equal keys have equal calls.
    """
    arrays: list[np.ndarray] = []
    key: list[Any] = []
    nodes: tuple[tuple[int, Node], ...] = ()
    for arg in args:
        if type(arg) is Tensor:
            node = arg.node
            array = node.data
            nodes += ((len(arrays), node),)
        else:
            array = arg
        if type(array) is not np.ndarray or not array.dtype.isnative:
            return None
        arrays.append(array)
        key += array.shape, array.dtype
    return arrays, tuple(key), nodes


def read_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Sort the leaves of the arguments into arrays and static values."""
    leaves, tree = trees.flatten((args, kwargs))
    arrays: list[np.ndarray] = []
    kinds: list[Dynamic | Static] = []
    nodes = []
    for leaf in leaves:
        array = _array(leaf)
        if array is None:
            kinds.append(Static(leaf))
        else:
            if isinstance(leaf, Tensor):
                nodes.append((len(arrays), leaf.node))
            arrays.append(array)
            kinds.append(Dynamic(Type(array.shape, array.dtype), type(leaf) is float))
    return Call(arrays, tuple(nodes), tuple(kinds), tree)


def _array(leaf: Any) -> np.ndarray | None:
    kind = type(leaf)
    if isinstance(leaf, Tensor):
        if leaf.node.data is None:
            raise TraceError(explain("a tensor of another compiled function was passed in", got=repr(leaf),
                                     fix="return it from that function first"))
        return leaf.node.data
    if isinstance(leaf, np.ndarray | np.generic):
        return _supported(np.asarray(unmasked(leaf)))
    if kind is float:
        return np.asarray(leaf, float64)
    if isinstance(leaf, Variable | type) or kind in (int, bool, str):
        return None
    if (
        hasattr(kind, "__array__")
        or hasattr(kind, "__dlpack__")
        or hasattr(kind, "__array_interface__")
        or kind in BUFFERS
    ):
        return _foreign(leaf)
    return None


def _supported(array: np.ndarray) -> np.ndarray:
    return array if array.dtype in ALL else array.astype(canonical(array.dtype))


def _foreign(leaf: Any) -> np.ndarray:
    """The array of another library, without a copy where it allows that."""
    try:
        plain = hasattr(type(leaf), "__array__") or not hasattr(type(leaf), "__dlpack__")
        array = np.asarray(leaf) if plain else np.from_dlpack(leaf)
    except Exception as error:
        raise TraceError(explain("this array cannot be read",
                                 got=f"{type(leaf).__module__}.{type(leaf).__qualname__}: {error}",
                                 expected="numbers in this computer's memory",
                                 fix="convert it first: tensor.detach().cpu().numpy(), frame.to_numpy()")) from error
    if array.dtype == object:
        raise TraceError(explain("this array holds no numbers", got=f"{type(leaf).__qualname__} of objects",
                                 fix="select its columns of numbers first, or convert them"))
    return _supported(array)


def path_of(tree: trees.Tree, place: int, function: Any) -> str:
    """How leaf number `place` of a call is written: the name of the parameter, and the way to it."""
    path, below = [], place
    while tree.children:
        sizes = [_count(child) for child in tree.children]
        index = next(i for i in range(len(sizes)) if sum(sizes[:i + 1]) > below)
        below -= sum(sizes[:index])
        path.append(tree.keys[index] if tree.keys else index)
        tree = tree.children[index]
    code = getattr(function, "__code__", None)
    names = code.co_varnames[:code.co_argcount] if code is not None else ()
    first = path[1] if path[0] == 1 else names[path[1]] if path[1] < len(names) else f"argument {path[1]}"
    return str(first) + "".join(f"[{key!r}]" for key in path[2:])


def _count(tree: trees.Tree) -> int:
    return 1 if tree == trees.LEAF else sum(map(_count, tree.children))
