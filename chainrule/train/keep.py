# SPDX-License-Identifier: Apache-2.0
"""Snapshots of Variables that are restored afterwards, for trying something and leaving no trace: Variables that hold
afterwards what they held before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .. import random


@contextlib.contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """Within, weights, statistics and random state may change; afterwards they are as before."""
    kept = [(variable, variable.numpy()) for variable in (*model.variables().values(), *random.variables().values())]
    try:
        yield
    finally:
        for variable, array in kept:
            variable.assign(array)
