# SPDX-License-Identifier: Apache-2.0
"""What PyTorch refuses (its own list of wrong inputs, OpInfo's `error_inputs`), we refuse with our errors, or compute
by the array API."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError

WORDS = {"dim": "axis", "keepdim": "keepdims"}
# the array API lets scalars stand for arrays, a range that leads nowhere be empty, and vectors of `cross` broadcast
COMPUTED = {"arange", "atan2", "bitwise_left_shift", "bitwise_right_shift", "remainder", "logaddexp", "maximum",
            "minimum", "logical_and",
            "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "pow", "cross"}


def converted(value: Any) -> Any:
    """A value of PyTorch as NumPy's."""
    torch = pytest.importorskip("torch")
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    if isinstance(value, list | tuple):
        return type(value)(map(converted, value))
    return str(value).split(".")[1] if isinstance(value, torch.dtype) else value


def cases() -> Iterator[tuple[Any, str, list[Any], dict[str, Any]]]:
    """(our function, its name, arguments, options)."""
    pytest.importorskip("torch")
    pytest.importorskip("expecttest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    for op in op_db:
        name = op.name.split(".")[-1]
        function = getattr(cr, name, None) or getattr(cr.linalg, name, None)
        if op.error_inputs_func is None or op.variant_test_name or not callable(function):
            continue
        for item in op.error_inputs("cpu"):
            sample = item.sample_input
            options = {WORDS.get(key, key): converted(value) for key, value in sample.kwargs.items()}
            if "out" not in options:
                yield function, name, [converted(sample.input), *map(converted, sample.args)], options


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_pytorch_refuses_is_refused_or_standard() -> None:
    seen, bad = 0, []
    for function, name, arguments, options in cases():
        seen += 1
        try:
            function(*arguments, **options)
        except ChainruleError:
            continue
        except Exception as error:
            if not (isinstance(error, TypeError) and "unexpected keyword" in str(error)):
                bad.append(f"{name}: {type(error).__name__}: {error}")
            continue
        if name not in COMPUTED:
            bad.append(f"{name}{tuple(np.shape(a) for a in arguments)} computes")
    assert seen > 80 and not bad, "\n".join(bad)
