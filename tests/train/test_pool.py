# SPDX-License-Identifier: Apache-2.0
"""Metrics of pooled batches, against the same metrics of single ones."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import chainrule as cr
from chainrule import metrics, nn, optim, train
from chainrule.train import pool as pools


def batches(count=40, rows=7, seed=0):
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield (
            generator.normal(size=(rows, 5)).astype(np.float32),
            generator.integers(0, 5, rows),
            np.ones(rows, np.float32),
        )


@pytest.mark.parametrize("full", [1, 1000, 10**9])
def test_pooled_batches_count_as_single_ones(full, monkeypatch):
    monkeypatch.setattr(pools, "FULL", full)
    single, pooled = metrics.get("accuracy"), metrics.get("accuracy")
    pool = pools.Pool([pooled])
    for batch in batches():
        single.update(*batch)
        pool.add(*batch)
    pool.flush()
    assert pooled.result() == single.result()


def test_arrays_may_be_written_over_after_add():
    pooled, pool = metrics.get("accuracy"), None
    pool = pools.Pool([pooled])
    outputs, targets, weights = np.eye(4, dtype=np.float32), np.arange(4), np.ones(4, np.float32)
    pool.add(outputs, targets, weights)
    outputs[:], targets[:], weights[:] = 0, 3, 0
    pool.flush()
    assert pooled.result() == 1.0


def test_what_waits_is_restored():
    first, second = (pools.Pool([metrics.get("accuracy")]) for _ in range(2))
    for batch in batches(3):
        first.add(*batch)
    second.restore(first.state())
    for pool in (first, second):
        pool.flush()
    assert first.metrics[0].result() == second.metrics[0].result()


class Stop(train.Callback):
    def after_step(self, run):
        if run.step_number == 3:
            signal.raise_signal(signal.SIGINT)


def test_a_checkpoint_in_the_middle_holds_what_waits(tmp_path):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(90, 4)).astype(np.float32), generator.integers(0, 3, 90)
    options = {"loss": "cross_entropy", "optimizer": "adam", "batch_size": 16, "metrics": ["accuracy"],
               "progress": False, "backend": "reference"}
    made = [nn.Sequential([nn.Dense(3)]) for _ in range(3)]
    whole = cr.fit(made[0], (x, y), **options)
    cr.fit(made[1], (x, y), **options, callbacks=[Stop()], checkpoint=tmp_path / "c.safetensors")
    resumed = cr.fit(made[2], (x, y), **options, callbacks=[train.Callback()], resume=tmp_path / "c.safetensors")
    assert resumed["accuracy"] == whole["accuracy"]
    assert resumed["loss"] == whole["loss"]


def test_fit_reuses_its_batch_without_mixing_samples():
    x = np.arange(40, dtype=np.float32)[:, None]
    seen = []

    class Watch(metrics.Metric):
        name = "watch"

        def update(self, outputs, targets, weights=None):
            seen.append((outputs[:, 0], targets[:, 0]))

    cr.fit(nn.Sequential([nn.Activation("linear"), nn.Dense(1, weight_initializer="ones")]), (x, x),
           loss="mean_squared_error", optimizer=optim.SGD(0.0), batch_size=7, metrics=[Watch()], progress=False,
           backend="reference")
    outputs, targets = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    np.testing.assert_array_equal(outputs, targets)
    np.testing.assert_array_equal(np.sort(targets), np.arange(40))
