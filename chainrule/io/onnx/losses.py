# SPDX-License-Identifier: Apache-2.0
"""Operators of training: losses of classes (N, C, *S)."""

from __future__ import annotations

from typing import Any

from ... import arrays as xp
from ...ops import compose
from .movement import elementwise_positions
from .words import Call, tensor, word


@word("NegativeLogLikelihoodLoss")
def _likelihood(call: Call, x: Any, target: Any, weight: Any = None) -> Any:
    return _loss(call, tensor(x), tensor(target), weight)


@word("SoftmaxCrossEntropyLoss")
def _cross_entropy(call: Call, x: Any, target: Any, weight: Any = None) -> Any:
    log_probability = compose.log_softmax(tensor(x), axis=1)
    loss = _loss(call, log_probability, tensor(target), weight)
    return (loss, log_probability) if call.results > 1 else loss


def _loss(call: Call, x: Any, target: Any, weight: Any) -> Any:
    """Minus the target's log probability, by its weight; what is ignored weighs nothing."""
    target = xp.astype(target, "int64")
    ignored = call.get("ignore_index")
    counts = (xp.ones(target.shape, dtype=x.dtype) if ignored is None
              else xp.astype(xp.not_equal(target, ignored), x.dtype))
    target = target if ignored is None else xp.where(xp.equal(target, ignored), 0, target)
    counts = counts if weight is None else counts * xp.take(tensor(weight), target, axis=0)
    hot = xp.equal(xp.expand_dims(target, axis=1), elementwise_positions(x.shape, 1))
    values = -xp.sum(xp.where(hot, x, xp.zeros_like(x)), axis=1) * counts
    how = call.get("reduction", "mean")
    return values if how == "none" else xp.sum(values) if how == "sum" else xp.sum(values) / xp.sum(counts)
