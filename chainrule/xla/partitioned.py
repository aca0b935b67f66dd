# SPDX-License-Identifier: Apache-2.0
"""A program on a mesh of devices: the same graph, partitioned by XLA (GSPMD, or Shardy in newer versions) as the
placements of its inputs say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ..errors import ArgumentError, explain
from ..ir import Graph
from ..ir.mesh import Mesh, Placement
from ..ir.variable import Variable
from .program import XlaProgram, wide

MOST_MADE = 64  # devices that a processor is divided into without being told so outside


def devices(number: int) -> list[Any]:
    """The first devices of the default kind; ArgumentError if there are fewer.

    On a processor, JAX makes as many as asked for, if it has not begun to compute yet.
    """
    if (
        1 < number <= MOST_MADE
        and not jax._src.xla_bridge.backends_are_initialized()
        and hasattr(jax.config, "jax_num_cpu_devices")
    ):
        jax.config.update("jax_num_cpu_devices", max(number, jax.config.jax_num_cpu_devices or 1))
    found = jax.devices()
    if len(found) < number:
        raise ArgumentError(explain("there are not so many devices", got=f"{len(found)} ({found[0].platform})",
                                    expected=f"{number}",
                                    fix="on a processor, set "
                                        f"XLA_FLAGS=--xla_force_host_platform_device_count={number} before Python "
                                        "starts"))
    return found[:number]


class PartitionedProgram(XlaProgram):
    """A graph for a mesh; compiled when it is first run, since only then its Variables are known."""

    def __init__(self, graph: Graph, mesh: Mesh):
        self.graph, self._aliases, self.mesh = graph, graph.aliases, mesh
        names, extents = tuple(mesh.axes), tuple(mesh.axes.values())
        self._devices = jax.sharding.Mesh(np.array(devices(int(np.prod(extents)))).reshape(extents), names)
        self._version = -1
        self._inputs: list[NamedSharding] = []

    again = property(lambda self: None)  # it is of this mesh and these Variables

    def _placed(self, placement: Placement) -> NamedSharding:
        return NamedSharding(self._devices, PartitionSpec(*placement))

    def _fit(self, arrays: Sequence[np.ndarray], reads: Sequence[Variable], writes: Sequence[Variable]) -> None:
        """Compile for the placements as they are now."""
        if self._version == self.mesh.version:
            return
        self._inputs = [*(self._placed(self.mesh.of_batch(np.shape(x))) for x in arrays),
                        *(self._placed(self.mesh.of(v)) for v in reads)]
        results = len(self.graph.outputs) - len(writes)
        outputs = [*(self._placed(()) for _ in range(results)), *(self._placed(self.mesh.of(v)) for v in writes)]
        kinds = [jax.ShapeDtypeStruct(x.type.shape, x.type.dtype, sharding=place)
                 for x, place in zip(self.graph.inputs, self._inputs, strict=True)]
        donated = tuple(sorted({index for _, index in self._aliases}))
        whole = self._placed(())
        with wide():
            self._lowered = jax.jit(self._run, donate_argnums=donated,
                                    out_shardings=(outputs, whole, whole)).lower(*kinds)
            self._compiled = self._lowered.compile()
        self._checked, self._version = bool(self._noted), self.mesh.version

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        self._fit(arrays, (), ())
        return super().__call__(arrays)

    def update(self, arrays: Sequence[np.ndarray], reads: Sequence[Variable],
               writes: Sequence[Variable]) -> list[np.ndarray]:
        self._fit(arrays, reads, writes)
        return super().update(arrays, reads, writes)

    def _here(self, array: Any) -> Any:
        return array

    def _call(self, arrays: Sequence[Any]) -> Any:
        return super()._call([jax.device_put(x, place) for x, place in zip(arrays, self._inputs, strict=True)])

    def collectives(self) -> dict[str, int]:
        """How many of each collective operation the partitioned program has."""
        text = self._compiled.as_text() or ""
        names = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
        return {name: text.count(f" {name}(") + text.count(f" {name}-start(") for name in names}
