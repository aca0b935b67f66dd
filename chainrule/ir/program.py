# SPDX-License-Identifier: Apache-2.0
"""What a backend makes of a graph, and what it may be able to do beside running it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .graph import Graph
from .variable import Variable

Again = Callable[[Callable[[], Graph]], Any]
Repeated = Callable[[np.ndarray, list[np.ndarray]], tuple[int, list[np.ndarray]]]


class Program:
    """A graph ready to run: the contract of all backends. A backend has a function `load(graph) -> Program`.

    Attributes:
        holds_variables: whether the contents of Variables stay where the program runs, so that it is run by `update`.
    """

    holds_variables = False

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of the graph; none shares memory with an input, but for those that `graph.aliases` gives away."""
        raise NotImplementedError

    def show(self, stage: str) -> str:
        """The program as text: "kernels", "llvm" or "asm"."""
        raise NotImplementedError

    def update(self, arrays: Sequence[np.ndarray], reads: Sequence[Variable],
               writes: Sequence[Variable]) -> list[np.ndarray]:
        """Run with Variables as further inputs and last outputs; the other outputs. After an error all Variables are as
        before."""
        raise NotImplementedError

    def repeat(self, data: Sequence[np.ndarray], rows: int, flag: int, keep: frozenset[int],
               results: int) -> Repeated | None:
        """Many steps in one call (see `Entry.repeated`), a function (rows of each step, contents of Variables); None
        where it cannot."""
        return None

    @property
    def working_bytes(self) -> int | None:
        """Memory between inputs and outputs; None where it is not known."""
        return None

    @property
    def again(self) -> Again | None:
        """What makes further programs of this code, for graphs of the same structure that are asked for when something
        of them is to be told; None where it cannot.

        It may outlive the program, and holds nothing of its graph.
        """
        return None


class Wrapped(Program):
    """A program whose runs go through a function, and which can do what the program can."""

    def __init__(self, program: Program, around: Callable[[Callable[[], Any]], Any]):
        self.program, self.around = program, around
        self.holds_variables = program.holds_variables
        self.show = program.show  # type: ignore[method-assign]

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self.around(lambda: self.program(arrays))

    def update(self, arrays: Sequence[np.ndarray], reads: Sequence[Variable],
               writes: Sequence[Variable]) -> list[np.ndarray]:
        return self.around(lambda: self.program.update(arrays, reads, writes))

    def repeat(self, data: Sequence[np.ndarray], rows: int, flag: int, keep: frozenset[int],
               results: int) -> Repeated | None:
        run = self.program.repeat(data, rows, flag, keep, results)
        return None if run is None else lambda chosen, held: self.around(lambda: run(chosen, held))

    @property
    def working_bytes(self) -> int | None:
        return self.program.working_bytes
