# SPDX-License-Identifier: Apache-2.0
"""How long until a network is good? MNIST's 10,000 test images to 99 %, from the start of a new process.

    python -m benchmarks.to_accuracy FOLDER [--target 0.99] [--seeds 3] [--json FILE]

FOLDER holds the four idx files of MNIST. Both sides train the network of the row mnist-cnn-b64 with Adam and batches of
64, shuffled, two threads, and measure the test images twice an epoch; the clock starts before the process and stops
when the target is reached, so imports, compilation (empty cache), reading and measuring count. Both start from their
own usual weights: with how many epochs a side gets there is luck, so steps are shown too, and the time for each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from .processes import ENVIRONMENT, ROOT

BATCH, MOST_EPOCHS, TWICE = 64, 20, 469  # steps of half an epoch
SIDES = ("chainrule", "pytorch")


def digits(folder: Path) -> tuple[np.ndarray, ...]:
    """Images in [0, 1] and labels, to train on and to test on."""
    from chainrule.data import idx

    read = lambda part, kind: idx.read_idx(folder / f"{part}-{kind}.gz")
    image = lambda x: (x[..., None] / np.float32(255)).astype(np.float32)
    return (image(read("train", "images-idx3-ubyte")), read("train", "labels-idx1-ubyte").astype(np.int64),
            image(read("t10k", "images-idx3-ubyte")), read("t10k", "labels-idx1-ubyte").astype(np.int64))


# ---- the two sides

def chainrule(folder: Path, target: float, seed: int) -> tuple[int, float]:
    """(steps, accuracy) when the target was reached, through `cr.fit`."""
    import chainrule as cr
    from chainrule import optim, train

    from .shapes import SHAPES
    from .workloads import NETWORKS

    class Reached(train.Validation):
        def after_step(self, run: Any) -> None:
            super().after_step(run)
            run.stop = run.stop or (bool(self.history.rows) and self.history["validation_accuracy"][-1] >= target)

    x, y, test_x, test_y = digits(folder)
    watch = Reached(TWICE)
    cr.fit(NETWORKS["cnn"](SHAPES["mnist-cnn-b64"]), (x, y), loss="cross_entropy", optimizer=optim.Adam(1e-3),
           epochs=MOST_EPOCHS, batch_size=BATCH, validation=(test_x, test_y), metrics=["accuracy"], seed=seed,
           callbacks=[watch], progress="lines")
    return int(watch.history["step"][-1]), float(watch.history["validation_accuracy"][-1])


def pytorch(folder: Path, target: float, seed: int) -> tuple[int, float]:
    """The same as PyTorch's users write it at its best on a CPU."""
    import torch
    from torch.nn import functional

    from .pytorch import NETWORKS, set_threads
    from .shapes import SHAPES

    set_threads(2)
    torch.manual_seed(seed)
    x, y, test_x, test_y = (torch.from_numpy(a) for a in digits(folder))
    x, test_x = (a.permute(0, 3, 1, 2).contiguous() for a in (x, test_x))
    model = NETWORKS["cnn"](SHAPES["mnist-cnn-b64"])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, foreach=True)
    steps, accuracy = 0, 0.0
    while steps < MOST_EPOCHS * 2 * TWICE:
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            steps += 1
            if steps % TWICE == 0:
                with torch.inference_mode():
                    right = sum(int((model(a).argmax(1) == b).sum())
                                for a, b in zip(test_x.split(256), test_y.split(256), strict=True))
                accuracy = right / len(test_y)
                if accuracy >= target:
                    return steps, accuracy
    return steps, accuracy


# ---- measuring

def run(side: str, folder: Path, target: float, seed: int) -> dict[str, float]:
    """Seconds, steps and accuracy of one new process with an empty cache of compiled code."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "benchmarks.to_accuracy", str(folder), "--side", side, "--target", str(target),
                   "--seed", str(seed)]
        began = time.perf_counter()
        done = subprocess.run(command, env=os.environ | ENVIRONMENT | {"CHAINRULE_CACHE": cache}, capture_output=True,
                              text=True, cwd=ROOT, check=True)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Measure and show, or be one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", type=float, default=0.99)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.side:
        steps, accuracy = globals()[options.side](folder, options.target, options.seed)
        print(json.dumps({"steps": steps, "accuracy": accuracy}))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for seed in range(options.seed, options.seed + options.seeds):
        for side in SIDES:
            found[side].append(run(side, folder, options.target, seed))
            print(f"seed {seed}  {side:10}",
                  "  ".join(f"{name} {value:,.4g}" for name, value in found[side][-1].items()), flush=True)
    middle = {side: statistics.median(row["seconds"] for row in rows) for side, rows in found.items()}
    a_step = {side: sum(row["seconds"] for row in rows) / sum(row["steps"] for row in rows)
              for side, rows in found.items()}
    print(f"PyTorch / ours: {middle['pytorch'] / middle['chainrule']:.2f} of the medians, "
          f"{a_step['pytorch'] / a_step['chainrule']:.2f} for each step")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
