# SPDX-License-Identifier: Apache-2.0
"""`Environment`: many copies of one environment, whose state lies in Variables, so that a step can be part of a
compiled program.

A subclass writes three pure functions of arrays (`start`, `move`, `observe`); episodes, their limits of time and the
numbers about them are here.
"""

from __future__ import annotations

import copy as copying
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import arrays as cr
from ..compiler.compile import compile
from ..errors import ArgumentError, DTypeError, ShapeError, explain, shown
from ..ir import Tensor, Variable, current_trace, no_grad
from ..ops.index import scatter
from ..random import Generator
from ..typing import ArrayLike
from .spaces import Box, Discrete, Space

State = Mapping[str, Tensor]
REMEMBERED = 100  # last episodes, whose returns are kept


class Transition(NamedTuple):
    """One step of all copies, each array with the batch in front.

    `observation` is where the next step begins: of a new episode where one has ended. `final` is where this step led,
    which is what a truncated episode bootstraps from.

    >>> cr.rl.Transition._fields
    ('observation', 'reward', 'terminated', 'truncated', 'final')
    """

    observation: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    final: Tensor


class Environment:
    """`batch` copies of an environment; see `cr.rl.make`.

    A subclass gives `observation_space`, `action_space`, perhaps `max_steps` (of an episode, None for no limit), and
    the functions `start(random)`, `move(state, action, random)` and `observe(state)` of a state: name → array with the
    batch in front.

    Attributes:
        state: name → Variable.
        elapsed: steps of each copy's episode so far, int64 (batch,).
        generator: what starts and moves are drawn from.

    >>> isinstance(cr.rl.make("CartPole-v1"), cr.rl.Environment)
    True
    """

    id = ""
    max_steps: int | None = None
    reward_threshold: float | None = None
    observation_space: Space
    action_space: Space
    traceable = True

    def __init__(self, batch: int = 1):
        if isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 1:
            raise ArgumentError(explain("this is no number of copies", got=shown(batch), expected="a positive integer",
                                        fix="batch=64"))
        self.batch = int(batch)
        self.generator = Generator(0, name="environment")
        self.state: dict[str, Variable] = {}
        self.elapsed = _kept("elapsed", np.zeros(self.batch, np.int64))
        self.over = _kept("over", np.zeros(self.batch, bool))
        self.returns = _kept("returns", np.zeros(self.batch))
        self.recent = _kept("recent", np.zeros((2, max(REMEMBERED, self.batch))))
        self.episodes = _kept("episodes", np.int64(0))

    @compile
    def _step(self, action: ArrayLike) -> Any:
        return self._next_step(action)

    @compile
    def _fresh(self) -> Any:
        return self._begin()

    # ---- what subclasses give

    def start(self, random: Generator) -> State:
        """The states in which episodes begin."""
        raise NotImplementedError

    def move(self, state: State, action: Tensor, random: Generator) -> tuple[State, Tensor, Tensor]:
        """(next state, reward, whether the episode has come to its end)."""
        raise NotImplementedError

    def observe(self, state: State) -> Tensor:
        """What an agent sees of a state."""
        raise NotImplementedError

    def picture(self, state: Mapping[str, Any]) -> np.ndarray:
        """What the state of one copy (name → NumPy value) looks like, uint8 (height, width, 3)."""
        raise ArgumentError(explain("nobody has said what this environment looks like", got=repr(self),
                                    fix="give its class a function picture(state)"))

    # ---- for users

    def render(self, copy: int = 0) -> np.ndarray:
        """A picture of the present state of one copy, uint8 (height, width, 3).

        Raises ArgumentError before `reset`, for a copy that does not exist, and for a class without `picture`.
        """
        if not self.state:
            raise ArgumentError(explain("no episode has begun", got="render()", expected="reset first",
                                        fix="env.reset(seed=0)"))
        if isinstance(copy, bool) or not isinstance(copy, int | np.integer) or not 0 <= copy < self.batch:
            raise ArgumentError(explain("there is no such copy of the environment", got=shown(copy),
                                        expected=f"0 to {self.batch - 1}", fix="env.render(0)"))
        return self.picture({name: v.numpy()[copy] for name, v in self.state.items()})

    def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes in all copies; (observation (batch, …), {}).

        Args:
            seed: of all that is drawn from now on; None goes on drawing.
        """
        if seed is not None:
            self.generator.seed(seed)
        self._make()
        observation = self._begin() if current_trace() else self._fresh().numpy()
        return observation, {}

    def step(self, action: ArrayLike) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of all copies: (observation, reward, terminated, truncated, {}), each with the batch in front.

        A copy whose episode has ended begins a new one in the next step, whose action it does not see and whose reward
        is 0 (Gymnasium's next-step autoreset); so the observation that comes with `terminated` or `truncated` is the
        episode's last one.
        """
        if current_trace():
            return (*self._next_step(action), {})
        given = self.checked(action)
        if not self.state:
            raise ArgumentError(explain("no episode has begun", got="step(action)", expected="reset first",
                                        fix="env.reset(seed=0)"))
        return (*(x.numpy() for x in self._step(given)), {})

    def checked(self, action: ArrayLike) -> np.ndarray:
        """Actions as an array of their dtype; ShapeError, DTypeError or ArgumentError for what are none."""
        given = np.asarray(action)
        wanted = (self.batch, *self.action_space.shape)
        if given.shape != wanted:
            raise ShapeError(explain("there is not one action for each copy of the environment",
                                     got=f"shape {given.shape}", expected=f"shape {wanted}"))
        if isinstance(self.action_space, Box):
            if given.dtype.kind not in "iuf":
                raise DTypeError(explain("the actions are no numbers", got=str(given.dtype), expected="float32"))
            return given.astype(np.float32)
        if given.dtype.kind not in "iu":
            raise DTypeError(explain("the actions are no integers", got=str(given.dtype), expected="int64",
                                     fix="actions.astype(int)"))
        most = self.action_space.n if isinstance(self.action_space, Discrete) else np.array(self.action_space.counts)
        if ((given < 0) | (given >= most)).any():
            raise ArgumentError(explain("there is no such action", got=shown(given),
                                        expected=f"0 to {np.max(most) - 1}"))
        return given.astype(np.int64)

    def copies(self, batch: int) -> Environment:
        """The same environment in another number of copies, with a state of its own.

        >>> cr.rl.GridWorld("S..G").copies(3)
        GridWorld('GridWorld', batch=3)
        """
        other = copying.copy(self)
        Environment.__init__(other, batch)
        return other

    def variables(self) -> dict[str, Variable]:
        """Name → Variable of all that a step reads and changes."""
        self._make()
        own = {"elapsed": self.elapsed, "over": self.over, "returns": self.returns, "recent": self.recent,
               "episodes": self.episodes}
        return {"generator": self.generator.state, **own, **{f"state.{name}": v for name, v in self.state.items()}}

    # ---- for programs

    def now(self) -> Tensor:
        """The observation of the present state."""
        return self.observe({name: v.value for name, v in self.state.items()})

    def advance(self, action: ArrayLike) -> Transition:
        """One step of all copies, after which those whose episode has ended are in a new one (same-step autoreset).
        Traceable."""
        with no_grad():
            before = {name: v.value for name, v in self.state.items()}
            state, reward, terminated = self.move(before, action, self.generator)
            elapsed = self.elapsed.value + 1
            truncated = (elapsed >= self.max_steps) if self.max_steps else cr.zeros(self.batch, dtype="bool")
            done = terminated | truncated
            self._note(reward, elapsed, done)
            new = _chosen(done, self.start(self.generator), state)
            for name, v in self.state.items():
                v.assign(new[name])
            self.elapsed.assign(cr.where(done, 0, elapsed))
            return Transition(self.observe(new), reward, terminated, truncated, self.observe(state))

    def mean_return(self) -> Tensor:
        """The mean return of the last episodes, 100 at most; 0 before the first has ended."""
        count = cr.minimum(self.episodes.value, self.recent.shape[1])
        return cr.sum(self.recent.value[0]) / cr.astype(cr.maximum(count, 1), "float64")

    def _note(self, reward: Tensor, elapsed: Tensor, done: Tensor) -> None:
        """Add to the returns; those of ended episodes take the next places of the ring."""
        returns = self.returns.value + reward
        ended = cr.astype(done, "int64")
        size = self.recent.shape[1]
        place = cr.where(done, (self.episodes.value + cr.cumulative_sum(ended) - 1) % size, size)
        new = cr.stack([returns, cr.astype(elapsed, "float64")])
        self.recent.assign(_placed(self.recent.value, place, new))
        self.episodes.assign(self.episodes.value + cr.sum(ended))
        self.returns.assign(cr.where(done, 0.0, returns))

    def _make(self) -> None:
        if not self.state:
            with no_grad():
                self.state = {name: _kept(name, np.zeros(x.shape, x.dtype))
                              for name, x in self.start(Generator(0)).items()}

    def _begin(self) -> Tensor:
        for name, value in self.start(self.generator).items():
            self.state[name].assign(value)
        for v in (self.elapsed, self.over, self.returns, self.recent, self.episodes):
            v.assign(cr.zeros(v.shape, dtype=v.dtype))
        return self.now()

    def _next_step(self, action: ArrayLike) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with no_grad():
            before = {name: v.value for name, v in self.state.items()}
            state, reward, terminated = self.move(before, cr.asarray(action), self.generator)
            over, elapsed = self.over.value, self.elapsed.value + 1
            state = _chosen(over, self.start(self.generator), state)
            truncated = ((elapsed >= self.max_steps) if self.max_steps else cr.zeros(self.batch, dtype="bool")) & ~over
            terminated = terminated & ~over
            for name, v in self.state.items():
                v.assign(state[name])
            self.elapsed.assign(cr.where(over, 0, elapsed))
            self.over.assign(terminated | truncated)
            return self.observe(state), cr.where(over, 0.0, reward), terminated, truncated

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, batch={self.batch})"


def _kept(name: str, value: Any) -> Variable:
    return Variable(value, name=name, trainable=False)


def _placed(ring: Tensor, place: Tensor, columns: Tensor) -> Tensor:
    return cr.matrix_transpose(scatter(cr.matrix_transpose(ring), place, cr.matrix_transpose(columns), mode="set",
                                       drop=True))


def _chosen(first: Tensor, a: State, b: State) -> dict[str, Tensor]:
    """Of each copy the state of a where `first`, else that of b."""
    return {name: cr.where(cr.reshape(first, (-1, *(1,) * (a[name].ndim - 1))), a[name], b[name]) for name in a}
