# SPDX-License-Identifier: Apache-2.0
"""Kernels that read bfloat16 and sum in float32, against float64 products of the same rounded operands.

Hosts without the instruction still generate the code for a processor that has it; there it is only compiled.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from kernel_engine import Compiled, aligned, assembly
from llvmlite import ir

from chainrule.native.gemm import ProductSpec, emit_product, product_scratch
from chainrule.native.target import Target
from chainrule.ops.precision import nearest_bfloat16

HOST, OTHER = Target.host(), Target.named("avx512_bf16")
runs = pytest.mark.skipif(not HOST.pairs, reason="this processor has no instruction for pairs of bfloat16")


def upper_halves(x: np.ndarray) -> np.ndarray:
    """bfloat16 numbers, given as float32, in two bytes each."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def operand(rng: np.random.Generator, shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(what the kernel reads, the strided values in float64); what lies between the elements is NaN."""
    length = max(1, 1 + sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True) if extent))
    wide = np.full(length, np.nan, np.float32)
    view = np.lib.stride_tricks.as_strided(wide, shape, [4 * stride for stride in strides])
    view[...] = nearest_bfloat16(rng.standard_normal(shape).astype(np.float32))
    return upper_halves(wide), view.astype(np.float64)


def check_product(spec: ProductSpec, threads: tuple[int, ...] = (1, 2, 3)) -> None:
    rng, module = np.random.default_rng(3), ir.Module()
    kernel = Compiled(module, emit_product(module, "product", spec, HOST), HOST)
    a_bits, a = operand(rng, (*spec.batch, spec.m, spec.k), spec.a_strides)
    b_bits, b = operand(rng, (*spec.batch, spec.k, spec.n), spec.b_strides)
    before = rng.standard_normal((*spec.batch, spec.m, spec.n)).astype(np.float32)
    expected = a @ b + (before if spec.accumulate else 0.0)
    bound = 2e-6 * (np.abs(a) @ np.abs(b) + np.abs(expected) + 1)
    results = []
    for number in threads:
        c = before.copy()
        kernel([a_bits, b_bits, c], aligned(product_scratch(spec, HOST, number)), number)
        assert np.all(np.abs(c - expected) <= bound)
        results.append(c.tobytes())
    assert len(set(results)) == 1, "the number of threads changed the result"


SHAPES = [(1, 1, 1), (1, 10, 128), (1, 33, 784), (3, 17, 9), (14, 32, 64), (15, 33, 65), (37, 53, 71), (200, 1, 33), (64, 80, 2100),
          (100, 130, 801), (2, 100, 5), (17, 2048, 33), (0, 4, 4), (4, 0, 4), (4, 6, 0), (300, 40, 96)]  # fmt: skip


@runs
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
def test_products(m, n, k, transposed):
    check_product(ProductSpec.dense(m, n, k, transpose_a=transposed[0], transpose_b=transposed[1], narrow=True))


@runs
@pytest.mark.parametrize("options", [{"batch": (5,)}, {"batch": (2, 3), "transpose_b": True}, {"batch": (3,), "transpose_a": True},
                                     {"accumulate": True}, {"batch": (0,)}])
def test_batches_and_accumulation(options):
    check_product(ProductSpec.dense(17, 20, 31, narrow=True, **options))
    check_product(ProductSpec.dense(48, 40, 64, narrow=True, **options))


@runs
def test_any_strides():
    check_product(ProductSpec(20, 24, 30, (90, 3), (60, 2), (24, 1), narrow=True))
    check_product(ProductSpec(20, 24, 30, (31, 1), (1, 33), (24, 1), narrow=True))
    check_product(ProductSpec(6, 20, 10, (60, 10, 1), (0, 20, 1), (120, 20, 1), (4,), narrow=True))


@pytest.mark.parametrize("transposed", [(False, False), (True, True)])
def test_it_compiles_for_a_processor_that_has_the_instruction(transposed):
    module = ir.Module()
    spec = ProductSpec.dense(33, 40, 50, transpose_a=transposed[0], transpose_b=transposed[1], narrow=True)
    emit_product(module, "product", spec, OTHER)
    assert "vdpbf16ps" in assembly(module, OTHER)


def test_only_one_family_has_pairs():
    assert [name for name in ("sse", "avx2", "avx512", "neon", "avx512_bf16") if Target.named(name).pairs] == ["avx512_bf16"]
    assert not dataclasses.replace(OTHER, features="-avx512bf16").pairs
