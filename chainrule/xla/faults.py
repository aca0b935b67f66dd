# SPDX-License-Identifier: Apache-2.0
"""Indices out of bounds, found inside a program and raised outside.

XLA cannot stop, so each lookup notes in a boolean whether an index was out of bounds and in an integer which one. The
notes are further results of the program, and the caller raises BoundsError for the first that is set.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BoundsError, describe_frame, explain
from ..ir import Node
from ..ops.require import REQUIRE


@dataclass(frozen=True, eq=False)
class Fault:
    """What is known when compiling (the node, the extent of its axis) and what turns up when running."""

    node: Node
    extent: int
    wrong: Any
    index: Any


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


def note(extent: int, wrong: Any, index: Any, node: Node | None = None) -> None:
    """Remember a possible fault: `wrong` is a boolean and `index` an int64 of the traced program."""
    if _notes.faults is not None:
        _notes.faults.append(Fault(node or _notes.node, extent, wrong, index))  # type: ignore[arg-type]


def first(faults: list[tuple[Node, int]], wrong: np.ndarray, indices: np.ndarray) -> BoundsError | None:
    """The error for the first fault that is set."""
    if not wrong.any():
        return None
    place = int(np.argmax(wrong))
    node, extent = faults[place]
    if node.op is REQUIRE:  # the number in these bits
        value = indices[place:place + 1].view(np.float64)
        return node.attrs["demand"].error(value, np.zeros(1, bool), at=describe_frame(node.where), layer=node.layer)
    return BoundsError(explain("an index is out of bounds", got=str(int(indices[place])),
                               expected=f"0 to {extent - 1}" if extent else "nothing: the axis is empty",
                               fix="check where the indices come from; do they start at 1?",
                               at=describe_frame(node.where), layer=node.layer))
