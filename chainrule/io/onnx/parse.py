# SPDX-License-Identifier: Apache-2.0
"""An ONNX file as records: nodes, graphs and functions. Nothing is computed, and sizes are compared with what is there.

Source: onnx.proto3, messages ModelProto, GraphProto, NodeProto, AttributeProto and FunctionProto.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import shown
from ...foundations.files import reading
from ..weights.contents import Mapped, damaged
from ..weights.onnx_files import tensor_entry
from ..weights.protobuf import Message

DEEPEST = 16  # graphs within graphs
FLOAT, INT, STRING, TENSOR, GRAPH, FLOATS, INTS, STRINGS, TENSORS, GRAPHS = range(1, 11)
STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Node:
    """One use of an operator: `kind` is its name, with its domain if it is not ONNX's own."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    references: dict[str, str]  # attribute -> the attribute of the function around it


@dataclass(frozen=True)
class Graph:
    """Nodes between inputs and outputs; `arrays` are those that stand in the file."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    kinds: dict[str, tuple[int, tuple[int | str | None, ...]]]  # input -> (element type, extents)


@dataclass(frozen=True)
class File:
    """A model: its graph, the version of ONNX's operators, and its own functions."""

    graph: Graph
    opset: int
    functions: dict[str, Graph]


def read_file(path: Path) -> File:
    """The model in a file; DataError if it is damaged or none."""
    with reading(path, "ONNX file"):
        message = Message(Mapped(path).bytes)
        graphs = message.message(7)
        if len(graphs) != 1:
            raise damaged(path, "this is no ONNX model", got=f"{len(graphs)} graphs", expected="one graph")
        parser = _Parser(path)
        functions = {_kind(f.text(10), f.text(1)): parser.function(f) for f in message.message(25)}
        return File(parser.graph(graphs[0], 0), _opset(message), functions)


def _opset(message: Message) -> int:
    versions = [item.integer(2) for item in message.message(8) if item.text(1) in STANDARD]
    return versions[0] if versions else 1


def _kind(domain: str, name: str) -> str:
    return name if domain in STANDARD else f"{domain}.{name}"


class _Parser:
    def __init__(self, path: Path):
        self.path = path

    def graph(self, message: Message, depth: int) -> Graph:
        """GraphProto."""
        if depth > DEEPEST:
            raise damaged(self.path, "graphs lie too deep within graphs", expected=f"at most {DEEPEST}", fix=None)
        if message.values.get(15):
            raise damaged(self.path, "sparse initialisers cannot be read", fix="save the model with dense weights")
        arrays = {tensor.text(8): self.tensor(tensor) for tensor in message.message(5)}
        inputs = [item for item in message.message(11) if item.text(1) not in arrays]
        return Graph(tuple(self.node(item, depth) for item in message.message(1)),
                     tuple(item.text(1) for item in inputs), tuple(item.text(1) for item in message.message(12)),
                     arrays, {item.text(1): _type(item) for item in inputs})

    def function(self, message: Message) -> Graph:
        """FunctionProto: a graph whose attributes are given by the node that calls it."""
        names = lambda field: tuple(str(name, "utf-8") for name in message.contents(field))
        return Graph(tuple(self.node(item, 1) for item in message.message(7)), names(4), names(5), {}, {})

    def node(self, message: Message, depth: int) -> Node:
        """NodeProto."""
        names = lambda field: tuple(str(name, "utf-8") for name in message.contents(field))
        found = message.message(5)
        references = {item.text(1): item.text(21) for item in found if item.text(21)}
        attributes = {item.text(1): self.attribute(item, depth) for item in found if not item.text(21)}
        return Node(_kind(message.text(7), message.text(4)), message.text(3), names(1), names(2), attributes,
                    references)

    def attribute(self, message: Message, depth: int) -> Any:
        """AttributeProto: a number, text, array or graph, or a list of them."""
        kind = message.integer(20)
        readers: dict[int, Callable[[], Any]] = {
            FLOAT: lambda: float(message.numbers(2, "<f4")[-1]) if message.values.get(2) else 0.0,
            INT: lambda: message.integer(3), STRING: lambda: message.text(4),
            TENSOR: lambda: self.tensor(message.message(5)[0]),
            GRAPH: lambda: self.graph(message.message(6)[0], depth + 1),
            FLOATS: lambda: message.numbers(7, "<f4").astype(float).tolist(), INTS: lambda: message.integers(8),
            STRINGS: lambda: [str(text, "utf-8", "replace") for text in message.contents(9)],
            TENSORS: lambda: [self.tensor(item) for item in message.message(10)],
        }
        if kind not in readers:
            return None  # of a kind that no operator here takes: what needs it says so
        return readers[kind]()

    def tensor(self, message: Message) -> Any:
        """TensorProto as an array; of what is no number, such as texts, a name of it."""
        if message.integer(2) == 8:
            return Foreign("texts")
        return tensor_entry(self.path, message.text(8) or "a constant", message).read()


@dataclass(frozen=True)
class Foreign:
    """A value that is no array of numbers."""

    what: str


def _type(message: Message) -> tuple[int, tuple[int | str | None, ...]]:
    """(element type, extents) of a ValueInfoProto."""
    for kind in message.message(2):
        for array in kind.message(1):
            dims = [d for shape in array.message(2) for d in shape.message(1)]
            return array.integer(1), tuple(d.integer(1) if d.values.get(1) else d.text(2) or None for d in dims)
    return 0, ()


def told(node: Node) -> str:
    """A node in a message."""
    return f"{node.kind} {shown(node.name or node.outputs[:1])}"
