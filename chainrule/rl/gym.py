# SPDX-License-Identifier: Apache-2.0
"""`Gym`: any environment of Gymnasium, to evaluate agents in (extra `rl`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, MissingExtra, explain, shown
from ..typing import ArrayLike
from .spaces import Box, Discrete, MultiDiscrete


class Gym:
    """`batch` copies of an environment of Gymnasium, with the `reset` and `step` of ours.

    They run in Python, one after the other, so agents cannot learn in them: whose step is one compiled program needs
    environments that are part of it (`cr.rl.make`, or a subclass of `cr.rl.Environment`). What has learnt in a built-in
    environment is evaluated here as there.

    Args:
        id: a name of Gymnasium's, or a function that makes one environment.
        batch: copies.
        options: of `gymnasium.make`.

    Raises MissingExtra without Gymnasium, ArgumentError for spaces other than numbers, integers and several integers.

    >>> env = cr.rl.Gym("CartPole-v1", batch=2)
    >>> observation, _ = env.reset(seed=0)
    >>> observation.shape
    (2, 4)
    """

    traceable = False

    def __init__(self, id: Any, batch: int = 1, **options: Any):
        try:
            import gymnasium
        except ImportError:
            raise MissingExtra("cr.rl.Gym", "gymnasium", "rl") from None
        if isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 1:
            raise ArgumentError(explain("this is no number of copies", got=shown(batch), expected="a positive integer",
                                        fix="batch=8"))
        make = id if callable(id) else lambda: gymnasium.make(id, **options)
        self.id, self.batch = id if isinstance(id, str) else "", int(batch)
        try:
            self.copies = gymnasium.vector.SyncVectorEnv([make] * self.batch)
        except gymnasium.error.Error as error:
            raise ArgumentError(explain("Gymnasium cannot make this environment", got=shown(id),
                                        expected="a name that gymnasium.make knows", fix=str(error))) from None
        self.observation_space, self.action_space = (_space(self.copies.single_observation_space),
                                                     _space(self.copies.single_action_space))

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes in all copies: (observation (batch, …), infos)."""
        return self.copies.reset(seed=seed)

    def step(self, action: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of all copies: (observation, reward, terminated, truncated, infos); a copy whose episode has ended
        begins a new one in the next step."""
        return self.copies.step(np.asarray(action))

    def close(self) -> None:
        """Let Gymnasium end what the copies hold, such as windows."""
        self.copies.close()

    def __repr__(self) -> str:
        return f"Gym({self.id!r}, batch={self.batch})"


def _space(space: Any) -> Box | Discrete | MultiDiscrete:
    """Ours for one of Gymnasium's."""
    kind = type(space).__name__
    if kind == "Discrete" and space.start == 0:
        return Discrete(int(space.n))
    if kind == "MultiDiscrete" and space.nvec.ndim == 1:
        return MultiDiscrete(tuple(map(int, space.nvec)))
    if kind == "Box":
        return Box(np.asarray(space.low), np.asarray(space.high))
    raise ArgumentError(explain("this space has no counterpart here", got=str(space),
                                expected="Box, Discrete from 0 or MultiDiscrete",
                                fix="one of Gymnasium's wrappers, such as FlattenObservation"))
