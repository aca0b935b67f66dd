# SPDX-License-Identifier: Apache-2.0
"""What several runs, and the history of one, say of an agent."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError
from chainrule.rl.seeds import bands


def history(**columns):
    return cr.train.History([{"epoch": i + 1, **{name: float(values[i]) for name, values in columns.items()}}
                             for i in range(len(columns["return"]))])


RISING, N = np.linspace(20, 300, 20), 20
HEALTHY = {"return": RISING, "entropy": np.linspace(0.69, 0.4, N), "value_loss": np.linspace(5, 300, N)}


@pytest.mark.parametrize(("changed", "kinds"), [
    ({}, []),
    ({"return": np.full(N, 0.0)}, ["reward is always the same"]),
    ({"return": 20 + np.sin(np.arange(N))}, ["policy never learns"]),
    ({"return": RISING[::-1]}, ["policy never learns"]),
    ({"return": np.r_[RISING[:10], np.full(10, 20.0)], "entropy": np.geomspace(0.69, 1e-4, N)},
     ["policy never learns", "entropy collapsed"]),
    ({"entropy": np.geomspace(0.69, 1e-4, N)}, []),  # sure of itself, and right
    ({"q": np.linspace(1, 95, N)}, []),
    ({"q": np.geomspace(1, 1e5, N)}, ["values explode"]),
    ({"q": np.full(N, np.nan)}, ["values explode"]),
    ({"value_loss": np.geomspace(1, 1e9, N)}, ["values explode"]),
])
def test_what_goes_wrong_is_told(changed, kinds):
    found = cr.rl.diagnose(history(**(HEALTHY | changed)))
    assert found.kinds == kinds and all(finding.remedy for finding in found)


def test_short_runs_say_nothing_and_real_ones_are_healthy():
    assert cr.rl.diagnose(history(**{"return": [1, 1, 1, 1]})) == []
    agent = cr.rl.PPO(hidden=(32,), rollout=64)
    found = agent.fit(cr.rl.make("CartPole-v1", batch=16), steps=30_000, seed=0, progress=False)
    assert cr.rl.diagnose(found) == [] and found["steps"][-1] == 1024 * (30_000 // 1024)


def test_a_reward_that_is_never_reached_is_told():
    agent = cr.rl.A2C(hidden=(4,), rollout=32)
    found = agent.fit(cr.rl.make("MountainCar-v0", batch=8), steps=8_000, seed=0, progress=False)
    assert cr.rl.diagnose(found).kinds in (["reward is always the same"], ["policy never learns"])


def test_two_agents_are_compared_over_seeds(tmp_path):
    pytest.importorskip("matplotlib")
    world = lambda batch: cr.rl.GridWorld(["S...", ".HH.", "...G"], batch, step=-0.1, max_steps=30)
    make = lambda kind: cr.rl.over_seeds(lambda: kind(gamma=0.95, epsilon=0.3), world, seeds=3, steps=600, episodes=1,
                                         name=kind.__name__)
    one, other = make(cr.rl.QLearning), make(cr.rl.SARSA)
    assert one.scores.shape == (3,) and one.low <= one.mean <= one.high and one.seeds == (0, 1, 2)
    found = cr.compare(one.run, other.run)
    assert found.difference == pytest.approx(other.scores.mean() - one.scores.mean())
    assert cr.rl.draw_learning_curves([one, other], tmp_path / "c.png").path.stat().st_size > 5000
    with pytest.raises(ArgumentError, match="no seeds"):
        cr.rl.over_seeds(cr.rl.QLearning, world, seeds=0)


def test_bands_are_students_intervals():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).normal(size=(6, 4))
    steps, mean, low, high = bands([cr.train.History([{"epoch": i, "steps": 10 * i, "return": float(x)}
                                                      for i, x in enumerate(row, 1)]) for row in values])
    expected = stats.t.interval(0.95, 5, values.mean(0), stats.sem(values, axis=0))
    np.testing.assert_allclose(np.array([low, high]), expected)
    assert steps.tolist() == [10, 20, 30, 40] and mean == pytest.approx(values.mean(0))
    with pytest.raises(ArgumentError, match="averaged"):
        bands([cr.train.History([]), cr.train.History([{"epoch": 1, "return": 0.0}])])
