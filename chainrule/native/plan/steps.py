# SPDX-License-Identifier: Apache-2.0
"""The steps of a program - kernels and products, which are machine code, and host steps, which are NumPy - and the plan
that holds them.

Each says which buffers it reads and writes; from that follow the memory plan, the barriers and the order. Functions are
made of a step's `subject` alone, and steps of equal subjects share them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llvmlite import ir

from ...ir.graph import Graph
from ...ir.node import Node
from ..buffers import Buffer
from ..kernels.convolution.convolution import convolution_scratch, emit_convolution
from ..kernels.convolution.spec import ConvSpec
from ..kernels.cumulative import RunningSpec, emit_running
from ..kernels.product.panels import Panels, emit_panels
from ..kernels.product.product import ProductSpec, emit_product, product_scratch
from ..kernels.scatter import ScatterSpec, emit_scatter
from ..kinds import COSTS
from ..nest.emit import emit_kernel
from ..nest.epilogue import Finish
from ..nest.expression import Expression, Kernel, kernel_text, operands
from ..target import Target


@dataclass(eq=False)
class Step:
    """One step: what it does, for whom, what it reads and writes."""

    node: Node
    reads: list[Buffer]
    writes: list[Buffer]

    UNSEEN = ("node",)  # by what generates code
    native = True
    commits = False  # writes Variables, so it must not run after a failed check
    scratch = None  # the buffer for scratch, if it needs one

    def lists(self) -> list[list[Buffer]]:
        """Further lists of buffers that a renaming must reach."""
        return []

    @property
    def label(self) -> str:
        """Short name for tables."""
        return self.node.op.name

    @property
    def bytes(self) -> int:
        """Bytes that go in and out."""
        return sum(b.bytes for b in {*self.reads, *self.writes})


@dataclass(eq=False)
class KernelStep(Step):
    """A fused loop nest; `slots` are the buffers behind the kernel's slots."""

    kernel: Kernel
    slots: list[Buffer]
    checks: list[int] = field(default_factory=list)

    kind = "loops"

    @cached_property
    def text(self) -> str:
        """The kernel as text."""
        return kernel_text(self.kernel)

    @property
    def subject(self) -> Kernel:
        """What the function is made of."""
        return self.kernel

    @property
    def units(self) -> int:
        """How many units of work there are to share."""
        total = 1
        for v in self.kernel.outer[:self.kernel.units]:
            total *= v.n
        return total

    @property
    def flops(self) -> int:
        """Operations on elements, movement not counted."""
        total = 0
        for stage in self.kernel.stages:
            count = sum(x.kind not in ("load", "constant", "position", "guard") for x in operands(stage))
            total += (count + len(stage.sums)) * self.trips(stage)
        return total

    def trips(self, stage: Any) -> int:
        """How often the body of a stage runs."""
        total = 1
        for v in (*self.kernel.outer, *stage.inner, *stage.over):
            total *= v.n
        return total

    @property
    def work(self) -> int:
        """An estimate of the time, in units of about 0.1 ns on one thread."""
        count = sum(COSTS.get(x.kind, 1) * self.trips(stage) for stage in self.kernel.stages for x in operands(stage))
        return count // 10 + self.bytes // 5

    @staticmethod
    def emit(subject: Kernel, module: ir.Module, name: str, target: Target) -> list[ir.Function]:
        """The function of the kernel."""
        return [emit_kernel(module, name, subject, target)]

    def loads(self) -> list[tuple[Expression, Buffer]]:
        """Every load with the buffer it reads; local ones not counted."""
        return [(x, self.slots[x.attr[0]]) for stage in self.kernel.stages for x in operands(stage)
                if x.kind in ("load", "take", "random") and x.attr[0] < len(self.slots)]


@dataclass(eq=False)
class SpecStep(Step):
    """A step whose kernel follows from a spec, and takes the buffers `slots` in their order."""

    spec: Any
    slots: list[Buffer]

    @cached_property
    def text(self) -> str:
        """The spec as text."""
        return repr(self.spec)

    @property
    def subject(self) -> Any:
        """What the function is made of."""
        return self.spec

    def lists(self) -> list[list[Buffer]]:
        """Further lists of buffers that a renaming must reach."""
        return [self.slots]


@dataclass(eq=False)
class ScatterStep(SpecStep):
    """Rows added to rows that indices choose; `slots` are indices, updates, result (of a check only the indices)."""

    spec: ScatterSpec

    kind = "scatter"

    @property
    def units(self) -> int:
        """How many units of work there are to share."""
        return self.spec.count if self.spec.mode == "check" else self.spec.outer * self.spec.blocks

    @property
    def flops(self) -> int:
        """Additions."""
        return 0 if self.spec.mode == "check" else self.spec.outer * self.spec.count * self.spec.columns

    @property
    def work(self) -> int:
        """An estimate of the time, in units of about 0.1 ns on one thread."""
        return self.units * 20 if self.spec.mode == "check" else self.spec.count * self.units * 20 + self.flops * 2

    @staticmethod
    def emit(subject: ScatterSpec, module: ir.Module, name: str, target: Target) -> list[ir.Function]:
        """The function of the kernel."""
        return [emit_scatter(module, name, subject, target)]


@dataclass(eq=False)
class RunningStep(SpecStep):
    """A running sum; `slots` are the operand and the result."""

    spec: RunningSpec

    kind = "running"

    @property
    def units(self) -> int:
        """How many units of work there are to share."""
        return self.spec.units

    @property
    def flops(self) -> int:
        """Additions."""
        return self.spec.outer * self.spec.extent * self.spec.columns

    @property
    def work(self) -> int:
        """An estimate of the time, in units of about 0.1 ns on one thread."""
        return self.flops * (2 if self.spec.is_wide else 3)

    @staticmethod
    def emit(subject: RunningSpec, module: ir.Module, name: str, target: Target) -> list[ir.Function]:
        """The function of the kernel."""
        return [emit_running(module, name, subject, target)]


@dataclass(eq=False)
class ProductStep(Step):
    """A matrix product or a convolution, from its own generator."""

    spec: ProductSpec | ConvSpec
    flops: int = 0
    first: tuple[int, ...] = (0, 0)  # the elements of the operands' buffers at which they begin
    finish: Finish | None = None  # what is computed from the result on the way

    @cached_property
    def text(self) -> str:
        """The product and what is computed from its result, as text."""
        return repr(self.spec) + (f"\n{self.finish.text}" if self.finish else "")

    @property
    def subject(self) -> tuple[ProductSpec | ConvSpec, Finish | None]:
        """What the functions are made of."""
        return self.spec, self.finish.anywhere() if self.finish else None

    @property
    def pointers(self) -> list[Buffer]:
        """The buffers that the functions take after the operands."""
        extras = self.finish.extras() if self.finish else []
        return [self.writes[0], *extras, *([self.scratch] if self.scratch else [])]

    kind = "product"

    @property
    def work(self) -> int:
        """An estimate of the time, in units of about 0.1 ns on one thread."""
        return self.flops // 10 + self.bytes // 4

    def scratch_bytes(self, target: Target, threads: int) -> int:
        """Bytes of scratch that all threads together need."""
        size = product_scratch if isinstance(self.spec, ProductSpec) else convolution_scratch
        return size(self.spec, target, threads)  # type: ignore[arg-type]

    @staticmethod
    def emit(subject: tuple[ProductSpec | ConvSpec, Finish | None], module: ir.Module, name: str,
             target: Target) -> list[ir.Function]:
        """The functions of the phases, to be called in turn."""
        spec, finish = subject
        emit = emit_product if isinstance(spec, ProductSpec) else emit_convolution
        epilogue, count = (finish.emitter(target), len(finish.extras())) if finish else (None, 0)
        return emit(module, name, spec, target, epilogue, count)  # type: ignore[arg-type]


@dataclass(eq=False)
class PackStep(Step):
    """The right operand of a loop's products packed once for all its steps; it begins at element `first` of its buffer.
    """

    panels: Panels
    first: int = 0

    kind, flops = "pack", 0

    @cached_property
    def text(self) -> str:
        """The panels as text."""
        return repr(self.panels)

    @property
    def subject(self) -> Panels:
        """What the function is made of."""
        return self.panels

    @property
    def units(self) -> int:
        """How many units of work there are to share."""
        return self.panels.count

    @property
    def work(self) -> int:
        """An estimate of the time, in units of about 0.1 ns on one thread."""
        return self.bytes

    @staticmethod
    def emit(subject: Panels, module: ir.Module, name: str, target: Target) -> list[ir.Function]:
        """The function of the kernel."""
        return [emit_panels(module, name, subject, target)]


@dataclass(frozen=True)
class Packed:
    """An input of a loop's body that is another one, packed: its number, its first element, and how."""

    source: int
    first: int
    panels: Panels


@dataclass(eq=False)
class RowBlocks:
    """`count` blocks of `rows` rows of a batch, from row `first` on, for each of which a loop runs by itself.

    The body's temporary buffers lie in `arena`, those of a block `pitch` bytes behind those of the one before.
    """

    body: Plan
    count: int
    rows: int
    first: int
    arena: Buffer
    pitch: int
    fixed: list[Buffer]


GUESSED_ROUNDS = 100  # of a loop that stops by itself


@dataclass(eq=False)
class ScanStep(Step):
    """A loop whose body is a plan of its own, one for each size of blocks of the batch's `batch` rows.

    If there is one block of all rows, all threads run it together; else each block is run by one thread. `initial`,
    `sliced` and the `fixed` ones of the blocks are the operands, `final` and `stacked` the results. A carry in
    `in_place` stays in its final buffer; another one lives in the stacked history, or changes between the two buffers
    of `turns`.
    """

    blocks: list[RowBlocks]
    batch: int
    length: int
    reverse: bool
    initial: list[Buffer]
    sliced: list[Buffer]
    final: list[Buffer]
    stacked: list[Buffer]
    history: list[Buffer]
    in_place: set[int]
    turns: dict[int, tuple[Buffer, Buffer]]
    stops: bool = False  # by its first carry, which says before each round whether there is one
    alone: bool = False  # one thread runs all rounds: each is too short to be shared
    checked: bool = False  # a check in it may fail

    kind = "scan"

    def lists(self) -> list[list[Buffer]]:
        """Further lists of buffers that a renaming must reach."""
        return [self.initial, self.sliced, self.final, self.stacked, self.history, *(x.fixed for x in self.blocks)]

    @property
    def _rounds(self) -> int:
        """How many there will be, by a guess where nobody knows."""
        return min(self.length, GUESSED_ROUNDS) if self.stops else self.length

    @property
    def is_split(self) -> bool:
        """Whether each thread has rows of its own."""
        return sum(x.count for x in self.blocks) > 1

    @property
    def flops(self) -> int:
        """Operations of all steps."""
        return self._rounds * sum(x.count * s.flops for x in self.blocks for s in x.body.steps)

    @property
    def work(self) -> int:
        """An estimate of the time, in units of about 0.1 ns on one thread."""
        return self._rounds * sum(x.count * s.work for x in self.blocks for s in x.body.steps)


@dataclass(eq=False)
class HostStep(Step):
    """An operation that runs by its NumPy meaning."""

    native = False
    kind = "host"
    flops = 0
    text = ""


@dataclass(eq=False)
class Plan:
    """A program before its machine code exists."""

    UNSEEN = ("graph", "checks")  # by what generates code

    graph: Graph
    steps: list[Step]
    inputs: list[Buffer]
    constants: list[Buffer]
    outputs: list[Buffer]
    in_place: dict[int, int]  # output index -> input index whose array it is
    checks: list[Node]
    arena: int = 0
    panels: list[Packed] = field(default_factory=list)  # further inputs, behind those of the graph
