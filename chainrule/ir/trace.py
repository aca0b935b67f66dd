# SPDX-License-Identifier: Apache-2.0
"""`Trace`: what is remembered while a Python function runs on symbols instead of arrays.

Nodes need no list of their own (a graph is what its outputs need); a trace only keeps the Variables that were read and
assigned, because they become extra inputs and outputs of the graph.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from .node import Node


class Trace:
    """The Variables that a traced function reads (each an input node) and assigns (each the newest node).

    `switched` holds, of those that the function made trainable or not itself, what they were before.
    """

    def __init__(self, outer: Trace | None = None, purpose: str = "compile"):
        self.reads: dict[Any, Node] = {}
        self.writes: dict[Any, Node] = {}
        self.switched: dict[Any, tuple[bool, bool]] = {}
        self.outer, self.purpose = outer, purpose


class _State(threading.local):
    trace: Trace | None = None


_state = _State()


def current_trace() -> Trace | None:
    """The trace that is going on in this thread, or None: then operations run at once."""
    return _state.trace


@contextlib.contextmanager
def tracing(purpose: str = "compile") -> Iterator[Trace]:
    """Within, operations make symbols instead of arrays; `purpose` ("compile" or "vmap") tells messages why."""
    outer = _state.trace
    _state.trace = trace = Trace(outer, purpose)
    try:
        yield trace
    finally:
        _state.trace = outer


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Within, operations run at once, even inside a trace (for values that do not depend on the traced function)."""
    outer, _state.trace = _state.trace, None
    try:
        yield
    finally:
        _state.trace = outer
