# SPDX-License-Identifier: Apache-2.0
"""Several networks as one: each member learns by its own loss, and what they say together is used.

While a network of members is trained it returns the outputs of all, (n, members, outputs); afterwards the logarithm of
the mean of their probabilities, or the mean of their numbers (n, outputs). A loss of `of_members` fits both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import losses
from ..ops.broadcast import broadcast_to
from ..ops.compose import log_softmax, logsumexp, stack
from ..ops.movement import reshape
from ..ops.reduce import mean


def joined(outputs: Any, kind: str, training: bool) -> Any:
    """The outputs (n, members, k) of members: as they are in training, else together, (n, k).

    Args:
        kind: "classes": log of the mean softmax; "numbers": the mean.
    """
    if training:
        return outputs
    if kind == "numbers":
        return mean(outputs, axis=1)
    return logsumexp(log_softmax(outputs, axis=-1), axis=1) - math.log(outputs.shape[1])


def members_of(outputs: Sequence[Any]) -> Any:
    """The outputs (n, k) of each member, side by side: (n, members, k)."""
    return stack(list(outputs), axis=1)


def of_members(loss: str) -> Callable[[Any, Any], Any]:
    """A loss (outputs, targets) -> (n,) that is the mean over members of a loss of `chainrule.losses`, and of outputs
    (n, k) the loss itself.

    It is what a network of members is trained by (`TextNetwork`, `TabularNetwork`): each member learns by its own
    error.

    >>> loss = cr.models.of_members("cross_entropy")
    >>> loss(np.zeros((1, 8, 2), "float32"), np.array([1])).shape
    (1,)
    """
    chosen = losses.get(loss)

    def each(outputs: Any, targets: Any) -> Any:
        if outputs.ndim == 2:
            return chosen(outputs, targets, reduction="none")
        n, members, k = outputs.shape
        tail = targets.shape[1:]
        spread = broadcast_to(reshape(targets, (n, 1, *tail)), (n, members, *tail))
        values = chosen(reshape(outputs, (n * members, k)), reshape(spread, (n * members, *tail)), reduction="none")
        return mean(reshape(values, (n, members)), axis=1)

    each.__name__ = f"{loss}_of_members"
    return each
