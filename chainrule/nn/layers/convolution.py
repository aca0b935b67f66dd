# SPDX-License-Identifier: Apache-2.0
"""Convolutions over one, two or three spatial axes, channels-last.

Images are (N, *S, in), weights (*kernel, in / groups, out).

Padding "same" is Keras's: ceil(extent / stride) windows, the odd zero on the high side. "same_torch" is PyTorch's:
(kernel - 1) dilation zeros whatever the stride. With stride 1 the two are one. "causal"
puts these zeros before a sequence. One class does the work; the ranks are its children.
"""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, ShapeError, explain, shown
from ...foundations.names import closest
from ...ir import as_tensor
from ...ir.dtype import canonical
from ...ops.contract import conv, conv_transpose
from ...typing import ActivationLike, DTypeLike, Extents, InitializerLike, PaddingLike
from .. import activations, initializers
from ..core.checks import SPATIAL, axis_names, describe, extents, need_features, need_float, need_rank, origin, positive
from ..core.module import Module
from .padding import known_mode, pad_spatial

Pairs = tuple[tuple[int, int], ...]


def parse_padding(padding: Any, rank: int) -> Any:
    """"valid", "same", "same_torch", "causal" (sequences), an int, one int or one pair per axis, as one of these words
    or pairs."""
    words = ("valid", "same", "same_torch", *(["causal"] if rank == 1 else []))
    if isinstance(padding, str) and padding in words:
        return padding
    items = (padding,) * rank if isinstance(padding,
                                            int) else tuple(padding) if isinstance(padding, tuple | list) else ()
    pairs = tuple((p, p) if isinstance(p, int) else tuple(p) if isinstance(p, tuple | list) else () for p in items)
    if len(pairs) != rank or not all(len(p) == 2 and all(isinstance(n, int) and n >= 0 for n in p) for p in pairs):
        raise ArgumentError(explain("this padding is not understood", got=shown(padding),
                                    expected=", ".join(f'"{word}"' for word in words)
                                    + f", an integer, or {rank} integers or pairs",
                                    fix=closest(padding, words)
                                    or 'use padding="same" to keep the extents'))
    return pairs


def pads(padding: Any, spatial: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...],
         dilation: tuple[int, ...]) -> Pairs:
    """The zeros (before, after) along each spatial axis."""
    if padding == "valid":
        return ((0, 0),) * len(spatial)
    if padding == "same_torch":
        return tuple(((k - 1) * d // 2, (k - 1) * d - (k - 1) * d // 2) for k, d in zip(kernel, dilation, strict=True))
    if padding == "causal":
        return tuple(((k - 1) * d, 0) for k, d in zip(kernel, dilation, strict=True))
    if padding != "same":
        return padding
    total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
             for n, k, s, d in zip(spatial, kernel, stride, dilation, strict=True)]
    return tuple((t // 2, t - t // 2) for t in total)


def check_window(x: Any, kernel: tuple[int, ...], padding: Pairs, dilation: tuple[int, ...], what: str) -> None:
    """At least one window fits along each spatial axis."""
    for name, n, k, (low, high), d in zip(SPATIAL[len(kernel)], x.shape[1:-1], kernel, padding, dilation, strict=True):
        reach = (k - 1) * d + 1
        if reach > n + low + high:
            raise ShapeError(explain(f"the {what} is larger than the image: {name} {n + low + high} < {reach}",
                                     got=describe(x.shape, axis_names(len(kernel))) + origin(x),
                                     expected=f"{name} of at least {reach - low - high}",
                                     fix='use padding="same", a smaller kernel, or fewer pooling layers before'))


class Convolution(Module):
    """The convolution of any rank.

    y[n, o, c] = activation(sum over k, i of x[n, o stride + k dilation - low, i] w[k, i, c] + b[c])

    Args:
        filters: channels that come out.
        kernel_size, stride, dilation: an integer, or one per spatial axis.
        padding: "valid" (none), "same" (as many windows as ceil(extent / stride)), "same_torch" (the zeros of stride 1
            at any stride, PyTorch's kernel // 2 on both sides), "causal" (of sequences: a step sees itself and what
            came before), an integer, or one integer or pair (before, after) per axis.
        groups: channels in and out are split into so many groups that see only each other.
        activation: name, function or layer.
        bias: whether a number per channel is added.
        padding_mode: what lies round the image: "zero", "reflect", "symmetric", "edge" or "circular".
    """

    rank = 2

    def __init__(self, filters: int, kernel_size: Extents, stride: Extents = 1, padding: PaddingLike = "valid",
                 dilation: Extents = 1, groups: int = 1,
                 activation: ActivationLike = None, bias: bool = True,
                 weight_initializer: InitializerLike = "glorot_uniform", bias_initializer: InitializerLike = "zeros",
                 dtype: DTypeLike = "float32", padding_mode: str = "zero"):
        self.filters, self.groups = positive("filters", filters), positive("groups", groups)
        self.kernel, self.stride, self.dilation = (extents(name, value, self.rank) for name, value in
                                                   (("kernel_size", kernel_size), ("stride", stride),
                                                    ("dilation", dilation)))
        self.padding, self.padding_mode = parse_padding(padding, self.rank), known_mode(padding_mode)
        self.activation = activations.get(activation)
        self.use_bias, self.initial, self.dtype = bias, (weight_initializer, bias_initializer), canonical(dtype)
        if filters % groups:
            raise ArgumentError(explain("the groups do not divide the filters",
                                        got=f"filters {filters}, groups {groups}", expected=f"a multiple of {groups}",
                                        fix=f"use filters={-(-filters // groups) * groups}"))

    def _input_type(self) -> Any:
        return self.dtype

    def _weight_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel, channels // self.groups, self.filters)

    def build(self, x: Any) -> None:
        self._check(x)
        if x.shape[-1] % self.groups:
            raise ShapeError(explain(f"{self.groups} groups do not divide {x.shape[-1]} channels",
                                     got=describe(x.shape, axis_names(self.rank)) + origin(x),
                                     expected=f"channels in a multiple of {self.groups}"))
        self.weight = initializers.make(self.initial[0], self._weight_shape(x.shape[-1]), self.dtype, "weight")
        self.channels = x.shape[-1]
        if self.use_bias:
            self.bias = initializers.make(self.initial[1], (self.filters,), self.dtype, "bias")

    def _check(self, x: Any) -> None:
        need_rank(x, self.rank)
        need_float(x, self.dtype, images=True)

    def forward(self, x: Any) -> Any:
        self._check(x)
        need_features(x, self.channels, axis_names(self.rank), self._channels_fix(x))
        y = self.convolve(x)
        return self.activation(y + self.bias if self.use_bias else y)

    def _channels_fix(self, x: Any) -> str:
        if x.shape[1] == self.channels:
            order = (0, *range(2, x.ndim), 1)
            return f"the batch looks like channels-first: transpose it, cr.permute_dims(x, {order})"
        return f"give the images {self.channels} channels, or make a new layer for {x.shape[-1]}"

    def convolve(self, x: Any) -> Any:
        """The convolution without bias and activation."""
        padding = pads(self.padding, x.shape[1:-1], self.kernel, self.stride, self.dilation)
        if self.padding_mode != "zero":
            x, padding = pad_spatial(x, padding, self.padding_mode), ((0, 0),) * self.rank
        check_window(x, self.kernel, padding, self.dilation, "kernel")
        return conv(x, as_tensor(self.weight), stride=self.stride, padding=padding, dilation=self.dilation,
                    groups=self.groups)


class Conv1D(Convolution):
    __doc__ = f"""Convolution over sequences (N, steps, channels). {Convolution.__doc__}

    >>> nn.Conv1D(8, kernel_size=3)(cr.ones((2, 10, 4))).shape
    (2, 8, 8)
    """
    rank = 1


class Conv2D(Convolution):
    __doc__ = f"""Convolution over images (N, height, width, channels). {Convolution.__doc__}

    >>> nn.Conv2D(8, kernel_size=3, padding="same", activation="relu")(cr.ones((2, 28, 28, 1))).shape
    (2, 28, 28, 8)
    """
    rank = 2


class Conv3D(Convolution):
    __doc__ = f"""Convolution over volumes (N, depth, height, width, channels). {Convolution.__doc__}

    >>> nn.Conv3D(8, kernel_size=3)(cr.ones((2, 5, 6, 7, 1))).shape
    (2, 3, 4, 5, 8)
    """
    rank = 3


class DepthwiseConvolution(Convolution):
    """A convolution that sees each channel alone: groups = channels, `multiplier` filters for each.

    Args:
        kernel_size, stride, padding, dilation, activation, bias, padding_mode: as in Conv2D.
        multiplier: channels that come out per channel that comes in; weight (*kernel, 1, in * multiplier).
    """

    def __init__(self, kernel_size: Extents, stride: Extents = 1, padding: PaddingLike = "valid", dilation: Extents = 1,
                 multiplier: int = 1,
                 activation: ActivationLike = None, bias: bool = True,
                 weight_initializer: InitializerLike = "glorot_uniform", bias_initializer: InitializerLike = "zeros",
                 dtype: DTypeLike = "float32", padding_mode: str = "zero"):
        Convolution.__init__(self, 1, kernel_size, stride, padding, dilation, 1, activation, bias, weight_initializer,
                             bias_initializer, dtype, padding_mode)
        self.multiplier = positive("multiplier", multiplier)

    def build(self, x: Any) -> None:
        self._check(x)
        if not x.shape[-1]:
            raise ShapeError(explain("the input has no channels, which are filtered one by one here",
                                     got=describe(x.shape) + origin(x), expected="one channel at least"))
        self.groups, self.filters = x.shape[-1], x.shape[-1] * self.multiplier
        super().build(x)


class DepthwiseConv1D(DepthwiseConvolution):
    __doc__ = f"""Over sequences (N, steps, channels). {DepthwiseConvolution.__doc__}

    >>> nn.DepthwiseConv1D(kernel_size=3, multiplier=2)(cr.ones((2, 10, 4))).shape
    (2, 8, 8)
    """
    rank = 1


class DepthwiseConv2D(DepthwiseConvolution):
    __doc__ = f"""Over images (N, height, width, channels). {DepthwiseConvolution.__doc__}

    >>> nn.DepthwiseConv2D(kernel_size=3)(cr.ones((2, 8, 8, 4))).shape
    (2, 6, 6, 4)
    """
    rank = 2


class SeparableConvolution(Module):
    """A depthwise convolution, which mixes positions, then one of size 1, which mixes channels (Chollet, 2017).

    Args:
        filters, kernel_size, stride, padding, dilation, activation, bias, padding_mode: as in Conv2D.
        multiplier: channels between the two, per channel that comes in.
    """

    rank = 2

    def __init__(self, filters: int, kernel_size: Extents, stride: Extents = 1, padding: PaddingLike = "valid",
                 dilation: Extents = 1, multiplier: int = 1, activation: ActivationLike = None, bias: bool = True,
                 dtype: DTypeLike = "float32", padding_mode: str = "zero"):
        depthwise, pointwise = ((DepthwiseConv1D, Conv1D), (DepthwiseConv2D, Conv2D))[self.rank - 1]
        self.depthwise = depthwise(kernel_size, stride, padding, dilation, multiplier, bias=False, dtype=dtype,
                                   padding_mode=padding_mode)
        self.pointwise = pointwise(filters, 1, activation=activation, bias=bias, dtype=dtype)

    def _input_type(self) -> Any:
        return self.depthwise._input_type()

    def forward(self, x: Any) -> Any:
        return self.pointwise(self.depthwise(x))


class SeparableConv1D(SeparableConvolution):
    __doc__ = f"""Over sequences (N, steps, channels). {SeparableConvolution.__doc__}

    >>> nn.SeparableConv1D(8, kernel_size=3)(cr.ones((2, 10, 4))).shape
    (2, 8, 8)
    """
    rank = 1


class SeparableConv2D(SeparableConvolution):
    __doc__ = f"""Over images (N, height, width, channels). {SeparableConvolution.__doc__}

    >>> nn.SeparableConv2D(8, kernel_size=3)(cr.ones((2, 8, 8, 4))).shape
    (2, 6, 6, 8)
    """
    rank = 2


class TransposedConvolution(Convolution):
    """The transpose of a convolution: from (N, *S, in) to stride times as large.

    The weight is (*kernel, filters / groups, in). Padding "valid" gives (n - 1) stride + (kernel - 1) dilation + 1
    positions along an axis, "same" gives n * stride; pairs cut positions off, `output_padding` adds some at the end.
    """

    def __init__(self, filters: int, kernel_size: Extents, stride: Extents = 1, padding: PaddingLike = "valid",
                 dilation: Extents = 1, activation: ActivationLike = None,
                 bias: bool = True, weight_initializer: InitializerLike = "glorot_uniform",
                 bias_initializer: InitializerLike = "zeros", dtype: DTypeLike = "float32", groups: int = 1,
                 output_padding: Any = 0):
        Convolution.__init__(self, filters, kernel_size, stride, padding, dilation, groups, activation, bias,
                             weight_initializer, bias_initializer, dtype)
        self.more = self._added(output_padding)
        if self.padding == "causal":
            raise ArgumentError(explain("a transposed convolution has no causal padding", got="padding='causal'",
                                        expected='"valid", "same", an integer or a pair',
                                        fix=f"cut off the end: padding=((0, {self.kernel[0] - 1}),)"))

    def _added(self, output_padding: Any) -> tuple[int, ...]:
        """The positions added along each axis: fewer than its stride or its dilation, as in PyTorch."""
        more = (output_padding,) * self.rank if isinstance(output_padding, int) else tuple(output_padding)
        most = [max(s, d) - 1 for s, d in zip(self.stride, self.dilation, strict=True)]
        if len(more) != self.rank or not all(isinstance(n, int) and 0 <= n <= m
                                             for n, m in zip(more, most, strict=True)):
            raise ArgumentError(explain("so many positions cannot be added at the end",
                                        got=f"output_padding={output_padding!r}",
                                        expected=f"{self.rank} integers, at most {', '.join(map(str, most))}: less "
                                                 "than the stride or the dilation",
                                        fix=f"output_padding={tuple(most)} at most, or ZeroPad{self.rank}D behind it"))
        return more

    def _weight_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel, self.filters // self.groups, channels)

    def convolve(self, x: Any) -> Any:
        full = [(n - 1) * s + (k - 1) * d + 1
                for n, k, s, d in zip(x.shape[1:-1], self.kernel, self.stride, self.dilation, strict=True)]
        same = tuple(n * s for n, s in zip(x.shape[1:-1], self.stride, strict=True))
        padding = pads(self.padding, same, self.kernel, self.stride, self.dilation)
        plain = (same if self.padding == "same"
                 else tuple(n - low - high for n, (low, high) in zip(full, padding, strict=True)))
        out = tuple(n + more for n, more in zip(plain, self.more, strict=True))
        if min(out) < 1:
            raise ShapeError(explain("the padding cuts off all that comes out", got=f"padding {self.padding}",
                                     expected=f"less than the extents {tuple(full)}", fix="use a smaller padding"))
        padding = tuple((low, high - more) for (low, high), more in zip(padding, self.more, strict=True))
        return conv_transpose(x, as_tensor(self.weight), extents=out, stride=self.stride, padding=padding,
                              dilation=self.dilation, groups=self.groups)


class Conv1DTranspose(TransposedConvolution):
    __doc__ = f"""Over sequences (N, steps, channels). {TransposedConvolution.__doc__}

    >>> nn.Conv1DTranspose(8, kernel_size=2, stride=2)(cr.ones((2, 10, 4))).shape
    (2, 20, 8)
    """
    rank = 1


class Conv2DTranspose(TransposedConvolution):
    __doc__ = f"""Over images (N, height, width, channels). {TransposedConvolution.__doc__}

    >>> nn.Conv2DTranspose(8, kernel_size=2, stride=2)(cr.ones((2, 14, 14, 4))).shape
    (2, 28, 28, 8)
    """
    rank = 2


class Conv3DTranspose(TransposedConvolution):
    __doc__ = f"""Over volumes (N, depth, height, width, channels). {TransposedConvolution.__doc__}

    >>> nn.Conv3DTranspose(8, kernel_size=2, stride=2)(cr.ones((1, 3, 4, 5, 2))).shape
    (1, 6, 8, 10, 8)
    """
    rank = 3
