# SPDX-License-Identifier: Apache-2.0
"""Dropout: noise that is present in training only, drawn from a generator that belongs to the layer."""

from __future__ import annotations

from typing import Any

from .. import random
from ..ir import no_grad
from ..ir.trace import eager
from ..ops.elementwise import where, zeros_like
from .checks import probability
from .module import Module


def own_generator() -> random.Generator:
    """A generator with a seed drawn from the default one, so that `cr.random.seed` fixes it."""
    with eager(), no_grad():
        return random.Generator(int(random.randint(2**62).item()))


class Dropout(Module):
    """In training, each element is 0 with probability `rate`, else divided by 1 - rate (Srivastava et al., 2014).

    The state of its generator is a Variable: compiled steps advance it, checkpoints keep it.
    """

    def __init__(self, rate: float):
        self.rate = probability("rate", rate)

    def build(self, x: Any) -> None:
        if self.rate:
            self.random = own_generator()

    def forward(self, x: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return x
        kept = self.random.bernoulli(1 - self.rate, x.shape)
        return where(kept, x * (1 / (1 - self.rate)), zeros_like(x))
