# SPDX-License-Identifier: Apache-2.0
"""ConvLSTM: an LSTM whose states are images and whose products are convolutions (Shi et al., 2015), for clips
(batch, steps, height, width, channels), and the same with one or three spatial axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ShapeError, explain
from ...ir import Tensor, as_tensor
from ...ir.dtype import canonical
from ...ops.broadcast import broadcast_to
from ...ops.compose import gate as sigmoid
from ...ops.elementwise import tanh
from ...ops.movement import slice_axis
from ...typing import DTypeLike, Extents, PaddingLike
from ..core.checks import axis_names, positive
from ..core.module import Module
from .cells import RNN
from .convolution import Conv1D, Conv2D, Conv3D


class ConvLSTMCell(Module):
    """One step: i, f, g, o = conv(x) + conv(h); c = f c + i tanh(g), h = o tanh(c). The bias of f starts at 1.

    Args:
        filters: channels of the states.
        kernel_size: of both convolutions; that of the state keeps its extents.
        stride, padding: of the convolution of the input.
    """

    rank = 2

    def __init__(self, filters: int, kernel_size: Extents, stride: Extents = 1, padding: PaddingLike = "same",
                 dtype: DTypeLike = "float32"):
        self.filters, self.dtype = positive("filters", filters), canonical(dtype)
        convolution = (Conv1D, Conv2D, Conv3D)[self.rank - 1]
        self.from_input = convolution(4 * filters, kernel_size, stride, padding, dtype=dtype)
        self.from_state = convolution(4 * filters, kernel_size, padding="same", bias=False, dtype=dtype,
                                      weight_initializer="orthogonal")

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        if x.ndim != self.rank + 2:
            raise ShapeError(explain("a step of ConvLSTM is an image", got=f"shape {x.shape}",
                                     expected="(" + ", ".join(axis_names(self.rank)) + ")",
                                     fix=f"run it over clips with nn.ConvLSTM{self.rank}D"))
        _, z = self.from_input.trace(x.node.type)
        self.extents = z.shape[1:-1]
        forget = np.repeat([0.0, 1.0, 0.0, 0.0], self.filters)
        self.from_input.bias.assign(forget.astype(self.dtype))

    def initial_states(self, n: int) -> list[Tensor]:
        """The states before the first step: zeros."""
        return [broadcast_to(as_tensor(0.0, self.dtype), (n, *self.extents, self.filters))] * 2

    def forward(self, x: Any, states: Any = None) -> Any:
        h, c = self.initial_states(x.shape[0]) if states is None else states
        z = self.from_input(x) + self.from_state(h)
        i, f, g, o = (slice_axis(z, z.ndim - 1, k * self.filters, (k + 1) * self.filters) for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h, [h, c]


class ConvLSTM1DCell(ConvLSTMCell):
    __doc__ = f"""For sequences (batch, positions, channels). {ConvLSTMCell.__doc__}

    >>> cell = nn.ConvLSTM1DCell(8, kernel_size=3)
    >>> nn.RNN(cell)(cr.ones((2, 5, 16, 1))).shape
    (2, 16, 8)
    """
    rank = 1


class ConvLSTM2DCell(ConvLSTMCell):
    __doc__ = f"""For images (batch, height, width, channels). {ConvLSTMCell.__doc__}

    >>> cell = nn.ConvLSTM2DCell(4, kernel_size=3)
    >>> nn.RNN(cell)(cr.ones((2, 5, 8, 8, 1))).shape
    (2, 8, 8, 4)
    """
    rank = 2


class ConvLSTM3DCell(ConvLSTMCell):
    __doc__ = f"""For volumes (batch, depth, height, width, channels). {ConvLSTMCell.__doc__}

    >>> cell = nn.ConvLSTM3DCell(2, kernel_size=3)
    >>> nn.RNN(cell)(cr.ones((1, 3, 4, 4, 4, 1))).shape
    (1, 4, 4, 4, 2)
    """
    rank = 3


class ConvLSTM(RNN):
    """ConvLSTM over (batch, steps, *S, channels).

    Args:
        filters, kernel_size, stride, padding: as in its cell.
        return_sequences: give the image of every step, not of the last one.
        return_state: give (output, [h, c]).
    """

    cell: type[ConvLSTMCell] = ConvLSTM2DCell

    def __init__(self, filters: int, kernel_size: Extents, stride: Extents = 1, padding: PaddingLike = "same",
                 return_sequences: bool = False, return_state: bool = False, dtype: DTypeLike = "float32"):
        RNN.__init__(self, self.cell(filters, kernel_size, stride, padding, dtype), return_sequences, return_state)


class ConvLSTM1D(ConvLSTM):
    __doc__ = f"""One spatial axis. {ConvLSTM.__doc__}

    >>> nn.ConvLSTM1D(8, kernel_size=3)(cr.ones((2, 5, 16, 1))).shape
    (2, 16, 8)
    """
    cell = ConvLSTM1DCell


class ConvLSTM2D(ConvLSTM):
    __doc__ = f"""Two spatial axes: clips. {ConvLSTM.__doc__}

    >>> nn.ConvLSTM2D(4, kernel_size=3)(cr.ones((2, 5, 8, 8, 1))).shape
    (2, 8, 8, 4)
    """
    cell = ConvLSTM2DCell


class ConvLSTM3D(ConvLSTM):
    __doc__ = f"""Three spatial axes. {ConvLSTM.__doc__}

    >>> nn.ConvLSTM3D(2, kernel_size=3)(cr.ones((1, 3, 4, 4, 4, 1))).shape
    (1, 4, 4, 4, 2)
    """
    cell = ConvLSTM3DCell
