# SPDX-License-Identifier: Apache-2.0
"""Dead-code elimination in loops. Law: a loop hands out and takes in only what somebody uses.

Stacked results that nothing reads, an unread history, and operands that the body does not read, go.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Graph, Node
from ..ir.graph import make, rebuild
from ..ir.node import OUTPUT
from ..ops.scan import SCAN


def trim(graph: Graph) -> Graph:
    """Scans without unused results; carries stay, because the loop needs them."""
    used = _used(graph)
    places: dict[Node, dict[int, int]] = {}  # trimmed scan -> old index of a result -> new one
    bodies: dict[tuple[Graph, tuple[int, ...]], tuple[Graph, list[bool]]] = {}  # equal loops keep one body

    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node.op is OUTPUT and inputs[0] in places:
            return make(OUTPUT, inputs[0], at=node, index=places[inputs[0]][node.attrs["index"]])
        if node.op is not SCAN:
            return None
        body, carries, history = node.attrs["body"], node.attrs["carries"], node.attrs["history"]
        results = len(body.outputs)
        kept = tuple(i for i in range(results) if i < carries or i in used[body])
        keeps_history = history and any(i >= results for i in used[body])
        if (body, kept) not in bodies:
            bodies[body, kept] = _slim(body, carries, kept)
        slim, read = bodies[body, kept]
        if len(kept) == results and keeps_history == history and all(read):
            return None
        sequences = sum(read[carries:carries + node.attrs["sequences"]])
        operands = [x for x, is_read in zip(inputs, read, strict=True) if is_read]
        made = make(SCAN, *operands, at=node, **{**node.attrs, "body": slim, "history": keeps_history,
                                                 "sequences": sequences})
        places[made] = _renumbered(kept, results, len(node.type))
        return made

    return rebuild(graph, rewrite)


def _slim(body: Graph, carries: int, kept: Sequence[int]) -> tuple[Graph, list[bool]]:
    """The body with the outputs `kept` and the inputs that they need, and which inputs these are."""
    outputs = tuple(body.outputs[i] for i in kept)
    users = Graph(body.inputs, outputs).users
    read = [i < carries or bool(users[x]) or x in outputs for i, x in enumerate(body.inputs)]
    return Graph(tuple(x for x, is_read in zip(body.inputs, read, strict=True) if is_read), outputs), read


def _used(graph: Graph) -> dict[Graph, set[int]]:
    """What is read of the results of each body, over all loops that have it, so that equal loops can become one."""
    found: dict[Graph, set[int]] = {node.attrs["body"]: set() for node in graph.nodes if node.op is SCAN}
    for node in graph.nodes:
        if node.op is OUTPUT and node.inputs[0].op is SCAN:
            found[node.inputs[0].attrs["body"]].add(node.attrs["index"])
    return found


def _renumbered(kept: Sequence[int], results: int, total: int) -> dict[int, int]:
    """Old index -> new index, the history (if there is one) after the results of the body."""
    places = {old: new for new, old in enumerate(kept)}
    return places | {old: old - results + len(kept) for old in range(results, total)}
