# SPDX-License-Identifier: Apache-2.0
"""One of several operations for each sample, by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError, explain
from .base import Augmentation, Batch, Several
from .checks import share
from .draws import DRAWS, Draws


class OneOf(Several):
    """For each sample one of the operations, all equally likely.

    Args:
        operations: of this module, but not those that mix samples.
        probability: share of samples to which one of them is applied.

    >>> operation = cr.augment.OneOf([cr.augment.Rotate(10), cr.augment.Translate(0.1)])
    >>> operation(np.zeros((8, 8, 3), "float32"), seed=0).shape
    (8, 8, 3)
    """

    def __init__(self, operations: Sequence[Augmentation], probability: float = 1.0):
        self.operations, self.probability = list(operations), share(probability)
        wrong = [op for op in self.operations if not isinstance(op, Augmentation) or op.whole_batch]
        if not self.operations or wrong:
            raise ArgumentError(explain("these are not operations to choose from", got=repr(wrong or self.operations),
                                        expected="operations on single samples, such as augment.Blur()"))

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        chosen = draws.integers(0, len(self.operations) - 1)
        for number, operation in enumerate(self.operations):
            places = np.flatnonzero(chosen == number)
            if len(places):
                own = draws.take(places)
                own.used += number * (DRAWS // 2 // len(self.operations))  # numbers of their own for each operation
                batch = batch.put(places, operation.run(batch.take(places), own))
        return batch
