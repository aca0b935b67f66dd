# SPDX-License-Identifier: Apache-2.0
"""`collapse`: a stack of layers without activations is one matrix, (x W1 + b1) W2 + b2 = x (W1 W2) + (b1 W2 + b2),
however deep it is. This is why networks need non-linear functions between their layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, explain, shown
from ...ir import Type
from .. import activations
from ..composition.containers import Sequential
from ..core.module import Module, display
from ..layers.linear import Dense, Flatten, Identity
from ..layers.regularization import Dropout


def collapse(model: Module) -> Dense:
    """One Dense layer that computes what a built model of Dense layers without activations does.

    Raises ArgumentError for a model with anything non-linear in it, naming the layer.

    >>> model = nn.Sequential([nn.Dense(8), nn.Dense(2)])
    >>> x = cr.ones((1, 4))
    >>> np.allclose(model(x).numpy(), nn.collapse(model)(x).numpy(), atol=1e-6)
    True
    """
    names = {id(module): name for name, module in model.modules().items()}
    layers: list[Any] = [layer for layer in _layers(model) if not isinstance(layer, Identity | Dropout | Flatten)]
    for layer in layers:
        if not isinstance(layer, Dense) or layer.activation is not activations.linear or not layer.built:
            raise ArgumentError(explain("only Dense layers without activation, built, are one matrix",
                                        got=display(names.get(id(layer), ""), layer), expected="Dense(units)",
                                        fix="a network with activations does not collapse, which is what they are for"))
    if not layers:
        raise ArgumentError(explain("there is no layer to collapse", got=shown(model)))
    weight = np.eye(layers[0].weight.shape[0])
    bias = np.zeros(weight.shape[1])
    for layer in layers:
        own = layer.weight.numpy().astype(np.float64)
        weight, bias = weight @ own, bias @ own + (layer.bias.numpy() if layer.use_bias else 0.0)
    one = Dense(weight.shape[1], dtype=layers[-1].dtype)
    one.trace(Type((1, weight.shape[0]), one.dtype))  # builds it
    one.weight.assign(weight.astype(one.dtype))
    one.bias.assign(bias.astype(one.dtype))
    return one


def _layers(model: Module) -> list[Module]:
    return [below for layer in model.layers for below in _layers(layer)] if isinstance(model, Sequential) else [model]
