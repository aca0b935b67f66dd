# SPDX-License-Identifier: Apache-2.0
"""Graphs that are alike but for single numbers in them: one program for all, with these numbers as further inputs.

A Python integer is part of what a function means: it may be an extent, an index or a choice. What it was can be seen
when the function has been traced for two values: if nothing but constants of one element differs, a program that takes
these as inputs is the program of both. Each further value is traced as well, so nothing that the function does with an
integer is guessed; only the way from the graph to the machine is saved.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from ..ir import Graph
from ..ir.graph import close, input_node
from ..ir.node import CONSTANT, INPUT, Node
from .capture import Captured


def numbers_apart(one: Captured, other: Captured) -> set[int] | None:
    """The places among the nodes of the graph of the numbers in which two traces differ; None if they differ in
    anything else."""
    same = (_identical(one.reads, other.reads) and _identical(one.writes, other.writes) and one.modes == other.modes
            and one.result.tree == other.result.tree and not any((*one.result.leaves, *other.result.leaves)))
    return _apart(one.graph, other.graph) if same else None


def take_numbers(captured: Captured, places: Collection[int]) -> list[np.ndarray]:
    """The numbers at these places, in their order."""
    nodes = captured.graph.nodes
    return [nodes[place].attrs["value"] for place in sorted(places)]


def with_inputs(captured: Captured, places: Collection[int]) -> Captured:
    """The same trace with inputs in the places of these numbers, after the arrays of the call."""
    graph = captured.graph
    new = {graph.nodes[place]: input_node(graph.nodes[place].type) for place in sorted(places)}
    first = len(graph.inputs) - len(captured.reads)
    inputs = (*graph.inputs[:first], *new.values(), *graph.inputs[first:])
    aliases = tuple((output, place + len(new) * (place >= first)) for output, place in graph.aliases)
    return replace(captured, graph=close(inputs, graph.outputs, aliases, instead={**{x: x for x in inputs}, **new}))


def _identical(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _apart(one: Graph, other: Graph) -> set[int] | None:
    if len(one.nodes) != len(other.nodes) or one.aliases != other.aliases or len(one.inputs) != len(other.inputs):
        return None
    counterpart: dict[Node, Node] = {}
    found = set()
    for i, (a, b) in enumerate(zip(one.nodes, other.nodes, strict=True)):
        if a.op is not b.op or a.type != b.type or not _identical([counterpart[x] for x in a.inputs], b.inputs):
            return None
        counterpart[a] = b
        if a.op is not INPUT and not _equal(a.attrs, b.attrs):
            if not _is_number(a):
                return None
            found.add(i)
    return found if _identical([counterpart[x] for x in one.outputs], other.outputs) else None


def _is_number(node: Node) -> bool:
    return node.op is CONSTANT and node.type.size == 1


def _equal(a: Any, b: Any) -> bool:
    """Whether two attributes are the same to the bit; False where that cannot be told."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
    if isinstance(a, Graph):
        return _apart(a, b) == set()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(value, b[name]) for name, value in a.items())
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, float):
        return a.hex() == b.hex()
    if is_dataclass(a) and not isinstance(a, type):
        return all(_equal(getattr(a, one.name), getattr(b, one.name)) for one in fields(a))
    return isinstance(a, int | str | np.dtype | type(None)) and a == b
