# SPDX-License-Identifier: Apache-2.0
"""Products that read packed integers, against the product with the matrix they stand for in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_engine import Compiled, aligned
from llvmlite import binding as llvm
from llvmlite import ir

import chainrule as cr
from chainrule import nn
from chainrule.errors import DTypeError, ShapeError
from chainrule.native import target as targets
from chainrule.native.kernels.product.product import ProductSpec, emit_product, product_scratch
from chainrule.native.kernels.product.unpack import Packing
from chainrule.native.target import Target
from chainrule.ops.packed import packed_product, unpack, unpacked

EPSILON = {"float32": 1.2e-7, "float64": 2.3e-16}
# (m, k, n, group): one row, few and many; columns that fill no vector, one vector, several; groups of one row, all
# rows, and such that halves cut
SHAPES = [(1, 64, 40, 32), (1, 2048, 272, 32), (1, 1536, 100, 64), (2, 10, 1, 2), (3, 6, 5, 2), (4, 96, 33, 32),
          (5, 30, 31, 2), (7, 96, 33, 32), (8, 704, 130, 704),
          (9, 704, 130, 32), (1, 128, 16, 1), (40, 2048, 96, 64), (128, 1024, 70, 256)]


def drawn(m: int, k: int, n: int, group: int, bits: int,
          dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(m + k + n + bits)
    q = rng.integers(-128, 128, (k, n), "int8") if bits == 8 else rng.integers(0, 256, (k // 2, n), "uint8")
    return rng.standard_normal((m, k)).astype(dtype), q, rng.uniform(-1, 1, (k // group, n)).astype(dtype)


def bounded(found: np.ndarray, x: np.ndarray, q: np.ndarray, scale: np.ndarray, bits: int) -> None:
    """Within the error of a sum, and of one rounding for each weight."""
    w = unpacked(q, scale.astype("float64"), bits)
    size = np.abs(x).astype("float64") @ np.abs(w)
    assert np.all(np.abs(found - x.astype("float64") @ w) <= 8 * EPSILON[x.dtype.name] * size)


def check(m: int, k: int, n: int, group: int, bits: int, target: Target, dtype: str = "float32") -> None:
    spec, module, results = (ProductSpec(m, n, k, (k, 1), (n, 1), (n, 1), dtype=dtype, packing=Packing(bits, group)),
                             ir.Module(), [])
    kernel, operands = (Compiled(module, emit_product(module, "product", spec, target), target),
                        drawn(m, k, n, group, bits, dtype))
    for threads in (1, 2, 3):
        y = np.full((m, n), np.nan, dtype)
        kernel([*operands, y], aligned(product_scratch(spec, target, threads)), threads)
        bounded(y, *operands, bits)
        results.append(y.tobytes())
    assert len(set(results)) == 1, "the number of threads changed the result"


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_groups(shape, bits):
    check(*shape, bits, Target.host())


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("family", ["sse2", "avx2", "avx512"])
def test_other_processors(family, bits):
    if family not in targets._families(llvm.get_process_triple(), llvm.get_host_cpu_features()):
        pytest.skip("this processor has no such instructions")
    check(9, 96, 21, 32, bits, Target.named(family))
    check(1, 96, 37, 32, bits, Target.named(family), "float64")


@pytest.mark.parametrize("bits", [8, 4])
def test_what_follows_is_computed_on_the_way(bits):
    x, q, scale = drawn(3, 64, 20, 32, bits)
    bias = np.arange(20, dtype="float32")
    made = cr.compile(lambda x: cr.maximum(packed_product(x * 2, q, scale, bits=bits) + bias, 0), backend="native")(x)
    np.testing.assert_allclose(made, np.maximum(2 * x @ unpacked(q, scale, bits) + bias, 0), rtol=1e-4, atol=1e-4)


def test_a_step_of_decoding_makes_no_wide_copy_of_the_weights():
    x, q, scale = drawn(1, 1024, 1024, 32, 4)
    program = cr.compile(lambda x, q, s: packed_product(x, q, s, bits=4), backend="native").lower(x, q, scale).program
    assert program.plan.arena < q.nbytes


@pytest.mark.parametrize("bits", [8, 4])
def test_gradients_pass_to_the_input_and_the_scales(bits):
    x, q, scale = drawn(3, 12, 5, 4, bits, "float64")

    @cr.compile(backend="native")
    def gradients(x, scale, through):
        y = (through(x, scale) ** 2).sum()
        return cr.gradients(y, [x, scale])
    packed = gradients(x, scale, lambda x, s: packed_product(x, q, s, bits=bits))
    plain = gradients(x, scale, lambda x, s: x @ unpack(cr.asarray(q), s, bits))
    for one, other in zip(packed, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("bits", [8, 4])
def test_not_a_number_stays_in_its_row(bits):
    x, q, scale = drawn(3, 64, 20, 32, bits)
    x[1, 5] = np.nan
    y = cr.compile(lambda x: packed_product(x, q, scale, bits=bits), backend="native")(x).numpy()
    assert np.isnan(y).all(1).tolist() == [False, True, False] and np.isfinite(y[[0, 2]]).all()


def test_a_loop_over_tokens_reads_them_too():
    model = nn.Dense(16, activation="tanh")
    h = np.random.default_rng(0).standard_normal((1, 16)).astype("float32")
    model(h)
    layer = nn.quantize(nn.Sequential([model]), 4, group=8)

    def steps(h, compiled):
        return (cr.scan(lambda h, _: (layer(h), h), h, np.zeros((5, 1), "float32"))[0] if compiled
                else layer(layer(layer(layer(layer(h))))))
    np.testing.assert_allclose(cr.compile(lambda h: steps(h, True), backend="native")(h), steps(h, False), rtol=1e-5,
                               atol=1e-6)


@pytest.mark.parametrize("change, error", [
    (lambda x, q, s: (x[:, 1:], q, s), ShapeError), (lambda x, q, s: (x, q[:, 1:], s), ShapeError),
    (lambda x, q, s: (x, q, s[:1].repeat(5, 0)), ShapeError),
    (lambda x, q, s: (x.astype("float64"), q, s), DTypeError), (lambda x, q, s: (x, q.view("uint8"), s), DTypeError)])
def test_what_does_not_fit_is_refused(change, error):
    with pytest.raises(error):
        packed_product(*change(*drawn(2, 8, 3, 4, 8)), bits=8)
