# SPDX-License-Identifier: Apache-2.0
"""Layers whose weight is a function of other Variables: while such a layer runs, its weight is the function's value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain, shown
from ...ir import Tensor, Variable, as_tensor
from ...ops.compose import length, matmul, matrix_transpose, unit
from ...ops.control import stop_gradient
from ...ops.movement import reshape
from ...ops.reduce import sum
from ..core.checks import positive
from ..core.module import Module
from ..initializers import normal


class Reparametrized(Module):
    """What both share: a layer with a `weight` whose last axis counts its units."""

    def __init__(self, layer: Module):
        if not isinstance(layer, Module):
            raise ArgumentError(explain(f"{type(self).__name__} goes round a layer", got=shown(layer),
                                        fix=f"nn.{type(self).__name__}(nn.Dense(10))"))
        self.layer = layer

    def _input_type(self) -> Any:
        return self.layer._input_type()

    def build(self, *inputs: Any) -> None:
        if not self.layer.built:
            self.layer.trace(*(x.node.type for x in inputs))
        weight = getattr(self.layer, "weight", None)
        if not isinstance(weight, Variable) or weight.ndim < 2:
            raise ArgumentError(explain(f"{type(self.layer).__name__} has no weight with two axes or more",
                                        got=shown(self.layer), expected="Dense, a convolution, ..."))
        self.start(weight)

    def start(self, weight: Variable) -> None:
        """Make the Variables that the weight depends on."""
        raise NotImplementedError

    def weight_of(self, weight: Tensor, training: bool) -> Tensor:
        """What the layer uses in the place of its weight."""
        raise NotImplementedError

    def forward(self, *inputs: Any, training: bool = False) -> Any:
        held = vars(self.layer)
        own = held["weight"]
        held["weight"] = self.weight_of(as_tensor(own), training)
        try:
            return self.layer(*inputs)
        finally:
            held["weight"] = own


class WeightNorm(Reparametrized):
    """weight = magnitude * v / |v| for each unit, v being the layer's own weight (Salimans and Kingma, 2016).

    At first the weight is v. Length and direction are learnt apart.

    Args:
        layer: Dense, a convolution, or any with a `weight`.

    >>> nn.WeightNorm(nn.Dense(4))(cr.ones((2, 3))).shape
    (2, 4)
    """

    def start(self, weight: Variable) -> None:
        units = np.sqrt((weight.numpy().astype("float64") ** 2).sum(axis=tuple(range(weight.ndim - 1))))
        self.magnitude = Variable(units.astype(weight.dtype), name="magnitude")

    def weight_of(self, weight: Tensor, training: bool) -> Tensor:
        return weight * (self.magnitude / length(weight, tuple(range(weight.ndim - 1))))


class SpectralNorm(Reparametrized):
    """weight / sigma, with sigma the largest singular value of the weight as a matrix (-1, units) (Miyato et al.,
    2018).

    sigma = u^T W v, where u and v follow by power iterations, one or more per training step; they are kept with the
    layer and pass no gradient.

    Args:
        layer: Dense, a convolution, or any with a `weight`.
        iterations: per training step.

    >>> nn.SpectralNorm(nn.Dense(4))(cr.ones((2, 3))).shape
    (2, 4)
    """

    statistics = ("left", "right")

    def __init__(self, layer: Module, iterations: int = 1):
        super().__init__(layer)
        self.iterations = positive("iterations", iterations)

    def start(self, weight: Variable) -> None:
        matrix = weight.numpy().reshape(-1, weight.shape[-1]).astype("float64")
        v = normal((matrix.shape[1],), "float64", std=1.0)
        for _ in range(15):
            u = matrix @ v / max(np.linalg.norm(matrix @ v), 1e-12)
            v = matrix.T @ u / max(np.linalg.norm(matrix.T @ u), 1e-12)
        self.left = Variable(u.astype(weight.dtype), name="left", trainable=False)
        self.right = Variable(v.astype(weight.dtype), name="right", trainable=False)

    def weight_of(self, weight: Tensor, training: bool) -> Tensor:
        matrix = reshape(weight, (math.prod(weight.shape[:-1]), weight.shape[-1]))
        if training and not self.left.frozen:
            fixed = stop_gradient(matrix)
            for _ in range(self.iterations):
                self.left.assign(_unit(matmul(fixed, self.right)))
                self.right.assign(_unit(matmul(matrix_transpose(fixed), self.left)))
        u, v = stop_gradient(as_tensor(self.left)), stop_gradient(as_tensor(self.right))
        return weight / sum(u * matmul(matrix, v))


def _unit(x: Tensor) -> Tensor:
    return unit(x, 1e-12)
