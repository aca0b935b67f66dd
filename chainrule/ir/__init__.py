# SPDX-License-Identifier: Apache-2.0
"""The language: types, operations, nodes, graphs, their text form and their rules. Nothing here computes a gradient,
compiles or knows a backend; every later stage imports this folder and meets the others only through its graphs."""

from .bind import as_tensor, bind, no_grad, recorded, recording
from .dtype import canonical, promote
from .graph import Graph
from .node import REGISTRY, Node, Op, Type, op
from .printer import graph_text
from .program import Program
from .tensor import Tensor
from .trace import Trace, current_trace, tracing
from .variable import Variable
from .verify import verify

__all__ = [
    "REGISTRY", "Graph", "Node", "Op", "Program", "Tensor", "Trace", "Type", "Variable", "as_tensor", "bind",
    "canonical",
    "current_trace", "graph_text", "no_grad", "op", "promote", "recorded", "recording", "tracing", "verify",
]
