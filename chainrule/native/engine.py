# SPDX-License-Identifier: Apache-2.0
"""From LLVM text to machine code in memory.

In: modules. Out: object code, or the address of a function in it. Three passes are enough, because the kernels are written
as vectors, with every value at the loop level where it belongs; the usual pipeline takes far longer and gains nothing.
"""

from __future__ import annotations

import functools
import itertools
import threading

import llvmlite.binding as llvm

from .target import Target

_lock = threading.Lock()


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


def optimised(text: str, target: Target) -> llvm.ModuleRef:
    """The module, verified and optimised: stack into registers, simpler instructions; loops are written as they should be."""
    with _lock:
        module = llvm.parse_assembly(text)
        module.verify()
        passes = llvm.create_new_function_pass_manager()
        for name in PASSES:
            getattr(passes, f"add_{name}_pass")()
        builder = llvm.create_pass_builder(target_machine(target), llvm.create_pipeline_tuning_options(speed_level=1))
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)
    return module


def object_code(module: llvm.ModuleRef, target: Target) -> bytes:
    """The module as an object file."""
    with _lock:
        return target_machine(target).emit_object(module)


def assembly(module: llvm.ModuleRef, target: Target) -> str:
    """The module as assembly text."""
    with _lock:
        return target_machine(target).emit_assembly(module)


@functools.cache
def _linker() -> llvm.LLJIT:
    """What links object code into this process. It gives the sections of a library one stretch of memory: code reaches its
    constants over 2 GiB at most, and in a process with large arrays free pages may lie farther apart than that.
    """
    return llvm.create_lljit_compiler(target_machine(Target.host()), use_jit_link=True)


_number = itertools.count()


class Library:
    """Object code that is loaded into this process."""

    def __init__(self, code: bytes):
        self.name = f"library{next(_number)}"
        with _lock:
            self._code = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().link(_linker(), self.name)
        self._found: list[llvm.ResourceTracker] = []  # what an address is taken from keeps the code

    def address(self, name: str) -> int:
        """Where a function begins."""
        with _lock:
            self._found.append(_linker().lookup(self.name, name))
        return self._found[-1][name]
