# SPDX-License-Identifier: Apache-2.0
"""Where the time of a workload goes inside its machine code: every kernel alone, on one thread, slowest first.

    python -m benchmarks.profile NAME … [--top 15] [--repeat 10]

Kernels of one kind, operation and shape are one row: how many, milliseconds of all, share of the sum, GFLOP/s, GB/s.
The last line gives the whole step on all threads; it is more than sum / threads by what threads wait for each other.
"""

from __future__ import annotations

import argparse
import statistics
import time

from .shapes import SHAPES, TWELVE
from .workloads import NotAvailable, Workload, build


def rows(workload: Workload, repeat: int) -> list[tuple[str, str, float, float, float]]:
    """(name, kind, seconds, GFLOP/s, GB/s) of every kernel."""
    entry = workload.compiled.lower(*workload.arguments)
    state = [variable.take_array(write=False) for variable in entry.captured.reads]
    return entry.program.profile([*workload.arguments, *state], repeat)


def report(name: str, top: int, repeat: int) -> None:
    """Print the table of one workload."""
    began = time.perf_counter()
    workload = build(name)
    workload.step()
    start = time.perf_counter() - began
    found = rows(workload, repeat)
    total = sum(row[2] for row in found)
    print(
        f"\n## {name}: {len(found)} kernels, {total * 1e3:.3f} ms in all on one thread, first step after {start:.2f} s"
    )
    groups = grouped(found)
    for (kind, label), (count, seconds, flops, moved) in groups[:top]:
        print(f"{count:4} x {seconds * 1e3:9.3f} ms {seconds / total:5.1%} {flops / seconds / 1e9:7.1f} GFLOP/s "
              f"{moved / seconds / 1e9:6.1f} GB/s  {kind:8} {label}")
    loops = sum(seconds for (kind, _), (_, seconds, _, _) in groups if kind == "loops")
    step = median(workload.step, 1.5)
    print(f"loops {loops / total:.1%} of the sum; whole step {step * 1e3:.3f} ms, "
          f"{SHAPES[name].flops / step / 1e9:.1f} GFLOP/s, "
          f"sum / step {total / step:.2f}", flush=True)


def grouped(found: list[tuple[str, str, float, float,
                              float]]) -> list[tuple[tuple[str, str], tuple[int, float, float, float]]]:
    """((kind, operation and shape), (count, seconds, FLOPs, bytes)), slowest first."""
    groups: dict[tuple[str, str], tuple[int, float, float, float]] = {}
    for label, kind, seconds, gflops, gbytes in found:
        key = kind, label.split(" ", 1)[1]
        count, t, flops, moved = groups.get(key, (0, 0.0, 0.0, 0.0))
        groups[key] = count + 1, t + seconds, flops + gflops * seconds * 1e9, moved + gbytes * seconds * 1e9
    return sorted(groups.items(), key=lambda item: -item[1][1])


def median(step, seconds: float) -> float:
    """Median time of a step over so many seconds, after three steps that do not count."""
    for _ in range(3):
        step()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--top", type=int, default=15)
    parser.add_argument("--repeat", type=int, default=10)
    options = parser.parse_args()
    for name in options.names or TWELVE:
        try:
            report(name, options.top, options.repeat)
        except NotAvailable as missing:
            print(f"\n## {name}: not available: {missing}")


if __name__ == "__main__":
    main()
