# SPDX-License-Identifier: Apache-2.0
"""What agents' networks are made of: perceptrons, policies as distributions over actions, running statistics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import nn, random
from ..ir import Tensor, Variable
from ..nn import initializers
from .spaces import Box, Discrete, Space

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def perceptron(inputs: int, hidden: Sequence[int], outputs: int, activation: str = "relu",
               gain: float | None = None) -> nn.Sequential:
    """Dense layers; with a `gain` of the last one, weights are orthogonal and √2 is the gain of the others (Saxe et
    al., 2014).

    Otherwise weights and biases are uniform within ±1/√inputs of each layer: with biases of 0 all kinks of the first
    layer would meet in one point, and small observations could not be told apart.
    """
    model = nn.Sequential([])
    widths = (inputs, *hidden)
    for before, width in itertools.pairwise(widths):
        model.add(nn.Dense(width, activation=activation, **_weights(before, None if gain is None else math.sqrt(2))))
    model.add(nn.Dense(outputs, **_weights(widths[-1], gain)))
    return model


def _weights(inputs: int, gain: float | None) -> dict[str, Any]:
    if gain is not None:
        return {"weight_initializer": lambda shape, dtype="float32": initializers.orthogonal(shape, dtype, gain=gain)}
    bound = 1 / math.sqrt(inputs)
    draw = lambda shape, dtype="float32": initializers.uniform(shape, dtype, low=-bound, high=bound)
    return {"weight_initializer": draw, "bias_initializer": draw}


def features(space: Space) -> int:
    """Numbers that `vector` makes of one observation."""
    return (space.n if isinstance(space, Discrete) else int(np.prod(space.shape)) if isinstance(space, Box)
            else sum(space.counts))


def vector(observation: Any, space: Space) -> Tensor:
    """Observations as float32 (N, features): numbers as they are, integers as one-hot codes."""
    x = cr.asarray(observation)
    if isinstance(space, Discrete):
        return cr.astype(x[:, None] == cr.arange(space.n), "float32")
    if not isinstance(space, Box):
        codes = [cr.astype(x[:, i:i + 1] == cr.arange(n), "float32") for i, n in enumerate(space.counts)]
        return cr.concat(codes, axis=1)
    return cr.reshape(cr.astype(x, "float32"), (x.shape[0], -1))


class Choice:
    """A policy over n actions, from logits (N, n)."""

    def __init__(self, logits: Tensor):
        self.log_chances = cr.log_softmax(logits, axis=-1)

    def sample(self) -> Tensor:
        """Actions (N,), by the Gumbel trick: argmax (log p - log(-log u))."""
        u = random.uniform(self.log_chances.shape)
        return cr.argmax(self.log_chances - cr.log(-cr.log(u + 1e-20) + 1e-20), axis=-1)

    def mode(self) -> Tensor:
        """The likeliest actions."""
        return cr.argmax(self.log_chances, axis=-1)

    def log_prob(self, action: Tensor) -> Tensor:
        """log p(action), (N,)."""
        chosen = action[:, None] == cr.arange(self.log_chances.shape[1])
        return cr.sum(cr.where(chosen, self.log_chances, 0.0), axis=-1)

    def entropy(self) -> Tensor:
        """-Σ p log p, (N,)."""
        return -cr.sum(cr.exp(self.log_chances) * self.log_chances, axis=-1)


class Choices:
    """Independent policies over several integers, from logits side by side (N, Σ counts)."""

    def __init__(self, logits: Tensor, counts: Sequence[int]):
        ends = np.cumsum(counts).tolist()
        self.parts = [Choice(logits[:, end - count:end]) for end, count in zip(ends, counts, strict=True)]

    def sample(self) -> Tensor:
        """Actions (N, integers)."""
        return cr.stack([part.sample() for part in self.parts], axis=1)

    def mode(self) -> Tensor:
        """The likeliest actions."""
        return cr.stack([part.mode() for part in self.parts], axis=1)

    def log_prob(self, action: Tensor) -> Tensor:
        """log p(action), (N,)."""
        return sum((part.log_prob(action[:, i]) for i, part in enumerate(self.parts)), cr.asarray(np.float32(0)))

    def entropy(self) -> Tensor:
        """The sum of the parts' entropies, (N,)."""
        return sum((part.entropy() for part in self.parts), cr.asarray(np.float32(0)))


class Gaussian:
    """A normal policy with independent components, mean (N, d) and log σ that broadcasts to it."""

    def __init__(self, mean: Tensor, log_std: Tensor):
        self.mean, self.log_std = mean, log_std + cr.zeros_like(mean)

    def sample(self) -> Tensor:
        """Actions (N, d)."""
        return self.mean + cr.exp(self.log_std) * random.normal(self.mean.shape)

    def mode(self) -> Tensor:
        """The means."""
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        """log p(action), (N,)."""
        z = (action - self.mean) * cr.exp(-self.log_std)
        return cr.sum(-0.5 * z * z - self.log_std - HALF_LOG_TWO_PI, axis=-1)

    def entropy(self) -> Tensor:
        """Σ (log σ + ½ log 2πe), (N,)."""
        return cr.sum(self.log_std + (0.5 + HALF_LOG_TWO_PI), axis=-1)


class Running(nn.Module):
    """Mean and variance of all that was seen, by batches (Chan, Golub and LeVeque, 1983)."""

    statistics = ("mean", "variance", "count")

    def __init__(self, size: int):
        self.mean = Variable(np.zeros(size), name="mean", trainable=False)
        self.variance = Variable(np.ones(size), name="variance", trainable=False)
        self.count = Variable(np.float64(1e-4), name="count", trainable=False)

    def update(self, x: Tensor) -> None:
        """Take in a batch (N, size)."""
        x = cr.astype(x, "float64")
        count, mean, variance = x.shape[0], cr.mean(x, axis=0), cr.var(x, axis=0)
        total, off = self.count.value + count, mean - self.mean.value
        spread = self.variance.value * self.count.value + variance * count + off ** 2 * self.count.value * count / total
        self.mean.assign(self.mean.value + off * count / total)
        self.variance.assign(spread / total)
        self.count.assign(total)

    def forward(self, x: Any) -> Tensor:
        """(x - mean) / standard deviation, limited to ±10."""
        scaled = (cr.astype(x, "float64") - self.mean.value) / cr.sqrt(self.variance.value + 1e-8)
        return cr.astype(cr.clip(scaled, -10.0, 10.0), "float32")
