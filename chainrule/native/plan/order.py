# SPDX-License-Identifier: Apache-2.0
"""Scheduling for memory: the order of steps: products that are the last to need something large run as soon as they
can.

In: the items of a plan in the order of the graph. Out: the same items. The law: a product moves only towards the front,
to behind the last item that writes what it reads, and only if its result is smaller than what it sets free. So the
gradients of weights, which the graph has behind all others, follow the gradient of their layer while that is still in
the cache, and the gradients of activations of all layers need not live at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..buffers import Buffer
from .steps import ProductStep


def early(items: Sequence[Any]) -> list[Any]:
    """The items with such products moved."""
    written, last = _uses(items)
    behind: dict[int, list[Any]] = {}
    for i, item in enumerate(items):
        place = max((written.get(b, -1) for b in item.reads), default=-1)
        moves = (isinstance(item, ProductStep) and 0 <= place < i - 1 and _frees(item, i, last)
                 > sum(b.bytes for b in item.writes))
        behind.setdefault(place if moves else i, []).append(item)
    return [item for i in range(len(items)) for item in sorted(behind.get(i, []), key=lambda x, i=i: x is not items[i])]


def _uses(items: Sequence[Any]) -> tuple[dict[Buffer, int], dict[Buffer, int]]:
    """The last item that writes each buffer, and the last one that reads it."""
    written: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for i, item in enumerate(items):
        written.update(dict.fromkeys(item.writes, i))
        last.update(dict.fromkeys(item.reads, i))
    return written, last


def _frees(item: Any, place: int, last: dict[Buffer, int]) -> int:
    """Bytes of what nobody needs after an item."""
    return sum(b.bytes for b in item.reads if b.kind == "temporary" and last[b] == place)
