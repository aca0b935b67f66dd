# SPDX-License-Identifier: Apache-2.0
"""The xla backend: a graph becomes a JAX function of the same meaning, compiled once by XLA for CPU, GPU or TPU.

    lowering   one dictionary: primitive -> jax.lax
    emit       a graph as a call of the dictionary's functions; faults (indices out of bounds) on the side
    program    compile, run on NumPy arrays, show

JAX is imported here and nowhere else. User settings of JAX stay as they are: 64-bit types are switched on only around
our own calls.
"""

from __future__ import annotations

from ..errors import MissingExtra
from ..ir import Graph
from ..ir.mesh import Mesh

try:
    import jax as _jax  # noqa: F401
except ImportError as _error:
    raise MissingExtra("the xla backend", "jax", "xla") from _error

from .lowering import LOWERINGS
from .partitioned import PartitionedProgram, devices
from .program import XlaProgram


def load(graph: Graph) -> XlaProgram:
    """A program for the graph: a callable from a list of NumPy arrays to a list of NumPy arrays."""
    return XlaProgram(graph) if Mesh.current is None else PartitionedProgram(graph, Mesh.current)


__all__ = ["LOWERINGS", "PartitionedProgram", "XlaProgram", "devices", "load"]
