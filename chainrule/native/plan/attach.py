# SPDX-License-Identifier: Apache-2.0
"""Epilogue fusion: maps over what a product makes, computed while its tile is still in the L1 cache.

In: the items of a plan in order, products and groups of drafts. Out: fewer of them: bias, activation, residual, scale
or mask become the epilogue of the product before them, and a mere change of layout becomes strides of its result. Two
laws keep it right: the map reads the product at the element that it makes, and either the map can go up to the product
or the product down to the map without passing a step that reads or writes what they write, or writes what they read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..buffers import Buffer
from ..kernels.product.product import ProductSpec
from ..kinds import COSTS
from ..nest.affine import Form, add, coefficient, form_of, scale
from ..nest.epilogue import Finish
from ..nest.schedule import Draft, coalesce
from .fuse import Group, cut_rows, refined, regrouped
from .rows import without_dead_stores
from .steps import ProductStep

SLOW = 3  # cost of an operation whose latency a tile is too short to hide, so that a loop of its own is faster
MOST_OPERATIONS = 32
# further arrays of the product's size; short pieces of several are slower than whole rows in a loop of their own
MOST_STREAMS = 1
MOST_CONVOLUTION_STREAMS = 2  # a convolution's rows lie next to each other in all of them


def attach(items: Sequence[Any], may_fail: Callable[[Any], bool]) -> list[Any]:
    """The items with maps put into the epilogues of products."""
    found = list(items)
    for i in range(len(found)):
        if isinstance(found[i], Group) and len(found[i].parts) == 1:
            _attach(found, i, may_fail)
    return [x for x in found if x is not None]


def _attach(items: list[Any], place: int, may_fail: Callable[[Any], bool]) -> None:
    """Put the map at `place` into the latest product that it reads, if that is right; its own place becomes None."""
    draft = without_dead_stores(items[place].parts[0], lambda b: _private(items, b, (place, place)))
    reads = draft.reads()
    for i in range(place - 1, -1, -1):
        step = items[i]
        if step is None or not reads & set(step.writes):
            continue
        if not isinstance(step, ProductStep):
            continue
        target = _where(items, i, place, draft, may_fail)
        joined = None if target is None else _joined(step, draft, _private(items, step.writes[0], (i, place)))
        if joined is not None:
            items[i] = items[place] = None
            items[target] = joined
            return


def _private(items: Sequence[Any], buffer: Buffer, both: tuple[int, int]) -> bool:
    """Whether nobody else reads a buffer."""
    return buffer.kind == "temporary" and not any(
        buffer in x.reads or buffer in x.writes for i, x in enumerate(items) if x is not None and i not in both)


def _where(items: Sequence[Any], first: int, place: int, draft: Draft, may_fail: Callable[[Any], bool]) -> int | None:
    """Where the joined step may stand: at the product, at the map, or nowhere."""
    step, reads, writes = items[first], draft.reads(), set(draft.writes())
    made, between = step.writes[0], [x for x in items[first + 1:place] if x is not None]
    if writes & {*step.reads, made}:
        return None
    inputs = any(b.kind == "input" for b in writes)
    if not any(writes & {*x.reads, *x.writes} or (reads - {made}) & set(x.writes) or (inputs and may_fail(x))
               for x in between):
        return first
    if not any(made in x.reads or made in x.writes or set(step.reads) & set(x.writes) for x in between):
        return place
    return None


def _joined(step: ProductStep, draft: Draft, private: bool) -> ProductStep | None:
    """The product with the map in its epilogue."""
    if (
        step.finish is not None
        or step.node.dtype.name != "float32"
        or getattr(step.spec, "kind", "") == "filter_gradient"
    ):
        return None
    made = step.writes[0]
    if private and (moved := _other_layout(step, draft)) is not None:
        return moved
    columns = step.node.shape[-1]
    finish = _finish(draft, made, step.node.type.size // columns, columns)
    if finish is None:
        return None
    target = _target(finish, draft) if private else None
    if target is not None:
        finish.main, made = target, finish.buffers[finish.stores[target].slot]
    if len(finish.streams()) > (MOST_STREAMS if isinstance(step.spec, ProductSpec) else MOST_CONVOLUTION_STREAMS):
        return None
    extras = finish.extras()
    loaded = [b for b in extras if b in draft.reads() and b not in step.reads]
    stored = [b for b in draft.writes() if b is not made]
    return ProductStep(draft.node, [*step.reads, *loaded], [made, *stored], step.spec, step.flops, step.first, finish)


def _finish(draft: Draft, made: Buffer, rows: int, columns: int) -> Finish | None:
    """The map over rows and columns, if all positions are affine in both."""
    if draft.reduce or draft.inner or columns == 1 or not _is_light(draft):
        return None
    extents = refined([v.n for v in draft.kept], [rows, columns])
    cut = cut_rows(extents, rows) if extents is not None else None
    if cut is None:
        return None
    found = regrouped(draft, extents, [])
    found.kept, found.inner = found.kept[:len(cut[0])], found.kept[len(cut[0]):]
    coalesce(found)
    if len(found.kept) > 1 or len(found.inner) != 1 or found.inner[0].n != columns:
        return None
    finish = Finish(found.kept[0] if found.kept else None, found.inner[0], found.stores, found.buffers,
                    found.buffers.index(made))
    return finish if finish.is_possible() else None


def _is_light(draft: Draft) -> bool:
    """Whether a map is quick enough to stand behind a product."""
    operations = draft.operations()
    return len(operations) <= MOST_OPERATIONS and all(COSTS.get(x.kind, 1) < SLOW for x in operations)


def _target(finish: Finish, draft: Draft) -> int | None:
    """The store that may take the place of the product's own result."""
    reads = draft.reads()
    for i, store in enumerate(finish.stores):
        buffer = finish.buffers[store.slot]
        if (
            store.form == finish.place
            and store.value.dtype == "float32"
            and buffer.kind != "input"
            and buffer not in reads
        ):
            if sum(s.slot == store.slot for s in finish.stores) == 1:
                return i
    return None


def _other_layout(step: ProductStep, draft: Draft) -> ProductStep | None:
    """The product written in another layout, if the map only moves its elements."""
    spec = step.spec
    if not isinstance(spec, ProductSpec) or draft.reduce or len(draft.stores) != 1:
        return None
    store, value = draft.stores[0], draft.stores[0].value
    if value.kind != "load" or value.attr[2] or draft.buffers[value.attr[0]] is not step.writes[0] or store.form.const:
        return None
    strides = _strides(draft, value.attr[1], store.form, (*spec.batch, spec.m, spec.n))
    target = draft.buffers[store.slot]
    if strides is None or strides[-1] != 1 or target.kind == "input":
        return None
    spec = dataclasses.replace(spec, c_strides=strides)
    return ProductStep(draft.node, step.reads, [target], spec, step.flops, step.first)


def _strides(draft: Draft, source: Form, stored: Form, shape: Sequence[int]) -> tuple[int, ...] | None:
    """How far apart the elements of a row-major array of `shape` are stored, axis by axis."""
    if int(np.prod([v.n for v in draft.kept])) != int(np.prod(shape)):
        return None
    steps = {}  # stride in the source: (extent, stride in the result)
    for v in draft.kept:
        here, there = coefficient(source, v), coefficient(stored, v)
        if not here or there is None or here in steps:
            return None
        steps[here] = (v.n, there)
    if add(*(scale(form_of(v), coefficient(source, v) or 0) for v in draft.kept)) != source:
        return None
    result: list[int] = []
    stride = 1
    for extent in reversed(shape):
        if extent == 1:
            result.insert(0, 0)
            continue
        joined = _axis(steps, stride, extent)
        if joined is None:
            return None
        result.insert(0, joined)
        stride *= extent
    return tuple(result)


def _axis(steps: dict[int, tuple[int, int]], stride: int, extent: int) -> int | None:
    """The stride in the result of one axis, which several loops may run through together."""
    if stride not in steps:
        return None
    covered, there = steps[stride]
    while covered < extent:
        if stride * covered not in steps or steps[stride * covered][1] != there * covered:
            return None
        covered *= steps[stride * covered][0]
    return there if covered == extent else None
