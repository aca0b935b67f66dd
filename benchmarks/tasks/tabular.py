# SPDX-License-Identifier: Apache-2.0
"""`TabularClassifier` and `TabularRegressor` on adult (its own test part) and California housing (folds), beside
scikit-learn.

    python -m benchmarks.tasks.tabular [adult|california|small] [--folds 5] [--seeds 1]

A row for each fold: the value with its interval, seconds of `fit`, the same of MLP and HistGradientBoosting of
scikit-learn on the same rows (one-hot categories, standardised numbers), and at the end the paired differences over all
test rows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np

import chainrule as cr

from .folder import data

ADULT = ("age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain "
         "capital-loss hours-per-week "
         "native-country income").split()
SMALL = {"titanic.csv": "survived", "penguins.csv": "species", "sonar.csv": None, "wine.csv": None, "abalone.csv": None}


def main() -> None:
    """Print a row for each fold of each data set."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("which", nargs="*", default=["adult", "california"])
    arguments.add_argument("--folds", type=int, default=1)
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--beside", action=argparse.BooleanOptionalAction, default=True)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    for which in options.which:
        for name, task, parts in {"adult": adult, "california": california, "small": small}[which](options):
            measure(name, task, parts, options.beside)


def adult(options: Any) -> Any:
    """The official split, a seed for each row."""
    train, test = (frame(f"adult-{part}.csv", ADULT) for part in ("train", "test"))
    test["income"] = np.char.rstrip(test["income"].astype(str), ".")
    for seed in range(options.seeds):
        yield f"adult seed {seed}", cr.tasks.TabularClassifier(target="income"), (train, test, seed)


def california(options: Any) -> Any:
    """Folds of five."""
    whole = frame("california_housing.csv", None)
    for i, (kept, held) in enumerate(cr.data.folds(len(whole["MedInc"]), 5)[:options.folds]):
        yield (
            f"california fold {i}",
            cr.tasks.TabularRegressor(target="MedHouseVal"),
            (rows(whole, kept), rows(whole, held), i),
        )


def small(options: Any) -> Any:
    """Folds of five of small tables."""
    for file, target in SMALL.items():
        whole = frame(file, None)
        target = target or list(whole)[-1]
        drop = ("alive",) if file == "titanic.csv" else ()
        numbers = file == "abalone.csv"
        for i, (kept, held) in enumerate(cr.data.folds(len(whole[target]), 5,
                                                       stratify=None if numbers else whole[target])[:options.folds]):
            kind = cr.tasks.TabularRegressor if numbers else cr.tasks.TabularClassifier
            yield f"{file} fold {i}", kind(target=target, drop=drop), (rows(whole, kept), rows(whole, held), i)


def frame(name: str, names: list[str] | None) -> dict[str, np.ndarray]:
    """The columns of a file."""
    table = cr.data.read_table(data("tabular") / name, header=False if names else None)
    found = {}
    for i, column in enumerate(names or table.names):
        cells = table.column(i)
        try:
            found[column] = np.array(cells, np.float64)
        except ValueError:
            found[column] = np.array(cells)
    return found


def rows(table: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Some rows of a table."""
    return {name: column[chosen] for name, column in table.items()}


def measure(name: str, task: Any, parts: Any, beside: bool) -> None:
    """Fit, measure and print, and the same of scikit-learn."""
    train, test, seed = parts
    started = time.perf_counter()
    task.fit(train, seed=seed)
    seconds = time.perf_counter() - started
    report = task.evaluate(test)
    first, value = next(iter(report.items()))
    print(f"{name:18} {first} {value}  {seconds:.1f} s  linear {float(report.baselines['linear'][first]):.4f}  epochs "
          f"{task.epochs}", flush=True)
    for note in task.notes:
        print(f"    {note}")
    if beside:
        for other, (answers, spent) in scikit_learn(task, train, test, seed).items():
            own = task.predict(test)
            ours, theirs = (np.square(x - test[task.target]) if first == "rmse" else np.asarray(x).astype(str)
                            == test[task.target].astype(str) for x in (own, answers))
            value = np.sqrt(theirs.mean()) if first == "rmse" else theirs.mean()
            make = (
                (lambda n, x: cr.statistics.Run.of_losses(n, x))
                if first == "rmse"
                else (lambda n, x: cr.statistics.Run(n, x.astype(float), "item"))
            )
            print(f"    {other:24} {first} {value:.4f}  {spent:.1f} s  "
                  f"{cr.compare(make(other, theirs), make('chainrule', ours))}", flush=True)


def scikit_learn(task: Any, train: Any, test: Any, seed: int) -> dict[str, tuple[Any, float]]:
    """Answers and seconds of two of its estimators."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    x, x_test = matrix(task, train, test)
    classes = hasattr(task, "classes")
    found = {}
    for kind, options in ((MLPClassifier if classes else MLPRegressor,
                           {"hidden_layer_sizes": (128, 128), "early_stopping": True, "max_iter": 60}),
                          (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor, {})):
        started = time.perf_counter()
        model = kind(random_state=seed, **options).fit(x, train[task.target])
        found[kind.__name__] = model.predict(x_test), time.perf_counter() - started
    return found


def matrix(task: Any, train: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    """The columns that the task uses: numbers standardised, categories one-hot."""
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    left, right = [], []
    for name in train:
        if name == task.target or name in task.drop:
            continue
        a, b = train[name][:, None], test[name][:, None]
        scaler = (StandardScaler() if a.dtype.kind == "f"
                  else OneHotEncoder(handle_unknown="ignore", sparse_output=False))
        left.append(scaler.fit_transform(a))
        right.append(scaler.transform(b))
    return np.concatenate(left, axis=1), np.concatenate(right, axis=1)


if __name__ == "__main__":
    main()
