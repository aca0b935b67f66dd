# SPDX-License-Identifier: Apache-2.0
"""Decision processes: all ways to solve them agree, and known optima come out."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ShapeError

WAYS = (cr.rl.value_iteration, cr.rl.policy_iteration, cr.rl.modified_policy_iteration, cr.rl.linear_program)


def random_process(seed, gamma=0.95, states=12, actions=3):
    random = np.random.default_rng(seed)
    P = random.dirichlet(np.ones(states), (states, actions))
    return cr.rl.MDP(P, random.normal(size=(states, actions, states)), gamma)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
def test_every_way_gives_values_without_a_residual(way, seed):
    if way is cr.rl.linear_program:
        pytest.importorskip("scipy")
    mdp = random_process(seed)
    solution, exact = way(mdp), cr.rl.policy_iteration(mdp)
    assert solution.residual < 1e-10
    np.testing.assert_allclose(solution.values, exact.values, atol=1e-9)
    np.testing.assert_array_equal(solution.policy, exact.policy)
    np.testing.assert_allclose(cr.rl.policy_values(mdp, solution.policy), solution.values, atol=1e-9)


def test_rewards_by_next_state_are_expected_ones():
    mdp = random_process(0)
    P, R = mdp.P, np.random.default_rng(1).normal(size=mdp.P.shape)
    assert np.allclose(cr.rl.MDP(P, R, 0.5).R, (P * R).sum(axis=2))


def test_a_row_that_is_no_distribution_is_named():
    P = random_process(0).P.copy()
    P[4, 2] *= 0.9
    with pytest.raises(ArgumentError, match=r"state 4, action 2.*\n?.*0\.9"):
        cr.rl.MDP(P, np.zeros((12, 3)), 0.9)


@pytest.mark.parametrize(("arguments", "error"), [
    ((np.ones((2, 2)), np.zeros((2, 2)), 0.9), ShapeError),
    ((np.full((2, 1, 2), 0.5), np.zeros((2, 3)), 0.9), ShapeError),
    ((np.full((2, 1, 2), 0.5), np.zeros((2, 1)), 1.5), ArgumentError),
    ((np.full((2, 1, 2), 0.5), np.full((2, 1), np.nan), 0.5), ArgumentError)])
def test_what_does_not_fit_is_refused(arguments, error):
    with pytest.raises(error):
        cr.rl.MDP(*arguments)


def test_what_never_ends_has_no_values_without_discount():
    mdp = cr.rl.MDP(np.ones((1, 1, 1)), np.ones((1, 1)), 1.0)
    for way in (lambda mdp: cr.rl.value_iteration(mdp, max_iterations=50), cr.rl.policy_iteration):
        with pytest.raises(ArgumentError):
            way(mdp)


def test_the_frozen_lake_is_crossed_three_times_of_four():
    lake = cr.rl.make("FrozenLake-v1")
    solution = cr.rl.value_iteration(lake.mdp(0.999999))
    mdp, at = lake.mdp(1.0), np.eye(16)[0]
    reached = 0.0
    for _ in range(100):
        reached += at @ mdp.R[np.arange(16), solution.policy]
        at = at @ (mdp.continuing[np.arange(16), solution.policy])
    assert abs(reached - 0.74) < 0.01


def test_taxi_has_its_optimum():
    taxi = cr.rl.make("Taxi-v3")
    solution = cr.rl.value_iteration(taxi.mdp(1.0))
    assert abs(taxi.starts @ solution.values - 7.93) < 0.01


def test_walls_and_slips_of_a_drawn_world():
    world = cr.rl.GridWorld("S#G\n...", slip=0.2, step=-1, goal=10)
    mdp = world.mdp(1.0)
    assert mdp.P[0, 2, 0] == pytest.approx(0.9) and mdp.P[0, 2, 3] == pytest.approx(0.1)
    assert cr.rl.policy_iteration(world.mdp(0.9)).residual < 1e-10
