# SPDX-License-Identifier: Apache-2.0
"""Indices out of bounds, found inside a program and raised outside.

XLA cannot stop, so each lookup notes in a boolean whether an index was out of bounds and in integers which one and
where. The notes are further results of the program, and the caller raises BoundsError for the first that is set.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BoundsError, describe_frame
from ..ir import Node
from ..ops.index import index_error
from ..ops.require import REQUIRE


@dataclass(frozen=True, eq=False)
class Fault:
    """What is known when compiling (the node, the extent of its axis) and what turns up when running."""

    node: Node
    extent: int
    wrong: Any
    index: Any
    place: Any


class _Notes(threading.local):
    faults: list[Fault] | None = None
    node: Node | None = None


_notes = _Notes()


@contextlib.contextmanager
def collecting() -> Iterator[list[Fault]]:
    """The faults that are noted within."""
    outer, node = _notes.faults, _notes.node
    _notes.faults = found = []
    try:
        yield found
    finally:
        _notes.faults, _notes.node = outer, node


def at(node: Node) -> None:
    """What follows is the lowering of `node`."""
    _notes.node = node


def note(extent: int, wrong: Any, index: Any, place: Any, node: Node | None = None) -> None:
    """Remember a possible fault: `wrong` is a boolean of the traced program, `index` an int64 and `place` where it
    lies."""
    if _notes.faults is not None:
        _notes.faults.append(Fault(node or _notes.node, extent, wrong, index, place))  # type: ignore[arg-type]


def first(faults: list[tuple[Node, int]], wrong: np.ndarray, indices: np.ndarray) -> BoundsError | None:
    """The error for the first fault that is set."""
    if not wrong.any():
        return None
    number = int(np.argmax(wrong))
    node, extent = faults[number]
    value, flat = indices[number:number + 1, 0], int(indices[number, 1])
    where: dict[str, Any] = {"at": describe_frame(node.where), "layer": node.layer}
    if node.op is REQUIRE:
        shape = node.inputs[0].shape
        ok = np.ones(shape, bool)
        ok.flat[flat] = False
        return node.attrs["demand"].error(np.broadcast_to(value.view(np.float64).reshape(()), shape), ok, **where)
    shape = node.inputs[1].shape
    place = tuple(int(i) for i in np.unravel_index(flat, shape))
    return index_error(np.broadcast_to(value.reshape(()), shape), place, extent, **where)
