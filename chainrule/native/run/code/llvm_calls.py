# SPDX-License-Identifier: Apache-2.0
"""The two long calls of LLVM, made without the lock that llvmlite holds during each call, so that several threads
compile at once.

Both touch nothing but their arguments. The functions are not of llvmlite's public face, so each is used only where it
is found as this file knows it (`PARAMETERS`); else the public call does the same, one thread at a time. A fork waits
until no thread is in LLVM, for a child that is born within would never see its locks opened.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

PARAMETERS = {"LLVMPY_RunNewModulePassManager": 3, "LLVMPY_TargetMachineEmitToMemory": 4}
LONGEST = 30.0  # seconds that a fork waits at most


class Gate:
    """Threads pass side by side; `close` waits until all others are out, and keeps them out until `open`."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside: list[int] = []

    @contextlib.contextmanager
    def passed(self) -> Iterator[None]:
        """Within."""
        me = threading.get_ident()
        with self.changed:
            self.inside.append(me)
        try:
            yield
        finally:
            with self.changed:
                self.inside.remove(me)
                self.changed.notify_all()

    def close(self) -> None:
        """Let nobody in; a thread that is within itself does not wait for itself."""
        self.changed.acquire()
        me = threading.get_ident()
        self.changed.wait_for(lambda: all(x == me for x in self.inside), LONGEST)

    def open(self) -> None:
        """Let all in again."""
        self.changed.release()

    def open_in_child(self) -> None:
        """The same in a forked process, in which there are no other threads."""
        me = threading.get_ident()
        self.inside = [x for x in self.inside if x == me]
        self.changed.release()


gate = Gate()
lock = threading.RLock()  # of the linker


@functools.cache
def _without_lock(name: str) -> Callable[..., Any] | None:
    """A function of LLVM without llvmlite's lock, if it is there with the parameters that are expected."""
    try:
        locked, function = getattr(ffi.lib, name), getattr(ctypes.CDLL(ffi.lib._name), name)
        function.argtypes, function.restype = locked.argtypes, locked.restype
        return function if len(function.argtypes) == PARAMETERS[name] else None
    except (AttributeError, OSError, TypeError):
        return None


def run_passes(passes: Any, module: Any, builder: Any) -> None:
    """Run passes over a module."""
    function = _without_lock("LLVMPY_RunNewModulePassManager")
    with gate.passed():
        if function is None:
            passes.run(module, builder)
        else:
            function(passes, module, builder)


def object_code(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    """The module as an object file."""
    function = _without_lock("LLVMPY_TargetMachineEmitToMemory")
    with gate.passed():
        return machine.emit_object(module) if function is None else _emitted(function, machine, module)


def _emitted(function: Callable[..., Any], machine: Any, module: Any) -> bytes:
    with ffi.OutputString() as error:
        memory = function(machine, module, 1, error)
        if not memory:
            raise RuntimeError(str(error))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(memory), ffi.lib.LLVMPY_GetBufferSize(memory))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


def _locks() -> list[Any]:
    """The locks that a child must find open: ours and llvmlite's own, if it has one."""
    return [lock, *(x for x in (getattr(ffi.lib, "_lock", None),) if hasattr(x, "__enter__"))]


def _before_fork() -> None:
    gate.close()
    for x in _locks():
        x.__enter__()


def _after_fork(open_gate: Callable[[], None]) -> None:
    for x in reversed(_locks()):
        x.__exit__(None, None, None)
    open_gate()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=lambda: _after_fork(gate.open),
                        after_in_child=lambda: _after_fork(gate.open_in_child))
