# SPDX-License-Identifier: Apache-2.0
"""Each primitive as nodes of ONNX: by ONNX Runtime, or by ONNX's own interpreter where the runtime has no kernel.
Oracle: its meaning."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from tables.ops import LEAVES, ROWS, apply

import chainrule as cr
from chainrule.ir import REGISTRY
from chainrule.shipping.onnx import LOWERINGS, WITHOUT_ONNX
from chainrule.testing.backends import assert_same

# Where ONNX Runtime means something else: a NaN does not win there, and no number is left of a loop without steps.
OTHERWISE = {"max", "min", "argmax", "argmin"}


def test_every_primitive_has_a_lowering_or_is_named():
    assert set(LOWERINGS) | set(WITHOUT_ONNX) == set(REGISTRY) - set(LEAVES)
    assert not set(LOWERINGS) & set(WITHOUT_ONNX)


def outputs(path, arrays):
    """What the file gives; None if neither engine has a kernel for some node."""
    import onnx
    import onnxruntime
    from onnx.reference import ReferenceEvaluator
    onnxruntime.set_default_logger_severity(4)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    feeds = {item.name: array for item, array in zip(model.graph.input, arrays, strict=True)}
    try:
        return onnxruntime.InferenceSession(path).run(
            None, {name: array for name, array in feeds.items() if array.ndim or array.dtype != bool}
        )
    except Exception:
        try:
            return ReferenceEvaluator(model).run(None, feeds)
        except Exception:
            return None


@pytest.mark.parametrize("name", [name for name in sorted(ROWS) if name in LOWERINGS])
def test_a_primitive_gives_in_onnx_what_numpy_gives(name, tmp_path):
    pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    row, rng, path, ran = ROWS[name], np.random.default_rng(zlib.crc32(name.encode())), tmp_path / "op.onnx", 0
    for case in row.cases:
        for dtype in case.dtypes:
            arrays = case.draw(rng, np.dtype(dtype))
            cr.export(lambda *tensors, case=case: apply(name, case, tensors), path, tuple(arrays), free=())
            if name in OTHERWISE and case.label == "special":
                continue
            expected, found = ([y.numpy() for y in apply(name, case, tuple(map(cr.asarray, arrays)))],
                               outputs(str(path), arrays))
            if found is None:
                continue
            ran += 1
            what = f"{name} {case.label} {dtype} {[x.shape for x in arrays]} {case.attrs}"
            assert [(y.shape, y.dtype) for y in found] == [(y.shape, y.dtype) for y in expected], what
            for got, wanted in zip(found, expected, strict=True):
                # ONNX's interpreter computes erf in float32
                scale = 0.05 if dtype == "float64" and name in ("erf", "atan2") else 1e-4 if dtype == "float64" else 1.0
                assert_same(got, wanted, what, max(row.rtol * scale, 1e-6), max(row.atol * scale, 1e-7))
    assert ran
