# SPDX-License-Identifier: Apache-2.0
"""Series: no look-ahead, intervals that cover, seasons, baselines beside Diebold and Mariano's test, forms, wrong use.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import models, statistics, tasks
from chainrule.errors import ArgumentError, DataError
from chainrule.models.forecasts import KINDS
from chainrule.tasks.forecast import _width, find_season

RNG = np.random.default_rng(0)
T = np.arange(600)
SERIES = np.sin(2 * np.pi * T / 12) + 0.2 * RNG.normal(size=600)
TWO = np.stack([SERIES, 10 + 5 * np.cos(2 * np.pi * T / 12) + RNG.normal(size=600)], axis=1)


@pytest.fixture(scope="module")
def fitted():
    return tasks.Forecaster(horizon=6, lookback=24, epochs=15).fit(SERIES[:400])


@pytest.fixture(scope="module")
def of_two():
    return tasks.Forecaster(horizon=4, lookback=24, epochs=15).fit(TWO[:400])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [10, 40])
def test_networks_of_all_kinds(kind, steps):
    network = models.ForecastNetwork(kind, 5)
    x = RNG.normal(size=(3, steps)).astype("float32")
    assert network(x).shape == (3, 5)
    np.testing.assert_allclose(network(x + 100).numpy(), network(x).numpy() + 100, atol=1e-2)


def test_the_moving_average_is_one():
    smooth = models.forecasts._moving_average(40)
    x = RNG.normal(size=40)
    padded = np.concatenate([np.repeat(x[0], 12), x, np.repeat(x[-1], 12)])
    np.testing.assert_allclose(x @ smooth, np.convolve(padded, np.ones(25) / 25, "valid"), atol=1e-6)


@pytest.mark.parametrize("season", [4, 7, 12, 24])
def test_seasons_are_found(season):
    noisy = np.sin(2 * np.pi * np.arange(400) / season) + 0.1 * RNG.normal(size=400)
    assert find_season(noisy + 0.05 * np.arange(400)) == season
    assert find_season(np.cumsum(RNG.normal(size=400))) == 1 and find_season(np.ones(50)) == 1


def test_a_forecast_beats_its_baselines(fitted):
    report = fitted.evaluate(SERIES[400 - 24:])
    assert fitted.season == 12 and report.beats("last value") and report.beats("seasonal-naive")
    assert float(report["mase"]) < 1 and 0.85 < float(report["coverage"]) < 0.97
    assert report["mse"].low < float(report["mse"]) < report["mse"].high


def test_measured_values_are_those_of_the_forecasts(fitted):
    later = SERIES[400 - 24:]
    found = fitted.forecasts(later)
    targets = np.lib.stride_tricks.sliding_window_view(later[24:], 6)
    report = fitted.evaluate(later)
    scale = SERIES[:320].std()
    assert float(report["mse"]) == pytest.approx(np.mean((found.mean - targets) ** 2) / scale ** 2, rel=1e-6)
    assert float(report["rmse"]) == pytest.approx(np.sqrt(np.mean((found.mean - targets) ** 2)), rel=1e-6)
    assert float(report["coverage"]) == pytest.approx(np.mean((found.low <= targets) & (targets <= found.high)))
    naive = np.stack([later[12 + i:12 + i + 6] for i in range(len(targets))])
    assert float(report.baselines["seasonal-naive"]["mse"]) == pytest.approx(
        np.mean((naive - targets) ** 2) / scale**2, rel=1e-6
    )


@pytest.mark.parametrize("changed", [30, 120, 190])
def test_the_future_changes_nothing(fitted, changed):
    """No look-ahead: forecasts and intervals made before a step do not depend on it, nor does what was learnt."""
    later = SERIES[400 - 24:].copy()
    before = fitted.forecasts(later)
    later[changed:] += RNG.normal(size=len(later) - changed) * 50
    after = fitted.forecasts(later)
    made = changed - 24 + 1  # origins whose past ends before the change
    for part in ("mean", "low", "high"):
        np.testing.assert_array_equal(getattr(before, part)[:made], getattr(after, part)[:made])
    assert not np.array_equal(before.mean[made:], after.mean[made:])


def test_what_is_held_out_is_not_learnt_from(fitted):
    other = SERIES[:400].copy()
    other[320:] *= 3
    again = tasks.Forecaster(horizon=6, lookback=24, epochs=1).fit(other)
    assert again.state["scale"] == fitted.state["scale"] and again.state["centre"] == fitted.state["centre"]


def test_widths_are_conformal():
    errors = np.abs(RNG.normal(size=(99, 2, 1)))
    np.testing.assert_array_equal(_width(errors, 0.9), np.sort(errors, axis=0)[89])
    covered = [np.abs(RNG.normal()) <= _width(np.abs(RNG.normal(size=(99, 1, 1))), 0.9)[0, 0] for _ in range(2000)]
    assert 0.88 < np.mean(covered) < 0.92


def test_several_series_in_their_own_units(of_two, tmp_path):
    forecast = of_two.predict(TWO[:500])
    assert forecast.mean.shape == forecast.low.shape == (4, 2)
    assert (np.abs(forecast.mean - TWO[500:504]) < 4 * np.array([0.2, 1.0])).all()
    assert (forecast.low < forecast.mean).all() and (forecast.mean < forecast.high).all()
    loaded = cr.load(cr.save(of_two, tmp_path / "a.safetensors"))
    for part in ("mean", "low", "high"):
        np.testing.assert_array_equal(getattr(loaded.predict(TWO[:500]), part), getattr(forecast, part))
    with pytest.raises(DataError, match="not the series that were learnt"):
        of_two.predict(SERIES)


def test_forms_of_series(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("month,x,y\n" + "\n".join(f"2020-{m:02}-{d:02},{x},{y}" for (m, d), (x, y) in zip(
        ((m, d) for m in range(1, 13) for d in range(1, 29)), TWO.round(4), strict=False)))
    values = TWO[:336].round(4)
    expected = tasks.Forecaster(horizon=3, lookback=12, epochs=1).fit(values).predict(values).mean
    for form in (path, cr.data.read_series(path), {"x": values[:, 0], "y": values[:, 1]}):
        task = tasks.Forecaster(horizon=3, lookback=12, epochs=1)
        np.testing.assert_array_equal(task.fit(form).predict(form).mean, expected)
    order = RNG.permutation(336)
    mixed = {"when": np.arange(336).astype("datetime64[D]")[order], "x": values[order, 0], "y": values[order, 1]}
    task = tasks.Forecaster(horizon=3, lookback=12, epochs=1, time="when").fit(mixed)
    np.testing.assert_array_equal(task.predict(mixed).mean, expected)


def test_backtests_learn_from_the_past_alone(fitted):
    before = fitted.predict(SERIES[:400]).mean
    reports = fitted.backtest(SERIES[:400], folds=2)
    assert len(reports) == 2 and all(float(report["mse"]) < 1 for report in reports)
    np.testing.assert_array_equal(fitted.predict(SERIES[:400]).mean, before)


def test_a_walk_is_no_better_than_a_coin():
    walk = np.cumsum(np.random.default_rng(3).normal(size=500))
    report = tasks.Forecaster(horizon=1, lookback=8, epochs=3).fit(walk[:350]).evaluate(walk[342:])
    assert "the direction of the next step is told no better than by a coin" in str(report)


@pytest.mark.parametrize("use, words", [
    (lambda: tasks.Forecaster(model="arima"), "no such forecaster"),
    (lambda: tasks.Forecaster(horizon=24).fit(SERIES[:60]), "too short"),
    (lambda: tasks.Forecaster(horizon=2).fit(np.where(T == 9, np.nan, SERIES)), "step 9"),
    (lambda: tasks.Forecaster(horizon=2).fit(["a", "b"]), "numbers in order of time"),
    (lambda: tasks.Forecaster(level=1.0), "an interval needs a level")])
def test_wrong_use_is_told(use, words):
    with pytest.raises((ArgumentError, DataError), match=words):
        use()


# ---- statistics

def test_long_run_variance_of_an_autoregression():
    x = np.zeros(200_000)
    noise = np.random.default_rng(1).normal(size=len(x))
    for t in range(1, len(x)):
        x[t] = 0.5 * x[t - 1] + noise[t]
    assert statistics.long_run_variance(x, 60) == pytest.approx(4.0, rel=0.05)
    assert statistics.long_run_variance(x[:1000], 0) == pytest.approx(x[:1000].var())


def test_diebold_mariano_is_a_t_test_for_one_step():
    a, b = RNG.random(50), RNG.random(50) + 0.1
    found = statistics.diebold_mariano(a, b)
    d = a - b
    shrunk = d.mean() / np.sqrt(d.var() / 50) * np.sqrt((50 - 1) / 50)  # Harvey, Leybourne and Newbold at one step
    scipy = pytest.importorskip("scipy.stats")
    assert found.p == pytest.approx(2 * scipy.t.sf(abs(shrunk), 49), rel=1e-6)
    assert found.difference == pytest.approx(d.mean()) and found.test == "diebold_mariano"


def test_diebold_mariano_keeps_its_level_where_losses_overlap():
    rng, said = np.random.default_rng(0), 0
    for _ in range(400):
        e = np.convolve(rng.normal(size=405), np.ones(6) / 6, "valid")
        said += statistics.diebold_mariano(e, np.zeros_like(e), horizon=6).significant
    assert said / 400 < 0.10
    with pytest.raises(ArgumentError, match="too few forecasts"):
        statistics.diebold_mariano([1.0], [2.0])
