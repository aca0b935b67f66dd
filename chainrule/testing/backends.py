# SPDX-License-Identifier: Apache-2.0
"""`compare_backends`: what a function gives at once, by NumPy, against what every compiled program of it gives."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..compiler.compile import backend_module, compile
from ..errors import explain
from ..foundations import tree
from ..foundations.config import BACKENDS
from ..ir import as_tensor
from ..typing import ArrayLike


def available(backend: str) -> bool:
    """Whether programs of the backend can run here (its optional dependency is installed).

    >>> cr.testing.available("native")
    True
    """
    if importlib.util.find_spec(BACKENDS[backend]) is None:
        return False
    return hasattr(backend_module(backend), "load")


def compare_backends(function: Callable[..., Any], *arrays: ArrayLike, backends: Sequence[str] | None = None,
                     rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Raise AssertionError unless `function(*arrays)` gives the same shapes, dtypes and values compiled as eagerly.

    Args:
        function: takes tensors, returns a tensor or a structure of them.
        backends: names; default: all that are available here.
        rtol, atol: |compiled - eager| <= atol + rtol |eager|; integers and booleans must be equal.

    >>> f = lambda x: cr.sum(cr.exp(x))
    >>> cr.testing.compare_backends(f, np.array([0.1, 0.2], "float32"), backends=["reference", "native"])
    """
    expected = _arrays(function(*map(as_tensor, arrays)))
    for backend in backends if backends is not None else [name for name in BACKENDS if available(name)]:
        found = _arrays(compile(function, backend=backend)(*arrays))
        if len(found) != len(expected):
            raise AssertionError(f"{backend}: {len(found)} results instead of {len(expected)}")
        for i, (value, wanted) in enumerate(zip(found, expected, strict=True)):
            assert_same(value, wanted, f"{backend}, result {i}", rtol, atol)


def _arrays(result: Any) -> list[np.ndarray]:
    return [as_tensor(y).numpy() for y in tree.flatten(result)[0]]


def assert_same(value: np.ndarray, wanted: np.ndarray, what: str, rtol: float, atol: float) -> None:
    """Raise AssertionError unless both arrays have one shape and dtype and close values (equal ones, if not floats)."""
    if (value.shape, value.dtype) != (wanted.shape, wanted.dtype):
        raise AssertionError(explain(f"{what}: another type", got=f"{value.dtype}{list(value.shape)}",
                                     expected=f"{wanted.dtype}{list(wanted.shape)}"))
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(value, wanted, rtol=rtol, atol=atol, err_msg=what)
    else:
        np.testing.assert_array_equal(value, wanted, err_msg=what)
