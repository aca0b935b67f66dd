# SPDX-License-Identifier: Apache-2.0
"""`ImageClassifier` on MNIST, Fashion-MNIST, chest X-rays (PneumoniaMNIST) and CIFAR-10's JPEG copies, official test
sets.

    python -m benchmarks.tasks.images [mnist fashion pneumonia cifar10] [--epochs N] [--seeds 1]

A row for each data set and seed: test accuracy with its interval, that of the linear model, log loss, area under the
ROC curve (two classes), seconds of `fit`.
"""

from __future__ import annotations

import argparse
import time

import chainrule as cr

from .folder import data

SOURCES = {"mnist": "mnist", "fashion": "fashion-mnist", "pneumonia": "pneumoniamnist", "cifar10": "cifar10"}


def main() -> None:
    """Print a row for each data set and seed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("names", nargs="*", default=["mnist"])
    arguments.add_argument("--epochs", type=int, default=None)
    arguments.add_argument("--seeds", type=int, default=1)
    options = arguments.parse_args()
    for name in options.names:
        folder = data(SOURCES[name])
        found = cr.data.load(next(iter(folder.glob("*.npz")), folder))
        for seed in range(options.seeds):
            row(name, found, seed, {"epochs": options.epochs})


def row(name: str, found: cr.data.Dataset, seed: int, settings: dict) -> None:
    """Fit, measure, print."""
    started = time.perf_counter()
    task = cr.tasks.ImageClassifier(**settings).fit(found, seed=seed)
    seconds = time.perf_counter() - started
    report = task.evaluate(found)
    more = f"  auc {report['auc']}" if "auc" in report else ""
    print(f"{name:9} seed {seed}  accuracy {report['accuracy']}  linear "
          f"{100 * report.baselines['linear']['accuracy']:.1f} %  "
          f"log loss {report['log_loss']}{more}  {task.epochs} epochs, {seconds:.1f} s", flush=True)
    print(f"          {'; '.join(task.notes)}; temperature {task.state['temperature']:.2f}")


if __name__ == "__main__":
    main()
