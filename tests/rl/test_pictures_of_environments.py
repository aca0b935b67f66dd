# SPDX-License-Identifier: Apache-2.0
"""Episodes: the same seed gives the same one, its pictures show the state, and the GIF holds them."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ShapeError
from chainrule.rl.canvas import RED, WHITE, Canvas
from chainrule.rl.registry import ENVIRONMENTS


def some_actions(env, random):
    space = env.action_space
    return (random.integers(0, space.n, env.batch) if isinstance(space, cr.rl.Discrete)
            else random.uniform(space.low, space.high, (env.batch, *space.shape)).astype("float32"))


@pytest.mark.parametrize("id", [id for id in ENVIRONMENTS
                                if id not in ("CliffWalkingSlippery-v1", "FrozenLake8x8-v1",
                                              "Taxi-v4")])  # drawn as their kin
def test_every_environment_is_drawn_and_its_picture_follows_the_state(id):
    env, random = cr.rl.make(id, batch=2), np.random.default_rng(0)
    with pytest.raises(ArgumentError, match="reset"):
        env.render()
    env.reset(seed=1)
    first = env.render(1)
    assert first.dtype == np.uint8 and first.ndim == 3 and first.shape[2] == 3
    for _ in range(12):
        env.step(some_actions(env, random))
        if (env.render(1) != first).any():
            break
    assert (env.render(1) != first).any()
    for copy in (-1, 2, True, 0.5):
        with pytest.raises(ArgumentError, match="no such copy"):
            env.render(copy)


def test_a_circle_has_its_area_and_a_line_its_length():
    canvas = Canvas(100, 80)
    canvas.circle((50, 40), 20, (0, 0, 0))
    assert (1 - canvas.pixels[..., 0] / 255).sum() == pytest.approx(np.pi * 400, rel=1e-3)
    canvas = Canvas(100, 80)
    canvas.line((20, 40), (80, 40), 10, (0, 0, 0))
    assert (1 - canvas.pixels[..., 0] / 255).sum() == pytest.approx(60 * 10 + np.pi * 25, rel=1e-2)
    canvas = Canvas(10, 10)
    canvas.rectangle(2, 3, 5, 7, RED)
    assert (canvas.image()[3:7, 2:5] == RED).all() and (canvas.image() == WHITE).all(-1).sum() == 100 - 12


def test_the_upright_pendulum_points_up_and_the_hanging_one_down():
    env = cr.rl.make("Pendulum-v1")
    red = lambda angle: np.argwhere((env.picture({"angle": angle}) == RED).all(-1)).mean(axis=0)
    assert red(0.0)[0] < 120 and red(np.pi)[0] > 180
    assert red(0.5)[1] < 150 < red(-0.5)[1]  # angles are counted against the clock, as Gymnasium draws them


def test_an_episode_is_played_again_by_its_seed_and_its_actions():
    agent = cr.rl.PPO(hidden=(8,), rollout=8)
    agent.fit("CartPole-v1", steps=64, seed=0, progress=False)
    one = cr.rl.play(agent, "CartPole-v1", seed=5, deterministic=False)
    same = cr.rl.play(agent, "CartPole-v1", seed=5, deterministic=False)
    again = cr.rl.play(one.actions, "CartPole-v1", seed=5)
    for other in (same, again):
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.rewards, other.rewards)
    assert one.terminated and one.total == len(one) == len(one.actions) == len(one.observations) - 1 and not one.frames
    other = cr.rl.play(agent, "CartPole-v1", seed=6, deterministic=False)
    assert (other.observations[0] != one.observations[0]).any()


def test_an_episode_ends_where_it_ends():
    push = lambda x: np.zeros((len(x), 1), "float32")
    assert cr.rl.play(push, "Pendulum-v1", seed=0).truncated
    short = cr.rl.play(push, "Pendulum-v1", seed=0, steps=7)
    assert len(short) == 7 and not short.truncated and not short.terminated


def test_the_gif_holds_a_picture_of_each_state(tmp_path):
    image = pytest.importorskip("PIL.Image")
    episode = cr.rl.play(lambda x: np.ones(len(x), int), "CartPole-v1", seed=0, render=True)
    assert len(episode.frames) == len(episode) + 1
    path = episode.save_gif(tmp_path / "deep" / "a.gif", seconds=0.05)
    with image.open(path) as gif:
        assert (
            gif.n_frames == len(episode.frames)
            and gif.size == (400, 260)
            and gif.info["duration"] == 50
            and gif.info["loop"] == 0
        )
        gif.seek(3)
        assert np.abs(np.asarray(gif.convert("RGB"), int) - episode.frames[3]).mean() < 2


def test_mistakes_are_told(tmp_path):
    lean = lambda x: np.ones(len(x), int)
    with pytest.raises(ArgumentError, match="one copy"):
        cr.rl.play(lean, cr.rl.make("CartPole-v1", batch=2))
    with pytest.raises(ArgumentError, match="number of steps"):
        cr.rl.play(lean, "CartPole-v1", steps=0)
    with pytest.raises(ShapeError, match="no actions"):
        cr.rl.play(np.zeros((3, 2), int), "CartPole-v1")
    episode = cr.rl.play(lean, "CartPole-v1")
    with pytest.raises(ArgumentError, match="render=True"):
        episode.save_gif(tmp_path / "a.gif")

    class Bare(cr.rl.Environment):
        observation_space = action_space = cr.rl.Discrete(2)
        start = lambda self, random: {"s": cr.zeros(self.batch)}
        observe = lambda self, state: state["s"]

    env = Bare()
    env.reset(seed=0)
    with pytest.raises(ArgumentError, match="picture"):
        env.render()
