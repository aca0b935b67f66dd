# SPDX-License-Identifier: Apache-2.0
"""`Agent`: what all agents with networks share. One step of learning (acting, storing, updating) is one compiled
program, run by the Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import nn, random
from ..compiler.compile import Compiled, compile
from ..errors import ArgumentError, ShapeError, explain, shown
from ..ir import Tensor, no_grad
from ..train import Callback, History
from ..train.callbacks import KeepBest
from ..train.programs import remembered
from ..train.trainer import Trainer
from ..typing import ArrayLike
from .environment import Environment
from .evaluate import played
from .networks import vector
from .registry import make
from .spaces import Box, Space, space_of

ROWS = 20  # of the history, at most
FAR = 1_000_003  # from the seed of a run to that of its validation


class Agent(nn.Module):
    """Base of the agents: a subclass has `networks`, which makes its modules for the spaces, `action`, and `learner`,
    its step.

    An agent is a module: `cr.save` and `cr.load` keep it with its weights, and the spaces for which it was made.
    """

    spaces: dict[str, Any] | None
    observation_space: Space
    action_space: Space

    def _made(self, spaces: dict[str, Any] | None) -> None:
        """End of a constructor: networks, if the spaces are known already."""
        self.spaces = spaces
        if spaces is not None:
            self.observation_space, self.action_space = space_of(spaces["observation"]), space_of(spaces["action"])
            self.networks()

    # ---- what subclasses give

    def networks(self) -> None:
        """Make the modules for `observation_space` and `action_space`."""
        raise NotImplementedError

    def touch(self, x: Tensor) -> None:
        """Call all modules once, so that their weights are made."""
        raise NotImplementedError

    def action(self, x: Tensor, deterministic: bool) -> Tensor:
        """Actions for observations x (N, features) as the networks take them."""
        raise NotImplementedError

    def learner(self, env: Environment, steps: int) -> Learner:
        """What learns on this environment in this many steps."""
        raise NotImplementedError

    # ---- for users

    def forward(self, observation: Any) -> Tensor:
        """The best actions for a batch of observations."""
        return self.action(self.seen(observation), True)

    def build(self, observation: Any) -> None:
        """Make all weights."""
        with no_grad():
            self.touch(self.seen(cr.zeros((1, *observation.shape[1:]), dtype=observation.dtype)))

    def seen(self, observation: ArrayLike) -> Tensor:
        """Observations as the networks take them."""
        return vector(observation, self.observation_space)

    def act(self, observation: ArrayLike, *, deterministic: bool = True) -> np.ndarray:
        """The action for one observation, or the actions for a batch of them.

        Args:
            deterministic: the best action; False draws from the policy, by `cr.random`'s generator.

        Raises ArgumentError before `fit`, ShapeError for an observation of another shape.
        """
        if self.spaces is None or not self.built:
            raise ArgumentError(explain("this agent has learnt nothing yet, so it does not know what it acts in",
                                        fix="agent.fit(env)"))
        given = np.asarray(observation)
        single, own = given.shape == self.observation_space.shape, self.observation_space.shape
        if not single and given.shape[1:] != own:
            raise ShapeError(explain("this is no observation of the environment that the agent knows",
                                     got=f"shape {given.shape}",
                                     expected=f"{own} or (batch, {', '.join(map(str, own))})"))
        batch = (given[None] if single else given).astype(np.float32 if isinstance(self.observation_space, Box)
                                                          else np.int64)
        program: Compiled = remembered("act", self, (deterministic,), None, lambda model: _actor(model, deterministic))
        actions = program(batch).numpy()
        return actions[0] if single else actions

    def fit(self, env: Environment | str, steps: int = 100_000, *, seed: int = 0, checkpoint: str | Path | None = None,
            resume: str | Path | None = None, callbacks: Sequence[Callback] = (), progress: bool | str = True,
            max_time: float | None = None, backend: str | None = None, validation_episodes: int = 0) -> History:
        """Learn for `steps` steps of the environment, over all its copies; returns the History.

        Args:
            env: of `cr.rl.make`, or an id of it.
            steps: rounded down to whole updates, one at least.
            seed: of the environment, the weights and all that is drawn: the same seed gives the same bits.
            checkpoint, resume, callbacks, progress, max_time: as of `cr.train.Trainer.run`.
            validation_episodes: played with the best actions after each part of the run (a row of the history,
                `validation_return`), in copies of the environment and from starts of their own. The agent then ends
                with the weights of its best part, as `cr.fit` keeps those of the best epoch. Their steps are not
                counted.

        A row of the history has the mean `return` of the last 100 episodes (0 until the first has ended), the `steps`
        until then and the agent's own numbers.
        """
        env = make(env) if isinstance(env, str) else env
        if not isinstance(env, Environment):
            what = ("this is no environment" if getattr(env, "traceable", True)
                    else "agents learn in environments that are part of their program, which this one is not")
            raise ArgumentError(explain(what, got=shown(env),
                                        expected="one of cr.rl.make, or its id, or a subclass of cr.rl.Environment",
                                        fix='cr.rl.make("CartPole-v1", batch=16)'))
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise ArgumentError(explain("this is no number of steps", got=shown(steps), expected="a positive integer",
                                        fix="steps=100_000"))
        self._know(env, seed)
        learner = self.learner(env, int(steps))
        env.reset(seed)
        learner.begin()
        updates = max(1, int(steps) // learner.steps)
        per_row = max(1, updates // ROWS)
        trainer = Trainer(learner.step, {"agent": self, "environment": env, **learner.objects}, backend=backend)
        if validation_episodes:
            callbacks = [_Validation(self, env.copies(int(validation_episodes)), seed), *callbacks,
                         KeepBest("validation_return", larger_is_better=True)]
        history = trainer.run(None, epochs=max(1, updates // per_row), steps_per_epoch=per_row, seed=seed,
                              checkpoint=checkpoint, resume=resume, callbacks=callbacks, progress=progress,
                              max_time=max_time)
        for row in history.rows:
            row["steps"] = row["epoch"] * per_row * learner.steps
        return history

    def _know(self, env: Environment, seed: int) -> None:
        spaces = spaces_of(env)
        if self.spaces is not None and self.spaces != spaces:
            raise ArgumentError(explain("this agent was made for another environment", got=repr(env),
                                        expected=shown(self.spaces), fix="a new agent"))
        if self.spaces is None:
            self._made(spaces)
            self._record.arguments["spaces"] = spaces
        random.seed(seed)
        observation, _ = env.reset(seed)
        with no_grad():
            self(observation)


class _Validation(Callback):
    """Plays after each part of a run; draws nothing, so the run's random numbers stay as they are."""

    def __init__(self, agent: Agent, env: Environment, seed: int):
        self.agent, self.env, self.seed = agent, env, seed + FAR

    def after_epoch(self, run: Any, row: dict[str, Any]) -> None:
        returns, _ = played(self.agent.act, self.env, self.env.batch, self.seed)
        row["validation_return"] = float(returns.mean())


def spaces_of(env: Any) -> dict[str, Any]:
    """What an agent keeps of an environment, as data for JSON."""
    return {"observation": env.observation_space.to_config(), "action": env.action_space.to_config()}


class Learner:
    """What an agent learns with on one environment.

    Attributes:
        steps: of the environment, over all copies, in one step of learning.
        objects: name → what a step changes, besides agent and environment.
    """

    steps: int
    objects: dict[str, Any]

    def begin(self) -> None:
        """What comes before the first step, such as filling a buffer."""

    def step(self) -> dict[str, Tensor]:
        """One step of learning, traced once."""
        raise NotImplementedError


def _actor(model: Any, deterministic: bool) -> Compiled:
    def actor(observation: Any) -> Tensor:
        with no_grad():
            return model.action(model.seen(observation), deterministic)
    return compile(actor)


def follow(target: nn.Module, source: nn.Module, share: Any) -> None:
    """target ← (1 - share) target + share source, weight by weight (Polyak averaging; a share of 1 copies)."""
    for name, variable in target.parameters().items():
        variable.assign(cr.where(cr.asarray(share) >= 1, source.parameters()[name].value,
                                 variable.value + share * (source.parameters()[name].value - variable.value)))


