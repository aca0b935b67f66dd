# SPDX-License-Identifier: Apache-2.0
"""`repeat`: a loop of a program that carries nothing but Variables, such as a rollout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import arrays as cr
from ..ir import Tensor
from ..ops.loops import scan


def repeat(body: Callable[..., Sequence[Any]], length: int, sequences: Sequence[Any] = ()) -> tuple[Tensor, ...]:
    """ys[i] = body(i, *(x[i] for x in sequences)) for i = 0, …, length - 1; returns the stacked ys.

    What the body assigns to Variables is there in the next step, and after the loop.
    """
    _, ys = scan(lambda carry, x: (carry, tuple(body(*x))), (), (np.arange(length), *sequences))
    return tuple(ys)


def flat(x: Tensor) -> Tensor:
    """(steps, batch, …) as (steps × batch, …)."""
    return cr.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
