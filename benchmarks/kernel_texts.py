# SPDX-License-Identifier: Apache-2.0
"""The generated code of many programs as hashes: what shows that a refactoring changed no kernel.

    python -m benchmarks.kernel_texts                 compare with the hashes that are kept; status 1 where one differs
    python -m benchmarks.kernel_texts --write         keep the present ones
    python -m benchmarks.kernel_texts --text FOLDER   also write each program's LLVM text there, to be compared

Programs: every training step and inference call of the benchmarks, and a hundred random graphs; for processors with
AVX-512, AVX2 and NEON. The text is what the generators wrote, before LLVM sees it, so no processor is needed. It
depends on how llvmlite prints; hashes are kept with its version and compared under the same one only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import llvmlite

from chainrule.compiler.compile import optimise
from chainrule.ir import Graph
from chainrule.native.run.program import Program
from chainrule.native.target import Target
from chainrule.testing.programs import random_graph
from chainrule.trace import capture, read_call

from .shapes import SHAPES
from .workloads import build

FAMILIES = ("avx512", "avx2", "neon")
RANDOM = 100
THREADS = 2
KEPT = Path(__file__).with_name("kernel_hashes.json")


def programs(names: tuple[str, ...] = ()) -> Iterator[tuple[str, Callable[[], Graph]]]:
    """(name, function that gives the optimised graph) of every program, or of those named."""
    every = {
        **{f"random-{seed}": lambda seed=seed: optimise(random_graph(seed)[0]) for seed in range(RANDOM)},
        **{name: lambda name=name: _benchmark(name) for name, shape in SHAPES.items() if shape.kind != "lbfgs"},
        "gpt-d128-l4-b16-t128, bfloat16": lambda: _benchmark("gpt-d128-l4-b16-t128", "bfloat16"),
    }
    return ((name, every[name]) for name in names or every)


def _benchmark(name: str, precision: str = "float32") -> Graph:
    workload = build(name, precision)
    captured = capture(workload.compiled.function, read_call(workload.arguments, {}))
    return optimise(captured.graph, precision)


def text_of(graph: Graph, family: str) -> str:
    """What the generators write for a graph on a family of processors."""
    target = Target.named(family)
    with mock.patch.object(Target, "host", lambda: target), mock.patch.object(Program, "_compile", lambda _: None), \
         mock.patch.object(Program, "_prepare", lambda _: None):
        program = Program(graph, THREADS)
    module = target.module("program")
    program.write(module, program._segments())
    return str(module)


def hashes(names: tuple[str, ...] = (), folder: Path | None = None) -> dict[str, dict[str, str]]:
    """Program → family → the first 16 digits of the SHA-256 of its text."""
    result: dict[str, dict[str, str]] = {}
    for name, make in programs(names):
        graph = make()
        for family in FAMILIES:
            text = text_of(graph, family)
            result.setdefault(name, {})[family] = hashlib.sha256(text.encode()).hexdigest()[:16]
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{name.replace(', ', '-')}.{family}.ll").write_text(text)
    return result


def kept() -> dict[str, dict[str, str]] | None:
    """The hashes in the repository; None if they are those of another version of llvmlite."""
    content = json.loads(KEPT.read_text())
    return content["programs"] if content["llvmlite"] == llvmlite.__version__ else None


def differences(found: dict[str, dict[str, str]], expected: dict[str, dict[str, str]]) -> list[str]:
    """`program family` of each text that is not the one that is kept."""
    return [f"{name} {family}" for name, texts in found.items() for family, value in texts.items()
            if expected.get(name, {}).get(family) != value]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel_texts", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="programs (default: all)")
    parser.add_argument("--write", action="store_true", help="keep the present hashes")
    parser.add_argument("--text", type=Path, metavar="FOLDER", help="write the texts there")
    options = parser.parse_args()
    found = hashes(tuple(options.names), options.text)
    if options.write:
        before = json.loads(KEPT.read_text())["programs"] if options.names else {}
        KEPT.write_text(json.dumps({"llvmlite": llvmlite.__version__, "programs": before | found}, indent=1) + "\n")
        return 0
    expected = kept()
    if expected is None:
        print("the hashes that are kept were made with another version of llvmlite")
        return 2
    changed = differences(found, expected)
    print(f"{sum(map(len, found.values()))} texts, {len(changed)} changed", *changed, sep="\n  ")
    return bool(changed)


if __name__ == "__main__":
    sys.exit(main())
