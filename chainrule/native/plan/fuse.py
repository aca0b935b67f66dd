# SPDX-License-Identifier: Apache-2.0
"""Kernel fusion: kernels that become one: several results over the same elements, and several passes over the same
rows.

In: drafts and other steps in order. Out: fewer of them. Two laws keep it right: a draft moves only to a place after
everything it reads has been made, and it may read what its group makes only at the same element (then the value never
leaves the registers) or within the same row (then the row is still in the nearest cache).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..buffers import Buffer
from ..kinds import COSTS
from ..nest.affine import ZERO, Form, Var, add, bounds, form_of, loop, scale, substitute, variables
from ..nest.expression import Conditions, Expression, Store, Table
from ..nest.schedule import Draft, lane_of
from .steps import ProductStep

MOST_STORES = 12
MOST_OPERATIONS = 160
FEWEST_ROWS = 16
SMALL_BUFFER = 64  # bytes below which reading the same buffer is no reason to join
LONGEST_ROW = 16_384
SLOW = 3  # cost of an operation that the epilogue of a product does not take
# steps back, and bytes of results: to join there for reading the same would keep the results for long
FAR, MUCH = 32, 1 << 20


class Group:
    """Drafts that share their kept loops; one draft if nothing but equal loops was fused."""

    def __init__(self, draft: Draft):
        self.change([draft])

    def change(self, parts: list[Draft]) -> None:
        """Put other parts in."""
        self.parts = parts
        self.reads: set[Buffer] = set().union(*(part.reads() for part in parts))
        self.writes: set[Buffer] = set().union(*(part.writes() for part in parts))
        self.size = sum(len(part.operations()) for part in parts)

    def rename(self, buffer: Buffer, target: Buffer) -> None:
        """Use `target` in place of `buffer`."""
        for part in self.parts:
            part.buffers[:] = [target if b is buffer else b for b in part.buffers]
        self.change(self.parts)


def fuse(items: Sequence[Any], lanes: int) -> list[Any]:
    """Drafts put into groups; other steps stay as they are."""
    result: list[Any] = []
    writer: dict[Buffer, int] = {}
    readers: dict[Buffer, set[int]] = {}
    for item in items:
        place = _place(item, result, writer, readers, lanes) if isinstance(item, Draft) else None
        if place is None:
            result.append(Group(item) if isinstance(item, Draft) else item)
            place = len(result) - 1
        for buffer in item.writes() if isinstance(item, Draft) else item.writes:
            writer[buffer] = max(place, writer.get(buffer, -1))  # several kernels may fill one buffer
        for buffer in item.reads() if isinstance(item, Draft) else ():
            readers.setdefault(buffer, set()).add(place)
    return result


def _place(draft: Draft, groups: list[Any], writer: dict[Buffer, int], readers: dict[Buffer, set[int]],
           lanes: int) -> int | None:
    """The group that takes the draft in, if any: that of its last producer, or a later one that reads the same."""
    reads = draft.reads()
    last = max((writer.get(buffer, -1) for buffer in reads), default=-1)
    same = set().union(*(readers.get(b, set()) for b in reads if b.bytes >= SMALL_BUFFER))
    nearest = len(groups) - FAR if sum(b.bytes for b in draft.writes()) >= MUCH else 0
    for i in sorted({i for i in same if i > last} | ({last} if last >= 0 else set()), reverse=True):
        if i < nearest:
            break
        group = groups[i]
        if not isinstance(group, Group) or group.size + len(draft.operations()) > MOST_OPERATIONS:
            continue
        if _belongs_to_a_product(group, draft, groups, writer):
            continue
        if _merge_flat(group, draft) or _merge_rows(group, draft, lanes):
            return i
    return None


def _belongs_to_a_product(group: Group, draft: Draft, groups: list[Any], writer: dict[Buffer, int]) -> bool:
    """Whether a group may become the epilogue of a product, which the draft with its slow operations could not: the
    product
    is then written once, with the group's result, and not read and written again."""
    part = group.parts[0]
    if (
        len(group.parts) > 1
        or part.reduce
        or draft.reduce
        or len(part.stores) != 1
        or _is_slow(part)
        or not _is_slow(draft)
    ):
        return False
    made, = part.writes()
    large = [b for b in part.reads() if b.bytes >= made.bytes]
    if len(large) != 1 or large[0] not in writer or not isinstance(groups[writer[large[0]]], ProductStep):
        return False
    product = writer[large[0]]
    # the map can go up to the product
    early = all(writer.get(b, -1) < product for b in part.reads() if b is not large[0])
    # or the product down to it
    return early or not any(large[0] in x.reads for x in groups[product + 1:] if x is not group)


def _is_slow(draft: Draft) -> bool:
    """Whether a draft has an operation that an epilogue does not take."""
    return any(COSTS.get(x.kind, 1) >= SLOW for x in draft.operations())


# ---- the same elements

def _merge_flat(group: Group, draft: Draft) -> bool:
    """Compute the draft in the loops of the group's last part, element by element."""
    first = group.parts[-1]
    if bool(first.reduced) != bool(draft.reduced) or first.reduce != draft.reduce or first.index or draft.index:
        return False
    if len(first.stores) + len(draft.stores) > MOST_STORES:
        return False
    pairs = [refined([v.n for v in a], [v.n for v in b])
             for a, b in ((first.kept, draft.kept), (first.reduced, draft.reduced))]
    if len(group.parts) > 1:  # the loops that all parts share must stay
        return False
    if any(pair is None for pair in pairs):
        return False
    one, two = regrouped(first, *pairs), regrouped(draft, *pairs)
    made = {(one.buffers[s.slot], s.form): s.value for s in one.stores} if not first.reduced else {}
    if not _same_place(two, set(one.writes()), made):
        return False
    group.change([joined(one, two, made)])
    return True


def _same_place(draft: Draft, written: set[Buffer], made: dict[tuple[Buffer, Form], Expression]) -> bool:
    for x in draft.operations():
        if x.kind in ("load", "take", "random") and draft.buffers[x.attr[0]] in written:
            if x.kind != "load" or (draft.buffers[x.attr[0]], x.attr[1]) not in made:
                return False
    return True


def refined(a: Sequence[int], b: Sequence[int]) -> list[int] | None:
    """The coarsest extents of which both are products, or None."""
    left, right, result = [n for n in a if n != 1], [n for n in b if n != 1], []
    while left and right:
        x, y = left.pop(), right.pop()
        step = min(x, y)
        if step == 0 or x % step or y % step:
            return None
        result.insert(0, step)
        if x > step:
            left.append(x // step)
        if y > step:
            right.append(y // step)
    return None if left or right else result


def regrouped(draft: Draft, kept: Sequence[int], reduced: Sequence[int]) -> Draft:
    """The same draft with loops of the given extents (of the same products), numbered from 0."""
    outer = [loop(i, n) for i, n in enumerate(kept)]
    inner = [loop(len(kept) + i, n) for i, n in enumerate(reduced)]
    values = {**_in_terms_of(draft.kept, outer), **_in_terms_of(draft.reduced, inner)}
    return changed(draft, outer, inner, lambda form: substitute(form, values))


def _in_terms_of(old: Sequence[Var], new: Sequence[Var]) -> dict[Var, Form]:
    """Each old loop variable as a form of new ones; the extents of the new ones refine those of the old."""
    rest, values = list(new), {}
    for v in reversed(old):
        form, step = ZERO, 1
        while step < v.n:
            piece = rest.pop()
            form, step = add(form, scale(form_of(piece), step)), step * piece.n
        values[v] = form
    return values


def changed(draft: Draft, kept: list[Var], reduced: list[Var], change: Callable[[Form], Form]) -> Draft:
    """The draft with other loops, every form changed."""
    mover = Mover(Table(), change, {i: i for i in range(len(draft.buffers))}, {})
    index = change(draft.index) if draft.index is not None else None
    return Draft(kept, reduced, mover.stores(draft.stores), list(draft.buffers), draft.reduce, index,
                 mover.stores(draft.sums), draft.node)


def joined(one: Draft, two: Draft, made: dict[tuple[Buffer, Form], Expression]) -> Draft:
    """Both drafts in the same loops; what the first makes, the second does not load."""
    table, buffers = Table(), list(one.buffers)
    slots = {}
    for i, buffer in enumerate(two.buffers):
        if buffer not in buffers:
            buffers.append(buffer)
        slots[i] = buffers.index(buffer)
    same = lambda form: form
    first = Mover(table, same, {i: i for i in range(len(one.buffers))}, {})
    stores, sums = first.stores(one.stores), first.stores(one.sums)
    known = {(buffers.index(buffer), form): first.move(value) for (buffer, form), value in made.items()}
    second = Mover(table, same, slots, known)
    stores, sums = [*stores, *second.stores(two.stores)], [*sums, *second.stores(two.sums)]
    return Draft(list(one.kept), list(one.reduced), stores, buffers, one.reduce, one.index, sums, two.node)


class Mover:
    """Carries expressions into another table: other forms, other slots, some loads replaced by values."""

    def __init__(self, table: Table, change: Callable[[Form], Form], slots: dict[int, int],
                 known: dict[tuple[int, Form], Expression]):
        self.table, self.change, self.slots, self.known = table, change, slots, known
        self.memo: dict[Expression, Expression] = {}

    def stores(self, stores: Sequence[Store]) -> list[Store]:
        """The stores in the other table."""
        return [Store(self.slots[s.slot], self.change(s.form), self.move(s.value)) for s in stores]

    def move(self, x: Expression) -> Expression:
        """The expression in the other table."""
        if x not in self.memo:
            self.memo[x] = self._moved(x)
        return self.memo[x]

    def conditions(self, items: Conditions) -> Conditions:
        """The conditions with other forms."""
        return tuple((self.change(f), n) for f, n in items)

    def _moved(self, x: Expression) -> Expression:
        args, attr = [self.move(a) for a in x.args], x.attr
        if x.kind in ("load", "random"):
            slot, form = self.slots[attr[0]], self.change(attr[1])
            if (slot, form) in self.known:
                return self.known[slot, form]
            attr = (slot, form, self.conditions(attr[2]))
        elif x.kind == "take":
            attr = (self.slots[attr[0]], self.change(attr[1]), *attr[2:5], self.conditions(attr[5]))
        elif x.kind == "require":
            attr = (attr[0], self.conditions(attr[1]))
        elif x.kind == "position":
            attr = self.change(attr)
        elif x.kind == "guard":
            attr = self.conditions(attr)
        return self.table.make(x.kind, x.dtype, args, attr)


# ---- the same rows

def _product(loops: Sequence[Var]) -> int:
    total = 1
    for v in loops:
        total *= v.n
    return total


def _rows(draft: Draft, lanes: int) -> list[int]:
    """How many rows a draft may be seen as."""
    lane = lane_of(draft, lanes)
    if draft.reduce:
        return [_product(draft.kept)] if lane is None or lane in draft.reduced else []
    total, found = 1, []
    for v in draft.kept:
        found.append(total)
        total *= v.n
    return [*found, total] if lane is None or not draft.kept or lane == draft.kept[-1] else []


def _merge_rows(group: Group, draft: Draft, lanes: int) -> bool:
    """Compute the draft row by row after the group's parts, where all reductions run along the same rows."""
    first = group.parts[0]
    if len(group.parts) > 1:
        options = [_product(first.kept)]
    else:
        options = [n for n in _rows(first, lanes) if first.reduce or n > 1]
    if not draft.reduce and not any(part.reduce for part in group.parts):
        return False
    if draft.reduce and not first.reduce and len(group.parts) == 1:
        options = [_product(draft.kept)]
    mine = _possible(draft, lanes)
    for rows in options:
        if rows >= FEWEST_ROWS and rows in mine and _fits(group, draft, rows) and _try_rows(group, draft, rows):
            return True
    return False


def _possible(draft: Draft, lanes: int) -> Any:
    if draft.reduce:
        return _rows(draft, lanes)
    lane = lane_of(draft, lanes)
    if lane is not None and draft.kept and lane != draft.kept[-1]:
        return []
    return _Divisors(draft)


class _Divisors:
    """The numbers of rows into which the loops of a map can be cut."""

    def __init__(self, draft: Draft):
        self.draft = draft

    def __contains__(self, rows: int) -> bool:
        return cut_rows([v.n for v in self.draft.kept], rows) is not None


def cut_rows(extents: Sequence[int], rows: int) -> tuple[list[int], list[int]] | None:
    """Extents cut into outer ones, of product `rows`, and the rest."""
    outer, left = [], rows
    for i, n in enumerate(extents):
        if left == 1:
            return outer, list(extents[i:])
        if left % n == 0:
            outer.append(n)
            left //= n
        elif n and n % left == 0:
            return [*outer, left], [n // left, *extents[i + 1:]]
        else:
            return None
    return (outer, []) if left == 1 else None


def _fits(group: Group, draft: Draft, rows: int) -> bool:
    longest = max(_product([*part.kept, *part.reduced]) // rows for part in (*group.parts, draft))
    return longest <= LONGEST_ROW


def _try_rows(group: Group, draft: Draft, rows: int) -> bool:
    parts = [*group.parts, draft]
    cuts = [_split_part(part, rows, len(group.parts) > 1 and part is not draft) for part in parts]
    if any(cut is None for cut in cuts):
        return False
    common: list[int] | None = cuts[0][0]
    for outer, _ in cuts[1:]:
        common = refined(common, outer) if common is not None else None
    if common is None:
        return False
    aligned = [_with_rows(part, common, inner) for part, (_, inner) in zip(parts, cuts, strict=True)]
    if not _row_local(aligned):
        return False
    group.change(aligned)
    return True


def _split_part(part: Draft, rows: int, settled: bool) -> tuple[list[int], list[int]] | None:
    """(extents of the rows, extents within a row that are kept)."""
    kept = [v.n for v in part.kept]
    if part.reduce or settled:
        return kept, [v.n for v in part.inner]
    return cut_rows(kept, rows)


def _with_rows(part: Draft, common: Sequence[int], inner: Sequence[int]) -> Draft:
    """The part with `common` as its kept loops and the rest of its kept loops as inner ones."""
    outer = [loop(i, n) for i, n in enumerate(common)]
    within = [loop(len(outer) + i, n) for i, n in enumerate(inner)]
    over = [loop(len(outer) + len(within) + i, v.n) for i, v in enumerate(part.reduced)]
    values = {**_in_terms_of([*part.kept, *part.inner], [*outer, *within]),
              **dict(zip(part.reduced, map(form_of, over), strict=True))}
    result = changed(part, outer, over, lambda form: substitute(form, values))
    result.inner = within
    return result


def sharing_rows(drafts: Sequence[Draft], rows: int) -> Group | None:
    """Drafts that do not read each other's results as one group over so many rows, where all have them."""
    cuts = [cut_rows([v.n for v in draft.kept], rows) for draft in drafts]
    if len(drafts) < 2 or rows < FEWEST_ROWS or any(cut is None or cut[0] != cuts[0][0]
                                                    for cut in cuts):  # type: ignore[index]
        return None
    group = Group(drafts[0])
    group.change([_with_rows(draft, *cut) for draft, cut in zip(drafts, cuts, strict=True)])  # type: ignore[misc]
    return group


def _row_local(parts: Sequence[Draft]) -> bool:
    """Whether every part reads what earlier ones made only within its own row."""
    made: dict[Buffer, Form] = {}
    for part in parts:
        outer = set(part.kept)
        for x in part.operations():
            if x.kind not in ("load", "take", "random") or part.buffers[x.attr[0]] not in made:
                continue
            if x.kind != "load" or not _within(x.attr[1], made[part.buffers[x.attr[0]]], outer):
                return False
        for store in (*part.stores, *part.sums):
            if part.buffers[store.slot] in made:
                return False
            made[part.buffers[store.slot]] = store.form
    return True


def _within(form: Form, stored: Form, outer: set[Var]) -> bool:
    rest = []
    for f in (form, stored):
        if any(v.kind != "i" and variables(v.of) & outer for v, _ in f.terms):
            return False
        rest.append(Form(f.const, tuple((v, c) for v, c in f.terms if v not in outer)))
    row = [tuple((v, c) for v, c in f.terms if v in outer) for f in (form, stored)]
    (low, high), (first, last) = bounds(rest[0]), bounds(rest[1])
    return row[0] == row[1] and first <= low and high <= last and all(c % (last - first + 1) == 0 for _, c in row[1])



