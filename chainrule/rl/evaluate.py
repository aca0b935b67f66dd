# SPDX-License-Identifier: Apache-2.0
"""`evaluate_policy`: the mean return of an agent with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import random
from ..errors import ArgumentError, explain, shown
from ..metrics.intervals import check_level
from ..statistics import t_interval
from ..typing import PolicyLike
from .environment import Environment
from .registry import make

LONGEST = 1_000_000  # steps of all copies


@dataclass(frozen=True, eq=False)
class Returns:
    """What episodes brought.

    Attributes:
        values: the return of each episode, (episodes,); give two of these to `cr.compare`, one for each agent or seed.
        lengths: their steps.
        mean, low, high: the mean and its confidence interval by Student's t.
    """

    values: np.ndarray
    lengths: np.ndarray
    mean: float
    low: float
    high: float

    def __repr__(self) -> str:
        return f"Returns({self.mean:.4g} [{self.low:.4g}, {self.high:.4g}], {len(self.values)} episodes)"


def evaluate_policy(agent: PolicyLike, env: Environment | str, episodes: int = 100, *, seed: int = 0,
                    deterministic: bool = True, level: float = 0.95) -> Returns:
    """The mean return of `episodes` episodes, with its confidence interval.

    Each copy of the environment plays its share of the episodes from fresh starts, so short ones are not preferred.

    Args:
        agent: anything with act(observations, deterministic=...), or a function of a batch of observations.
        env: of `cr.rl.make` or `cr.rl.Gym`, or an id of the former (then as many copies as episodes, 64 at most).
        seed: of the starts and of what the agent draws.
        deterministic: the agent's best actions, or draws from its policy.

    Raises ArgumentError if the episodes do not come to an end.
    """
    if isinstance(episodes, bool) or not isinstance(episodes, int | np.integer) or episodes < 1:
        raise ArgumentError(explain("this is no number of episodes", got=shown(episodes),
                                    expected="a positive integer"))
    check_level(level)
    env = make(env, batch=min(int(episodes), 64)) if isinstance(env, str) else env
    act = (lambda x: agent.act(x, deterministic=deterministic)) if hasattr(agent, "act") else agent
    random.seed(seed)
    values, lengths = played(act, env, int(episodes), seed)
    mean = float(values.mean())
    low, high = (mean, mean) if len(values) < 2 or not values.std() else t_interval(values, level)
    return Returns(values, lengths, mean, float(low), float(high))


def played(act: Any, env: Any, episodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(returns, lengths) of episodes played with act(observations)."""
    share = np.diff(np.linspace(0, episodes, env.batch + 1).astype(int))  # of each copy
    returns, lengths = np.zeros(env.batch), np.zeros(env.batch, int)
    fresh = np.zeros(env.batch, bool)
    ended: list[tuple[float, int]] = []
    observation, _ = env.reset(seed=seed)
    for _ in range(LONGEST):
        observation, reward, terminated, truncated, _ = env.step(act(observation))
        returns += reward
        lengths += ~fresh  # the step that begins a new episode is none of it
        fresh = terminated | truncated
        for i in np.flatnonzero(fresh & (share > 0)):
            ended.append((returns[i], lengths[i]))
            share[i] -= 1
        returns[fresh], lengths[fresh] = 0.0, 0
        if not share.any():
            played, steps = zip(*ended, strict=True)
            return np.array(played), np.array(steps)
    raise ArgumentError(explain("the episodes do not end", got=f"{len(ended)} of {episodes} after {LONGEST:,} steps",
                                fix="an environment with max_steps"))
