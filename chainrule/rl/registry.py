# SPDX-License-Identifier: Apache-2.0
"""`make`: the environments that are built in, by Gymnasium's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, explain, shown
from ..foundations.names import closest
from .classic import Acrobot, CartPole, MountainCar, MountainCarContinuous, Pendulum
from .environment import Environment
from .toy import Blackjack, CliffWalking, FrozenLake, Taxi

ENVIRONMENTS: dict[str, tuple[Callable[..., Environment], dict[str, Any]]] = {
    "Acrobot-v1": (Acrobot, {}), "Blackjack-v1": (Blackjack, {}), "CartPole-v1": (CartPole, {}),
    "CliffWalking-v1": (CliffWalking, {}),
    "CliffWalkingSlippery-v1": (CliffWalking, {"is_slippery": True}), "FrozenLake-v1": (FrozenLake, {}),
    "FrozenLake8x8-v1": (FrozenLake, {"map_name": "8x8"}), "MountainCar-v0": (MountainCar, {}),
    "MountainCarContinuous-v0": (MountainCarContinuous, {}), "Pendulum-v1": (Pendulum, {}), "Taxi-v3": (Taxi, {}),
    "Taxi-v4": (Taxi, {}),
}


def make(id: str, batch: int = 1, **options: Any) -> Environment:
    """`batch` copies of a built-in environment, for programs: traceable, their state in Variables.

    Args:
        id: "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1", "FrozenLake-v1",
            "FrozenLake8x8-v1", "Taxi-v3", "CliffWalking-v1", "CliffWalkingSlippery-v1" or "Blackjack-v1".
        options: of the environment's class, such as `is_slippery`.

    Raises ArgumentError for an unknown id. In `cr.rl.Gym` agents can be evaluated in any other one of Gymnasium.

    >>> import chainrule as cr
    >>> env = cr.rl.make("CartPole-v1", batch=3)
    >>> observation, _ = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, _ = env.step([0, 1, 1])
    >>> observation.shape, reward
    ((3, 4), array([1., 1., 1.]))
    """
    if id not in ENVIRONMENTS:
        raise ArgumentError(explain("there is no built-in environment of this name", got=shown(id),
                                    expected=", ".join(ENVIRONMENTS), fix=closest(str(id), ENVIRONMENTS)
                                    or f"cr.rl.Gym({id!r})"))
    maker, settled = ENVIRONMENTS[id]
    made = maker(batch=batch, **(settled | options))
    made.id = id
    return made
