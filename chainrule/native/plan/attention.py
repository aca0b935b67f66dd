# SPDX-License-Identifier: Apache-2.0
"""The step of a program that is one attention or its gradient.

In: a node and functions that say where its operands lie. Out: an `AttentionStep`; heads are read with strides, so
nothing is transposed, and what it needs beside the results is a few blocks of scratch for each thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...ir.node import Node
from ..buffers import Buffer
from ..kernels.attention.backward import backward_scratch, emit_backward
from ..kernels.attention.decode import emit_few, few_scratch
from ..kernels.attention.forward import emit_forward, forward_scratch
from ..kernels.attention.spec import AttentionSpec
from ..nest.affine import row_major
from ..target import Target
from .steps import SpecStep

Place = tuple[Buffer, tuple[int, ...], int]  # buffer, strides, first element
VIEWED = (0, 1, 2, 5)  # of the operands: q, k, v and g; the others lie in row-major order


@dataclass(eq=False)
class AttentionStep(SpecStep):
    """Attention or its gradient; `slots` are its operands and results, which begin at the elements `first`."""

    spec: AttentionSpec
    first: tuple[int, ...]

    kind = "attention"

    @property
    def flops(self) -> int:
        """Of the products."""
        return self.spec.flops

    @property
    def work(self) -> int:
        """An estimate of the time, in units of about 0.1 ns on one thread."""
        return self.flops // 8 + self.bytes // 4

    def scratch_bytes(self, target: Target, threads: int) -> int:
        """Bytes of scratch that all threads together need."""
        size = backward_scratch if self.spec.gradient else few_scratch if self.spec.few else forward_scratch
        return size(self.spec, target) * threads

    @staticmethod
    def emit(subject: AttentionSpec, module: ir.Module, name: str, target: Target) -> list[ir.Function]:
        """The function, for every thread."""
        emit = emit_backward if subject.gradient else emit_few if subject.few else emit_forward
        return [emit(module, name, subject, target)]


def attention_step(node: Node, results: list[Buffer], view: Callable[[Node], Place],
                   whole: Callable[[Node], Buffer]) -> AttentionStep:
    """The step of a node; `view` finds an operand as a strided view, `whole` in row-major order."""
    gradient = node.op.name == "attention_gradient"
    count = 6 if gradient else 3
    places: list[Place] = []
    for i, x in enumerate(node.inputs):
        place = view(x) if i in VIEWED and i < count else None
        if place is None or place[1][-1] != 1:
            place = whole(x), row_major(x.shape), 0
        places.append(place)
    mask = None
    if len(node.inputs) > count:
        mask = tuple(0 if n == 1 else s for n, s in zip(node.inputs[count].shape, row_major(node.inputs[count].shape),
                                                        strict=True))
    operands = [buffer for buffer, _, _ in places]
    spec = _spec(node, tuple(places[i][1][:3] for i in VIEWED if i < count), mask, gradient)
    first = (*(place[2] for place in places), *(0 for _ in results))
    return AttentionStep(node, list(dict.fromkeys(operands)), list(results), spec, [*operands, *results], first)


def _spec(node: Node, strides: tuple[tuple[int, ...], ...], mask: Any, gradient: bool) -> AttentionSpec:
    q, k, v = (x.shape for x in node.inputs[:3])
    return AttentionSpec(q[0], q[1], k[1], q[2], k[2], q[3], v[3], strides, mask, node.attrs["causal"],
                         node.attrs["scale"], node.inputs[0].dtype.name, gradient)
