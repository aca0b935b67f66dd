# SPDX-License-Identifier: Apache-2.0
"""The classic tasks of control, with the constants and the order of operations of Gymnasium's. States are float64,
observations float32."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import arrays as cr
from ..ir import Tensor
from ..random import Generator
from . import pictures
from .environment import Environment, State
from .spaces import Discrete, box


def _uniform(random: Generator, batch: int, low: float, high: float) -> Tensor:
    return random.uniform((batch,), low, high, dtype="float64")


def _columns(*columns: Tensor) -> Tensor:
    return cr.astype(cr.stack(columns, axis=1), "float32")


class CartPole(Environment):
    """A pole on a cart, to be kept upright by pushes to the left (0) and right (1) (Barto, Sutton and Anderson, 1983).

    The reward is 1 per step. It ends beyond 12 degrees or 2.4 units from the middle.

    >>> env = cr.rl.CartPole(batch=4)
    >>> observation, _ = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, _ = env.step(np.array([0, 1, 0, 1]))
    >>> observation.shape, reward
    ((4, 4), array([1., 1., 1., 1.]))
    """

    id, max_steps, reward_threshold = "CartPole-v1", 500, 475.0
    action_space = Discrete(2)
    ANGLE, EDGE = 12 * 2 * math.pi / 360, 2.4
    _high = np.array([2 * EDGE, np.inf, 2 * ANGLE, np.inf])
    observation_space = box(-_high, _high)
    GRAVITY, TOTAL, LENGTH, POLE, FORCE, SECONDS = 9.8, 1.1, 0.5, 0.1, 10.0, 0.02

    def start(self, random: Generator) -> State:
        """All four numbers uniform in [-0.05, 0.05)."""
        draws = random.uniform((4, self.batch), -0.05, 0.05, dtype="float64")
        return dict(zip(("x", "velocity", "angle", "spin"), (draws[i] for i in range(4)), strict=True))

    def move(self, state: State, action: Tensor, random: Generator) -> tuple[State, Tensor, Tensor]:
        """Euler's method with 0.02 s."""
        x, velocity, angle, spin = state["x"], state["velocity"], state["angle"], state["spin"]
        force = cr.where(cr.asarray(action) == 1, self.FORCE, -self.FORCE)
        cos, sin, pole = cr.cos(angle), cr.sin(angle), self.POLE * self.LENGTH
        pushed = (force + pole * spin ** 2 * sin) / self.TOTAL
        turned = (self.GRAVITY * sin - cos * pushed) / (self.LENGTH * (4.0 / 3.0 - self.POLE * cos ** 2 / self.TOTAL))
        pulled = pushed - pole * turned * cos / self.TOTAL
        after = {"x": x + self.SECONDS * velocity, "velocity": velocity + self.SECONDS * pulled,
                 "angle": angle + self.SECONDS * spin, "spin": spin + self.SECONDS * turned}
        terminated = (cr.abs(after["x"]) > self.EDGE) | (cr.abs(after["angle"]) > self.ANGLE)
        return after, cr.ones_like(x), terminated

    def observe(self, state: State) -> Tensor:
        """(batch, 4): position, velocity, angle, angular velocity."""
        return _columns(state["x"], state["velocity"], state["angle"], state["spin"])

    def picture(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """One copy, drawn."""
        return pictures.cart_pole(state)


class MountainCar(Environment):
    """A car too weak for its hill, which has to swing: push left (0), nothing (1), right (2) (Moore, 1990). The reward
    is -1 per step.

    >>> observation, _ = cr.rl.MountainCar(batch=4).reset(seed=0)
    >>> observation.shape
    (4, 2)
    """

    id, max_steps, reward_threshold = "MountainCar-v0", 200, -110.0
    action_space = Discrete(3)
    observation_space = box([-1.2, -0.07], [0.6, 0.07])
    GOAL = 0.5

    def start(self, random: Generator) -> State:
        """At rest, in [-0.6, -0.4)."""
        place = _uniform(random, self.batch, -0.6, -0.4)
        return {"position": place, "velocity": cr.zeros_like(place)}

    def _rolled(self, position: Tensor, velocity: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        velocity = cr.clip(velocity, -0.07, 0.07)
        position = cr.clip(position + velocity, -1.2, 0.6)
        velocity = cr.where((position == -1.2) & (velocity < 0), 0.0, velocity)
        return {"position": position, "velocity": velocity}, (position >= self.GOAL) & (velocity >= 0)

    def move(self, state: State, action: Tensor, random: Generator) -> tuple[State, Tensor, Tensor]:
        """One step of the car."""
        position, velocity = state["position"], state["velocity"]
        push = (cr.astype(cr.asarray(action), "float64") - 1) * 0.001 + cr.cos(3 * position) * -0.0025
        after, terminated = self._rolled(position, velocity + push)
        return after, -cr.ones_like(position), terminated

    def observe(self, state: State) -> Tensor:
        """(batch, 2): position, velocity."""
        return _columns(state["position"], state["velocity"])

    def picture(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """One copy, drawn."""
        return pictures.mountain_car(state, self.GOAL)


class MountainCarContinuous(MountainCar):
    """The car with a force in [-1, 1]: 100 for the hill, less 0.1 force² per step.

    >>> env = cr.rl.MountainCarContinuous(batch=4)
    >>> observation, _ = env.reset(seed=0)
    >>> env.step(np.zeros((4, 1), "float32"))[0].shape
    (4, 2)
    """

    id, max_steps, reward_threshold = "MountainCarContinuous-v0", 999, 90.0
    action_space = box([-1.0], [1.0])  # type: ignore[assignment]
    GOAL = 0.45

    def move(self, state: State, action: Tensor, random: Generator) -> tuple[State, Tensor, Tensor]:
        """One step of the car."""
        position, velocity = state["position"], state["velocity"]
        given = cr.astype(cr.asarray(action), "float64")[:, 0]
        push = cr.clip(given, -1.0, 1.0) * 0.0015 - 0.0025 * cr.cos(3 * position)
        after, terminated = self._rolled(position, velocity + push)
        return after, cr.where(terminated, 100.0, 0.0) - given ** 2 * 0.1, terminated


class Acrobot(Environment):
    """Two links, of which only the joint between them is driven, to swing above a line (Sutton, 1996): torque -1, 0, 1.
    The reward is -1 per step.

    >>> observation, _ = cr.rl.Acrobot(batch=4).reset(seed=0)
    >>> observation.shape
    (4, 6)
    """

    id, max_steps, reward_threshold = "Acrobot-v1", 500, -100.0
    action_space = Discrete(3)
    _high = np.array([1, 1, 1, 1, 4 * np.pi, 9 * np.pi])
    observation_space = box(-_high, _high)

    def start(self, random: Generator) -> State:
        """Hanging, all four numbers in [-0.1, 0.1), rounded to float32 as Gymnasium does."""
        draws = cr.astype(cr.astype(random.uniform((4, self.batch), -0.1, 0.1, dtype="float64"), "float32"), "float64")
        return {"angle1": draws[0], "angle2": draws[1], "spin1": draws[2], "spin2": draws[3]}

    def move(self, state: State, action: Tensor, random: Generator) -> tuple[State, Tensor, Tensor]:
        """Runge and Kutta's method with 0.2 s."""
        torque = cr.astype(cr.asarray(action), "float64") - 1
        y = tuple(state[name] for name in ("angle1", "angle2", "spin1", "spin2"))
        angle1, angle2, spin1, spin2 = _runge_kutta(lambda y: _acrobot(y, torque), y, 0.2)
        after = {"angle1": _wrapped(angle1), "angle2": _wrapped(angle2),
                 "spin1": cr.clip(spin1, -4 * math.pi, 4 * math.pi), "spin2": cr.clip(spin2, -9 * math.pi, 9 * math.pi)}
        terminated = -cr.cos(after["angle1"]) - cr.cos(after["angle2"] + after["angle1"]) > 1.0
        return after, cr.where(terminated, 0.0, -1.0) + cr.zeros_like(torque), terminated

    def observe(self, state: State) -> Tensor:
        """(batch, 6): cosine and sine of both angles, angular velocities."""
        a, b = state["angle1"], state["angle2"]
        return _columns(cr.cos(a), cr.sin(a), cr.cos(b), cr.sin(b), state["spin1"], state["spin2"])

    def picture(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """One copy, drawn."""
        return pictures.acrobot(state)


def _acrobot(y: tuple[Tensor, ...], torque: Tensor) -> tuple[Tensor, ...]:
    """Derivatives by time, "book" version (Sutton and Barto, 2018); masses, lengths and moments are 1, centres at 0.5.
    """
    angle1, angle2, spin1, spin2 = y
    sin2, cos2 = cr.sin(angle2), cr.cos(angle2)
    d1 = 0.25 + (1.25 + cos2) + 1.0 + 1.0
    d2 = (0.25 + 0.5 * cos2) + 1.0
    phi2 = 0.5 * 9.8 * cr.cos(angle1 + angle2 - math.pi / 2)
    phi1 = -0.5 * spin2 ** 2 * sin2 - 2 * 0.5 * spin2 * spin1 * sin2 + 1.5 * 9.8 * cr.cos(angle1 - math.pi / 2) + phi2
    push2 = (torque + d2 / d1 * phi1 - 0.5 * spin1 ** 2 * sin2 - phi2) / (1.25 - d2 ** 2 / d1)
    return spin1, spin2, -(d2 * push2 + phi1) / d1, push2


def _runge_kutta(derivative: Any, y: tuple[Tensor, ...], dt: float) -> tuple[Tensor, ...]:
    ahead = lambda k, h: tuple(a + h * b for a, b in zip(y, k, strict=True))
    k1 = derivative(y)
    k2 = derivative(ahead(k1, dt / 2))
    k3 = derivative(ahead(k2, dt / 2))
    k4 = derivative(ahead(k3, dt))
    return tuple(a + dt / 6.0 * (p + 2 * q + 2 * r + s) for a, p, q, r, s in zip(y, k1, k2, k3, k4, strict=True))


def _wrapped(angle: Tensor) -> Tensor:
    """Into [-π, π]: a step turns by less than 2π."""
    angle = cr.where(angle > math.pi, angle - 2 * math.pi, angle)
    return cr.where(angle < -math.pi, angle + 2 * math.pi, angle)


class Pendulum(Environment):
    """A pendulum to be swung up by a torque in [-2, 2] that is too weak to lift it. Cost: angle² + 0.1 spin² + 0.001
    torque²; it never ends, but after 200 steps.

    >>> env = cr.rl.Pendulum(batch=4)
    >>> observation, _ = env.reset(seed=0)
    >>> env.step(np.zeros((4, 1), "float32"))[0].shape
    (4, 3)
    """

    id, max_steps = "Pendulum-v1", 200
    action_space = box([-2.0], [2.0])
    observation_space = box([-1, -1, -8], [1, 1, 8])

    def start(self, random: Generator) -> State:
        """Any angle, angular velocity in [-1, 1)."""
        return {"angle": _uniform(random, self.batch, -math.pi, math.pi),
                "spin": _uniform(random, self.batch, -1.0, 1.0)}

    def move(self, state: State, action: Tensor, random: Generator) -> tuple[State, Tensor, Tensor]:
        """Semi-implicit Euler with 0.05 s."""
        angle, spin = state["angle"], state["spin"]
        # terms of it alone are rounded to its own dtype, as Gymnasium's are
        torque = cr.clip(cr.asarray(action)[:, 0], -2.0, 2.0)
        squared, pull = (cr.astype(x, "float64") for x in (0.001 * torque ** 2, 3.0 * torque))
        off = (angle + math.pi) % (2 * math.pi) - math.pi
        cost = off ** 2 + 0.1 * spin ** 2 + squared
        spin = cr.clip(spin + (15.0 * cr.sin(angle) + pull) * 0.05, -8.0, 8.0)
        return {"angle": angle + spin * 0.05, "spin": spin}, -cost, cr.zeros(self.batch, dtype="bool")

    def observe(self, state: State) -> Tensor:
        """(batch, 3): cosine and sine of the angle, angular velocity."""
        return _columns(cr.cos(state["angle"]), cr.sin(state["angle"]), state["spin"])

    def picture(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """One copy, drawn."""
        return pictures.pendulum(state)
