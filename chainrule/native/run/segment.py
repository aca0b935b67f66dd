# SPDX-License-Identifier: Apache-2.0
"""A stretch of native steps as one function ``void (table, i64 thread, i64 threads)`` that every thread calls.

The table holds the arena, the control words and the arrays of this call. Kernels run in order; a barrier stands only
between steps of which one needs what another thread has written since the last barrier. Small steps run on thread 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from ..buffers import Buffer
from ..kernels.attention.spec import SIZES
from ..kernels.product.product import ProductSpec
from ..llvm.writer import INDEX, POINTER, Writer, intrinsic
from ..plan.attention import AttentionStep
from ..plan.steps import KernelStep, PackStep, Plan, ProductStep, RowBlocks, RunningStep, ScanStep, ScatterStep, Step
from ..target import Target
from .barrier import STATUS, emit_barrier
from .code.record import decode, encode

SMALL_STEP = 20_000  # work below which one thread does a step alone
ARENA, CONTROL, FIRST = 0, 1, 2  # places in the table
# rounds after which a loop that stops by itself looks whether a check has failed: from wrong values it may never stop
LOOKS = 64
STEPS = 16  # of one function: register allocation is faster in several short ones, and in several threads


Segments = Sequence[tuple[str, Sequence[Step]]]


def write_segments(content: tuple[dict[Buffer, int], Segments], module: ir.Module, target: Target,
                   *ready: Callable[[ir.Function], object]) -> None:
    """Write the functions of segments and of all that they call; `content` says where each buffer's entry is, and their
    names and steps."""
    places, segments = content
    emitter = SegmentEmitter(module, target, places.__getitem__, *ready)
    for name, steps in segments:
        emitter.emit(name, steps)


class SegmentEmitter:
    """Writes segments and the kernels they call into one module; equal kernels are written once.

    `ready` is called after each of these with the segment, which then is the only function that is not finished.
    """

    def __init__(self, module: ir.Module, target: Target, place: Callable[[Buffer], int],
                 ready: Callable[[ir.Function], object] = lambda _: None):
        self.module, self.target, self.place, self.ready = module, target, place, ready
        self.functions: dict[tuple[str, bytes], list[ir.Function]] = {}
        self.barrier = emit_barrier(module, target)
        self.turn: ir.Value = INDEX(0)  # 1 in every second round of a loop
        self.is_alone = False  # whether what is being written runs on one thread without the others

    def emit(self, name: str, steps: Sequence[Step]) -> ir.Function:
        """The function of one segment, which calls functions of some steps each."""
        self.pending = Pending()
        self.local: dict[Buffer, ir.Value] = {}  # addresses of the buffers of loop bodies
        guard = next((i for i, step in enumerate(steps) if step.commits), len(steps))
        starts = sorted({*range(0, guard, STEPS), *range(guard, len(steps), STEPS)})
        parts: dict[int, ir.Function] = {}
        for start, end in itertools.pairwise([*starts, len(steps)]):
            self.pending = Pending() if start == guard else self.pending  # all threads meet there
            parts[start] = self._part(f"{name}_{start}", steps[start:end])
        function = self._open(name)
        for start, part in parts.items():
            if start == guard:
                self._leave_if_failed()
            self.builder.call(part, function.args)
        self._barrier()
        self.builder.ret_void()
        return function

    def _part(self, name: str, steps: Sequence[Step]) -> ir.Function:
        function = self._open(name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        for step in steps:
            self._step(step)
        self.builder.ret_void()
        return function

    def _open(self, name: str) -> ir.Function:
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER, INDEX, INDEX]), name)
        function.attributes.add("nounwind")
        self.table, self.thread, self.threads = function.args
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.writer = Writer(self.builder, "float32", self.target)
        self.arena, self.control = self._entry(ARENA), self._entry(CONTROL)
        return function

    def _leave_if_failed(self) -> None:
        """Before Variables are written: return if a check has failed. All threads see the same status."""
        with self.builder.if_then(self._has_failed(), likely=False):
            self.builder.ret_void()

    def _has_failed(self) -> ir.Value:
        """Whether a check has failed so far, the same for all threads."""
        self._barrier()
        status = self.builder.load(self.builder.gep(self.control, [INDEX(STATUS)], source_etype=INDEX), typ=INDEX)
        self._barrier()
        return self.builder.icmp_unsigned("!=", status, INDEX(0))

    def _entry(self, index: int) -> ir.Value:
        pointer = self.builder.gep(self.table, [INDEX(index)], source_etype=POINTER)
        return self.builder.load(pointer, typ=POINTER, align=8)

    def pointer(self, buffer: Buffer) -> ir.Value:
        """Where a buffer lies in this call; read where it is used, since registers would not hold all addresses of a
        segment."""
        if buffer in self.local:
            return self.local[buffer]
        if buffer.kind == "temporary":
            return self.builder.gep(self.arena, [INDEX(buffer.offset)], source_etype=ir.IntType(8))
        return self._entry(self.place(buffer))

    def _barrier(self) -> None:
        if not self.is_alone:
            self.builder.call(self.barrier, [self.control, self.threads])
        self.pending = Pending()

    def functions_of(self, step: Any) -> list[ir.Function]:
        """The functions of a step, written at the first use."""
        key = step.kind, encode(step.subject)
        if key not in self.functions:
            self.functions[key] = step.emit(decode(key[1]), self.module, f"{step.kind}_{len(self.functions)}",
                                            self.target)
            for function in self.functions[key]:
                function.linkage = "internal"
                function.attributes.add("noinline")
            self.ready(self.builder.function)
        return self.functions[key]

    def _step(self, step: Step) -> None:
        alone = step.work < SMALL_STEP or (isinstance(step, KernelStep | RunningStep | ScatterStep) and step.units == 1)
        if isinstance(step, ScanStep):
            self._barrier()
            self._scan(step)
            return
        if self.pending.conflicts(step, alone):
            self._barrier()
        if isinstance(step, KernelStep | RunningStep | ScatterStep):
            self._kernel(step, alone)
        elif isinstance(step, ProductStep):
            self._product(step, alone)
        elif isinstance(step, PackStep):
            self._pack(step, alone)
        elif isinstance(step, AttentionStep):
            self._attention(step, alone)
        self.pending.add(step, alone)

    def _kernel(self, step: KernelStep | RunningStep | ScatterStep, alone: bool) -> None:
        function, = self.functions_of(step)
        pointers = [*map(self.pointer, step.slots), self.control]
        self._units(function, pointers, step.units, alone)

    def _units(self, function: ir.Function, pointers: list[ir.Value], units: int, alone: bool) -> None:
        """Call a function of (…, begin, end) for this thread's share of the units of work."""
        if alone:
            with self._only_first():
                self.builder.call(function, [*pointers, INDEX(0), INDEX(units)])
            return
        begin, end = self.writer.share(units, self.thread, self.threads)
        self.builder.call(function, [*pointers, begin, end])

    def _product(self, step: ProductStep, alone: bool) -> None:
        reads = [self._moved(self.pointer(b), INDEX(n * b.item)) if n else self.pointer(b)
                 for b, n in zip(step.reads, step.first,
                                 strict=False)]  # behind the operands come those of the epilogue
        pointers = [*reads, *map(self.pointer, step.pointers)]
        turn = [self.turn] if isinstance(step.spec, ProductSpec) and step.spec.packed else []
        for number, function in enumerate(self.functions_of(step)):
            if alone:
                with self._only_first():
                    self.builder.call(function, [*pointers, INDEX(0), INDEX(1), *turn])
                continue
            if number:
                self._barrier()
            self.builder.call(function, [*pointers, self.thread, self.threads, *turn])

    def _pack(self, step: PackStep, alone: bool) -> None:
        function, = self.functions_of(step)
        source, panels = self.pointer(step.reads[0]), self.pointer(step.writes[0])
        pointers = [self._moved(source, INDEX(step.first * step.reads[0].item)), panels]
        self._units(function, pointers, step.units, alone)

    def _attention(self, step: AttentionStep, alone: bool) -> None:
        size = SIZES[step.spec.dtype]
        pointers = [self._moved(self.pointer(b), INDEX(n * size)) if n else self.pointer(b)
                    for b, n in zip(step.slots, step.first, strict=True)]
        function, = self.functions_of(step)
        if alone:
            with self._only_first():
                self.builder.call(function, [*pointers, self.pointer(step.scratch), INDEX(0), INDEX(1)])
            return
        self.builder.call(function, [*pointers, self.pointer(step.scratch), self.thread, self.threads])

    # ---- loops whose body is a plan

    def _scan(self, step: ScanStep) -> None:
        """Run the bodies `length` times; their buffers are places in those of the loop."""
        if not step.is_split:
            self._together(step)
            return
        thread, threads, done = self.thread, self.threads, 0
        begin, end = self.writer.share(sum(x.count for x in step.blocks), thread, threads)
        self.thread, self.threads, self.is_alone = INDEX(0), INDEX(1), True
        for blocks in step.blocks:
            mine = (self.writer.maximum(self.writer.sub(x, done), 0)
                    for x in (begin, self.writer.minimum(end, done + blocks.count)))
            with self.writer.loop(*mine) as number:
                row = self.builder.add(self.builder.mul(number, INDEX(blocks.rows)), INDEX(blocks.first))
                arena = self._moved(self.pointer(blocks.arena), self.builder.mul(number, INDEX(blocks.pitch)))
                self._rounds(step, blocks, row, arena)
            done += blocks.count
        self.thread, self.threads, self.is_alone = thread, threads, False
        self._barrier()

    def _together(self, step: ScanStep) -> None:
        """A loop over all rows: by all threads, or by the first where a round is too short to be shared."""
        blocks = step.blocks[0]
        if not step.alone or self.is_alone:
            self._rounds(step, blocks, INDEX(0), self.pointer(blocks.arena))
            return
        thread, threads = self.thread, self.threads
        with self._only_first():
            self.thread, self.threads, self.is_alone = INDEX(0), INDEX(1), True
            self._rounds(step, blocks, INDEX(0), self.pointer(blocks.arena))
        self.thread, self.threads, self.is_alone = thread, threads, False
        self._barrier()

    def _rounds(self, step: ScanStep, blocks: RowBlocks, row: ir.Value, arena: ir.Value) -> None:
        """All rounds for one block of rows, which begins at `row`."""
        body = blocks.body
        for buffer in dict.fromkeys(b for s in body.steps for b in (*s.reads, *s.writes) if b.kind == "temporary"):
            self.local[buffer] = self._moved(arena, INDEX(buffer.offset))
        rows = _Rows(self, step, blocks, row)
        for i in sorted(step.in_place):
            rows.copy(step.initial[i], rows.of(step.final[i]))
        self._barrier()
        outer = self.turn
        if step.stops:
            self._until(step, body, rows)
        else:
            with self.writer.loop(0, step.length) as t:
                self._round(body, rows, t)
        self.turn = outer

    def _round(self, body: Plan, rows: _Rows, t: ir.Value) -> None:
        rows.bind(t)
        self.turn = self.builder.and_(t, INDEX(1))
        for inner in body.steps:
            self._step(inner)
        self._barrier()

    def _until(self, step: ScanStep, body: Plan, rows: _Rows) -> None:
        """Rounds as long as the first carry is true. It changes between two buffers, so that who is late still reads
        the old one."""
        b = self.builder
        for i, (even, _) in step.turns.items():
            rows.copy(step.initial[i], rows.of(even))
        self._barrier()
        before = b.block
        head, inner, after = (b.append_basic_block(name) for name in ("head", "round", "done"))
        b.branch(head)
        b.position_at_end(head)
        t = b.phi(INDEX)
        t.add_incoming(INDEX(0), before)
        flag = b.load(rows.turning(0, t)[0], typ=ir.IntType(8))
        b.cbranch(b.and_(b.icmp_unsigned("!=", flag, ir.IntType(8)(0)), b.icmp_signed("<", t, INDEX(step.length))),
                  inner, after)
        b.position_at_end(inner)
        self._round(body, rows, t)
        t.add_incoming(self._following(t, step.length), b.block)
        b.branch(head)
        b.position_at_end(after)
        for i in step.turns:
            rows.copy(step.final[i], rows.of(step.final[i]), rows.turning(i, t)[0])
        self._barrier()

    def _following(self, t: ir.Value, length: int) -> ir.Value:
        """The number of the round after `t`; the last one where a check has failed."""
        b, following = self.builder, self.builder.add(t, INDEX(1))
        if length < LOOKS:
            return following
        before = b.block
        with b.if_then(b.icmp_unsigned("==", b.urem(following, INDEX(LOOKS)), INDEX(0)), likely=False):
            stopping = b.select(self._has_failed(), INDEX(length), following)
            looked = b.block
        reached = b.phi(INDEX)
        reached.add_incoming(following, before)
        reached.add_incoming(stopping, looked)
        return reached

    def _moved(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.gep(pointer, [offset], source_etype=ir.IntType(8))

    def _only_first(self):  # type: ignore[no-untyped-def]
        return self.builder.if_then(self.builder.icmp_unsigned("==", self.thread, INDEX(0)))


class _Rows:
    """Where the inputs and outputs of a loop's body lie in one round, for one block of rows."""

    def __init__(self, emitter: SegmentEmitter, step: ScanStep, blocks: RowBlocks, row: ir.Value):
        self.emitter, self.builder, self.step, self.blocks, self.row = emitter, emitter.builder, step, blocks, row

    def of(self, buffer: Buffer, index: ir.Value | None = None) -> ir.Value:
        """The rows in a buffer of one round, or in round `index` of a stacked one."""
        emitter, b = self.emitter, self.builder
        size = buffer.bytes if index is None else buffer.bytes // self.step.length
        pointer = emitter.pointer(buffer)
        pointer = pointer if index is None else emitter._moved(pointer, b.mul(index, INDEX(size)))
        return (emitter._moved(pointer, b.mul(self.row, INDEX(size // self.step.batch))) if self.step.is_split
                else pointer)

    def bind(self, t: ir.Value) -> None:
        """The addresses of the body's inputs and outputs in round `t`."""
        b, step, body, local = self.builder, self.step, self.blocks.body, self.emitter.local
        index = b.sub(INDEX(step.length - 1), t) if step.reverse else t
        following = b.sub(index, INDEX(1)) if step.reverse else b.add(index, INDEX(1))
        first, last = b.icmp_signed("==", t, INDEX(0)), b.icmp_signed("==", t, INDEX(step.length - 1))
        n, inputs, outputs = len(step.initial), body.inputs, body.outputs
        for i in range(n):
            local[inputs[i]] = final = self.of(step.final[i])
            if i in step.in_place:
                continue
            here, there = self._places(i, t, index, following)
            if step.stops:
                local[inputs[i]], local[outputs[i]] = here, there
                continue
            local[inputs[i]] = b.select(first, self.of(step.initial[i]), here)
            local[outputs[i]] = b.select(last, final, there)
        for buffer, source in zip(inputs[n:], step.sliced, strict=False):
            local[buffer] = self.of(source, index)
        for buffer, source in zip(inputs[n + len(step.sliced):], self.blocks.fixed, strict=True):
            local[buffer] = self.emitter.pointer(source)
        for buffer, target in zip(outputs[n:], step.stacked, strict=True):
            local[buffer] = self.of(target, index)
        for i, target in enumerate(step.history):  # a copy in the first round only; later ones are written there
            with b.if_then(first):
                self.copy(step.initial[i], self.of(target, index))

    def _places(self, i: int, t: ir.Value, index: ir.Value, following: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Where a carry is read and where its successor is written, in the middle of the loop."""
        if self.step.history:
            return self.of(self.step.history[i], index), self.of(self.step.history[i], following)
        return self.turning(i, t)

    def turning(self, i: int, t: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The buffer that holds carry `i` before round `t`, and the one that will after it."""
        even, odd = (self.of(x) for x in self.step.turns[i])
        is_odd = self.builder.trunc(t, ir.IntType(1))
        return self.builder.select(is_odd, odd, even), self.builder.select(is_odd, even, odd)

    def copy(self, source: Buffer, target: ir.Value, place: ir.Value | None = None) -> None:
        """Copy the rows of a buffer (or what lies at a `place`, of its size), each thread its share."""
        emitter, b = self.emitter, self.builder
        size = source.bytes // self.step.batch * self.blocks.rows if self.step.is_split else source.bytes
        begin, end = emitter.writer.share(size, emitter.thread, emitter.threads)
        memcpy = intrinsic(emitter.module, "llvm.memcpy.p0.p0.i64", ir.VoidType(),
                           [POINTER, POINTER, INDEX, ir.IntType(1)])
        b.call(memcpy, [emitter._moved(target, begin),
                        emitter._moved(self.of(source) if place is None else place, begin), b.sub(end, begin),
                        ir.IntType(1)(0)])


class Pending:
    """What was read and written since the last barrier, and whether by thread 0 alone."""

    def __init__(self) -> None:
        self.reads: list[tuple[Buffer, bool]] = []
        self.writes: list[tuple[Buffer, bool]] = []

    def conflicts(self, step: Step, alone: bool) -> bool:
        """Whether the step must wait for another thread."""
        clash = lambda mine, theirs: any(overlap(a, b) and not (alone and by_first) for a in mine
                                         for b, by_first in theirs)
        return clash(step.reads, self.writes) or clash(step.writes, self.writes) or clash(step.writes, self.reads)

    def add(self, step: Step, alone: bool) -> None:
        """The step has run."""
        self.reads += [(b, alone) for b in step.reads]
        self.writes += [(b, alone) for b in step.writes]


def overlap(a: Buffer, b: Buffer) -> bool:
    """Whether two buffers share memory."""
    if a is b:
        return True
    if a.kind != "temporary" or b.kind != "temporary":
        return False
    return a.offset < b.offset + b.bytes and b.offset < a.offset + a.bytes
