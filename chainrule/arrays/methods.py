# SPDX-License-Identifier: Apache-2.0
"""The methods that the array API standard asks of an array beside operators, put on Tensor and Variable with NumPy's
methods; methods of
PyTorch's arrays are functions here, which the message about a missing one says.

`x += y` makes a new Tensor, as `x = x + y`: whoever else holds the old one keeps it. A Variable is assigned to in
place.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..errors import ArgumentError, explain
from ..foundations.names import unknown_member
from ..ir.tensor import Tensor
from ..ir.variable import Variable
from ..typing import Device
from . import numpy_functions
from .creation import check_device
from .numpy_methods import METHODS

VERSION = "2024.12"
_VERSIONS = ("2021.12", "2022.12", "2023.12", VERSION)
_IN_PLACE = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift",
             "rshift")


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> ModuleType:
    """The module with the functions of the array API standard: chainrule."""
    if api_version is not None and api_version not in _VERSIONS:
        raise ArgumentError(explain("this version of the array API standard is not supported", got=repr(api_version),
                                    expected=" | ".join(_VERSIONS)))
    return importlib.import_module(__name__.partition(".")[0])


def to_device(self: Tensor, device: Device, /, *, stream: Any = None) -> Tensor:
    """The tensor on the device; eager tensors live on the CPU only."""
    check_device(device)
    if stream is not None:
        raise ArgumentError(explain("a CPU has no streams", got=f"stream {stream!r}", fix="leave stream=None"))
    return self


GRADIENT = "gradients are results: cr.gradients(loss, model), or cr.grad(function)(x)"
FUNCTIONS = {  # methods of other libraries that are functions of another name here
    "backward": GRADIENT, "grad": GRADIENT, "requires_grad": GRADIENT, "requires_grad_": GRADIENT,
    "detach": "cr.stop_gradient(x)",
    "view": "x.reshape(shape)", "permute": "x.transpose(axes)", "t": "x.T", "unsqueeze": "cr.expand_dims(x, axis=...)",
    "expand": "cr.broadcast_to(x, shape)", "mm": "x @ y", "bmm": "x @ y", "clone": "x.copy()", "contiguous": "x itself",
    "cpu": "x itself",
    "to": "x.astype(dtype)", "float": "x.astype('float32')", "double": "x.astype('float64')",
    "long": "x.astype('int64')",
    "int": "x.astype('int32')", "bool": "x.astype(bool)",
    "half": "x.astype('float32'): 16-bit floats do not exist here",
    "type": "x.astype(dtype)", "norm": "cr.linalg.vector_norm(x)", "clamp": "x.clip(low, high)", "add_": "x += y",
    "mul_": "x *= y",
    "cuda": "cr.compile(f, backend='xla') computes on another device", "is_cuda": "x.device", "data": "x.numpy()",
    "fill": "cr.full_like(x, value)",
    "masked_fill": "cr.where(mask, value, x)", "scatter_": "x[i] = value",
    "gather": "cr.take_along_axis(x, i, axis=...)", "item_": "x.item()",
    "fill_": "cr.full_like(x, value)", "zero_": "cr.zeros_like(x)", "nelement": "x.size", "numel": "x.size",
    "dim": "x.ndim",
}


def _missing(self: Any, name: str) -> Any:
    """The error for a method that an array does not have, with the function to use in its place."""
    if name not in FUNCTIONS and not name.startswith("_") and name in array_namespace(self).__all__:
        raise unknown_member(type(self).__name__, name, {name: f"it is a function: cr.{name}(x, ...)"})
    raise unknown_member(type(self).__name__, name, FUNCTIONS)


def _assigning(function: Callable[[Any, Any], Any]) -> Callable[[Variable, Any], Variable]:
    def method(self: Variable, other: Any) -> Variable:
        self.assign(function(self.value, other))
        return self
    return method


def install() -> None:
    """Put the methods on the classes."""
    numpy_functions.install()
    for name, function in METHODS.items():
        for kind in (Tensor, Variable):
            setattr(kind, name, function)
    Tensor.__array_namespace__ = array_namespace  # type: ignore[attr-defined]
    Tensor.to_device = to_device  # type: ignore[attr-defined]
    for kind in (Tensor, Variable):
        kind.__getattr__ = _missing  # type: ignore[attr-defined]
    for name in _IN_PLACE:
        setattr(Variable, f"__i{name.strip('_')}__", _assigning(getattr(operator, name)))
