# SPDX-License-Identifier: Apache-2.0
"""Activations by name, function or layer: one table for all three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, explain
from ..names import look_up
from ..ops import compose
from ..ops.elementwise import exp, tanh
from .module import Module


def linear(x: Any, /) -> Any:
    """x itself."""
    return x


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "linear": linear, "relu": compose.relu, "leaky_relu": compose.leaky_relu, "elu": compose.elu, "selu": compose.selu,
    "gelu": compose.gelu, "silu": compose.silu, "mish": compose.mish, "tanh": tanh, "sigmoid": compose.sigmoid,
    "hard_tanh": compose.hard_tanh, "hard_sigmoid": compose.hard_sigmoid, "softmax": compose.softmax,
    "log_softmax": compose.log_softmax, "softplus": compose.softplus, "softsign": compose.softsign,
    "log_sigmoid": compose.log_sigmoid, "exponential": exp,
}


def get(activation: Any) -> Callable[[Any], Any]:
    """A name, a function, a layer or None (the identity) as something to call."""
    if activation is None:
        return linear
    if isinstance(activation, str):
        return look_up("activation", activation, FUNCTIONS)
    if isinstance(activation, type) and issubclass(activation, Module):
        return activation()
    if not callable(activation):
        raise ArgumentError(explain("an activation is a name, a function or a layer", got=repr(activation),
                                    expected=", ".join(sorted(FUNCTIONS)),
                                    fix="layers are told only what comes out: Dense(10), not Dense(128, 10)"))
    return activation


def name_of(function: Any) -> str | None:
    """The name under which a function is in the table, or None."""
    return next((name for name, entry in FUNCTIONS.items() if entry is function), None)


class Activation(Module):
    """An activation as a layer: y = f(x).

    Args:
        activation: name, function or layer.
    """

    def __init__(self, activation: Any):
        self.activation = get(activation)

    def forward(self, x: Any) -> Any:
        return self.activation(x)


def _layer(name: str, function: Callable[..., Any]) -> type[Module]:
    return type(name, (Module,),
                {"forward": lambda self, x: function(x), "__doc__": function.__doc__, "__module__": __name__})


ReLU = _layer("ReLU", compose.relu)
ELU = _layer("ELU", compose.elu)
SELU = _layer("SELU", compose.selu)
SiLU = _layer("SiLU", compose.silu)
Mish = _layer("Mish", compose.mish)
Tanh = _layer("Tanh", tanh)
Sigmoid = _layer("Sigmoid", compose.sigmoid)
Softplus = _layer("Softplus", compose.softplus)


class GELU(Module):
    """x Phi(x) (Hendrycks and Gimpel, 2016); approximate="tanh" for the cheaper form."""

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return compose.gelu(x, self.approximate)


class LeakyReLU(Module):
    """x for x > 0, else negative_slope * x."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return compose.leaky_relu(x, self.negative_slope)


class Softmax(Module):
    """e^x / sum(e^x) along `axis`. Losses take logits, so this is for predictions, not for training."""

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return compose.softmax(x, self.axis)
