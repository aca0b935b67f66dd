# SPDX-License-Identifier: Apache-2.0
"""The largest batch that fits into memory, a power of two: computed from what compiled steps need, then tried once.

What a program needs grows evenly with the batch, so two small ones tell; they are compiled, not run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .. import losses, optim
from ..errors import ArgumentError, explain
from ..typing import DataLike, LossLike, ModelLike, OptimizerLike
from .batched import some
from .data import Samples
from .evaluate import build
from .keep import unchanged
from .step import built_for, training_step

SMALL, SPARE = (8, 16), 0.9   # batches that are compiled; share of the free memory that may be used


def largest_batch(model: ModelLike, data: DataLike, *, loss: LossLike, optimizer: OptimizerLike = "adam",
                  memory: int | None = None, most: int = 2**16,
                  backend: str | None = None) -> int:
    """The largest power of two, at most `most`, for which a training step fits into `memory` bytes.

    `data` is what `fit` takes; of a source, a loader or a stream the first samples are enough. `loss` may be one for
    each output. `memory` defaults to nine tenths of what is free: the address space under a resource limit, or the
    machine's memory. The model stays as it is. Raises ArgumentError if not even one sample fits.

    >>> x = np.ones((4, 3), "float32")
    >>> cr.train.largest_batch(nn.Dense(1), (x, x[:, :1]), loss="mse", memory=10_000_000, most=64)
    64
    """
    whole, chosen = some(data, model, SMALL[1]), optim.get(optimizer)
    build(model, whole.x)
    found = losses.of_outputs(loss, targets=whole.y)
    budget = free_memory() * SPARE if memory is None else memory
    parts = built_for(chosen, model, found, whole)
    step = training_step(model, found, chosen, None, backend, weighted=whole.weighted, parts=parts)
    a, b = (bytes_of(step.lower(*_batch(whole, size))) for size in SMALL)
    each = max((b - a) / (SMALL[1] - SMALL[0]), 1.0)
    size = 1
    while 2 * size <= most and a + (2 * size - SMALL[0]) * each <= budget:
        size *= 2
    if a + (size - SMALL[0]) * each > budget:
        raise ArgumentError(explain("not even one sample fits",
                                    got=f"{a + (1 - SMALL[0]) * each:,.0f} bytes needed, {budget:,.0f} allowed",
                                    fix="use a smaller model, or more memory"))
    return _tried(model, step, whole, size)


def _tried(model: Any, step: Any, whole: Samples, size: int) -> int:
    """The size itself if a step of it runs, else the next smaller power of two that does."""
    with unchanged(model):
        while True:
            try:
                step.arrays(*_batch(whole, size))
                return size
            except MemoryError:
                if size == 1:
                    raise
                size //= 2


def _batch(whole: Samples, size: int) -> tuple[Any, Any, Any]:
    return whole.batch(np.arange(size) % len(whole))


def bytes_of(entry: Any) -> int:
    """What one run of a compiled function takes: inputs, outputs, and what lives in between."""
    graph = entry.graph
    own = sum(node.type.bytes for node in (*graph.inputs, *graph.outputs))
    working = entry.program.working_bytes
    return own + (sum(node.type.bytes for node in graph.nodes) if working is None else working)


def free_memory() -> int:
    """Bytes that this process can still get."""
    found = []
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            found.append(limit - int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE"))
    except (ImportError, OSError):  # no such limits here
        pass
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        found.append(_physical())
    return max(min(found), 0)


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        raise ArgumentError(explain("it is not known how much memory is free here",
                                    fix="say it: largest_batch(..., memory=2**30)")) from None
