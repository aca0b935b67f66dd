# SPDX-License-Identifier: Apache-2.0
"""`Distribution`: the one interface of all distributions.

In come parameters (numbers, arrays, tensors or Variables; they broadcast to the batch shape), out come samples, log
probabilities, moments and divergences as tensors. A batch of distributions is one object; a sample has the shape
(*shape, *batch, *event), where the event is what one draw gives: () for numbers, (d,) for vectors.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import random
from ..errors import ArgumentError, MissingExtra, ShapeError, TraceError, explain
from ..foundations.arguments import guard_methods
from ..ir.bind import as_tensor
from ..ir.dtype import DEFAULT_FLOAT, canonical, float64, is_float, promote
from ..ir.node import Shape
from ..ir.tensor import Tensor
from ..ops.broadcast import broadcast_to
from ..ops.control import custom_gradient, stop_gradient
from ..ops.elementwise import astype, exp, less, sqrt, where
from ..ops.types import broadcast_shapes
from ..typing import ArrayLike


class Distribution:
    """Base of all distributions; a subclass sets its parameters and writes the formulas.

    Attributes:
        dtype: of the parameters, of log probabilities and of samples that are real; float32 for Python numbers.
        batch_shape: the shape in which the parameters meet (less the axes of the event).
        event_shape: the shape of one draw.
        reparameterized: whether `rsample` passes gradients from samples to parameters.
        discrete: whether samples are whole numbers (int64).

    >>> d = cr.distributions.Normal(0.0, 1.0)
    >>> isinstance(d, cr.distributions.Distribution), d.kl(cr.distributions.Normal(1.0, 1.0))
    (True, Tensor(0.5, dtype=float32))
    """

    dtype: np.dtype
    batch_shape: Shape = ()
    event_shape: Shape = ()
    reparameterized = False
    discrete = False

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if cls.__module__.startswith(f"{__package__}."):
            guard_methods(cls, [name for name, value in vars(cls).items()
                                if inspect.isfunction(value) and (name == "__init__" or not name.startswith("_"))])

    # ---- samples

    def sample(self, shape: int | Sequence[int] = (), generator: random.Generator | int | None = None) -> Tensor:
        """Draws of shape (*shape, *batch, *event), through which no gradient passes.

        Args:
            generator: a chainrule.random.Generator, or a seed; default: the generator of `chainrule.random`. Each call
                is one draw from it, with the same result eagerly and compiled.
        """
        return stop_gradient(self._draw(self._full_shape(shape), _source(generator)))

    def rsample(self, shape: int | Sequence[int] = (), generator: random.Generator | int | None = None) -> Tensor:
        """Draws as a differentiable function of the parameters; ArgumentError where there is none."""
        if not self.reparameterized:
            raise ArgumentError(explain(f"samples of {type(self).__name__} are not a differentiable function of its "
                                        "parameters",
                                        got="rsample",
                                        fix="weight log_prob(sample) by the reward instead (the score-function "
                                            "gradient)"))
        return self._draw(self._full_shape(shape), _source(generator))

    def _full_shape(self, shape: int | Sequence[int]) -> Shape:
        lead = (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
        return (*lead, *self.batch_shape)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        """Draws of shape (*shape, *event)."""
        raise NotImplementedError

    # ---- probabilities

    def log_prob(self, value: ArrayLike) -> Tensor:
        """Natural logarithm of the density (or probability) at `value`; -inf outside the support."""
        raise NotImplementedError

    def prob(self, value: ArrayLike) -> Tensor:
        """Density, or probability, at `value`."""
        return exp(self.log_prob(value))

    def cdf(self, value: ArrayLike) -> Tensor:
        """P(X <= value)."""
        raise self._unknown("cdf", "estimate it from samples: cr.mean(d.sample(n) <= value)")

    # ---- numbers

    @property
    def mean(self) -> Tensor:
        """E[X], of shape (*batch, *event)."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """E[(X - mean)^2], elementwise."""
        raise NotImplementedError

    @property
    def std(self) -> Tensor:
        """Standard deviation, the root of the variance."""
        return sqrt(self.variance)

    def entropy(self) -> Tensor:
        """-E[log_prob(X)] in nats (differential for densities: may be negative)."""
        raise self._unknown("entropy", "estimate it from samples: -cr.mean(d.log_prob(d.sample(n)))")

    def kl(self, other: Distribution) -> Tensor:
        """KL(self || other) = E_self[log self(X) - log other(X)] in nats, in closed form, for two of one family."""
        if type(other) is not type(self):
            raise ArgumentError(explain("the divergence is known within one family only",
                                        got=f"{type(self).__name__} and {type(other).__name__}",
                                        fix="estimate it from samples: x = p.sample(n); cr.mean(p.log_prob(x) - "
                                            "q.log_prob(x))"))
        return self._kl(other)

    def _kl(self, other: Any) -> Tensor:
        raise self._unknown("kl", "estimate it from samples: x = p.sample(n); cr.mean(p.log_prob(x) - q.log_prob(x))")

    def __repr__(self) -> str:
        shape = f"batch {self.batch_shape}" + (f", event {self.event_shape}" if self.event_shape else "")
        return f"{type(self).__name__}({shape}, {self.dtype})"

    # ---- for subclasses

    def _unknown(self, what: str, fix: str) -> ArgumentError:
        return ArgumentError(explain(f"{type(self).__name__} has no closed form for {what}", fix=fix))

    def _parameters(self, *values: Any, dtype: Any = None, event: int = 0) -> list[Tensor]:
        """The parameters as tensors of one floating-point dtype; sets `dtype` and, without event axes, `batch_shape`.
        """
        tensors = [as_tensor(x, dtype if isinstance(x, int | float) else None) for x in values]
        kind = promote(*(x.dtype for x in tensors))
        self.dtype = canonical(dtype) if dtype is not None else kind if is_float(kind) else DEFAULT_FLOAT
        if not event:
            self.batch_shape = broadcast_shapes(*(x.shape for x in tensors))
        return [astype(x, self.dtype) for x in tensors]

    def _check(self, name: str, value: Tensor, fine: Callable[[np.ndarray], Any], expected: str) -> None:
        """ArgumentError for a parameter outside its range; nothing is checked inside compiled functions."""
        data = value.node.data
        if data is not None and not np.all(fine(data) | np.isnan(data)):
            bad = data[~(fine(data) | np.isnan(data))].flat[0] if data.shape == np.shape(fine(data)) else data
            raise ArgumentError(explain(f"{type(self).__name__}: the parameter {name} is out of range",
                                        got=f"{name} = {bad}", expected=expected))

    def _positive(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._check(name, value, lambda x: x > 0, f"{name} > 0")

    def _value(self, value: Any) -> Tensor:
        """A point as a floating-point tensor, in the dtype of the parameters or a wider one."""
        x = as_tensor(value)
        x = astype(x, promote(x.dtype, self.dtype) if is_float(x.dtype) else self.dtype)
        if self.event_shape and x.shape[-len(self.event_shape):] != self.event_shape:
            raise ShapeError(explain(f"a value of {type(self).__name__} has another shape", got=str(x.shape),
                                     expected=f"(..., {', '.join(map(str, self.event_shape))})"))
        return x

    def _widened(self) -> Any:
        """The same distribution with its parameters in float64."""
        if self.dtype == float64:
            return self
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and is_float(value.dtype):
                setattr(other, name, astype(value, float64))
        other.dtype = float64
        return other

    def _spread(self, x: Tensor) -> Tensor:
        """A moment repeated to the shape (*batch, *event)."""
        return broadcast_to(x, (*self.batch_shape, *self.event_shape))


guard_methods(Distribution, ("kl", "prob", "rsample", "sample"))


def _source(generator: random.Generator | int | None) -> random.Generator:
    if generator is None:
        return random.default
    return random.Generator(generator) if isinstance(generator, int | np.integer) else generator


def in_float64(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A formula whose terms are large and cancel: computed in float64, and rounded once to the dtype of parameters and
    value."""
    @functools.wraps(formula)
    def method(self: Distribution, *given: Any) -> Tensor:
        values = [x if isinstance(x, Distribution) else self._value(x) for x in given]
        wide = [x._widened() if isinstance(x, Distribution) else astype(x, float64) for x in values]
        return astype(formula(self._widened(), *wide), promote(self.dtype, *(x.dtype for x in values)))
    return method


def beyond(x: Tensor, low: Any, high: Any) -> Tensor:
    """Whether x < low or x > high; false for NaN, which so stays NaN."""
    return less(x, low) | less(high, x)


def impossible_where(outside: Tensor, value: Tensor) -> Tensor:
    """A log probability, -inf outside the support."""
    return where(outside, -math.inf, value)


def scipy_special(feature: str) -> Any:
    """scipy.special; MissingExtra without SciPy."""
    try:
        import scipy.special as special
    except ImportError as error:
        raise MissingExtra(feature, "scipy", "science") from error
    return special


def by_scipy(what: str, function: Callable[..., Any], *inputs: Tensor) -> Tensor:
    """function(*arrays) computed in float64 at once outside the language; asking for its gradient raises ArgumentError.
    """
    if any(x.node.data is None for x in inputs):
        raise TraceError(explain(f"{what} is computed by SciPy and needs the values of its operands; this function is "
                                 "being compiled",
                                 fix="call it outside the compiled function"))
    dtype = promote(*(x.dtype for x in inputs))
    value = np.asarray(function(*(x.node.data.astype(np.float64) for x in inputs)), dtype)

    def refuse(g: Tensor, y: Tensor, *inputs: Tensor) -> Any:
        raise ArgumentError(explain(f"{what} has no gradient",
                                    fix="differentiate log_prob, or estimate the probability from rsample"))
    return custom_gradient(value, inputs, refuse)
