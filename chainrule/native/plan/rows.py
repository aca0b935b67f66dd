# SPDX-License-Identifier: Apache-2.0
"""From a group of drafts to one kernel: passes over the same rows, one row after another.

Passes over the same elements of a row become one. What only the group needs is not stored: values that stay in
registers vanish, and rows that a later pass reads live in a small local buffer that never leaves the nearest cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..nest.affine import Form, Var, bounds
from ..nest.expression import Kernel, Stage, Store, Table
from ..nest.schedule import Draft, _units, arrange, coalesce, lane_of
from .fuse import Mover, _same_place, joined

LARGEST_LOCAL = 8192  # elements of a row that is kept local


def arrange_group(parts: list[Draft], lanes: int, partial: Callable[[int, str], Any], private: Callable[[Any], bool]
                  ) -> list[tuple[Kernel, list[Any]]]:
    """The kernels of a group; `private(buffer)` says whether nobody else reads a buffer."""
    if len(parts) == 1:
        return arrange(without_dead_stores(parts[0], private), lanes, partial)
    parts = _joined_passes(parts)
    needed = set().union(*(part.reads() for part in parts))
    for part in parts:
        part.stores = [s for s in part.stores if part.buffers[s.slot] in needed or not private(part.buffers[s.slot])]
        part.sums = [s for s in part.sums if part.buffers[s.slot] in needed or not private(part.buffers[s.slot])]
        part.known = None
    parts = [part for part in parts if part.stores or part.sums]
    return [_rows_kernel(parts, lanes, private)]


def without_dead_stores(draft: Draft, private: Callable[[Any], bool]) -> Draft:
    """The draft without stores that nobody reads."""
    needed = draft.reads()
    draft.stores = [s for s in draft.stores if draft.buffers[s.slot] in needed or not private(draft.buffers[s.slot])]
    draft.known = None
    return draft


def _joined_passes(parts: Sequence[Draft]) -> list[Draft]:
    """Neighbouring passes over the same elements as one."""
    result: list[Draft] = []
    for part in parts:
        if result and (both := _one_pass(result[-1], part)) is not None:
            result[-1] = both
        else:
            result.append(part)
    return result


def _one_pass(one: Draft, two: Draft) -> Draft | None:
    if [*one.inner, *one.reduced] != [*two.inner, *two.reduced] or not [*one.inner, *one.reduced]:
        return None
    if (one.reduce and two.reduce and (one.reduce != two.reduce or one.index or two.index)) or one.index or two.index:
        return None
    made = {(one.buffers[s.slot], s.form): s.value for s in one.stores}
    if not _same_place(two, set(one.writes()), made):
        return None
    both = joined(one, two, made)
    reducing = one if one.reduce else two
    both.reduce, both.inner, both.reduced = reducing.reduce, list(reducing.inner), list(reducing.reduced)
    return both


def _rows_kernel(parts: Sequence[Draft], lanes: int, private: Callable[[Any], bool]) -> tuple[Kernel, list[Any]]:
    """The kernel of several passes: slots renumbered, local ones last."""
    outer = parts[0].kept
    shared, local = _slots(parts, private, set(outer))
    buffers = [*shared, *local]
    stages = [_stage(part, buffers, set(local), lanes) for part in parts]
    dtypes = [b.dtype for b in buffers]
    kernel = Kernel(tuple(outer), _units(outer), stages, dtypes, {}, tuple(local.values()))
    return kernel, shared


def _slots(parts: Sequence[Draft], private: Callable[[Any], bool], outer: set[Var]) -> tuple[list[Any], dict[Any, int]]:
    """Buffers that are arguments, and local ones with their sizes."""
    local: dict[Any, int] = {}
    for part in parts:
        for store in (*part.stores, *part.sums):
            buffer = part.buffers[store.slot]
            low, high = bounds(_row_form(store.form, outer))
            if private(buffer) and low == 0 and high < LARGEST_LOCAL:
                local[buffer] = high + 1
    used = dict.fromkeys(b for part in parts for b in (*sorted(part.reads(), key=part.buffers.index), *part.writes()))
    return [b for b in used if b not in local], local


def _row_form(form: Form, outer: set[Var]) -> Form:
    return Form(form.const, tuple((v, c) for v, c in form.terms if v not in outer))


def _stage(part: Draft, buffers: list[Any], local: set[Any], lanes: int) -> Stage:
    outer = set(part.kept)
    kept, part.kept = part.kept, []
    slots = {i: buffers.index(b) for i, b in enumerate(part.buffers) if b in buffers}
    table, moved = Table(), _LocalMover(slots, {slots[i] for i, b in enumerate(part.buffers) if b in local}, outer)
    moved.table = table
    part.stores, part.sums, part.known = moved.stores(part.stores), moved.stores(part.sums), None
    coalesce(part)
    lane = lane_of(_view(part), lanes)
    part.kept = kept
    inner = [v for v in part.inner if v != lane]
    over = [v for v in part.reduced if v != lane]
    if lane is not None:
        (over if lane in part.reduced else inner).append(lane)
    return Stage(tuple(inner), part.stores, part.reduce, tuple(over), lane, part.index, part.sums)


def _view(part: Draft) -> Draft:
    return Draft(list(part.inner), part.reduced, part.stores, part.buffers, part.reduce, part.index, part.sums)


class _LocalMover(Mover):
    """Renumbers slots and takes the row out of the positions in local ones."""

    def __init__(self, slots: dict[int, int], local: set[int], outer: set[Var]):
        super().__init__(Table(), lambda form: form, slots, {})
        self.local, self.outer = local, outer

    def stores(self, stores: Sequence[Store]) -> list[Store]:
        """The stores with new slots."""
        return [Store(s.slot, _row_form(s.form, self.outer) if s.slot in self.local else s.form, s.value)
                for s in super().stores(stores)]

    def _moved(self, x: Any) -> Any:
        if x.kind == "load" and self.slots[x.attr[0]] in self.local:
            slot, form, conditions = x.attr
            return self.table.make("load", x.dtype, (), (self.slots[slot], _row_form(form, self.outer), conditions))
        return super()._moved(x)
