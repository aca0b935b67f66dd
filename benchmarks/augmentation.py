# SPDX-License-Identifier: Apache-2.0
"""What augmentation is worth: a small network on CIFAR-10 with and without it, the same seeds in every recipe.

    python -m benchmarks.augmentation FOLDER [--seeds 3] [--epochs 40] [--width 16]

FOLDER holds `cifar10` with `train_first4000.bin` and `test_batch_first1000.bin` (binary records: a label and 32 x 32
pixels in three planes). A seed fixes first weights, order and dropout, so the recipes are compared pair by pair:
`cr.compare` gives the mean difference of the test accuracy with its interval and p-value.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import augment, nn, optim
from chainrule.statistics import Run

MOVED = (augment.Crop(32, padding=4), augment.Flip())
RECIPES: dict[str, Any] = {
    "plain": None,
    "crop and flip": augment.Compose(MOVED),
    "with MixUp": augment.Compose([*MOVED, augment.MixUp(classes=10)]),
    "with CutMix": augment.Compose([*MOVED, augment.CutMix(classes=10, probability=0.5)]),
}


def images(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (N, 32, 32, 3), about mean 0 and spread 1, and labels."""
    records = np.fromfile(folder / "cifar10" / part, np.uint8).reshape(-1, 3073)
    x = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return ((x / np.float32(255) - np.float32(0.47)) / np.float32(0.25)), records[:, 0].astype(np.int64)


def network(width: int) -> nn.Sequential:
    """Three convolutions with batch normalisation and pooling, then the mean over the image."""
    model = nn.Sequential()
    for block in range(3):
        shape = {"input_shape": (32, 32, 3)} if block == 0 else {}
        for layer in (nn.Conv2D(width << block, 3, padding="same", bias=False, **shape), nn.BatchNorm(), nn.ReLU(),
                      nn.MaxPool2D(2)):
            model.add(layer)
    for layer in (nn.Flatten(), nn.Dropout(0.3), nn.Dense(10)):
        model.add(layer)
    return model


def accuracy(recipe: Any, seed: int, train: Any, test: Any, epochs: int, width: int) -> float:
    """Of the test images, after training by a recipe."""
    cr.random.seed(seed)
    steps = epochs * -(-len(train[0]) // 64)
    model = network(width)
    cr.fit(model, train, loss="cross_entropy", optimizer=optim.Adam(optim.schedules.one_cycle(5e-3, steps)),
           epochs=epochs, batch_size=64, seed=seed, augment=recipe, progress=False)
    return cr.evaluate(model, test, loss="cross_entropy", metrics=["accuracy"])["accuracy"].value


def main() -> None:
    """Read the command line, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for option, default in (("seeds", 3), ("epochs", 40), ("width", 16)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    train, test = images(options.folder, "train_first4000.bin"), images(options.folder, "test_batch_first1000.bin")
    found: dict[str, list[float]] = {name: [] for name in RECIPES}
    for seed in range(options.seeds):
        for name, recipe in RECIPES.items():
            began = time.perf_counter()
            found[name].append(accuracy(recipe, seed, train, test, options.epochs, options.width))
            print(f"seed {seed}  {name:14} {found[name][-1]:.3f}  {time.perf_counter() - began:.0f} s", flush=True)
    for name, other in (("plain", "crop and flip"), ("crop and flip", "with MixUp"), ("crop and flip", "with CutMix")):
        print(cr.compare(Run.of_scores(name, found[name]), Run.of_scores(other, found[other])))


if __name__ == "__main__":
    main()
