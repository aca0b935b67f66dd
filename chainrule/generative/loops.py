# SPDX-License-Identifier: Apache-2.0
"""A loop of a sampler, inside its program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import arrays as cr


def repeat(step: Callable[[Any, Any], Any], carry: Any, steps: int) -> Any:
    """carry = step(carry, i) for i = 0, …, steps - 1."""
    for i in range(steps):
        carry = step(carry, cr.asarray(np.int64(i)))
    return carry
