# SPDX-License-Identifier: Apache-2.0
"""Does a step cost more for a larger table? An embedding of which a batch takes few rows, beside PyTorch with sparse
gradients.

    python -m benchmarks.tables [--rows 10000 200000 1000000] [--batch 256] [--words 4] [--width 32]

A batch has `batch` samples of `words` ids; their vectors are averaged and go through one layer to one logit. Medians of
60 steps, both sides in turns, in microseconds; all batches come once before, so that the rows which they take lie in
memory (a page of a new table, or of its slots, is made when it is first touched).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

RULES = {"SGD": "SGD", "Adagrad": "Adagrad", "Adam, lazy": "SparseAdam"}


def ours(rule: str, rows: int, width: int) -> Callable[[np.ndarray, np.ndarray], Any]:
    """A step of ours."""
    from chainrule import losses, nn, optim
    from chainrule.train.step import training_step

    model = nn.Sequential([nn.Embedding(rows, width), nn.GlobalAvgPool1D(), nn.Dense(1)])
    optimizer = {"SGD": lambda: optim.SGD(0.01), "Adagrad": lambda: optim.Adagrad(0.01),
                 "Adam, lazy": lambda: optim.Adam(1e-3, lazy=True)}[rule]()
    step = training_step(model, losses.get("binary_cross_entropy"), optimizer)
    return lambda ids, y: step(ids, y, np.ones(len(y), np.float32))[0].item()


def theirs(rule: str, rows: int, width: int) -> Callable[[np.ndarray, np.ndarray], Any]:
    """A step of PyTorch."""
    import torch

    table, head = torch.nn.Embedding(rows, width, sparse=True), torch.nn.Linear(width, 1)
    make = lambda name, parameters: getattr(torch.optim, name)(parameters, lr=0.01)
    optimizers = [make(RULES[rule], list(table.parameters())),
                  make(RULES[rule].replace("Sparse", ""), list(head.parameters()))]

    def step(ids: np.ndarray, y: np.ndarray) -> float:
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            head(table(torch.from_numpy(ids)).mean(1)), torch.from_numpy(y)
        )
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss.item()
    return step


def timed(steps: Sequence[Callable[..., Any]], batches: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Microseconds of a step of each side."""
    found: list[list[float]] = [[] for _ in steps]
    for number, batch in enumerate([*batches, *batches]):
        for step, times in zip(steps, found, strict=True):
            began = time.perf_counter()
            step(*batch)
            times += [time.perf_counter() - began] if number >= len(batches) else []
    return [1e6 * statistics.median(times) for times in found]


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 200_000, 1_000_000])
    for option, default in (("batch", 256), ("words", 4), ("width", 32)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    for rule in RULES:
        for rows in options.rows:
            batches = [(generator.integers(0, rows, (options.batch, options.words)),
                        generator.integers(0, 2, (options.batch, 1)).astype(np.float32))
                       for _ in range(60)]
            mine, other = timed([make(rule, rows, options.width) for make in (ours, theirs)], batches)
            print(f"{rule:12} {rows:>9,} rows  ours {mine:8.0f}  PyTorch {other:8.0f}", flush=True)


if __name__ == "__main__":
    main()
