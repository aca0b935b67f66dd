# SPDX-License-Identifier: Apache-2.0
"""Built-in environments give Gymnasium's numbers, step by step from the same states."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ShapeError

CLASSIC = {"CartPole-v1": ("x", "velocity", "angle", "spin"), "MountainCar-v0": ("position", "velocity"),
           "MountainCarContinuous-v0": ("position", "velocity"),
           "Acrobot-v1": ("angle1", "angle2", "spin1", "spin2"), "Pendulum-v1": ("angle", "spin")}


def actions_of(space, random, shape):
    return (random.integers(space.n, size=shape) if isinstance(space, cr.rl.Discrete)
            else random.uniform(space.low * 1.2, space.high * 1.2, (*shape, *space.shape)).astype("float32"))


@pytest.mark.parametrize("id", CLASSIC)
def test_classic_control_is_gymnasiums(id):
    gym = pytest.importorskip("gymnasium")
    theirs, ours = gym.make(id).unwrapped, cr.rl.make(id)
    tolerance = 1e-6 if "Continuous" in id else 1e-12  # theirs keeps this state as float32
    ours.reset(seed=3)
    theirs.reset(seed=0)
    theirs.state = np.array([ours.state[name].numpy()[0] for name in CLASSIC[id]])
    for action in actions_of(ours.action_space, np.random.default_rng(0), (150, 1)):
        observation, reward, terminated, _, _ = ours.step(action)
        expected = theirs.step(action[0])
        np.testing.assert_allclose([ours.state[name].numpy()[0] for name in CLASSIC[id]], theirs.state, atol=tolerance,
                                   rtol=tolerance)
        np.testing.assert_allclose(observation[0], expected[0], atol=1e-6)
        assert reward[0] == pytest.approx(expected[1],
                                          abs=1e-6 if tolerance > 1e-9 else 1e-12) and terminated[0] == expected[2]
        if terminated[0]:
            break
        if "Continuous" in id:
            theirs.state = np.array([ours.state[name].numpy()[0] for name in CLASSIC[id]])


@pytest.mark.parametrize("id", ["FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1",
                                "Taxi-v4"])
def test_tables_are_gymnasiums(id):
    gym = pytest.importorskip("gymnasium")
    theirs, ours = gym.make(id).unwrapped, cr.rl.make(id)
    np.testing.assert_allclose(ours.starts, theirs.initial_state_distrib)
    for state in range(ours.observation_space.n):
        for action in range(ours.action_space.n):
            told = [x for x in zip(*(table[state, action]
                                     for table in (ours.chances, ours.next, ours.rewards, ours.ends)), strict=True)
                    if x[0]]
            np.testing.assert_allclose(np.array(told, float), np.array(theirs.P[state][action], float), atol=1e-12)


def test_a_known_step_of_the_cart():
    env = cr.rl.make("CartPole-v1", batch=2)
    env.reset(seed=0)
    for name, value in zip(CLASSIC["CartPole-v1"], (0.01, -0.02, 0.03, 0.04), strict=True):
        env.state[name].assign(np.full(2, value))
    observation, *_ = env.step([1, 0])
    np.testing.assert_allclose(observation, [[0.0096, 0.17468091, 0.0308, -0.24303449],
                                             [0.0096, -0.21553917, 0.0308, 0.34203538]], atol=2e-3)


def test_next_step_autoreset_as_gymnasiums():
    env = cr.rl.make("CartPole-v1", batch=2)
    env.reset(seed=0)
    ended = 0
    while not ended:
        observation, reward, terminated, _, _ = env.step([1, 1])
        ended = terminated.any()
    last = np.argmax(terminated)
    assert abs(observation[last, 2]) > 0.2 and reward[last] == 1
    observation, reward, terminated, _, _ = env.step([1, 1])
    assert np.abs(observation[last]).max() <= 0.05 and reward[last] == 0 and not terminated[last]


def test_truncation_is_told_apart_and_hands_out_where_it_led():
    env = cr.rl.make("Pendulum-v1", batch=3)
    env.reset(seed=0)
    env.elapsed.assign(np.array([198, 199, 0]))
    step = env.advance(np.zeros((3, 1), "float32"))
    assert step.truncated.numpy().tolist() == [False, True, False] and not step.terminated.numpy().any()
    same = (step.final.numpy() == step.observation.numpy()).all(axis=1)
    assert same.tolist() == [True, False, True]
    assert env.elapsed.numpy().tolist() == [199, 0, 1]


def test_returns_of_the_last_episodes():
    env = cr.rl.make("CartPole-v1", batch=4)
    env.reset(seed=0)
    step = cr.compile(lambda: env.advance(np.ones(4, np.int64)))
    total, returns = np.zeros(4), []
    for _ in range(60):
        done = step().terminated.numpy()
        total += 1
        returns += total[done].tolist()
        total[done] = 0
    assert env.episodes.numpy() == len(returns) and env.mean_return().numpy() == pytest.approx(np.mean(returns))


def test_same_seed_same_episode_compiled_and_eager():
    one, other = (cr.rl.make("FrozenLake-v1", batch=5) for _ in range(2))
    one.reset(seed=4), other.reset(seed=4)
    many = cr.compile(lambda action: one.advance(action))
    for action in np.random.default_rng(0).integers(4, size=(20, 5)):
        a, b = many(action), other.advance(action)
        assert all((x.numpy() == y.numpy()).all() for x, y in zip(a, b, strict=True))


def test_blackjack_wins_as_often_as_the_book_says():
    env = cr.rl.make("Blackjack-v1", batch=4000)
    env.reset(seed=0)
    program = cr.compile(lambda: env.advance(np.zeros(4000, np.int64)))
    rewards = np.concatenate([program().reward.numpy() for _ in range(10)])
    assert set(rewards.tolist()) == {-1.0, 0.0, 1.0}
    gym = pytest.importorskip("gymnasium")
    theirs = gym.make("Blackjack-v1").unwrapped
    expected = []
    for i in range(4000):
        theirs.reset(seed=i)
        expected.append(theirs.step(0)[1])
    assert abs(rewards.mean() - np.mean(expected)) < 4 * np.std(expected) / 4000 ** 0.5


def test_what_is_no_environment_or_action_is_told():
    with pytest.raises(ArgumentError, match="CartPole-v1"):
        cr.rl.make("CartPole-v9")
    env = cr.rl.make("CartPole-v1", batch=2)
    env.reset(seed=0)
    with pytest.raises(ShapeError):
        env.step([0])
    with pytest.raises(ArgumentError, match="no such action"):
        env.step([0, 2])
