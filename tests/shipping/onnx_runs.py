# SPDX-License-Identifier: Apache-2.0
"""Export, check and run in ONNX Runtime, beside the model itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def session(path: Path) -> Any:
    """The file, checked in full, in ONNX Runtime."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    onnx.checker.check_model(str(path), full_check=True)
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return runtime.InferenceSession(str(path), options)


def run(ready: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs for inputs in the order of the file, without those that it does not read."""
    return list(ready.run(None, {item.name: array for item, array in zip(ready.get_inputs(), arrays, strict=True)}))


def leaves(value: Any) -> list[np.ndarray]:
    """The arrays of a structure."""
    return [np.asarray(leaf) for leaf in cr.foundations.tree.flatten(value)[0]]


def same(model: Callable[..., Any], path: Path, draws: Sequence[Sequence[np.ndarray]], rtol: float = 1e-4,
         atol: float = 2e-5, **options: Any) -> None:
    """The file for the first of `draws` gives what the model gives, for each of them."""
    first = tuple(draws[0])
    cr.export(model, path, first if len(first) > 1 else first[0], **options)
    ready = session(path)
    for arrays in draws:
        expected, found = leaves(model(*arrays)), run(ready, arrays)
        assert [(x.shape, x.dtype) for x in found] == [(x.shape, x.dtype) for x in expected]
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)
