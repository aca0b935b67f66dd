# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled programs: programs that are found again by the structure of their graphs.

A fresh optimiser, or a fresh model of the same layers, is traced anew, and what its trace says is compared with what is
known: operations, attributes, constants, types, the order of inputs and outputs, and which memory is used again.
Variables are inputs like any other, so whose they are does not matter, nor do layers and lines, which a program asks
its own graph for when it has something to tell. Where all is the same, the code is taken over, with memory of its own;
nothing is guessed from objects or names.
"""

from __future__ import annotations

import dataclasses
import hashlib
import marshal
import os
import threading
from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from ..foundations import config
from ..ir import Graph, Type
from ..ir.mesh import Mesh
from ..ir.node import REGISTRY, Node
from ..ir.program import Again, Program
from ..passes import erase, nested
from ..trace import Same

MOST = 64  # programs that are known
MOST_CONSTANTS = 1 << 20  # bytes of the constants of one that is kept
ATOMS = (int, float, complex, str, bytes, bool, type(None))
VERSION = 2  # of marshal's format: the last whose bytes do not depend on which equal objects are one


class _Unreadable(Exception):
    """There is something in the graph of which nobody can say whether it is the same."""


class Known:
    """The programs that were used last; `MOST` of them."""

    def __init__(self) -> None:
        self._programs: OrderedDict[Any, Again] = OrderedDict()
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._programs)

    def find(self, key: Any) -> Again | None:
        """What makes another program of this structure."""
        with self.lock:
            if key is None or key not in self._programs:
                return None
            self._programs.move_to_end(key)
            return self._programs[key]

    def add(self, key: Any, program: Program) -> None:
        """Remember a program under its key, if it can be made again."""
        again = program.again
        if key is None or again is None:
            return
        with self.lock:
            self._programs[key] = again
            while len(self._programs) > MOST:
                self._programs.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self.lock:
            self._programs.clear()


known = Known()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: known.lock._at_fork_reinit())  # type: ignore[attr-defined]
_erase = nested(erase)


def key_of(graph: Graph, backend: str, precision: str) -> Any:
    """Equal for graphs of which one program can be made; None where that cannot be told, or compiling is being watched.
    """
    if config.debug() or Mesh.current is not None:
        return None
    held: list[Any] = []
    try:
        plain = _Reader(held).graph(_erase(graph))
    except _Unreadable:
        return None
    return (backend, precision, config.threads(), config.instructions(),
            hashlib.sha256(marshal.dumps(plain, VERSION)).digest(), tuple(map(Same, held)))


class _Reader:
    """A graph as numbers, texts and tagged tuples; objects that equal themselves alone are put into `held`."""

    def __init__(self, held: list[Any]):
        self.held, self.room = held, MOST_CONSTANTS

    def graph(self, graph: Graph) -> Any:
        """All that the outputs need and the inputs, with nodes numbered in their order."""
        numbers = {node: i for i, node in enumerate(graph.nodes)}
        nodes = tuple([self.node(node, numbers) for node in graph.nodes])
        return ("graph", nodes, tuple([numbers[x] for x in graph.inputs]), tuple([numbers[x] for x in graph.outputs]),
                graph.aliases)

    def node(self, node: Node, numbers: dict[Node, int]) -> Any:
        """One operation."""
        if REGISTRY.get(node.op.name) is not node.op:
            raise _Unreadable
        attrs = tuple([(name, self.value(value)) for name, value in node.attrs.items()])
        return node.op.name, tuple([numbers[x] for x in node.inputs]), attrs, self.value(node.type)

    def value(self, value: Any) -> Any:
        """An attribute."""
        kind = type(value)
        if kind in ATOMS:
            return value
        if kind in (tuple, list, set, frozenset):
            items = tuple([self.value(x) for x in value])
            return kind.__name__, *(items if kind in (tuple, list) else sorted(items, key=repr))
        if kind is dict:
            return "dict", *[(self.value(name), self.value(x)) for name, x in value.items()]
        if kind is Type:
            return "type", value.shape, value.dtype.str
        return self.array(value) if isinstance(value, np.ndarray | np.generic) else self.object(value)

    def array(self, value: Any) -> Any:
        """A constant, by its bytes."""
        if value.dtype.hasobject or value.nbytes > self.room:
            raise _Unreadable
        self.room -= value.nbytes
        return "array", type(value) is np.ndarray, value.dtype.str, value.shape, value.tobytes()

    def object(self, value: Any) -> Any:
        """Anything else: data types, graphs of loops' bodies, slices, records by their fields, functions that enclose
        nothing."""
        if isinstance(value, np.dtype):
            return "dtype", value.str
        if isinstance(value, Graph):
            return self.graph(value)
        if isinstance(value, slice):
            return "slice", self.value(value.start), self.value(value.stop), self.value(value.step)
        if isinstance(value, type | BuiltinFunctionType
                      | np.ufunc) or (isinstance(value, FunctionType) and not value.__closure__):
            return self.same(value)
        if dataclasses.is_dataclass(value) and vars(value).keys() == {
            field.name for field in dataclasses.fields(value)
        }:
            return "record", self.same(type(value)), *[(name, self.value(x)) for name, x in vars(value).items()]
        raise _Unreadable

    def same(self, value: Any) -> Any:
        """An object that equals itself alone."""
        self.held.append(value)
        return "same", len(self.held)
