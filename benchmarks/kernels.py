# SPDX-License-Identifier: Apache-2.0
"""How near the product and convolution kernels come to the limit of this processor, on one thread and on several.

    python benchmarks/kernels.py [part of a row's name …]

The limit is measured beside the kernels: a register tile whose operands stay in the first cache level, the best of the
same number of runs. Each row prints GFLOP/s and the share of that limit; a row's time is the best of several calls, all
threads started together and waited for. Kernels alone, no framework around them.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
from llvmlite import ir

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "native"))

from kernel_engine import Compiled, aligned

from chainrule.native.kernels.convolution.convolution import convolution_scratch, emit_convolution
from chainrule.native.kernels.convolution.spec import KINDS, ConvSpec
from chainrule.native.kernels.product.product import ProductSpec, emit_product, product_scratch
from chainrule.native.target import Target

HOST = Target.host()
CALLS = 12
SAME = ((1, 1), (1, 1))
dense = ProductSpec.dense

# fmt: off
PRODUCTS = {
    "mlp-b1 784x128":           dense(1, 128, 784),
    "mlp-b1 128x10":            dense(1, 10, 128),
    "mlp-b32 784x128":          dense(32, 128, 784),
    "mlp-b32 128x10":           dense(32, 10, 128),
    "mlp-b32 dW 784x128":       dense(784, 128, 32, transpose_a=True),
    "mlp-b32 dW 128x10":        dense(128, 10, 32, transpose_a=True),
    "mlp-b32 dX 10x128":        dense(32, 128, 10, transpose_b=True),
    "mlp-b128 784x128":         dense(128, 128, 784),
    "mlp-b128 dW 784x128":      dense(784, 128, 128, transpose_a=True),
    "mlp-b128 dX 10x128":       dense(128, 128, 10, transpose_b=True),
    "cnn-b64 dense 9216x128":   dense(64, 128, 9216),
    "cnn-b64 dense dX":         dense(64, 9216, 128, transpose_b=True),
    "cnn-b64 dense dW":         dense(9216, 128, 64, transpose_a=True),
    "lstm256 step":             dense(32, 1024, 256),
    "lstm256 step dX":          dense(32, 256, 1024, transpose_b=True),
    "lstm256 dW":               dense(256, 1024, 2048, transpose_a=True),
    "gru128 step":              dense(16, 384, 128),
    "gpt-d128 qkv":             dense(2048, 384, 128),
    "gpt-d128 ffn up":          dense(2048, 512, 128),
    "gpt-d128 ffn down":        dense(2048, 128, 512),
    "gpt-d128 ffn down dX":     dense(2048, 512, 128, transpose_b=True),
    "gpt-d128 ffn down dW":     dense(512, 128, 2048, transpose_a=True),
    "gpt-d128 attention QK":    dense(128, 128, 32, batch=(64,), transpose_b=True),
    "gpt-d128 attention AV":    dense(128, 32, 128, batch=(64,)),
    "gpt-d128 attention dV":    dense(128, 32, 128, batch=(64,), transpose_a=True),
    "gpt-d384 qkv":             dense(2048, 1152, 384),
    "gpt-d384 ffn up":          dense(2048, 1536, 384),
    "gpt-d384 ffn down":        dense(2048, 384, 1536),
    "gpt-d384 ffn down dX":     dense(2048, 1536, 384, transpose_b=True),
    "gpt-d384 ffn down dW":     dense(1536, 384, 2048, transpose_a=True),
    "gpt-d384 attention QK":    dense(256, 256, 64, batch=(48,), transpose_b=True),
    "gpt-d384 attention AV":    dense(256, 64, 256, batch=(48,)),
    "vector times matrix 4096": dense(1, 4096, 4096),
    "matrix times vector 4096": dense(4096, 1, 4096),
    "long reduction 64x64":     dense(64, 64, 65536, transpose_a=True),
    "odd 513^3":                dense(513, 513, 513),
    "matmul-2048":              dense(2048, 2048, 2048),
}
CONVOLUTIONS = {
    "mnist-cnn 1-32":           ConvSpec(64, (28, 28), (3, 3), 1, 32),
    "mnist-cnn 32-64":          ConvSpec(64, (26, 26), (3, 3), 32, 64),
    "mnist-cnn-b1 32-64":       ConvSpec(1, (26, 26), (3, 3), 32, 64),
    "resnet20 3-16":            ConvSpec(128, (32, 32), (3, 3), 3, 16, padding=SAME),
    "resnet20 16-16":           ConvSpec(128, (32, 32), (3, 3), 16, 16, padding=SAME),
    "resnet20 16-32 stride 2":  ConvSpec(128, (32, 32), (3, 3), 16, 32, stride=(2, 2), padding=SAME),
    "resnet20 16-32 pointwise": ConvSpec(128, (32, 32), (1, 1), 16, 32, stride=(2, 2)),
    "resnet20 32-32":           ConvSpec(128, (16, 16), (3, 3), 32, 32, padding=SAME),
    "resnet20 64-64":           ConvSpec(128, (8, 8), (3, 3), 64, 64, padding=SAME),
    "resnet20-b1 16-16":        ConvSpec(1, (32, 32), (3, 3), 16, 16, padding=SAME),
    "resnet20-b1 64-64":        ConvSpec(1, (8, 8), (3, 3), 64, 64, padding=SAME),
    "resnet50 64-64":           ConvSpec(8, (56, 56), (3, 3), 64, 64, padding=SAME),
    "resnet50 512-512":         ConvSpec(8, (7, 7), (3, 3), 512, 512, padding=SAME),
    "resnet50 pointwise":       ConvSpec(32, (14, 14), (1, 1), 256, 256),
    "resnet50 stem 7x7":        ConvSpec(4, (224, 224), (7, 7), 3, 64, stride=(2, 2), padding=((3, 3), (3, 3))),
    "depthwise 3x3 64":         ConvSpec(16, (28, 28), (3, 3), 64, 64, padding=SAME, groups=64),
    "audio 64-64":              ConvSpec(16, (1000,), (9,), 64, 64, padding=((4, 4),)),
    "video 16-16":              ConvSpec(2, (8, 28, 28), (3, 3, 3), 16, 16, padding=((1, 1),) * 3),
}
# fmt: on


class Team:
    """Threads that run the same native functions side by side and meet after each."""

    def __init__(self, size: int):
        self.size, self.job, self.meet = size, ([], []), threading.Barrier(size)
        self.start, self.finish = threading.Barrier(size + 1), threading.Barrier(size + 1)
        for thread in range(size):
            threading.Thread(target=self._work, args=(thread,), daemon=True).start()

    def _work(self, thread: int) -> None:
        if self.size > 1 and hasattr(os, "sched_setaffinity"):  # else the scheduler may wake all of them on one core
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[thread % len(cores)]})
        while True:
            self.start.wait()
            functions, pointers = self.job
            for function in functions:
                function(*pointers, thread, self.size)
                if self.size > 1 and len(functions) > 1:
                    self.meet.wait()
            self.finish.wait()

    def run(self, functions: list, pointers: list[int]) -> None:
        self.job = functions, pointers
        self.start.wait()
        self.finish.wait()


REPEAT = 2e-3  # seconds that one measured call should last at least


def repeated(module: ir.Module, functions: list[ir.Function]) -> list[ir.Function]:
    """Wrappers with one more leading argument, the number of repetitions, so that short kernels are timed in a loop."""
    wrapped = []
    for function in functions:
        kinds = [ir.PointerType(), *function.function_type.args]
        wrapper = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), f"{function.name}_repeated")
        builder = ir.IRBuilder(wrapper.append_basic_block())
        loop, after = builder.append_basic_block(), builder.append_basic_block()
        count, before = builder.ptrtoint(wrapper.args[0], ir.IntType(64)), builder.block
        builder.branch(loop)
        builder.position_at_end(loop)
        left = builder.phi(ir.IntType(64))
        builder.call(function, wrapper.args[1:])
        following = builder.sub(left, ir.IntType(64)(1))
        left.add_incoming(count, before)
        left.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed(">", following, ir.IntType(64)(0)), loop, after)
        builder.position_at_end(after)
        builder.ret_void()
        wrapped.append(wrapper)
    return wrapped


def seconds(module: ir.Module, functions: list[ir.Function], arrays: list[np.ndarray], scratch: np.ndarray, team: Team,
            work: float) -> tuple[float, float]:
    """(best time of one call, time to compile)."""
    began = time.perf_counter()
    kernel = Compiled(module, repeated(module, functions), HOST)
    compile_time = time.perf_counter() - began
    repetitions = max(1, int(REPEAT * 1e11 * team.size / max(1.0, work)))
    pointers = [ctypes.c_void_p(repetitions), *[array.ctypes.data for array in arrays], scratch.ctypes.data]
    best = float("inf")
    for _ in range(CALLS):
        began = time.perf_counter()
        team.run(kernel.functions, pointers)
        best = min(best, time.perf_counter() - began)
    return best / repetitions, compile_time


def product_row(spec: ProductSpec, team: Team) -> tuple[float, float]:
    rng, items, module = np.random.default_rng(0), int(np.prod(spec.batch)), ir.Module()
    arrays = [rng.standard_normal(items * size).astype(spec.dtype)
              for size in (spec.m * spec.k, spec.k * spec.n, spec.m * spec.n)]
    functions = emit_product(module, "product", spec, HOST)
    work = 2.0 * items * spec.m * spec.n * spec.k
    time_, compile_time = seconds(module, functions, arrays, aligned(product_scratch(spec, HOST, team.size)), team,
                                  work)
    return work / time_ / 1e9, compile_time


def convolution_row(spec: ConvSpec, team: Team) -> tuple[float, float]:
    rng, module = np.random.default_rng(0), ir.Module()
    x, w, y = (rng.standard_normal(shape).astype(spec.dtype) for shape in spec.shapes)
    arrays = {"forward": [x, w, y], "input_gradient": [y, w, x], "filter_gradient": [x, y, w]}[spec.kind]
    functions = emit_convolution(module, "convolution", spec, HOST)
    work = 2.0 * y.size * w.size / spec.out_channels
    time_, compile_time = seconds(module, functions, arrays, aligned(convolution_scratch(spec, HOST, team.size)), team,
                                  work)
    return work / time_ / 1e9, compile_time


def rows():
    """(name, spec, function that measures it) of every row."""
    for name, spec in PRODUCTS.items():
        yield name, spec, product_row
    for name, spec in CONVOLUTIONS.items():
        for kind in KINDS:
            yield f"{name} {kind}", dataclasses.replace(spec, kind=kind), convolution_row


def main(wanted: list[str]) -> None:
    """Print the table."""
    teams = [Team(1), Team(2)]
    limits = [product_row(dense(28 * team.size, 64, 64, batch=(64,)), team)[0] for team in teams]
    limits = [max(limit, product_row(dense(28, 32, 128, batch=(16,)), team)[0])
              for limit, team in zip(limits, teams, strict=True)]
    print(f"{'GFLOP/s (share of the limit)':42}{'1 thread':>16}{'2 threads':>16}{'compile':>12}")
    print(f"{'limit':42}" + "".join(f"{limit:10.1f}      " for limit in limits))
    for name, spec, measure in rows():
        if wanted and not any(part in name for part in wanted):
            continue
        cells = [measure(spec, team) for team in teams]
        text = "".join(f"{rate:9.1f} ({rate / limit:4.0%})" for (rate, _), limit in zip(cells, limits, strict=True))
        print(f"{name:42}{text}{cells[0][1] * 1e3:9.0f} ms", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
