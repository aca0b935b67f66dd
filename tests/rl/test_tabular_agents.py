# SPDX-License-Identifier: Apache-2.0
"""Agents with tables come to the values that the exact solvers give."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError

AGENTS = (cr.rl.QLearning, cr.rl.DoubleQLearning, cr.rl.ExpectedSARSA, cr.rl.SARSA)


@pytest.mark.parametrize("kind", AGENTS)
def test_chain_of_five_states(kind):
    world = cr.rl.GridWorld("S...G")
    exact = cr.rl.policy_iteration(world.mdp(0.9)).q
    agent = kind(learning_rate=cr.rl.linear(0.5, 0.02), epsilon=cr.rl.linear(1.0, 0.0 if kind is cr.rl.SARSA else 0.3),
                 gamma=0.9)
    agent.fit(world, steps=12_000, seed=0)
    if kind in (cr.rl.QLearning, cr.rl.DoubleQLearning):
        np.testing.assert_allclose(agent.q[:4], exact[:4], atol=0.05)
    assert agent.act(np.arange(4)).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("options", [{"trace": 0.8}, {"n_step": 3}])
def test_traces_and_several_steps_find_the_way(options):
    agent = cr.rl.SARSA(learning_rate=0.1, epsilon=cr.rl.linear(1.0, 0.02), gamma=0.95, **options)
    agent.fit(cr.rl.GridWorld("S..\n.#.\n..G"), steps=8000, seed=1)
    assert cr.rl.evaluate_policy(agent, cr.rl.GridWorld("S..\n.#.\n..G"), episodes=3).mean == 1.0


def test_q_learning_crosses_the_frozen_lake():
    agent = cr.rl.QLearning(learning_rate=cr.rl.exponential(0.3, 0.01), epsilon=cr.rl.linear(1.0, 0.1), gamma=0.99)
    agent.fit("FrozenLake-v1", steps=150_000, seed=0)
    assert cr.rl.evaluate_policy(agent, "FrozenLake-v1", episodes=2000, seed=1).mean >= 0.70


def test_the_same_seed_gives_the_same_table():
    tables = []
    for _ in range(2):
        agent = cr.rl.QLearning()
        agent.fit("FrozenLake-v1", steps=500, seed=3)
        tables.append(agent.q)
    assert (tables[0] == tables[1]).all()


def test_what_has_no_table_is_refused():
    with pytest.raises(ArgumentError, match="DQN"):
        cr.rl.QLearning().fit("CartPole-v1")
    with pytest.raises(ArgumentError, match="fit"):
        cr.rl.SARSA().act(0)
    with pytest.raises(ArgumentError):
        cr.rl.QLearning(trace=0.5, n_step=2)
