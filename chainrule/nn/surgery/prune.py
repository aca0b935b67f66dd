# SPDX-License-Identifier: Apache-2.0
"""`prune_zeros`: a Sequential model without the units and filters that do nothing; the outputs stay what they were.

A unit does nothing if all weights that leave it are 0. If all that lead to it are 0 it is a constant, activation(bias),
which stays one through pooling and normalisation: 0 can be dropped, and what another constant adds is moved into the
bias of the layer that follows, unless zeros are padded around it there.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain
from ...ir import as_tensor, no_grad
from ..activations import ELU, GELU, SELU, Activation, LeakyReLU, Mish, ReLU, Sigmoid, SiLU, Softplus, Tanh
from ..composition.config import from_config, to_config
from ..composition.containers import Sequential
from ..core.module import Module
from ..layers.convolution import Conv2D
from ..layers.linear import Dense, Flatten
from ..layers.normalization import BatchNorm
from ..layers.pooling import AvgPool2D, GlobalAvgPool2D, GlobalMaxPool2D, MaxPool2D
from ..layers.regularization import Dropout

WEIGHTED = {Dense: "units", Conv2D: "filters"}
POINTWISE = (ELU, GELU, SELU, Activation, LeakyReLU, Mish, ReLU, Sigmoid, SiLU, Softplus, Tanh, Dropout, Flatten)
POOLING = (AvgPool2D, GlobalAvgPool2D, GlobalMaxPool2D, MaxPool2D)
PASSING = (*POINTWISE, BatchNorm, *POOLING)


def prune_zeros(model: Sequential) -> Sequential:
    """A smaller model of the same outputs (to rounding) as a built Sequential of Dense and Conv2D layers.

    Between two of them there may be activations, Dropout, Flatten, BatchNorm and pooling; units before anything else
    stay. The last layer keeps its outputs.

    >>> model = nn.Sequential([nn.Dense(4, activation="relu"), nn.Dense(2)])
    >>> y = model(cr.ones((1, 3)))
    >>> weight = model.layers[0].weight.numpy().copy()
    >>> weight[:, 0] = 0.0
    >>> model.layers[0].weight.assign(weight)
    >>> nn.prune_zeros(model).layers[0].units
    3
    """
    if not isinstance(model, Sequential) or not model.built:
        raise ArgumentError(explain("only a built Sequential can be pruned", got=type(model).__name__,
                                    fix="call the model once, model(x), before"))
    arrays = {name: v.numpy() for name, v in model.variables().items()}
    kept: dict[int, np.ndarray] = {}
    for first, second in _pairs(model):
        between = model.layers[first + 1:second]
        kept[first] = _kept(model.layers[first], between, model.layers[second], first, second, arrays)
        _cut(first, second, kept[first], between, arrays)
    return _rebuilt(model, kept, arrays)


def _pairs(model: Sequential) -> list[tuple[int, int]]:
    """(layer, next layer with weights) where all between them passes channels on one by one."""
    places = [i for i, layer in enumerate(model.layers) if type(layer) in WEIGHTED and getattr(layer, "groups", 1) == 1]
    return [(i, j) for i, j in itertools.pairwise(places)
            if all(isinstance(layer, PASSING) and not hasattr(layer, "groups") for layer in model.layers[i + 1:j])]


def _kept(layer: Any, between: list[Module], following: Any, first: int, second: int,
          arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Indices of the units of `layer` that are needed; moves constants into the bias that follows."""
    weight, bias = arrays[f"{first}.weight"], arrays.get(f"{first}.bias")
    leaving = _by_channel(arrays[f"{second}.weight"], weight.shape[-1])
    useless = ~leaving.any(axis=(0, 2))
    silent = ~weight.reshape(-1, weight.shape[-1]).any(axis=0)
    value = _constant(layer, between, np.zeros(weight.shape[-1], weight.dtype) if bias is None else bias)
    if value is not None:
        useless |= silent & (value == 0)
        if following.use_bias and _unpadded(following):
            moved = silent & ~useless
            arrays[f"{second}.bias"] = arrays[f"{second}.bias"] + np.einsum("c,pco->o", value * moved, leaving)
            useless |= moved
    kept = np.flatnonzero(~useless)
    return kept if len(kept) else np.array([0])


def _constant(layer: Any, between: list[Module], bias: np.ndarray) -> np.ndarray | None:
    """What silent units give after the layers between, or None where that is not the same at all positions."""
    if not all(isinstance(module, MaxPool2D) or _unpadded(module) for module in between):
        return None
    with no_grad():
        value: Any = layer.activation(as_tensor(bias[None]))
        for module in between:
            value = value if isinstance(module, (Flatten, *POOLING)) else module(value)
    return value.numpy()[0]


def _unpadded(module: Module) -> bool:
    """Whether a layer sees nothing around its input."""
    return getattr(module, "padding", "valid") in ("valid", 0) and not getattr(module, "ceil", False)


def _by_channel(weight: np.ndarray, channels: int) -> np.ndarray:
    """(positions, channels, outputs): flattened channels-last features and filters alike."""
    return weight.reshape(-1, channels, weight.shape[-1])


def _cut(first: int, second: int, kept: np.ndarray, between: list[Module], arrays: dict[str, np.ndarray]) -> None:
    weight, following = arrays[f"{first}.weight"], arrays[f"{second}.weight"]
    leaving = _by_channel(following, weight.shape[-1])[:, kept]
    spatial = following.shape[:-2] if following.ndim > 2 else ()
    arrays[f"{second}.weight"] = leaving.reshape(*spatial, -1, following.shape[-1])
    arrays[f"{first}.weight"] = weight[..., kept]
    if f"{first}.bias" in arrays:
        arrays[f"{first}.bias"] = arrays[f"{first}.bias"][kept]
    for i, module in enumerate(between, first + 1):
        if isinstance(module, BatchNorm):
            for name in [name for name in arrays if name.startswith(f"{i}.")]:
                arrays[name] = arrays[name][kept]


def _rebuilt(model: Sequential, kept: dict[int, np.ndarray], arrays: dict[str, np.ndarray]) -> Sequential:
    config = to_config(model)
    for place, indices in kept.items():
        config["arguments"]["layers"][place]["arguments"][WEIGHTED[type(model.layers[place])]] = len(indices)
    smaller = from_config(config)
    for name, variable in smaller.variables().items():
        variable.assign(arrays[name])
    return smaller
