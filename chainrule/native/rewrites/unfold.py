# SPDX-License-Identifier: Apache-2.0
"""Legalisation: operations of the language that have no kernel for these shapes, written out in other words before the
cut into kernels.

In: a graph. Out: the same with each attention that `attention_spec.fits` refuses as what `ops.attention` says it means.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.graph import Graph, close, inline, input_node, like, rebuild
from ...ir.node import OUTPUT, Node, Op
from ...ir.tensor import Tensor
from ...ir.trace import tracing
from ...ops.attention import ATTENTION, GRADIENT, composed, composed_gradient
from ..kernels.attention.spec import fits

SENTENCES: dict[Op, Callable[..., tuple[Tensor, ...]]] = {ATTENTION: composed, GRADIENT: composed_gradient}


def unfold(graph: Graph) -> Graph:
    """The graph without attention that has no kernel."""
    parts: dict[Node, tuple[Node, ...]] = {}

    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node.op is OUTPUT and inputs[0] in parts:
            return parts[inputs[0]][node.attrs["index"]]
        if node.op not in SENTENCES or fits(node):
            return None
        kept = like(node, inputs)
        parts[kept] = _written(node, inputs)
        return kept

    return rebuild(graph, rewrite) if any(node.op in SENTENCES for node in graph.nodes) else graph


def _written(node: Node, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
    """The results of a node, computed by its sentence."""
    symbols = [input_node(x.type) for x in inputs]
    with tracing():
        results = SENTENCES[node.op](*map(Tensor, symbols), **node.attrs)
    return inline(close(symbols, [x.node for x in results]), inputs)
