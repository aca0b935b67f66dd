# SPDX-License-Identifier: Apache-2.0
"""The native backend: graphs become machine code for this processor, through LLVM.

`load(graph)` is the only door: group (what becomes one kernel) → schedule (which loops) → emit (LLVM) → engine (machine
code) → program (runs it). llvmlite is loaded here and nowhere else.
"""

from __future__ import annotations

from ..ir.graph import Graph
from .run.program import Program


def load(graph: Graph, threads: int | None = None) -> Program:
    """A program for the graph; `threads` defaults to CHAINRULE_THREADS."""
    return Program(graph, threads)


__all__ = ["Program", "load"]
