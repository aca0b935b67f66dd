# SPDX-License-Identifier: Apache-2.0
"""Split-K: products with weights that the same program overwrites, cut in two along the summed axis.

In: a graph whose products are (m, k) times (k, n). Out: the same with small batches multiplied as two products of half
the length, whose results are added. The reason is where the weights lie: their gradient and their update are shared out
to threads by rows, a product of few rows by columns. Each core would read in every step what the other has just
written, which takes longer than the update itself; with halves along k, a core reads the rows that it writes.
"""

from __future__ import annotations

from ...ir.graph import Graph, make, rebuild
from ...ir.node import REGISTRY, Node

LEAST_BYTES = 1 << 16  # of the weights
LEAST_ROWS = 8
PLAIN = ((1,), (0,))


def halves(graph: Graph) -> Graph:
    """The graph with such products cut."""
    overwritten = {graph.inputs[i] for _, i in graph.aliases}
    return rebuild(graph, lambda node, inputs: _halved(node, *inputs) if _is_wanted(node, overwritten) else None)


def _is_wanted(node: Node, overwritten: set[Node]) -> bool:
    if (
        node.op.name != "contract"
        or node.dtype.kind != "f"
        or node.attrs["contracting"] != PLAIN
        or node.attrs["batch"] != ((), ())
    ):
        return False
    weights = node.inputs[1]
    while weights.op.name == "reshape":
        weights = weights.inputs[0]
    (m, k), read = node.inputs[0].shape, node.inputs[1].type.bytes
    return weights in overwritten and m >= LEAST_ROWS and 2 * m <= k and k % 2 == 0 and read >= LEAST_BYTES


def _halved(node: Node, a: Node, b: Node) -> Node:
    (m, k), n = a.shape, b.shape[1]
    do = lambda name, *inputs, **attrs: make(REGISTRY[name], *inputs, at=node, **attrs)
    left = do("transpose", do("reshape", a, shape=(m, 2, k // 2)), axes=(1, 0, 2))
    parts = do("contract", left, do("reshape", b, shape=(2, k // 2, n)), contracting=((2,), (1,)), batch=((0,), (0,)))
    return do("sum", parts, axes=(0,))
