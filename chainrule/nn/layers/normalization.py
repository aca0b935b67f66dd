# SPDX-License-Identifier: Apache-2.0
"""Normalisation: (x - mean) / sqrt(variance + epsilon) over some axes, then a scale and a shift for each channel.

Mean and variance keep what float32 numbers hold however large their mean is; the mean itself is rounded, so an output
may be off by half the distance of two numbers there over the standard deviation, 0.03 for 1e6 ± 1. The derivative is
written out once, for all of them: dx = (g - mean(g) - y mean(g y)) / sqrt(variance + epsilon).
"""

from __future__ import annotations

import functools
from typing import Any

from ...errors import ArgumentError, ShapeError, explain, shown
from ...ir import Tensor, as_tensor
from ...ir.dtype import canonical
from ...ops.compose import unit
from ...ops.control import custom_gradient, stop_gradient
from ...ops.elementwise import add, as_float, sqrt
from ...ops.movement import pad, reshape, slice_axis
from ...ops.reduce import exact_mean, mean, sum, var
from ...typing import DTypeLike
from .. import initializers
from ..core.checks import ONLY_WHAT_COMES_OUT, axis_names, describe, need_features, need_float, origin, positive, small
from ..core.module import Module


def normalize(x: Tensor, axes: tuple[int, ...], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over `axes`."""
    def inverse(x: Tensor) -> Tensor:
        return 1 / sqrt(var(x, axis=axes, keepdims=True) + epsilon)

    def rule(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
        return ((g - mean(g, axis=axes, keepdims=True) - y * mean(g * y, axis=axes, keepdims=True)) * inverse(x),)
    return custom_gradient((x - exact_mean(x, axes)[0]) * inverse(x), (x,), rule)


def normalize_channels(x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, statistics and parameters per channel, the last axis.

    The derivative reads g and x twice, once for two sums per channel, db = sum(g) and dw = sum(g y), y without weight
    and bias, and once for dx = (g - db / n - y dw / n) * weight / sqrt(variance + epsilon).
    """
    axes = tuple(range(x.ndim - 1))
    parameters = [parameter for parameter in (weight, bias) if parameter is not None]

    def inverse(x: Tensor) -> Tensor:
        return 1 / sqrt(var(x, axis=axes, keepdims=True) + epsilon)

    def plain(x: Tensor) -> Tensor:
        return (x - exact_mean(x, axes)[0]) * inverse(x)

    def rule(g: Tensor, y: Tensor, x: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        n, y = x.size // max(x.shape[-1], 1), plain(x)
        db, dw = sum(g, axis=axes), sum(g * y, axis=axes)
        factor = inverse(x) if weight is None else inverse(x) * weight
        dx = (g - db / n - y * (dw / n)) * factor
        return (dx, *([dw] if weight is not None else []), *([db] if bias is not None else []))
    y = plain(x)
    y = y if weight is None else y * weight
    return custom_gradient(y if bias is None else y + bias, (x, *parameters), rule)


def _names(x: Tensor) -> tuple[str, ...]:
    if x.ndim == 2:
        return ("batch", "features")
    return axis_names(x.ndim - 2) if 3 <= x.ndim <= 5 else tuple(f"axis {i}" for i in range(x.ndim))


class Normalization(Module):
    """What all of them share: weight (from 1) and bias (from 0) along the last axis, or the last `axes`."""

    dtype: Any = "float32"
    scale, shift = True, True
    axes = 1

    def _input_type(self) -> Any:
        return canonical(self.dtype)

    def build(self, x: Any) -> None:
        self._check(x)
        self.features = x.shape[-self.axes:]
        if self.scale:
            self.weight = initializers.make("ones", self.features, self.dtype, "weight")
        if self.shift:
            self.bias = initializers.make("zeros", self.features, self.dtype, "bias")

    def _check(self, x: Any) -> None:
        if x.ndim <= self.axes:
            raise ShapeError(explain("normalisation needs a batch and features", got=describe(x.shape) + origin(x),
                                     expected="(batch, ..., "
                                              f"{'features' if self.axes == 1 else f'{self.axes} axes of features'})"))
        need_float(x, self.dtype)

    def _scaled(self, y: Tensor) -> Tensor:
        y = y * self.weight if self.scale else y
        return y + self.bias if self.shift else y

    def _checked(self, x: Any) -> Any:
        self._check(x)
        need_features(x, self.features[-1], _names(x), "make a new layer for what comes in")
        if x.shape[-self.axes:] != self.features:
            raise ShapeError(explain(f"the input ends with {x.shape[-self.axes:]}, this layer was built for "
                                     f"{self.features}",
                                     got=describe(x.shape, _names(x)) + origin(x),
                                     expected=f"(batch, ..., {', '.join(map(str, self.features))})",
                                     fix="make a new layer for what comes in"))
        return x


class LayerNorm(Normalization):
    """y = (x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis (Ba et al., 2016).

    Args:
        epsilon: added to the variance.
        scale, shift: have weight and bias.
        axes: how many of the last axes are normalised together, with a weight for each element of theirs.

    >>> nn.LayerNorm()(cr.asarray([[1.0, 3.0]])).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(self, epsilon: float = 1e-5, scale: bool = True, shift: bool = True, dtype: DTypeLike = "float32",
                 axes: int = 1):
        self.epsilon, self.scale, self.shift, self.dtype = small("epsilon", epsilon), scale, shift, canonical(dtype)
        self.axes = positive("axes", axes)

    def forward(self, x: Any) -> Any:
        x = self._checked(x)
        return self._scaled(normalize(x, tuple(range(x.ndim - self.axes, x.ndim)), self.epsilon))


class RMSNorm(Normalization):
    """y = x / sqrt(mean(x^2) + epsilon) * weight over the last axis (Zhang and Sennrich, 2019).

    >>> nn.RMSNorm()(cr.asarray([[3.0, 4.0]])).numpy().round(3)
    array([[0.849, 1.131]], dtype=float32)
    """

    shift = False

    def __init__(self, epsilon: float = 1e-6, dtype: DTypeLike = "float32", scale: bool = True):
        self.epsilon, self.dtype, self.scale = small("epsilon", epsilon), canonical(dtype), scale

    def forward(self, x: Any) -> Any:
        x = self._checked(x)
        return self._scaled(x / sqrt(mean(x * x, axis=-1, keepdims=True) + self.epsilon))


class UnitNorm(Module):
    """y = x / max(|x|, epsilon), the Euclidean length over the last axis; nothing is learnt.

    >>> nn.UnitNorm()(cr.asarray([[3.0, 4.0]])).numpy()
    array([[0.6, 0.8]], dtype=float32)
    """

    def __init__(self, epsilon: float = 1e-12):
        self.epsilon = small("epsilon", epsilon)

    def forward(self, x: Any) -> Any:
        return unit(x, self.epsilon)


class LocalResponseNorm(Module):
    """y_c = x_c / (k + alpha / size * sum of x^2 over the `size` channels round c)^beta (Krizhevsky et al., 2012).

    With an even size the channel more lies before c, as in PyTorch.

    >>> nn.LocalResponseNorm(3)(cr.ones((1, 2, 2, 4))).shape
    (1, 2, 2, 4)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size, self.alpha, self.beta, self.k = positive("size", size), alpha, beta, k

    def forward(self, x: Any) -> Any:
        x = as_float(x)
        padded = pad(x * x, [(0, 0)] * (x.ndim - 1) + [(self.size // 2, (self.size - 1) // 2)])
        near = functools.reduce(add, (slice_axis(padded, x.ndim - 1, i, i + x.shape[-1]) for i in range(self.size)))
        return x / (self.k + self.alpha / self.size * near) ** self.beta


class GroupNorm(Normalization):
    """Each sample's channels in `groups` groups, each normalised over its channels and positions (Wu and He, 2018).

    >>> nn.GroupNorm(groups=2)(cr.ones((2, 8, 8, 4))).shape
    (2, 8, 8, 4)
    """

    def __init__(self, groups: int, epsilon: float = 1e-5, dtype: DTypeLike = "float32", scale: bool = True,
                 shift: bool = True):
        self.groups, self.epsilon, self.dtype = positive("groups", groups), small("epsilon", epsilon), canonical(dtype)
        self.scale, self.shift = scale, shift

    def _check(self, x: Any) -> None:
        super()._check(x)
        if x.shape[-1] % self.groups:
            choices = [n for n in range(1, x.shape[-1] + 1) if x.shape[-1] % n == 0]
            raise ArgumentError(explain(f"{self.groups} groups do not divide {x.shape[-1]} channels",
                                        got=describe(x.shape, _names(x)) + origin(x),
                                        expected="groups from " + ", ".join(map(str, choices)),
                                        fix=f"GroupNorm({min(choices, key=lambda n: abs(n - self.groups))})"))

    def forward(self, x: Any) -> Any:
        x = self._checked(x)
        parts = reshape(x, (*x.shape[:-1], self.groups, x.shape[-1] // self.groups))
        y = normalize(parts, (*range(1, x.ndim - 1), x.ndim), self.epsilon)
        return self._scaled(reshape(y, x.shape))


class InstanceNorm(Normalization):
    """Each channel of each sample over its positions (Ulyanov et al., 2016): (N, *S, C).

    >>> nn.InstanceNorm()(cr.ones((2, 8, 8, 4))).shape
    (2, 8, 8, 4)
    """

    def __init__(self, epsilon: float = 1e-5, scale: bool = True, shift: bool = True, dtype: DTypeLike = "float32"):
        self.epsilon, self.scale, self.shift, self.dtype = small("epsilon", epsilon), scale, shift, canonical(dtype)

    def forward(self, x: Any) -> Any:
        x = self._checked(x)
        if x.ndim < 3:
            raise ShapeError(explain("instance normalisation needs positions",
                                     got=describe(x.shape, _names(x)) + origin(x),
                                     expected="(batch, ..., channels)", fix="use LayerNorm for vectors"))
        return self._scaled(normalize(x, tuple(range(1, x.ndim - 1)), self.epsilon))


class BatchNorm(Normalization):
    """y = (x - mean) / sqrt(variance + epsilon) * weight + bias, per channel, over the batch and all positions
    (Ioffe and Szegedy, 2015).

    In training the statistics are those of the batch (variance / n); `running_mean` and `running_variance` (variance /
    (n - 1)) follow them: running = momentum * running + (1 - momentum) * batch, and are used otherwise, and in training
    if the layer is frozen.

    Args:
        momentum: the share of the past, as in Keras; 0.9 here is 0.1 in PyTorch.
        epsilon: added to the variance.

    >>> layer = nn.BatchNorm()
    >>> x = cr.asarray([[1.0], [3.0]])
    >>> layer(x, training=True).numpy().round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    """

    statistics = ("running_mean", "running_variance")

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, scale: bool = True, shift: bool = True,
                 dtype: DTypeLike = "float32"):
        if not 0 <= momentum < 1:
            raise ArgumentError(explain("momentum is the share of the past that is kept", got=shown(momentum),
                                        expected="0 <= momentum < 1",
                                        fix=ONLY_WHAT_COMES_OUT + "BatchNorm(), not BatchNorm(64)"))
        self.momentum, self.epsilon = momentum, small("epsilon", epsilon)
        self.scale, self.shift, self.dtype = scale, shift, canonical(dtype)

    def build(self, x: Any) -> None:
        super().build(x)
        self.running_mean = initializers.make("zeros", self.features, self.dtype, "running_mean", trainable=False)
        self.running_variance = initializers.make("ones", self.features, self.dtype, "running_variance",
                                                  trainable=False)

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self._checked(x)
        if not training or self.running_mean.frozen:
            factor = 1 / sqrt(self.running_variance + self.epsilon)
            y = (x - self.running_mean) * (self.weight * factor if self.scale else factor)
            return y + self.bias if self.shift else y
        axes = tuple(range(x.ndim - 1))
        self._follow(x, axes)
        weight, bias = self.weight if self.scale else None, self.bias if self.shift else None
        return normalize_channels(as_tensor(x), weight, bias, self.epsilon)

    def _follow(self, x: Tensor, axes: tuple[int, ...]) -> None:
        n = x.size // max(self.features[-1], 1)
        if n < 2:
            raise ShapeError(explain("batch statistics need more than one value per channel",
                                     got=describe(x.shape, _names(x)) + origin(x),
                                     expected="at least two samples or positions",
                                     fix="use a larger batch, or LayerNorm"))
        x = stop_gradient(x)
        for running, batch in ((self.running_mean, reshape(exact_mean(x, axes)[0], self.features)),
                               (self.running_variance, var(x, axis=axes) * (n / (n - 1)))):
            running.assign(self.momentum * as_tensor(running) + (1 - self.momentum) * batch)
