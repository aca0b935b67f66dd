# SPDX-License-Identifier: Apache-2.0
"""Other processors: programs of every kind of kernel are made for each family, and run where this processor can run
them.

Oracle: the meaning of each program in NumPy; that machine code comes out, for what cannot run here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from native_check import check, graph_of

import chainrule as cr
from chainrule.errors import ArgumentError
from chainrule.native import target
from chainrule.native.plan.lower import lower
from chainrule.native.run.code import engine
from chainrule.native.run.segment import FIRST, SegmentEmitter
from chainrule.native.target import FAMILIES, Target
from chainrule.ops.attention import attention
from chainrule.ops.contract import conv
from chainrule.ops.index import scatter
from chainrule.ops.pool import max_pool
from chainrule.ops.precision import round_to_bfloat16
from chainrule.ops.random import random_bits
from chainrule.ops.scan import scan

RNG = np.random.default_rng(0)
RUNS_HERE = [name for name in ("sse2", "avx2", "avx512")
             if name in target._families(llvm.get_process_triple(), llvm.get_host_cpu_features())]


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Float operands."""
    return RNG.standard_normal(shape).astype(dtype)


def convolution(x: Any, w: Any, stride: int = 1, dilation: int = 1, groups: int = 1) -> Any:
    """A convolution and both of its gradients."""
    y = conv(x, w, stride=(stride,) * 2, padding=((1, 1),) * 2, dilation=(dilation,) * 2, groups=groups)
    return y, *cr.gradients(cr.sum(cr.sin(y)), [x, w])


def attend(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False) -> Any:
    """Attention and its gradients."""
    y = attention(q, k, v, mask, causal=causal)
    return y, *cr.gradients(cr.sum(cr.sin(y)), [q, k, v])


def mathematics(x: Any, y: Any) -> Any:
    """One of each elementary function."""
    a = cr.abs(x) + 0.5
    return (cr.exp(x), cr.expm1(x), cr.log(a), cr.log1p(a), cr.sqrt(a), cr.sin(x), cr.cos(x), cr.tanh(x), cr.erf(x),
            a ** y, cr.atan2(x, y), cr.floor(x), cr.log2(a), cr.log10(a), cr.tan(x), cr.asin(x / 9.0), cr.acos(x / 9.0),
            cr.sinh(x), cr.cosh(x), cr.asinh(x), cr.acosh(a + 0.5), cr.atanh(x / 9.0),
            cr.ceil(x), cr.round(x), cr.sign(x), cr.remainder(x, a), cr.floor_divide(x, a), cr.maximum(x, y),
            cr.where(x < y, x, y))


def integers(x: Any, y: Any) -> Any:
    """Integer arithmetic and casts."""
    return (x // y, x % y, x << 3, x >> 2, x & y, ~x, cr.astype(x, "int8"), cr.astype(x, "uint64"),
            cr.astype(x, "float64"), cr.astype(x, "bool"), x * y)


def reductions(x: Any) -> Any:
    """Reductions along each axis."""
    return [f(x, axis=axis) for f in (cr.sum, cr.max, cr.min, cr.argmax, cr.var)
            for axis in (0, 1)] + [cr.sum(x), cr.cumulative_sum(x, axis=1), cr.softmax(x)]


def places(x: Any, i: Any) -> Any:
    """What reads and writes by position."""
    return (cr.take(x, i, axis=0), cr.take(x, i, axis=1), scatter(x, i, cr.take(x, i, axis=0) * 2.0, axis=0),
            cr.sort(x, axis=0), cr.argsort(x, axis=1))


def loop(x: Any, w: Any) -> Any:
    """A recurrent step and its derivative."""
    (last,), _ = scan(lambda h, s, fixed: ([cr.tanh(h[0] @ fixed[0] + s[0])], []), [x[0]], [x], [w])
    return last, *cr.gradients(cr.sum(last), [x, w])


Case = tuple[Callable[..., Any], tuple[np.ndarray, ...]]
KERNELS: dict[str, Case] = {
    "product": (lambda a, b: (a @ b, cr.tanh(a @ b + 1.0)), (numbers(37, 70), numbers(70, 53))),
    "product, transposed, float64": (lambda a, b: a @ b.mT,
                                     (numbers(2, 37, 70, dtype="float64"), numbers(2, 53, 70, dtype="float64"))),
    "dot": (lambda a, b: a @ b, (numbers(3, 300), numbers(300))),
    "dots of columns": (lambda a, b: a @ b.mT, (numbers(2, 300), numbers(40, 300))),
    "row": (lambda a, b: a @ b, (numbers(300), numbers(300, 40))),
    "convolution": (convolution, (numbers(2, 9, 11, 12), numbers(3, 3, 12, 20))),
    "convolution, pointwise": (convolution, (numbers(2, 9, 11, 12), numbers(1, 1, 12, 20))),
    "convolution, one channel": (convolution, (numbers(2, 9, 11, 1), numbers(3, 3, 1, 20))),
    "convolution, into one channel": (convolution, (numbers(2, 9, 11, 32), numbers(3, 3, 32, 1))),
    "convolution, stride and dilation": (lambda x, w: convolution(x, w, 2, 2),
                                         (numbers(2, 19, 21, 3), numbers(3, 3, 3, 8))),
    "convolution, groups": (lambda x, w: convolution(x, w, groups=3), (numbers(2, 9, 11, 12), numbers(3, 3, 4, 24))),
    "convolution, depthwise": (lambda x, w: convolution(x, w, groups=20),
                               (numbers(2, 9, 31, 20), numbers(3, 3, 1, 20))),
    "convolution, depthwise, many taps": (lambda x, w: convolution(x, w, groups=20),
                                          (numbers(2, 9, 31, 20), numbers(5, 5, 1, 20))),
    "convolution, depthwise, one axis": (lambda x, w: convolution(x, w, groups=20),
                                         (numbers(2, 9, 31, 20), numbers(1, 7, 1, 20))),
    "attention": (attend, (numbers(2, 40, 2, 8), numbers(2, 40, 1, 8), numbers(2, 40, 1, 12))),
    "attention, causal": (lambda q, k, v: attend(q, k, v, causal=True), (numbers(1, 70, 1, 16),) * 3),
    "attention, mask": (lambda q, k, v, m: attend(q, k, v, m),
                        (*(numbers(1, 33, 1, 16),) * 3, RNG.random((1, 1, 33, 33)) < 0.7)),
    "mathematics": (mathematics, (numbers(100), numbers(100))),
    "mathematics, float64": (mathematics, (numbers(100, dtype="float64"), numbers(100, dtype="float64"))),
    "large angles": (lambda x, y: (cr.sin(x), cr.cos(x), cr.tan(y), cr.sin(y)),
                     (numbers(100) * 1e20, numbers(100, dtype="float64") * 1e200)),
    "integers": (integers, (RNG.integers(-100, 100, 70, dtype="int32"), RNG.integers(1, 9, 70, dtype="int32"))),
    "integers, small": (integers, (RNG.integers(0, 200, 70, dtype="uint8"), RNG.integers(1, 9, 70, dtype="uint8"))),
    "integers, large": (integers, (RNG.integers(-2**60, 2**60, 70), RNG.integers(1, 9, 70))),
    "reductions": (reductions, (numbers(33, 70),)),
    "reductions, integers": (lambda x: reductions(x)[:8], (RNG.integers(-100, 100, (33, 70), dtype="int32"),)),
    "places": (places, (numbers(9, 20), np.array([0, 3, 8, 1]))),
    "loop": (loop, (numbers(5, 4, 16), numbers(16, 16))),
    "pooling": (lambda x: (y := max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))), *cr.gradients(cr.sum(y), [x])),
                (numbers(2, 9, 9, 5),)),
    "random": (lambda s: random_bits(s, (300,)), (np.array([1, 2, 3, 4], "uint32"),)),
    "bfloat16": (lambda a, b: round_to_bfloat16(a) @ round_to_bfloat16(b), (numbers(20, 32), numbers(32, 40))),
}  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in RUNS_HERE])
def test_machine_code_for_every_family(family: str, name: str) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    function, arrays = KERNELS[name]
    processor = Target.named(family)
    plan = lower(graph_of(function, arrays), processor, 2)
    table = {b: FIRST + i for i, b in enumerate([*plan.inputs, *plan.constants, *plan.outputs])}
    module = processor.module("program")
    SegmentEmitter(module, processor, table.__getitem__).emit("program", [s for s in plan.steps if s.native])
    assert len(engine.object_code(engine.optimised(str(module), processor), processor)) > 500


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("family", [pytest.param(name, marks=[] if name == "avx2" else pytest.mark.slow)
                                    for name in RUNS_HERE])
def test_narrower_processors_give_what_numpy_gives(monkeypatch: pytest.MonkeyPatch, family: str, name: str) -> None:
    monkeypatch.setenv("CHAINRULE_INSTRUCTIONS", family)
    function, arrays = KERNELS[name]
    scale = 1e-4 if name.startswith(("conv", "att", "loop")) else 2e-5
    program = check(function, *arrays, rtol=scale, atol=scale)
    assert program.target.vector_bytes == FAMILIES[family][3]


def test_the_host_with_fewer_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAINRULE_INSTRUCTIONS", raising=False)
    whole = Target.host()
    monkeypatch.setenv("CHAINRULE_INSTRUCTIONS", RUNS_HERE[0])
    assert dataclasses.replace(Target.host(), triple="") == dataclasses.replace(Target.named(RUNS_HERE[0]), triple="")
    assert Target.host().triple == whole.triple
    monkeypatch.setenv("CHAINRULE_INSTRUCTIONS", "neon" if whole.triple.startswith("x86") else "avx2")
    with pytest.raises(ArgumentError, match="does not have these instructions"):
        Target.host()
    monkeypatch.setenv("CHAINRULE_INSTRUCTIONS", "abacus")
    with pytest.raises(ArgumentError, match="no processor family"):
        Target.host()


V2, V4 = "ssse3 sse4.2 popcnt", "avx2 fma avx512f avx512vl avx512bw avx512dq"


@pytest.mark.parametrize(("features", "families"), [
    ("", "sse2"), (V2, "sse2 sse"), (f"{V2} avx2", "sse2 sse"), (f"{V2} avx2 fma", "sse2 sse avx2"),
    (f"{V2} avx2 fma avx512f avx512vl", "sse2 sse avx2"),
    (f"{V2} {V4}", "sse2 sse avx2 avx512"), (f"{V2} {V4} avx512bf16", "sse2 sse avx2 avx512 avx512_bf16")])
def test_families_by_features(features: str, families: str) -> None:
    assert target._families("x86_64-pc-linux-gnu", dict.fromkeys(features.split(), True)) == families.split()
    assert target._families("arm64-apple-darwin23", {}) == ["neon"]
