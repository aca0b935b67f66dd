# SPDX-License-Identifier: Apache-2.0
"""The fully connected layer, and the layers that only change shapes: Flatten, Reshape."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError, ShapeError, explain
from ..ir.dtype import canonical
from ..ops.compose import matmul
from ..ops.movement import reshape
from . import activations, initializers
from .checks import describe, need_features, need_float, origin, positive
from .module import Module


def _axes(x: Any) -> tuple[str, ...]:
    return ("batch", *(f"axis {i}" for i in range(1, x.ndim - 1)), "features") if x.ndim > 1 else ("features",)


class Dense(Module):
    """y = activation(x W + b), W (in, units), over the last axis of x (batch, ..., in).

    Args:
        units: features that come out.
        activation: name, function or layer.
        bias: whether there is a b.
        weight_initializer, bias_initializer: see `nn.initializers`.
    """

    def __init__(self, units: int, activation: Any = None, bias: bool = True,
                 weight_initializer: Any = "glorot_uniform",
                 bias_initializer: Any = "zeros", dtype: Any = "float32"):
        self.units = positive("units", units)
        self.activation = activations.get(activation)
        self.use_bias, self.initial, self.dtype = bias, (weight_initializer, bias_initializer), canonical(dtype)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        self._check(x)
        self.weight = initializers.make(self.initial[0], (x.shape[-1], self.units), self.dtype, "weight")
        if self.use_bias:
            self.bias = initializers.make(self.initial[1], (self.units,), self.dtype, "bias")

    def forward(self, x: Any) -> Any:
        self._check(x)
        need_features(x, self.weight.shape[0], _axes(x),
                      f"make the layer for what comes in: a new Dense({self.units}) infers {x.shape[-1]} "
                      "at its first call")
        y = matmul(x, self.weight)
        return self.activation(y + self.bias if self.use_bias else y)

    def _check(self, x: Any) -> None:
        if x.ndim < 2:
            raise ShapeError(explain("a fully connected layer needs a batch of vectors",
                                     got=describe(x.shape) + origin(x),
                                     expected="(batch, features)",
                                     fix="one sample is a batch of one: x[None]" if x.ndim
                                     else "reshape the input to (batch, features)"))
        need_float(x, self.dtype)


class Flatten(Module):
    """All axes but the batch as one, in row-major order: (N, H, W, C) -> (N, H W C)."""

    def forward(self, x: Any) -> Any:
        return reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class Reshape(Module):
    """Each sample in another shape: (N, ...) -> (N, *shape); one extent may be -1."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if self.shape.count(-1) > 1:
            raise ArgumentError(explain("one extent at most can be computed", got=str(self.shape),
                                        expected="a single -1"))

    def forward(self, x: Any) -> Any:
        size, known = math.prod(x.shape[1:]), math.prod(n for n in self.shape if n != -1)
        if (size % known if known else size) if -1 in self.shape else size != known:
            raise ShapeError(explain(f"a sample of {size} elements does not fill the shape {self.shape}",
                                     got=describe(x.shape) + origin(x),
                                     expected=f"{known} elements per sample" if -1 not in self.shape
                                     else f"a multiple of {known}",
                                     fix="use -1 for one extent to have it computed" if -1 not in self.shape else
                                     "change the extents that are given, so that they divide the sample"))
        return reshape(x, (x.shape[0], *(size // known if n == -1 else n for n in self.shape)))
