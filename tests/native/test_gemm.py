# SPDX-License-Identifier: Apache-2.0
"""Matrix-product kernels against NumPy in double precision: shapes, strides, epilogues, threads, other processors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_engine import Compiled, aligned, assembly
from llvmlite import ir

from chainrule.errors import ArgumentError
from chainrule.native.kernels.product.product import (
    FAR,
    ProductSpec,
    canonical,
    emit_product,
    make_plan,
    product_scratch,
)
from chainrule.native.llvm.writer import Writer
from chainrule.native.target import Target

HOST = Target.host()
EPSILON = {"float32": 1.2e-7, "float64": 2.3e-16}


def compiled(spec: ProductSpec, target: Target = HOST, **options) -> Compiled:
    module = ir.Module()
    return Compiled(module, emit_product(module, "product", spec, target, **options), target)


def view(rng, shape, strides, dtype) -> tuple[np.ndarray, np.ndarray]:
    """A buffer and the strided view of it that a spec describes."""
    length = 1 + sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True) if extent)
    buffer = rng.standard_normal(max(1, length)).astype(dtype)
    size = buffer.itemsize
    return buffer, np.lib.stride_tricks.as_strided(buffer, shape, [stride * size for stride in strides])


def check(spec: ProductSpec, threads=(1, 2, 3), target: Target = HOST) -> None:
    rng, kernel, results = np.random.default_rng(7), compiled(spec, target), []
    a_buffer, a = view(rng, (*spec.batch, spec.m, spec.k), spec.a_strides, spec.dtype)
    b_buffer, b = view(rng, (*spec.batch, spec.k, spec.n), spec.b_strides, spec.dtype)
    before, c_before = view(rng, (*spec.batch, spec.m, spec.n), spec.c_strides, spec.dtype)
    expected = a.astype("float64") @ b.astype("float64") + (c_before if spec.accumulate else 0.0)
    for number in threads:
        buffer = before.copy()
        kernel([a_buffer, b_buffer, buffer], aligned(product_scratch(spec, target, number)), number)
        results.append(buffer.tobytes())
        c = np.lib.stride_tricks.as_strided(buffer, c_before.shape, c_before.strides)
        bound = 8 * EPSILON[spec.dtype] * (np.abs(a).astype("float64") @ np.abs(b).astype("float64") + np.abs(expected)
                                           + 1)
        assert np.all(np.abs(c - expected) <= bound)
    assert len(set(results)) == 1, "the number of threads changed the result"


DENSE = [
    (1, 1, 1), (1, 10, 128), (1, 128, 784), (5, 1, 40), (3, 17, 9), (14, 32, 64), (15, 33, 65), (29, 16, 16),
    (37, 53, 71),
    (32, 10, 128), (200, 1, 33), (64, 80, 2100), (100, 530, 600), (2, 300, 5), (7, 5, 3), (0, 4, 4), (4, 0, 4),
    (4, 6, 0), (17, 2048, 33),
]  # fmt: skip


@pytest.mark.parametrize(("m", "n", "k"), DENSE)
def test_dense_shapes(m, n, k):
    check(ProductSpec.dense(m, n, k))


@pytest.mark.parametrize(("m", "n", "k"), [(1, 10, 128), (37, 53, 71), (64, 80, 600), (20, 130, 10), (5, 1, 40),
                                           (4, 6, 0),
                                       (32, 256, 1024), (16, 100, 70), (99, 1, 64)])
@pytest.mark.parametrize("transposed", [(True, False), (False, True), (True, True)])
def test_transposed_operands(m, n, k, transposed):
    check(ProductSpec.dense(m, n, k, transpose_a=transposed[0], transpose_b=transposed[1]))


@pytest.mark.parametrize(("m", "n", "k"), [(1, 40, 64), (3, 50, 100), (4, 16, 37), (300, 1, 700), (2, 5, 16)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_few_rows_become_dot_products(m, n, k, accumulate):
    spec = ProductSpec.dense(m, n, k, batch=(3,), transpose_b=n > 1, accumulate=accumulate)
    assert HOST.vector_bytes < 64 or make_plan(canonical(spec, HOST)[0], HOST).dots
    check(spec)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 16, 16), (1, 130, 784), (1, 255, 33), (200, 1, 40)])
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row_becomes_sums_of_rows(m, n, k, accumulate, dtype):
    spec = ProductSpec.dense(m, n, k, batch=(2,), transpose_a=n == 1, accumulate=accumulate, dtype=dtype)
    assert HOST.vector_bytes < 64 or make_plan(canonical(spec, HOST)[0], HOST).row
    check(spec)


@pytest.mark.parametrize("n", [4100, 5003])
def test_one_row_times_a_large_matrix(n):
    spec = ProductSpec.dense(1, n, 1100)
    assert HOST.vector_bytes < 64 or (make_plan(spec, HOST).row and make_plan(spec, HOST).blocks > 1)
    check(spec)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("accumulate", [False, True])
def test_dtypes_and_accumulation(dtype, accumulate):
    check(ProductSpec.dense(33, 45, 1111, dtype=dtype, accumulate=accumulate))


@pytest.mark.parametrize(("m", "n", "pack"), [(515, 128, "a"), (128, 520, "b"), (70, 512, "b"), (512, 65, None)])
def test_long_reductions_pack_what_lies_far_apart(m, n, pack):
    spec = ProductSpec.dense(m, n, 1601, transpose_a=True)
    plan = make_plan(spec, Target.named("avx512"))
    assert (plan.pack_a, plan.pack_b) == (pack == "a", pack == "b")
    check(spec, threads=(1, 2))


@pytest.mark.parametrize("family", ["avx2", "avx512"])
def test_a_reduction_that_no_cache_holds_is_cut(family):
    plan = lambda k: make_plan(ProductSpec.dense(64, 64, k, transpose_a=True), Target.named(family))
    assert (plan(1024).step_blocks, plan(65536).step_blocks) == (1, 171)
    # one tile reads once
    assert make_plan(ProductSpec.dense(4, 4, 1 << 20, transpose_a=True),
                     Target.named(family)).step_blocks == (1 << 20) // FAR


def test_a_reduction_in_blocks():
    check(ProductSpec.dense(30, 70, 5000, transpose_a=True), threads=(1, 2))
    check(ProductSpec.dense(70, 20, 4000, transpose_b=True), threads=(1, 2))


@pytest.mark.parametrize("batch", [(5,), (2, 3), (0,)])
def test_batches(batch):
    check(ProductSpec.dense(17, 20, 31, batch=batch))
    check(ProductSpec.dense(17, 20, 31, batch=batch, transpose_b=True))


def test_broadcast_batch_becomes_rows():
    spec = ProductSpec(6, 20, 9, (6 * 9, 9, 1), (0, 20, 1), (6 * 20, 20, 1), (4,))
    joined, swapped = canonical(spec, HOST)
    assert (joined.m, joined.batch, swapped) == (24, (), False)
    check(spec)
    check(dataclasses.replace(spec, a_strides=(0, 9, 1)))


@pytest.mark.parametrize("strides", [(1, 37), (200, 3), (53, 1), (100, 1)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_results_of_any_layout(strides, accumulate):
    check(dataclasses.replace(ProductSpec.dense(37, 53, 600), c_strides=strides, accumulate=accumulate))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 50), st.integers(0, 3),
       st.lists(st.integers(0, 5), min_size=4,
       max_size=4), st.booleans(), st.sampled_from(["float32", "float64"]))
def test_odd_shapes_and_strides(m, n, k, items, extra, transposed, dtype):
    a = (k + extra[0], 1) if transposed else (1 + extra[1], (m + extra[0]) * (1 + extra[1]))
    b = (1, k + extra[2]) if transposed else (n * (1 + extra[3]) + extra[2], 1 + extra[3])
    step = lambda strides, rows, columns: rows * strides[0] + columns * strides[1]
    batch = (items,) if items else ()
    check(ProductSpec(m, n, k, (step(a, m, k), *a) if batch else a, (0, *b) if batch else b,
                      (m * n, n, 1) if batch else (n, 1), batch, dtype), threads=(1, 2))


# ---- epilogues

def test_named_epilogue():
    spec = ProductSpec.dense(30, 41, 700, epilogue=(("bias",), ("relu",), ("residual",)))
    rng = np.random.default_rng(1)
    a, b, bias, residual = (rng.standard_normal(shape).astype("float32")
                            for shape in ((30, 700), (700, 41), 41, (30, 41)))
    c = np.empty((30, 41), "float32")
    compiled(spec)([a, b, c, bias, residual], aligned(product_scratch(spec, HOST, 2)), 2)
    np.testing.assert_allclose(c, np.maximum(a @ b + bias, 0) + residual, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("shape", [(6, 20, 9), (30, 41, 700), (70, 1, 30), (1, 700, 40)])
def test_epilogue_callback_sees_rows_and_columns(shape):
    m, n, k = shape

    def epilogue(builder, value, row, column, mask, pointers):
        writer = Writer(builder, "float32", HOST)
        table = writer.load_vector(writer.at(pointers[0], writer.add(writer.mul(row, n), column)), mask)
        return builder.fsub(value, table)

    spec = ProductSpec.dense(m, n, k, batch=(3,))
    rng = np.random.default_rng(2)
    a, b, table = (rng.standard_normal((3, *shape)).astype("float32") for shape in ((m, k), (k, n), (m, n)))
    c = np.empty((3, m, n), "float32")
    compiled(spec, epilogue=epilogue, pointers=1)([a, b, c, table], aligned(product_scratch(spec, HOST, 1)), 1)
    np.testing.assert_allclose(c, a @ b - table, rtol=2e-5, atol=3e-4)


@pytest.mark.parametrize(("m", "n", "k"), [(16, 200, 100), (32, 256, 1024), (80, 1, 90), (3, 45, 70), (1, 300, 40)])
def test_epilogue_of_a_swapped_product(m, n, k):
    spec = ProductSpec.dense(m, n, k, transpose_b=n > 1, epilogue=(("bias",), ("residual",)))
    assert HOST.vector_bytes < 64 or m < 8 or canonical(spec, HOST)[1]
    rng, c = np.random.default_rng(4), np.empty((m, n), "float32")
    a, b, bias, residual = (rng.standard_normal(shape).astype("float32") for shape in ((m, k), (n, k), n, (m, n)))
    compiled(spec)([a, b, c, bias, residual], aligned(product_scratch(spec, HOST, 2)), 2)
    np.testing.assert_allclose(c, a @ b.T + bias + residual, rtol=2e-5, atol=3e-4)


def test_unknown_epilogue_step_is_refused():
    with pytest.raises(ArgumentError, match="no epilogue step is called 'swirl'"):
        emit_product(ir.Module(), "product", ProductSpec.dense(2, 2, 2, epilogue=(("swirl",),)), HOST)


# ---- threads, targets, modules

def test_real_threads_give_the_same_bits():
    spec, rng = ProductSpec.dense(70, 90, 600, transpose_b=True), np.random.default_rng(3)
    a, b, kernel = (rng.standard_normal((70, 600)).astype("float32"), rng.standard_normal((90, 600)).astype("float32"),
                    compiled(spec))
    results = []
    for threads in (1, 3):
        c = np.empty((70, 90), "float32")
        kernel([a, b, c], aligned(product_scratch(spec, HOST, threads)), threads, real=threads > 1)
        results.append(c.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize(("family", "instruction"), [("sse", "mulps"), ("avx2", "vfmadd"), ("avx512", "zmm"),
                                                     ("neon", "fmla")])
def test_other_processors_compile(family, instruction):
    target, module = Target.named(family), ir.Module()
    emit_product(module, "product", ProductSpec.dense(33, 50, 70, transpose_b=True, epilogue=(("bias",),)), target)
    assert instruction in assembly(module, target)


@pytest.mark.skipif(HOST.vector_bytes < 64, reason="runs the kernels of narrower processors on an AVX-512 one")
@pytest.mark.parametrize("family", ["sse", "avx2"])
@pytest.mark.parametrize("spec", [ProductSpec.dense(37, 53, 71), ProductSpec.dense(64, 80, 600, transpose_b=True),
                                  ProductSpec.dense(1, 10, 128),
                                  ProductSpec.dense(9, 130, 70, batch=(2,), dtype="float64")])
def test_narrower_vectors(family, spec):
    check(spec, target=Target.named(family))


def test_full_tile_does_not_spill():
    module, target = ir.Module(), Target.named("avx512")
    emit_product(module, "product", ProductSpec.dense(28, 64, 300), target)
    inner = assembly(module, target).split("tile_f32_14x2")[-1]
    assert "(%rsp)" not in "".join(line for line in inner.splitlines() if "zmm" in line)


def test_tiles_are_shared_by_the_products_of_a_module():
    module = ir.Module()
    for name, m in (("first", 28), ("second", 56)):
        emit_product(module, name, ProductSpec.dense(m, 64, 300), HOST)
    assert sum(name.startswith("tile_") for name in module.globals) == 1


def test_rows_are_cut_without_waste():
    plan = make_plan(ProductSpec.dense(32, 128, 784), Target.named("avx512"))
    assert (plan.row_tiles, plan.rows, plan.tall) == (3, 10, 2)


def test_unknown_family_is_refused():
    with pytest.raises(ArgumentError, match="no processor family"):
        Target.named("abacus")
