# SPDX-License-Identifier: Apache-2.0
"""`SAC`: soft actor-critic (Haarnoja et al., 2018), with a learnt temperature; and `TD3` (Fujimoto et al., 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import optim, random
from ..compiler.compile import compile
from ..compiler.transform import gradients
from ..errors import ArgumentError, explain, shown
from ..ir import Tensor, Variable, no_grad
from ..optim.base import seen_gradients
from ..train.step import summed
from .agent import Agent, Learner, follow
from .environment import Environment
from .loop import flat, repeat
from .networks import Gaussian, features, perceptron
from .replay import Replay
from .spaces import Box


class _Continuous(Agent):
    """Base of the agents with two critics q(s, a) and actions in a box, which networks see as numbers from -1 to 1."""

    hidden: tuple[int, ...]
    outputs = 1  # of the actor, for each number of an action

    def _size(self) -> int:
        space = self.action_space
        if not isinstance(space, Box) or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise ArgumentError(explain(f"{type(self).__name__} acts by numbers within bounds", got=shown(space),
                                        expected="a Box with finite bounds", fix="cr.rl.PPO()"))
        return int(np.prod(space.shape))

    def networks(self) -> None:
        """Actor, critics and their targets."""
        inputs, size = features(self.observation_space), self._size()
        self.actor = perceptron(inputs, self.hidden, self.outputs * size)
        self.critics, self.targets = ([perceptron(inputs + size, self.hidden, 1) for _ in range(2)] for _ in range(2))

    def touch(self, x: Tensor) -> None:
        """Call all networks; the targets begin as the critics."""
        self.actor(x)
        pair = cr.concat([x, cr.zeros((x.shape[0], self._size()))], axis=1)
        for critic, target in zip(self.critics, self.targets, strict=True):
            critic(pair), target(pair)
            follow(target, critic, 1.0)

    def scores(self, x: Tensor, action: Tensor, critics: Any = None) -> tuple[Tensor, Tensor]:
        """q(x, action) by both critics, each (N,)."""
        pair = cr.concat([x, action], axis=1)
        first, second = (critic(pair)[:, 0] for critic in critics or self.critics)
        return first, second

    def played(self, action: Tensor) -> Tensor:
        """Numbers from -1 to 1 as actions of the environment."""
        space: Any = self.action_space
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        return cr.reshape((low + high) / 2 + action * ((high - low) / 2), (-1, *space.shape))


class SAC(_Continuous):
    """Soft actor-critic: maximises the return and α times the entropy of a squashed normal policy.

    Args:
        hidden: of actor and critics.
        learning_rate: of Adam, for all networks and the temperature.
        buffer, batch_size: transitions that are kept, and those of one update.
        learning_starts: steps with random actions before the first update.
        train_every, updates: steps of each copy between updates, and how many updates follow.
        gamma, tau: discount, and the share by which targets follow in each update.
        alpha: the temperature; None learns it, so that the entropy comes to `target_entropy`.
        target_entropy: None is -(numbers of an action).
        spaces: filled in by `fit`.
    """

    outputs = 2

    def __init__(self, hidden: Sequence[int] = (256, 256), learning_rate: float = 1e-3, buffer: int = 100_000,
                 batch_size: int = 256, learning_starts: int = 500, train_every: int = 1, updates: int = 1,
                 gamma: float = 0.99, tau: float = 0.005, alpha: float | None = None,
                 target_entropy: float | None = None, spaces: dict[str, Any] | None = None):
        self.hidden, self.learning_rate = tuple(hidden), float(learning_rate)
        self.buffer, self.batch_size = int(buffer), int(batch_size)
        self.learning_starts, self.train_every, self.updates = int(learning_starts), int(train_every), int(updates)
        self.gamma, self.tau, self.alpha, self.target_entropy = float(gamma), float(tau), alpha, target_entropy
        self.log_alpha = Variable(np.float32(0 if alpha is None else math.log(alpha)), name="log_alpha")
        self._made(spaces)

    def policy(self, x: Tensor) -> Gaussian:
        """The normal distribution before it is squashed."""
        out, size = self.actor(x), self._size()
        return Gaussian(out[:, :size], cr.clip(out[:, size:], -20.0, 2.0))

    def sample(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(actions from -1 to 1, their log probabilities): tanh of normal draws u, log p(u) - Σ log (1 - tanh² u)."""
        policy = self.policy(x)
        u = policy.sample()
        squashed = 2 * (math.log(2) - u - cr.softplus(-2 * u))  # log (1 - tanh² u), stable
        return cr.tanh(u), policy.log_prob(u) - cr.sum(squashed, axis=1)

    def action(self, x: Tensor, deterministic: bool) -> Tensor:
        """The squashed mean, or draws."""
        return self.played(cr.tanh(self.policy(x).mode()) if deterministic else self.sample(x)[0])

    def explored(self, x: Tensor) -> Tensor:
        """What is tried while learning."""
        return self.sample(x)[0]

    def learner(self, env: Environment, steps: int) -> Learner:
        """What learns from a buffer."""
        return _Soft(self, env, steps)


class TD3(_Continuous):
    """Twin delayed deterministic policy gradients: two critics, noise on the target's actions, a policy that is updated
    more rarely.

    Args:
        hidden, learning_rate, buffer, batch_size, learning_starts, train_every, updates, gamma, tau: as of SAC.
        noise: standard deviation of what is added to actions while learning, in units of half their range.
        target_noise, noise_clip: of the noise on the target's actions, and its limit.
        policy_every: updates of the critics between those of the policy.
        spaces: filled in by `fit`.
    """

    def __init__(self, hidden: Sequence[int] = (256, 256), learning_rate: float = 1e-3, buffer: int = 100_000,
                 batch_size: int = 256, learning_starts: int = 500, train_every: int = 1, updates: int = 1,
                 gamma: float = 0.99, tau: float = 0.005, noise: float = 0.1, target_noise: float = 0.2,
                 noise_clip: float = 0.5, policy_every: int = 2, spaces: dict[str, Any] | None = None):
        self.hidden, self.learning_rate = tuple(hidden), float(learning_rate)
        self.buffer, self.batch_size = int(buffer), int(batch_size)
        self.learning_starts, self.train_every, self.updates = int(learning_starts), int(train_every), int(updates)
        self.gamma, self.tau = float(gamma), float(tau)
        self.noise, self.target_noise = float(noise), float(target_noise)
        self.noise_clip, self.policy_every = float(noise_clip), int(policy_every)
        self._made(spaces)

    def networks(self) -> None:
        """Those of the base, and a target of the actor."""
        super().networks()
        self.actor_target = perceptron(features(self.observation_space), self.hidden, self._size())

    def touch(self, x: Tensor) -> None:
        """Call all networks."""
        super().touch(x)
        self.actor_target(x)
        follow(self.actor_target, self.actor, 1.0)

    def action(self, x: Tensor, deterministic: bool) -> Tensor:
        """The policy's actions, or those with noise."""
        return self.played(cr.tanh(self.actor(x)) if deterministic else self.explored(x))

    def explored(self, x: Tensor) -> Tensor:
        """What is tried while learning."""
        best = cr.tanh(self.actor(x))
        return cr.clip(best + self.noise * random.normal(best.shape), -1.0, 1.0)

    def learner(self, env: Environment, steps: int) -> Learner:
        """What learns from a buffer."""
        return _Delayed(self, env, steps)


class _Buffered(Learner):
    """Steps into a buffer, updates from it."""

    def __init__(self, agent: Any, env: Environment, steps: int):
        self.agent, self.env, self.steps = agent, env, agent.train_every * env.batch
        self.size = int(np.prod(env.action_space.shape))
        seen = (env.observation_space.shape, "int64" if not env.observation_space.shape else "float32")
        self.replay = Replay(min(agent.buffer, steps + agent.learning_starts + self.steps),
                             {"observation": seen, "action": ((self.size,), "float32"), "reward": ((), "float32"),
                              "final": seen, "terminated": ((), "bool")})
        self.actor_rule, self.critic_rule = optim.Adam(agent.learning_rate), optim.Adam(agent.learning_rate)
        self.critics = {f"{i}.{name}": v for i, critic in enumerate(agent.critics)
                        for name, v in critic.parameters().items()}
        self.actor_rule.build(agent.actor.parameters())
        self.critic_rule.build(self.critics)
        self.objects = {"actor optimizer": self.actor_rule, "critic optimizer": self.critic_rule,
                        "replay": self.replay.variables()}

    def begin(self) -> None:
        """Random actions, until learning starts."""
        if rounds := -(-self.agent.learning_starts // self.env.batch):
            compile(lambda: self.collect(rounds, lambda x: random.uniform((x.shape[0], self.size), -1.0, 1.0)))()

    def collect(self, length: int, explore: Any) -> Tensor:
        """Steps of all copies, into the buffer."""
        def act(_: Tensor) -> tuple[Tensor, ...]:
            observation = self.env.now()
            action = explore(self.agent.seen(observation))
            step = self.env.advance(self.agent.played(action))
            return observation, action, cr.astype(step.reward, "float32"), step.final, step.terminated
        with no_grad():
            parts = [x[None] for x in act(cr.asarray(0))] if length == 1 else repeat(act, length)
            self.replay.store(**{name: flat(x)
                                 for name, x in zip(("observation", "action", "reward", "final", "terminated"), parts,
                                                    strict=True)})
        return self.env.mean_return()

    def step(self) -> dict[str, Tensor]:
        """Steps, then updates."""
        returned = self.collect(self.agent.train_every, self.agent.explored)
        numbers = (self.update() if self.agent.updates == 1
                   else [cr.mean(x) for x in repeat(lambda _: self.update(), self.agent.updates)])
        return {"return": returned} | dict(zip(("critic_loss", "actor_loss", "alpha", "gradients"), numbers,
                                               strict=True))

    def update(self) -> tuple[Tensor, ...]:
        """One step of the optimisers."""
        raise NotImplementedError

    def improve_critics(self, drawn: dict[str, Tensor], x: Tensor, following: Tensor) -> Tensor:
        """Towards r + γ (1 - terminated) · what follows."""
        with no_grad():
            target = drawn["reward"] + self.agent.gamma * cr.where(drawn["terminated"], 0.0, following)
        loss = sum((cr.mean((q - target) ** 2) for q in self.agent.scores(x, drawn["action"])),
                   cr.asarray(np.float32(0)))
        self.critic_rule.update(self.critics, gradients(loss, self.critics))
        return loss

    def follow(self) -> None:
        """Targets go a little of the way."""
        for target, critic in zip(self.agent.targets, self.agent.critics, strict=True):
            follow(target, critic, self.agent.tau)


class _Soft(_Buffered):
    def __init__(self, agent: SAC, env: Environment, steps: int):
        super().__init__(agent, env, steps)
        self.temperature = optim.Adam(agent.learning_rate)
        self.temperature.build([agent.log_alpha])
        self.objects["temperature optimizer"] = self.temperature
        self.wanted = float(-self.size if agent.target_entropy is None else agent.target_entropy)

    def update(self) -> tuple[Tensor, ...]:
        """Critics, actor, temperature, targets."""
        agent = self.agent
        drawn = self.replay.draw(agent.batch_size)
        x, after, alpha = (agent.seen(drawn["observation"]), agent.seen(drawn["final"]),
                           cr.stop_gradient(cr.exp(agent.log_alpha.value)))
        with seen_gradients() as found:
            with no_grad():
                action, chance = agent.sample(after)
                following = cr.minimum(*agent.scores(after, action, agent.targets)) - alpha * chance
            critic_loss = self.improve_critics(drawn, x, following)
            action, chance = agent.sample(x)
            actor_loss = cr.mean(alpha * chance - cr.minimum(*agent.scores(x, action)))
            self.actor_rule.update(agent.actor, gradients(actor_loss, agent.actor))
            if agent.alpha is None:
                loss = -cr.mean(agent.log_alpha.value * cr.stop_gradient(chance + self.wanted))
                self.temperature.update([agent.log_alpha], gradients(loss, [agent.log_alpha]))
        self.follow()
        return critic_loss, actor_loss, alpha, sum(map(summed, found), cr.asarray(np.float32(0)))


class _Delayed(_Buffered):
    def __init__(self, agent: TD3, env: Environment, steps: int):
        super().__init__(agent, env, steps)
        self.agent = agent

    def update(self) -> tuple[Tensor, ...]:
        """Critics; every now and then the actor and the targets."""
        agent = self.agent
        drawn = self.replay.draw(agent.batch_size)
        x, after = agent.seen(drawn["observation"]), agent.seen(drawn["final"])
        with seen_gradients() as found:
            with no_grad():
                best = cr.tanh(agent.actor_target(after))
                noise = cr.clip(agent.target_noise * random.normal(best.shape), -agent.noise_clip, agent.noise_clip)
                following = cr.minimum(*agent.scores(after, cr.clip(best + noise, -1.0, 1.0), agent.targets))
            critic_loss = self.improve_critics(drawn, x, following)
            turn = self.critic_rule.step.value % agent.policy_every == 0
            actor_loss = -cr.mean(agent.scores(x, cr.tanh(agent.actor(x)))[0])
            self.improve_actor(actor_loss, turn)
        share = cr.where(turn, np.float32(agent.tau), np.float32(0))
        for target, source in zip([*agent.targets, agent.actor_target], [*agent.critics, agent.actor], strict=True):
            follow(target, source, share)
        return critic_loss, actor_loss, cr.asarray(np.float32(0)), sum(map(summed, found), cr.asarray(np.float32(0)))

    def improve_actor(self, loss: Tensor, turn: Tensor) -> None:
        """One step of the actor's optimiser, where it is its turn; else nothing of it changes."""
        changed = {**self.agent.actor.parameters(), **self.actor_rule.variables()}
        before = {name: v.value for name, v in changed.items()}
        self.actor_rule.update(self.agent.actor, gradients(loss, self.agent.actor))
        for name, v in changed.items():
            v.assign(cr.where(turn, v.value, before[name]))
