# SPDX-License-Identifier: Apache-2.0
"""A program for any size of some axes, out of programs for several sizes.

A trace knows every extent as a number. The function is traced for some sizes of its free axes, and the graphs are
walked side by side: they must be the same but for integers, and an integer that differs is known by what it was in each
of them, its *sizes*, a tuple with one number per trace. Whatever writes the program finds a way to compute such numbers
from extents that it has.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ArgumentError, ChainruleError, ShapeError, explain, shown
from ..ir import Graph, Type
from ..ir.node import CONSTANT, INPUT, Node

Sizes = tuple[int, ...]
# between sizes that are tried: a network may take multiples alone
STEPS = (1, -1, 2, -2, 4, -4, 8, -8, 16, -16, 32, -32)
BATCHES = (3, 2, 7)
LADDER = (0, 1, 2, 3, 5, 8)  # neighbours, so that no floor of a quotient looks like a line

Free = Mapping[tuple[int, int], str]  # (number of the input, axis) -> its name


@dataclass(eq=False)
class Family:
    """Graphs of one function for several sizes: the first, and for each of its nodes those in the same place of all."""

    graph: Graph
    same: dict[Node, tuple[Node, ...]] = field(default_factory=dict)
    symbols: dict[Sizes, str] = field(default_factory=dict)  # sizes of a free axis -> its name
    tables: Callable[[int], Family] | None = None  # the graphs of the first sizes, and of so large ones

    def extents(self, node: Node, index: int | None = None) -> tuple[Sizes, ...]:
        """The sizes of each axis; `index` for an operation with several results."""
        types = [other.type if index is None else other.type[index] for other in self.same[node]]
        return tuple(zip(*(kind.shape for kind in types), strict=True))

    def numbers(self, node: Node, name: str) -> tuple[Sizes, ...]:
        """The sizes of each item of an attribute that is a tuple of integers."""
        return tuple(zip(*(other.attrs[name] for other in self.same[node]), strict=True))

    def values(self, node: Node, name: str) -> tuple[Any, ...]:
        """An attribute in each graph."""
        return tuple(other.attrs[name] for other in self.same[node])


def fixed(sizes: Sizes) -> bool:
    """Whether it is the same number for all sizes of the free axes."""
    return len(set(sizes)) == 1


def family(trace: Callable[[Sequence[Type]], Graph], types: Sequence[Type], free: Free) -> Family:
    """The graphs of `trace` for several sizes of the axes that are `free`; ArgumentError if they are not one program.
    """
    if not free:
        return _aligned([trace(types)], {})
    names = list(dict.fromkeys(free.values()))
    extents = {name: next(types[i].shape[axis] for (i, axis), other in free.items() if other == name) for name in names}
    batch = {name for (_, axis), name in free.items() if axis == 0}
    failure: Exception | None = None
    for steps in _steps([name for name in names if name not in batch]):
        try:
            points = list(_points(names, extents, batch, steps))
            graphs = [trace(_sized(types, free, dict(zip(names, point, strict=True)))) for point in points]
        except ChainruleError as error:  # the model does not take such sizes; it may take multiples, or shorter ones
            failure = failure or error
            continue
        long = functools.partial(_long, names, points[0], batch)
        return _aligned(graphs, {sizes: name for name, sizes in zip(names, zip(*points, strict=True), strict=True)},
                        _later(trace, types, free, long))
    raise _refused(names, failure) from failure


def _long(names: list[str], first: Sizes, batch: set[str], longest: int) -> dict[str, int]:
    return {name: n if name in batch else longest for name, n in zip(names, first, strict=True)}


def _later(trace: Callable[[Sequence[Type]], Graph], types: Sequence[Type], free: Free,
           sizes: Callable[[int], dict[str, int]]) -> Callable[[int], Graph]:
    """The graph for large sizes, traced once, if it is asked for."""
    return functools.cache(lambda longest: trace(_sized(types, free, sizes(longest))))


def _refused(names: list[str], failure: Exception | None) -> ArgumentError:
    return ArgumentError(explain(f"the model does not run for other sizes of its free axes ({', '.join(names)})",
                                 got=str(failure).splitlines()[0], expected="a model that takes several sizes of them",
                                 fix="fix the sizes: cr.export(model, path, x, free=())"))


def _steps(names: list[str]) -> Iterator[dict[str, int]]:
    yield from (dict.fromkeys(names, step) for step in STEPS[:None if names else 1])
    if len(names) > 1:
        yield from (dict(zip(names, steps, strict=True))
                    for steps in itertools.product((1, -1, 2, -2), repeat=len(names)) if len(set(steps)) > 1)


def _points(names: list[str], extents: Mapping[str, int], batch: set[str], steps: Mapping[str, int]) -> Iterator[Sizes]:
    """Each name alone, then all together."""
    ladder = {name: _ladder(extents[name], steps.get(name, 1), name in batch) for name in names}
    yield tuple(ladder[name][0] for name in names)
    for name in names:
        for level in range(1, len(ladder[name])):
            yield tuple(ladder[other][level] if other == name else ladder[other][0] for other in names)
    if len(names) > 1:
        yield tuple(ladder[name][1 + i % 2] for i, name in enumerate(names))


def _ladder(extent: int, step: int, batch: bool) -> Sizes:
    if batch:
        return BATCHES
    sizes = tuple(extent + n * step for n in LADDER)
    if min(sizes) < 2:
        raise ShapeError(explain("a free axis needs an example of at least two elements", got=f"extent {extent}",
                                 fix="give a larger example"))
    return sizes


def _sized(types: Sequence[Type], free: Free, sizes: Mapping[str, int]) -> list[Type]:
    return [Type(tuple(sizes[free[i, axis]] if (i, axis) in free else n for axis, n in enumerate(kind.shape)),
                 kind.dtype) for i, kind in enumerate(types)]


def _aligned(graphs: Sequence[Graph], symbols: dict[Sizes, str], long: Callable[[int], Graph] | None = None) -> Family:
    found = Family(graphs[0], {}, symbols)
    _align(found.same, graphs)
    if long is not None:
        found.tables = lambda longest: _aligned([graphs[0], long(longest)], {})
    return found


def _align(same: dict[Node, tuple[Node, ...]], graphs: Sequence[Graph]) -> None:
    if len({len(graph.nodes) for graph in graphs}) > 1 or len({len(graph.inputs) for graph in graphs}) > 1:
        raise _differ(graphs[0].nodes[-1], "the number of operations depends on the size")
    for nodes in zip(*(graph.inputs for graph in graphs), strict=True):
        same[nodes[0]] = nodes
    for nodes in zip(*(graph.nodes for graph in graphs), strict=True):
        if len({node.op for node in nodes}) > 1:
            raise _differ(nodes[0], f"{nodes[0].op.name} for one size is "
                                    f"{next(n.op.name for n in nodes if n.op is not nodes[0].op)} for another")
        for place, inputs in enumerate(zip(*(node.inputs for node in nodes), strict=True)):
            if same[inputs[0]] != inputs:
                raise _differ(nodes[0], f"operand {place} of {nodes[0].op.name} is another one")
        same[nodes[0]] = nodes
        _align_attributes(same, nodes)
    for outputs in zip(*(graph.outputs for graph in graphs), strict=True):
        if same[outputs[0]] != outputs:
            raise _differ(outputs[0], "another result")


def _align_attributes(same: dict[Node, tuple[Node, ...]], nodes: tuple[Node, ...]) -> None:
    for name, value in nodes[0].attrs.items():
        others = [node.attrs[name] for node in nodes]
        if isinstance(value, Graph):
            if not value.outputs or value.outputs[0] not in same:
                _align(same, others)
        elif nodes[0].op not in (CONSTANT, INPUT) and not _alike(others):
            raise _differ(nodes[0], f"{nodes[0].op.name} has another {name}: {shown(others)}")


def _alike(values: Sequence[Any]) -> bool:
    """Whether values differ in integers alone."""
    first = values[0]
    if isinstance(first, tuple):
        return (all(isinstance(v, tuple) and len(v) == len(first) for v in values)
                and all(map(_alike, zip(*values, strict=True))))
    if isinstance(first, int) and not isinstance(first, bool):
        return all(isinstance(value, int) for value in values)
    return all(type(value) is type(first) and (value == first or _both_nan(value, first)) for value in values)


def _both_nan(a: Any, b: Any) -> bool:
    return isinstance(a, float) and np.isnan(a) and np.isnan(b)


def _differ(node: Node, got: str) -> ArgumentError:
    return ArgumentError(explain("the program is another one for other sizes of its free axes", got=got,
                                 layer=node.layer, expected="one program for all sizes",
                                 fix="fix the sizes: cr.export(model, path, x, free=())"))
