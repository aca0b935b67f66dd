# SPDX-License-Identifier: Apache-2.0
"""Loops as nodes of ONNX: `scan` is a Scan, or a Loop if there is nothing to go through; `while` is a Loop with a
condition.

Constants of a loop are not passed: a body reads what lies around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir import Graph
from ...ir.node import Node
from ...ops.loops import UNBOUNDED
from ..sizes import fixed
from . import wire
from .lowering import Use, spread
from .writer import LAST, Value, Writer

Emit = Callable[[Graph, Writer, dict[Node, Any], Any], list[Value]]


def scan(use: Use, *values: Value, emit: Emit) -> list[Value]:
    """The last carries, what each step gives, and with `history` the carries that entered it."""
    attrs = use.node.attrs
    if not attrs["sequences"]:
        return _counted(use, values, emit)
    carries, sequences = attrs["carries"], attrs["sequences"]
    body, given = _begin(use, carries + sequences)
    results = _results(use, body, given, values, emit)
    kept = [*results[carries:], *(given[:carries] if attrs["history"] else ())]
    _end(use, body, [], given, [*results[:carries], *(body.add("Identity", x) for x in kept)])
    direction, steps = int(attrs["reverse"]), sequences
    names = use.add("Scan", *(use.full(value, i) for i, value in enumerate(values[:carries + sequences])),
                    bodies={"body": body}, num_scan_inputs=steps, outputs=carries + len(kept),
                    scan_input_directions=[direction] * steps, scan_output_directions=[direction] * len(kept))
    return [Value(name) for name in _listed(names)]


def _counted(use: Use, values: Sequence[Value], emit: Emit) -> list[Value]:
    """So many rounds of the same."""
    attrs = use.node.attrs
    carries = attrs["carries"]
    body, given = _begin(use, carries)
    results = _results(use, body, given, values, emit)
    kept = [*results[carries:], *(given[:carries] if attrs["history"] else ())]
    after = body.constant(np.array(True))
    _end(use, body, _counters(use, body), given, [body.add("Identity", x) for x in (after, *results[:carries], *kept)])
    lengths = tuple(use.family.values(use.node, "length"))
    count = use.add("Squeeze", use.writer.extent(lengths))
    names = _listed(use.add("Loop", count, "", *(use.full(value, i) for i, value in enumerate(values[:carries])),
                            bodies={"body": body}, outputs=carries + len(kept)))
    stacked = names[carries:]
    if attrs["reverse"]:
        back = (use.writer.integers(-1), use.writer.integers(-LAST), use.writer.integers(0), use.writer.integers(-1))
        stacked = [use.add("Slice", name, *back) for name in stacked]
    return [Value(name) for name in (*names[:carries], *stacked)]


def repeat(use: Use, *values: Value, emit: Emit) -> list[Value]:
    """Rounds as long as the first carry is true."""
    attrs = use.node.attrs
    carries = attrs["carries"]
    body, given = _begin(use, carries)
    results = _results(use, body, given, values, emit)
    _end(use, body, _counters(use, body), given, [body.add("Identity", x) for x in (results[0], *results)])
    most = "" if attrs["length"] == UNBOUNDED else use.scalar(attrs["length"], np.int64)
    names = [use.full(value, i) for i, value in enumerate(values[:carries])]
    return [Value(name) for name in _listed(use.add("Loop", most, names[0], *names, bodies={"body": body},
                                                    outputs=carries))]


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else names


def _begin(use: Use, count: int) -> tuple[Writer, list[str]]:
    body = Writer(use.writer)
    body.layer = use.writer.layer
    return body, [body.new("entered") for _ in range(count)]


def _results(use: Use, body: Writer, given: list[str], values: Sequence[Value], emit: Emit) -> list[str]:
    graph = use.node.attrs["body"]
    entered = [Value(name) for name in given] + list(values[len(given):])
    found = emit(graph, body, dict(zip(graph.inputs, entered, strict=True)), use.family)
    names = [spread(body, value, use.family.extents(node)) for value, node in zip(found, graph.outputs, strict=True)]
    return [str(body.add("Identity", name)) for name in names]


def _counters(use: Use, body: Writer) -> list[bytes]:
    return [wire.value_info(body.new("round"), np.int64, ()), wire.value_info(body.new("goes_on"), np.bool_, ())]


def _end(use: Use, body: Writer, before: list[bytes], given: list[str], results: list[str]) -> None:
    """What goes in and what comes out, with their types."""
    graph = use.node.attrs["body"]
    info = lambda name, node: wire.value_info(name, node.dtype,
                                              [n[0] if fixed(n) else None for n in use.family.extents(node)])
    body.inputs = [*before, *(info(name, node) for name, node in zip(given, graph.inputs, strict=False))]
    first = [wire.value_info(results[0], np.bool_, ())] if before else []
    kinds = [*graph.outputs, *graph.inputs]
    body.outputs = [*first, *(info(name, node) for name, node in zip(results[len(first):], kinds, strict=False))]
    body.results = results


