# SPDX-License-Identifier: Apache-2.0
"""One neuron, to be looked at: y = f(w . x + b), with every number of the sum printed and drawn.

`Dense` is many of them at once. `Neuron(...).look(x)` is text at the prompt and a picture in a notebook.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ShapeError, explain
from ...ir import as_tensor
from ...ir.dtype import canonical
from ...ir.variable import Variable
from ...ops.compose import matmul
from ...typing import ActivationLike, ArrayLike, DTypeLike
from .. import activations, initializers
from ..core.module import Module


class Neuron(Module):
    """y = activation(w . x + b) for x (features,) or (batch, features); one number comes out of each.

    Args:
        weights: the numbers w, or None to draw them at the first call.
        bias: the number b.
        activation: name, function or layer; "step" of a perceptron is `lambda z: z > 0`.

    >>> neuron = nn.Neuron(weights=[1.0, -2.0], bias=0.5, activation="relu")
    >>> neuron(cr.asarray([3.0, 1.0])).numpy()
    array(1.5, dtype=float32)
    """

    def __init__(self, weights: Sequence[float] | None = None, bias: float = 0.0, activation: ActivationLike = None,
                 dtype: DTypeLike = "float32"):
        self.initial, self.activation, self.dtype = (weights, bias), activations.get(activation), canonical(dtype)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        weights, bias = self.initial
        drawn = initializers.make("glorot_uniform", (x.shape[-1], 1), self.dtype, "weight") if weights is None else None
        start = drawn.numpy()[:, 0] if drawn is not None else np.asarray(weights, self.dtype)
        self.weight, self.bias = Variable(start, "weight"), Variable(np.asarray(bias, self.dtype), "bias")

    def forward(self, x: Any) -> Any:
        return self.activation(self.weighted_sum(x))

    def weighted_sum(self, x: ArrayLike) -> Any:
        """z = w . x + b."""
        x = as_tensor(x)
        if x.shape[-1:] != self.weight.shape:
            raise ShapeError(explain("the inputs do not fit the weights",
                                     got=f"{x.shape[-1] if x.ndim else 'no'} inputs",
                                     expected=f"{self.weight.shape[0]} inputs, one for each weight"))
        return matmul(x, self.weight) + self.bias

    def look(self, x: ArrayLike) -> NeuronView:
        """What happens to one input (features,): prints as a table, draws itself in a notebook."""
        x = as_tensor(np.asarray(x, self.dtype))
        y = self(x)
        weights, bias = self.weight.numpy(), self.bias.numpy()
        f = self.activation
        name = activations.name_of(f) or getattr(f, "__name__", type(f).__name__)
        return NeuronView(tuple(x.tolist()), tuple(weights.tolist()), float(bias), float(self.weighted_sum(x)),
                          float(y), str(name))

    def _repr_html_(self) -> str:
        if not self.built:
            return f"<code>{html.escape(repr(self))}</code>"
        weights = tuple(self.weight.numpy().tolist())
        return _svg(tuple(f"x{i}" for i in range(len(weights))), weights, float(self.bias.numpy()), "z", "y", "f")


@dataclass(frozen=True)
class NeuronView:
    """The numbers in one neuron: inputs, weights, bias, weighted sum and output."""

    inputs: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    weighted_sum: float
    output: float
    activation: str

    def __str__(self) -> str:
        rows = [f"x{i} = {x:<10.6g} w{i} = {w:<10.6g} x{i} w{i} = {x * w:.6g}"
                for i, (x, w) in enumerate(zip(self.inputs, self.weights, strict=True))]
        return "\n".join([*rows, f"b  = {self.bias:.6g}", f"z  = w . x + b = {self.weighted_sum:.6g}",
                          f"y  = {self.activation}(z) = {self.output:.6g}"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        names = tuple(f"x{i} = {x:.4g}" for i, x in enumerate(self.inputs))
        return _svg(names, self.weights, self.bias, f"z = {self.weighted_sum:.4g}", f"y = {self.output:.4g}",
                    self.activation)


def _svg(inputs: Sequence[str], weights: Sequence[float], bias: float, z: str, y: str, activation: str) -> str:
    """Inputs on the left, a line for each weight (thick: large; blue: positive, red: negative), the sum, the output."""
    height, largest = 36 * (len(inputs) + 1) + 20, max([*map(abs, weights), abs(bias), 1e-12])
    middle, parts = height / 2, []
    for i, (name, w) in enumerate(zip([*inputs, "1"], [*weights, bias], strict=True)):
        top, colour = 28 + 36 * i, "#1f77b4" if w >= 0 else "#d62728"
        width = 1 + 4 * abs(w) / largest
        parts.append(f'<line x1="100" y1="{top}" x2="270" y2="{middle:g}" stroke="{colour}" '
                     f'stroke-width="{width:.3g}"/>')
        label = f"b = {w:.4g}" if i == len(weights) else f"w{i} = {w:.4g}"
        parts.append(_text(92, top + 4, name, "end") + _text(150, top + (middle - top) * 0.29 - 4, label, "middle"))
    parts.append(f'<line x1="330" y1="{middle:g}" x2="440" y2="{middle:g}" stroke="#333"/>')
    parts.append(f'<circle cx="300" cy="{middle:g}" r="32" fill="#fff" stroke="#333"/>')
    parts.append(_text(300, middle + 4, activation, "middle"))
    parts.append(_text(300, middle + 52, z, "middle") + _text(450, middle + 4, y, "start"))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="560" height="{height + 40}" font-family="sans-serif" '
            f'font-size="12">{"".join(parts)}</svg>')


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{html.escape(text)}</text>'
