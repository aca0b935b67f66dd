# SPDX-License-Identifier: Apache-2.0
"""Law: every float32 product reads operands that are rounded to bfloat16; its sums, and everything else, stay float32.

Rounding is done where a value is made, before it is moved, so the forward pass and the gradients share it. A value of the
program that a product reads is rounded for all its readers: it is kept once, in two bytes. What comes from outside
(Variables, data) and constants are rounded for products only, so weights are updated, and results are returned, in float32.
After Micikevicius et al., "Mixed precision training" (2018), with the exponents of float32 and so no scaling of the loss.
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Node
from ..ir.graph import like, make
from ..ir.node import CONSTANT, INPUT
from ..ops.precision import BFLOAT16, MOVED

PRODUCTS = ("contract", "conv", "conv_input_gradient", "conv_filter_gradient")


def precision(graph: Graph) -> Graph:
    """The graph with operands of products rounded to bfloat16."""
    return _Rounding(graph).run()


def _is_product(node: Node) -> bool:
    return node.op.name in PRODUCTS and node.dtype == np.float32


def _source(node: Node) -> Node:
    """What an operand is before it is moved."""
    while node.op.name in MOVED:
        node = node.inputs[0]
    return node


class _Rounding:
    """The rewrite of one graph: `exact` and `rounded` hold the new form of old nodes."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.wanted = {_source(x) for node in graph.nodes if _is_product(node) for x in node.inputs}
        self.exact: dict[Node, Node] = {}
        self.rounded: dict[Node, Node] = {}

    def run(self) -> Graph:
        """Rebuild every node, inputs first."""
        for node in self.graph.nodes:
            read = self._rounded if _is_product(node) else self._read
            inputs = tuple(read(x) for x in node.inputs)
            self.exact[node] = node if inputs == node.inputs else like(node, inputs)
        outputs = tuple(self.exact[x] for x in self.graph.outputs)
        return Graph(self.graph.inputs, outputs, self.graph.aliases)

    def _read(self, node: Node) -> Node:
        """What readers that are no products see."""
        shared = node in self.wanted and node.op not in (INPUT, CONSTANT)
        return self._rounded(node) if shared else self.exact[node]

    def _rounded(self, node: Node) -> Node:
        """The rounded form of an operand: moved after it is rounded."""
        if node not in self.rounded:
            if node.op.name in MOVED:
                self.rounded[node] = like(node, (self._rounded(node.inputs[0]),))
            else:
                exact = self.exact[node]
                self.rounded[node] = exact if exact.op is BFLOAT16 else make(BFLOAT16, exact, at=node)
        return self.rounded[node]
