# SPDX-License-Identifier: Apache-2.0
"""`Op`, the record of a primitive, and `Node`, one use of it.

A node is a value: single assignment, typed, immutable. An operation with several results gives one node whose type is a
tuple, and `output` nodes pick from it. Eager nodes carry their data; nodes of a graph that is being traced do not.
The same nodes are the tape of eager back-propagation and the body of a compiled function: there is one language.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import GraphError

Shape = tuple[int, ...]
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Type:
    """What is known of an array before it exists: its shape and its dtype."""

    shape: Shape
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Size in memory, in bytes."""
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False)
class Op:
    """A primitive: name, type rule, NumPy meaning and derivative, side by side.

    infer(*types, **attrs) -> Type or tuple of Type: what comes out; raises ShapeError or DTypeError.
    meaning(*arrays, **attrs) -> array or tuple of arrays: what the operation means.
    vjp: a tuple with one function per input, each (g, y, *inputs, **attrs) -> gradient; or one function that returns
        all of them (None where there is none); or None when the operation passes no gradient at all. Written with the
        same operations, so that gradients can be traced, compiled and differentiated again.
    """

    name: str
    infer: Callable[..., Any]
    meaning: Callable[..., Any]
    vjp: Sequence[Callable[..., Any] | None] | Callable[..., Any] | None

    def __repr__(self) -> str:
        return f"Op({self.name})"


REGISTRY: dict[str, Op] = {}


def op(name: str, *, infer: Callable[..., Any], meaning: Callable[..., Any], vjp: Any) -> Op:
    """Declare a primitive and enter it in the registry."""
    if name in REGISTRY:
        raise GraphError(f"operation {name!r} is declared twice")
    REGISTRY[name] = record = Op(name, infer, meaning, vjp)
    return record


class Node:
    """One value of a program: an operation applied to other nodes.

    Attributes: op, inputs, attrs, type (a Type, or a tuple of them), data (ndarray, tuple of them, or None while
    tracing), number (creation order, a topological order), where ((file, line) of the user), layer (path), source
    (the Variable that a leaf was read from).
    """

    __slots__ = ("__weakref__", "attrs", "data", "inputs", "layer", "number", "op", "source", "type", "where")

    def __init__(self, op: Op, inputs: tuple[Node, ...], attrs: Mapping[str, Any], type: Any, data: Any = None, *,
                 where: Any = None, layer: str | None = None, source: Any = None):
        self.op, self.inputs, self.attrs, self.type, self.data = op, inputs, attrs, type, data
        self.where, self.layer, self.source = where, layer, source
        self.number = next(_numbers)

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        return self.type.dtype

    def __repr__(self) -> str:
        return f"%{self.number} = {self.op.name}({', '.join(f'%{x.number}' for x in self.inputs)}): {self.type}"


# ---- the nodes that no function makes: leaves, and the picks from operations with several results

def _no_meaning(*_: Any, **__: Any) -> Any:
    raise GraphError("an input has no meaning of its own: the interpreter binds it")


def _output_vjp(g: Any, y: Any, x: Any, index: int) -> Any:
    raise GraphError("reverse accumulation treats `output` itself")


INPUT = op("input", infer=lambda *, type: type, meaning=_no_meaning, vjp=None)
CONSTANT = op("constant", infer=lambda *, value: Type(value.shape, value.dtype), meaning=lambda *, value: value,
              vjp=None)
OUTPUT = op("output", infer=lambda types, *, index: types[index], meaning=lambda values, *, index: values[index],
            vjp=_output_vjp)
