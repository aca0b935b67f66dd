# SPDX-License-Identifier: Apache-2.0
"""A graph as ONNX: walk the nodes, look up the rule, apply it; the same walk as the interpreter's."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain
from ...ir import Graph
from ...ir.node import CONSTANT, INPUT, OUTPUT, Node
from ..sizes import Family, fixed
from . import wire
from .attention import attention, attention_gradient
from .constants import constant
from .loops import repeat, scan
from .lowering import RULES, Rule, Use, spread
from .writer import IR_VERSION, OPSET, Value, Writer

# What is in the language and not in ONNX: factorisations of matrices, the bits of floats, and bits drawn at random.
WITHOUT_ONNX = ("bitcast", "cholesky", "eigh", "qr", "random_bits", "slogdet", "solve", "svd")


def model(found: Family, names: Sequence[str], outputs: Sequence[str], weights: Mapping[int, tuple[str, np.ndarray]],
          version: str, longest: int) -> bytes:
    """The bytes of a file: inputs of the graph are those of the file by `names`, or by their place `weights` with a
    name."""
    writer = Writer()
    writer.longest = longest
    free = [(i, node) for i, node in enumerate(found.graph.inputs) if i not in weights]
    values: dict[Node, Any] = {node: Value(name) for (_, node), name in zip(free, names, strict=True)}
    for (_, node), name in zip(free, names, strict=True):
        writer.learn(name, found.extents(node))
    for i, (name, array) in weights.items():
        values[found.graph.inputs[i]] = Value(writer.constant(array, hint=name))
    results = emit(found.graph, writer, values, found)
    writer.layer = ""
    for value, node, name in zip(results, found.graph.outputs, outputs, strict=True):
        whole = spread(writer, value, found.extents(node))
        writer.add("Identity", whole)
        writer.operations[-1].outputs[:] = [name]
        writer.results.append(name)
    read = writer.needed()
    return _packed(writer, found, [(name, node) for (_, node), name in zip(free, names, strict=True)], outputs, read,
                   version)


def _packed(writer: Writer, found: Family, inputs: Sequence[tuple[str, Node]], outputs: Sequence[str], read: set[str],
            version: str) -> bytes:
    info = lambda name, node: wire.value_info(name, node.dtype,
                                              [n[0] if fixed(n) else found.symbols.get(n, f"extent_{i}_of_{name}")
                                               for i, n in enumerate(found.extents(node))])
    nodes = list(writer.encoded())
    tensors = [wire.tensor(name, array) for name, array in writer.tensors.items() if name in read]
    packed = wire.graph("chainrule", nodes, [info(*pair) for pair in inputs],
                        [info(name, node) for name, node in zip(outputs, found.graph.outputs, strict=True)], tensors)
    return wire.model(packed, OPSET, version, IR_VERSION)


def emit(graph: Graph, writer: Writer, values: dict[Node, Any], family: Family) -> list[Value]:
    """The outputs of the graph; `values` holds what its inputs are."""
    for node in graph.nodes:
        if node in values:
            _learn(writer, family, node, values[node])
            continue
        if node.op is INPUT:
            continue
        writer.layer = (node.layer or "").replace(" ", "_")
        values[node] = _value(node, writer, values, family)
        _learn(writer, family, node, values[node])
    return [values[node] for node in graph.outputs]


def _learn(writer: Writer, family: Family, node: Node, value: Any) -> None:
    if isinstance(value, Value) and not value.thin:
        writer.learn(value.name, family.extents(node))


def _value(node: Node, writer: Writer, values: dict[Node, Any], family: Family) -> Any:
    use = Use(node, family, writer, values)
    if node.op is CONSTANT:
        return constant(use)
    if node.op is OUTPUT:
        return values[node.inputs[0]][node.attrs["index"]]
    rule = LOWERINGS.get(node.op.name)
    if rule is None:
        raise ArgumentError(explain(f"{node.op.name} has no counterpart in ONNX", got=str(node.type), layer=node.layer,
                                    fix="export to .stablehlo or .so, or leave this layer out"))
    return rule(use, *(values[x] for x in node.inputs))


LOWERINGS: dict[str, Rule] = {
    **RULES,
    "attention":          attention,
    "attention_gradient": attention_gradient,
    "scan":               functools.partial(scan, emit=emit),
    "while":              functools.partial(repeat, emit=emit),
}
