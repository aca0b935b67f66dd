# SPDX-License-Identifier: Apache-2.0
"""What happens to the weights after each step: proximal operators, which make exact zeros, and constraints.

For a penalty r, prox(p) = argmin_q |q - p|^2 / 2 + rate r(q). A gradient step on the loss followed by it minimises
loss + r (ISTA; Daubechies et al., 2004; Parikh and Boyd, 2014), and unlike a gradient of r it arrives at 0 exactly.
With optimisers other than plain SGD the same operator is used with the plain learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import random
from ..foundations.arguments import guard
from ..ir import Tensor, Variable
from ..ops.compose import length
from ..ops.elementwise import astype, maximum
from ..typing import ModelLike
from .base import Optimizer, not_negative, paired
from .penalties import chosen, others
from .settings import OF_OPTIMIZERS, setting
from .wrappers import Wrapper

Operator = Callable[[Tensor, Tensor], Tensor]


@setting
def l1(strength: float) -> Operator:
    """Soft threshold, of the penalty strength * sum |w|: p moves by rate * strength towards 0, and stops there."""
    strength = not_negative("strength", strength)

    def operator(p: Tensor, rate: Tensor) -> Tensor:
        return maximum(p - rate * strength, 0.0) - maximum(-p - rate * strength, 0.0)
    return operator


@setting
def ridge(strength: float) -> Operator:
    """p / (1 + rate * strength), of the penalty strength / 2 * sum w^2."""
    strength = not_negative("strength", strength)
    return lambda p, rate: p / (1 + rate * strength)


@setting
def group_lasso(strength: float, axis: int = -1) -> Operator:
    """p_g * max(0, 1 - rate * strength * sqrt(size of g) / |p_g|) for each group g: whole groups become exactly 0.

    A group is an index of `axis`, as in `penalties.group_lasso`.
    """
    strength = not_negative("strength", strength)

    def operator(p: Tensor, rate: Tensor) -> Tensor:
        size = length(p, others(p.ndim, axis))
        threshold = rate * (strength * math.sqrt(p.size / p.shape[axis]))
        return p * maximum(1 - threshold / maximum(size, 1e-30), 0.0)
    return operator


class Proximal(Wrapper):
    """An optimiser, and after each of its steps `operator(p, learning rate)` on the weights.

    Args:
        optimizer: any other one.
        operator: such as proximal.l1(1e-3), or your own function of (weights, learning rate).
        only: pattern of names, as for files; by default all trainable parameters with two axes or more.

    >>> from chainrule.optim import proximal
    >>> w = cr.Variable([1.0, 0.01])
    >>> optimizer = cr.optim.Proximal(cr.optim.SGD(0.1), proximal.l1(0.5))
    >>> optimizer.update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([0.8  , 0.008], dtype=float32)
    """

    def __init__(self, optimizer: Optimizer, operator: Operator, only: str | None = None):
        super().__init__({"": optimizer})
        self.optimizer, self.operator, self.only = optimizer, operator, only

    def update(self, model: ModelLike, grads: Any) -> None:
        """One step of the optimiser, then the operator."""
        parameters, grads = paired(model, grads)
        self.build(parameters)
        weights = chosen(parameters, self.only)
        rates = {name: _rate_of(self.optimizer, v.dtype) for name, v in weights.items()}
        self.optimizer.update(parameters, grads)
        for name, v in weights.items():
            v.assign(self.operator(v.value, rates[name]))

    def build(self, parameters: Any) -> None:
        """Make the slots of parameters that have none yet."""
        self.optimizer.build(parameters)


def _rate_of(optimizer: Optimizer, dtype: Any) -> Tensor:
    while isinstance(optimizer, Wrapper):
        optimizer = next(iter(optimizer.members.values()))
    return optimizer._rate_now(dtype)


def _constrain(constraint: Callable[[Tensor], Tensor], p: Tensor, rate: Tensor) -> Tensor:
    return constraint(p)


def constrained(optimizer: Optimizer, constraint: Callable[[Tensor], Tensor], only: str | None = None) -> Proximal:
    """The optimiser with weights put back into an allowed set after each step (projected gradient descent).

        optim.constrained(optim.SGD(0.1), nn.constraints.max_norm(3.0))

    >>> w = cr.Variable([1.0, -2.0])
    >>> optimizer = cr.optim.constrained(cr.optim.SGD(0.1), cr.relu)
    >>> optimizer.update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.8, -1.6], dtype=float32)
    """
    return Proximal(optimizer, partial(_constrain, constraint), only)


class GradientNoise(Wrapper):
    """Gradients plus normal noise of variance strength / (1 + t)^decay, t = 0, 1, ... (Neelakantan et al., 2015).

    Args:
        optimizer: sees the noisy gradients.
        strength: variance in the first step.
        decay: how fast it falls; 0.55 in the paper.
        seed: of the noise; its state is saved with the optimiser.

    >>> w = cr.Variable([1.0, -2.0])
    >>> optimizer = cr.optim.GradientNoise(cr.optim.SGD(0.1), strength=0.01)
    >>> optimizer.update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> np.round(w.numpy(), 1)
    array([ 0.8, -1.6], dtype=float32)
    """

    def __init__(self, optimizer: Optimizer, strength: float = 0.01, decay: float = 0.55, seed: int = 0):
        super().__init__({"": optimizer})
        self.optimizer, self.decay = optimizer, not_negative("decay", decay)
        self.strength, self.random = not_negative("strength", strength), random.Generator(seed, name="noise")

    def update(self, model: ModelLike, grads: Any) -> None:
        """Add noise, then one step of the optimiser."""
        parameters, grads = paired(model, grads)
        self.build(parameters)
        deviation = math.sqrt(self.strength) * (1.0 + astype(self.step.value, "float64")) ** (-self.decay / 2)
        noisy = {name: g + astype(deviation, g.dtype) * self.random.normal(g.shape, dtype=g.dtype)
                 for name, g in grads.items()}
        self.optimizer.update(parameters, noisy)

    def build(self, parameters: Any) -> None:
        """Make the slots of parameters that have none yet."""
        self.optimizer.build(parameters)

    def variables(self) -> dict[str, Variable]:
        """Those of the optimiser and the state of the noise."""
        return {**super().variables(), "noise": self.random.state}


guard(globals(), ("constrained",), {"constrained": OF_OPTIMIZERS})

__all__ = ["GradientNoise", "Proximal", "constrained", "group_lasso", "l1", "ridge"]
