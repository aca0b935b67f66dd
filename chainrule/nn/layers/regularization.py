# SPDX-License-Identifier: Apache-2.0
"""Dropout and noise that are present in training only, drawn from a generator that belongs to the layer."""

from __future__ import annotations

import math
from typing import Any

from ... import random
from ...errors import ArgumentError, explain
from ...ir import Tensor, no_grad
from ...ir.trace import eager
from ...ops.broadcast import broadcast_to
from ...ops.elementwise import where, zeros_like
from ...typing import ArrayLike
from ..core.checks import need_rank, probability
from ..core.module import Module


def own_generator() -> random.Generator:
    """A generator with a seed drawn from the default one, so that `cr.random.seed` fixes it."""
    with eager(), no_grad():
        return random.Generator(int(random.randint(2**62).item()))


def drop(x: Tensor, rate: float, generator: random.Generator, shape: tuple[int, ...] | None = None) -> Tensor:
    """x with zeros at random, what is left divided by 1 - rate; `shape`, which broadcasts to x's, has one decision
    each."""
    kept = generator.bernoulli(1 - rate, x.shape if shape is None else shape)
    return where(broadcast_to(kept, x.shape), x * (1 / (1 - rate)), zeros_like(x))


class Dropout(Module):
    """In training, each element is 0 with probability `rate`, else divided by 1 - rate (Srivastava et al., 2014).

    The state of its generator is a Variable: compiled steps advance it, checkpoints keep it.

    Args:
        rate: 0.5 by default, as in the paper for hidden units.

    >>> layer, x = nn.Dropout(0.5), cr.ones((1000,))
    >>> bool(cr.all(layer(x) == x)), np.unique(layer(x, training=True).numpy())
    (True, array([0., 2.], dtype=float32))
    """

    def __init__(self, rate: float = 0.5):
        self.rate = probability("rate", rate)

    def build(self, x: Any) -> None:
        if self.rate:
            self.random = own_generator()

    def noise_shape(self, x: ArrayLike) -> tuple[int, ...]:
        """One decision for each element."""
        return x.shape

    def forward(self, x: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return x
        return drop(x, self.rate, self.random, self.noise_shape(x))


class SpatialDropout(Dropout):
    """Dropout of whole channels of a sample, whose positions are too much alike to be dropped alone
    (Tompson et al., 2015)."""

    rank = 2

    def noise_shape(self, x: Any) -> tuple[int, ...]:
        need_rank(x, self.rank)
        return (x.shape[0], *(1,) * self.rank, x.shape[-1])


class SpatialDropout1D(SpatialDropout):
    __doc__ = f"""For sequences (N, steps, channels). {SpatialDropout.__doc__}

    >>> layer, x = nn.SpatialDropout1D(0.5), cr.ones((2, 5, 3))
    >>> layer(x).numpy().min()
    np.float32(1.0)
    """
    rank = 1


class SpatialDropout2D(SpatialDropout):
    __doc__ = f"""For images (N, height, width, channels). {SpatialDropout.__doc__}

    >>> layer, x = nn.SpatialDropout2D(0.5), cr.ones((2, 4, 4, 3))
    >>> layer(x).numpy().min()
    np.float32(1.0)
    """
    rank = 2


class SpatialDropout3D(SpatialDropout):
    __doc__ = f"""For volumes (N, depth, height, width, channels). {SpatialDropout.__doc__}

    >>> layer, x = nn.SpatialDropout3D(0.5), cr.ones((2, 4, 4, 4, 3))
    >>> layer(x).numpy().min()
    np.float32(1.0)
    """
    rank = 3


class StochasticDepth(Dropout):
    """In training, a whole sample is 0 with probability `rate`, else divided by 1 - rate: the last layer of a residual
    block's body, which then is passed by (Huang et al., 2016).

    >>> nn.StochasticDepth(0.2)(cr.ones((2, 3))).numpy()
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """

    def noise_shape(self, x: ArrayLike) -> tuple[int, ...]:
        return (x.shape[0], *(1,) * (x.ndim - 1))


class AlphaDropout(Dropout):
    """Dropout to SELU's lower limit a = -1.758..., then a line that keeps mean 0 and variance 1
    (Klambauer et al., 2017).

    >>> nn.AlphaDropout(0.1)(cr.ones((2, 3))).numpy()
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """

    def forward(self, x: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return x
        limit, q = -1.0507009873554805 * 1.6732632423543772, 1 - self.rate
        scale = 1 / math.sqrt(q * (1 + self.rate * limit * limit))
        kept = self.random.bernoulli(q, x.shape)
        return where(kept, x, limit) * scale - scale * self.rate * limit


class GaussianDropout(Dropout):
    """In training, x times normal numbers of mean 1 and variance rate / (1 - rate) (Srivastava et al., 2014).

    >>> nn.GaussianDropout(0.1)(cr.ones((2, 3))).numpy()
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """

    def forward(self, x: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return x
        return x * self.random.normal(x.shape, 1.0, math.sqrt(self.rate / (1 - self.rate)), dtype=x.dtype)


class GaussianNoise(Module):
    """In training, x plus normal numbers of mean 0 and standard deviation `std`.

    >>> nn.GaussianNoise(0.1)(cr.ones((2, 3))).numpy()
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """

    def __init__(self, std: float):
        if not std >= 0:
            raise ArgumentError(explain("a standard deviation is not negative", got=f"std={std}"))
        self.std = float(std)

    def build(self, x: Any) -> None:
        self.random = own_generator()

    def forward(self, x: Any, training: bool = False) -> Any:
        return x + self.random.normal(x.shape, 0.0, self.std, dtype=x.dtype) if training and self.std else x
