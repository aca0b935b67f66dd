# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation folded into the layer before it, for inference and export.

In: a trained model. Out: the same function (with `training=False`) with fewer layers. y = (x W + b - mean) f + shift
with f = weight / sqrt(variance + epsilon) is x (W f) + ((b - mean) f + shift) (Jacob et al., 2018, section 3.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import activations
from ..composition.containers import Sequential
from ..core.module import Module
from ..initializers import make
from ..layers.convolution import Convolution, TransposedConvolution
from ..layers.linear import Dense
from ..layers.normalization import BatchNorm


def fold_batch_norms(model: Module) -> int:
    """Put every BatchNorm that directly follows a Dense or convolution without activation into its weights; how many.

    The model is changed in place and must have been called before. The folded layers have no running statistics any
    more, so fold what is trained: training goes on without normalisation.

    >>> model = nn.Sequential([nn.Conv2D(4, 3), nn.BatchNorm()])
    >>> y = model(cr.ones((1, 8, 8, 1)))
    >>> nn.fold_batch_norms(model)
    1
    """
    return sum(_fold(module) for module in model.modules().values() if isinstance(module, Sequential))


def _fold(model: Sequential) -> int:
    kept: list[Module] = []
    for layer in model.layers:
        if kept and isinstance(layer, BatchNorm) and layer.built and _takes(kept[-1]):
            _join(kept[-1], layer)
        else:
            kept.append(layer)
    count = len(model.layers) - len(kept)
    model.layers[:] = kept
    return count


def _takes(layer: Any) -> bool:
    """Whether what comes out of a layer is linear in its weights."""
    return isinstance(layer, Dense | Convolution) and layer.built and layer.activation is activations.get(None)


def _join(layer: Any, norm: BatchNorm) -> None:
    wide = lambda variable: variable.numpy().astype(np.float64)
    factor = 1 / np.sqrt(wide(norm.running_variance) + norm.epsilon) * (wide(norm.weight) if norm.scale else 1.0)
    bias = ((wide(layer.bias) if layer.use_bias else 0.0)
            - wide(norm.running_mean)) * factor + (wide(norm.bias) if norm.shift else 0.0)
    if not layer.use_bias:
        layer.use_bias, layer.bias = True, make("zeros", bias.shape, layer.dtype, "bias")
    for variable, value in ((layer.weight, wide(layer.weight) * _along(layer, factor)), (layer.bias, bias)):
        variable.assign(value.astype(np.dtype(layer.dtype)))


def _along(layer: Any, factor: np.ndarray) -> np.ndarray:
    """A factor for each channel that comes out, as the weights have them: last, or in transposed convolutions (.., out
    / groups, in)."""
    if not isinstance(layer, TransposedConvolution):
        return factor
    return np.repeat(factor.reshape(layer.groups, -1).T, layer.channels // layer.groups, axis=1)
