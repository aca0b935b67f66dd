# SPDX-License-Identifier: Apache-2.0
"""Exponential moving average of the weights inside the training step (Polyak and Juditsky, 1992)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from .. import arrays as cr
from ..errors import ArgumentError, explain, shown
from ..ir import Variable
from ..nn import Module


class Average:
    """a = d a + (1 - d) w for each parameter, with d = min(decay, (1 + t) / (10 + t)) in step t = 1, 2, …, so that the
    start is soon forgotten."""

    def __init__(self, model: Module, decay: float):
        if not 0 <= decay < 1:
            raise ArgumentError(explain("the decay of an average lies in [0, 1)", got=f"ema={shown(decay)}",
                                        expected="for example 0.999"))
        self.decay, self.parameters = float(decay), model.parameters()
        self.count = Variable(np.float32(0), name="average.count", trainable=False)
        self.values = {name: Variable(p.numpy(), name=f"average.{name}", trainable=False)
                       for name, p in self.parameters.items()}

    def variables(self) -> dict[str, Variable]:
        """Name → Variable."""
        return {"count": self.count, **self.values}

    def update(self) -> None:
        """After a step of the optimiser."""
        t = self.count.value + 1
        keep = cr.minimum((1 + t) / (10 + t), self.decay)
        self.count.assign(t)
        for name, average in self.values.items():
            average.assign(average.value + (1 - keep) * (self.parameters[name].value - average.value))

    def apply(self) -> None:
        """The parameters become the averages."""
        for name, p in self.parameters.items():
            p.assign(self.values[name].numpy())

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Within, the parameters are the averages."""
        kept = {name: p.numpy() for name, p in self.parameters.items()}
        try:
            self.apply()
            yield
        finally:
            for name, p in self.parameters.items():
                p.assign(kept[name])
