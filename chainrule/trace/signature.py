# SPDX-License-Identifier: Apache-2.0
"""What a call of a compiled function looks like: arrays are dynamic (only type counts), everything else is static.

Tensors, NumPy arrays, NumPy scalars and Python floats are dynamic; ints, bools, strings, None, functions, modules and
other objects are static: part of the key, so another value compiles another program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tree as trees
from ..arguments import unmasked
from ..errors import TraceError, explain
from ..ir import Node, Tensor, Type
from ..ir.dtype import ALL, canonical, float64

Tensors = tuple[tuple[int, Node], ...]  # of the arrays of a call, those that came as tensors: number, node


@dataclass(frozen=True)
class Dynamic:
    """The place of an array among the leaves of a call, or of a Python float, which is a float64 array until it meets others."""

    type: Type
    number: bool = False


@dataclass(frozen=True, eq=False)
class Static:
    """A leaf whose value is part of the program; compared by type and value, or by identity if it has no hash."""

    value: Any

    def _key(self) -> Any:
        try:
            hash(self.value)
        except TypeError:
            return id(self.value)
        return type(self.value), self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


@dataclass(frozen=True)
class Call:
    """One call: the arrays, which of them are tensors (number and node), and the key under which its program is kept."""

    arrays: list[np.ndarray]
    nodes: Tensors
    leaves: tuple[Dynamic | Static, ...]
    tree: trees.Tree

    @property
    def key(self) -> Any:
        """Hashable; equal keys run the same program."""
        return self.leaves, self.tree


def read_flat(args: tuple[Any, ...]) -> tuple[list[np.ndarray], tuple[Any, ...], Tensors] | None:
    """(arrays, key, tensors) of a call whose arguments are arrays in the machine's byte order and nothing else; None for any other, which `read_call` reads.

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
    if isinstance(leaf, Tensor):
        if leaf.node.data is None:
            raise TraceError(explain("a tensor of another compiled function was passed in", got=repr(leaf),
                                     fix="return it from that function first"))
        return leaf.node.data
    if isinstance(leaf, np.ndarray | np.generic):
        array = np.asarray(unmasked(leaf))
        return array if array.dtype in ALL else array.astype(canonical(array.dtype))
    if type(leaf) is float:
        return np.asarray(leaf, float64)
    return None
