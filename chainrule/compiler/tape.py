# SPDX-License-Identifier: Apache-2.0
"""A compiled function as one operation on the tape of eager code, so that gradients pass through a call of it.

A call keeps its graph and the arrays that it read. Its derivative is another graph, made when somebody asks for it and
compiled like the first, and a call of that one is an operation likewise: derivatives of any order. Within a trace,
where there are no arrays, the derivative's operations are written out. A call that has overwritten what its derivative
needs (a training step its weights) says so instead of giving a gradient of zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autodiff import backward, related
from ..errors import GraphError, TraceError, explain
from ..ir import Graph, Node, Op, Tensor, Type, Variable, current_trace, recording, tracing
from ..ir.bind import forget, leaf
from ..ir.graph import close, inline, input_node, topological
from ..ir.node import CONSTANT, OUTPUT

# bytes of assigned Variables that a call copies so that it can be differentiated; copying them takes 3 µs
STATE = 1 << 16


@dataclass(frozen=True, eq=False)
class Links:
    """What of a program has to do with derivatives: the numbers of the inputs from which floats come to the results,
    and of
    the assigned Variables among the inputs that results need, and what these hold can be kept."""

    inputs: frozenset[int]
    state: tuple[int, ...]
    kept: bool


def links(graph: Graph, results: int, reads: Sequence[Variable], writes: Sequence[Variable]) -> Links:
    """The links of a program whose last inputs are `reads` and whose outputs after the first `results` are `writes`."""
    outputs, first = graph.outputs[:results], len(graph.inputs) - len(reads)
    reached = related([node for node in outputs if node.dtype.kind == "f"], graph.inputs)
    needed, assigned = set(topological(outputs)), set(map(id, writes))
    state = tuple(i for i, variable in enumerate(reads, first) if id(variable) in assigned
                  and graph.inputs[i] in needed)
    held = [reads[i - first] for i in state]
    kept = not any(variable.trainable for variable in held) and sum(variable.type.bytes for variable in held) <= STATE
    return Links(frozenset(i for i, node in enumerate(graph.inputs) if node in reached), state, kept)


def results_of(op: Op, inputs: tuple[Node, ...], attrs: dict[str, Any], types: Sequence[Type],
               arrays: Sequence[np.ndarray]) -> list[Tensor]:
    """The results of a call as tensors that remember it.

    Attributes of such a node: `entry`, the program; `arrays`, those of its arguments; `places`, which of these are the
    first inputs of the node. Its other inputs are what the Variables held that the program read.
    """
    if len(types) == 1:
        return [Tensor(Node(op, inputs, attrs, types[0], arrays[0]))]
    parent = Node(op, inputs, attrs, tuple(types), tuple(arrays))
    return [Tensor(Node(OUTPUT, (parent,), {"index": i}, kind, array) if kind.dtype.kind == "f"
                   else Node(CONSTANT, (), {}, kind, array))
            for i, (kind, array) in enumerate(zip(types, arrays, strict=True))]


def _pull(g: Any, y: Any, *inputs: Tensor, entry: Any, arrays: Sequence[np.ndarray],
          places: tuple[int, ...]) -> list[Tensor | None]:
    """The gradients of the inputs of a call, from those of its results (None where there are none)."""
    seeds = list(g) if isinstance(y, tuple) else [g]
    seeded = tuple(i for i, seed in enumerate(seeds) if seed is not None)
    derivative, found = entry.pull(seeded)
    tensors, variables = dict(zip(places, inputs, strict=False)), inputs[len(places):]
    given = [tensors[i] if i in tensors else leaf(array) for i, array in enumerate(arrays)]
    given += [*variables, *(seeds[i] for i in seeded)]
    if current_trace() is None and all(x.node.data is not None for x in given):
        gradients = derivative([x.node.data for x in given], [(i, x.node) for i, x in enumerate(given)])
    else:
        gradients = _written_out(derivative, given)
    result = dict(zip(found, gradients, strict=True))
    return [result.get(i) for i in (*places, *range(len(arrays), len(arrays) + len(variables)))]


def _written_out(entry: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The operations of a program in the present trace."""
    inputs = [*inputs, *(variable.value for variable in entry.captured.reads)]
    outputs = [Tensor(node) for node in inline(entry.captured.graph, [x.node for x in inputs])]
    return outputs if recording() else [forget(x) for x in outputs]


def _refuse(g: Any, y: Any, *inputs: Tensor, entry: Any) -> Any:
    variables = [variable.name or "(unnamed)" for variable in entry.overwritten]
    names = ", ".join(variables[:3]) + (", …" if len(variables) > 3 else "")
    raise TraceError(explain(
        f"the compiled function {entry.name} has overwritten what the gradient of its results needs",
        got=f"new values of {names}",
        expected="a function that assigns none of the Variables its results are computed from",
        fix="take the gradient inside the compiled function, cr.gradients(loss, model), or call the function without "
            "cr.compile"))


def _no_rule(*_: Any, **__: Any) -> Any:
    raise GraphError("a recorded call stands in no graph")


# no part of the registry: eager code alone holds them
CALL = Op("call", infer=_no_rule, meaning=_no_rule, vjp=_pull)
LOST_CALL = Op("lost_call", infer=_no_rule, meaning=_no_rule, vjp=_refuse)


def pulled(graph: Graph, results: int, seeded: Sequence[int],
           targets: Sequence[int]) -> tuple[Graph, list[int], list[Variable]]:
    """The derivative as a graph: inputs those of `graph`, the gradients of the results `seeded`, and the Variables that
    rules
    read; outputs the gradients of the inputs `targets`. Also, which of the targets have one, and these Variables."""
    seeds = [input_node(graph.outputs[i].type) for i in seeded]
    with tracing() as trace:
        found = backward([graph.outputs[i] for i in seeded], [Tensor(seed) for seed in seeds],
                         [graph.inputs[i] for i in targets])
    if trace.writes:
        raise TraceError(explain("a derivative assigns a Variable", fix="assign it in the function itself"))
    pairs = [(target, g.node) for target, g in zip(targets, found, strict=True) if g is not None]
    inputs = (*graph.inputs, *seeds, *trace.reads.values())
    return close(inputs, [node for _, node in pairs]), [target for target, _ in pairs], list(trace.reads)
