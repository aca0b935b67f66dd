# SPDX-License-Identifier: Apache-2.0
"""The reference backend: a graph runs node by node by the NumPy meanings. Slow, simple, and what every program means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ir import Graph, Program
from .ir.graph import interpret


class ReferenceProgram(Program):
    """A graph ready to run by interpretation."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of the graph; none shares memory with an input."""
        outputs = interpret(self.graph, [np.asarray(x) for x in arrays])
        return [np.array(x, order="C", copy=True) for x in outputs]

    def show(self, stage: str) -> str:
        """There is nothing below the graph here."""
        return f"the reference backend has no {stage}: it interprets the graph"


def load(graph: Graph) -> Program:
    """A program for the graph."""
    return ReferenceProgram(graph)
