# SPDX-License-Identifier: Apache-2.0
"""Producer-consumer fusion: from nodes of the graph to expressions of one kernel: what is not stored in a buffer is
computed where it is needed.

In: a node and the forms of its coordinates. Out: an expression. A movement of elements only rewrites the coordinates;
an operation asks its inputs at the same coordinates; a stored node becomes a load. One rule per operation, in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.node import Node
from ..buffers import BRAIN
from ..nodes import resolve, uniform
from .affine import ZERO, Form, add, bounds, divide, linear, number, row_major, scale, unravel
from .expression import Conditions, Expression, Table

Places = tuple[Form, ...]


class Inliner:
    """Makes the expressions of one kernel.

    Args:
        stored: the buffer that holds a node, or None where the node is computed on the way.
        check: the number under which an index check of this node is reported.
    """

    def __init__(self, stored: Callable[[Node], Any], check: Callable[[Node], int]):
        self.stored, self.check = stored, check
        self.table = Table()
        self.buffers: list[Any] = []
        self.memo: dict[Any, Expression] = {}

    def slot(self, buffer: Any) -> int:
        """The kernel's number for a buffer."""
        if buffer not in self.buffers:
            self.buffers.append(buffer)
        return self.buffers.index(buffer)

    def value(self, node: Node, places: Places, conditions: Conditions = ()) -> Expression:
        """The value of the node at `places`, needed only where the conditions hold."""
        node = resolve(node)
        key = (node, places, conditions)
        if key not in self.memo:
            buffer = self.stored(node)
            self.memo[key] = (self.definition(node, places, conditions) if buffer is None
                              else self.load(buffer, node.dtype.name, linear(places, node.shape), conditions))
        return self.memo[key]

    def load(self, buffer: Any, dtype: str, form: Form, conditions: Conditions = ()) -> Expression:
        """The element of a buffer at `form`."""
        return self.widened("load", buffer, dtype, (), (self.slot(buffer), form, conditions))

    def widened(self, kind: str, buffer: Any, dtype: str, args: Sequence[Expression], attr: Any) -> Expression:
        """What is loaded from a buffer, in the dtype of the program."""
        if buffer.dtype != BRAIN:
            return self.table.make(kind, dtype, args, attr)
        return self.table.make("cast", dtype, (self.table.make(kind, BRAIN, args, attr),))

    def kept(self, value: Expression, buffer: Any) -> Expression:
        """The value as a buffer keeps it."""
        if buffer.dtype != BRAIN:
            return value
        rounded = value.kind == "cast" and value.args[0].dtype == BRAIN
        return value.args[0] if rounded else self.table.make("cast", BRAIN, (value,))

    def constant(self, value: Any, dtype: np.dtype) -> Expression:
        """The same number everywhere."""
        return self.table.make("constant", dtype.name, (), np.asarray(value).astype(dtype).tobytes().hex())

    def guard(self, value: Callable[[Conditions], Expression], otherwise: Callable[[], Expression],
              needed: Conditions, outer: Conditions) -> Expression:
        """`value` where the needed conditions hold, else `otherwise`; conditions that always hold cost nothing."""
        open_ = tuple((form, n) for form, n in needed if not (bounds(form)[0] >= 0 and bounds(form)[1] < n))
        if any(bounds(form)[1] < 0 or bounds(form)[0] >= n for form, n in open_):
            return otherwise()
        if not open_:
            return value(outer)
        inner = value(tuple(dict.fromkeys((*outer, *open_))))
        return self.table.make("guard", inner.dtype, (inner, otherwise()), open_)

    def definition(self, node: Node, places: Places, conditions: Conditions = ()) -> Expression:
        """The value of the node by its operation, even if a buffer holds it."""
        rule = RULES.get(node.op.name)
        if rule is not None:
            return rule(self, node, places, conditions)
        args = [self.value(x, places, conditions) for x in node.inputs]
        return self.table.make(node.op.name, node.dtype.name, args)


def _reshape(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    x = resolve(node.inputs[0])
    position = linear(places, node.shape)
    buffer = make.stored(x)
    if buffer is not None:
        return make.load(buffer, x.dtype.name, position, conditions)
    return make.value(x, unravel(position, x.shape), conditions)


def _transpose(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    moved = dict(zip(node.attrs["axes"], places, strict=True))
    return make.value(node.inputs[0], tuple(moved[i] for i in range(len(places))), conditions)


def _slice(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    start, step = node.attrs["start"], node.attrs["step"]
    inner = tuple(add(number(a), scale(p, d)) for a, p, d in zip(start, places, step, strict=True))
    return make.value(node.inputs[0], inner, conditions)


def _pad(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    x, inner, needed = node.inputs[0], [], []
    for place, low, gap, extent in zip(places, node.attrs["low"], node.attrs["interior"], x.shape, strict=True):
        place, rest = divide(add(place, number(-low)), gap + 1)
        inner.append(place if extent > 1 else ZERO)
        needed += [(place, extent), (rest, 1)]
    fill = lambda: make.constant(node.attrs["value"], node.dtype)
    return make.guard(lambda c: make.value(x, tuple(inner), c), fill, tuple(needed), conditions)


def _concat(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    axis, offset = node.attrs["axis"], 0
    starts = []
    for part in node.inputs:
        starts.append(offset)
        offset += part.shape[axis]

    def part(i: int) -> Expression:
        x = node.inputs[i]
        place = add(places[axis], number(-starts[i]))
        inner = (*places[:axis], place if x.shape[axis] > 1 else ZERO, *places[axis + 1:])
        here = lambda c: make.value(x, inner, c)
        if i == last:
            return make.guard(here, lambda: make.constant(0, node.dtype), ((place, x.shape[axis]),), conditions)
        return make.guard(here, lambda: part(i + 1), ((place, x.shape[axis]),), conditions)

    last = len(node.inputs) - 1
    return part(0)


def _window(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    x, inner = node.inputs[0], list(places[:len(node.inputs[0].shape)])
    offsets = places[len(inner):]
    for axis, k, s, d in zip(node.attrs["axes"], offsets, node.attrs["stride"], node.attrs["dilation"], strict=True):
        inner[axis] = add(scale(inner[axis], s), scale(k, d))
    return make.value(x, tuple(inner), conditions)


def window_source(make: Inliner, node: Node, places: Places, offsets: Places) -> Expression:
    """One summand of `unwindow`: the window element that lies at `places` for the given offsets, 0 where there is none.
    """
    x, inner, needed = node.inputs[0], list(places), []
    for axis, k, s, d in zip(node.attrs["axes"], offsets, node.attrs["stride"], node.attrs["dilation"], strict=True):
        place, rest = divide(add(inner[axis], scale(k, -d)), s)
        inner[axis] = place if x.shape[axis] > 1 else ZERO
        needed += [(place, x.shape[axis]), (rest, 1)]
    zero = lambda: make.constant(0, node.dtype)
    return make.guard(lambda c: make.value(x, (*inner, *offsets), c), zero, tuple(needed), ())


def is_partition(node: Node) -> bool:
    """Whether the windows of an `unwindow` do not overlap, so that it only moves elements."""
    return all(k <= s and (d == 1 or k == 1)
               for k, s, d in zip(*(node.attrs[a] for a in ("kernel", "stride", "dilation")), strict=True))


def _unwindow(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    """Windows side by side: each element has its one window."""
    x, inner, offsets, needed = node.inputs[0], list(places), [], []
    for axis, k, s in zip(node.attrs["axes"], node.attrs["kernel"], node.attrs["stride"], strict=True):
        place, offset = divide(inner[axis], s)
        inner[axis] = place if x.shape[axis] > 1 else ZERO
        offsets.append(offset if k > 1 else ZERO)
        needed += [(place, x.shape[axis]), (offset, k)]
    zero = lambda: make.constant(0, node.dtype)
    return make.guard(lambda c: make.value(x, (*inner, *offsets), c), zero, tuple(needed), conditions)


def _broadcast(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    x = node.inputs[0]
    lead = len(places) - len(x.shape)
    inner = tuple(place if extent > 1 else ZERO for place, extent in zip(places[lead:], x.shape, strict=True))
    return make.value(x, inner, conditions)


def _constant(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    return make.constant(uniform(node), node.dtype)


def _iota(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    return make.table.make("position", node.dtype.name, (), places[node.attrs["axis"]])


def _random(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    slot = make.slot(make.stored(resolve(node.inputs[0])))
    return make.table.make("random", "uint32", (), (slot, linear(places, node.shape), conditions))


def _take(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    x, indices, axis = resolve(node.inputs[0]), node.inputs[1], node.attrs["axis"]
    ndim = len(indices.shape)
    index = make.value(indices, places[axis:axis + ndim], conditions)
    form = linear((*places[:axis], ZERO, *places[axis + ndim:]), x.shape)
    attr = (make.slot(make.stored(x)), form, row_major(x.shape)[axis], x.shape[axis], make.check(node), conditions)
    return make.widened("take", make.stored(x), node.dtype.name, (index,), attr)


def _require(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    args = [make.value(x, places, conditions) for x in node.inputs]
    return make.table.make("require", node.dtype.name, args, (make.check(node), conditions))


def _bfloat16(make: Inliner, node: Node, places: Places, conditions: Conditions) -> Expression:
    value = make.value(node.inputs[0], places, conditions)
    return make.table.make("cast", node.dtype.name, (make.table.make("cast", BRAIN, (value,)),))


Rule = Callable[[Inliner, Node, Places, Conditions], Expression]
RULES: dict[str, Rule] = {
    "reshape": _reshape, "transpose": _transpose, "slice": _slice, "pad": _pad, "concat": _concat, "window": _window,
    "unwindow": _unwindow,
    "broadcast": _broadcast, "constant": _constant, "iota": _iota, "random_bits": _random, "take": _take,
    "bfloat16": _bfloat16, "require": _require,
}
# `unwindow` has a rule for windows that do not overlap; otherwise it is a reduction.
