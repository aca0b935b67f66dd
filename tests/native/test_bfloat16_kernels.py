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
from test_conv_kernels import ROWS, oracle

from chainrule.native.kernels.convolution.convolution import convolution_scratch, emit_convolution, has_pairs
from chainrule.native.kernels.convolution.spec import KINDS, ConvSpec
from chainrule.native.kernels.product.product import ProductSpec, emit_product, product_scratch
from chainrule.native.target import Target
from chainrule.ops.precision import nearest_bfloat16

HOST, OTHER = Target.host(), Target.named("avx512_bf16")
runs = pytest.mark.skipif(not HOST.pairs, reason="this processor has no instruction for pairs of bfloat16")


def upper_halves(x: np.ndarray) -> np.ndarray:
    """bfloat16 numbers, given as float32, in two bytes each."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def operand(rng: np.random.Generator, shape: tuple[int, ...],
            strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
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


SHAPES = [(1, 1, 1), (1, 10, 128), (1, 33, 784), (3, 17, 9), (14, 32, 64), (15, 33, 65), (37, 53, 71), (200, 1, 33),
          (64, 80, 2100),
          (100, 130, 801), (2, 100, 5), (17, 2048, 33), (0, 4, 4), (4, 0, 4), (4, 6, 0), (300, 40, 96)]  # fmt: skip


@runs
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
def test_products(m, n, k, transposed):
    check_product(ProductSpec.dense(m, n, k, transpose_a=transposed[0], transpose_b=transposed[1], narrow=True))


@runs
@pytest.mark.parametrize("options", [{"batch": (5,)}, {"batch": (2, 3), "transpose_b": True},
                                     {"batch": (3,), "transpose_a": True},
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
    assert [name for name in ("sse", "avx2", "avx512", "neon", "avx512_bf16")
            if Target.named(name).pairs] == ["avx512_bf16"]
    assert not dataclasses.replace(OTHER, features="-avx512bf16").pairs


# ---- convolutions

MORE = {
    "even channels": ConvSpec(3, (7, 9), (3, 3), 6, 8, padding=((1, 1), (1, 1))),
    "even channels, stride": ConvSpec(3, (9, 8), (3, 3), 16, 34, stride=(2, 2), padding=((1, 1), (0, 1))),
    "even channels, direct": ConvSpec(3, (12, 11), (3, 3), 32, 64),
    "even channels, groups": ConvSpec(2, (9, 9), (3, 3), 12, 24, groups=3, dilation=(2, 2), padding=((1, 2), (0, 3))),
    "residual": ConvSpec(9, (8, 8), (3, 3), 64, 64, padding=((1, 1), (1, 1))),
    "pointwise, even": ConvSpec(3, (9, 8), (1, 1), 16, 32, stride=(2, 2)),
    "three axes, even": ConvSpec(2, (5, 6, 7), (3, 2, 3), 4, 6, padding=((1, 1),) * 3, stride=(2, 1, 1)),
    "kernel covers the image, odd": ConvSpec(5, (3, 3), (3, 3), 3, 5),
    "cropped": ConvSpec(2, (20,), (4,), 4, 6, stride=(3,), padding=((-1, 2),)),
    "one line per sample, even": ConvSpec(20, (4, 6), (3, 3), 6, 30, padding=((0, 0), (1, 1)), stride=(2, 1)),
}  # fmt: skip
CASES = {name: spec for name, spec in (ROWS | MORE).items() if spec.dtype == "float32"}


def check_convolution(spec: ConvSpec, operands: tuple[np.ndarray, ...], expected: np.ndarray) -> None:
    module, results = ir.Module(), []
    kernel = Compiled(module, emit_convolution(module, "conv", spec, HOST), HOST)
    shape = spec.shapes[{"forward": 2, "input_gradient": 0, "filter_gradient": 1}[spec.kind]]
    for number in (1, 2, 3):
        result = np.full(shape, np.nan, np.float32)
        kernel([*map(upper_halves, operands), result], aligned(convolution_scratch(spec, HOST, number)), number)
        results.append(result.tobytes())
    assert len(set(results)) == 1, "the number of threads changed the result"
    np.testing.assert_allclose(result, expected.reshape(shape), rtol=0,
                               atol=3e-6 * max(1.0, float(np.abs(expected).max(initial=0.0))))


@runs
@pytest.mark.parametrize("name", CASES)
def test_convolutions_and_their_gradients(name):
    rng, spec = np.random.default_rng(5), CASES[name]
    x, w, g = (nearest_bfloat16(rng.standard_normal(shape).astype(np.float32)) for shape in spec.shapes)
    for kind, expected, operands in zip(KINDS, oracle(spec, x, w, g), ((x, w), (g, w), (x, g)), strict=True):
        narrow = dataclasses.replace(spec, kind=kind, narrow=True)
        if has_pairs(narrow):
            check_convolution(narrow, operands, expected)


def test_which_convolutions_have_pairs():
    names = lambda spec: [kind for kind in KINDS if has_pairs(dataclasses.replace(spec, kind=kind))]
    assert names(MORE["even channels"]) == list(KINDS)
    assert names(ROWS["valid"]) == ["filter_gradient"]
    assert names(ROWS["seven by seven"]) == ["input_gradient", "filter_gradient"]
    assert names(ROWS["depthwise"]) == []
    assert names(MORE["kernel covers the image, odd"]) == ["forward", "filter_gradient"]


@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_compile_for_a_processor_that_has_the_instruction(kind):
    module = ir.Module()
    emit_convolution(module, "conv", dataclasses.replace(MORE["residual"], kind=kind, narrow=True), OTHER)
    assert "vdpbf16ps" in assembly(module, OTHER)
