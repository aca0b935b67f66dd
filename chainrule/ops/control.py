# SPDX-License-Identifier: Apache-2.0
"""Words about control: custom derivatives, stopping gradients, and barriers against sharing work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..foundations.arguments import guard
from ..ir.bind import as_tensor, bind
from ..ir.node import Op, op
from ..ir.tensor import Tensor
from ..typing import ArrayLike

# ---- custom derivatives: the value of y, the gradient of a rule


def _custom_vjp(g: Tensor, y: Tensor, value: Tensor, *inputs: Tensor,
                rule: Callable[..., Any] | None) -> tuple[Any, ...]:
    return (None, *(rule(g, y, *inputs) if rule is not None else ()))


CUSTOM = op("custom_gradient", infer=lambda y, *_, rule: y, meaning=lambda y, *_, rule: y, vjp=_custom_vjp)

BARRIER: Op = op("barrier", infer=lambda x: x, meaning=lambda x: x, vjp=(lambda g, y, x: bind(BARRIER, g),))


def custom_gradient(value: Any, inputs: tuple[Any, ...], rule: Callable[..., tuple[Any, ...]]) -> Tensor:
    """`value`, computed from `inputs`, with a derivative of its own: rule(g, y, *inputs) -> one gradient per input."""
    return bind(CUSTOM, as_tensor(value), *map(as_tensor, inputs), rule=rule)


def stop_gradient(x: ArrayLike, /) -> Tensor:
    """The value of `x`, through which no gradient passes.

    >>> cr.grad(lambda x: x * cr.stop_gradient(x))(cr.asarray(3.0))
    Tensor(3., dtype=float32)
    """
    return bind(CUSTOM, as_tensor(x), rule=None)


def barrier(x: Tensor) -> Tensor:
    """The value of `x`, past which no pass moves or shares work: what recomputes stays recomputed."""
    return bind(BARRIER, x)


guard(globals(), ("stop_gradient",))
