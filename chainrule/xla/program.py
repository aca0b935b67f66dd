# SPDX-License-Identifier: Apache-2.0
"""A compiled XLA program: NumPy arrays in, NumPy arrays out; inputs that outputs take over are donated.

The contents of Variables stay on the device from call to call: a training step moves its batch there and its loss back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import BoundsError
from ..ir import Graph, Node, Program
from ..ir.variable import Variable
from . import faults
from .emit import emit
from .lowering import LOWERINGS


def wide() -> Any:
    """64-bit types for the time of one of our calls, whatever the user has set."""
    return jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64(True)


def _sent(array: np.ndarray) -> Any:
    """A copy on the device, which may be donated."""
    return jnp.array(array, copy=True)


def _received(array: Any) -> np.ndarray:
    return np.array(array, order="C", copy=True)


class XlaProgram(Program):
    """A graph compiled by XLA for the default device of JAX.

    Calling it takes and gives a list of arrays, and raises BoundsError for an index out of bounds. Matrices that LAPACK
    would refuse (not positive definite, singular) give NaN instead of an error.
    """

    holds_variables = True

    def __init__(self, graph: Graph):
        self.graph = graph
        self._aliases = graph.aliases
        with wide():
            self._compiled = self._lowered.compile()
        self._checked = bool(self._sites)

    @classmethod
    def of(cls, compiled: Any, aliases: tuple[tuple[int, int], ...], checked: bool,
           graph: Callable[[], Graph]) -> XlaProgram:
        """A program that was compiled for a graph of the same structure; its own is asked for when something of it is
        to be told."""
        made = cls.__new__(cls)
        made._compiled, made._aliases, made._checked, made._made = compiled, aliases, checked, graph
        return made

    @property
    def again(self) -> Callable[[Callable[[], Graph]], XlaProgram]:
        """What makes further programs for graphs of the same structure."""
        return functools.partial(XlaProgram.of, self._compiled, self._aliases, self._checked)

    @cached_property
    def graph(self) -> Graph:
        """What is computed."""
        return self._made()

    @cached_property
    def _lowered(self) -> Any:
        """What XLA gets; `_sites` are noted on the way."""
        kinds = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in self.graph.inputs]
        with wide():
            return jax.jit(self._run, donate_argnums=tuple(sorted({index for _, index in self._aliases}))).lower(*kinds)

    @property
    def _sites(self) -> list[tuple[Node, int]]:
        """The nodes that can fail, with the extents of what they index."""
        assert self._lowered is not None
        return self._noted

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of the graph; none shares memory with an input."""
        with wide():
            outputs, fault = self._call(arrays)
            if fault is not None:
                raise fault
            return list(map(_received, outputs))

    def update(self, arrays: Sequence[np.ndarray], reads: Sequence[Variable],
               writes: Sequence[Variable]) -> list[np.ndarray]:
        """Run with Variables as further inputs and last outputs; returns the other outputs. After an error all are as
        before."""
        with wide():
            assigned = set(map(id, writes))
            taken = [self._here(variable.take_remote(_sent, id(variable) in assigned)) for variable in reads]
            try:
                outputs, fault = self._call([*arrays, *taken])
            except BaseException:
                for variable, array in zip(reads, taken, strict=True):
                    if id(variable) in assigned:
                        variable.put_remote(array)
                raise
            results = len(outputs) - len(writes)
            donated = {output for output, _ in self._aliases}
            for place, variable in enumerate(writes, results):
                if fault is None or place in donated:
                    variable.put_remote(outputs[place])
            if fault is not None:
                raise fault
            return list(map(_received, outputs[:results]))

    def _here(self, array: Any) -> Any:
        """An array on the one device of this program, from wherever it lies."""
        return array if len(array.sharding.device_set) == 1 else _sent(_received(array))

    def _call(self, arrays: Sequence[Any]) -> tuple[list[Any], BoundsError | None]:
        outputs, wrong, indices = self._compiled(*(x if isinstance(x, jax.Array) else np.asarray(x, order="C")
                                                   for x in arrays))
        failed = self._checked and np.asarray(wrong).any()
        return outputs, faults.first(self._sites, np.asarray(wrong), np.asarray(indices)) if failed else None

    def show(self, stage: str) -> str:
        """"kernels": StableHLO, what XLA gets; "llvm" and "asm": the program that XLA made of it."""
        return self._lowered.as_text() if stage == "kernels" else self._compiled.as_text() or ""

    def _run(self, *inputs: Any) -> tuple[list[Any], Any, Any]:
        with faults.collecting() as found:
            outputs = emit(self.graph, inputs, LOWERINGS)
        self._noted = [(fault.node, fault.extent) for fault in found]
        if found:  # what is donated exists no longer, so a call that fails gives it back
            failed = jnp.stack([fault.wrong for fault in found]).any()
            for output, index in self._aliases:
                outputs[output] = jnp.where(failed, inputs[index], outputs[output])
        return (outputs, jnp.asarray([fault.wrong for fault in found], bool),
                jnp.asarray([(fault.index, fault.place) for fault in found], jnp.int64).reshape(-1, 2))
