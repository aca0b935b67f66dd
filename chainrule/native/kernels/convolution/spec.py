# SPDX-License-Identifier: Apache-2.0
"""What a convolution is: the record that its generators are given, and the shapes that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from ....errors import ArgumentError, explain
from .geometry import Axis

KINDS = ("forward", "input_gradient", "filter_gradient")


@dataclass(frozen=True)
class ConvSpec:
    """One convolution or one of its gradients; `spatial` and `kernel` have one to three entries.

    Padding is (low, high) per axis with zeros; negative padding crops. `epilogue` names steps for the forward pass.
    """

    batch: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    in_channels: int
    out_channels: int
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    groups: int = 1
    dtype: str = "float32"
    kind: str = "forward"
    epilogue: tuple[tuple[str, ...], ...] = ()
    narrow: bool = False  # the operands hold bfloat16; needs `Target.pairs` and `has_pairs`

    def __post_init__(self) -> None:
        rank = len(self.spatial)
        for name, default in (("stride", 1), ("dilation", 1), ("padding", (0, 0))):
            if not getattr(self, name):
                object.__setattr__(self, name, (default,) * rank)
        lengths = {len(self.kernel), len(self.stride), len(self.dilation), len(self.padding)}
        if self.kind not in KINDS or lengths != {rank} or not 1 <= rank <= 3:
            raise ArgumentError(explain("this is not a convolution", got=str(self),
                                        expected=f"one of {KINDS}, rank 1 to 3"))
        if self.groups < 1 or self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError(explain("groups must divide the channels", got=str(self)))

    @property
    def out(self) -> tuple[int, ...]:
        """The spatial extents of y."""
        return tuple(axis.out for axis in self.axes[3 - len(self.spatial):])

    @property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        """The three axes of the forward correlation; missing ones are in front and have extent 1."""
        axes = [Axis(extent, max(0, (extent + low + high - (taps - 1) * dilation - 1) // stride + 1), stride, taps,
                     dilation, low)
                for extent, taps, stride, dilation, (low, high)
                in zip(self.spatial, self.kernel, self.stride, self.dilation, self.padding, strict=True)]
        return (*[Axis(1, 1)] * (3 - len(axes)), *axes)  # type: ignore[return-value]

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The shapes of x, w and y."""
        return ((self.batch, *self.spatial, self.in_channels),
                (*self.kernel, self.in_channels // self.groups, self.out_channels),
                (self.batch, *self.out, self.out_channels))
