# SPDX-License-Identifier: Apache-2.0
"""`Forecaster`: the next steps of one or several series, with intervals that are calibrated on what came just before.

All that is learnt (scale, season, weights, widths) comes from the training part; a forecast sees the steps before it,
and its interval the errors of forecasts whose time had come by then (split conformal, in blocks that move with time;
Vovk et al., 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import optim
from ..data.folds import time_folds
from ..data.series import Series, windows
from ..errors import ArgumentError, DataError, explain, shown
from ..metrics.intervals import Estimate, wilson
from ..models.forecasts import KINDS, ForecastNetwork
from ..statistics.forecasts import diebold_mariano, mean_over_time
from ..statistics.paired import adjust
from ..train.evaluate import predict
from ..train.fit import fit
from ..typing import TableLike
from .base import NETWORK, Task
from .columns import as_days
from .forms import table
from .report import Report

STEPS = 1200          # of a training, about
# that are learnt from, at most: of more, every second … is taken
WINDOWS = {"nlinear": 60_000, "dlinear": 60_000, "tide": 30_000, "patchtst": 15_000, "lstm": 15_000, "tcn": 15_000}
CALIBRATION = 500     # latest forecasts that an interval goes by
FEW = 30              # of these, below which the widths of the training are taken
LEAST_SEASON = 0.3    # autocorrelation of changes at a season
LONGEST_SEASON = 400


@dataclass(frozen=True, eq=False)
class Forecast:
    """The next steps, each array (horizon,) for one series, (horizon, series) for several, in the series' own units.

    Attributes:
        mean: the forecast.
        low, high: the ends of the interval, each step by itself holding the value with probability `level`.

    >>> forecast = cr.tasks.Forecast(np.zeros(3), np.zeros(3) - 1, np.zeros(3) + 1)
    >>> forecast.high
    array([1., 1., 1.])
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float = 0.9

    def __repr__(self) -> str:
        return (f"Forecast({'x'.join(map(str, self.mean.shape))}, first "
                f"{shown(self.mean.reshape(-1)[:3].round(4).tolist())}, {100 * self.level:g} % intervals)")


class Forecaster(Task):
    """The next steps of one or several series.

    Args:
        horizon: steps ahead.
        lookback: steps that are seen; None: 3.5 horizons or two seasons, whichever is more, as far as the data allow.
        model: "nlinear", "dlinear", "tide", "patchtst", "lstm" or "tcn" (`cr.models.ForecastNetwork`).
        season: steps of a season, for the baseline; None: found by the autocorrelation of the changes.
        level: of the intervals.
        columns: names of the series in a table; (): all columns of numbers.
        time: name of the column of dates in a table, by which rows are put in order; None: rows are in order.
        epochs, batch_size, learning_rate: of Adam, with a rate that falls to 0 by a half cosine; None: by the number of
            windows and the model.
        held_out: share of the steps, the latest, that chooses the best epoch and calibrates the intervals.
        progress, backend: as in `cr.fit`.

    Data are an array (steps,) or (steps, series), a `data.Series`, or a table (file, DataFrame, dict of columns).
    Baselines: the value one season before (seasonal-naive), and the last value.

    >>> t = np.arange(400)
    >>> series = np.sin(2 * np.pi * t / 12) + 0.1 * np.random.default_rng(0).normal(size=400)
    >>> task = cr.tasks.Forecaster(horizon=6, lookback=24, epochs=20).fit(series)
    >>> forecast = task.predict(series)
    >>> forecast.mean.shape, bool((forecast.low < forecast.high).all()), task.season
    ((6,), True, 12)
    """

    horizon: int = 24
    lookback: int | None = None
    model: str = "nlinear"
    season: int | None = None
    level: float = 0.9
    columns: tuple[str, ...] = ()
    time: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    held_out: float = 0.2
    progress: bool = False
    backend: str | None = None

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense."""
        super().check()
        if self.model not in KINDS:
            raise ArgumentError(explain("there is no such forecaster", got=f"model={shown(self.model)}",
                                        expected=" | ".join(KINDS)))
        if not 0 < self.level < 1 or self.held_out <= 0:
            raise ArgumentError(explain("an interval needs a level and steps to calibrate on",
                                        got=f"level={self.level}, held_out={self.held_out}",
                                        expected="0 < level < 1, 0 < held_out < 1"))

    # ---- series

    def _series(self, data: Any) -> np.ndarray:
        """(steps, series) float64 in order of time; DataError for gaps and for what is no series."""
        if isinstance(data, Series):
            values = data.values
        elif (columns := table(data)) is not None:
            values = self._of_table(columns)
        else:
            values = np.asarray(data)
        if values.dtype.kind not in "uif" or values.ndim not in (1, 2):
            raise DataError(explain("a series is numbers in order of time", got=shown(data),
                                    expected="(steps,) or (steps, series)",
                                    fix="for rows without order: cr.tasks.TabularRegressor; for texts: "
                                        "cr.tasks.TextClassifier"))
        values = values.astype(np.float64).reshape(len(values), -1)
        if (bad := np.flatnonzero(~np.isfinite(values).all(axis=1))).size:
            raise DataError(explain("a value of the series is missing",
                                    got=f"step {bad[0]:,}, and {len(bad) - 1:,} more",
                                    fix="fill gaps first, with what was known then"))
        if self.state.get("scale") and values.shape[1] != len(self.state["scale"]):
            raise DataError(explain("these are not the series that were learnt", got=f"{values.shape[1]} series",
                                    expected=str(len(self.state["scale"]))))
        return values

    def _of_table(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        if self.time is not None:
            if self.time not in columns:
                raise DataError(explain(f"there is no column {self.time!r}", got=", ".join(columns)))
            order = np.argsort(as_days(columns[self.time]), kind="stable")
            columns = {name: values[order] for name, values in columns.items() if name != self.time}
        chosen = self.columns or tuple(name for name, values in columns.items() if values.dtype.kind in "uif")
        if missing := [name for name in chosen if name not in columns or columns[name].dtype.kind not in "uif"]:
            raise DataError(explain("the table has no such column of numbers", got=", ".join(missing),
                                    expected=", ".join(columns)))
        if not chosen:
            raise DataError(explain("the table has no column of numbers", got=", ".join(columns)))
        return np.stack([columns[name] for name in chosen], axis=1)

    # ---- learning

    def _learn(self, data: Any, validation: Any, seed: int) -> None:
        values = self._series(data)
        held = None if validation is None else self._series(validation)
        cut = len(values) if held is not None else round(len(values) * (1 - self.held_out))
        whole = values if held is None else np.concatenate([values, held])
        past = whole[:cut]
        self.season = self.season or find_season(past[:, 0])
        self._choose_lookback(cut, len(whole) - cut)
        spread = past.std(axis=0)
        self.state["centre"], self.state["scale"] = (past.mean(axis=0).tolist(),
                                                     np.where(spread > 0, spread, 1.0).tolist())
        self.state["naive"] = np.abs(past[self.season:] - past[:-self.season]).mean(axis=0).tolist()
        self.notes.append(f"{cut:,} steps to learn from, the {len(whole) - cut:,} after them choose the epoch; season "
                          f"of {self.season} steps")
        scaled = self._scaled(whole)
        x, y = self._windows(scaled[:cut])
        later = self._windows(scaled[cut - (self.lookback or 0):])
        network = ForecastNetwork(self.model, self.horizon)
        step = max(1, -(-len(x) // WINDOWS[self.model]))
        training = (x[::step], y[::step])
        fit(network, training, loss="mean_squared_error", optimizer=self._optimizer(len(training[0])),
            epochs=self.epochs or 1, batch_size=self.batch_size or 1, validation=later, seed=seed,
            progress=self.progress, backend=self.backend)
        self.parts = {NETWORK: network}
        errors = np.abs(self._outlook(scaled[cut - (self.lookback or 0):])[0] - _targets(scaled[cut:], self.horizon))
        self.state["widths"] = _width(errors[-CALIBRATION:], self.level).tolist()

    def _optimizer(self, count: int) -> Any:
        """Batches, epochs and rate, chosen where they were not given, and the optimiser."""
        linear = self.model in ("nlinear", "dlinear")
        self.batch_size = min(count, self.batch_size or (256 if count >= 4096 else 32))
        each = -(-count // self.batch_size)
        self.epochs = self.epochs or int(np.clip(round(STEPS / each), 5, 200))
        self.learning_rate = self.learning_rate or (5e-3 if linear and count < 4096 else 1e-3)
        return optim.Adam(optim.schedules.cosine(self.learning_rate, self.epochs * each), clip_norm=1.0)

    def _choose_lookback(self, learnt: int, held: int) -> None:
        wanted = self.lookback or max(math.ceil(3.5 * self.horizon), 2 * (self.season or 1), 8)
        most = (learnt - self.horizon) // 2
        if held < self.horizon + 1 or most < 4 or (self.lookback is not None and self.lookback > learnt - self.horizon):
            raise DataError(explain("the series is too short for this forecast",
                                    got=f"{learnt:,} steps to learn from and {held:,} to check, lookback {wanted}, "
                                        f"horizon {self.horizon}",
                                    fix="a shorter horizon or lookback"))
        self.lookback = self.lookback or min(wanted, most)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        return (values - self.state["centre"]) / self.state["scale"]

    def _windows(self, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All windows of all series, as float32: (n, lookback) and (n, horizon)."""
        x, y = windows(scaled, self.lookback or 1, self.horizon)
        return tuple(np.ascontiguousarray(part.transpose(0, 2, 1).reshape(-1, part.shape[1]), np.float32)
                     for part in (x, y))  # type: ignore[return-value]

    def _outlook(self, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Forecasts (origins, horizon, series) of the network from each origin whose lookback is there and whose
        targets are, and the last value there."""
        series, origins = scaled.shape[1], len(scaled) - (self.lookback or 0) - self.horizon + 1
        x, _ = self._windows(scaled)
        found = predict(self.parts[NETWORK], x, backend=self.backend, batch_size=1024).numpy().astype(np.float64)
        last = x[:, -1].astype(np.float64).reshape(origins, 1, series)
        return (found.reshape(origins, series, self.horizon).transpose(0, 2, 1),
                np.broadcast_to(last, (origins, self.horizon, series)))

    # ---- use

    def predict(self, data: TableLike) -> Forecast:
        """The steps that follow `data`, of which there must be `lookback` at least; more of them calibrate the
        interval."""
        self._need_fit()
        values = self._series(data)
        if len(values) < (self.lookback or 0):
            raise DataError(explain("a forecast sees what came before", got=f"{len(values):,} steps",
                                    expected=f"at least {self.lookback}"))
        scaled = self._scaled(values)
        x = np.ascontiguousarray(scaled[-(self.lookback or 1):].T, np.float32)
        mean = predict(self.parts[NETWORK], x, backend=self.backend).numpy().astype(np.float64).T
        width = np.array(self.state["widths"])
        recent = scaled[-((self.lookback or 0) + self.horizon + CALIBRATION - 1):]
        if len(recent) >= (self.lookback or 0) + self.horizon + FEW - 1:
            width = _width(np.abs(self._outlook(recent)[0] - _targets(recent[(self.lookback or 0):], self.horizon)),
                           self.level)
        return self._told(mean, width)

    def _told(self, mean: np.ndarray, width: np.ndarray) -> Forecast:
        parts = [part * self.state["scale"] + self.state["centre"] for part in (mean, mean - width, mean + width)]
        if len(self.state["scale"]) == 1:
            parts = [part[..., 0] for part in parts]
        return Forecast(*parts, level=self.level)

    def forecasts(self, data: TableLike) -> Forecast:
        """The forecast from every origin in `data`: arrays (origins, horizon) or (origins, horizon, series); the first
        origin comes after `lookback`
        steps. Each sees what came before it, intervals too."""
        self._need_fit()
        scaled = self._scaled(self._series(data))
        mean, _ = self._outlook(scaled)
        return self._told(mean, self._widths(np.abs(mean - _targets(scaled[(self.lookback or 0):], self.horizon))))

    def _widths(self, errors: np.ndarray) -> np.ndarray:
        """For each origin, widths (horizon, series) from the errors that were known then, renewed every `horizon`
        origins."""
        out = np.empty_like(errors)
        for start in range(0, len(errors), self.horizon):
            known = errors[max(0, start - self.horizon + 1 - CALIBRATION):max(0, start - self.horizon + 1)]
            width = _width(known, self.level) if len(known) >= FEW else np.array(self.state["widths"])
            out[start:start + self.horizon] = width
        return out

    def evaluate(self, data: TableLike) -> Report:
        """Measured from every origin in `data`, whose first `lookback` steps are only seen.

        Values: "mse" and "mae" in units of the training's standard deviation; "rmse" in the series' own unit (one
        series); "mase", the absolute error beside that of the seasonal-naive forecast in training; "coverage" of the
        intervals; "direction", how often the first step goes where it was said to. Intervals and tests against the
        baselines (Diebold and Mariano, on squared errors) allow for forecasts that overlap.
        """
        self._need_fit()
        scaled = self._scaled(self._series(data))
        if len(scaled) < (self.lookback or 0) + self.horizon:
            raise DataError(explain("no forecast can be checked on so few steps", got=f"{len(scaled):,} steps",
                                    expected=f"at least {(self.lookback or 0) + self.horizon}"))
        targets = _targets(scaled[(self.lookback or 0):], self.horizon)
        mean, last = self._outlook(scaled)
        answers = {NETWORK: mean, "seasonal-naive": self._season_before(scaled, len(mean)), "last value": last}
        squared = {name: np.square(found - targets).mean(axis=(1, 2)) for name, found in answers.items()}
        values = {name: self._values(found, targets, squared[name]) for name, found in answers.items()}
        within = np.abs(mean - targets) <= self._widths(np.abs(mean - targets))
        network = values.pop(NETWORK) | {"coverage": _percent(mean_over_time(within.mean(axis=(1, 2)), self.horizon))}
        direction, note = self._direction(mean, targets, last)
        found = {}
        if len(targets) >= 8:
            compared = {name: diebold_mariano(squared[name], squared[NETWORK], self.horizon, names=(name, NETWORK))
                        for name in values}
            p = adjust([one.p for one in compared.values()])
            found = {name: replace(one, p=float(value), corrected_for=len(p))
                     for (name, one), value in zip(compared.items(), p, strict=True)}
        report = Report(network | {"direction": direction}, len(targets), values, found, note)
        report.each, report.each_is_right = np.sqrt(squared[NETWORK]), False
        return report

    def _season_before(self, scaled: np.ndarray, origins: int) -> np.ndarray:
        """The value one season (or as many as are needed) before each target; the last season where there is less than
        one."""
        season, lookback = min(self.season or 1, self.lookback or 1), self.lookback or 0
        back = season * (np.arange(self.horizon) // season + 1)
        return scaled[lookback + np.arange(origins)[:, None] + np.arange(self.horizon) - back]

    def _values(self, found: np.ndarray, targets: np.ndarray, squared: np.ndarray) -> dict[str, Estimate]:
        absolute = np.abs(found - targets)
        scale, naive = np.array(self.state["scale"]), np.array(self.state["naive"])
        values = {"mse": mean_over_time(squared, self.horizon),
                  "mae": mean_over_time(absolute.mean(axis=(1, 2)), self.horizon)}
        if len(scale) == 1:
            values["rmse"] = Estimate(float(scale[0] * math.sqrt(values["mse"])))
        if (naive > 0).all():
            values["mase"] = mean_over_time((absolute * scale / naive).mean(axis=(1, 2)), self.horizon)
        return values

    def _direction(self, mean: np.ndarray, targets: np.ndarray, last: np.ndarray) -> tuple[Estimate, list[str]]:
        """How often the first step goes up or down as it was said, and a line where that is no better than a coin."""
        moved = targets[:, 0] != last[:, 0]
        right = int(((mean[:, 0] > last[:, 0]) == (targets[:, 0] > last[:, 0]))[moved].sum())
        low, high = wilson(right, int(moved.sum())) or (0.0, 1.0)
        share = Estimate(right / max(1, int(moved.sum())), low, high, percent=True)
        return share, ["the direction of the next step is told no better than by a coin"] if low <= 0.5 else []

    def backtest(self, data: TableLike, folds: int = 3, seed: int = 0) -> list[Report]:
        """Learn anew from each of `folds` growing pasts, and measure on the stretch that follows it; the task itself
        stays as it is."""
        values = self._series(data)
        reports = []
        for past, following in time_folds(len(values), folds):
            fresh = type(self)(**self.settings).fit(values[past], seed=seed)
            reports.append(fresh.evaluate(values[following[0] - (fresh.lookback or 0):following[-1] + 1]))
        return reports


def _percent(estimate: Estimate) -> Estimate:
    ends = [None if end is None else float(np.clip(end, 0, 1)) for end in (estimate.low, estimate.high)]
    return Estimate(float(estimate), *ends, percent=True)


def _targets(values: np.ndarray, horizon: int) -> np.ndarray:
    """(origins, horizon, series): the steps from each origin on, the first being the first of `values`."""
    return np.lib.stride_tricks.sliding_window_view(values, horizon, axis=0).transpose(0, 2, 1)


def _width(errors: np.ndarray, level: float) -> np.ndarray:
    """The ceil((n + 1) level)-th smallest of n absolute errors (n, horizon, series), for each step and series."""
    n = len(errors)
    place = min(n, math.ceil((n + 1) * level)) - 1
    return np.sort(errors, axis=0)[place]


def find_season(values: np.ndarray) -> int:
    """The lag, from 2, at which the changes of a series (steps,) agree most with themselves; 1 if none agrees by 0.3.

    >>> from chainrule.tasks.forecast import find_season
    >>> find_season(np.sin(2 * np.pi * np.arange(120) / 12))
    12
    """
    changes = np.diff(values)
    changes = changes - changes.mean()
    most = min(len(changes) // 3, LONGEST_SEASON)
    if most < 3 or not changes.any():
        return 1
    size = 1 << (2 * len(changes) - 1).bit_length()
    power = np.abs(np.fft.rfft(changes, size)) ** 2
    agreement = np.fft.irfft(power, size)[:most + 1]
    agreement = agreement / agreement[0] * len(changes) / (len(changes) - np.arange(most + 1))
    peaks = [k for k in range(2, most) if agreement[k] >= agreement[k - 1] and agreement[k] >= agreement[k + 1]
             and agreement[k] > LEAST_SEASON]
    if not peaks:
        return 1
    best = max(agreement[k] for k in peaks)
    return next(k for k in peaks if agreement[k] >= 0.9 * best)  # the season itself, not a multiple of it
