# SPDX-License-Identifier: Apache-2.0
"""The thread pool: worker threads that run one machine-code function side by side with the caller.

A worker waits in machine code for a new job number, without Python and without its lock, so a call that follows soon
finds it awake; after a while it falls asleep on a semaphore. Handing over a job is three words and a look at who
sleeps. The caller is thread 0; a segment ends with a barrier, so when the caller returns, all have finished.

A worker that was woken on a core on which another thread of its job runs would stay there for seconds, since threads
that offer each other the core in turns look busy and fresh to the scheduler. It notices that at the beginning of a job
and moves away: it forbids itself those cores and at once allows them again, so nothing is pinned.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..llvm.writer import INDEX, POINTER, Writer, intrinsic
from ..target import Target
from .barrier import spin
from .code import engine, load
from .code.pieces import Pieces

# words, each in a cache line of its own; from CORES on one for each thread
JOB, FUNCTION, ARGUMENT, STOP, ENDED, CORES = 0, 8, 16, 24, 32, 40
LINE = 8  # words
JOBS_APART = 16  # between two looks at the cores after a worker has moved
SPINS = 20_000  # rounds of waiting before a worker falls asleep, about 0.3 ms
ENTRY, FIRST = "wait_for_jobs", "run_first"


def emit_wait(module: ir.Module, target: Target) -> ir.Function:
    """``i64 wait_for_jobs(words, i64 seen, i64 thread, i64 threads, i64 spins, i64 blind)``: run jobs until none comes.

    Returns the last job that was run; also when a new one is there, but a thread of lower number is on the same core.
    So many jobs as `blind` says are run without looking.
    """
    function = ir.Function(module, ir.FunctionType(INDEX, [POINTER, INDEX, INDEX, INDEX, INDEX, INDEX]), ENTRY)
    words, seen, thread, threads, spins, blind = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    word = lambda i: b.gep(words, [INDEX(i)], source_etype=INDEX)
    last, left, unseeing = b.alloca(INDEX), b.alloca(INDEX), b.alloca(INDEX)
    b.store(seen, last)
    b.store(blind, unseeing)
    again = b.append_basic_block("again")
    b.branch(again)
    b.position_at_end(again)
    b.store(spins, left)

    def changed() -> ir.Value:
        rest = b.sub(b.load(left, typ=INDEX), INDEX(1))
        b.store(rest, left)
        new = b.load_atomic(word(JOB), "acquire", 8, typ=INDEX)
        return b.or_(b.icmp_signed("!=", new, b.load(last, typ=INDEX)), b.icmp_signed("<", rest, INDEX(0)))

    spin(b, target, changed)
    new = b.load_atomic(word(JOB), "acquire", 8, typ=INDEX)
    with b.if_then(b.icmp_signed("==", new, b.load(last, typ=INDEX))):
        b.ret(new)
    if "linux" in target.triple:
        _return_if_crowded(b, Writer(b, "float32", target), words, thread, last, unseeing)
    b.store(new, last)
    with b.if_then(b.icmp_signed("!=", b.load(word(STOP), typ=INDEX), INDEX(0))):
        b.ret(new)
    job = b.load(word(FUNCTION), typ=ir.PointerType(ir.FunctionType(ir.VoidType(), [POINTER, INDEX, INDEX])))
    b.call(job, [b.load(word(ARGUMENT), typ=POINTER), thread, threads])
    b.branch(again)
    return function


def emit_first(module: ir.Module) -> ir.Function:
    """``void run_first(words, i64 threads)``: the part of thread 0, and then the job's number as that of the last one
    that ended."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, INDEX]), FIRST)
    words, threads = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    word = lambda i: b.gep(words, [INDEX(i)], source_etype=INDEX)
    job = b.load(word(FUNCTION), typ=ir.PointerType(ir.FunctionType(ir.VoidType(), [POINTER, INDEX, INDEX])))
    b.call(job, [b.load(word(ARGUMENT), typ=POINTER), INDEX(0), threads])
    b.store(b.load(word(JOB), typ=INDEX), word(ENDED))
    b.ret_void()
    return function


def _return_if_crowded(b: ir.IRBuilder, writer: Writer, words: ir.Value, thread: ir.Value, last: ir.Value,
                       blind: ir.Value) -> None:
    """Note the core; return the last job if a thread of lower number is on it too."""
    core = b.sext(b.call(intrinsic(b.module, "sched_getcpu", ir.IntType(32), []), []), INDEX)
    place = lambda i: b.gep(words, [writer.add(writer.mul(i, LINE), CORES)], source_etype=INDEX)
    b.store(core, place(thread))
    rest = b.load(blind, typ=INDEX)
    b.store(b.sub(rest, INDEX(1)), blind)
    with b.if_then(b.icmp_signed("<=", rest, INDEX(0))), writer.loop(0, thread) as other:
        crowded = b.icmp_signed("==", b.load(place(other), typ=INDEX), core)
        with b.if_then(crowded, likely=False):
            b.ret(b.load(last, typ=INDEX))


class Pool:
    """`threads` - 1 workers; use `pool(threads)`."""

    def __init__(self, threads: int):
        self.threads, self.process = threads, os.getpid()
        self.words = (ctypes.c_int64 * (CORES + LINE * threads))()
        self.address = ctypes.addressof(self.words)
        self.lock, self.is_running = threading.RLock(), False
        self.memory: Any = None
        self.asleep = [False] * threads
        self.signals = [threading.Semaphore(0) for _ in range(threads)]
        self.wait, self.first = _functions()
        self.workers: list[threading.Thread] = []
        try:
            for i in range(1, 1 if _is_closing else threads):
                worker = threading.Thread(target=self._work, args=(i,), daemon=True, name=f"chainrule-{i}")
                worker.start()
                self.workers.append(worker)
        except RuntimeError:  # the system has no more threads for us
            self.close()
        if len(self.workers) < threads - 1:
            self.words[STOP] = 1

    def _work(self, thread: int) -> None:
        words, address, seen, blind = self.words, self.address, 0, 0
        while not words[STOP]:
            seen = self.wait(address, seen, thread, self.threads, SPINS, blind)
            self.asleep[thread] = True  # set before the last look, so that a job is never missed
            blind = 0
            if words[JOB] == seen and not words[STOP]:
                self.signals[thread].acquire()
            elif not words[STOP]:
                _move_away({words[CORES + LINE * other] for other in range(thread)})
                blind = JOBS_APART
            self.asleep[thread] = False

    def run(self, function: Callable[[int, int, int], None], entry: int, argument: int, memory: Any = None) -> None:
        """Run function(argument, thread, threads) on all threads; `entry` is its address.

        `memory` (the code and what the barrier reads) is kept until another job has ended: a worker may still be on its
        way out of the last barrier when the caller returns and drops the program. A job within a job, of a signal
        handler, runs on one thread.
        """
        with self.lock:
            if self.is_running or self.words[STOP]:
                function(argument, 0, 1)
                return
            self.is_running = True
            try:
                self._start(entry, argument)
                self.first(self.address, self.threads)
            except BaseException:  # an interrupt between the two; the workers wait for thread 0
                if self.words[ENDED] != self.words[JOB]:
                    self._wake()
                    self.first(self.address, self.threads)
                raise
            finally:
                self.memory = memory
                self.is_running = False

    def _start(self, entry: int, argument: int) -> None:
        words = self.words
        words[FUNCTION], words[ARGUMENT], words[CORES] = entry, argument, core()
        words[JOB] += 1
        self._wake()

    def _wake(self) -> None:
        for i in range(1, self.threads):
            if self.asleep[i]:
                self.asleep[i] = False
                self.signals[i].release()

    def close(self) -> None:
        """End the workers."""
        self.words[STOP] = 1
        self.words[JOB] += 1
        for i in range(1, self.threads):
            self.signals[i].release()
        for worker in self.workers:
            worker.join(timeout=1.0)


core: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu if sys.platform == "linux" else lambda: -1  # type: ignore[assignment]


def _move_away(cores: set[int]) -> None:
    """Let the calling thread run on none of these cores now, but where it likes later."""
    with contextlib.suppress(OSError):  # where the system forbids it, the worker stays: that is slower, and right
        allowed = os.sched_getaffinity(0)
        if allowed - cores:
            os.sched_setaffinity(0, allowed - cores)
            os.sched_setaffinity(0, allowed)


_pools: dict[int, Pool] = {}
_pools_lock = threading.RLock()
_library: engine.Library | None = None
_is_closing = False


def pool(threads: int) -> Pool:
    """The pool of so many threads, made at the first use and again in a forked process."""
    found = _pools.get(threads)
    if found is None:
        with _pools_lock:
            found = _pools.get(threads) or _pools.setdefault(threads, Pool(threads))
    return found


def _functions() -> tuple[Callable[..., int], Callable[..., None]]:
    """What workers run, and what thread 0 runs."""
    global _library
    if _library is None:
        _library = load.library((ENTRY, FIRST), _write, Target.host())
    words, number = ctypes.c_void_p, ctypes.c_int64
    wait = ctypes.CFUNCTYPE(number, words, *[number] * 5)(_library.address(ENTRY))
    return wait, ctypes.CFUNCTYPE(None, words, number)(_library.address(FIRST))


def _write(_: Any, pieces: Pieces) -> None:
    emit_wait(pieces.module, pieces.target)
    emit_first(pieces.module)


def _close_all() -> None:
    """End all workers; threads that still run programs while the interpreter ends do so alone."""
    global _is_closing
    _is_closing = True
    for found in list(_pools.values()):
        if found.process == os.getpid():
            found.close()


def _forget() -> None:
    """In a forked child the workers do not exist."""
    global _pools_lock
    _pools.clear()
    _pools_lock = threading.RLock()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
