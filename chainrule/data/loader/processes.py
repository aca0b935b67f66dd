# SPDX-License-Identifier: Apache-2.0
"""Workers that are processes, for samples whose making holds Python's lock: jobs go through pipes, batches through
shared memory.

Memory is shared as files that are mapped, in memory where the system has such a folder, and have no name any more once
both sides have opened them, so nothing stays behind, however the program ends. Room is reserved before it is used:
where there is too little, batches go through the pipe.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from ...errors import ArgumentError, ChainruleError, DataError, MissingExtra, explain
from ...foundations import tree
from .order import Job
from .work import Made, Work

ALIGNED = 64
METHOD = "fork" if sys.platform.startswith("linux") else "spawn"


class WorkerTraceback(Exception):
    """What an exception looked like in the worker's process."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


class Slot:
    """Shared memory for one batch, written by one worker; free when no array of it is held any more."""

    def __init__(self, size: int):
        shared = "/dev/shm"
        folder = shared if os.path.isdir(shared) and os.access(shared, os.W_OK) else None
        try:
            self.path, self.memory = _reserved(size, folder)
        except OSError:
            if folder is None:
                raise
            self.path, self.memory = _reserved(size, None)
        self.array = np.frombuffer(self.memory, np.uint8)
        self.size, self.busy, self.named = size, False, True

    def free(self) -> bool:
        """Whether it can be written again."""
        return not self.busy and sys.getrefcount(self.array) == UNUSED

    def forget_name(self) -> None:
        """Take the name away once both sides have it open; the memory goes with its last user."""
        if self.named:
            self.named = False
            try:
                os.unlink(self.path)
            except OSError:  # Windows keeps the names of open files
                self.named = os.path.exists(self.path)

    def __del__(self) -> None:
        if getattr(self, "named", False):
            self.forget_name()


def _reserved(size: int, folder: str | None) -> tuple[str, mmap.mmap]:
    handle, path = tempfile.mkstemp(prefix="chainrule-batch-", dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:
            os.truncate(handle, size)
        return path, mmap.mmap(handle, size)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(handle)


class _Held:
    def __init__(self) -> None:
        self.array = np.zeros(1, np.uint8)

    def count(self) -> int:
        return sys.getrefcount(self.array)


UNUSED = _Held().count()


@dataclass
class _Child:
    process: Any
    connection: Connection
    slots: list[Slot] = field(default_factory=list)
    jobs: dict[int, tuple[Future, Slot | None]] = field(default_factory=dict)
    gone: bool = False
    code: int | None = None


class Processes:
    """Worker processes; a thread here receives what they make and sees when one of them dies."""

    def __init__(self, work: Work, workers: int):
        context = multiprocessing.get_context(METHOD)
        self._children: list[_Child] = []
        self._lock, self._numbers, self._needed, self._open, self._owner = threading.Lock(), 0, 0, True, os.getpid()
        _check_sendable(work)
        for _ in range(workers):
            self._children.append(_start(context, work, [child.connection for child in self._children]))
        self._waker, self._woken = context.Pipe()
        self._pump = threading.Thread(target=self._receive, daemon=True, name="loader-receiver")
        self._pump.start()

    def submit(self, job: Job | None) -> Future:
        """Have a batch made by the worker that has least to do."""
        future: Future = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            child = min(self._children, key=lambda one: (one.gone, len(one.jobs)))
            if child.gone:  # all are
                future.set_exception(_died(child.code))
                return future
            self._numbers += 1
            number, slot = self._numbers, self._slot(child)
            child.jobs[number] = (future, slot)
        try:
            child.connection.send((number, job, None if slot is None else (slot.path, slot.size)))
        except (OSError, ValueError):
            self._dead(child)
        return future

    def _slot(self, child: _Child) -> Slot | None:
        """Memory for a batch of the largest size seen so far; None for the first, and where there is none to be had."""
        if not self._needed:
            return None
        child.slots = [slot for slot in child.slots if slot.size >= self._needed or not slot.free()]
        found = next((slot for slot in child.slots if slot.size >= self._needed and slot.free()), None)
        if found is None:
            try:
                found = Slot(self._needed)
            except OSError:
                return None
            child.slots.append(found)
        found.busy = True
        return found

    def _receive(self) -> None:
        while self._open:
            alive = [child for child in self._children if not child.gone]
            by_end = {child.connection: child for child in alive} | {child.process.sentinel: child for child in alive}
            for ready in wait([*by_end, self._woken]):
                if ready is self._woken:
                    return
                child = by_end[ready]  # type: ignore[index]
                if child.gone:
                    continue
                try:
                    while child.connection.poll():
                        self._take(child, child.connection.recv())
                except (EOFError, OSError):
                    self._dead(child)
                    continue
                except Exception as error:  # what was sent cannot be made again here
                    self._dead(child, _remade(type(error).__name__, str(error),
                                              "".join(traceback.format_exception(error))))
                    continue
                if ready == child.process.sentinel:
                    self._dead(child)

    def _take(self, child: _Child, message: tuple[int, str, Any]) -> None:
        number, kind, content = message
        with self._lock:
            future, slot = child.jobs.pop(number)
        if kind == "error":
            future.set_exception(_remade(*content))
        elif kind == "shared":
            future.set_result(_from_slot(slot, *content))  # type: ignore[arg-type]
        else:
            made, size = content
            self._needed = max(self._needed, size)
            future.set_result(made)
        if slot is not None:
            slot.busy = False
            if kind == "shared":
                slot.forget_name()

    def _dead(self, child: _Child, error: Exception | None = None) -> None:
        """All that a worker had to do fails with the error, or with what ended it."""
        code = None if error else _exit_code(child.process)
        with self._lock:
            if child.gone:
                return
            child.gone, child.code, jobs, child.jobs = True, code, list(child.jobs.values()), {}
        for future, _ in jobs:
            future.set_exception(error or _died(child.code))

    def close(self) -> None:
        """End all workers now."""
        if not self._open or self._owner != os.getpid():
            return
        self._open = False
        self._waker.send(None)
        if threading.current_thread() is not self._pump:
            self._pump.join(5)
        for child in self._children:
            child.process.terminate()
        for child in self._children:
            child.process.join(5)
            if child.process.is_alive():
                child.process.kill()
                child.process.join()
            child.connection.close()
            child.process.close()
            for slot in child.slots:
                slot.forget_name()
        self._waker.close()
        self._woken.close()


    def join(self) -> None:
        """They have ended when they are closed."""


def _start(context: Any, work: Work, others: list[Connection]) -> _Child:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, os.getpid(), [ours, *others] if METHOD == "fork"
                                                   else []), daemon=True, name="loader")
    with warnings.catch_warnings():
        # of Python and JAX, of forks beside threads: ours are at rest then, and a worker runs none of JAX's
        for kind in (DeprecationWarning, RuntimeWarning):
            warnings.simplefilter("ignore", kind)
        with _without_ctrl_c():
            process.start()
    theirs.close()
    return _Child(process, ours)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """A Ctrl-C that comes within waits, so that a worker never hears one before it can say that it does not want to."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_sendable(work: Work) -> None:
    if METHOD == "fork":
        return
    try:
        pickle.dumps(work)
    except Exception as error:
        raise ArgumentError(explain("the source cannot be sent to another process",
                                    got=f"{type(error).__name__}: {error}",
                                    fix="use functions with names, defined in a module; or threads: leave out "
                                        "processes=True")) from error


def _exit_code(process: Any) -> int | None:
    """The exit code of a process that is ending; another thread may be the one that reaps it, and tells it a moment
    later."""
    until = time.monotonic() + 1
    while process.exitcode is None and time.monotonic() < until:
        process.join(0.01)
        time.sleep(0.001)
    return process.exitcode


def _died(code: int | None) -> DataError:
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = f"ended by {signal.Signals(-code).name}" + (", as by a system that is short of memory" if code == -9
                                                          else "")
    return DataError(explain("a worker process of the loader died", got=how,
                             expected="workers that live as long as the loader",
                             fix="workers=0 shows where; iterating again starts new workers and goes on with the batch "
                                 "that was to come"))


# ---- in the worker


def _serve(connection: Connection, work: Work, parent: int, inherited: list[Connection]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's, which then ends its workers
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for other in inherited:
        other.close()
    opened: dict[str, mmap.mmap] = {}
    try:
        while True:
            while not connection.poll(1.0):
                if hasattr(os, "getppid") and os.getppid() != parent and METHOD == "fork":
                    return
            number, job, slot = connection.recv()
            _send(connection, number, _made(work, job, slot, opened))
    except (EOFError, OSError):
        return


def _send(connection: Connection, number: int, made: tuple[str, Any]) -> None:
    try:
        connection.send((number, *made))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        connection.send((number, "error",
                         ("ArgumentError", explain("a batch cannot be sent from a worker process",
                                                   got=f"{type(error).__name__}: {error}",
                                                   expected="arrays, numbers and texts",
                                                   fix="leave out processes=True"), "")))


def _made(work: Work, job: Job, slot: tuple[str, int] | None, opened: dict[str, mmap.mmap]) -> tuple[str, Any]:
    try:
        made = work(job)
        leaves, structure = tree.flatten(made.batch)
        size = sum(_room(leaf) for leaf in leaves)
        if slot is None or size > slot[1] or not size:
            return "sent", (made, size)
        return "shared", (_write(leaves, _opened(slot, opened)), structure, made.skipped)
    except BaseException as error:
        return "error", (type(error).__name__, str(error), "".join(traceback.format_exception(error)))


def _opened(slot: tuple[str, int], opened: dict[str, mmap.mmap]) -> mmap.mmap:
    path, size = slot
    if path not in opened:
        with open(path, "r+b") as file:
            opened[path] = mmap.mmap(file.fileno(), size)
    return opened[path]


def _shared(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and not leaf.dtype.hasobject


def _room(leaf: Any) -> int:
    return -(-leaf.nbytes // ALIGNED) * ALIGNED if _shared(leaf) else 0


def _write(leaves: list[Any], memory: mmap.mmap) -> list[Any]:
    """The arrays into the memory; where each lies, and what is no such array as it is."""
    places, offset = list[Any](), 0
    for leaf in leaves:
        if not _shared(leaf):
            places.append((None, leaf, None))
            continue
        np.frombuffer(memory, leaf.dtype, leaf.size, offset).reshape(leaf.shape)[...] = leaf
        places.append((offset, leaf.dtype, leaf.shape))
        offset += _room(leaf)
    return places


# ---- back here


def _from_slot(slot: Slot, places: list[Any], structure: tree.Tree, skipped: list[Any]) -> Made:
    leaves = [what if offset is None else slot.array[offset:offset + what.itemsize
                                                     * int(np.prod(shape, dtype=np.int64))].view(what).reshape(shape)
              for offset, what, shape in places]
    return Made(tree.unflatten(structure, leaves), skipped)


def _remade(kind: str, text: str, trace: str) -> Exception:
    from ... import errors
    found = getattr(errors, kind, None)
    known = isinstance(found, type) and issubclass(found, ChainruleError) and found is not MissingExtra
    error = found(text) if known else DataError(f"a worker of the loader failed: {kind}: {text}")  # type: ignore[misc]
    error.__cause__ = WorkerTraceback(trace)
    return error
