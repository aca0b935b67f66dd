# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning: decision processes and their exact solutions, environments that are part of compiled
programs, and agents.

    mdp = cr.rl.MDP(P, R, gamma=0.99)
    cr.rl.value_iteration(mdp).policy
    agent = cr.rl.PPO()
    agent.fit(cr.rl.make("CartPole-v1", batch=32), steps=200_000, seed=0)
    cr.rl.evaluate_policy(agent, cr.rl.make("CartPole-v1"), episodes=100, seed=1)
"""

from typing import Any

from ..foundations.names import unknown_attribute
from .a2c import A2C, Reinforce
from .agent import Agent
from .classic import Acrobot, CartPole, MountainCar, MountainCarContinuous, Pendulum
from .doctor import diagnose
from .dqn import DQN
from .environment import Environment, Transition
from .episode import Episode, play
from .evaluate import Returns, evaluate_policy
from .gym import Gym
from .mdp import (
    MDP,
    Solution,
    linear_program,
    modified_policy_iteration,
    policy_iteration,
    policy_values,
    value_iteration,
)
from .ppo import PPO
from .registry import make
from .sac import SAC, TD3
from .seeds import Seeds, draw_learning_curves, over_seeds
from .spaces import Box, Discrete, MultiDiscrete
from .tabular import SARSA, DoubleQLearning, ExpectedSARSA, QLearning, TabularAgent, exponential, linear
from .toy import Blackjack, CliffWalking, FrozenLake, GridWorld, Tabular, Taxi

__all__ = [
    "A2C", "DQN", "MDP", "PPO", "SAC", "SARSA", "TD3", "Acrobot", "Agent", "Blackjack", "Box", "CartPole",
    "CliffWalking", "Discrete", "DoubleQLearning", "Environment", "Episode", "ExpectedSARSA", "FrozenLake", "GridWorld",
    "Gym",
    "MountainCar", "MountainCarContinuous", "MultiDiscrete", "Pendulum", "QLearning", "Reinforce", "Returns", "Seeds",
    "Solution", "Tabular", "TabularAgent", "Taxi", "Transition",
    "diagnose", "draw_learning_curves", "evaluate_policy", "exponential", "linear", "linear_program", "make",
    "modified_policy_iteration", "over_seeds", "play", "policy_iteration", "policy_values", "value_iteration",
]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("rl", name, __all__)
