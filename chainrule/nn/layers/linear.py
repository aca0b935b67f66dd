# SPDX-License-Identifier: Apache-2.0
"""The fully connected layer and its relatives, and the layers that only change shapes: Flatten, Reshape, Permute."""

from __future__ import annotations

import math
from typing import Any

from ...arrays.einsum import einsum
from ...errors import ArgumentError, ShapeError, explain, shown
from ...ir.dtype import canonical
from ...ops.broadcast import broadcast_to
from ...ops.compose import matmul
from ...ops.movement import permute_dims, reshape
from ...ops.reduce import max
from ...typing import ActivationLike, DTypeLike, InitializerLike
from .. import activations, initializers
from ..core.checks import describe, need_features, need_float, origin, positive
from ..core.module import Module


def _axes(x: Any) -> tuple[str, ...]:
    return ("batch", *(f"axis {i}" for i in range(1, x.ndim - 1)), "features") if x.ndim > 1 else ("features",)


class Dense(Module):
    """y = activation(x W + b), W (in, units), over the last axis of x (batch, ..., in).

    Args:
        units: features that come out.
        activation: name, function or layer.
        bias: whether there is a b.
        weight_initializer, bias_initializer: see `nn.initializers`.

    >>> layer = nn.Dense(3, activation="relu")
    >>> layer(cr.ones((2, 4))).shape
    (2, 3)
    >>> layer.weight.shape, layer.bias.shape
    ((4, 3), (3,))
    """

    def __init__(self, units: int, activation: ActivationLike = None, bias: bool = True,
                 weight_initializer: InitializerLike = "glorot_uniform",
                 bias_initializer: InitializerLike = "zeros", dtype: DTypeLike = "float32"):
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
    """All axes but the batch as one, in row-major order: (N, H, W, C) -> (N, H W C).

    >>> nn.Flatten()(cr.ones((2, 4, 4, 3))).shape
    (2, 48)
    """

    def forward(self, x: Any) -> Any:
        return reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class Reshape(Module):
    """Each sample in another shape: (N, ...) -> (N, *shape); one extent may be -1.

    >>> nn.Reshape((2, -1))(cr.ones((5, 6))).shape
    (5, 2, 3)
    """

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


class Permute(Module):
    """The axes of each sample in another order: `axes` counts them from 1, the batch axis stays (as in Keras).

    >>> nn.Permute((2, 1))(cr.ones((4, 5, 3))).shape
    (4, 3, 5)
    """

    def __init__(self, axes: tuple[int, ...]):
        self.axes = tuple(axes)
        if sorted(self.axes) != list(range(1, len(self.axes) + 1)):
            raise ArgumentError(explain("the axes of a sample are counted from 1, each once", got=str(self.axes)))

    def forward(self, x: Any) -> Any:
        if x.ndim != len(self.axes) + 1:
            raise ShapeError(explain(f"there are {len(self.axes)} axes to permute", got=describe(x.shape) + origin(x),
                                     expected=f"{len(self.axes) + 1} axes with the batch"))
        return permute_dims(x, (0, *self.axes))


class RepeatVector(Module):
    """Each vector `count` times: (N, F) -> (N, count, F).

    >>> nn.RepeatVector(3)(cr.asarray([[1.0, 2.0]])).numpy()
    array([[[1., 2.],
            [1., 2.],
            [1., 2.]]], dtype=float32)
    """

    def __init__(self, count: int):
        self.count = positive("count", count)

    def forward(self, x: Any) -> Any:
        if x.ndim != 2:
            raise ShapeError(explain("only vectors are repeated", got=describe(x.shape) + origin(x),
                                     expected="(batch, features)"))
        return broadcast_to(reshape(x, (x.shape[0], 1, x.shape[1])), (x.shape[0], self.count, x.shape[1]))


class Identity(Module):
    """x itself.

    >>> nn.Identity()(cr.asarray([[-1.0, 2.0]])).numpy()
    array([[-1.,  2.]], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return x


class Maxout(Dense):
    """y = max over `pieces` of (x W_i + b_i): a convex activation that is learnt (Goodfellow et al., 2013).

    Args:
        units: features that come out.
        pieces: lines for each of them.
        bias, weight_initializer, bias_initializer: as in Dense; weight (in, units * pieces).

    >>> nn.Maxout(4, pieces=3)(cr.ones((2, 5))).shape
    (2, 4)
    """

    def __init__(self, units: int, pieces: int = 2, bias: bool = True,
                 weight_initializer: InitializerLike = "glorot_uniform", bias_initializer: InitializerLike = "zeros",
                 dtype: DTypeLike = "float32"):
        Dense.__init__(self, units * positive("pieces", pieces), None, bias, weight_initializer, bias_initializer,
                       dtype)
        self.pieces = pieces

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        return max(reshape(y, (*y.shape[:-1], self.units // self.pieces, self.pieces)), axis=-1)


class Bilinear(Module):
    """y_k = x1^T W_k x2 + b_k for two inputs (..., a) and (..., b); weight (a, b, units).

    Args:
        units: features that come out.
        bias, weight_initializer, bias_initializer: as in Dense.

    >>> nn.Bilinear(4)(cr.ones((2, 3)), cr.ones((2, 5))).shape
    (2, 4)
    """

    def __init__(self, units: int, bias: bool = True, weight_initializer: InitializerLike = "glorot_uniform",
                 bias_initializer: InitializerLike = "zeros", dtype: DTypeLike = "float32"):
        self.units, self.use_bias, self.dtype = positive("units", units), bias, canonical(dtype)
        self.initial = (weight_initializer, bias_initializer)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x1: Any, x2: Any) -> None:
        shape = (x1.shape[-1], x2.shape[-1], self.units)
        self.weight = initializers.make(self.initial[0], shape, self.dtype, "weight")
        if self.use_bias:
            self.bias = initializers.make(self.initial[1], (self.units,), self.dtype, "bias")

    def forward(self, x1: Any, x2: Any) -> Any:
        for x in (x1, x2):
            need_float(x, self.dtype)
        if x1.shape[:-1] != x2.shape[:-1] or (x1.shape[-1], x2.shape[-1]) != self.weight.shape[:2]:
            raise ShapeError(explain("the two inputs do not fit", got=f"{x1.shape} and {x2.shape}",
                                     expected=f"(..., {self.weight.shape[0]}) and (..., {self.weight.shape[1]})"))
        y = einsum("...a,...b,abk->...k", x1, x2, self.weight)
        return y + self.bias if self.use_bias else y


class EinsumDense(Module):
    """y = activation(einsum(equation, x, W) + b): a Dense over any axes, such as "abc,cde->abde".

    Args:
        equation: of the input and the weight.
        output_shape: of one sample; None for extents that follow from the input, in the order of the equation.
        activation: name, function or layer.
        bias_axes: letters of the output along which there is a bias; None for none.
        weight_initializer, bias_initializer: as in Dense.

    >>> nn.EinsumDense("abc,cd->abd", output_shape=(None, 8))(cr.ones((2, 5, 4))).shape
    (2, 5, 8)
    """

    def __init__(self, equation: str, output_shape: Any, activation: ActivationLike = None,
                 bias_axes: str | None = None, weight_initializer: InitializerLike = "glorot_uniform",
                 bias_initializer: InitializerLike = "zeros", dtype: DTypeLike = "float32"):
        left, _, self.output = equation.replace(" ", "").partition("->")
        self.inputs, _, self.letters = left.partition(",")
        if not (self.inputs and self.letters and self.output) or "." in equation:
            raise ArgumentError(explain("this equation is not understood", got=shown(equation),
                                        expected='"input,weight->output" with a letter for each axis: "abc,cd->abd"'))
        shape = (output_shape,) if isinstance(output_shape, int) or output_shape is None else tuple(output_shape)
        if len(shape) != len(self.output) - 1 or set(bias_axes or "") - set(self.output):
            raise ArgumentError(explain("the shape or the bias does not fit the output of the equation",
                                        got=f"output_shape={shape}, bias_axes={bias_axes!r}",
                                        expected=f"{len(self.output) - 1} extents, letters of {self.output}"))
        self.equation, self.shape, self.bias_axes = equation, shape, bias_axes
        self.activation, self.dtype = activations.get(activation), canonical(dtype)
        self.initial = (weight_initializer, bias_initializer)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        self._check(x)
        extent = {**dict(zip(self.output[1:], self.shape, strict=True)), **dict(zip(self.inputs, x.shape, strict=True))}
        shape = tuple(extent[letter] for letter in self.letters)
        self.weight = initializers.make(self.initial[0], shape, self.dtype, "weight")
        if self.bias_axes:
            first = min(self.output.index(letter) for letter in self.bias_axes)
            shape = tuple(extent[c] if c in self.bias_axes else 1 for c in self.output[first:])
            self.bias = initializers.make(self.initial[1], shape, self.dtype, "bias")

    def _check(self, x: Any) -> None:
        if x.ndim != len(self.inputs):
            raise ShapeError(explain(f"the equation {self.equation} is for {len(self.inputs)} axes",
                                     got=describe(x.shape) + origin(x), expected=f"{len(self.inputs)} axes"))
        need_float(x, self.dtype)

    def forward(self, x: Any) -> Any:
        self._check(x)
        y = einsum(self.equation, x, self.weight)
        return self.activation(y + self.bias if self.bias_axes else y)
