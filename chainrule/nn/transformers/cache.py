# SPDX-License-Identifier: Apache-2.0
"""Keys and values of the steps so far, so that decoding computes one new step at a time. The cache has one length for
life, so a compiled step is compiled once.
"""

from __future__ import annotations

import numpy as np

from ...errors import BoundsError, ShapeError, explain
from ...ir import Tensor, Variable
from ...ops.index import iota, scatter
from ...typing import DTypeLike


class KeyValueCache:
    """Room for `length` steps of `batch` samples; `reset()` forgets them.

    Make one for each attention: `attention.cache(batch, length)`, and give it to each call: `attention(x,
    cache=cache)`.

    >>> cache = nn.KeyValueCache(batch=1, length=16, heads=2, width=8)
    >>> cache.keys.shape
    (1, 16, 2, 8)
    """

    def __init__(self, batch: int, length: int, heads: int, width: int, dtype: DTypeLike = "float32"):
        self.keys, self.values = (Variable(np.zeros((batch, length, heads, width), dtype), name=name, trainable=False)
                                  for name in ("keys", "values"))
        self.position = Variable(np.int64(0), name="position", trainable=False)

    @property
    def length(self) -> int:
        """How many steps there is room for."""
        return self.keys.shape[1]

    def reset(self) -> None:
        """Forget all steps."""
        self.position.assign(np.int64(0))

    def start(self, steps: int) -> Tensor:
        """The position of the next step, after which there is room for so many."""
        start = self.position.value
        if start.node.data is not None and int(start.node.data) + steps > self.length:
            raise BoundsError(explain("the cache is full", got=f"{int(start.node.data)} + {steps} steps",
                                      expected=f"at most {self.length}", fix="make a longer cache, or reset() it"))
        return start

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(all keys, all values, position of the first new step); later places hold what does not count.

        Raises BoundsError if there is no room, in a compiled step too.
        """
        if k.shape[0] != self.keys.shape[0]:
            raise ShapeError(explain("the cache was made for another batch", got=f"batch {k.shape[0]}",
                                     expected=f"batch {self.keys.shape[0]}", fix="make a new cache"))
        steps = k.shape[1]
        start = self.start(steps)
        places = start + iota((steps,), 0)
        keys = scatter(self.keys.value, places, k, axis=1, mode="set")
        values = scatter(self.values.value, places, v, axis=1, mode="set")
        self.keys.assign(keys)
        self.values.assign(values)
        self.position.assign(start + steps)
        return keys, values, start
