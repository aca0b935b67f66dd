# SPDX-License-Identifier: Apache-2.0
"""The workloads, chainrule beside PyTorch: first equality, then times in turns, then starts and memory.

    python -m benchmarks.run [NAME …] [--more] [--quick] [--others] [--precision bfloat16] [--json FILE] [--picture
    FILE]

Every row has a process for each side, with 2 threads. Only one of them works at a time, in rounds A B A B …; a row's
figure is the median of the medians of its rounds, so a disturbance of one round does not count; "best" is the ratio of
the best rounds, which tells more on a busy machine: threads that wait for each other suffer most from others. No row is
timed unless loss and gradients from the same weights agree to 1e-4, or are as near to those in float64 as PyTorch's are
(in a deep network with kinks no two orders of summation agree better). `--quick` takes shorter rounds, without starts.
With `--precision bfloat16` PyTorch runs under autocast; both sides are compared with float64 (inference: float32), and
ours may be 1.5 times as far from it as autocast is. `--others` adds JAX and Keras (on JAX), where they are installed,
after the same check.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import machine
from .picture import draw
from .processes import Failed, Side, start
from .shapes import MORE, SHAPES

TOLERANCE = 1e-4
GOALS = {"mlp-b32": 5, "mlp-b128": 2, "mnist-cnn-b64": 1.6, "resnet20-b128": 1.2, "lstm256-b32-t64": 1.25,
         "gru128-b16-t100": 2,
         "gpt-d128-l4-b16-t128": 1.6, "gpt-d384-l6-b8-t256": 1.2, "infer-mlp-b1": 2, "infer-mnist-cnn-b1": 2,
         "infer-resnet20-b1": 2,
         "matmul-2048": 1.05, "depthwise-b64": 1.2, "infer-depthwise-b1": 2}
GOALS |= {name: 1 for name in MORE if name not in GOALS}
OTHERS = {"jax": "JAX", "keras": "Keras"}
REST = 0.25  # seconds between two sides: threads that wait for more work must have gone to sleep


@dataclass
class Row:
    """What was measured of one workload; times in seconds, memory in bytes."""

    name: str
    problem: str = ""
    deviation: dict[str, float] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    limit: float = 0.0
    precision: str = "float32"
    others: tuple[str, ...] = ()

    def seconds(self, side: str) -> float:
        """Median of the rounds."""
        return statistics.median(self.rounds[side]) if self.rounds.get(side) else float("nan")

    @property
    def ratio(self) -> float:
        """PyTorch's time by ours."""
        return self.seconds("pytorch") / self.seconds("chainrule")

    @property
    def best_ratio(self) -> float:
        """The same of the round of each side that was disturbed least."""
        return min(self.rounds["pytorch"]) / min(self.rounds["chainrule"])

    def share(self, side: str) -> float:
        """Of the limit of the machine."""
        return SHAPES[self.name].flops / self.seconds(side) / self.limit

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        if self.problem:
            return {"name": self.name, "problem": self.problem, "deviation": self.deviation}
        derived = {"ms": {side: self.seconds(side) * 1e3 for side in self.rounds}, "ratio": self.ratio,
                   "best_ratio": self.best_ratio, "goal": GOALS[self.name],
                   "share": {side: self.share(side) for side in self.rounds}}
        return asdict(self) | derived


# ---- measuring

def measure(name: str, limit: float, quick: bool, precision: str, others: tuple[str, ...] = ()) -> Row:
    """One row."""
    row = Row(name, limit=limit, precision=precision, others=others)
    try:
        if not quick:
            measure_starts(row)
        measure_times(row, *((3, 0.3, 3) if quick else (7, 1.0, 5)))
        for side in others if not row.problem else ():
            measure_other(row, side, *((1, 0.3, 3) if quick else (3, 1.0, 3)))
    except Failed as failed:
        row.problem = f"not measured: {failed}"
    return row


def measure_times(row: Row, rounds: int, seconds: float, least: int) -> None:
    """Both sides in turns, after the check that they compute the same."""
    sides = {side: Side(side, row.name, row.precision) for side in ("chainrule", "pytorch")}
    try:
        for side in sides.values():
            side.ready()
        row.deviation = check(sides, exact=row.precision != "float32")
        if not agree(row.deviation):
            row.problem = f"the sides compute different things: {row.deviation}"
            return
        for _ in range(rounds):
            for name, side in sides.items():
                time.sleep(REST)
                row.rounds.setdefault(name, []).append(
                    statistics.median(side.ask("time", seconds=seconds, least=least))
                )
    finally:
        for side in sides.values():
            side.close()


def measure_other(row: Row, other: str, rounds: int, seconds: float, least: int) -> None:
    """A side beside the two, if it has this workload and computes the same."""
    sides = {other: Side(other, row.name, row.precision), "pytorch": Side("pytorch", row.name, row.precision)}
    try:
        for side in sides.values():
            side.ready()
        found = check(sides, exact=False, ours=other)
        if agree(found):
            time.sleep(REST)
            row.rounds[other] = [statistics.median(sides[other].ask("time", seconds=seconds, least=least))
                                 for _ in range(rounds)]
    except Failed:
        pass  # a row without this side
    finally:
        for side in sides.values():
            side.close()


def check(sides: dict[str, Side], exact: bool = False, ours: str = "chainrule") -> dict[str, float]:
    """Relative deviations of ours from PyTorch's, from the same weights; if they are large (or `exact`), of both from
    float64."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "exported.npz")
        sides["pytorch"].ask("export", file=path)
        found = sides[ours].ask("compare", file=path)
        if exact or not agree(found):
            theirs = sides["pytorch"].ask("export", file=path, exact=True)
            found = sides[ours].ask("compare", file=path)
            found |= {f"pytorch_{name}": value for name, value in theirs.items()}
    return found


def agree(found: dict[str, float]) -> bool:
    """Whether both sides compute the same, up to rounding."""
    return all(found[name] <= max(TOLERANCE, 1.5 * found.get(f"pytorch_{name}", 0.0))
               for name in ("value", "gradients"))


def measure_starts(row: Row) -> None:
    """A new process to the end of its first step: with an empty cache, with a filled one, and PyTorch."""
    with tempfile.TemporaryDirectory() as cache:
        row.starts["cold"], _ = start("chainrule", row.name, cache, row.precision)
        row.starts["warm"], row.memory["chainrule"] = start("chainrule", row.name, cache, row.precision)
        row.starts["pytorch"], row.memory["pytorch"] = start("pytorch", row.name, cache, row.precision)


# ---- showing

HEAD = (f"{'workload':22}{'ours ms':>10}{'PyTorch ms':>12}{'ratio':>8}{'best':>7}{'goal':>7}{'share':>8}{'PyTorch':>9}"
        f"{'cold s':>9}{'warm s':>8}{'PyTorch':>9}{'MB':>7}{'PyTorch':>9}{'deviation':>11}")


def line(row: Row) -> str:
    """A row as text."""
    if row.problem:
        return f"{row.name:22}{row.problem}"
    text = (f"{row.name:22}{row.seconds('chainrule') * 1e3:10.3f}{row.seconds('pytorch') * 1e3:12.3f}"
            f"{row.ratio:8.2f}{row.best_ratio:7.2f}{GOALS[row.name]:7.2f}"
            f"{row.share('chainrule'):8.1%}{row.share('pytorch'):9.1%}")
    if row.starts:
        text += f"{row.starts['cold']:9.2f}{row.starts['warm']:8.2f}{row.starts['pytorch']:9.2f}"
        text += f"{row.memory['chainrule'] / 1e6:7.0f}{row.memory['pytorch'] / 1e6:9.0f}"
    else:
        text += f"{'-':>9}{'-':>8}{'-':>9}{'-':>7}{'-':>9}"
    text += f"{max(row.deviation['value'], row.deviation['gradients']):11.1e}"
    return text + "".join(f"{row.seconds(other) * 1e3:10.3f}" if other in row.rounds else f"{'-':>10}"
                          for other in row.others)


def main() -> None:
    """Read the command line, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SHAPES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--more", action="store_true", help="the rows of the second group too")
    parser.add_argument("--others", action="store_true", help="JAX and Keras too")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    unknown = set(options.names) - set(SHAPES)
    if unknown:
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(SHAPES)}")
    others = tuple(side for side in OTHERS if options.others and importlib.util.find_spec(side))
    limit = machine.limit(precision=options.precision)
    print(f"{machine.processor()}: limit {limit / 1e9:.0f} GFLOP/s on {machine.THREADS} threads; load of the last "
          f"minute {machine.load():.1f}\n"
          + HEAD + "".join(f"{OTHERS[other] + ' ms':>10}" for other in others))
    rows = []
    for name in options.names or [name for name in SHAPES if options.more or name not in MORE]:
        rows.append(measure(name, limit, options.quick, options.precision, others))
        print(line(rows[-1]), flush=True)
    print(f"load of the last minute {machine.load():.1f}")
    if options.json:
        options.json.write_text(json.dumps({"processor": machine.processor(), "limit": limit, "load": machine.load(),
                                            "rows": [row.plain() for row in rows]}, indent=1) + "\n")
    if options.picture:
        draw(rows, options.picture)


if __name__ == "__main__":
    main()
