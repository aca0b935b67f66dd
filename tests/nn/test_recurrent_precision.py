# SPDX-License-Identifier: Apache-2.0
"""Recurrent networks with products in bfloat16: native gradients against the reference backend, the same bits on any
number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, native, nn

SYMBOLS, STEPS = 17, 12  # rows of logits end in a vector of one element


def derivatives(cell: Any, batch: int, backend: str) -> tuple[list[np.ndarray], Any, list[np.ndarray]]:
    """(loss and gradients, the compiled entry, its arrays)."""
    cr.random.seed(0)
    random = np.random.default_rng(0)
    x, y = random.integers(0, SYMBOLS, (batch, STEPS)), random.integers(0, SYMBOLS, (batch, STEPS))
    network = nn.Sequential([nn.Embedding(SYMBOLS, 24), cell(40, return_sequences=True), nn.Dense(SYMBOLS)])
    network(x)

    @cr.compile(precision="bfloat16", backend=backend)
    def step(x: Any, y: Any) -> Any:
        loss = losses.cross_entropy(network(x), y)
        return loss, list(cr.gradients(loss, network).values())

    loss, gradients = step(x, y)
    entry = step.lower(x, y) if backend == "native" else None
    state = [v.take_array(write=False) for v in entry.captured.reads] if entry else []
    return [np.array(loss), *map(np.array, gradients)], entry, [x, y, *state]


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.SimpleRNN])
@pytest.mark.parametrize("batch", [9, 17])
def test_gradients_in_bfloat16(cell: Any, batch: int) -> None:
    (ours, entry, arrays), (exact, _, _) = derivatives(cell, batch, "native"), derivatives(cell, batch, "reference")
    for a, b in zip(ours, exact, strict=True):
        # a sum near the middle of two bfloat16 numbers may be rounded the other way
        assert np.linalg.norm(a - b) <= 2e-3 * np.linalg.norm(b)
    one, two = (native.load(entry.graph, n)(arrays) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
