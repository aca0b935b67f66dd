# SPDX-License-Identifier: Apache-2.0
"""`cr.estimators.Classifier` beside scikit-learn's `MLPClassifier`: the same network, batches, epochs and optimiser.

    python -m benchmarks.estimators [--epochs 50]

Both are fitted in turns on the same rows, in float64 and float32; the figures are medians of whole `fit` calls in a
warm process, which include everything that a call does (checks, tracing, loading machine code), and the accuracy on
held-out rows.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from typing import Any

import numpy as np

ROUNDS = 3


def main() -> None:
    """Print a row for each data set."""
    from sklearn.datasets import load_digits, make_classification
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=50)
    epochs = arguments.parse_args().epochs
    warnings.simplefilter("ignore")
    sets = {"digits": load_digits(return_X_y=True),
            "10000 x 20": make_classification(10_000, 20, n_informative=8, random_state=0),
            "50000 x 20": make_classification(50_000, 20, n_informative=8, random_state=0)}
    print(f"{'data':12} {'dtype':8} {'ours s':>8} {'sklearn s':>10} {'ratio':>6} {'ours':>7} {'sklearn':>8}")
    for name, (x, y) in sets.items():
        for dtype in ("float64", "float32"):
            row(name, x.astype(dtype), y, epochs)


def row(name: str, x: np.ndarray, y: np.ndarray, epochs: int) -> None:
    """Time and accuracy of both."""
    from sklearn.model_selection import train_test_split
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
    parts = train_test_split(x.astype(x.dtype), y, random_state=0, stratify=y)
    seconds: dict[str, list[float]] = {"ours": [], "sklearn": []}
    scores = {}
    for _ in range(ROUNDS):
        for side in seconds:
            seconds[side].append(fit_seconds(model := estimator(side, epochs), parts))
            scores[side] = model.score(parts[1], parts[3])
    ours, theirs = (statistics.median(seconds[side]) for side in ("ours", "sklearn"))
    print(f"{name:12} {x.dtype!s:8} {ours:8.3f} {theirs:10.3f} {theirs / ours:6.2f} {scores['ours']:7.4f} "
          f"{scores['sklearn']:8.4f}", flush=True)


def estimator(side: str, epochs: int) -> Any:
    """Both sides with equal settings; a tolerance that never stops scikit-learn's early."""
    from sklearn.neural_network import MLPClassifier

    import chainrule as cr
    if side == "ours":
        return cr.estimators.Classifier((64, 64), epochs=epochs, batch_size=128, optimizer="adam", learning_rate=1e-3,
                                        weight_decay=0.0, standardize=False, random_state=0)
    return MLPClassifier((64, 64), max_iter=epochs, batch_size=128, learning_rate_init=1e-3, alpha=0.0, tol=0.0,
                         n_iter_no_change=epochs, random_state=0)


def fit_seconds(model: Any, parts: Any) -> float:
    """Of one `fit`."""
    start = time.perf_counter()
    model.fit(parts[0], parts[2])
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
