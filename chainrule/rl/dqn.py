# SPDX-License-Identifier: Apache-2.0
"""`DQN`: deep Q-learning (Mnih et al., 2015), with double, duelling and n-step learning."""

from __future__ import annotations

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
from .networks import features, perceptron
from .replay import Replay, several_steps
from .spaces import Discrete


class DQN(Agent):
    """Deep Q-learning: q(s, a) → r + γ max_a' q_target(s', a'), from a buffer of transitions, with an ε-greedy policy.

    Args:
        hidden, activation: of the network.
        learning_rate: of Adam; falls to 0 with `anneal`.
        buffer: transitions that are kept.
        batch_size: transitions of one update.
        learning_starts: steps with random actions before the first update.
        train_every, updates: steps of each copy between updates, and how many updates follow.
        target_every, tau: updates between those of the target network, and the share by which it follows then; 1 copies
            the weights.
        gamma: discount.
        exploration: share of the steps in which ε falls linearly from 1 to `exploration_end`.
        double: choose a' by the network that learns (van Hasselt et al., 2016).
        duelling: q = v + A - mean A (Wang et al., 2016).
        n_step: rewards that are summed before the network's own value follows.
        clip_norm: length of the gradient at most.
        spaces: filled in by `fit`.

    The error is Huber's. A truncated episode bootstraps from the observation to which its last step led.
    """

    def __init__(self, hidden: Sequence[int] = (128, 128), activation: str = "relu", learning_rate: float = 2.3e-3,
                 anneal: bool = True, buffer: int = 100_000, batch_size: int = 64, learning_starts: int = 1000,
                 train_every: int = 256, updates: int = 128, target_every: int = 128, tau: float = 1.0,
                 gamma: float = 0.99, exploration: float = 0.16, exploration_end: float = 0.04, double: bool = True,
                 duelling: bool = False, n_step: int = 1, clip_norm: float | None = 10.0,
                 spaces: dict[str, Any] | None = None):
        self.hidden, self.activation = tuple(hidden), activation
        self.learning_rate, self.anneal, self.clip_norm = float(learning_rate), anneal, clip_norm
        self.buffer, self.batch_size, self.learning_starts = int(buffer), int(batch_size), int(learning_starts)
        self.train_every, self.updates = int(train_every), int(updates)
        self.target_every, self.tau, self.gamma = int(target_every), float(tau), float(gamma)
        self.exploration, self.exploration_end = float(exploration), float(exploration_end)
        self.double, self.duelling, self.n_step = double, duelling, int(n_step)
        self._made(spaces)

    def networks(self) -> None:
        """The network that learns, and the target."""
        if not isinstance(self.action_space, Discrete):
            raise ArgumentError(explain("DQN chooses among actions", got=shown(self.action_space),
                                        expected="a Discrete action space", fix="cr.rl.SAC() for continuous actions"))
        outputs = self.action_space.n + int(self.duelling)
        self.network, self.target = (perceptron(features(self.observation_space), self.hidden, outputs, self.activation)
                                     for _ in range(2))

    def touch(self, x: Tensor) -> None:
        """Call both networks, which begin alike."""
        self.network(x), self.target(x)
        follow(self.target, self.network, 1.0)

    def q(self, x: Tensor, network: Any = None) -> Tensor:
        """q(x, ·), (N, actions)."""
        out = (network or self.network)(x)
        if not self.duelling:
            return out
        advantage = out[:, 1:]
        return out[:, :1] + advantage - cr.mean(advantage, axis=1, keepdims=True)

    def action(self, x: Tensor, deterministic: bool) -> Tensor:
        """The actions with the highest q; otherwise now and then, by the last ε, any."""
        return cr.argmax(self.q(x), axis=1) if deterministic else self.explored(x, self.exploration_end)

    def explored(self, x: Tensor, epsilon: Any) -> Tensor:
        """ε-greedy actions."""
        anything = random.randint(0, self.action_space.n, (x.shape[0],))  # type: ignore[union-attr]
        return cr.where(random.uniform((x.shape[0],)) < epsilon, anything, cr.argmax(self.q(x), axis=1))

    def learner(self, env: Environment, steps: int) -> Learner:
        """What learns from a buffer."""
        return _Deep(self, env, steps)


class _Deep(Learner):
    def __init__(self, agent: DQN, env: Environment, steps: int):
        self.agent, self.env, self.steps = agent, env, agent.train_every * env.batch
        updates = max(1, steps // self.steps) * agent.updates
        rate: Any = (lambda step: agent.learning_rate
                     * (1 - cr.astype(step, "float64") / updates)) if agent.anneal else agent.learning_rate
        self.optimizer = optim.Adam(rate, clip_norm=agent.clip_norm)
        self.optimizer.build(agent.network.parameters())
        space = env.observation_space
        seen = (space.shape, "int64" if not space.shape else "float32")
        self.replay = Replay(min(agent.buffer, steps + agent.learning_starts + self.steps),
                             {"observation": seen, "action": ((), "int64"), "reward": ((), "float32"), "final": seen,
                              "terminated": ((), "bool"), "factor": ((), "float32")})
        self.taken = Variable(np.int64(0), name="taken", trainable=False)
        self.falling = max(1.0, agent.exploration * steps)
        self.objects = {"optimizer": self.optimizer, "replay": self.replay.variables(), "taken": self.taken}

    def begin(self) -> None:
        """Random actions, until learning starts."""
        rounds = -(-self.agent.learning_starts // self.steps)
        program = compile(lambda: self.collect(1.0))
        for _ in range(rounds):
            program()

    def collect(self, epsilon: Any) -> Tensor:
        """`train_every` steps of all copies, into the buffer."""
        def act(_: Tensor) -> tuple[Tensor, ...]:
            observation = self.env.now()
            action = self.agent.explored(self.agent.seen(observation), epsilon)
            step = self.env.advance(action)
            return observation, action, cr.astype(step.reward, "float32"), step.terminated, step.truncated, step.final
        with no_grad():
            observation, action, reward, terminated, truncated, final = repeat(act, self.agent.train_every)
            reward, final, terminated, factor = several_steps(
                reward, terminated | truncated, final, terminated, self.agent.n_step, self.agent.gamma
            )
            rows = {"observation": observation, "action": action, "reward": reward, "final": final,
                    "terminated": terminated, "factor": factor}
            self.replay.store(**{name: flat(x) for name, x in rows.items()})
        return self.env.mean_return()

    def step(self) -> dict[str, Tensor]:
        """Steps with the present ε, then the updates."""
        agent = self.agent
        done = cr.astype(self.taken.value, "float64") / self.falling
        epsilon = cr.maximum(1 - done * (1 - agent.exploration_end), agent.exploration_end)
        returned = self.collect(cr.astype(epsilon, "float32"))
        self.taken.assign(self.taken.value + self.steps)
        loss, q, grads = repeat(lambda i: self.update(i), agent.updates)
        return {"return": returned, "loss": cr.mean(loss), "q": cr.mean(q), "epsilon": epsilon,
                "gradients": cr.mean(grads)}

    def update(self, _: Tensor) -> tuple[Tensor, ...]:
        """One step of the optimiser."""
        agent = self.agent
        with no_grad():
            drawn = self.replay.draw(agent.batch_size)
            after = agent.seen(drawn["final"])
            following = agent.q(after, agent.target)
            best = cr.argmax(agent.q(after), axis=1) if agent.double else cr.argmax(following, axis=1)
            target = drawn["reward"] + drawn["factor"] * cr.where(drawn["terminated"], 0.0, _at(following, best))
        q = _at(agent.q(agent.seen(drawn["observation"])), drawn["action"])
        error = cr.abs(q - target)
        loss = cr.mean(cr.where(error < 1, 0.5 * error ** 2, error - 0.5))
        with seen_gradients() as found:
            self.optimizer.update(agent.network, gradients(loss, agent.network))
        follow(agent.target, agent.network, cr.where(self.optimizer.step.value % agent.target_every == 0,
                                                     np.float32(agent.tau), np.float32(0)))
        return loss, cr.mean(q), sum(map(summed, found), cr.asarray(np.float32(0)))


def _at(q: Tensor, action: Tensor) -> Tensor:
    """q[i, action[i]]."""
    return cr.sum(cr.where(action[:, None] == cr.arange(q.shape[1]), q, 0.0), axis=1)
