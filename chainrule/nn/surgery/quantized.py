# SPDX-License-Identifier: Apache-2.0
"""Weights in 8 or 4 bits: a fully connected layer that keeps its matrix as small integers and a scale for each group.

For inference, and for adapters on top: the weights are rounded once and are not trained. Products read the integers
where they lie (`ops/packed.py`), so memory, files and the time that reading the weights takes become smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain
from ...ir import Variable
from ...ir.dtype import canonical
from ...ops.packed import KEPT, packed_product, unpack
from ...typing import ActivationLike, DTypeLike
from .. import activations
from ..composition.config import copy_model
from ..composition.replacing import replace_layers
from ..core.budget import count_variable
from ..core.checks import need_float, positive
from ..core.module import Module
from ..layers.linear import Dense

LARGEST = {8: 127, 4: 7}


class QuantizedDense(Module):
    """y = activation(x (q s) + b): q (in, units) integers of `bits` bits, s one scale for each column of each group of
    rows.

    Two numbers of 4 bits share a byte: row i the lower half, row i + in / 2 the upper.

    Args:
        units: features that come out.
        bits: 8 or 4.
        group: rows of the matrix that share a scale; None: all.
        activation, bias: as in Dense.

    >>> nn.QuantizedDense(4, bits=8)(cr.ones((2, 3))).shape
    (2, 4)
    """

    constants = ("integers", "scale", "bias")  # rounded once, never trained

    def __init__(self, units: int, bits: int = 8, group: int | None = None, activation: ActivationLike = None,
                 bias: bool = True, dtype: DTypeLike = "float32"):
        if bits not in LARGEST:
            raise ArgumentError(explain("weights cannot be kept in so many bits", got=str(bits), expected="8 or 4"))
        self.units, self.bits, self.group = positive("units", units), bits, group
        self.activation, self.use_bias, self.dtype = activations.get(activation), bias, canonical(dtype)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        rows = x.shape[-1]
        self.groups = group_count(rows, self.group, self.bits)
        count_variable((rows * self.bits // 8, self.units), "uint8")
        self.integers = _filled_later((rows * self.bits // 8, self.units), KEPT[self.bits], "integers")
        self.scale = _filled_later((self.groups, self.units), self.dtype, "scale")
        if self.use_bias:
            self.bias = Variable(np.zeros(self.units, self.dtype), name="bias", trainable=False)

    def forward(self, x: Any) -> Any:
        need_float(x, self.dtype)
        y = packed_product(x, self.integers.value, self.scale.value, bits=self.bits)
        return self.activation(y + self.bias if self.use_bias else y)

    def weight(self) -> Any:
        """The matrix (in, units) that the integers stand for."""
        return unpack(self.integers.value, self.scale.value, self.bits)


def _filled_later(shape: tuple[int, int], dtype: DTypeLike, name: str) -> Variable:
    """Zeros that take no memory until the numbers come."""
    return Variable(np.broadcast_to(np.zeros((), dtype), shape), name=name, trainable=False)


def group_count(rows: int, group: int | None, bits: int) -> int:
    """How many groups the rows make; raises ArgumentError if they do not divide."""
    if not rows or rows % (group or rows) or (bits == 4 and rows % 2):
        raise ArgumentError(explain(f"{rows} rows do not divide into groups of {group or rows}",
                                    got=f"bits={bits}, group={group}", expected="one row at least" if not rows
                                    else f"a divisor of {rows}" + (", which must be even" if bits == 4 else "")))
    return rows // (group or rows)


def quantize(model: Module, bits: int = 8, group: int | None = None, keep: Sequence[str] = ()) -> Any:
    """A copy of a built model whose Dense layers keep their weights in 8 or 4 bits.

    A weight w becomes round(w / s) with s = max |w| / 127 (or 7) over its column in its group, so no weight moves by
    more than s / 2.

    Args:
        bits: 8 or 4.
        group: rows that share a scale; None: all (for 4 bits 64 or less keeps more).
        keep: dotted names of layers to leave alone, as in `model.modules()`.

    >>> model = nn.Sequential([nn.Dense(64)])
    >>> y = model(cr.ones((1, 32)))
    >>> small = nn.quantize(model, bits=8)
    >>> type(small.layers[0]).__name__
    'QuantizedDense'
    """
    made = copy_model(model)
    return replace_layers(made, {id(layer): _quantized(layer, bits, group) for name, layer in made.modules().items()
                                 if type(layer) is Dense and name not in keep})


def _quantized(layer: Dense, bits: int, group: int | None) -> QuantizedDense:
    made = QuantizedDense(layer.units, bits, group, layer.activation, layer.use_bias, layer.dtype)
    kind, = layer._record.inputs or ()
    made.trace(kind)
    w = layer.weight.numpy().astype(np.float64).reshape(made.groups, -1, layer.units)
    scale = np.maximum(np.abs(w).max(1), np.finfo(layer.dtype).tiny) / LARGEST[bits]
    q = np.rint(w / scale[:, None]).reshape(-1, layer.units)
    if bits == 4:
        low, high = np.split((q + 8).astype(np.uint8), 2)
        q = low | high << 4
    made.integers.assign(q.astype(made.integers.dtype))
    made.scale.assign(scale.astype(layer.dtype))
    if layer.use_bias:
        made.bias.assign(layer.bias.numpy())
    return made
