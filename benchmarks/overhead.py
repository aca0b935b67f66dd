# SPDX-License-Identifier: Apache-2.0
"""What the Python side of a call costs, in microseconds of processor time on one thread, so that other processes count
less.

    python -m benchmarks.overhead

Rows: a compiled function of two vectors of four numbers, inference of the small network with a batch of one, and a
training step of `cr.fit` with a batch of 32, alone in a call and one of two hundred; for each the machine code alone,
and what the call adds to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

os.environ["CHAINRULE_THREADS"] = "1"  # before the library is used

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.train.data import samples
from chainrule.train.step import training_step

from .workloads import build


def best(function: Callable[[], Any], seconds: float = 0.4, parts: int = 5) -> float:
    """Microseconds of one call: the best of some stretches of calls."""
    start = time.process_time()
    function()
    calls = max(1, int(seconds / parts / max(time.process_time() - start, 1e-6)))
    found = []
    for _ in range(parts):
        start = time.process_time()
        for _ in range(calls):
            function()
        found.append((time.process_time() - start) / calls)
    return min(found) * 1e6


def parts(compiled: Any, arguments: tuple[np.ndarray, ...], call: Callable[..., Any]) -> tuple[float, float]:
    """(the whole call, the machine code in it)."""
    call(*arguments)
    entry = compiled.lower(*arguments)
    whole = best(lambda: call(*arguments))
    kept, spent = entry.program.runs, [0.0, 0]
    entry.program.runs = [lambda run=run: _timed(run, spent) for run in kept]
    best(lambda: call(*arguments))
    entry.program.runs = kept
    return whole, spent[0] / spent[1] * 1e6 * len(kept)


def _timed(run: Callable[[], None], spent: list[float]) -> None:
    start = time.process_time()
    run()
    spent[0] += time.process_time() - start
    spent[1] += 1


def tiny() -> tuple[float, float]:
    """x + y."""
    add, x = cr.compile(lambda x, y: x + y), np.ones(4, np.float32)
    return parts(add, (x, x), add)


def inference() -> tuple[float, float]:
    """784-128-10, one row."""
    work = build("infer-mlp-b1")
    return parts(work.compiled, work.arguments, work.compiled)


def training() -> tuple[Any, Any, np.ndarray]:
    """784-128-10: the step of `cr.fit`, the samples, and the rows of batches of 32."""
    random = np.random.default_rng(0)
    data = samples((random.standard_normal((20_000, 784), np.float32), random.integers(0, 10, 20_000)))
    model = nn.Sequential([nn.Dense(128, activation="relu"), nn.Dense(10)])
    model(data.x[:1])
    step = training_step(model, losses.get("cross_entropy"), optim.Adam(1e-3))
    return step, data, random.permutation(20_000).reshape(-1, 32)


def fit_step() -> tuple[float, float]:
    """A step in a call of its own, with its batch gathered by NumPy."""
    step, data, batches = training()
    out, chosen = np.empty((32, 784), np.float32), iter(range(10**9))
    return parts(step, data.batch(batches[0], out),
                 lambda *_: step.arrays(*data.batch(batches[next(chosen) % len(batches)], out)))


def fit_steps(many: int = 200) -> tuple[float, float]:
    """One of many steps in a call, which gathers its batches itself."""
    step, data, batches = training()
    entry = step.lower(*data.batch(batches[0]))
    last = len(entry.types) - 1
    steps: Any = entry.repeated([data.x, data.y, data.weights], 32, last, frozenset((0, 1, last)))
    call = lambda: steps(batches[:many])
    whole = best(call)
    repeat, spent = steps.args[0], [0.0, 0]
    run = repeat.run
    repeat.run = lambda: _timed(run, spent)
    best(call)
    return whole / many, spent[0] / spent[1] * 1e6 / many


def main() -> None:
    """Print the table."""
    print(f"{'microseconds':24}{'call':>10}{'machine code':>14}{'Python':>10}")
    for name, measure in (("x + y", tiny), ("inference, batch 1", inference), ("step of fit, batch 32", fit_step),
                          ("one of many steps", fit_steps)):
        whole, code = measure()
        print(f"{name:24}{whole:10.1f}{code:14.1f}{whole - code:10.1f}", flush=True)


if __name__ == "__main__":
    main()
