# SPDX-License-Identifier: Apache-2.0
"""`TextClassifier` on the Stanford sentences (two classes) and TREC's questions (six), official test sets, beside naive
Bayes.

    python -m benchmarks.tasks.text [--model ngrams|cnn|both] [--seeds 3]

A row for each seed: test accuracy with its interval, that of naive Bayes, seconds of `fit`, and words read per second
in it.
"""

from __future__ import annotations

import argparse
import time

import chainrule as cr

from .folder import data

Texts = tuple[list[str], list[str]]


def main() -> None:
    """Print a row for each data set and seed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--model", default=None)
    arguments.add_argument("--seeds", type=int, default=3)
    options = arguments.parse_args()
    settings = {} if options.model is None else {"model": options.model}
    for name, read in (("sst", sst), ("trec", trec)):
        for seed in range(options.seeds):
            row(name, read("train"), read("test"), seed, settings)


def row(name: str, train: Texts, test: Texts, seed: int, settings: dict) -> None:
    """Fit, measure, print."""
    started = time.perf_counter()
    task = cr.tasks.TextClassifier(**settings).fit(train, seed=seed)
    seconds = time.perf_counter() - started
    report = task.evaluate(test)
    words = sum(len(text.split()) for text in train[0]) * (task.epochs or 1)
    print(f"{name:5} seed {seed}  accuracy {report['accuracy']}  naive Bayes "
          f"{100 * report.baselines['naive Bayes']['accuracy']:.1f} %  "
          f"{seconds:.1f} s  {words / seconds:,.0f} words/s", flush=True)
    print(f"      beside naive Bayes: {report.verdicts['naive Bayes']}")


def sst(part: str) -> Texts:
    """Sentences and "0" or "1"."""
    rows = (data("sst-sentences") / f"stsa.binary.{part}").read_text(encoding="utf-8").splitlines()
    return [row[2:] for row in rows], [row[0] for row in rows]


def trec(part: str) -> Texts:
    """Questions and their coarse classes."""
    rows = [row.split(" ", 1)
            for row in (data("trec-questions") / f"TREC.{part}").read_text(encoding="latin-1").splitlines()]
    return [row[1] for row in rows], [row[0].split(":")[0] for row in rows]


if __name__ == "__main__":
    main()
