# SPDX-License-Identifier: Apache-2.0
"""Products whose right operand is packed beforehand, against float64 products; both directions through the panels give
the same bits."""

from __future__ import annotations

import ctypes
import dataclasses

import numpy as np
import pytest
from kernel_engine import aligned, optimise
from llvmlite import binding, ir

from chainrule.native.kernels.product.panels import emit_panels, panels_of
from chainrule.native.kernels.product.product import ProductSpec, emit_product, product_scratch
from chainrule.native.target import Target
from chainrule.ops.precision import nearest_bfloat16

HOST = Target.host()
SHAPES = [(1, 64, 20), (3, 100, 33), (14, 33, 65), (16, 256, 700), (17, 50, 128), (40, 200, 50)]


def products(spec: ProductSpec, a: np.ndarray, b: np.ndarray, threads: int, turn: int) -> np.ndarray:
    """The product, its right operand packed by two calls."""
    module, panels = ir.Module(), panels_of(spec, HOST)
    pack, (function,) = emit_panels(module, "pack", panels, HOST), emit_product(module, "product", spec, HOST)
    parsed, generator = optimise(module, HOST, 1)
    engine = binding.create_mcjit_compiler(parsed, generator)
    engine.finalize_object()
    call = lambda f, *args: ctypes.CFUNCTYPE(None, *[ctypes.c_void_p if isinstance(x, np.ndarray) else ctypes.c_int64
                                                     for x in args])(
        engine.get_function_address(f.name))(*(x.ctypes.data if isinstance(x, np.ndarray) else x for x in args))
    packed = aligned(panels.size * (8 if spec.dtype == "float64" else 4))
    packed[:] = 0xFF
    middle = panels.count // 2
    call(pack, b, packed, 0, middle)
    call(pack, b, packed, middle, panels.count)
    c, scratch = np.full((spec.m, spec.n), np.nan, spec.dtype), aligned(max(64, product_scratch(spec, HOST, threads)))
    for thread in range(threads):
        call(function, a, packed, c, scratch, thread, threads, turn)
    return c


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("transposed", [False, True])
def test_packed_products(m: int, n: int, k: int, kind: str, transposed: bool) -> None:
    narrow = kind == "bfloat16"
    if narrow and (not HOST.pairs or k % 2):
        pytest.skip("no instruction for pairs of bfloat16, or rows that are no pairs")
    dtype = "float32" if narrow else kind
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n)))
    if narrow:
        a, b = nearest_bfloat16(a), nearest_bfloat16(b)
    stored = np.ascontiguousarray(b.T if transposed else b)
    halves = lambda x: (x.view(np.uint32) >> 16).astype(np.uint16) if narrow else x
    spec = dataclasses.replace(ProductSpec.dense(m, n, k, transpose_b=transposed, dtype=dtype, narrow=narrow),
                               packed=True)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    found = [products(spec, halves(a), halves(stored), threads, turn)
             for threads, turn in ((1, 0), (2, 0), (1, 1), (3, 1))]
    bound = (1e-13 if kind == "float64" else 2e-6) * (np.abs(a).astype(np.float64) @ np.abs(b) + 1)
    assert np.all(np.abs(found[0] - expected) <= bound)
    assert len({x.tobytes() for x in found}) == 1
