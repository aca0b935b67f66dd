# SPDX-License-Identifier: Apache-2.0
"""From LLVM text to machine code in memory.

In: modules. Out: object code, or the address of a function in it. Three passes are enough, because the kernels are
written as vectors, with every value at the loop level where it belongs; the usual pipeline takes far longer and gains
nothing. Each text is compiled in a context of its own, so several threads compile at the same time (`pieces`).
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm

from ...target import Target
from . import llvm_calls
from .llvm_calls import lock, run_passes


@functools.cache
def initialize() -> None:
    """Make LLVM ready for the host, once per process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


def target_machine(target: Target) -> llvm.TargetMachine:
    """LLVM's view of the processor."""
    initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.processor, features=target.features, opt=2, reloc="pic", codemodel="default", jit=True)


PASSES = ("sroa", "instruction_combine", "simplify_cfg")


class _Tools(threading.local):
    """What a thread uses again for each module: LLVM's view of a processor and the passes."""

    def __init__(self) -> None:
        self.known: dict[Target, tuple[Any, Any, Any]] = {}

    def of(self, target: Target) -> tuple[Any, Any, Any]:
        """(machine, passes, builder)."""
        if target not in self.known:
            machine, passes = target_machine(target), llvm.create_new_module_pass_manager()
            for name in PASSES:
                getattr(passes, f"add_{name}_pass")()
            self.known[target] = (machine, passes,
                                  llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1)))
        return self.known[target]


_tools = _Tools()


def optimised(text: str, target: Target) -> llvm.ModuleRef:
    """The module, verified and optimised: stack into registers, simpler instructions; loops are written as they should
    be."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    _, passes, builder = _tools.of(target)
    run_passes(passes, module, builder)
    return module


def object_code(module: llvm.ModuleRef, target: Target) -> bytes:
    """The module as an object file."""
    return llvm_calls.object_code(_tools.of(target)[0], module)


def assembly(module: llvm.ModuleRef, target: Target) -> str:
    """The module as assembly text."""
    return target_machine(target).emit_assembly(module)


class _Linker:
    """What links object code into this process. It gives the sections of a library one stretch of memory: code reaches
    its
    constants over 2 GiB at most, and in a process with large arrays free pages may lie farther apart than that.

    LLVM keeps some kilobytes for each library that has gone, until the linker goes; so one makes `LIBRARIES` of them
    and lives as long as these.
    """

    def __init__(self) -> None:
        self.compiler = llvm.create_lljit_compiler(target_machine(Target.host()), use_jit_link=True)
        self.left = LIBRARIES


LIBRARIES = 64
_number = itertools.count()
_linker: _Linker | None = None


def _next_linker() -> _Linker:
    global _linker
    if _linker is None or not _linker.left:
        _linker = _Linker()
    _linker.left -= 1
    return _linker


class Library:
    """Object code that is loaded into this process, files whose functions may call each other, until nobody refers to
    it any more."""

    def __init__(self, code: Sequence[bytes]):
        self.name = f"library{next(_number)}"
        builder = llvm.JITLibraryBuilder().add_current_process()
        for part in code:
            builder.add_object_img(part)
        with lock:
            self._linker = _next_linker()
            self._code = builder.link(self._linker.compiler, self.name)
        self._found: dict[str, llvm.ResourceTracker] = {}  # what an address is taken from keeps the code

    def address(self, name: str) -> int:
        """Where a function begins."""
        with lock:
            if name not in self._found:
                self._found[name] = self._linker.compiler.lookup(self.name, name)
            return self._found[name][name]
