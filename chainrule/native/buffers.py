# SPDX-License-Identifier: Apache-2.0
"""Buffers, and where each lies: one arena for everything that lives only during a call.

In: steps in order, with the buffers that each reads and writes. Out: an offset for every temporary buffer such that no
two that live at the same time overlap (best fit: the smallest gap that is large enough), aligned to cache lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

LINE = 64  # bytes of a cache line
BRAIN = "bfloat16"  # how memory may keep what is rounded to it


@dataclass(eq=False)
class Buffer:
    """Memory for one array: kind is input, constant, output or temporary; `index` counts within the kind."""

    shape: tuple[int, ...]
    dtype: str
    kind: str = "temporary"
    index: int = -1
    value: Any = None
    offset: int = -1

    @cached_property
    def bytes(self) -> int:
        """Size in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.item

    @property
    def item(self) -> int:
        """Bytes of one element."""
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        place = f"@{self.offset}" if self.kind == "temporary" else str(self.index)
        return f"{self.kind}{place}:{self.dtype}[{','.join(map(str, self.shape))}]"


class Step(Protocol):
    """What the planner needs to know of a step."""

    reads: list[Buffer]
    writes: list[Buffer]


def plan_arena(steps: Sequence[Step]) -> int:
    """Set the offset of every temporary buffer; the size of the arena in bytes."""
    first, last = lifetimes(steps)
    placed: list[tuple[int, int, int, int]] = []  # (first step, last step, begin, end)
    for buffer in sorted(first, key=lambda x: (-x.bytes, first[x])):
        begin, end, size = first[buffer], last[buffer], _aligned(buffer.bytes)
        buffer.offset = _gap(sorted((x[2], x[3]) for x in placed if x[0] <= end and begin <= x[1]), size)
        placed.append((begin, end, buffer.offset, buffer.offset + size))
    return max((x[3] for x in placed), default=0)


def lifetimes(steps: Sequence[Step]) -> tuple[dict[Buffer, int], dict[Buffer, int]]:
    """For each temporary buffer, the step that makes it and the last one that needs it."""
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for i, step in enumerate(steps):
        for buffer in (*step.reads, *step.writes):
            if buffer.kind == "temporary":
                first.setdefault(buffer, i)
                last[buffer] = i
    return first, last


def _aligned(size: int) -> int:
    return -(-max(size, 1) // LINE) * LINE


def _gap(taken: list[tuple[int, int]], size: int) -> int:
    """The offset of the smallest gap between taken ranges that holds `size` bytes; behind all of them if none does."""
    best, best_size, end = -1, -1, 0
    for start, stop in taken:
        room = start - end
        if room >= size and (best < 0 or room < best_size):
            best, best_size = end, room
        end = max(end, stop)
    return best if best >= 0 else end
