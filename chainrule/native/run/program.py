# SPDX-License-Identifier: Apache-2.0
"""`Program`: a graph ready to run as machine code.

A call fills the addresses of this call's arrays into a table and calls one machine-code function per stretch of native
steps; nothing else happens per kernel. Arrays that come again (the Variables of a training loop) keep their entry.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from threading import get_ident
from typing import Any
from weakref import WeakSet

import numpy as np
from llvmlite import ir

from ...errors import BoundsError, describe_frame, explain
from ...foundations import config
from ...foundations.fork import renew_locks
from ...ir import Node
from ...ir import program as backend
from ...ir.graph import Graph, interpret
from ...ir.memory import no_room, no_room_between
from ...ops.index import index_error
from ...ops.require import REQUIRE
from ..buffers import Buffer
from ..llvm.checks import FIRST_CHECK
from ..plan.describe import describe
from ..plan.lower import lower
from ..plan.steps import HostStep, Plan, Step
from ..target import Target
from .barrier import CONTROL_WORDS, STATUS
from .code import engine, load
from .code.pieces import Pieces
from .code.record import decode, encode
from .host import host_function
from .memory import PROTOTYPE, address_of, aligned
from .pace import Pace
from .profile import profile
from .repeat import Repeat
from .segment import ARENA, CONTROL, FIRST, Segments, write_segments
from .threads import pool

FEW = 300_000  # work of a whole program, in units of about 0.1 ns, below which it runs on one thread
Function = Callable[[int, int, int], None]


def _write(content: Any, pieces: Pieces) -> None:
    write_segments(content, pieces.module, pieces.target, pieces.ready)


_programs: WeakSet[Program] = WeakSet()


@dataclass(frozen=True, eq=False)
class Code:
    """What calls need of a program once it is made: nothing of its graph, so it may outlive what the graph was traced
    from."""

    target: Target
    threads: int
    library: engine.Library | None
    segments: tuple[bool, ...]  # for each stretch of steps, whether it is machine code
    kinds: list[tuple[tuple[int, ...], np.dtype]]  # of the inputs
    constants: list[tuple[int, np.ndarray]]  # with their entries of the table
    makers: list[tuple[int, Any, Any]]  # of outputs (see `Program._maker`)
    entries: int
    arena: int
    checked: bool
    work: int


class Program(backend.Program):
    """Runs a graph; made by `load`."""

    def __init__(self, graph: Graph, threads: int | None = None):
        self.target = Target.host()
        self.threads = threads if threads is not None else config.threads()
        start = time.perf_counter()
        self.plan = lower(graph, self.target, self.threads)
        lowered = time.perf_counter()
        self.library = self._compile()
        self.seconds = {"lower": lowered - start, "compile": time.perf_counter() - lowered}
        self.code = self._code()
        self._prepare()

    @classmethod
    def of(cls, code: Code, graph: Callable[[], Graph]) -> Program:
        """A program of code that was made for a graph of the same structure; its own is asked for when something of it
        is to be told."""
        made = cls.__new__(cls)
        made.code, made.graph = code, graph
        made.target, made.threads, made.library = code.target, code.threads, code.library
        made._prepare()
        return made

    @property
    def again(self) -> Callable[[Callable[[], Graph]], Program] | None:
        """What makes further programs for graphs of the same structure; None where steps on the host hold nodes of this
        one."""
        if not all(self.code.segments):
            return None
        # whoever made them may write into them
        constants = [(place, value.copy()) for place, value in self.code.constants]
        return functools.partial(Program.of, replace(self.code, constants=constants))

    # ---- making it

    @cached_property
    def plan(self) -> Plan:
        """The steps, in order; made anew where only the code was taken over."""
        return lower(self.graph(), self.target, self.threads)

    @cached_property
    def groups(self) -> list[tuple[bool, list[Step]]]:
        """Stretches of steps, and whether each is machine code."""
        return [(native, list(steps))
                for native, steps in groupby(self.plan.steps, key=lambda s: s.native)]  # type: ignore[attr-defined]

    @cached_property
    def places(self) -> dict[Buffer, int]:
        """The entry of each array in the table."""
        plan = self.plan
        fresh = [b for i, b in enumerate(plan.outputs) if i not in plan.in_place]
        return {b: FIRST + i for i, b in enumerate([*plan.inputs, *plan.constants, *fresh])}

    def write(self, module: ir.Module, segments: Segments, *ready: Callable[[ir.Function], object]) -> None:
        """Write the functions of segments and of all that they call; for `ready` see `SegmentEmitter`."""
        write_segments(decode(encode((self.places, segments))), module, self.target, *ready)

    def _segments(self) -> Segments:
        return [(f"segment{i}", steps) for i, (native, steps) in enumerate(self.groups) if native]

    def _compile(self) -> engine.Library | None:
        segments = self._segments()
        if not segments:
            return None
        return load.library((self.places, segments), _write, self.target)

    def _code(self) -> Code:
        plan = self.plan
        return Code(self.target, self.threads, self.library, tuple(native for native, _ in self.groups),
                    kinds=[(x.shape, x.dtype) for x in plan.graph.inputs],
                    constants=[(self.places[buffer], buffer.value) for buffer in plan.constants],
                    makers=[self._maker(i, buffer) for i, buffer in enumerate(plan.outputs)],
                    entries=FIRST + len(self.places), arena=plan.arena, checked=bool(plan.checks),
                    work=sum(s.work for s in plan.steps if s.native))  # type: ignore[attr-defined]

    def _prepare(self) -> None:
        """What belongs to one call at a time."""
        code = self.code
        self.lock, self.owner = threading.RLock(), 0
        self.control = aligned(8 * CONTROL_WORDS).view(np.int64)
        self.control[:] = 0
        try:
            self.arena = aligned(code.arena)
        except MemoryError:
            raise no_room_between(code.arena, self.plan.graph.nodes) from None
        self.table = np.zeros(code.entries, np.int64)
        self.table[ARENA], self.table[CONTROL] = self.arena.ctypes.data, self.control.ctypes.data
        for place, value in code.constants:
            self.table[place] = value.ctypes.data
        self.address = self.table.ctypes.data
        self.kinds, self.makers, self.checked = code.kinds, code.makers, code.checked
        self.last: list[Any] = [None] * len(code.kinds)
        self.parallel = self.threads > 1 and code.work >= FEW
        self.runs: list[Callable[[], None]] = []
        for i, native in enumerate(code.segments):
            if native:
                self.runs.append(self._native(f"segment{i}"))
            else:
                self.runs += [self.host(step) for step in self.groups[i][1] if isinstance(step, HostStep)]
        _programs.add(self)  # whole: a fork may come at any time

    def _maker(self, i: int, buffer: Buffer) -> tuple[int, Any, Any]:
        """What a call does for an output: (entry of the table, shape, dtype) of a new array, or (-1, number of the
        input, None)."""
        if i in self.plan.in_place:
            return -1, buffer.index, None
        return self.places[buffer], buffer.shape, np.dtype(buffer.dtype)

    def _native(self, name: str) -> Callable[[], None]:
        assert self.library is not None
        function: Any = PROTOTYPE(self.library.address(name))
        address = self.address
        # objects are not converted anew
        alone = functools.partial(function, ctypes.c_void_p(address), ctypes.c_int64(0), ctypes.c_int64(1))
        if not self.parallel:
            return alone
        threads, entry = self.threads, self.library.address(name)
        memory = (self.library, self.table, self.control, self.arena)
        return Pace(lambda: pool(threads).run(function, entry, address, memory), alone)

    def host(self, step: HostStep) -> Callable[[], None]:
        """A function that runs a host step on the buffers of the present call."""
        shapes, compute = [x.type for x in step.node.inputs], host_function(step.node, Program)

        def run() -> None:
            arrays = [self.array(b).reshape(t.shape) for b, t in zip(step.reads, shapes, strict=True)]
            try:
                results = compute(*arrays)
            except MemoryError as error:
                raise no_room(error, step.node.op.name, step.node.type, step.node) from None
            results = results if isinstance(results, tuple) else (results,)
            for buffer, result in zip(step.writes, results, strict=True):
                self.array(buffer).reshape(result.shape)[...] = result
        return run

    def array(self, buffer: Buffer) -> np.ndarray:
        """A buffer as an array, during a call."""
        if buffer.kind == "temporary":
            return self.arena[buffer.offset:buffer.offset + buffer.bytes].view(buffer.dtype).reshape(buffer.shape)
        if buffer.kind == "constant":
            return buffer.value
        return self.last[buffer.index] if buffer.kind == "input" else self.results[buffer.index]

    # ---- running it

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for these inputs; in-place outputs are the input arrays themselves, updated."""
        with self.lock:
            if self.owner:
                return self.twin()(arrays)
            self.owner = get_ident()
            try:
                self.bind(arrays)
                results = self.fresh_outputs()
                if self.checked:
                    self.control[STATUS] = 0  # an interrupted call may have left it
                for run in self.runs:
                    run()
                    if self.checked and self.control[STATUS]:
                        self.fail()
                return results
            finally:
                self.results, self.owner = (), 0

    def twin(self) -> Program:
        """The same machine code with memory of its own, for a call within a call: of a signal handler, for example."""
        other = copy.copy(self)
        other._prepare()
        return other

    def forget_other_threads(self) -> None:
        """In a forked process: the call that another thread was in has no end."""
        if self.owner != get_ident():
            self.lock, self.owner, self.results = threading.RLock(), 0, ()
            self.control[:] = 0
            self.last = [None] * len(self.last)

    def bind(self, arrays: Sequence[np.ndarray]) -> None:
        """The addresses of the inputs of this call into the table."""
        last, table = self.last, self.table
        for i, array in enumerate(arrays):
            if array is not last[i]:
                shape, dtype = self.kinds[i]
                if type(array) is not np.ndarray or array.dtype != dtype or not array.flags.c_contiguous:
                    array = np.ascontiguousarray(array, dtype)
                if array.shape != shape:
                    array = array.reshape(shape)
                last[i] = None  # an interrupt may come before the address is known
                table[FIRST + i] = address_of(array)
                last[i] = array

    def fresh_outputs(self) -> list[np.ndarray]:
        """Arrays for the outputs of this call, with their addresses in the table."""
        last, table, results = self.last, self.table, []
        for place, shape, dtype in self.makers:
            if place < 0:
                results.append(last[shape])
                continue
            try:
                array = np.empty(shape, dtype)
            except MemoryError as error:
                node = self.plan.graph.outputs[len(results)]
                raise no_room(error, node.op.name, node.type, node) from None
            table[place] = address_of(array)
            results.append(array)
        self.results: Any = results
        return results

    def fail(self, step: int = 0) -> None:
        """Find the failed check by running the graph by its meaning, and say where it is; `step` of several in one
        call."""
        error = self._failure()
        error.step = step
        raise error

    def _failure(self) -> BoundsError:
        number, self.control[STATUS] = FIRST_CHECK - int(self.control[STATUS]), 0
        node = self.plan.checks[number - 1]
        if node.op is REQUIRE:
            return self._unmet(node)
        if node.op.name in ("scan", "while"):
            return self._failure_in(node)
        indices, = interpret(Graph(self.plan.graph.inputs, (node.inputs[1],)), self.last)
        extent = node.inputs[0].shape[node.attrs["axis"]]
        wrong = np.argwhere((indices < -extent) | (indices >= extent))
        if not len(wrong):  # computed from floats, which the meanings round in other places than machine code
            return BoundsError(explain("an index is out of bounds", expected=f"0 to {extent - 1}",
                                       at=describe_frame(node.where), layer=node.layer))
        return index_error(indices, tuple(int(i) for i in wrong[0]), extent, at=describe_frame(node.where),
                           layer=node.layer)

    def _failure_in(self, loop: Node) -> BoundsError:
        """The first failure in a loop, found by running it again round by round."""
        try:
            host_function(loop, Program)(*interpret(Graph(self.plan.graph.inputs, loop.inputs), self.last))
        except BoundsError as error:
            return error
        return BoundsError(explain("an index or a value in a loop is out of bounds", at=describe_frame(loop.where),
                                   layer=loop.layer))

    def _unmet(self, node: Node) -> BoundsError:
        values, ok = interpret(Graph(self.plan.graph.inputs, node.inputs), self.last)
        return node.attrs["demand"].error(values, ok, at=describe_frame(node.where), layer=node.layer)

    def repeat(self, data: Sequence[np.ndarray], rows: int, flag: int, keep: frozenset[int], results: int) -> Any:
        """Many steps in one call (see `repeat.Repeat`), or None: all outputs but the first `results` are to be in
        place."""
        if any(place >= 0 for place, _, _ in self.makers[results:]) or not Repeat.fits(self, data, rows):
            return None
        return Repeat(self, data, rows, flag, keep)

    @property
    def working_bytes(self) -> int:
        """Bytes of the arena."""
        return self.arena.nbytes

    # ---- looking at it

    def show(self, stage: str) -> str:
        """The program as text: "kernels", "llvm" or "asm"."""
        if stage == "kernels":
            return describe(self.plan)
        written = self.target.module("program")
        self.write(written, self._segments())
        module = engine.optimised(str(written), self.target)
        return str(module) if stage == "llvm" else engine.assembly(module, self.target)

    def profile(self, arrays: Sequence[np.ndarray], repeat: int = 5) -> list[tuple[str, str, float, float, float]]:
        """(name, kind, seconds, GFLOP/s, GB/s) of every step, on one thread, the best of some runs."""
        return profile(self, arrays, repeat)


def _after_fork() -> None:
    renew_locks()
    for program in list(_programs):
        program.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
