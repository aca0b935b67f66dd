# SPDX-License-Identifier: Apache-2.0
"""The body of a loop for some of the rows of its batch.

In: a body whose carries and sequences have the batch as their first axis. Out: the same for fewer rows, or None where
rows are not independent of each other. Every node has up to two forms: `whole`, if it depends on no carry and no
sequence, and `cut`, whose first axis has the fewer rows: row r of it is row r of the node, counted from the first of
these rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.graph import Graph, constant, input_node, make
from ...ir.node import REGISTRY, Node, Type
from ..kinds import kind_of
from ..nodes import IDENTITIES, MOVEMENTS, resolve, uniform

# rows of one block: below, tiles of products are too flat; from twice as many on there are more blocks
LEAST, ENOUGH = 8, 16


def row_blocks(rows: int) -> list[tuple[int, int]]:
    """(how many blocks, of how many rows), in order: a power of two of blocks that differ by at most one row; [] for
    few rows."""
    if rows < 2 * LEAST:
        return []
    blocks = max(2, 1 << (rows // ENOUGH).bit_length() - 1)
    size, tall = divmod(rows, blocks)
    return [(count, n) for count, n in ((tall, size + 1), (blocks - tall, size)) if count]


def with_rows(body: Graph, moving: int, rows: int) -> Graph | None:
    """The body for `rows` rows of its batch; the first `moving` inputs are the carries and sequences."""
    shapes = [x.shape for x in body.inputs[:moving]]
    if not shapes or any(not s or s[0] != shapes[0][0] for s in shapes):
        return None
    found = _Cut(shapes[0][0], rows)
    inputs = [input_node(Type((rows, *x.shape[1:]), x.dtype)) if i < moving else x for i, x in enumerate(body.inputs)]
    for i, (x, new) in enumerate(zip(body.inputs, inputs, strict=True)):
        (found.cut if i < moving else found.whole)[x] = new
    for node in body.nodes:
        if node.op.name != "input" and not found.take(node):
            return None
    if not all(x in found.cut for x in body.outputs):
        return None
    return Graph(tuple(inputs), tuple(found.cut[x] for x in body.outputs))


class _Cut:
    """The forms of the nodes so far; `batch` rows become `rows`."""

    def __init__(self, batch: int, rows: int):
        self.batch, self.rows = batch, rows
        self.whole: dict[Node, Node] = {}
        self.cut: dict[Node, Node] = {}

    def take(self, node: Node) -> bool:
        """Find the forms of a node whose inputs have theirs; False if it has none."""
        if not isinstance(node.type, Type):
            return False
        if all(x in self.whole for x in node.inputs):
            self.whole[node] = make(node.op, *(self.whole[x] for x in node.inputs), at=node, **node.attrs)
        cut = self._cut(node) if node.shape[:1] == (self.batch,) else None
        if cut is not None:
            self.cut[node] = cut
        return node in self.whole or node in self.cut

    def _cut(self, node: Node) -> Node | None:
        value = uniform(node)
        if value is not None:
            return make(REGISTRY["broadcast"], constant(value), at=node, shape=(self.rows, *node.shape[1:]))
        rule = RULES.get(node.op.name)
        if rule is not None:
            return rule(self, node)
        if node.op.name in IDENTITIES:
            return self.cut.get(resolve(node))
        elementwise = (node.op.name == "bfloat16"
                       or (kind_of(node) == "inline"
                           and node.op.name not in (*MOVEMENTS, "iota", "random_bits", "take", "require")))
        return self.made(node) if elementwise and all(x in self.cut for x in node.inputs) else None

    def made(self, node: Node, **attrs: Any) -> Node:
        """The node with the cut forms of its inputs and some other attributes."""
        return make(node.op, *(self.cut[x] for x in node.inputs), at=node, **{**node.attrs, **attrs})

    def fewer(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape with the fewer rows."""
        return (self.rows, *shape[1:])


def _broadcast(cut: _Cut, node: Node) -> Node | None:
    x, = node.inputs
    repeats = len(x.shape) < len(node.shape) or x.shape[0] == 1
    form = (cut.whole if repeats else cut.cut).get(x)
    return None if form is None else make(node.op, form, at=node, shape=cut.fewer(node.shape))


def _reshape(cut: _Cut, node: Node) -> Node | None:
    return cut.made(node, shape=cut.fewer(node.shape)) if node.inputs[0] in cut.cut else None


def _transpose(cut: _Cut, node: Node) -> Node | None:
    return cut.made(node) if node.inputs[0] in cut.cut and node.attrs["axes"][0] == 0 else None


def _slice(cut: _Cut, node: Node) -> Node | None:
    stays = node.attrs["start"][0] == 0 and node.attrs["step"][0] == 1
    return cut.made(node, count=cut.fewer(node.attrs["count"])) if node.inputs[0] in cut.cut and stays else None


def _pad(cut: _Cut, node: Node) -> Node | None:
    stays = not any(node.attrs[name][0] for name in ("low", "high", "interior"))
    return cut.made(node) if node.inputs[0] in cut.cut and stays else None


def _concat(cut: _Cut, node: Node) -> Node | None:
    return cut.made(node) if all(x in cut.cut for x in node.inputs) and node.attrs["axis"] != 0 else None


def _reduce(cut: _Cut, node: Node) -> Node | None:
    axes = node.attrs["axes"] if "axes" in node.attrs else (node.attrs["axis"],)
    return cut.made(node) if node.inputs[0] in cut.cut and 0 not in axes else None


def _contract(cut: _Cut, node: Node) -> Node | None:
    """Rows times a matrix, or a batch of products."""
    (left, right), contracting, batch = node.inputs, node.attrs["contracting"], node.attrs["batch"]
    if not batch[0] and left in cut.cut and right in cut.whole and 0 not in contracting[0]:
        return make(node.op, cut.cut[left], cut.whole[right], at=node, **node.attrs)
    if batch[0][:1] == batch[1][:1] == (0,) and left in cut.cut and right in cut.cut:
        return cut.made(node)
    return None


RULES: dict[str, Callable[[_Cut, Node], Node | None]] = {
    "broadcast": _broadcast, "reshape": _reshape, "transpose": _transpose, "slice": _slice, "pad": _pad,
    "concat": _concat,
    "sum": _reduce, "max": _reduce, "min": _reduce, "argmax": _reduce, "argmin": _reduce, "contract": _contract,
}  # fmt: skip
