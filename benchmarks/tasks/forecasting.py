# SPDX-License-Identifier: Apache-2.0
"""`Forecaster` on ETTh1 (horizon 96, 12/4/4 months, all windows of the test part), airline passengers and sunspots.

    python -m benchmarks.tasks.forecasting [etth1|airline|sunspots] [--models nlinear,dlinear,tide,patchtst,lstm,tcn]

A row for each model: mean squared error in units of the training's deviation, with an interval that allows for
overlapping windows, coverage of the 90 % intervals, MASE, seconds of `fit` (and of the processor), and the test against
seasonal-naive.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import chainrule as cr

from .folder import data

MONTH = 30 * 24


def main() -> None:
    """Print a row for each model on each data set."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("which", nargs="*", default=["etth1", "airline", "sunspots"])
    arguments.add_argument("--models", default="nlinear,dlinear,tide,patchtst,lstm,tcn")
    options = arguments.parse_args()
    for which in options.which:
        for model in options.models.split(","):
            row(which, model, *{"etth1": etth1, "airline": airline, "sunspots": sunspots}[which]())


def row(name: str, model: str, values: np.ndarray, cuts: tuple[int, int], settings: dict[str, Any]) -> None:
    """Fit on what comes before the first cut, choose by what comes before the second, measure on the rest."""
    task = cr.tasks.Forecaster(model=model, **settings)
    started, processor = time.perf_counter(), time.process_time()
    task.fit(values[:cuts[0]], validation=values[cuts[0]:cuts[1]])
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    report = task.evaluate(values[cuts[1] - (task.lookback or 0):])
    mase = f"  MASE {float(report['mase']):.3f}" if "mase" in report else ""
    print(f"{name:9} {model:9} mse {report['mse']}  coverage {100 * report['coverage']:.1f} %{mase}  {seconds:.1f} s "
          f"({processor:.1f} s of the processor)", flush=True)
    print(f"          seasonal-naive {float(report.baselines['seasonal-naive']['mse']):.4f}: "
          f"{report.verdicts['seasonal-naive']}", flush=True)


def etth1() -> Any:
    """Seven series by the hour."""
    values = cr.data.read_series(data("ett-small") / "ETTh1.csv").values[:20 * MONTH]
    return values, (12 * MONTH, 16 * MONTH), {"horizon": 96, "lookback": 336}


def airline() -> Any:
    """Passengers by the month; the last three years are the test."""
    values = cr.data.read_series(data("time-series") / "airline-passengers.csv").values[:, -1]
    return np.log(values), (84, 108), {"horizon": 12, "lookback": 24}


def sunspots() -> Any:
    """Numbers by the month, two years ahead."""
    values = cr.data.read_series(data("time-series") / "monthly-sunspots.csv").values[:, -1]
    n = len(values)
    return values, (int(0.6 * n), int(0.8 * n)), {"horizon": 24, "lookback": 264}


if __name__ == "__main__":
    main()
