# SPDX-License-Identifier: Apache-2.0
"""`Replay`: transitions in Variables, a ring from which programs draw (Lin, 1992)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import random
from ..ir import Tensor, Variable
from ..ops.index import scatter


class Replay:
    """A ring of the last `capacity` transitions.

    Args:
        capacity: transitions.
        kinds: name → (shape, dtype) of one transition's part.
    """

    def __init__(self, capacity: int, kinds: Mapping[str, tuple[tuple[int, ...], Any]]):
        self.capacity = int(capacity)
        self.parts = {name: Variable(np.zeros((self.capacity, *shape), dtype), name=name, trainable=False)
                      for name, (shape, dtype) in kinds.items()}
        self.count = Variable(np.int64(0), name="count", trainable=False)

    def variables(self) -> dict[str, Variable]:
        """Name → Variable."""
        return {**self.parts, "count": self.count}

    def store(self, **rows: Tensor) -> None:
        """Add transitions (rows, …); the oldest ones go."""
        size = next(iter(rows.values())).shape[0]
        place = (self.count.value + cr.arange(size)) % self.capacity
        for name, part in self.parts.items():
            part.assign(scatter(part.value, place, cr.astype(rows[name], part.dtype), mode="set", drop=True))
        self.count.assign(self.count.value + size)

    def draw(self, size: int) -> dict[str, Tensor]:
        """`size` transitions, each equally likely."""
        known = cr.astype(cr.minimum(self.count.value, self.capacity), "float64")
        place = cr.astype(cr.floor(random.uniform((size,), dtype="float64") * known), "int64")
        return {name: cr.take(part.value, place, axis=0) for name, part in self.parts.items()}


def several_steps(reward: Tensor, done: Tensor, final: Tensor, terminated: Tensor, steps: int,
                  gamma: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `steps` steps bring, of arrays (time, batch, …): (Σ γ^k r_{t+k}, where that leads, whether it ended there, γ
    to the number of steps).

    The sum goes no further than the end of the episode or of the arrays (Watkins, 1989; Hessel et al., 2018).
    """
    total, factor = reward, cr.full_like(reward, gamma)
    length, going = reward.shape[0], ~done
    place, last, ended = cr.arange(length), final, terminated
    for k in range(1, steps):
        ahead = cr.minimum(place + k, length - 1)
        here = going & cr.astype(place + k < length, "bool")[:, None]
        total = total + cr.where(here, gamma ** k * cr.take(reward, ahead, axis=0), 0.0)
        factor = cr.where(here, gamma ** (k + 1), factor)
        last = cr.where(cr.reshape(here, (*here.shape, *(1,) * (final.ndim - 2))), cr.take(final, ahead, axis=0), last)
        ended = cr.where(here, cr.take(terminated, ahead, axis=0), ended)
        going = here & ~cr.take(done, ahead, axis=0)
    return total, last, ended, factor
