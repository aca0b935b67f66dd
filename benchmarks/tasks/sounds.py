# SPDX-License-Identifier: Apache-2.0
"""`SoundClassifier` on the Free Spoken Digit Dataset: the official split, and one speaker left out at a time.

    python -m benchmarks.tasks.sounds [--speakers] [--seeds 3]

A row for each seed (and speaker): test accuracy with its interval, that of the linear model, seconds of `fit`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import chainrule as cr

from .folder import data

RATE = 8000
TEST = 5  # recordings of each digit and speaker that are for testing: the first ones


def main() -> None:
    """Print the rows."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--speakers", action="store_true")
    arguments.add_argument("--seeds", type=int, default=1)
    options = arguments.parse_args()
    paths = sorted((data("free-spoken-digits") / "recordings").glob("*.wav"))
    digit, speaker, index = np.array([path.stem.split("_") for path in paths]).T
    sounds = [cr.data.read_sound(path)[0][:, 0] for path in paths]
    held = {"official": index.astype(int) < TEST} | ({name: speaker == name for name in np.unique(speaker)}
                                                     if options.speakers else {})
    for name, test in held.items():
        for seed in range(options.seeds):
            row(name, [([x for x, t in zip(sounds, test, strict=True) if t == part], digit[test == part])
                       for part in (False, True)], seed)


def row(name: str, parts: list, seed: int) -> None:
    """Fit, measure, print."""
    started = time.perf_counter()
    task = cr.tasks.SoundClassifier(rate=RATE).fit(parts[0], seed=seed)
    seconds = time.perf_counter() - started
    report = task.evaluate(parts[1])
    print(f"{name:9} seed {seed}  accuracy {report['accuracy']}  linear "
          f"{100 * report.baselines['linear']['accuracy']:.1f} %  "
          f"{task.epochs} epochs, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
