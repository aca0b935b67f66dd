# SPDX-License-Identifier: Apache-2.0
"""Buffer aliasing, the last stage of a lowering: outputs that take over an input's memory, such as the updated weights.

In: a `Memory` whose items (groups of drafts and finished steps, in order) compute everything. Out: the same items, some
of which write into the memory of inputs, in an order in which nothing is overwritten that somebody still reads, and
nothing that belongs to a Variable before the last step that may fail. What cannot be made in its place is copied there
at the end.
"""

from __future__ import annotations

from typing import Any

from ...ir.graph import Graph
from ...ir.node import Node
from ..buffers import Buffer
from ..nodes import resolve
from .fuse import Group
from .memory import Memory
from .steps import HostStep, ScanStep, ScatterStep


def write_back(memory: Memory, graph: Graph) -> dict[int, int]:
    """Let the in-place outputs be made where they belong, or copy them there at the end: output index -> input index.
    """
    return _WriteBack(memory, graph).run()


class _WriteBack:
    """Who reads and writes what, while items move."""

    def __init__(self, memory: Memory, graph: Graph):
        self.memory, self.graph, self.items = memory, graph, memory.items

    def run(self) -> dict[int, int]:
        """Order, rename, copy what is left."""
        copies = []
        if any(map(may_fail, self.items)):
            self._defer()
        if any(isinstance(x, ScatterStep) and not x.spec.check for x in self.items):
            self._check_first()
        self._survey()
        for i, index in self.graph.aliases:
            node, target = resolve(self.graph.outputs[i]), self.memory.inputs[index]
            buffer = self.memory.buffer_of(node)
            if buffer is target:
                continue
            if (
                buffer is not None
                and buffer.kind == "temporary"
                and buffer.dtype == target.dtype
                and self._may_write_early(buffer, target)
            ):
                first = self.writers[buffer][0]
                needless = is_copy(self.items[first], buffer, target)
                self._rename(buffer, target)
                self.items[first] = None if needless else self.items[first]
            else:
                copies.append((node, target))
        self.memory.items = [x for x in self.items if x is not None]
        self._copy(copies)
        return dict(self.graph.aliases)

    def _copy(self, outputs: list[tuple[Node, Buffer]]) -> None:
        before = len(self.memory.items)
        for node, target in [(self._moved_away(node), target) for node, target in outputs]:
            self.memory.copy(node, target)
        self.memory.items[before:] = [Group(x) for x in self.memory.items[before:]]

    def _defer(self) -> None:
        """Move what makes in-place outputs behind everything that can fail, where nobody else needs it earlier."""
        wanted = {self.memory.buffer_of(self.graph.outputs[i]) for i, _ in self.graph.aliases}
        late: list[int] = []
        needed_early: set[Buffer] = set()
        for i in range(len(self.items) - 1, -1, -1):
            item = self.items[i]
            writes = set(item.writes)
            if (
                isinstance(item, Group | ScatterStep)
                and not may_fail(item)
                and writes & wanted
                and not writes & needed_early
            ):
                late.append(i)
            else:
                needed_early |= set(item.reads)
        self.items = [x for i, x in enumerate(self.items) if i not in late] + [self.items[i] for i in reversed(late)]

    def _check_first(self) -> None:
        """Move what may fail, and all that it needs, to the front: what comes after it may write Variables early."""
        needed: set[Buffer] = set()
        early: set[int] = set()
        for i in range(len(self.items) - 1, -1, -1):
            item = self.items[i]
            if may_fail(item) or needed & set(item.writes):
                early.add(i)
                needed |= set(item.reads)
        self.items = [x for i, x in enumerate(self.items)
                      if i in early] + [x for i, x in enumerate(self.items) if i not in early]

    def _moved_away(self, node: Node) -> Node:
        """A node that is an input itself is copied first, because its memory may be written next."""
        source = self.memory.buffer_of(node)
        if source is not None and source.kind == "input":
            buffer = self.memory.fresh(source.shape, source.dtype)
            self.memory.copy(node, buffer)
            node = Node(node.op, node.inputs, node.attrs, node.type)
            self.memory.buffers[node] = buffer
        return node

    def _may_write_early(self, buffer: Buffer, target: Buffer) -> bool:
        """Whether `buffer` may lie in the memory of the input `target`: nothing fails, and nobody reads the old content
        later."""
        writers = self.writers.get(buffer)
        if not writers or writers[0] <= self.last_risk or target in self.writers or target in self.read_by_outputs:
            return False
        first = writers[0]
        once = len(writers) == 1
        return all(i < first or (i == first and (is_pointwise if once else is_copy)(self.items[i], buffer, target))
                   for i in self.readers.get(target, ()))

    def _survey(self) -> None:
        """Who reads and writes what, and the last step that may fail."""
        self.writers: dict[Buffer, list[int]] = {}
        self.readers: dict[Buffer, list[int]] = {}
        self.last_risk = -1
        for i, item in enumerate(self.items):
            for buffer in item.writes:
                self.writers.setdefault(buffer, []).append(i)
            for buffer in item.reads:
                self.readers.setdefault(buffer, []).append(i)
            if may_fail(item):
                self.last_risk = i
        self.read_by_outputs = {self.memory.buffer_of(x) for x in self.graph.outputs}

    def _rename(self, buffer: Buffer, target: Buffer) -> None:
        """Let every step use `target` in place of `buffer`."""
        for i in {*self.writers.get(buffer, ()), *self.readers.get(buffer, ())}:
            item = self.items[i]
            if isinstance(item, Group):
                item.rename(buffer, target)
                continue
            for items in (item.reads, item.writes, *item.lists()):
                items[:] = [target if b is buffer else b for b in items]
        for users in (self.writers, self.readers):
            if buffer in users:
                users[target] = users.pop(buffer)
        for node, b in self.memory.buffers.items():
            if b is buffer:
                self.memory.buffers[node] = target


def is_pointwise(item: Any, buffer: Buffer, target: Buffer) -> bool:
    """Whether a kernel reads `target` only at the place at which it writes `buffer`."""
    if not isinstance(item, Group) or len(item.parts) != 1 or item.parts[0].reduce:
        return False
    part = item.parts[0]
    form, *more = (s.form for s in part.stores if part.buffers[s.slot] is buffer)
    if more:
        return False
    loads = [x for x in part.operations() if x.kind in ("load", "take", "random") and part.buffers[x.attr[0]] is target]
    return all(x.kind == "load" and not x.attr[2] and x.attr[1] == form for x in loads)


def is_copy(item: Any, buffer: Buffer, target: Buffer) -> bool:
    """Whether a group does nothing but copy `target` to `buffer`, element by element."""
    if not is_pointwise(item, buffer, target) or len(item.parts[0].stores) != 1:
        return False
    value = item.parts[0].stores[0].value
    return value.kind == "load" and item.parts[0].buffers[value.attr[0]] is target


def may_fail(item: Any) -> bool:
    """Whether a step may end the program with an error."""
    if isinstance(item, ScatterStep):
        return item.spec.check > 0
    if isinstance(item, ScanStep):
        return item.checked
    if isinstance(item, Group):
        return any(x.kind in ("take", "require") for part in item.parts for x in part.operations())
    return isinstance(item, HostStep)
