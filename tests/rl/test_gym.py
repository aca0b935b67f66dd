# SPDX-License-Identifier: Apache-2.0
"""Environments of Gymnasium behind our names."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError

gymnasium = pytest.importorskip("gymnasium")


def test_steps_are_gymnasiums() -> None:
    ours, theirs = (cr.rl.Gym("CartPole-v1", batch=2),
                    gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"))
    np.testing.assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    for _ in range(60):
        mine, other = ours.step([0, 1]), theirs.step(np.array([0, 1]))
        for a, b in zip(mine[:4], other[:4], strict=True):
            np.testing.assert_array_equal(a, b)
    assert ours.action_space.n == 2 and ours.observation_space.shape == (4,)


def test_a_policy_has_the_same_return_in_both_kinds() -> None:
    lean = lambda x: (x[:, 2] + 0.5 * x[:, 3] > 0).astype(int)
    gym = cr.rl.evaluate_policy(lean, cr.rl.Gym("CartPole-v1", batch=4), episodes=12)
    own = cr.rl.evaluate_policy(lean, cr.rl.make("CartPole-v1", batch=4), episodes=12)
    assert gym.mean == own.mean == 500


def test_spaces_and_mistakes() -> None:
    assert isinstance(cr.rl.Gym("Pendulum-v1").action_space, cr.rl.Box)
    with pytest.raises(ArgumentError, match="part of their program"):
        cr.rl.PPO().fit(cr.rl.Gym("CartPole-v1"), 100)
    with pytest.raises(ArgumentError, match="cannot make"):
        cr.rl.Gym("NoSuchThing-v0")
    with pytest.raises(ArgumentError, match="no number of copies"):
        cr.rl.Gym("CartPole-v1", batch=0)
