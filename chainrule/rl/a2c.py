# SPDX-License-Identifier: Apache-2.0
"""`A2C`, the synchronous actor-critic (Mnih et al., 2016), and `Reinforce`, the score-function gradient with a baseline
(Williams, 1992)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import arrays as cr
from .. import optim
from ..compiler.transform import gradients
from ..ir import Tensor, no_grad
from .agent import Learner
from .environment import Environment
from .loop import flat, repeat
from .ppo import ActorCritic, gae


class A2C(ActorCritic):
    """Synchronous actor-critic: after each short rollout one step along A ∇ log π(a|s), with a critic that learns the
    values.

    Args:
        hidden, activation: of actor and critic.
        learning_rate: of Adam.
        rollout: steps of each copy of the environment between updates.
        gamma, gae_lambda: discount, and λ of the advantages; 1 gives sums of rewards up to the end of the rollout.
        entropy, value: weights of the entropy and of the squared error of the values.
        clip_norm: length of the gradient at most.
        orthogonal: weights, with gains √2, 0.01 (policy) and 1 (value).
        spaces: filled in by `fit`.
    """

    normalize = False

    def __init__(self, hidden: Sequence[int] = (64, 64), activation: str = "tanh", learning_rate: float = 2e-3,
                 rollout: int = 16, gamma: float = 0.99, gae_lambda: float = 1.0, entropy: float = 0.0,
                 value: float = 0.5, clip_norm: float | None = 0.5, orthogonal: bool = True,
                 spaces: dict[str, Any] | None = None):
        self.hidden, self.activation = tuple(hidden), activation
        self.learning_rate, self.rollout = float(learning_rate), int(rollout)
        self.gamma, self.gae_lambda = float(gamma), float(gae_lambda)
        self.entropy_weight, self.value_weight = float(entropy), float(value)
        self.clip_norm, self.orthogonal = clip_norm, orthogonal
        self._made(spaces)

    def learner(self, env: Environment, steps: int) -> Learner:
        """What learns by short rollouts."""
        return _Synchronous(self, env)


class Reinforce(A2C):
    """The score-function gradient E[(G - v(s)) ∇ log π(a|s)] from rollouts whose returns G are summed to their ends; v
    is the baseline.

    Args:
        hidden, activation, learning_rate, gamma, entropy, spaces: as of A2C.
        rollout: steps of each copy between updates; what is cut off there bootstraps from the baseline.

    Advantages are scaled to mean 0 and standard deviation 1.
    """

    normalize = True

    def __init__(self, hidden: Sequence[int] = (64, 64), activation: str = "tanh", learning_rate: float = 3e-3,
                 rollout: int = 32, gamma: float = 0.99, entropy: float = 0.0, spaces: dict[str, Any] | None = None):
        super().__init__(hidden, activation, learning_rate, rollout, gamma, entropy=entropy, spaces=spaces)


class _Synchronous(Learner):
    def __init__(self, agent: A2C, env: Environment):
        self.agent, self.env, self.steps = agent, env, agent.rollout * env.batch
        self.optimizer = optim.Adam(agent.learning_rate, epsilon=1e-5, clip_norm=agent.clip_norm)
        self.optimizer.build(agent.parameters())
        self.objects = {"optimizer": self.optimizer}

    def act(self, _: Tensor) -> tuple[Tensor, ...]:
        """One step of the rollout, of all copies."""
        observation = self.env.now()
        action = self.agent.policy(self.agent.seen(observation)).sample()
        step = self.env.advance(self.agent.played(action))
        return observation, action, cr.astype(step.reward, "float32"), step.terminated, step.truncated, step.final

    def step(self) -> dict[str, Tensor]:
        """A rollout and one update."""
        agent = self.agent
        with no_grad():
            seen, action, reward, terminated, truncated, final = repeat(self.act, agent.rollout)
            x = agent.seen(flat(seen))
            values = cr.reshape(agent.value(x), reward.shape)
            following = cr.reshape(agent.value(agent.seen(flat(final))), reward.shape)
            advantages = gae(reward, values, following, terminated, truncated, agent.gamma, agent.gae_lambda)
            target, advantage = flat(advantages + values), flat(advantages)
            if agent.normalize:
                advantage = (advantage - cr.mean(advantage)) / (cr.std(advantage) + 1e-8)
        policy = agent.policy(x)
        policy_loss = -cr.mean(policy.log_prob(flat(action)) * advantage)
        value_loss, entropy = cr.mean((agent.value(x) - target) ** 2), cr.mean(policy.entropy())
        loss = policy_loss + agent.value_weight * value_loss - agent.entropy_weight * entropy
        self.optimizer.update(agent, gradients(loss, agent))
        return {"return": self.env.mean_return(), "policy_loss": policy_loss, "value_loss": value_loss,
                "entropy": entropy}
