# SPDX-License-Identifier: Apache-2.0
"""Gradient clipping, centralisation and weight decay: what may happen to gradients before an optimiser sees them:
functions (parameters, gradients) -> gradients, dicts by
name, joined by `optim.chain`. They keep no state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ..ir import Tensor, Variable
from ..ops.compose import clip, length
from ..ops.elementwise import abs, maximum, minimum
from ..ops.reduce import mean
from .base import clip_by_norm, not_negative, positive
from .settings import setting

Gradients = Mapping[str, Tensor]
Transform = Callable[[Mapping[str, Variable], Gradients], Gradients]


@setting
def clip_norm(norm: float) -> Transform:
    """All gradients, taken together as one vector, scaled down to this length if they are longer."""
    norm = positive("norm", norm, math.inf)
    return lambda parameters, grads: clip_by_norm(grads, norm) if grads else grads


@setting
def negate() -> Transform:
    """-g: the optimiser climbs, so that what it is given becomes as large as possible."""
    return lambda parameters, grads: {name: -g for name, g in grads.items()}


@setting
def clip_value(value: float) -> Transform:
    """Each element limited to [-value, value]."""
    value = positive("value", value, math.inf)
    return lambda parameters, grads: {name: clip(g, -value, value) for name, g in grads.items()}


@setting
def clip_adaptive(factor: float = 0.01, least: float = 1e-3) -> Transform:
    """Each unit's gradient scaled down to `factor` times the length of its weights, which counts as `least` at least
    (Brock et al., 2021). A unit is an index of the last axis; for vectors and scalars each element."""
    factor, least = positive("factor", factor), positive("least", least)

    def limited(p: Tensor, g: Tensor) -> Tensor:
        allowed = factor * maximum(_unit_norms(p), least)
        return g * minimum(allowed / maximum(_unit_norms(g), 1e-6), 1.0)
    return lambda parameters, grads: {name: limited(parameters[name].value, g) for name, g in grads.items()}


def _unit_norms(x: Tensor) -> Tensor:
    return length(x, tuple(range(x.ndim - 1))) if x.ndim > 1 else abs(x)


@setting
def centralize() -> Transform:
    """The gradient of each unit of a matrix or filter minus its mean (Yong et al., 2020)."""
    def centred(g: Tensor) -> Tensor:
        return g - mean(g, axis=tuple(range(g.ndim - 1)), keepdims=True) if g.ndim > 1 else g
    return lambda parameters, grads: {name: centred(g) for name, g in grads.items()}


@setting
def decay_weights(strength: float) -> Transform:
    """g + strength * p, for the parameters with two axes or more: not for biases and scales."""
    strength = not_negative("strength", strength)
    return lambda parameters, grads: {name: g + strength * parameters[name].value if g.ndim > 1 else g
                                      for name, g in grads.items()}


__all__ = ["centralize", "clip_adaptive", "clip_norm", "clip_value", "decay_weights"]
