# SPDX-License-Identifier: Apache-2.0
"""Agents with networks: what they bootstrap from, that they learn, are saved and resumed."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ShapeError
from chainrule.rl.networks import Choice, Choices, Gaussian, Running
from chainrule.rl.ppo import gae
from chainrule.rl.replay import Replay, several_steps


def advantages_by_hand(reward, values, following, terminated, truncated, gamma, lam):
    out, last = np.zeros_like(reward), np.zeros(reward.shape[1])
    for t in reversed(range(len(reward))):
        delta = reward[t] + gamma * following[t] * ~terminated[t] - values[t]
        last = delta + gamma * lam * ~(terminated[t] | truncated[t]) * last
        out[t] = last
    return out


def test_advantages_bootstrap_from_where_a_truncated_episode_led():
    random = np.random.default_rng(0)
    reward, values, following = random.normal(size=(3, 9, 4)).astype("float32")
    terminated, truncated = random.random((2, 9, 4)) < 0.2
    found = gae(*map(cr.asarray, (reward, values, following, terminated, truncated)), 0.9, 0.8).numpy()
    np.testing.assert_allclose(found, advantages_by_hand(reward, values, following, terminated, truncated, 0.9, 0.8),
                               atol=1e-5)
    ends = np.ones((1, 1), bool)
    alone = lambda terminated, truncated: gae(
        *map(
            cr.asarray,
            (
                np.ones((1, 1), "float32"),
                np.zeros((1, 1), "float32"),
                np.full((1, 1), 7, "float32"),
                terminated,
                truncated,
            ),
        ),
        0.5,
        0.9,
    ).item()
    assert alone(~ends, ends) == pytest.approx(1 + 0.5 * 7) and alone(ends, ~ends) == 1 and alone(ends, ends) == 1


def test_several_steps_stop_at_the_end_of_an_episode():
    reward = np.array([[1], [2], [4], [8]], "float32")
    done = np.array([[0], [1], [0], [0]], bool)
    final = np.arange(4, dtype="float32")[:, None, None]
    total, last, ended, factor = (
        x.numpy() for x in several_steps(*map(cr.asarray, (reward, done, final, done)), 3, 0.5)
    )
    assert total[:, 0].tolist() == [2, 2, 8, 8] and last[:, 0, 0].tolist() == [1, 1, 3, 3]
    assert ended[:, 0].tolist() == [True, True, False, False] and factor[:, 0].tolist() == [0.25, 0.5, 0.25, 0.5]


def test_policies_have_the_probabilities_of_their_distributions():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    mean, log_std, action = random.normal(size=(3, 5, 2)).astype("float32")
    policy = Gaussian(cr.asarray(mean), cr.asarray(log_std))
    expected = stats.norm(mean, np.exp(log_std))
    np.testing.assert_allclose(policy.log_prob(cr.asarray(action)).numpy(), expected.logpdf(action).sum(1), rtol=1e-4)
    np.testing.assert_allclose(policy.entropy().numpy(), expected.entropy().sum(1), rtol=1e-5)
    logits = random.normal(size=(4, 3)).astype("float32")
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    choice = Choice(cr.asarray(logits))
    np.testing.assert_allclose(choice.log_prob(cr.asarray([0, 1, 2, 0])).numpy(),
                               np.log(chances)[np.arange(4), [0, 1, 2, 0]], atol=1e-5)
    np.testing.assert_allclose(choice.entropy().numpy(), -(chances * np.log(chances)).sum(1), atol=1e-5)
    drawn = Choice(cr.asarray(np.tile(logits[:1], (20_000, 1)))).sample().numpy()
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 20_000, chances[0], atol=0.015)
    both = Choices(cr.asarray(logits), (1, 2))
    assert both.sample().shape == (4, 2) and (both.mode().numpy()[:, 0] == 0).all()


def test_squashed_actions_have_the_density_of_the_change_of_variables():
    agent = cr.rl.SAC(hidden=(8,))
    agent.fit("Pendulum-v1", steps=2, seed=0, progress=False)
    x = cr.asarray(np.random.default_rng(0).normal(size=(6, 3)).astype("float32"))
    action, chance = agent.sample(x)
    u = np.arctanh(action.numpy().astype(float))
    expected = (agent.policy(x).log_prob(cr.asarray(u.astype("float32"))).numpy()
                - np.log(1 - action.numpy().astype(float) ** 2).sum(1))
    np.testing.assert_allclose(chance.numpy(), expected, atol=2e-3)


def test_running_statistics_are_those_of_all_batches():
    data = np.random.default_rng(0).normal(3, 2, (500, 4))
    running = Running(4)
    for part in np.array_split(data, 7):
        running.update(cr.asarray(part))
    np.testing.assert_allclose(running.mean.numpy(), data.mean(0), atol=1e-5)
    np.testing.assert_allclose(running.variance.numpy(), data.var(0), rtol=1e-4)


def test_the_buffer_keeps_the_last_transitions():
    replay = Replay(5, {"x": ((), "int64")})
    for start in (0, 3, 6):
        replay.store(x=cr.arange(start, start + 3))
    assert sorted(replay.parts["x"].numpy().tolist()) == [4, 5, 6, 7, 8]
    assert set(replay.draw(200)["x"].numpy().tolist()) == {4, 5, 6, 7, 8}


def test_ppo_learns_to_balance():
    agent = cr.rl.PPO(hidden=(32,), rollout=64)
    history = agent.fit(cr.rl.make("CartPole-v1", batch=16), steps=60_000, seed=0, progress=False)
    assert history["return"][-1] > 3 * history["return"][0]
    assert cr.rl.evaluate_policy(agent, "CartPole-v1", episodes=32, seed=1).mean > 150


@pytest.mark.parametrize("kind", [cr.rl.A2C, cr.rl.Reinforce])
def test_policy_gradients_learn_to_balance(kind):
    history = kind(hidden=(32,)).fit(cr.rl.make("CartPole-v1", batch=16), steps=60_000, seed=0, progress=False)
    assert history["return"][-1] > 2.5 * history["return"][0]


MADE = {"PPO": (lambda: cr.rl.PPO(hidden=(8,), rollout=8, normalize_observations=True, scale_rewards=True,
                                  clip_values=True), "Pendulum-v1", 320),
        "DQN": (lambda: cr.rl.DQN(hidden=(8,), train_every=8, updates=2, learning_starts=16, batch_size=8,
                                  duelling=True, n_step=3), "CartPole-v1", 160),
        "SAC": (lambda: cr.rl.SAC(hidden=(8,), learning_starts=16, batch_size=8), "Pendulum-v1", 40),
        "TD3": (lambda: cr.rl.TD3(hidden=(8,), learning_starts=16, batch_size=8), "MountainCarContinuous-v0", 40)}


@pytest.mark.parametrize("name", MADE)
def test_saved_agents_act_the_same(name, tmp_path):
    make, id, steps = MADE[name]
    agent = make()
    agent.fit(id, steps=steps, seed=0, progress=False)
    observation = np.random.default_rng(0).normal(size=(7, *agent.observation_space.shape)).astype("float32")
    again = cr.load(cr.save(agent, tmp_path / "agent.safetensors"))
    np.testing.assert_array_equal(again.act(observation), agent.act(observation))
    np.testing.assert_allclose(again.act(observation[0]), agent.act(observation)[0], atol=1e-6)
    with pytest.raises(ShapeError):
        agent.act(observation[:, :1])


@pytest.mark.parametrize("name", MADE)
def test_a_resumed_run_ends_with_the_same_bits(name, tmp_path):
    make, id, steps = MADE[name]
    whole, part, rest = make(), make(), make()
    whole.fit(id, steps=steps, seed=0, progress=False)

    class Stop(cr.train.Callback):
        def after_epoch(self, run, row):
            run.stop = row["epoch"] == 3

    path = tmp_path / "run.ckpt"
    part.fit(id, steps=steps, seed=0, progress=False, checkpoint=path, callbacks=[Stop()])
    rest.fit(id, steps=steps, seed=0, progress=False, resume=path)
    for key, variable in whole.variables().items():
        np.testing.assert_array_equal(rest.variables()[key].numpy(), variable.numpy(), err_msg=key)


def test_what_does_not_fit_an_agent_is_told():
    with pytest.raises(ArgumentError, match="SAC"):
        cr.rl.DQN().fit("Pendulum-v1", progress=False)
    with pytest.raises(ArgumentError, match="PPO"):
        cr.rl.SAC().fit("CartPole-v1", progress=False)
    with pytest.raises(ArgumentError, match="minibatches"):
        cr.rl.PPO(rollout=3).fit("CartPole-v1", progress=False)
    with pytest.raises(ArgumentError, match="fit"):
        cr.rl.PPO().act(np.zeros(4))
    with pytest.raises(ArgumentError):
        cr.rl.evaluate_policy(lambda x: x, "CartPole-v1", episodes=0)


def test_means_of_episodes_do_not_prefer_short_ones():
    returns = cr.rl.evaluate_policy(lambda x: np.ones(len(x), int), cr.rl.make("CartPole-v1", batch=3), episodes=9,
                                    seed=0)
    assert len(returns.values) == 9 and (returns.values == returns.lengths).all()
    assert returns.low < returns.mean < returns.high and 8 <= returns.mean <= 11


def test_the_weights_of_the_best_part_are_kept_and_validation_changes_nothing_else():
    make = lambda: cr.rl.DQN(hidden=(16,), train_every=32, updates=16, learning_starts=64, batch_size=16)
    plain, kept = make(), make()
    one = plain.fit("CartPole-v1", 1280, seed=0, progress=False)
    two = kept.fit("CartPole-v1", 1280, seed=0, progress=False, validation_episodes=6)
    assert one["loss"] == two["loss"] and one["return"] == two["return"]
    best = max(two["validation_return"])
    assert two.kept == {"epoch": two["validation_return"].index(best) + 1, "validation_return": best}
    again = cr.rl.evaluate_policy(kept, cr.rl.make("CartPole-v1", batch=6), episodes=6, seed=1_000_003)
    assert again.mean == best


def test_copies_of_an_environment_have_its_settings_and_a_state_of_their_own():
    env = cr.rl.make("FrozenLake-v1", batch=2, is_slippery=False)
    env.reset(seed=0), env.step([1, 1])
    other = env.copies(3)
    other.reset(seed=0)
    assert (
        other.step([2, 1, 0])[0].tolist() == [1, 4, 0] and env.step([1, 1])[0].tolist() == [8, 8] and other.id == env.id
    )
