# SPDX-License-Identifier: Apache-2.0
"""The sum of windows that overlap: a pass for each residue of the positions by the stride.

In: an `unwindow` node, or a slice of one that leaves the padding out. Out: drafts that fill its buffer together. With
stride s, position p = q s + r is touched by those taps t alone with t d = r (mod s), in windows o = q - (t d - r) / s.
So for a fixed r every position in memory is affine in q and the number of the tap, and no tap is tried in vain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...ir.node import Node
from ..nodes import resolve
from .affine import ZERO, Form, Var, add, form_of, loop, number, row_major, scale
from .expression import Store
from .inline import Inliner, is_partition
from .schedule import Draft


@dataclass(frozen=True)
class Residue:
    """Positions q * step + first of an axis; tap number j, of `taps`, is `tap + j * tap_step` and reads window q +
    window - j * window_step."""

    positions: int
    step: int
    first: int
    taps: int
    tap: int
    tap_step: int
    window: int
    window_step: int


def residues_of(begin: int, extent: int, kernel: int, stride: int, dilation: int) -> list[Residue]:
    """The residues of one axis, of which positions begin … begin + extent - 1 are wanted and counted from 0."""
    found = []
    for first in range(min(stride, extent)):
        place = begin + first
        taps = [t for t in range(kernel) if (t * dilation - place) % stride == 0] or [0]
        apart = taps[1] - taps[0] if len(taps) > 1 else 0
        whole = (taps[0] * dilation - place) % stride == 0
        found.append(Residue(-(-(extent - first) // stride), stride, first, len(taps) if whole else 0, taps[0], apart,
                             (place - taps[0] * dilation) // stride, apart * dilation // stride))
    return found


def summed(node: Node) -> Node | None:
    """The sum of windows that a node is, or whose middle it is, if all residues of its positions have a tap."""
    x = resolve(node.inputs[0]) if node.op.name == "slice" and set(node.attrs["step"]) <= {1} else node
    if x.op.name != "unwindow" or is_partition(x):
        return None
    others = [i for i in range(len(x.shape)) if i not in x.attrs["axes"]]
    if any(node.shape[i] != x.shape[i] for i in others) or not node.type.size:
        return None
    return x if all(residue.taps for axis in _axes(node, x) for residue in axis) else None


def _axes(node: Node, x: Node) -> list[list[Residue]]:
    begins = node.attrs["start"] if node is not x else (0,) * len(x.shape)
    axes = zip(x.attrs["axes"], x.attrs["kernel"], x.attrs["stride"], x.attrs["dilation"], strict=True)
    return [residues_of(begins[axis], node.shape[axis], *rest) for axis, *rest in axes]


def overlap_drafts(node: Node, make: Callable[[], Inliner], target: Any) -> dict[int, list[Draft]]:
    """The drafts that compute a node that is `summed` into `target`, by the number of rows, windows along the first
    axis that
    has any, over which they go."""
    x, found = summed(node), dict[int, list[Draft]]()
    if x is None:
        return found
    outside = math.prod(node.shape[:min(x.attrs["axes"])])
    for residues in itertools.product(*_axes(node, x)):
        first = residues[x.attrs["axes"].index(min(x.attrs["axes"]))]
        found.setdefault(outside * first.positions, []).append(_draft(node, x, make(), target, residues))
    return found


def _draft(node: Node, total: Node, make: Inliner, target: Any, residues: tuple[Residue, ...]) -> Draft:
    x, along = total.inputs[0], dict(zip(total.attrs["axes"], residues, strict=True))
    kept: list[Var] = []
    reduced: list[Var] = []

    def run(loops: list[Var], extent: int) -> Form:
        if extent == 1:
            return ZERO
        loops.append(loop(len(kept) + len(reduced), extent))
        return form_of(loops[-1])

    outer = [run(kept, along[i].positions if i in along else n) for i, n in enumerate(node.shape)]
    places, source, taps, needed = list(outer), list(outer), list[Form](), []
    for axis, residue in along.items():
        turn = run(reduced, residue.taps)
        places[axis] = add(scale(outer[axis], residue.step), number(residue.first))
        window = add(outer[axis], number(residue.window), scale(turn, -residue.window_step))
        source[axis] = window if x.shape[axis] > 1 else ZERO
        taps.append(add(number(residue.tap), scale(turn, residue.tap_step)))
        needed.append((window, x.shape[axis]))
    value = make.guard(lambda c: make.value(x, (*source, *taps), c), lambda: make.constant(0, node.dtype),
                       tuple(needed), ())
    slot = make.slot(target)
    out = add(*(scale(place, stride) for place, stride in zip(places, row_major(node.shape), strict=True)))
    store = Store(slot, out, make.kept(value, target) if not reduced else value)
    return Draft(kept, reduced, [] if reduced else [store], make.buffers, "sum" if reduced else None, None,
                 [store] if reduced else [], node)
