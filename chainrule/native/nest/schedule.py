# SPDX-License-Identifier: Apache-2.0
"""Loop scheduling and SIMD vectorisation: from one stored node to its kernel: which loops, in which order, through
which axis the lanes of vectors run.

In: a node and where other nodes are stored. Out: kernels (two for a long reduction, which is cut into blocks whose sums
are added up in a fixed order, whatever the number of threads). Axes that every access runs through as if they were one
become one; axes are split where that makes all positions affine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ir.node import Node
from .affine import ZERO, Form, Var, add, coefficient, form_of, loop, number, row_major, scale, splits, substitute
from .expression import Expression, Kernel, Stage, Store, Table, forms_of, operands_of
from .inline import Inliner, is_partition, window_source

UNITS = 64  # units of work after which outer loops are no longer flattened
LANE_BLOCK = 4096  # elements of one unit of a long vector loop
REDUCE_BLOCK = 2048  # least number of steps of one block of a long reduction


@dataclass(eq=False)
class Draft:
    """A kernel before its loops are arranged.

    `kept` and `reduced` are its loops, `stores` happen at every element, `sums` are reduced; `buffers` lie behind the
    slots. In a group of drafts that share their rows, `kept` are the rows and `inner` the kept loops within one.
    """

    kept: list[Var]
    reduced: list[Var]
    stores: list[Store]
    buffers: list[Any]
    reduce: str | None = None
    index: Form | None = None
    sums: list[Store] = field(default_factory=list)
    node: Node | None = None
    inner: list[Var] = field(default_factory=list)
    known: list[Expression] | None = None  # what `operations` found; whoever changes stores or sums resets it

    def operations(self) -> list[Expression]:
        """All expressions."""
        if self.known is None:
            self.known = operands_of([*self.stores, *self.sums])
        return self.known

    def forms(self) -> list[Form]:
        """All positions that occur."""
        found = [store.form for store in (*self.stores, *self.sums)]
        for x in self.operations():
            found += forms_of(x)
        return found + ([self.index] if self.index is not None else [])

    def reads(self) -> set[Any]:
        """Buffers that are loaded."""
        return {self.buffers[x.attr[0]] for x in self.operations() if x.kind in ("load", "take", "random")}

    def writes(self) -> list[Any]:
        """Buffers that are stored."""
        return [self.buffers[store.slot] for store in (*self.stores, *self.sums)]


@dataclass(frozen=True)
class Layout:
    """Where the elements of a part of a larger array go: position = offset + the sum of place * stride."""

    strides: tuple[int, ...]
    offset: int


def draft(node: Node, make: Callable[[], Inliner], target: Any, layout: Layout | None = None) -> Draft:
    """The kernel that computes `node` into the buffer `target`; with a layout, the value of the node into a part of it.
    """
    inputs = _reduced_extents(node) if layout is None else []
    kept, reduced = [[n] for n in node.shape], [[n] for n in inputs]
    for _ in range(8):
        found = _attempt(node, make(), target, kept, reduced, layout)
        cuts = set().union(*(splits(form) for form in found.forms())) if found.forms() else set()
        if not cuts or not _split(kept, reduced, found, min(cuts, key=lambda c: (c[0].of, c[1]))):
            break
    return found


def copy_draft(make: Inliner, source: Any, target: Any, node: Node) -> Draft:
    """The kernel that copies one buffer to another; either may keep float32 numbers as bfloat16."""
    v = loop(0, math.prod(source.shape))
    value = make.kept(make.load(source, node.dtype.name, form_of(v)), target)
    return Draft([v] if v.n > 1 else [], [], [Store(make.slot(target), form_of(v), value)], make.buffers, node=node)


def _reduced_extents(node: Node) -> list[int]:
    name = node.op.name
    if name in ("sum", "max", "min"):
        return [node.inputs[0].shape[a] for a in node.attrs["axes"]]
    if name in ("argmax", "argmin"):
        return [node.inputs[0].shape[node.attrs["axis"]]]
    return list(node.attrs["kernel"]) if name == "unwindow" and not is_partition(node) else []


def _attempt(node: Node, make: Inliner, target: Any, kept: list[list[int]], reduced: list[list[int]],
             layout: Layout | None) -> Draft:
    count = [0]

    def places(axes: list[list[int]], loops: list[Var]) -> list[Form]:
        result = []
        for factors in axes:
            form = ZERO
            for n, stride in zip(factors, row_major(factors), strict=True):
                if n != 1:
                    v = loop(count[0], n)
                    count[0] += 1
                    loops.append(v)
                    form = add(form, scale(form_of(v), stride))
            result.append(form)
        return result

    kept_loops: list[Var] = []
    reduced_loops: list[Var] = []
    outer = places(kept, kept_loops)
    inner = places(reduced, reduced_loops)
    value, reduce, index = (_body(node, make, outer, inner) if layout is None
                            else (make.value(node, tuple(outer)), None, None))
    slot = make.slot(target)
    strides, offset = (row_major(node.shape), 0) if layout is None else (layout.strides, layout.offset)
    out = add(number(offset), *(scale(f, s) for f, s in zip(outer, strides, strict=True)))
    found = Draft(kept_loops, reduced_loops, [], make.buffers, reduce, index, node=node)
    (found.sums if reduce else found.stores).append(Store(slot, out, value if reduce else make.kept(value, target)))
    return found


def _body(node: Node, make: Inliner, outer: list[Form],
          inner: list[Form]) -> tuple[Expression, str | None, Form | None]:
    name = node.op.name
    if name == "unwindow" and not is_partition(node):
        return window_source(make, node, tuple(outer), tuple(inner)), "sum", None
    if name not in ("sum", "max", "min", "argmax", "argmin"):
        return make.definition(node, tuple(outer)), None, None
    axes = node.attrs["axes"] if "axes" in node.attrs else (node.attrs["axis"],)
    rest, over = iter(outer), iter(inner)
    full = tuple(next(over) if i in axes else next(rest) for i in range(len(node.inputs[0].shape)))
    return make.value(node.inputs[0], full), name, inner[0] if name.startswith("arg") else None


def _split(kept: list[list[int]], reduced: list[list[int]], found: Draft, cut: tuple[Var, int]) -> bool:
    """Split the factor behind a loop variable; False if it is gone."""
    var, n = cut
    count = 0
    for factors in (*kept, *reduced):
        for i, extent in enumerate(factors):
            if extent == 1:
                continue
            if count == var.of and extent == var.n:
                factors[i:i + 1] = [extent // n, n]
                return True
            count += 1
    return False


# ---- joining loops

def rewrite(table: Table, x: Expression, change: Callable[[Form], Form],
            memo: dict[Expression, Expression]) -> Expression:
    """The expression with every form changed."""
    if x not in memo:
        args = [rewrite(table, a, change, memo) for a in x.args]
        attr = x.attr
        conditions = lambda items: tuple((change(f), n) for f, n in items)
        if x.kind in ("load", "random"):
            attr = (attr[0], change(attr[1]), conditions(attr[2]))
        elif x.kind == "take":
            attr = (attr[0], change(attr[1]), *attr[2:5], conditions(attr[5]))
        elif x.kind == "require":
            attr = (attr[0], conditions(attr[1]))
        elif x.kind == "position":
            attr = change(attr)
        elif x.kind == "guard":
            attr = conditions(attr)
        memo[x] = table.make(x.kind, x.dtype, args, attr)
    return memo[x]


def substituted(found: Draft, values: dict[Var, Form]) -> None:
    """Replace loop variables everywhere in a draft."""
    table, memo = Table(), dict[Expression, Expression]()
    change = lambda form: substitute(form, values)
    move = lambda items: [Store(s.slot, change(s.form), rewrite(table, s.value, change, memo)) for s in items]
    found.stores, found.sums, found.known = move(found.stores), move(found.sums), None
    found.index = change(found.index) if found.index is not None else None


def coalesce(found: Draft) -> None:
    """Join neighbouring loops that every position runs through as one."""
    for loops in (found.kept, found.inner, found.reduced):
        i = len(loops) - 2
        while i >= 0:
            a, b = loops[i], loops[i + 1]
            if all(_joins(form, a, b) for form in found.forms()):
                joined = Var("i", b.of, a.n * b.n)
                substituted(found, {a: ZERO, b: form_of(joined)})
                loops[i:i + 2] = [joined]
            i -= 1


def _joins(form: Form, a: Var, b: Var) -> bool:
    outer, inner = coefficient(form, a), coefficient(form, b)
    return outer is not None and inner is not None and outer == inner * b.n


# ---- the axis of the lanes

def lane_of(found: Draft, lanes: int) -> Var | None:
    """The loop variable along which vectors gain most."""
    scores = {v: _score(found, v, lanes) for v in (*found.kept, *found.reduced)}
    return max(scores, key=lambda v: (scores[v], v.of)) if scores else None


def _score(found: Draft, var: Var, lanes: int) -> float:
    use = var.n / (-(-var.n // lanes) * lanes) if var.n else 1.0
    total = 0.0
    for store in found.stores:
        total += 3.0 if coefficient(store.form, var) == 1 else -3.0
    for store in found.sums:
        total += 3.0 if coefficient(store.form, var) == 1 else 1.0 if var in found.reduced else -3.0
    for x in found.operations():
        if x.kind in ("load", "take"):
            step = coefficient(x.attr[1], var)
            total += {0: 1.0, 1: 2.0}.get(step, -4.0) if step is not None else -6.0
    return (total + 8.0) * use if total > -8.0 else total


# ---- arranging

def arrange(found: Draft, lanes: int, partial: Callable[[int, str], Any]) -> list[tuple[Kernel, list[Any]]]:
    """The kernels of a draft, each with its buffers; `partial(size, dtype)` makes a buffer for the sums of blocks."""
    coalesce(found)
    lane = lane_of(found, lanes)
    if found.reduce is None:
        return [_map(found, lane)]
    blocks = _blocks(found, lane, lanes)
    if blocks <= 1:
        return [_reduce(found, lane)]
    return _blocked(found, lane, blocks, lanes, partial)


def _dtypes(found: Draft) -> list[str]:
    return [b.dtype for b in found.buffers]


def _fresh(found: Draft) -> int:
    return 1 + max((v.of for v in (*found.kept, *found.reduced)), default=-1)


def _units(outer: Sequence[Var]) -> int:
    """How many leading loops make enough units of work."""
    total, count = 1, 0
    for v in outer:
        if total >= UNITS:
            break
        total, count = total * v.n, count + 1
    return count


def _map(found: Draft, lane: Var | None) -> tuple[Kernel, list[Any]]:
    outer = tuple(v for v in found.kept if v != lane)
    limits: dict[Var, Form] = {}
    if lane is not None and _product(outer) < UNITS and lane.n > LANE_BLOCK:
        block, lane = _cut(found, lane, LANE_BLOCK, limits)
        outer = (*outer, block)
    stage = Stage((lane,) if lane else (), found.stores, lane=lane)
    return Kernel(outer, _units(outer), [stage], _dtypes(found), limits), found.buffers


def _product(loops: Sequence[Var]) -> int:
    total = 1
    for v in loops:
        total *= v.n
    return total


def _cut(found: Draft, var: Var, size: int, limits: dict[Var, Form]) -> tuple[Var, Var]:
    """Cut a loop into blocks: (the loop over blocks, the loop within one)."""
    block = loop(_fresh(found), -(-var.n // size))
    inner = loop(var.of, size)
    if var.n % size:
        limits[inner] = add(number(var.n), scale(form_of(block), -size))
    loops = found.kept if var in found.kept else found.reduced
    loops[loops.index(var)] = inner
    substituted(found, {var: add(scale(form_of(block), size), form_of(inner))})
    return block, inner


def _reduce(found: Draft, lane: Var | None, extra: tuple[Var, ...] = (),
            limits: dict[Var, Form] | None = None) -> tuple[Kernel, list[Any]]:
    kept = tuple(v for v in found.kept if v != lane)
    over = tuple(v for v in found.reduced if v != lane)
    inner: tuple[Var, ...] = ()
    if lane is not None and lane in found.reduced:
        over = (*over, lane)
    elif lane is not None:
        inner = (lane,)
    outer = (*extra, *kept)
    stage = Stage(inner, found.stores, found.reduce, over, lane, found.index, found.sums)
    return Kernel(outer, _units(outer), [stage], _dtypes(found), limits or {}), found.buffers


def _blocks(found: Draft, lane: Var | None, lanes: int) -> int:
    """Into how many blocks the first reduced loop is cut; by the shape alone."""
    if found.reduce not in ("sum", "max", "min") or not found.reduced or found.stores:
        return 1
    kept = _product([v for v in found.kept if v != lane]) * (-(-lane.n // 256) if lane in found.kept and lane else 1)
    first, total = found.reduced[0].n, _product(found.reduced)
    width = min(lane.n, 256) if lane in found.kept and lane else 1
    if kept >= UNITS // 2 or total * width < 4 * REDUCE_BLOCK:
        return 1
    wanted = min(UNITS // max(kept, 1), total * width // REDUCE_BLOCK)
    return min(wanted, first) if first != lane else min(wanted, first // (8 * lanes))


def _blocked(found: Draft, lane: Var | None, blocks: int, lanes: int,
             partial: Callable[[int, str], Any]) -> list[tuple[Kernel, list[Any]]]:
    var, limits = found.reduced[0], dict[Var, Form]()
    size = -(-var.n // blocks)
    size = -(-size // lanes) * lanes if var == lane else size
    block, inner = _cut(found, var, size, limits)
    lane = inner if var == lane else lane
    count = _product(found.kept)
    targets = [found.buffers[store.slot] for store in found.sums]
    sums = [partial(count * block.n, store.value.dtype) for store in found.sums]
    for store, buffer in zip(found.sums, sums, strict=True):
        found.buffers[store.slot] = buffer
        store.form = add(store.form, scale(form_of(block), count))
    joined = _join_sums(sums, targets, count, block.n, found.reduce, [s.value.dtype for s in found.sums])
    return [_reduce(found, lane, (block,), limits), _reduce(joined, lane_of(joined, lanes))]


def _join_sums(sums: list[Any], targets: list[Any], count: int, blocks: int, reduce: str | None,
               dtypes: list[str]) -> Draft:
    """Add the sums of the blocks up, in order."""
    table, stores = Table(), []
    over, place = loop(0, blocks), loop(1, count)
    for i, dtype in enumerate(dtypes):
        value = table.make("load", dtype, (), (2 * i, add(scale(form_of(over), count), form_of(place)), ()))
        stores.append(Store(2 * i + 1, form_of(place), value))
    buffers = [b for pair in zip(sums, targets, strict=True) for b in pair]
    return Draft([place] if count > 1 else [], [over], [], buffers, reduce, None, stores)
