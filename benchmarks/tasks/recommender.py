# SPDX-License-Identifier: Apache-2.0
"""`Recommender` on MovieLens (latest, small): ratings in folds of five, and top ten with all films ranked.

    python -m benchmarks.tasks.recommender

Ratings: root mean squared error over all folds, those of the biases and the mean, seconds of `fit` and `predict` in all
five. Ranking: the films that each user rated 4 or more, a fifth of them held out, beside popularity.
"""

from __future__ import annotations

import time

import numpy as np

import chainrule as cr

from .folder import data


def main() -> None:
    """Print both rows."""
    users, items, ratings = np.loadtxt(data("movielens-latest-small") / "ratings.csv", delimiter=",", skiprows=1,
                                       usecols=(0, 1, 2)).T
    rate(users, items, ratings)
    rank(users[ratings >= 4], items[ratings >= 4])


def rate(users: np.ndarray, items: np.ndarray, ratings: np.ndarray) -> None:
    """Five folds."""
    errors: dict[str, list[np.ndarray]] = {}
    seconds = processor = 0.0
    for fold, (kept, held) in enumerate(cr.data.folds(len(ratings), 5)):
        started, before = time.perf_counter(), time.process_time()
        task = cr.tasks.Recommender().fit((users[kept], items[kept], ratings[kept]), seed=fold)
        task.predict((users[held], items[held]))
        seconds, processor = seconds + time.perf_counter() - started, processor + time.process_time() - before
        report = task.evaluate((users[held], items[held], ratings[held]))
        for name, value in [("network", report["rmse"]),
                            *((name, found["rmse"]) for name, found in report.baselines.items())]:
            errors.setdefault(name, []).append(np.float64(value))
    low, high = cr.statistics.t_interval(np.array(errors["network"]))
    text = "  ".join(f"{name} {np.sqrt(np.mean(np.square(found))):.4f}" for name, found in errors.items())
    print(f"ratings   rmse {text}  (95 % interval over folds {low:.4f} to {high:.4f})  {seconds:.1f} s "
          f"({processor:.1f} s of the processor)", flush=True)


def rank(users: np.ndarray, items: np.ndarray) -> None:
    """One split by time-free chance."""
    kept, held = cr.data.split(len(users), 0.8, seed=0)
    started = time.perf_counter()
    task = cr.tasks.Recommender(goal="ranking", factors=32).fit((users[kept], items[kept]))
    report = task.evaluate((users[held], items[held]))
    print(f"ranking   {time.perf_counter() - started:.1f} s\n{report}", flush=True)


if __name__ == "__main__":
    main()
