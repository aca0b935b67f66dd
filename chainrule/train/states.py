# SPDX-License-Identifier: Apache-2.0
"""What a model keeps besides its weights, and what a run has to do about it: states of recurrent layers, generators of
dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .. import random
from ..errors import ArgumentError, ShapeError, explain
from ..nn import BatchNorm
from .structure import traced


def kept_states(model: Any) -> list[Any]:
    """The Variables in which stateful layers keep where the last batch ended."""
    return [state for module in model.modules().values() if vars(module).get("stateful")
            for state in vars(module).get("kept", ())]


def fixed_rows(model: Any) -> int | None:
    """The batch size that stateful layers were built for, None without such layers."""
    return next((state.shape[0] for state in kept_states(model)), None)


@contextlib.contextmanager
def states_aside(model: Any) -> Iterator[None]:
    """Within, stateful layers begin anew; afterwards they go on where they were."""
    kept = [(state, state.numpy()) for state in kept_states(model)]
    for state, array in kept:
        state.assign(array * 0)
    try:
        yield
    finally:
        for state, array in kept:
            state.assign(array)


def check_batches(model: Any, samples: int, batch_size: int, shuffle: bool) -> None:
    """ArgumentError where a stateful layer would go on from samples that do not come before, or meet batches of two
    sizes."""
    if not kept_states(model):
        return
    if shuffle and samples > batch_size:
        raise ArgumentError(explain("a stateful layer goes on where the batch before ended, and the samples are "
                                    "shuffled",
                                    got=f"shuffle=True with {samples:,} samples in batches of {batch_size}",
                                    expected="batches in the order of the data",
                                    fix="shuffle=False, or layers with stateful=False if each sample stands for "
                                        "itself"))
    if left := samples % batch_size:
        fitting = max(n for n in range(1, batch_size + 1) if samples % n == 0)
        raise ArgumentError(explain("a stateful layer keeps to one batch size",
                                    got=f"{samples:,} samples in batches of {batch_size}, the last one of {left}",
                                    expected="a number of samples that is a multiple of the batch size",
                                    fix=f"batch_size={fitting}, or leave out {left} samples"))


def generators(model: Any) -> list[random.Generator]:
    """The generators that layers have of their own."""
    held = (value for module in model.modules().values() for value in vars(module).values())
    return list({id(value): value for value in held if isinstance(value, random.Generator)}.values())


def least_rows(model: Any, x: Any) -> int:
    """2 for a model that cannot learn from a single sample, because the statistics of a batch would be those of one
    value; else 1."""
    if not any(isinstance(module, BatchNorm) for module in model.modules().values()):
        return 1
    try:
        traced(model, x, 1, training=True)
    except ShapeError:
        return 2
    return 1
