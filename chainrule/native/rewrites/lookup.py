# SPDX-License-Identifier: Apache-2.0
"""Embedding lookups before a product: products with rows of a table, where the table has fewer rows than are taken from
it: the product of the table comes first.

In: a graph. Out: the same values, summed in another order. With x = E[i], for an embedding table E and a batch of
tokens i:

    x W       = (E W)[i]              one product over the rows of the table instead of one over all tokens
    xᵀ g      = Eᵀ S(g)               S(g) adds up the rows of g that belong to one row of the table (a scatter)
    S(g Wᵀ)   = S(g) Wᵀ

A network that begins with an embedding of few symbols loses its largest products by this. Rows of E that nobody takes
stay out of the second sum, so that an infinity in one of them reaches no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.graph import Graph, constant, make, rebuild
from ...ir.node import REGISTRY, Node
from ..nodes import uniform

NO_BATCH = ((), ())
TIMES = 2  # how many more rows are taken than the table has, at least
# extent of the reduction and of the result's rows below which a product is as cheap as the sums that replace it
LEAST = 16


def lookup(graph: Graph) -> Graph:
    """The graph with products of tables in place of products of rows taken from them."""
    return _Rewrite(graph).graph if any(node.op.name in ("take", "scatter") for node in graph.nodes) else graph


class _Rewrite:
    """One pass; equal sums of rows are made once."""

    def __init__(self, graph: Graph):
        self.users = graph.users
        self.sums: dict[tuple[Node, Node, int], Node] = {}
        self.tables: dict[tuple[Node, Node], Node] = {}
        self.turned: dict[tuple[Node, tuple[int, ...]], Node] = {}
        self.graph = rebuild(graph, self._node)

    def _node(self, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node.op.name == "contract" and node.dtype.kind == "f" and node.attrs["batch"] == NO_BATCH and node.type.size:
            return self._product(node, *inputs)
        if node.op.name == "scatter" and node.dtype.kind == "f" and node.attrs == {"axis": 0, "mode": "add"}:
            return self._sum(node, *inputs)
        return None

    def _product(self, node: Node, x: Node, w: Node) -> Node | None:
        found = self._rows(x)
        if found is None:
            return None
        table, index = found
        left, right = node.attrs["contracting"]
        count = len(index.shape)
        if all(a >= count for a in left):
            return (_before(node, table, index, w)
                    if _pays(table.shape[0], index, [table.shape[a - count + 1] for a in left]) else None)
        if sorted(left) != list(range(count)) or not _pays(table.shape[0], index, table.shape[1:]):
            return None
        order = [right[left.index(a)] for a in range(count)]
        total = self._total(node, index, _ordered(w, order), table.shape[0])
        return make(node.op, self._taken(table, index), total, at=node, contracting=((0,), (0,)), batch=NO_BATCH)

    def _sum(self, node: Node, base: Node, index: Node, updates: Node) -> Node | None:
        """A scatter of a product's rows: the scatter first."""
        index, updates = self._unturned(index, updates)
        if (
            uniform(base) != 0
            or updates.op.name != "contract"
            or updates.attrs["batch"] != NO_BATCH
            or not self._private(node.inputs[2])
        ):
            return None
        (g, w), (left, right), count = updates.inputs, updates.attrs["contracting"], len(index.shape)
        if any(a < count for a in left) or not _pays(node.shape[0], index, [g.shape[a] for a in left]):
            return None
        total = self._total(updates, index, g, node.shape[0])
        return make(updates.op, total, w, at=updates, contracting=(tuple(a - count + 1 for a in left), right),
                    batch=NO_BATCH)

    def _private(self, x: Node) -> bool:
        """Whether only one node uses x, seen through transposes."""
        return len(self.users[x]) == 1 and (x.op.name != "transpose" or self._private(x.inputs[0]))

    def _total(self, at: Node, index: Node, g: Node, rows: int) -> Node:
        """S(g): the sum of the rows of g that belong to each row of the table."""
        index, g = self._unturned(index, g)
        key = index, g, rows
        if key not in self.sums:
            base = _filled((rows, *g.shape[len(index.shape):]), g, 0.0)
            self.sums[key] = make(REGISTRY["scatter"], base, index, g, at=at, axis=0, mode="add")
        return self.sums[key]

    def _unturned(self, index: Node, g: Node) -> tuple[Node, Node]:
        """The indices transposed where g was, which has many more elements."""
        if g.op.name != "transpose" or not _turns_front(g, len(index.shape)):
            return index, g
        axes = tuple(int(a) for a in np.argsort(g.attrs["axes"][:len(index.shape)]))
        return self._turned(index, axes), g.inputs[0]

    def _turned(self, index: Node, axes: tuple[int, ...]) -> Node:
        """The indices with their axes in another order, made once."""
        if (index, axes) not in self.turned:
            self.turned[index, axes] = make(REGISTRY["transpose"], index, at=index, axes=axes)
        return self.turned[index, axes]

    def _rows(self, x: Node) -> tuple[Node, Node] | None:
        """(table, indices) if x is rows of a table; axes of the indices may have changed places."""
        if x.op.name == "take" and x.attrs["axis"] == 0:
            return x.inputs[0], x.inputs[1]
        found = self._rows(x.inputs[0]) if x.op.name == "transpose" else None
        if found is None or not _turns_front(x, len(found[1].shape)):
            return None
        return found[0], self._turned(found[1], tuple(x.attrs["axes"][:len(found[1].shape)]))

    def _taken(self, table: Node, index: Node) -> Node:
        """The table with zeros in the rows that are not taken."""
        if (table, index) not in self.tables:
            zeros = _filled(table.shape, table, 0.0)
            count = make(REGISTRY["scatter"], _filled(table.shape[:1], table, 0.0), index,
                         _filled(index.shape, table, 1.0), axis=0, mode="add")
            used = make(REGISTRY["less"], _filled(table.shape[:1], table, 0.0), count)
            column = make(REGISTRY["reshape"], used, shape=(table.shape[0], *[1] * (len(table.shape) - 1)))
            wide = make(REGISTRY["broadcast"], column, shape=table.shape)
            self.tables[table, index] = make(REGISTRY["where"], wide, table, zeros, at=table)
        return self.tables[table, index]


def _pays(rows: int, index: Node, reduction: Sequence[int]) -> bool:
    return index.type.size >= TIMES * rows and int(np.prod(reduction)) >= LEAST


def _before(node: Node, table: Node, index: Node, w: Node) -> Node:
    """(E W)[i]."""
    (left, right), count = node.attrs["contracting"], len(index.shape)
    product = make(node.op, table, w, at=node, contracting=(tuple(a - count + 1 for a in left), right), batch=NO_BATCH)
    return make(REGISTRY["take"], product, index, at=node, axis=0)


def _turns_front(x: Node, count: int) -> bool:
    """Whether a transpose only moves the first `count` axes."""
    axes = x.attrs["axes"]
    return all(a < count for a in axes[:count]) and list(axes[count:]) == list(range(count, len(axes)))


def _ordered(x: Node, front: list[int]) -> Node:
    """x with the axes `front` first."""
    axes = (*front, *(a for a in range(len(x.shape)) if a not in front))
    return x if axes == tuple(range(len(axes))) else make(REGISTRY["transpose"], x, at=x, axes=axes)


def _filled(shape: tuple[int, ...], like: Node, value: float) -> Node:
    return make(REGISTRY["broadcast"], constant(np.asarray(value, like.dtype)), shape=shape)
