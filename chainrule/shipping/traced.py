# SPDX-License-Identifier: Apache-2.0
"""What is shipped of a model: its program in inference mode, names for what goes in and comes out, and its weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..foundations import tree
from ..ir import Graph, Type, Variable, as_tensor
from ..ir.dtype import canonical
from ..passes import algebra, empty, erase, loosen, nested, trim
from ..trace import Captured, capture, read_call
from .sizes import Free

# `fold` and `share` see numbers, and would look at sizes
PASSES = tuple(map(nested, (erase, empty, trim, algebra, loosen)))


@dataclass(frozen=True, eq=False)
class Program:
    """A model on inputs of the types of `x`: `trace` gives its graph for others of the same rank."""

    model: Callable[..., Any]
    x: Any
    names: tuple[str, ...]
    types: tuple[Type, ...]

    def trace(self, types: Sequence[Type]) -> Captured:
        """The program for inputs of these types."""
        _, structure = tree.flatten(self.x)
        arrays = [np.broadcast_to(np.zeros((), kind.dtype), kind.shape) for kind in types]
        return capture(self._call, read_call((tree.unflatten(structure, arrays),), {}))

    def _call(self, x: Any) -> Any:
        if isinstance(x, dict):
            return self.model(**x)
        return self.model(*x) if isinstance(x, tuple) else self.model(x)


def program(model: Any, x: Any) -> Program:
    """The program of a model for an example `x`: an array or type, a tuple of them, or a dict by the names of its
    arguments."""
    if not callable(model):
        raise ArgumentError(explain("what is exported is called with arrays", got=shown(model),
                                    expected="a model or a function"))
    leaves, structure = tree.flatten(x)
    types = tuple(map(_type, leaves))
    return Program(model, tree.unflatten(structure, [0] * len(leaves)), _names(model, x, len(leaves)), types)


def _type(leaf: Any) -> Type:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return Type(tuple(map(int, leaf.shape)), canonical(leaf.dtype))
    return as_tensor(leaf).node.type


def _names(model: Any, x: Any, count: int) -> tuple[str, ...]:
    """The names of the arguments, numbered where one is a structure."""
    if isinstance(x, dict) and all(hasattr(value, "shape") for value in x.values()):
        return tuple(x)
    function = getattr(model, "forward", model)
    try:
        kinds = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        kinds = []  # type: ignore[assignment]
    known = [p.name for p in kinds if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(known) >= count and count == (len(x) if isinstance(x, tuple) else 1):
        return tuple(known[:count])
    return ("x",) if count == 1 else tuple(f"x{i}" for i in range(count))


def result_names(captured: Captured) -> tuple[str, ...]:
    """y, or a name for each array of a structure: by its key, or numbered."""
    leaves, structure = captured.result.leaves, captured.result.tree
    count = sum(leaf is None for leaf in leaves)
    built = captured.result.build(list(range(count)))
    if isinstance(built, dict) and count == len(built):
        return tuple(map(str, built))
    return ("y",) if structure == tree.LEAF else tuple(f"y{i}" for i in range(count))


def inference(captured: Captured) -> Graph:
    """The graph of a captured model, made smaller by what does not depend on sizes; ArgumentError if it would change
    Variables."""
    if captured.writes:
        names = ", ".join(variable.name or "a Variable" for variable in captured.writes[:4])
        raise ArgumentError(explain("a file holds a function, and this model changes what it holds when it is called",
                                    got=f"it assigns {names}",
                                    expected="a model that assigns nothing in inference mode",
                                    fix="pass the state in and return the new one"))
    graph = captured.graph
    for rewrite in PASSES:
        graph = rewrite(graph)
    return graph


def weights(captured: Captured, names: Mapping[int, str], first: int) -> dict[int, tuple[str, np.ndarray]]:
    """Place among the inputs of the graph -> name and content, of the Variables that are read."""
    return {first + i: (_name(variable, names, i), variable.numpy()) for i, variable in enumerate(captured.reads)}


def variable_names(model: Any) -> dict[int, str]:
    """id -> dotted name."""
    held = model.variables() if hasattr(model, "variables") else {}
    return {id(variable): name for name, variable in held.items()}


def _name(variable: Variable, names: Mapping[int, str], i: int) -> str:
    return names.get(id(variable)) or variable.name or f"variable_{i}"


def free_axes(free: Any, names: Sequence[str], types: Sequence[Type]) -> Free:
    """(input, axis) -> name. Axes of one number and extent are one."""
    if isinstance(free, Mapping):
        return _by_name(free, names, types)
    axes = (free,) if isinstance(free, int) else tuple(free)
    found: dict[tuple[int, int], str] = {}
    for axis in axes:
        extents = list(dict.fromkeys(kind.shape[axis] for kind in types if axis < len(kind.shape)))
        if not extents:
            raise ArgumentError(explain("no input has such an axis to be left free", got=f"axis {axis}",
                                        expected=" and ".join(map(str, types))))
        word = {0: "batch", 1: "length"}.get(axis, f"axis{axis}")
        for i, kind in enumerate(types):
            if axis < len(kind.shape):
                place = extents.index(kind.shape[axis])
                found[i, axis] = f"{word}{place + 1}" if place else word
    return found


def _by_name(free: Mapping[str, Any], names: Sequence[str], types: Sequence[Type]) -> Free:
    found: dict[tuple[int, int], str] = {}
    for name, axes in free.items():
        if name not in names:
            raise ArgumentError(explain("there is no input of this name", got=shown(name), expected=", ".join(names)))
        i = list(names).index(name)
        for axis, word in axes.items():
            if not 0 <= axis < len(types[i].shape):
                raise ArgumentError(explain(f"the input {name!r} has no such axis", got=f"axis {axis}",
                                            expected=str(types[i])))
            found[i, axis] = str(word)
    return found
