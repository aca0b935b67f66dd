# SPDX-License-Identifier: Apache-2.0
"""`capture`: run a Python function on symbols and return the graph of what it did, with the Variables it touched.

Inputs of the graph: the arrays of the call, then the Variables that were read. Outputs: the tensors in the result, then
the Variables that were assigned; an assigned Variable that was also read is aliased, so a backend may write in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import TraceError, describe_frame, explain
from ..foundations import tree as trees
from ..ir import Graph, Tensor, Trace, Variable, as_tensor, recorded, tracing
from ..ir.dtype import DEFAULT_FLOAT
from ..ir.graph import close, input_node
from ..ir.node import INPUT, Node
from ..ir.tensor import Number
from ..ops.elementwise import astype
from .signature import Call, Dynamic, Static


@dataclass(frozen=True, eq=False)
class Captured:
    """A traced function: its graph, the Variables among its inputs and outputs, the structure of its result, and which
    of the Variables were trainable and frozen when it was called.
    """

    graph: Graph
    reads: tuple[Variable, ...]
    writes: tuple[Variable, ...]
    result: Result
    modes: tuple[tuple[bool, bool], ...]

    @property
    def current(self) -> bool:
        """Whether the same Variables are trainable and frozen now: if not, the function would be another program."""
        return self.modes == tuple(variable.mode for variable in (*self.reads, *self.writes))


@dataclass(frozen=True, eq=False)
class Result:
    """How to put the result of a call together: static leaves, and None where the next output of the graph goes."""

    leaves: tuple[Static | None, ...]
    tree: trees.Tree

    def build(self, outputs: Sequence[Any]) -> Any:
        """The structure with the outputs in their places."""
        return self._builder(outputs)

    @cached_property
    def _builder(self) -> Callable[[Sequence[Any]], Any]:
        """One output and flat tuples are built without a walk through the structure."""
        below = self.tree.children
        if any(leaf is not None for leaf in self.leaves):
            return self._any
        if self.tree == trees.LEAF:
            return lambda outputs: outputs[0]
        return tuple if self.tree.kind is tuple and all(child == trees.LEAF for child in below) else self._any

    def _any(self, outputs: Sequence[Any]) -> Any:
        rest = iter(outputs)
        return trees.unflatten(self.tree, [next(rest) if leaf is None else leaf.value for leaf in self.leaves])


def capture(function: Callable[..., Any], call: Call) -> Captured:
    """Trace `function` for calls that look like `call`."""
    symbols = [input_node(kind.type) for kind in call.leaves if isinstance(kind, Dynamic)]
    rest = iter(symbols)
    with tracing() as trace, recorded():  # what it means does not depend on `no_grad` outside
        leaves = [_symbol(kind, next(rest)) if isinstance(kind, Dynamic) else kind.value for kind in call.leaves]
        args, kwargs = trees.unflatten(call.tree, leaves)
        result, outputs = _read_result(function(*args, **kwargs))
    modes = tuple(trace.switched.get(variable, variable.mode) for variable in (*trace.reads, *trace.writes))
    return Captured(_graph(symbols, outputs, trace), tuple(trace.reads), tuple(trace.writes), result, modes)


def _symbol(kind: Dynamic, node: Node) -> Tensor:
    x = Tensor(node)
    return Number(astype(x, DEFAULT_FLOAT).node, x) if kind.number else x


def _read_result(value: Any) -> tuple[Result, list[Node]]:
    leaves, tree = trees.flatten(value)
    outputs, kinds = [], list[Static | None]()
    for leaf in leaves:
        if isinstance(leaf, Tensor | Variable | np.ndarray | np.generic):
            outputs.append(as_tensor(leaf).node)
            kinds.append(None)
        else:
            kinds.append(Static(leaf))
    return Result(tuple(kinds), tree), outputs


def _graph(symbols: list[Node], outputs: list[Node], trace: Trace) -> Graph:
    inputs = [*symbols, *trace.reads.values()]
    place = {variable: len(symbols) + i for i, variable in enumerate(trace.reads)}
    aliases = tuple((len(outputs) + i, place[v]) for i, v in enumerate(trace.writes) if v in place)
    graph = close(inputs, [*outputs, *trace.writes.values()], aliases)
    _check_leaks(graph)
    return graph


def _check_leaks(graph: Graph) -> None:
    declared = set(graph.inputs)
    for node in graph.nodes:
        if node.op is INPUT and node not in declared:
            user = graph.users[node][0] if graph.users[node] else node
            raise TraceError(explain(
                "a tensor that was kept from another compiled function is used here", got=f"Tensor({node.type})",
                expected="arrays, or tensors that a compiled function returned",
                fix="return the tensor from the function instead of storing it", at=describe_frame(user.where)))
