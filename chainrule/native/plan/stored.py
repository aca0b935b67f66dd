# SPDX-License-Identifier: Apache-2.0
"""Operator fusion: what gets a buffer and what is computed on the way: the cut of a graph into kernels.

In: a graph. Out: the nodes that are stored, in order; each is the result of one kernel, product or host step. A value
is stored if it must be (results, operands of products, reductions), if several users would compute it again at more
than the price of storing it, or if a broadcast would repeat its computation for every copy.
"""

from __future__ import annotations

from ...ir.graph import Graph, topological
from ...ir.node import Node
from ..kinds import CONVOLUTIONS, COSTS, PRODUCTS, kind_of
from ..nest.overlap import summed
from ..nodes import MOVEMENTS, resolve, uniform

HEADS = (0, 1, 2, 5)  # operands of attention that may be views
CHEAP_TO_REPEAT = 8  # work up to which several users compute a value themselves
DEAR_TO_REPEAT = 32  # work from which the windows that `unwindow` adds up are stored; each is read once
LOAD = 3
# a load from what is so many times smaller than the result finds it in the nearest cache
REPEATED, REPEATED_LOAD = 64, 1
LONGEST_CHAIN = 80  # nodes that one expression may take in
MUCH_MEMORY = 512 << 20  # bytes of all results from which the order of the steps is chosen for memory
MANY_PARTS = 3  # above which the parts of a concatenation are written one by one


def nearest_first(graph: Graph) -> tuple[Node, ...]:
    """The nodes in an order in which results with the shortest way from the inputs come first: the loss, then the
    update of
    the last layer, …, so that nothing waits for the end of the backward pass to be used up."""
    depth: dict[Node, int] = {}
    for node in graph.nodes:
        depth[node] = 1 + max((depth[x] for x in node.inputs), default=-1)
    return topological(sorted(graph.outputs, key=depth.__getitem__), graph.inputs)


class Grouping:
    """The decisions for one graph: `stored` maps each node to whether it has a buffer of its own."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.stored: dict[Node, bool] = {}
        self.needs: dict[Node, frozenset[Node]] = {}
        self.wanted: set[Node] = set()  # what loops, scatters, running sums and host steps read as a whole
        self.users = self._users()
        self.results = {resolve(x) for x in graph.outputs}
        for node in graph.nodes:
            if resolve(node) is node:
                self._decide(node)

    def _users(self) -> dict[Node, int]:
        users: dict[Node, int] = {}
        for node in self.graph.nodes:
            if resolve(node) is node:
                for x in {resolve(x) for x in node.inputs}:
                    users[x] = users.get(x, 0) + 1
                if kind_of(node) in ("host", "scatter", "running"):
                    self.wanted.update(resolve(x) for x in node.inputs[node.op.name == "scatter":])
        return users

    def roots(self) -> list[Node]:
        """Stored nodes that are computed, in order."""
        stored = [x for x in self.graph.nodes if self.stored.get(x) and kind_of(x) != "leaf"]
        if sum(t.bytes for x in stored for t in (x.type if isinstance(x.type, tuple) else (x.type,))) < MUCH_MEMORY:
            return stored
        return [x for x in nearest_first(self.graph) if self.stored.get(x) and kind_of(x) != "leaf"]

    def has_buffer(self, node: Node) -> bool:
        """Whether the node lies in memory in row-major order: stored, or a reshape of what is."""
        node = resolve(node)
        while node.op.name == "reshape" and not self.stored[node]:
            node = resolve(node.inputs[0])
        return self.stored[node]

    def _decide(self, node: Node) -> None:
        kind = kind_of(node)
        if kind == "leaf":
            self.stored[node] = uniform(node) is None
            return
        if kind == "inline":
            self._inline(node)
            # the padding of the sum is never made
            if (total := summed(node)) and self.users[total] == 1 and total not in self.results:
                self.stored[node], self.stored[total] = True, False
            return
        self.stored[node] = True
        if kind == "product":
            for x in node.inputs:
                self._store_operand(resolve(x))
        elif kind == "unpacking":
            self._store_operand(resolve(node.inputs[0]))
            for x in node.inputs[1:]:
                self.store(resolve(x))
        elif kind == "attention":
            for i, x in enumerate(node.inputs):
                (self._store_operand if i in HEADS and x.dtype.kind == "f" else self.store)(resolve(x))
        elif kind in ("host", "scatter", "running"):
            for x in node.inputs[1 if kind == "scatter" else 0:]:
                self.store(resolve(x))
        elif node.op.name == "unwindow" and self.cost(node.inputs[0]) > DEAR_TO_REPEAT:
            self._store_source(resolve(node.inputs[0]))

    def _inline(self, node: Node) -> None:
        name = node.op.name
        if name == "take" or name == "random_bits":
            self.store(resolve(node.inputs[0]))
        if name in ("broadcast", "window") and self._repeats(node) and self.cost(node.inputs[0]) > LOAD + 2:
            self._store_source(resolve(node.inputs[0]))
        self.needs[node] = frozenset({node}).union(*(self._needed(x) for x in node.inputs))
        self.stored[node] = False
        if self.users.get(node, 0) > 1 and (self.cost(node) > CHEAP_TO_REPEAT + LOAD or self._takes_in_a_product(node)):
            self.store(node) if node in self.wanted else self._store_source(node)
        if len(self.needs[node]) > LONGEST_CHAIN:
            self._store_source(node)
        if name == "concat" and len(node.inputs) > MANY_PARTS:
            self.stored[node] = True
        if node in self.results and uniform(node) is None and not self._is_view(node):
            self.stored[node] = True

    def _takes_in_a_product(self, node: Node) -> bool:
        """Whether a product is made for this node only, which may then be written in its place."""
        large = [x for x in self.needs[node] if self.stored.get(x) and x.type.size == node.type.size]
        return node.op.name not in MOVEMENTS and len(large) <= 2 and any(
            self.users[x] == 1 and x.op.name in (*PRODUCTS, *CONVOLUTIONS) for x in large)

    def _repeats(self, node: Node) -> bool:
        """Whether a broadcast or a window uses elements of its input several times."""
        return node.type.size > node.inputs[0].type.size

    def _needed(self, node: Node) -> frozenset[Node]:
        """What is computed or loaded to have one element of a node."""
        node = resolve(node)
        return frozenset({node}) if self.stored[node] or uniform(node) is not None else self.needs[node]

    def _is_view(self, node: Node) -> bool:
        return node.op.name == "reshape" and self.has_buffer(node.inputs[0])

    def cost(self, node: Node) -> int:
        """What it costs to have one element of a node."""
        return sum(self._load(x, node) if self.stored[x] else 0 if uniform(x) is not None else COSTS.get(x.op.name, 1)
                   for x in self._needed(node))

    @staticmethod
    def _load(x: Node, node: Node) -> int:
        return REPEATED_LOAD if x.type.size * REPEATED <= node.type.size else LOAD

    def store(self, node: Node) -> None:
        """Make sure that a node lies in memory in row-major order."""
        if not self.has_buffer(node):
            self.stored[node] = True
        elif uniform(node) is not None:
            self.stored[node] = True

    def _store_source(self, node: Node) -> None:
        """Store what a chain of movements starts from."""
        while node.op.name in MOVEMENTS and node.op.name not in ("pad", "concat") and not self.stored[node]:
            node = resolve(node.inputs[0])
        if not self.stored[node] and uniform(node) is None and node.op.name != "iota":
            self.stored[node] = True

    def _store_operand(self, node: Node) -> None:
        """Store an operand of a product, or what it is a view of."""
        source = node
        while source.op.name in ("reshape", "transpose", "broadcast", "slice") and not self.stored[source]:
            source = resolve(source.inputs[0])
        if uniform(source) is not None:
            self.stored[node] = True
            return
        self.stored[source] = True
