# SPDX-License-Identifier: Apache-2.0
"""A tiny engine for kernel tests: LLVM module in, Python callables on NumPy arrays out."""

from __future__ import annotations

import ctypes
import threading

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from chainrule.native.target import Target


def initialize() -> None:
    """Make LLVM ready for every processor it was built for."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()


def machine(target: Target) -> llvm.TargetMachine:
    """LLVM's code generator for a target."""
    initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.processor, features=target.features, opt=2, reloc="pic", codemodel="default")


def optimise(module: ir.Module, target: Target, level: int = 1) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """Parse, verify and lightly optimise a module."""
    code_generator = machine(target)
    module.triple = target.triple
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(code_generator, options)
    builder.getModulePassManager().run(parsed, builder)
    return parsed, code_generator


def assembly(module: ir.Module, target: Target) -> str:
    """The machine code of a module as text."""
    parsed, code_generator = optimise(module, target)
    return code_generator.emit_assembly(parsed)


class Compiled:
    """The functions of a compiled module, called in turn for each thread."""

    def __init__(self, module: ir.Module, functions: list[ir.Function], target: Target, level: int = 1):
        parsed, code_generator = optimise(module, target, level)
        self.engine = llvm.create_mcjit_compiler(parsed, code_generator)
        self.engine.finalize_object()
        self.functions = []
        for function in functions:
            pointers = len(function.args) - 2
            prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers, ctypes.c_int64, ctypes.c_int64)
            self.functions.append(prototype(self.engine.get_function_address(function.name)))

    def __call__(self, arrays: list[np.ndarray], scratch: np.ndarray, threads: int = 1, real: bool = False) -> None:
        """Run phase after phase: all threads one after the other, or (`real`) side by side."""
        pointers = [array.ctypes.data for array in arrays] + [scratch.ctypes.data]
        for function in self.functions:
            if real:
                workers = [threading.Thread(target=function, args=(*pointers, thread, threads))
                           for thread in range(threads)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
            else:
                for thread in range(threads):
                    function(*pointers, thread, threads)


def aligned(size: int) -> np.ndarray:
    """`size` bytes that start on a cache line, filled with NaNs so that nobody counts on zeros."""
    room = np.full(size + 64, 255, dtype=np.uint8)
    start = -room.ctypes.data % 64
    return room[start:start + size]
