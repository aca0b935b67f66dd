# SPDX-License-Identifier: Apache-2.0
"""The time of every step: each is compiled as a segment of its own and timed alone, on one thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..plan.steps import HostStep
from .code import engine
from .code.pieces import Pieces
from .memory import PROTOTYPE
from .runnable import Runnable

Row = tuple[str, str, float, float, float]


def profile(program: Runnable, arrays: Sequence[np.ndarray], repeat: int) -> list[Row]:
    """(name, kind, seconds, GFLOP/s, GB/s) of every step; the arrays of in-place outputs are not changed."""
    steps = program.plan.steps
    pieces = Pieces(program.target)
    program.write(pieces.module, [(f"step{i}", [s]) for i, s in enumerate(steps) if s.native], pieces.ready)
    library = engine.Library(pieces.finish())
    best = [float("inf")] * len(steps)
    with program.lock:
        program.bind([np.array(x) for x in arrays])
        kept = program.fresh_outputs()
        calls: list[Any] = [program.host(s) if isinstance(s, HostStep)
                            else _call(PROTOTYPE(library.address(f"step{i}")), program.address)
                            for i, s in enumerate(steps)]
        for _ in range(repeat):
            for i, call in enumerate(calls):
                start = time.perf_counter()
                call()
                best[i] = min(best[i], time.perf_counter() - start)
        program.last = [None] * len(program.last)
    del kept
    return [(f"{i} {s.label} {s.writes[0].shape if s.writes else ''}", s.kind, t, s.flops / t / 1e9,
             s.bytes / t / 1e9)  # type: ignore[attr-defined]
            for i, (s, t) in enumerate(zip(steps, best, strict=True))]


def _call(function: Any, address: int) -> Any:
    return lambda: function(address, 0, 1)


__all__ = ["profile"]
