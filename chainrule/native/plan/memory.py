# SPDX-License-Identifier: Apache-2.0
"""Memory planning by live ranges: where the value of each node lies while a plan is made, and the kernels that put it
there.

In: nodes in the order in which they are needed. Out: their buffers; `items` grows by the drafts of kernels that fill
them. A value that is not in memory is computed by whoever reads it, or put there once if he needs it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.graph import Graph
from ...ir.node import Node
from ...ops.precision import is_rounded
from ..buffers import BRAIN, Buffer
from ..kernels.product.product import ProductSpec
from ..nest.affine import coefficient, form_of, loop
from ..nest.inline import Inliner
from ..nest.overlap import overlap_drafts, summed
from ..nest.schedule import copy_draft, draft
from ..nodes import resolve
from ..target import Target
from .fuse import sharing_rows

_ANY = Buffer((), "float32")  # stands for memory that is not there yet


class Memory:
    """The buffers of a graph's values; inputs whose number is in `narrow` are kept as bfloat16.

    In the body of a loop all checks have the number `check_of_loop` of the loop in the graph around it.
    """

    def __init__(self, graph: Graph, target: Target, narrow: frozenset[int] = frozenset(), check_of_loop: int = 0):
        self.target, self.check_of_loop = target, check_of_loop
        self.inputs = [Buffer(x.shape, BRAIN if i in narrow else x.dtype.name, "input", i)
                       for i, x in enumerate(graph.inputs)]
        self.buffers: dict[Node, Buffer] = dict(zip(graph.inputs, self.inputs, strict=True))
        self.parts: dict[Node, list[Buffer]] = {}  # of nodes with several results
        self.wide: dict[Buffer, Buffer] = {}  # float32 copies of what is kept as bfloat16
        self.constants: list[Buffer] = []
        self.checks: list[Node] = []
        self.items: list[Any] = []  # drafts (after fusion, groups of them) and finished steps, in order

    def constant(self, node: Node) -> None:
        value = np.ascontiguousarray(node.attrs["value"])
        buffer = Buffer(value.shape, value.dtype.name, "constant", len(self.constants), value)
        self.constants.append(buffer)
        self.buffers[node] = buffer

    def buffer_of(self, node: Node) -> Buffer | None:
        """Where a node lies in memory in row-major order, if it does."""
        node = resolve(node)
        while node not in self.buffers and node.op.name == "reshape":
            node = resolve(node.inputs[0])
        return self.buffers.get(node)

    def fresh(self, shape: Sequence[int], dtype: str) -> Buffer:
        """A new temporary buffer."""
        return Buffer(tuple(shape), dtype)

    def dtype_of(self, node: Node) -> str:
        """The dtype in which a node is kept: two bytes for what is rounded to bfloat16, if products can read them."""
        return BRAIN if self.target.pairs and is_rounded(node) else node.dtype.name

    def check(self, node: Node) -> int:
        if node not in self.checks:
            self.checks.append(node)
        return self.check_of_loop or self.checks.index(node) + 1

    @property
    def next_check(self) -> int:
        """The number that the next check will have."""
        return self.check_of_loop or len(self.checks) + 1

    def inliner(self) -> Inliner:
        """What makes the expressions of one kernel."""
        return Inliner(self.buffer_of, self.check)

    def kernels(self, node: Node, target: Buffer) -> None:
        """The kernels that compute a node into a buffer."""
        if not node.type.size:
            return
        if not summed(node):
            self.items.append(draft(node, self.inliner, target))
            return
        for rows, drafts in overlap_drafts(node, self.inliner, target).items():
            group = sharing_rows(drafts, rows)
            self.items += [group] if group else drafts

    def whole(self, node: Node) -> Buffer:
        """The buffer of an operand; one that is not in memory yet is put there."""
        return self.widened(self.kept(node), node)

    def kept(self, node: Node) -> Buffer:
        """The same, which may keep float32 numbers as bfloat16."""
        node = resolve(node)
        buffer = self.buffer_of(node)
        if buffer is None:
            buffer = self.fresh(node.shape, self.dtype_of(node))
            self.kernels(node, buffer)
            self.buffers[node] = buffer
        return buffer

    def widened(self, buffer: Buffer, node: Node) -> Buffer:
        """The same numbers as float32, if the buffer keeps them as bfloat16."""
        if buffer.dtype != BRAIN:
            return buffer
        if buffer not in self.wide:
            self.wide[buffer] = self.fresh(buffer.shape, "float32")
            self.items.append(copy_draft(self.inliner(), buffer, self.wide[buffer], node))
        return self.wide[buffer]

    def operand(self, node: Node) -> tuple[Buffer, tuple[int, ...], int]:
        """(buffer, strides, first element) of an operand: a view of what is stored where that is possible, else a copy.
        """
        buffer, strides, first = self.kept_operand(node)
        return self.widened(buffer, node), strides, first

    def kept_operand(self, node: Node) -> tuple[Buffer, tuple[int, ...], int]:
        """The same, in a buffer that may keep float32 numbers as bfloat16."""
        found = self._view(node, self.buffer_of)
        if found is None:
            for source in self._sources(node):
                if self._view(node, lambda x, source=source: _ANY if resolve(x) is source else self.buffer_of(x)):
                    self.kept(source)
                    found = self._view(node, self.buffer_of)
                    break
        return found or (self.kept(node), ProductSpec.dense(*node.shape[-2:], 1, batch=node.shape[:-2]).c_strides, 0)

    def _view(self, node: Node, stored: Callable[[Node], Buffer | None]) -> tuple[Buffer, tuple[int, ...], int] | None:
        """An operand as a view of what `stored` says is in memory, if it is one."""
        make = Inliner(stored, self.check)
        loops = [loop(i, n) for i, n in enumerate(node.shape)]
        found = make.value(node, tuple(form_of(v) for v in loops))
        if found.kind == "cast" and found.args[0].dtype == BRAIN:
            found = found.args[0]
        if found.kind != "load" or found.attr[2] or found.attr[1].const < 0:
            return None
        strides = [coefficient(found.attr[1], v) for v in loops]
        if any(s is None or s < 0 for s in strides):
            return None
        return make.buffers[found.attr[0]], tuple(strides), found.attr[1].const  # type: ignore[arg-type]

    def _sources(self, node: Node) -> list[Node]:
        """What an operand is a view of before it is in memory, the first in the chain first: other operands may share
        it."""
        chain: list[Node] = []
        while node.op.name in ("reshape", "transpose") and self.buffer_of(node) is None:
            chain.insert(0, node)
            node = resolve(node.inputs[0])
        return chain[:-1]

    def copy(self, node: Node, target: Buffer) -> None:
        """Compute or copy a node into a buffer."""
        source = self.buffer_of(node)
        if source is None:
            self.kernels(node, target)
        elif node.type.size:
            self.items.append(copy_draft(self.inliner(), source, target, node))
