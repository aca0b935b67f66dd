# SPDX-License-Identifier: Apache-2.0
"""Settings with which agents are known to learn the built-in environments: what the command line and the benchmarks
take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import ArgumentError, explain, shown
from ..foundations.names import closest
from .a2c import A2C, Reinforce
from .agent import Agent
from .dqn import DQN
from .environment import Environment
from .ppo import PPO
from .sac import SAC, TD3
from .spaces import Box

AGENTS: dict[str, type[Agent]] = {"ppo": PPO, "a2c": A2C, "reinforce": Reinforce, "dqn": DQN, "sac": SAC, "td3": TD3}


@dataclass(frozen=True)
class Recipe:
    """Settings of an agent, how many copies of the environment it learns in, for how many steps over all of them, and
    how many episodes validate each part."""

    steps: int
    copies: int
    settings: dict[str, Any] = field(default_factory=dict)
    validation_episodes: int = 0


RECIPES: dict[tuple[str, str], Recipe] = {
    ("ppo", "CartPole-v1"): Recipe(200_000, 32),
    ("ppo", "Pendulum-v1"): Recipe(300_000, 16,
                                   {"gamma": 0.9, "epochs": 10, "scale_rewards": True, "normalize_observations": True}),
    ("ppo", "Acrobot-v1"): Recipe(300_000, 16, {"normalize_observations": True, "entropy": 0.01}),
    ("dqn", "CartPole-v1"): Recipe(50_000, 1, validation_episodes=20),
    ("sac", "Pendulum-v1"): Recipe(20_000, 1),
}
USUAL: dict[str, Recipe] = {"ppo": Recipe(300_000, 32), "a2c": Recipe(300_000, 32), "reinforce": Recipe(300_000, 32),
                            "dqn": Recipe(100_000, 1, validation_episodes=20),
                            "sac": Recipe(30_000, 1), "td3": Recipe(30_000, 1)}


def recipe(agent: str, id: str) -> Recipe:
    """What is known to learn this environment, or else what is usual for the agent; ArgumentError for an unknown agent.
    """
    if agent not in AGENTS:
        raise ArgumentError(explain("there is no such agent", got=shown(agent), expected=" | ".join(AGENTS),
                                    fix=closest(agent, AGENTS)))
    return RECIPES.get((agent, id), USUAL[agent])


def usual_agent(env: Environment) -> str:
    """The agent to begin with: SAC for continuous actions, PPO for others."""
    return "sac" if isinstance(env.action_space, Box) else "ppo"
