# SPDX-License-Identifier: Apache-2.0
"""Agents with a table of action values: Q-learning, SARSA and their kin (Sutton and Barto, "Reinforcement learning",
2018). NumPy in float64.

One class for each rule of what follows; n steps and eligibility traces are options of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..random import randint
from ..train import History
from ..typing import ArrayLike
from .environment import Environment
from .registry import make
from .spaces import Discrete
from .toy import Tabular

ROWS = 20
Schedule = Callable[[float], float]


def linear(first: float, last: float, share: float = 1.0) -> Schedule:
    """A schedule from `first` to `last` within a share of the run, then `last`: a function of how much of it is done, 0
    to 1."""
    return lambda done: first + (last - first) * min(1.0, done / share)


def exponential(first: float, last: float) -> Schedule:
    """A schedule from `first` to `last` by equal factors: a function of how much of the run is done, 0 to 1."""
    return lambda done: first * (last / first) ** done


class TabularAgent:
    """Base of the agents with a table q (states, actions), which learn by q(s, a) += α (target - q(s, a)).

    Args:
        learning_rate: α, a number or a schedule: a function of how much of the run is done (`cr.rl.linear`,
            `cr.rl.exponential`).
        epsilon: share of random actions, a number or a schedule.
        gamma: discount.
        trace: λ of eligibility traces, which replace: 0 for none (Watkins's, cut after a random action, for
            Q-learning).
        n_step: rewards that are summed before the table's own value follows; with 1 or `trace` 0.
        initial: value of all entries at first; a high one explores by itself.

    Attributes:
        q: float64 (states, actions), None before `fit`.
    """

    def __init__(self, learning_rate: float | Schedule = 0.1, epsilon: float | Schedule = 0.1, gamma: float = 0.99,
                 trace: float = 0.0, n_step: int = 1, initial: float = 0.0):
        self.learning_rate, self.epsilon = learning_rate, epsilon
        self.gamma, self.trace = _share("gamma", gamma), _share("trace", trace)
        if isinstance(n_step, bool) or not isinstance(n_step, int) or n_step < 1 or (n_step > 1 and trace):
            raise ArgumentError(explain("this is no number of steps to sum",
                                        got=f"n_step={shown(n_step)}, trace={trace}",
                                        expected="a positive integer, 1 beside a trace"))
        self.n_step, self.initial = n_step, float(initial)
        self.q: np.ndarray | None = None

    def following(self, q: np.ndarray, state: int, action: int, epsilon: float) -> float:
        """What the target says of the next state, where `action` is the one that is taken there."""
        raise NotImplementedError

    def act(self, observation: ArrayLike, *, deterministic: bool = True) -> Any:
        """The best action for one state, or for a batch of them; ArgumentError before `fit`."""
        if self.q is None:
            raise ArgumentError(explain("this agent has learnt nothing yet", fix="agent.fit(env)"))
        best = self.q[np.asarray(observation)].argmax(axis=-1)
        if not deterministic:
            random = np.random.default_rng(int(randint(2**62).item()))
            best = np.where(random.random(best.shape) < _now(self.epsilon, 1.0),
                            random.integers(self.q.shape[1], size=best.shape), best)
        return best if best.ndim else int(best)

    def fit(self, env: Environment | str, steps: int = 100_000, *, seed: int = 0) -> History:
        """Learn for `steps` steps in one copy of a tabular environment; returns a History with the mean return of the
        episodes of each part."""
        env = make(env) if isinstance(env, str) else env
        if not isinstance(env, Tabular) or not isinstance(env.action_space, Discrete):
            raise ArgumentError(explain("this agent keeps a table", got=shown(env),
                                        expected="a tabular environment, such as FrozenLake-v1 or a GridWorld",
                                        fix="cr.rl.DQN()"))
        world = _World(env, seed)
        self.q = np.full(env.chances.shape[:2], self.initial)
        history, done = History(), 0
        for row in range(min(ROWS, steps)):
            until = steps * (row + 1) // min(ROWS, steps)
            returns: list[float] = []
            while done < until:
                gained, taken = self._episode(world, done, steps)
                returns.append(gained)
                done += taken
            history.rows.append({"epoch": row + 1, "steps": done, "return": float(np.mean(returns)) if returns
                                 else float("nan")})
        return history

    def _chosen(self, world: _World, state: int, epsilon: float) -> int:
        row = self.q[state]  # type: ignore[index]
        if world.random.random() < epsilon:
            return int(world.random.integers(len(row)))
        best = np.flatnonzero(row == row.max())
        return int(best[0] if len(best) == 1 else world.random.choice(best))

    def _episode(self, world: _World, before: int, steps: int) -> tuple[float, int]:
        q: Any = self.q
        state, gained, taken = world.start(), 0.0, 0
        action = self._chosen(world, state, _now(self.epsilon, before / steps))
        traces, waiting = np.zeros_like(q), []
        while True:
            done = min(1.0, (before + taken) / steps)
            rate, epsilon = _now(self.learning_rate, done), _now(self.epsilon, done)
            new, reward, ended = world.move(state, action)
            gained, taken = gained + reward, taken + 1
            after = self._chosen(world, new, epsilon)
            follows = 0.0 if ended else self.following(q, new, after, epsilon)
            if self.trace:
                self._traced(q, traces, state, action, rate * (reward + self.gamma * follows - q[state, action]))
                if isinstance(self, QLearning) and q[new, after] < q[new].max():
                    traces[:] = 0
            else:
                waiting.append((state, action, reward))
                if len(waiting) == self.n_step:
                    self._learn(world, waiting, follows, rate)
                    waiting.pop(0)
            limit = world.env.max_steps
            if ended or (limit and taken >= limit):
                while waiting:
                    self._learn(world, waiting, follows, rate)
                    waiting.pop(0)
                return gained, taken
            state, action = new, after

    def _learn(self, world: _World, waiting: list[tuple[int, int, float]], follows: float, rate: float) -> None:
        q: Any = self.q
        state, action, _ = waiting[0]
        target = follows
        for _, _, reward in reversed(waiting):
            target = reward + self.gamma * target
        q[state, action] += rate * (target - q[state, action])

    def _traced(self, q: np.ndarray, traces: np.ndarray, state: int, action: int, change: float) -> None:
        traces *= self.gamma * self.trace
        traces[state, action] = 1.0
        q += change * traces

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(learning_rate={shown(self.learning_rate)}, epsilon={shown(self.epsilon)}, "
                f"gamma={self.gamma:g})")


class QLearning(TabularAgent):
    """Q-learning: the target is r + γ max_a q(s', a), whatever is done there (Watkins, 1989).

    >>> import chainrule as cr
    >>> agent = cr.rl.QLearning(gamma=0.9, initial=1.0)
    >>> history = agent.fit(cr.rl.GridWorld("S..G"), steps=2000, seed=0)
    >>> agent.act(0)
    2
    """

    def following(self, q: np.ndarray, state: int, action: int, epsilon: float) -> float:
        """max_a q(s', a)."""
        return float(q[state].max())


class SARSA(TabularAgent):
    """SARSA: the target is r + γ q(s', a') for the action that is taken there (Rummery and Niranjan, 1994)."""

    def following(self, q: np.ndarray, state: int, action: int, epsilon: float) -> float:
        """q(s', a')."""
        return float(q[state, action])


class ExpectedSARSA(TabularAgent):
    """Expected SARSA: the target is r + γ Σ_a π(a|s') q(s', a) of the ε-greedy policy (van Seijen et al., 2009)."""

    def following(self, q: np.ndarray, state: int, action: int, epsilon: float) -> float:
        """The mean over the policy."""
        return float((1 - epsilon) * q[state].max() + epsilon * q[state].mean())


class DoubleQLearning(TabularAgent):
    """Double Q-learning: two tables, of which one chooses the action and the other values it (van Hasselt, 2010); `q`
    is their mean."""

    def __init__(self, learning_rate: float | Schedule = 0.1, epsilon: float | Schedule = 0.1, gamma: float = 0.99,
                 initial: float = 0.0):
        super().__init__(learning_rate, epsilon, gamma, initial=initial)

    def following(self, q: np.ndarray, state: int, action: int, epsilon: float) -> float:
        """Not asked for one table alone: `_learn` chooses the table; this marks that the episode goes on."""
        self._next = state
        return 1.0

    def fit(self, env: Environment | str, steps: int = 100_000, *, seed: int = 0) -> History:
        """As for the others, with two tables."""
        self.tables: list[np.ndarray] = []
        return super().fit(env, steps, seed=seed)

    def _learn(self, world: _World, waiting: list[tuple[int, int, float]], follows: float, rate: float) -> None:
        q: Any = self.q
        if not self.tables:
            self.tables = [q.copy(), q.copy()]
        one, other = self.tables if world.random.random() < 0.5 else self.tables[::-1]
        state, action, reward = waiting[0]
        value = other[self._next, one[self._next].argmax()] if follows else 0.0
        one[state, action] += rate * (reward + self.gamma * value - one[state, action])
        q[state, action] = (one[state, action] + other[state, action]) / 2


class _World:
    """One copy of a tabular environment, step by step in Python."""

    def __init__(self, env: Tabular, seed: int):
        self.env, self.random = env, np.random.default_rng(seed)
        self._starts, self._sums = np.cumsum(env.starts), np.cumsum(env.chances, axis=2)

    def start(self) -> int:
        return min(int(np.searchsorted(self._starts, self.random.random(), side="right")), len(self._starts) - 1)

    def move(self, state: int, action: int) -> tuple[int, float, bool]:
        sums = self._sums[state, action]
        i = min(int(np.searchsorted(sums, self.random.random(), side="right")), len(sums) - 1)
        env = self.env
        return int(env.next[state, action, i]), float(env.rewards[state, action, i]), bool(env.ends[state, action, i])


def _now(value: float | Schedule, done: float) -> float:
    return float(value(done)) if callable(value) else float(value)


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ArgumentError(explain(f"{name} is out of range", got=shown(value), expected="a number in [0, 1]"))
    return float(value)
