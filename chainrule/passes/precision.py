# SPDX-License-Identifier: Apache-2.0
"""Mixed precision. Law: float32 convolutions, and products of at least 8 rows and columns, read operands rounded to
bfloat16 and sum in float32.

A value is rounded where it is made, before it is moved, and once: the forward pass and the gradients share it, so what
is kept for them is kept in two bytes. Everything else sees the value as it is: a gradient may ask which element
is the largest, or whether two are equal. Weights are updated, and results returned, in float32.
After Micikevicius et al., "Mixed precision training" (2018), with the exponents of float32 and so no scaling of the
loss.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir import Graph, Node
from ..ir.graph import like, make
from ..ops.precision import BFLOAT16, moved

# rows and columns of a product; one with fewer waits for its operands, and rounding them costs more than it gains
FEWEST = 8
PRODUCTS = ("contract", "conv", "conv_input_gradient", "conv_filter_gradient")


def precision(graph: Graph) -> Graph:
    """The graph with operands of products rounded to bfloat16."""
    return _Rounding(graph).run()


def _is_product(node: Node) -> bool:
    if node.op.name not in PRODUCTS or node.dtype != np.float32:
        return False
    return node.op.name != "contract" or min(_free(node, 0), _free(node, 1)) >= FEWEST


def _free(node: Node, side: int) -> int:
    """How many rows (or columns) the result of a contraction has."""
    taken = (*node.attrs["contracting"][side], *node.attrs["batch"][side])
    return math.prod(extent for axis, extent in enumerate(node.inputs[side].shape) if axis not in taken)


class _Rounding:
    """The rewrite of one graph: `exact` and `rounded` hold the new form of old nodes."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.exact: dict[Node, Node] = {}
        self.rounded: dict[Node, Node] = {}

    def run(self) -> Graph:
        """Rebuild every node, inputs first."""
        for node in self.graph.nodes:
            read = self._rounded if _is_product(node) else self.exact.__getitem__
            inputs = tuple(read(x) for x in node.inputs)
            self.exact[node] = node if inputs == node.inputs else like(node, inputs)
        outputs = tuple(self.exact[x] for x in self.graph.outputs)
        return Graph(self.graph.inputs, outputs, self.graph.aliases)

    def _rounded(self, node: Node) -> Node:
        """The rounded form of an operand: moved after it is rounded."""
        if node not in self.rounded:
            if moved(node) is not None:
                self.rounded[node] = like(node, (self._rounded(node.inputs[0]),
                                                 *(self.exact[x] for x in node.inputs[1:])))
            else:
                exact = self.exact[node]
                self.rounded[node] = exact if exact.op is BFLOAT16 else make(BFLOAT16, exact, at=node)
        return self.rounded[node]
