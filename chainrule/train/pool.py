# SPDX-License-Identifier: Apache-2.0
"""Metrics of small batches, many batches at a time: a metric costs the same for 32 rows as for 1000.

Batches wait until their outputs fill 64 KiB, which depends on their shapes alone, and are then handed over as one. What
waits is part of a checkpoint, so a resumed run adds up the same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..foundations import tree as trees

FULL = 2**16  # bytes of outputs


class Pool:
    """Collects batches for `metrics`: `add` each, `flush` before their results are read."""

    def __init__(self, metrics: Sequence[Any]):
        self.metrics, self.waiting, self.bytes = metrics, list[tuple[np.ndarray, ...]](), 0
        self.tree = trees.flatten((0, 0, 0))[1]  # of (outputs, targets, weights), which may be nested

    def like(self, outputs: Any, targets: Any, weights: Any) -> None:
        """What comes will have this structure."""
        self.tree = trees.flatten((outputs, targets, weights))[1]

    def add(self, outputs: Any, targets: Any, weights: Any) -> None:
        """A batch; the arrays may be written over afterwards."""
        leaves = trees.flatten((outputs, targets, weights))[0]
        self.waiting.append(tuple(leaf.copy() for leaf in leaves))
        self.bytes += leaves[0].nbytes
        if self.bytes >= FULL:
            self.flush()

    def extend(self, outputs: Any, targets: Any, weights: Any) -> None:
        """Batches, stacked along a first axis, with the same result as `add` for each."""
        leaves = trees.flatten((outputs, targets, weights))[0]
        while len(leaves[0]):
            left = -(-(FULL - self.bytes) // leaves[0][0].nbytes) if leaves[0][0].nbytes else len(leaves[0])
            self.add(*trees.unflatten(self.tree, [array[:left].reshape(-1, *array.shape[2:]) for array in leaves]))
            leaves = [array[left:] for array in leaves]

    def flush(self) -> None:
        """Hand over what waits."""
        if self.waiting:
            arrays = [np.concatenate(parts) for parts in zip(*self.waiting, strict=True)]
            self.clear()
            for metric in self.metrics:
                metric.update(*trees.unflatten(self.tree, arrays))

    def clear(self) -> None:
        """Forget what waits."""
        self.waiting, self.bytes = [], 0

    def state(self) -> list[list[np.ndarray]]:
        """What waits, for a checkpoint."""
        return [list(batch) for batch in self.waiting]

    def restore(self, state: Sequence[Sequence[np.ndarray]]) -> None:
        """Go on where `state` was taken."""
        self.clear()
        for batch in state:
            self.waiting.append(tuple(batch))
            self.bytes += batch[0].nbytes
