# SPDX-License-Identifier: Apache-2.0
"""One side of one workload in a process of its own; it reads orders, one JSON object a line, and answers in the same
form.

    {"do": "export", "file": …}                 PyTorch: write weights, loss (or outputs) and gradients
    {"do": "export", "file": …, "exact": true}  the same, computed in float64; answers how far float32 is from it
    {"do": "compare", "file": …}             chainrule: take those weights, answer with the largest relative deviations
    {"do": "time", "seconds": …, "least": …}    answer with the times of single steps, at least so many
    {"do": "memory"}                            answer with the peak resident memory

With --first NUMBER the process runs so many steps, prints when the first one ended, and ends: for starts and memory.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDES = {"chainrule": ".workloads", "pytorch": ".pytorch", "jax": ".in_jax", "keras": ".in_keras"}
THREADS = 2
MOST = 20_000  # steps in one measurement


def load(side: str, name: str, precision: str = "float32") -> Any:
    """The workload of a side; the libraries are imported here."""
    module = importlib.import_module(SIDES[side], __package__)
    if hasattr(module, "set_threads"):
        module.set_threads(THREADS)
    return module.build(name, precision)


def times(step: Any, seconds: float, least: int) -> list[float]:
    """Times of single steps, after one that does not count."""
    step()
    found, end = [], time.perf_counter() + seconds
    while (time.perf_counter() < end or len(found) < least) and len(found) < MOST:
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return found


def peak_memory() -> int:
    """Bytes; where Linux tells it, of this program alone: `ru_maxrss` counts what the process was before it became this
    one."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---- do both compute the same?

Found = tuple[np.ndarray, list[np.ndarray]]


def export(workload: Any, path: str, exact: bool) -> dict[str, float]:
    """What `compare` needs, from PyTorch."""
    weights = workload.weights()
    training = workload.model is not None and workload.shape.training
    found = workload.loss_and_gradients() if training else (workload.value(), [])
    deviations = {"value": 0.0, "gradients": 0.0}
    if exact:
        kept, found = found, workload.exact_loss_and_gradients() if training else (workload.exact_value(), [])
        deviations = deviations_of(kept, found)
    arrays = {f"weight{i}": a for i, a in enumerate(weights)} | {f"gradient{i}": a for i, a in enumerate(found[1])}
    np.savez(path, value=found[0], **arrays)
    return deviations


def compare(workload: Any, path: str) -> dict[str, float]:
    """Relative deviations of the loss (or outputs) and of the gradient that deviates most."""
    with np.load(path) as file:
        theirs = dict(file)
    parameters = workload.parameters()
    for i, parameter in enumerate(parameters):
        parameter.assign(theirs[f"weight{i}"])
    if "gradient0" not in theirs:
        return {"value": deviation(workload.value(), theirs["value"]), "gradients": 0.0}
    return deviations_of(workload.loss_and_gradients(),
                         (theirs["value"], [theirs[f"gradient{i}"] for i in range(len(parameters))]))


def deviations_of(ours: Found, theirs: Found) -> dict[str, float]:
    """Of the loss, and of the gradient that deviates most."""
    if not theirs[1]:
        return {"value": deviation(ours[0], theirs[0]), "gradients": 0.0}
    typical = math.sqrt(sum(float(np.sum(np.square(g, dtype=np.float64))) for g in theirs[1])
                        / sum(g.size for g in theirs[1]))
    worst = max(deviation(a, b, 1e-3 * typical) for a, b in zip(ours[1], theirs[1], strict=True))
    return {"value": deviation(ours[0], theirs[0]), "gradients": worst}


def deviation(ours: np.ndarray, theirs: np.ndarray, floor: float = 0.0) -> float:
    """Length of the difference by the length of what it should be, which counts as `floor` an element at least.

    The floor is for gradients that are zero but for rounding, such as that of the bias of keys in attention.
    """
    ours, theirs = ours.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), floor * math.sqrt(theirs.size), 1e-30))


# ---- the process

def answer(workload: Any, order: dict[str, Any]) -> Any:
    """Carry out one order."""
    if order["do"] == "time":
        return times(workload.step, order["seconds"], order["least"])
    if order["do"] == "memory":
        return peak_memory()
    if order["do"] == "export":
        return export(workload, order["file"], order.get("exact", False))
    return compare(workload, order["file"])


def serve(side: str, name: str, precision: str) -> None:
    """Load, say so, and carry out orders until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        workload = load(side, name, precision)
        reply: dict[str, Any] = {"ready": True}
    except Exception as error:
        workload, reply = None, {"ready": False, "why": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(reply), file=replies, flush=True)
    for line in sys.stdin if workload is not None else ():
        print(json.dumps(answer(workload, json.loads(line))), file=replies, flush=True)


def first(side: str, name: str, steps: int, precision: str) -> None:
    """Print the moment when the first step was done, and the peak memory after all."""
    workload = load(side, name, precision)
    workload.step()
    done = time.time()
    for _ in range(steps - 1):
        workload.step()
    print(json.dumps({"done": done, "memory": peak_memory()}), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("name")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--first", type=int, metavar="STEPS")
    options = parser.parse_args()
    if options.first:
        first(options.side, options.name, options.first, options.precision)
    else:
        serve(options.side, options.name, options.precision)


if __name__ == "__main__":
    main()
