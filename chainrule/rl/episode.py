# SPDX-License-Identifier: Apache-2.0
"""`play`: one episode with all that happened in it, to be looked at, played again and written as an animated GIF."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import random
from ..errors import ArgumentError, MissingExtra, ShapeError, explain, shown
from ..foundations.files import write_atomically
from ..typing import PolicyLike
from .environment import Environment
from .registry import make

LONGEST = 10_000  # steps, where nobody says less


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode.

    Attributes:
        observations: what the agent saw, and where the last step led, (steps + 1, …).
        actions: (steps, …).
        rewards: (steps,).
        frames: pictures of all states, uint8 (steps + 1, height, width, 3); empty where none were asked for.
        terminated, truncated: how it ended; neither where `steps` of `play` ended it.
        seed: of its start.

    >>> episode = cr.rl.play(lambda x: np.ones(len(x), int), "CartPole-v1", seed=0)
    >>> episode.total == len(episode.actions), episode.terminated
    (True, True)
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    seed: int
    frames: list[np.ndarray] = field(default_factory=list, repr=False)

    @property
    def total(self) -> float:
        """The return, Σ r."""
        return float(self.rewards.sum())

    def __len__(self) -> int:
        return len(self.actions)

    def __repr__(self) -> str:
        end = "terminated" if self.terminated else "truncated" if self.truncated else "not at its end"
        return f"Episode({len(self)} steps, return {self.total:.4g}, {end})"

    def save_gif(self, path: str | Path, *, seconds: float = 0.03) -> Path:
        """Write the pictures as an animated GIF that repeats; returns the path.

        Args:
            seconds: of each picture, at least 0.02 (shorter ones are not shown so by viewers).

        Raises ArgumentError without pictures, MissingExtra without Pillow (extra `data`).
        """
        if not self.frames:
            raise ArgumentError(explain("this episode has no pictures", got=repr(self),
                                        expected="an episode of play(..., render=True)",
                                        fix="cr.rl.play(agent, env, render=True)"))
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.02 <= seconds < 600:
            raise ArgumentError(explain("a picture cannot be shown for this long", got=shown(seconds),
                                        expected="seconds, at least 0.02"))
        pictures = _pillow(self.frames)
        content = io.BytesIO()
        pictures[0].save(content, format="GIF", save_all=True, append_images=pictures[1:],
                         duration=round(1000 * seconds), loop=0)
        write_atomically(Path(path), content.getvalue())
        return Path(path)


def _pillow(frames: list[np.ndarray]) -> list[Any]:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("an animated GIF", "Pillow", "data") from None
    return [Image.fromarray(frame) for frame in frames]


def play(agent: PolicyLike, env: Environment | str, *, seed: int = 0, steps: int | None = None,
         deterministic: bool = True, render: bool = False) -> Episode:
    """Play one episode and keep it.

    Args:
        agent: anything with act(observations, deterministic=...), a function of a batch of observations, or the actions
            of an episode, (steps, …), to play it again.
        env: of `cr.rl.make` or `cr.rl.Gym` with one copy, or an id of the former.
        seed: of the start and of all that is drawn: the same seed gives the same episode.
        steps: to stop after; None for an episode up to its end (10,000 steps at most).
        deterministic: the agent's best actions, or draws from its policy.
        render: draw each state.

    Raises ArgumentError for several copies, ShapeError for actions of another shape.

    >>> first = cr.rl.play(lambda x: np.zeros(len(x), int), "CartPole-v1", seed=3)
    >>> again = cr.rl.play(first.actions, "CartPole-v1", seed=3)
    >>> np.array_equal(first.observations, again.observations)
    True
    """
    env = make(env) if isinstance(env, str) else env
    if env.batch != 1:
        raise ArgumentError(explain("an episode is played in one copy of the environment", got=repr(env),
                                    expected="batch=1", fix="cr.rl.make(id)"))
    most = LONGEST if steps is None else steps
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1:
        raise ArgumentError(explain("this is no number of steps", got=shown(steps), expected="a positive integer"))
    act, most = _actor(agent, env, deterministic, int(most))
    random.seed(seed)
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards, frames = [observation[0]], [], [], [env.render()] if render else []
    terminated = truncated = np.zeros(1, bool)
    for step in range(most):
        action = np.asarray(act(observation, step))
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation[0]), actions.append(action[0]), rewards.append(reward[0])
        frames += [env.render()] if render else []
        if terminated[0] or truncated[0]:
            break
    return Episode(np.array(observations), np.array(actions), np.array(rewards), bool(terminated[0]),
                   bool(truncated[0]), seed, frames)


def _actor(agent: Any, env: Environment, deterministic: bool,
           most: int) -> tuple[Callable[[np.ndarray, int], Any], int]:
    """A function of the observations and the number of the step, and how many steps it has actions for."""
    if hasattr(agent, "act"):
        return lambda x, _: agent.act(x, deterministic=deterministic), most
    if callable(agent):
        return lambda x, _: agent(x), most
    actions = np.asarray(agent)
    if actions.ndim == 0 or actions.shape[1:] != env.action_space.shape or not len(actions):
        raise ShapeError(explain("these are no actions of an episode", got=shown(agent),
                                 expected=f"shape (steps, {', '.join(map(str, env.action_space.shape))})"))
    return lambda _, step: actions[step][None], min(most, len(actions))
