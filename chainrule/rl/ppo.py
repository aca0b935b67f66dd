# SPDX-License-Identifier: Apache-2.0
"""`PPO`: proximal policy optimisation (Schulman et al., 2017), with the details of Huang et al., "The 37 implementation
details of PPO" (2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import optim, random
from ..compiler.transform import gradients
from ..errors import ArgumentError, explain
from ..ir import Tensor, Variable, no_grad
from ..ops.scan import scan
from ..optim.base import seen_gradients
from ..train.step import summed
from ..typing import ArrayLike
from .agent import Agent, Learner
from .environment import Environment
from .loop import flat, repeat
from .networks import Choice, Choices, Gaussian, Running, features, perceptron, vector
from .spaces import Box, Discrete


class ActorCritic(Agent):
    """Base of the agents with a policy and a value function, each a perceptron of its own."""

    hidden: tuple[int, ...]
    activation: str
    orthogonal: bool
    normalize_observations: bool = False

    def networks(self) -> None:
        """Actor, critic, and what they are scaled by."""
        space, gain = self.action_space, (lambda g: g if self.orthogonal else None)
        inputs, outputs = features(self.observation_space), features(space)
        self.actor = perceptron(inputs, self.hidden, outputs, self.activation, gain(0.01))
        self.critic = perceptron(inputs, self.hidden, 1, self.activation, gain(1.0))
        if isinstance(space, Box):
            self.log_std = Variable(np.zeros(outputs, np.float32), name="log_std")
        if self.normalize_observations:
            self.scaling = Running(inputs)

    def touch(self, x: Tensor) -> None:
        """Call both networks."""
        self.actor(x), self.critic(x)

    def seen(self, observation: ArrayLike) -> Tensor:
        """Observations, scaled by their running statistics if that is asked for."""
        x = vector(observation, self.observation_space)
        return self.scaling(x) if self.normalize_observations else x

    def policy(self, x: Tensor) -> Any:
        """The distribution over actions."""
        out, space = self.actor(x), self.action_space
        return (Choice(out) if isinstance(space, Discrete) else Gaussian(out, self.log_std.value)
                if isinstance(space, Box) else Choices(out, space.counts))

    def value(self, x: Tensor) -> Tensor:
        """v(x), (N,)."""
        return self.critic(x)[:, 0]

    def action(self, x: Tensor, deterministic: bool) -> Tensor:
        """The policy's likeliest actions, or draws."""
        policy = self.policy(x)
        return self.played(policy.mode() if deterministic else policy.sample())

    def played(self, action: Tensor) -> Tensor:
        """Actions as the environment takes them: within their bounds."""
        space = self.action_space
        return (cr.reshape(cr.clip(action, space.low.reshape(-1).astype(np.float32),
                                   space.high.reshape(-1).astype(np.float32)), (-1, *space.shape))
                if isinstance(space, Box) else action)


class PPO(ActorCritic):
    """Proximal policy optimisation: of each rollout several epochs of the clipped objective

    min(ρ A, clip(ρ, 1 - ε, 1 + ε) A), with ρ = π(a|s) / π_old(a|s).

    Args:
        hidden, activation: of actor and critic.
        learning_rate: of Adam (epsilon 1e-5); falls to 0 with `anneal` (Engstrom et al., 2020).
        rollout: steps of each copy of the environment between updates.
        epochs, minibatches: passes over a rollout, and parts of each.
        gamma, gae_lambda: discount, and λ of the advantages (Schulman et al., 2016).
        clip: ε of the ratio. `clip_values` limits the change of values likewise (Engstrom et al., 2020); off by default
            (Andrychowicz et al., 2021).
        entropy, value: weights of the entropy and of the squared error of the values.
        clip_norm: length of the gradient at most; None for no limit.
        normalize_advantages: in each minibatch.
        orthogonal: weights, with gains √2, 0.01 (policy) and 1 (value).
        normalize_observations: by running mean and variance, limited to ±10.
        scale_rewards: divided by the standard deviation of the discounted returns, limited to ±10.
        spaces: filled in by `fit`.

    A truncated episode bootstraps from the observation to which its last step led; a terminated one does not.

    >>> import chainrule as cr
    >>> agent = cr.rl.PPO(hidden=(16,), rollout=16)
    >>> history = agent.fit(cr.rl.make("CartPole-v1", batch=4), steps=256, seed=0, progress=False)
    >>> agent.act([0.0, 0.0, 0.1, 0.0]).shape
    ()
    """

    def __init__(self, hidden: Sequence[int] = (64, 64), activation: str = "tanh", learning_rate: float = 1e-3,
                 anneal: bool = True, rollout: int = 64, epochs: int = 8, minibatches: int = 4, gamma: float = 0.99,
                 gae_lambda: float = 0.95, clip: float = 0.2, clip_values: bool = False,
                 entropy: float = 0.0, value: float = 0.5, clip_norm: float | None = 0.5,
                 normalize_advantages: bool = True, orthogonal: bool = True, normalize_observations: bool = False,
                 scale_rewards: bool = False, spaces: dict[str, Any] | None = None):
        self.hidden, self.activation = tuple(hidden), activation
        self.learning_rate, self.anneal = float(learning_rate), anneal
        self.rollout, self.epochs = int(rollout), int(epochs)
        self.minibatches, self.gamma, self.gae_lambda = int(minibatches), float(gamma), float(gae_lambda)
        self.clip, self.clip_values = float(clip), clip_values
        self.entropy_weight, self.value_weight, self.clip_norm = float(entropy), float(value), clip_norm
        self.normalize_advantages, self.orthogonal = normalize_advantages, orthogonal
        self.normalize_observations, self.scale_rewards = normalize_observations, scale_rewards
        self._made(spaces)

    def learner(self, env: Environment, steps: int) -> Learner:
        """What learns by rollouts of this environment."""
        return _Proximal(self, env, steps)


class _Proximal(Learner):
    """Rollout, advantages and updates of PPO."""

    def __init__(self, agent: PPO, env: Environment, steps: int):
        self.agent, self.env, self.steps = agent, env, agent.rollout * env.batch
        if self.steps % agent.minibatches:
            raise ArgumentError(explain("the rollout cannot be cut into minibatches",
                                        got=f"{agent.rollout} steps of {env.batch} copies, {agent.minibatches} "
                                            "minibatches",
                                        expected="a whole number of transitions in each", fix="minibatches=1"))
        updates = max(1, steps // self.steps) * agent.epochs * agent.minibatches
        rate: Any = (lambda step: agent.learning_rate
                     * (1 - cr.astype(step, "float64") / updates)) if agent.anneal else agent.learning_rate
        self.optimizer = optim.Adam(rate, epsilon=1e-5, clip_norm=agent.clip_norm)
        self.gains = Variable(np.zeros(env.batch), name="gains", trainable=False)
        self.spread = Running(1)
        self.objects = {"optimizer": self.optimizer, "gains": self.gains, "spread": self.spread}
        self.optimizer.build(agent.parameters())

    def step(self) -> dict[str, Tensor]:
        """A rollout and the epochs of updates on it."""
        agent = self.agent
        with no_grad():
            seen, action, old, reward, terminated, truncated, final = repeat(self.act, agent.rollout)
            x = agent.seen(flat(seen))
            reward = self.scaled(reward, terminated | truncated)
            values = cr.reshape(agent.value(x), reward.shape)
            following = cr.reshape(agent.value(agent.seen(flat(final))), reward.shape)
            advantages = gae(reward, values, following, terminated, truncated, agent.gamma, agent.gae_lambda)
            data = (x, flat(action), flat(old), flat(advantages), flat(advantages + values), flat(values))
            order = cr.argsort(random.uniform((agent.epochs, self.steps)), axis=1)
        numbers = repeat(lambda _, rows: self.update(*(cr.take(part, rows, axis=0) for part in data)),
                         agent.epochs * agent.minibatches, [cr.reshape(order, (agent.epochs * agent.minibatches, -1))])
        if agent.normalize_observations:
            agent.scaling.update(vector(flat(seen), agent.observation_space))
        names = ("policy_loss", "value_loss", "entropy", "kl", "clipped", "gradients")
        return {"return": self.env.mean_return()} | {name: cr.mean(number)
                                                     for name, number in zip(names, numbers, strict=True)}

    def act(self, _: Tensor) -> tuple[Tensor, ...]:
        """One step of the rollout, of all copies."""
        observation = self.env.now()
        policy = self.agent.policy(self.agent.seen(observation))
        action = policy.sample()
        step = self.env.advance(self.agent.played(action))
        return (observation, action, policy.log_prob(action), cr.astype(step.reward, "float32"), step.terminated,
                step.truncated, step.final)

    def scaled(self, reward: Tensor, done: Tensor) -> Tensor:
        """Rewards divided by the standard deviation of the discounted returns so far."""
        if not self.agent.scale_rewards:
            return reward
        keep = cr.astype(~done, "float64") * self.agent.gamma
        (last,), (gains,) = scan(lambda c, x, _: ([(c[0] + x[0]) * x[1]], [c[0] + x[0]]), [self.gains.value],
                                 [cr.astype(reward, "float64"), keep])
        self.gains.assign(last)
        self.spread.update(cr.reshape(gains, (-1, 1)))
        return cr.astype(cr.clip(reward / cr.sqrt(self.spread.variance.value + 1e-8), -10.0, 10.0), "float32")

    def update(self, x: Tensor, action: Tensor, old: Tensor, advantage: Tensor, target: Tensor,
               before: Tensor) -> tuple[Tensor, ...]:
        """One step of the optimiser on one minibatch."""
        agent = self.agent
        if agent.normalize_advantages:
            advantage = (advantage - cr.mean(advantage)) / (cr.std(advantage) + 1e-8)
        policy, value = agent.policy(x), agent.value(x)
        change = policy.log_prob(action) - old
        ratio = cr.exp(change)
        limited = cr.clip(ratio, 1 - agent.clip, 1 + agent.clip)
        policy_loss = -cr.mean(cr.minimum(ratio * advantage, limited * advantage))
        error = (value - target) ** 2
        if agent.clip_values:
            error = cr.maximum(error, (before + cr.clip(value - before, -agent.clip, agent.clip) - target) ** 2)
        value_loss, entropy = 0.5 * cr.mean(error), cr.mean(policy.entropy())
        loss = policy_loss + 2 * agent.value_weight * value_loss - agent.entropy_weight * entropy
        with seen_gradients() as found:
            self.optimizer.update(agent, gradients(loss, agent))
        clipped = cr.mean(cr.astype(cr.abs(ratio - 1) > agent.clip, "float32"))
        return (policy_loss, value_loss, entropy, cr.mean(ratio - 1 - change), clipped,
                sum(map(summed, found), cr.asarray(np.float32(0))))


def gae(reward: Tensor, values: Tensor, following: Tensor, terminated: Tensor, truncated: Tensor, gamma: float,
        lam: float) -> Tensor:
    """Generalised advantages A_t = δ_t + γ λ A_{t+1}, δ_t = r_t + γ v(s'_t) - v(s_t), of arrays (steps, batch)
    (Schulman et al., 2016).

    `following` are the values of the observations to which the steps led, so a truncated episode bootstraps from its
    own last one and a terminated one from nothing; after either, the sum begins anew.
    """
    delta = reward + gamma * cr.where(terminated, 0.0, following) - values
    keep = cr.where(terminated | truncated, 0.0, gamma * lam) + cr.zeros_like(delta)
    _, (advantages,) = scan(lambda carry, x, _: ([x[0] + x[1] * carry[0]], [x[0] + x[1] * carry[0]]),
                            [cr.zeros_like(delta[0])], [delta, keep], reverse=True)
    return advantages
