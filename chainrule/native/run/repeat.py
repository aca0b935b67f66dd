# SPDX-License-Identifier: Apache-2.0
"""`Repeat`: one program on many batches in one call, without Python between the steps.

In: a program whose first inputs are batches and whose other inputs are state that it updates in place; the arrays from
which the batches are taken; the rows of each. The driver below is machine code that every thread runs: it gathers the
rows of a batch, moves the entries of the results, calls the program's segment, and ends after the first step whose flag
is false. It knows nothing of the program, so it is compiled once. The bits are those of one call per step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from threading import get_ident
from typing import Any

import numpy as np
from llvmlite import ir

from ..llvm.writer import INDEX, POINTER, Writer, intrinsic
from ..target import Target
from .barrier import STATUS, emit_barrier
from .code import engine, load
from .code.pieces import Pieces
from .memory import PROTOTYPE, aligned
from .pace import Pace
from .runnable import Runnable
from .segment import CONTROL
from .threads import pool

ENTRY = "repeat"
# words of a job
STEPS, SEGMENT, TABLE, CONTROL_PLACE, FLAG, FLAG_STRIDE, RAN, CHOSEN, ROWS, SOURCES, RESULTS, HEAD = range(12)
WORDS = 3  # of each source (from, bytes of a row, to) and of each result (entry, first address, stride)
BYTE, LINE = ir.IntType(8), 64


class Repeat:
    """Many steps of `program`; `data` are the arrays from which `rows` rows become each of its first inputs.

    `flag` is the number of the output that says whether to go on; of the outputs in `keep` the values of every step are
    kept.
    """

    def __init__(self, program: Runnable, data: Sequence[np.ndarray], rows: int, flag: int, keep: frozenset[int]):
        self.program, self.data, self.rows, self.flag, self.keep = program, list(data), rows, flag, keep
        self.batches = [aligned(rows * x[:1].nbytes).view(x.dtype).reshape(rows, *x.shape[1:]) for x in data]
        # outputs: number, entry, shape, dtype
        self.fresh = [(i, *maker) for i, maker in enumerate(program.makers) if maker[0] >= 0]
        self.in_place = {i: index for i, (place, index, _) in enumerate(program.makers) if place < 0}
        self.job = np.zeros(HEAD + WORDS * (len(data) + len(self.fresh)), np.int64)
        address, self.library = _driver()
        function: Any = PROTOTYPE(address)
        place = self.job.ctypes.data
        alone = lambda: function(place, 0, 1)
        self.run = (Pace(lambda: pool(program.threads).run(function, address, place, self), alone) if program.parallel
                    else alone)

    @staticmethod
    def fits(program: Runnable, data: Sequence[np.ndarray], rows: int) -> bool:
        """Whether the program is one segment, updates all its state in place, and takes rows of these arrays."""
        kinds = [((rows, *x.shape[1:]), x.dtype) for x in data]
        return program.code.segments == (True,) and program.kinds[:len(data)] == kinds and not any(
            place < 0 and index < len(data)
            for place, index, _ in program.makers) and all(x.flags.c_contiguous and x.nbytes for x in data)

    def __call__(self, chosen: np.ndarray, state: Sequence[np.ndarray]) -> tuple[int, list[Any]]:
        """(steps that were run, outputs): at most one step for each row of `chosen`, int64 (steps, rows).

        Outputs in `keep` have an axis of steps in front, other outputs are None or, if they are state, the updated
        arrays.
        """
        program, chosen = self.program, np.ascontiguousarray(chosen, np.int64)
        with program.lock:
            if program.owner:
                return Repeat(program.twin(), self.data, self.rows, self.flag, self.keep)(chosen, state)
            program.owner = get_ident()
            try:
                results = self._steps(chosen, state)
            finally:
                program.owner = 0
        outputs = [results.get(i) if i in self.keep or i in self.in_place else None for i in range(len(program.makers))]
        return int(self.job[RAN]), outputs

    def _steps(self, chosen: np.ndarray, state: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Run them; the arrays of the results."""
        program = self.program
        program.bind([*self.batches, *state])
        results = self._results(len(chosen))
        self._fill(chosen, results)
        if isinstance(self.run, Pace):
            self.run(len(chosen))
        else:
            self.run()
        if program.checked and program.control[STATUS]:
            program.fail(int(self.job[RAN]) - 1)
        return results

    def _results(self, steps: int) -> dict[int, np.ndarray]:
        """An array for each output; those that are not kept have room for one step."""
        found = {i: np.empty((steps if i in self.keep or i == self.flag else 1, *shape), dtype)
                 for i, _, shape, dtype in self.fresh}
        return found | {i: self.program.last[index] for i, index in self.in_place.items()}

    def _fill(self, chosen: np.ndarray, results: dict[int, np.ndarray]) -> None:
        program, job, address = self.program, self.job, lambda x: x.__array_interface__["data"][0]
        segment = program.library.address("segment0")  # type: ignore[union-attr]
        stride = lambda x: x[0].nbytes if len(x) > 1 else 0
        flags = results[self.flag]
        job[:HEAD] = (len(chosen), segment, program.address, program.table[CONTROL], address(flags), stride(flags), 0,
                      address(chosen), self.rows, len(self.data), len(self.fresh))
        sources = [(address(x), x[:1].nbytes, address(batch)) for x, batch in zip(self.data, self.batches, strict=True)]
        places = [(place, address(results[i]), stride(results[i])) for i, place, _, _ in self.fresh]
        job[HEAD:] = np.array([*sources, *places], np.int64).ravel()


@functools.cache
def _driver() -> tuple[int, engine.Library]:
    """(address, code) of the driver."""
    target = Target.host()
    library = load.library(ENTRY, _write, target)
    return library.address(ENTRY), library


def _write(name: str, pieces: Pieces) -> None:
    """``void repeat(job, i64 thread, i64 threads)``."""
    function = ir.Function(pieces.module, ir.FunctionType(ir.VoidType(), [POINTER, INDEX, INDEX]), name)
    function.attributes.add("nounwind")
    _Driver(function, pieces.target).emit()


class _Driver:
    """The driver being written."""

    def __init__(self, function: ir.Function, target: Target):
        self.function, (self.job, self.thread, self.threads) = function, function.args
        self.barrier = emit_barrier(function.module, target)
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.writer = Writer(self.builder, "float32", target)

    def word(self, place: ir.Value | int) -> ir.Value:
        """A word of the job."""
        return self.builder.load(self.writer.at(self.job, place, INDEX), typ=INDEX)

    def pointer(self, place: ir.Value | int) -> ir.Value:
        """A word of the job that is an address."""
        return self.builder.load(self.writer.at(self.job, place, INDEX), typ=POINTER)

    def emit(self) -> None:
        """The loop over steps."""
        b, writer = self.builder, self.writer
        self.control, self.sources, self.results = self.pointer(CONTROL_PLACE), self.word(SOURCES), self.word(RESULTS)
        segment = self.word(SEGMENT)
        segment = b.inttoptr(segment, ir.PointerType(ir.FunctionType(ir.VoidType(), [POINTER, INDEX, INDEX])))
        with writer.loop(0, self.word(STEPS)) as step:
            with writer.loop(0, self.sources) as number:
                self._gather(step, writer.add(writer.mul(number, WORDS), HEAD))
            with b.if_then(b.icmp_unsigned("==", self.thread, INDEX(0))):
                self._place_results(step)
            b.call(self.barrier, [self.control, self.threads])
            b.call(segment, [self.pointer(TABLE), self.thread, self.threads])
            self._leave_if_asked(step)
        self._leave()

    def _gather(self, step: ir.Value, source: ir.Value) -> None:
        """The rows of one batch; each thread copies its share of every row, for it is rows of weights that threads
        share out."""
        writer, b = self.writer, self.builder
        start, size, target = (self.pointer(source), self.word(writer.add(source, 1)),
                               self.pointer(writer.add(source, 2)))
        lines, _ = writer.divide(writer.add(size, LINE - 1), LINE)
        begin, end = (writer.minimum(writer.mul(x, LINE), size) for x in writer.share(lines, self.thread, self.threads))
        rows = self.word(ROWS)
        chosen = writer.at(self.pointer(CHOSEN), writer.mul(step, rows), INDEX)
        memcpy = intrinsic(b.module, "llvm.memcpy.p0.p0.i64", ir.VoidType(), [POINTER, POINTER, INDEX, ir.IntType(1)])
        with b.if_then(writer.less(begin, end)), writer.loop(0, rows) as row:
            place = b.load(writer.at(chosen, row, INDEX), typ=INDEX)
            to, from_ = (writer.at(x, writer.add(writer.mul(i, size), begin), BYTE)
                         for x, i in ((target, row), (start, place)))
            b.call(memcpy, [to, from_, writer.sub(end, begin), ir.IntType(1)(0)])

    def _place_results(self, step: ir.Value) -> None:
        """The entries of this step's results in the table, and the number of this step."""
        writer, b = self.writer, self.builder
        b.store(writer.add(step, 1), writer.at(self.job, RAN, INDEX))
        with writer.loop(0, self.results) as number:
            result = writer.add(writer.mul(writer.add(self.sources, number), WORDS), HEAD)
            entry, first, stride = (self.word(writer.add(result, i)) for i in range(WORDS))
            b.store(writer.add(first, writer.mul(step, stride)), writer.at(self.pointer(TABLE), entry, INDEX))

    def _leave_if_asked(self, step: ir.Value) -> None:
        """Return after a failed check or a flag that is false; all threads see the same, because a segment ends with a
        barrier."""
        writer, b = self.writer, self.builder
        flag = b.load(writer.at(self.pointer(FLAG), writer.mul(step, self.word(FLAG_STRIDE)), BYTE), typ=BYTE)
        status = b.load(writer.at(self.control, STATUS, INDEX), typ=INDEX)
        asked = b.or_(b.icmp_unsigned("==", flag, BYTE(0)), b.icmp_unsigned("!=", status, INDEX(0)))
        with b.if_then(asked, likely=False):
            self._leave()

    def _leave(self) -> None:
        """Return when all threads have read the flag, for its memory goes as soon as the first returns."""
        self.builder.call(self.barrier, [self.control, self.threads])
        self.builder.ret_void()
