# SPDX-License-Identifier: Apache-2.0
"""The loss that `evaluate` returns: a number with an interval, the same for any batch size. Oracle: SciPy, the
bootstrap."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, statistics
from chainrule.metrics import Estimate

RNG = np.random.default_rng(0)
X, Y, W = (RNG.normal(size=(101, 5)).astype("float32"), RNG.integers(0, 3, 101),
           RNG.integers(0, 3, 101).astype("float32"))
MODEL = nn.Sequential([nn.Dense(3, input_shape=(5,))])


def test_equal_weights_give_students_interval_for_any_batch_size() -> None:
    stats = pytest.importorskip("scipy.stats")
    each = losses.cross_entropy(cr.predict(MODEL, X), Y, reduction="none").numpy().astype(float)
    for level in (0.9, 0.95):
        low, high = stats.t.interval(level, 100, each.mean(), stats.sem(each))
        for size in (1, 7, 50, 101, 1000):
            found = cr.evaluate(MODEL, (X, Y), loss="cross_entropy", level=level, batch_size=size)["loss"]
            assert (found.value, found.low, found.high) == pytest.approx((each.mean(), low, high), rel=1e-6)
            assert found.level == level


def test_weights_and_several_values_for_each_sample() -> None:
    each = losses.cross_entropy(cr.predict(MODEL, X), Y, reduction="none").numpy().astype(float)
    found = cr.evaluate(MODEL, (X, Y, W), loss="cross_entropy", batch_size=16)["loss"]
    assert found == pytest.approx(np.average(each, weights=W), rel=1e-6)
    picks = np.random.default_rng(1).integers(0, 101, (20_000, 101))
    spread = ((W * each)[picks].sum(1) / W[picks].sum(1)).std()
    assert (found.high - found.low) / 2 == pytest.approx(1.98 * spread, rel=0.05)
    kept = W != 0
    again = cr.evaluate(MODEL, (X[kept], Y[kept], W[kept]), loss="cross_entropy", batch_size=16)["loss"]
    assert (again.low, again.high) == pytest.approx((found.low, found.high), rel=1e-6)
    targets = RNG.normal(size=(101, 3)).astype("float32")
    rows = ((cr.predict(MODEL, X).numpy() - targets) ** 2).mean(1).astype(float)
    found = cr.evaluate(MODEL, (X, targets), loss="mean_squared_error", batch_size=16)["loss"]
    assert (found.low, found.high) == pytest.approx(statistics.t_interval(rows), rel=1e-5)


def test_where_there_is_no_interval() -> None:
    of_batch = cr.evaluate(MODEL, (X, Y), loss=lambda outputs, labels: cr.mean(outputs ** 2))["loss"]
    assert of_batch.low is None
    assert of_batch == pytest.approx((cr.predict(MODEL, X).numpy() ** 2).mean(), rel=1e-5)
    of_samples = cr.evaluate(MODEL, (X, Y), loss=lambda outputs, labels: cr.mean(outputs ** 2, axis=1))["loss"]
    assert of_samples.low < of_batch < of_samples.high
    assert cr.evaluate(MODEL, (X[:1], Y[:1]), loss="cross_entropy")["loss"].low is None
    broken = cr.evaluate(MODEL, (X * np.float32("nan"), Y), loss="cross_entropy")["loss"]
    assert np.isnan(broken) and broken.low is None


def test_an_estimate_is_a_number() -> None:
    e = Estimate(0.25, 0.2, 0.3)
    assert e == 0.25 and e < 0.5 and e * 2 == 0.5 and f"{e:.3f}" == "0.250" and np.asarray([e, e]).mean() == 0.25
    assert json.loads(json.dumps({"loss": e})) == {"loss": 0.25}
    again = pickle.loads(pickle.dumps(e))
    assert (again, again.low, again.high, again.level) == (0.25, 0.2, 0.3,
                                                           0.95) and repr(again).startswith("Estimate(0.25, low=0.2")
    assert str(e) == "0.25 (95 % interval 0.2 to 0.3)" == f"{e}"
