# SPDX-License-Identifier: Apache-2.0
"""What became faster or slower from one version to another.

    python -m benchmarks.compare A B [--tolerance 0.05]

A and B are files that `benchmarks.run --json` wrote, or names of versions in `benchmarks/history/`. Times of ours are
compared directly where both ran on the same processor, else by their ratios to PyTorch's in the same run. Ends with 1
if a row is slower by more than the tolerance.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).parent / "history"


@dataclass(frozen=True)
class Change:
    """One workload in both versions: `factor` above 1 means that B is faster."""

    name: str
    before: float
    after: float
    factor: float
    problem: str = ""


def read(name: str, history: Path = HISTORY) -> dict[str, Any]:
    """A file, or the results of a version."""
    path = Path(name) if Path(name).is_file() else history / f"{name}.json"
    if not path.is_file():
        kept = ", ".join(sorted(x.stem for x in history.glob("*.json"))) or "none"
        raise SystemExit(f"there is neither a file {name} nor a version of this name; kept versions: {kept}")
    return json.loads(path.read_text(encoding="utf-8"))


def changes(a: dict[str, Any], b: dict[str, Any]) -> list[Change]:
    """One for each workload that both have."""
    same = a["processor"] == b["processor"]
    others = {row["name"]: row for row in b["rows"]}
    return [_change(row, others[row["name"]], same) for row in a["rows"] if row["name"] in others]


def _change(a: dict[str, Any], b: dict[str, Any], same: bool) -> Change:
    if problem := a.get("problem") or b.get("problem"):
        return Change(a["name"], float("nan"), float("nan"), float("nan"), problem)
    before, after = a["ms"]["chainrule"], b["ms"]["chainrule"]
    return Change(a["name"], before, after, before / after if same else b["ratio"] / a["ratio"])


def line(change: Change, tolerance: float) -> str:
    """A row as text."""
    if change.problem:
        return f"{change.name:24}{change.problem}"
    word = "slower" if change.factor < 1 - tolerance else "faster" if change.factor > 1 + tolerance else ""
    return f"{change.name:24}{change.before:10.3f}{change.after:10.3f}{change.factor:8.2f}  {word}".rstrip()


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, show; 1 if something is slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--tolerance", type=float, default=0.05)
    options = parser.parse_args(arguments)
    a, b = read(options.a), read(options.b)
    if a["processor"] != b["processor"]:
        print(f"different processors ({a['processor']}, {b['processor']}): factors are those of the ratios to PyTorch")
    print(f"load of the machine: {a['load']} and {b['load']}\n{'workload':24}{'A ms':>10}{'B ms':>10}{'A / B':>8}")
    found = changes(a, b)
    for change in found:
        print(line(change, options.tolerance))
    return int(any(change.factor < 1 - options.tolerance for change in found))


if __name__ == "__main__":
    sys.exit(main())
