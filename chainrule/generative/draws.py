# SPDX-License-Identifier: Apache-2.0
"""Random numbers inside a sampler: a generator whose state is a value of the program, so that samples are a function of
the seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import Tensor, as_tensor
from ..random import Generator


class _State:
    """What a Variable is to a generator, within one program."""

    def __init__(self, value: Any):
        self.value = as_tensor(value)

    def assign(self, value: Any) -> None:
        """The next state."""
        self.value = as_tensor(value)


class Draws(Generator):
    """A generator that begins at `state`, uint32[4], and leaves it as it is; `.now` is where it has come to."""

    def __init__(self, state: Any):
        self.state = _State(state)  # type: ignore[assignment]

    @property
    def now(self) -> Tensor:
        """The state after what was drawn."""
        return self.state.value  # type: ignore[return-value]


def start(seed: int) -> np.ndarray:
    """The state of a generator with this seed."""
    return Generator(seed).state.numpy()
