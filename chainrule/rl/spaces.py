# SPDX-License-Identifier: Apache-2.0
"""What observations and actions can be, by Gymnasium's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown


@dataclass(frozen=True)
class Discrete:
    """The integers 0, …, n - 1.

    >>> cr.rl.Discrete(4).n
    4
    """

    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one element: ()."""
        return ()

    def to_config(self) -> dict[str, Any]:
        """The space as data for JSON."""
        return {"kind": "discrete", "n": self.n}


@dataclass(frozen=True)
class MultiDiscrete:
    """Several integers, the i-th one below counts[i].

    >>> cr.rl.MultiDiscrete((2, 3)).counts
    (2, 3)
    """

    counts: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one element: (number of integers,)."""
        return (len(self.counts),)

    def to_config(self) -> dict[str, Any]:
        """The space as data for JSON."""
        return {"kind": "multi_discrete", "counts": list(self.counts)}


@dataclass(frozen=True, eq=False)
class Box:
    """Arrays of numbers between `low` and `high`, which have the shape of one element.

    >>> space = cr.rl.Box(np.array([-1.0, 0.0]), np.array([1.0, 2.0]))
    >>> space.low, space.high
    (array([-1.,  0.]), array([1., 2.]))
    """

    low: np.ndarray
    high: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one element."""
        return self.low.shape

    def to_config(self) -> dict[str, Any]:
        """The space as data for JSON; infinite bounds are None."""
        bounds = {name: [float(x) if np.isfinite(x) else None for x in np.ravel(bound)]
                  for name, bound in (("low", self.low), ("high", self.high))}
        return {"kind": "box", "shape": list(self.shape), **bounds}


Space = Discrete | MultiDiscrete | Box


def box(low: Any, high: Any) -> Box:
    """A Box of float32 bounds."""
    return Box(*(np.array(x, np.float32) for x in np.broadcast_arrays(low, high)))


def space_of(config: dict[str, Any]) -> Space:
    """The space that `to_config` described."""
    if config["kind"] == "discrete":
        return Discrete(int(config["n"]))
    if config["kind"] == "multi_discrete":
        return MultiDiscrete(tuple(map(int, config["counts"])))
    low, high = (np.array([end if x is None else x for x in config[name]], np.float32).reshape(config["shape"])
                 for name, end in (("low", -np.inf), ("high", np.inf)))
    return Box(low, high)


def from_gymnasium(space: Any) -> Space:
    """Ours for a space of Gymnasium's; ArgumentError for kinds that agents do not know."""
    kind = type(space).__name__
    if kind == "Discrete" and not getattr(space, "start", 0):
        return Discrete(int(space.n))
    if kind == "MultiDiscrete" and np.ndim(space.nvec) == 1:
        return MultiDiscrete(tuple(map(int, space.nvec)))
    if kind == "Box":
        return Box(np.asarray(space.low), np.asarray(space.high))
    raise ArgumentError(explain("agents do not know this kind of space", got=shown(space),
                                expected="Discrete from 0, MultiDiscrete or Box",
                                fix="wrap the environment, for example with FlattenObservation"))
