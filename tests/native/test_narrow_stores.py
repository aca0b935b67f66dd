# SPDX-License-Identifier: Apache-2.0
"""Rows whose last vector has one element, narrowed to 16 or 8 bits: nothing beyond a row is written. Oracle: memory
around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_engine import Compiled
from llvmlite import ir
from native_check import graph_of

from chainrule import native
from chainrule.ir.bind import bind
from chainrule.ir.node import REGISTRY
from chainrule.native.plan.steps import KernelStep
from chainrule.native.target import Target
from chainrule.ops import compose as C
from chainrule.ops.precision import round_to_bfloat16

ROWS, COLUMNS = 20, 17


def rounded(x: Any, z: Any) -> Any:
    return C.matmul(round_to_bfloat16(x - z), round_to_bfloat16(np.ones((COLUMNS, 16), "float32")))


def narrowed(x: Any, z: Any, dtype: str) -> Any:
    return bind(REGISTRY["cast"], x - z, dtype=np.dtype(dtype))


@pytest.mark.parametrize(("function", "dtype", "kept"), [
    (rounded, "float32", "bfloat16"), (lambda x, z: narrowed(x, z, "int8"), "int32", "int8"),
    (lambda x, z: narrowed(x, z, "int16"), "int32", "int16")])
def test_nothing_beyond_a_row_is_written(function: Any, dtype: str, kept: str) -> None:
    target = Target.host()
    if kept == "bfloat16" and not target.pairs:
        pytest.skip("this processor keeps no bfloat16")
    x, z = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS).astype(dtype), np.ones((ROWS, 1), dtype)
    plan = native.load(graph_of(function, [x, z]), 1).plan
    step = next(s for s in plan.steps if isinstance(s, KernelStep) and s.writes[0].dtype == kept and len(s.kernel.outer)
                == 1)
    module = ir.Module()
    kernel = Compiled(module, step.emit(step.subject, module, "kernel", target), target, level=2)
    written = np.full(ROWS * COLUMNS * step.writes[0].item + 64, 0xAA, np.uint8)
    memory = {plan.inputs[0]: x, plan.inputs[1]: z, step.writes[0]: written}
    control = np.zeros(64, np.int64)
    kernel.functions[0](*(memory[b].ctypes.data for b in step.slots), control.ctypes.data, 0, 3)
    assert np.all(written[3 * COLUMNS * step.writes[0].item:] == 0xAA)
