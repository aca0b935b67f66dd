# SPDX-License-Identifier: Apache-2.0
"""Penalties on the weights, added to a loss: functions of a model that give one number.

They look at the trainable parameters with two axes or more: matrices and filters, not biases or scales.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir import Tensor, as_tensor
from ..ops import reduce
from ..ops.elementwise import abs

Penalty = Callable[[Any], Tensor]


def _weights(model: Any) -> list[Tensor]:
    found = model.parameters() if hasattr(model, "parameters") else model
    return [v.value for v in found.values() if v.ndim > 1 and v.trainable]


def _total(parts: list[Tensor]) -> Tensor:
    return sum(parts[1:], start=parts[0]) if parts else as_tensor(0.0)


def l2(strength: float) -> Penalty:
    """strength * (sum of w^2)."""
    return lambda model: strength * _total([reduce.sum(w * w) for w in _weights(model)])


def l1(strength: float) -> Penalty:
    """strength * (sum of |w|): drives weights to 0."""
    return lambda model: strength * _total([reduce.sum(abs(w)) for w in _weights(model)])


def l1_l2(l1_strength: float, l2_strength: float) -> Penalty:
    """Both together (the elastic net; Zou and Hastie, 2005)."""
    return lambda model: l1(l1_strength)(model) + l2(l2_strength)(model)
