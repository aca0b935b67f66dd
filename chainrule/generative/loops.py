# SPDX-License-Identifier: Apache-2.0
"""A loop of a sampler, inside its program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops.loops import scan


def repeat(step: Callable[[Any, Any], Any], carry: Any, steps: int) -> Any:
    """carry = step(carry, i) for i = 0, …, steps - 1."""
    return scan(lambda carry, i: (step(carry, i), None), carry, np.arange(steps))[0]
