# SPDX-License-Identifier: Apache-2.0
"""Rematerialisation (gradient checkpointing): what is made again instead of being kept: values between a forward and a
backward pass, where memory would be large.

In: a graph. Out: the same values bit for bit. The law: a value is made a second time only by operations on elements,
only from what stays in memory until then anyway (or is small), and only where that saves more than `WORTH` in all. The
clock is the longest way from the inputs: a long time without a user is the gap between the two passes. An activation's
input then outlives its output, as in Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016), where that is
free.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from ...ir.graph import Graph, like, rebuild
from ...ir.node import Node, Type
from ..kinds import COSTS, kind_of

LARGE = 1 << 20  # bytes from which a value counts
GAP = 24  # operations in a row, while nobody uses a value, from which it is made again
MOST_OPERATIONS = 32  # in a row, that are done again
WORTH = 64 << 20  # bytes below which a program keeps what it has
SLOW = 3  # cost of an operation that ends a chain worth storing: exp, tanh, or the division behind one
VIEWS = {"broadcast", "reshape", "transpose"}
MOVING = {"take", "random_bits", "concat", "pad", "window", "unwindow", "slice", "transpose", "iota"}


def again(graph: Graph) -> Graph:
    """The graph in which late users of such values make them themselves."""
    search = Search(graph)
    chosen = {node: late for node in graph.nodes if (late := search.late(node)) is not None
              and search.can_be_made(node, late)}
    if not chosen or search.saved(chosen) < WORTH:
        return graph
    new: dict[Node, Node] = {}
    copies: dict[Node, Node] = {}

    def copy(node: Node, at: int, most: int = MOST_OPERATIONS) -> Node:
        if node not in copies:
            inputs = tuple(copy(x, at, most - 1) if search.can_be_made(x, at, most - 1) else new[x]
                           for x in node.inputs)
            copies[node] = like(node, inputs)
        return copies[node]

    def rewrite(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        late = [x in chosen and search.clock[node] >= chosen[x] for x in node.inputs]
        made = (like(node, tuple(copy(x, chosen[x]) if b else y
                                 for x, y, b in zip(node.inputs, inputs, late, strict=True))) if any(late) else None)
        new[node] = made or (node if inputs == node.inputs else like(node, inputs))
        return new[node]

    return rebuild(graph, rewrite)


class Search:
    """What is used when, and what could be made again."""

    def __init__(self, graph: Graph):
        self.graph, self.users = graph, graph.users
        self.clock: dict[Node, int] = {}
        for node in graph.nodes:
            self.clock[node] = 1 + max((self.clock[x] for x in node.inputs), default=-1)
        for node in reversed(graph.nodes):  # operations on elements happen where their results are used
            if kind_of(node) == "inline" and self.users[node]:
                self.clock[node] = max(self.clock[node], min(self.clock[x] for x in self.users[node]) - 1)
        self.late = cache(self._late)
        self.can_be_made = cache(self._can_be_made)

    def _late(self, node: Node) -> int | None:
        """The time of the first use after a long while without one."""
        if not _is_large(node):
            return None
        before = self.clock[node]
        for now in sorted({self.clock[x] for x in self.users[node]}):
            if now - before >= GAP:
                return now
            before = now
        return None

    def _can_be_made(self, node: Node, at: int, most: int = MOST_OPERATIONS) -> bool:
        """Whether at most so many operations on elements in a row make a large value from what is there at a time
        anyway."""
        if not most or not _is_large(node) or kind_of(node) != "inline" or node.op.name in MOVING:
            return False
        return all(not _is_large(x) or x.op.name in ("input", "constant") or self.can_be_made(x, at, most - 1)
                   or self._is_there(x, at)
                   for x in node.inputs)

    def _is_there(self, node: Node, at: int) -> bool:
        """Whether somebody uses a value then, or so shortly before that it may as well stay."""
        return any(self.clock[x] >= at - GAP // 2 for x in self.users[node])

    def saved(self, chosen: Iterable[Node]) -> int:
        """Bytes of those that would be stored: operands of products, and the ends of costly chains."""
        return sum(x.type.bytes for x in chosen if x.op.name not in VIEWS
                   and (self._feeds_a_product(x) or COSTS.get(x.op.name, 1) >= SLOW))

    def _feeds_a_product(self, node: Node) -> bool:
        return any(kind_of(u) == "product" or (u.op.name in VIEWS and self._feeds_a_product(u))
                   for u in self.users[node])


def _is_large(node: Node) -> bool:
    return isinstance(node.type, Type) and node.type.bytes >= LARGE
