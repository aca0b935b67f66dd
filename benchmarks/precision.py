# SPDX-License-Identifier: Apache-2.0
"""Do networks learn as much with bfloat16 products? The MNIST network and the small GPT, trained in both precisions.

    python -m benchmarks.precision FOLDER [--seeds 3] [--samples 20000] [--epochs 2] [--steps 300]

FOLDER holds `mnist` (four idx files) and `tiny-shakespeare` (input.txt). Every run of a seed has the same first weights
and the same batches in both precisions. What is shown: the mean training loss of the last part of the run, and loss
(and accuracy) on data that was not trained on, measured in float32; then the mean difference beside the spread over the
seeds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import losses, optim
from chainrule.data import idx
from chainrule.ir import Type

from .shapes import SHAPES
from .workloads import NETWORKS

PRECISIONS = ("float32", "bfloat16")
Found = dict[str, float]


# ---- the two runs

def digits(folder: Path, samples: int) -> tuple[np.ndarray, ...]:
    """Images in [0, 1] and labels, to train on and to test on."""
    read = lambda part, kind: idx.read_idx(folder / "mnist" / f"{part}-{kind}.gz")
    image = lambda x: (x[..., None] / 255).astype(np.float32)
    x, y = image(read("train", "images-idx3-ubyte")), read("train", "labels-idx1-ubyte").astype(np.int64)
    return (x[:samples], y[:samples], image(read("t10k", "images-idx3-ubyte")),
            read("t10k", "labels-idx1-ubyte").astype(np.int64))


def train_cnn(data: tuple[np.ndarray, ...], precision: str, seed: int, epochs: int) -> Found:
    """The network of the row mnist-cnn-b64 through `fit`."""
    x, y, test_x, test_y = data
    cr.random.seed(seed)
    model = NETWORKS["cnn"](SHAPES["mnist-cnn-b64"])
    history = cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(1e-3), epochs=epochs, batch_size=64,
                     seed=seed, progress=False, precision=precision)
    measured = cr.evaluate(model, (test_x, test_y), loss="cross_entropy", metrics=["accuracy"])
    return {"training loss": history.rows[-1]["loss"], "test loss": measured["loss"],
            "test accuracy": measured["accuracy"].value}


def text(folder: Path) -> np.ndarray:
    """The characters as numbers."""
    raw = (folder / "tiny-shakespeare" / "input.txt").read_text()
    places = {character: i for i, character in enumerate(sorted(set(raw)))}
    return np.array([places[character] for character in raw], np.int64)


def train_gpt(tokens: np.ndarray, precision: str, seed: int, steps: int) -> Found:
    """The network of the row gpt-d128: the next character, with Adam and a warm-up; the last tenth of the text is kept
    back."""
    shape, generator = SHAPES["gpt-d128-l4-b16-t128"], np.random.default_rng(seed)
    batch, length = shape.input
    cr.random.seed(seed)
    model, optimizer = (NETWORKS["gpt"](shape),
                        optim.Adam(optim.schedules.warmup_cosine(1e-3, max(1, steps // 10), steps)))
    model.trace(Type((batch, length), np.dtype(np.int64)))
    cut = len(tokens) * 9 // 10

    @cr.compile(precision=precision)
    def step(x: Any, y: Any) -> Any:
        loss = losses.cross_entropy(model(x, training=True), y)
        optimizer.update(model, cr.gradients(loss, model))
        return loss

    @cr.compile
    def measure(x: Any, y: Any) -> Any:
        return losses.cross_entropy(model(x), y)

    def windows(part: np.ndarray, source: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        places = source.integers(0, len(part) - length, batch)[:, None] + np.arange(length + 1)
        return part[places[:, :-1]], part[places[:, 1:]]

    found = [step(*windows(tokens[:cut], generator)).item() for _ in range(steps)]
    fixed = np.random.default_rng(0)
    held_out = statistics.fmean(measure(*windows(tokens[cut:], fixed)).item() for _ in range(20))
    return {"training loss": statistics.fmean(found[-max(1, steps // 10):]), "held-out loss": held_out}


# ---- both precisions side by side

def compare(name: str, run: Any, seeds: int) -> dict[str, tuple[float, float, float]]:
    """What each figure comes to: (float32, bfloat16, the spread of float32 over the seeds), means over the seeds."""
    found: dict[str, list[Found]] = {precision: [] for precision in PRECISIONS}
    for seed in range(seeds):
        for precision in PRECISIONS:
            began = time.perf_counter()
            found[precision].append(run(precision, seed))
            figures = "  ".join(f"{key} {value:.4f}" for key, value in found[precision][-1].items())
            print(f"{name:10} seed {seed}  {precision:9} {figures}  {time.perf_counter() - began:.1f} s", flush=True)
    values = lambda precision, key: [row[key] for row in found[precision]]
    return {key: (statistics.fmean(values("float32", key)), statistics.fmean(values("bfloat16", key)),
                  statistics.stdev(values("float32", key)) if seeds > 1 else float("nan"))
            for key in found["float32"][0]}


def main() -> None:
    """Read the command line, train, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for option, default in (("seeds", 3), ("samples", 20_000), ("epochs", 2), ("steps", 300)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    images, tokens = digits(options.folder, options.samples), text(options.folder)
    runs = {"mnist-cnn": lambda precision, seed: train_cnn(images, precision, seed, options.epochs),
            "gpt-d128": lambda precision, seed: train_gpt(tokens, precision, seed, options.steps)}
    for name, run in runs.items():
        for key, (wide, narrow, spread) in compare(name, run, options.seeds).items():
            print(f"{name:10} {key:14} float32 {wide:.4f}  bfloat16 {narrow:.4f}  difference {narrow - wide:+.4f}  "
                  f"spread over seeds {spread:.4f}")


if __name__ == "__main__":
    main()
