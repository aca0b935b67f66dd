# SPDX-License-Identifier: Apache-2.0
"""The limit of this machine: multiply-adds of float32 (or bfloat16) from registers and the first cache, on all threads
of the benchmark.

The measured number is the best of many short runs of a product whose operands stay in the first cache level, through
the kernels of the native backend, so it holds on any processor that it knows.
"""

from __future__ import annotations

import os
import platform
import time

import numpy as np

THREADS = 2


def processor() -> str:
    """Its name, as the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")),
                        platform.processor())
    except OSError:
        return platform.processor()


def load() -> float:
    """How many processes wanted to run in the last minute, on average."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def limit(seconds: float = 2.0, precision: str = "float32") -> float:
    """FLOP/s of all threads together: that of one, times their number; the machine's clock may be lower when all run.
    """
    import chainrule as cr

    random = np.random.default_rng(0)
    a, b = random.standard_normal((16, 28, 128), np.float32), random.standard_normal((16, 128, 32), np.float32)
    before, os.environ["CHAINRULE_THREADS"] = os.environ.get("CHAINRULE_THREADS"), "1"
    try:
        many = cr.compile(lambda a, b: [a @ (b + i) for i in range(64)], precision=precision)
        entry = many.lower(a, b)
    finally:
        os.environ.pop("CHAINRULE_THREADS") if before is None else os.environ.update(CHAINRULE_THREADS=before)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = max(best, *(gflops for _, kind, _, gflops, _ in entry.program.profile([a, b], 5) if kind == "product"))
    return best * 1e9 * THREADS
