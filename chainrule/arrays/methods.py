# SPDX-License-Identifier: Apache-2.0
"""The methods that the array API standard asks of an array beside operators, put on Tensor and Variable.

`x += y` makes a new Tensor, as `x = x + y`: whoever else holds the old one keeps it. A Variable is assigned to in place.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..errors import ArgumentError, explain
from ..ir.tensor import Tensor
from ..ir.variable import Variable
from .creation import check_device

VERSION = "2024.12"
_VERSIONS = ("2021.12", "2022.12", "2023.12", VERSION)
_IN_PLACE = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift")


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> ModuleType:
    """The module with the functions of the array API standard: chainrule."""
    if api_version is not None and api_version not in _VERSIONS:
        raise ArgumentError(explain("this version of the array API standard is not supported", got=repr(api_version),
                                    expected=" | ".join(_VERSIONS)))
    return importlib.import_module(__name__.partition(".")[0])


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on the device; eager tensors live on the CPU only."""
    check_device(device)
    if stream is not None:
        raise ArgumentError(explain("a CPU has no streams", got=f"stream {stream!r}", fix="leave stream=None"))
    return self


def _assigning(function: Callable[[Any, Any], Any]) -> Callable[[Variable, Any], Variable]:
    def method(self: Variable, other: Any) -> Variable:
        self.assign(function(self.value, other))
        return self
    return method


def install() -> None:
    """Put the methods on the classes."""
    Tensor.__array_namespace__ = array_namespace  # type: ignore[attr-defined]
    Tensor.to_device = to_device  # type: ignore[attr-defined]
    for name in _IN_PLACE:
        setattr(Variable, f"__i{name.strip('_')}__", _assigning(getattr(operator, name)))
