# SPDX-License-Identifier: Apache-2.0
"""Activations by name, function or layer: one table for all three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, ShapeError, explain, shown
from ..foundations.arguments import guard
from ..foundations.names import look_up
from ..ir import as_tensor
from ..ir.dtype import canonical
from ..ops import compose
from ..ops.control import custom_gradient, stop_gradient
from ..ops.elementwise import (
    abs,
    as_float,
    astype,
    exp,
    expm1,
    full_like,
    less,
    less_equal,
    maximum,
    sqrt,
    tanh,
    where,
    zeros_like,
)
from ..ops.index import iota, sort
from ..ops.movement import slice_axis
from ..ops.reduce import cumulative_sum, max, sum
from ..typing import ActivationLike, DTypeLike
from .core.module import Module


def linear(x: Any, /) -> Any:
    """x itself."""
    return x


def relu6(x: Any, /) -> Any:
    """min(max(x, 0), 6)."""
    return compose.ramp(x, 0.0, 6.0)


def relu_squared(x: Any, /) -> Any:
    """max(x, 0)^2 (So et al., 2021)."""
    y = compose.relu(as_float(x))
    return y * y


def celu(x: Any, /, alpha: float = 1.0) -> Any:
    """x for x > 0, else alpha (e^(x / alpha) - 1); smooth, with gradient 1 at 0."""
    x = as_float(x)
    above = less(0, x)
    return where(above, x, alpha * expm1(where(above, zeros_like(x), x) / alpha))


def gelu_tanh(x: Any, /) -> Any:
    """GELU by tanh: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    return compose.gelu(x, "tanh")


def quick_gelu(x: Any, /) -> Any:
    """x sigmoid(1.702 x)."""
    x = as_float(x)
    return x * compose.sigmoid(1.702 * x)


def hard_silu(x: Any, /) -> Any:
    """x min(max(x / 6 + 1/2, 0), 1) (Howard et al., 2019)."""
    x = as_float(x)
    return x * compose.hard_sigmoid(x)


def hard_shrink(x: Any, /, threshold: float = 0.5) -> Any:
    """x where |x| > threshold, else 0."""
    x = as_float(x)
    return where(less_equal(abs(x), threshold), zeros_like(x), x)


def soft_shrink(x: Any, /, threshold: float = 0.5) -> Any:
    """sign(x) max(|x| - threshold, 0), for a threshold of 0 or more."""
    x = as_float(x)
    if isinstance(threshold, int | float) and threshold < 0:
        raise ArgumentError(explain("the threshold of a shrinkage is 0 or more", got=shown(threshold)))
    return where(less(threshold, x), x - threshold, where(less(x, -threshold), x + threshold, 0 * x))


def tanh_shrink(x: Any, /) -> Any:
    """x - tanh(x)."""
    x = as_float(x)
    return x - tanh(x)


def squareplus(x: Any, /, b: float = 4.0) -> Any:
    """(x + sqrt(x^2 + b)) / 2; below 0, where these cancel, b / 2 / (sqrt(x^2 + b) - x)."""
    x = as_float(x)
    root, below = sqrt(x * x + b), less(x, 0)
    return where(below, 0.5 * b / where(below, root - x, full_like(x, 1.0)), 0.5 * (x + root))


def threshold(x: Any, /, limit: float = 0.0, value: float = 0.0) -> Any:
    """x where x > limit, else `value`."""
    x = as_float(x)
    return where(less_equal(x, limit), full_like(x, value), x)


def softmin(x: Any, /, axis: int = -1) -> Any:
    """softmax(-x)."""
    return compose.softmax(-as_float(x), axis)


def sparsemax(x: Any, /) -> Any:
    """The point of the probability simplex nearest to x, along the last axis: max(x - tau, 0)
    (Martins and Astudillo, 2016)."""
    x = as_float(x)
    x = x - stop_gradient(max(x, axis=-1, keepdims=True)) if x.shape[-1] else x
    z = sort(x, axis=-1, descending=True)
    count = iota(x.shape, x.ndim - 1, x.dtype) + 1
    inside = less(cumulative_sum(z, axis=-1) - 1, count * z)
    size = sum(astype(inside, x.dtype), axis=-1, keepdims=True)
    tau = (sum(where(inside, z, zeros_like(z)), axis=-1, keepdims=True) - 1) / size
    value = maximum(x - stop_gradient(tau), 0.0)

    def rule(g: Any, y: Any, x: Any) -> tuple[Any]:
        support = astype(less(0, y), g.dtype)
        mean = sum(g * support, axis=-1, keepdims=True) / maximum(sum(support, axis=-1, keepdims=True), 1.0)
        return (support * (g - mean),)
    return custom_gradient(value, (x,), rule)


def _halves(x: Any) -> tuple[Any, Any]:
    x = as_float(x)
    if not x.ndim or x.shape[-1] % 2:
        raise ShapeError(explain("a gated activation halves the last axis", got=f"shape {x.shape}",
                                 expected="an even number of features"))
    return slice_axis(x, x.ndim - 1, 0, x.shape[-1] // 2), slice_axis(x, x.ndim - 1, x.shape[-1] // 2, x.shape[-1])


def glu(x: Any, /) -> Any:
    """a sigmoid(b), a and b the halves of the last axis (Dauphin et al., 2017)."""
    a, b = _halves(x)
    return a * compose.sigmoid(b)


def reglu(x: Any, /) -> Any:
    """a relu(b), a and b the halves of the last axis (Shazeer, 2020)."""
    a, b = _halves(x)
    return a * compose.relu(b)


def geglu(x: Any, /) -> Any:
    """a gelu(b), a and b the halves of the last axis (Shazeer, 2020)."""
    a, b = _halves(x)
    return a * compose.gelu(b)


def swiglu(x: Any, /) -> Any:
    """a silu(b), a and b the halves of the last axis (Shazeer, 2020)."""
    a, b = _halves(x)
    return a * compose.silu(b)


def crelu(x: Any, /) -> Any:
    """relu(x) and relu(-x) side by side along the last axis (Shang et al., 2016)."""
    x = as_float(x)
    return compose.concat([compose.relu(x), compose.relu(-x)], axis=-1)


guard(globals(), ("celu", "crelu", "geglu", "gelu_tanh", "glu", "hard_shrink", "hard_silu", "quick_gelu", "reglu",
                  "relu6", "relu_squared", "soft_shrink", "softmin", "sparsemax", "squareplus", "swiglu", "tanh_shrink",
                  "threshold"))

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "linear": linear, "relu": compose.relu, "leaky_relu": compose.leaky_relu, "elu": compose.elu, "selu": compose.selu,
    "gelu": compose.gelu, "silu": compose.silu, "mish": compose.mish, "tanh": tanh, "sigmoid": compose.sigmoid,
    "hard_tanh": compose.hard_tanh, "hard_sigmoid": compose.hard_sigmoid, "softmax": compose.softmax,
    "log_softmax": compose.log_softmax, "softplus": compose.softplus, "softsign": compose.softsign,
    "log_sigmoid": compose.log_sigmoid, "exponential": exp,
    **{function.__name__: function for function in (
        relu6, relu_squared, celu, gelu_tanh, quick_gelu, hard_silu, hard_shrink, soft_shrink, tanh_shrink, squareplus,
        threshold, softmin, sparsemax, glu, reglu, geglu, swiglu, crelu)},
}


def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator: the function can be named from now on, as in Dense(8, activation="name"), and saved with a model."""
    name = getattr(function, "__name__", None)
    if not callable(function) or name is None:
        raise ArgumentError(explain("an activation is registered under the name of its function", got=shown(function),
                                    expected="a function"))
    if FUNCTIONS.get(name, function) is not function:
        raise ArgumentError(explain(f"there is an activation {name!r} already", got=shown(function),
                                    fix="give the function another name"))
    FUNCTIONS[name] = function
    return function


def masked_softmax(x: Any, mask: Any, /, axis: int = -1, temperature: float = 1.0) -> Any:
    """softmax(x / temperature) along `axis` over the elements where the mask is True; 0 elsewhere, and in all of a row
    without any."""
    if isinstance(temperature, int | float) and not temperature > 0:
        raise ArgumentError(explain("a temperature is above 0", got=shown(temperature), fix="for 0, take the argmax"))
    x, mask = as_float(x), as_tensor(mask)
    allowed = compose.logical_and(mask, full_like(x, True, dtype=bool))
    weights = compose.softmax(where(allowed, x * (1 / temperature), -1e30), axis)
    return where(allowed, weights, zeros_like(weights))


def get(activation: Any) -> Callable[[Any], Any]:
    """A name, a function, a layer or None (the identity) as something to call."""
    if activation is None:
        return linear
    if isinstance(activation, str):
        return look_up("activation", activation, FUNCTIONS)
    if isinstance(activation, type) and issubclass(activation, Module):
        return activation()
    if not callable(activation):
        raise ArgumentError(explain("an activation is a name, a function or a layer", got=shown(activation),
                                    expected=", ".join(sorted(FUNCTIONS)),
                                    fix="layers are told only what comes out: Dense(10), not Dense(128, 10)"))
    return activation


def name_of(function: Any) -> str | None:
    """The name under which a function is in the table, or None."""
    return next((name for name, entry in FUNCTIONS.items() if entry is function), None)


class Activation(Module):
    """An activation as a layer: y = f(x).

    Args:
        activation: name, function or layer.

    >>> nn.Activation("relu")(cr.asarray([[-1.0, 2.0]])).numpy()
    array([[0., 2.]], dtype=float32)
    """

    def __init__(self, activation: ActivationLike):
        self.activation = get(activation)

    def forward(self, x: Any) -> Any:
        return self.activation(x)


def _layer(name: str, function: Callable[..., Any]) -> type[Module]:
    return type(name, (Module,),
                {"forward": lambda self, x: function(x), "__doc__": function.__doc__, "__module__": __name__})


ReLU = _layer("ReLU", compose.relu)
SELU = _layer("SELU", compose.selu)
SiLU = _layer("SiLU", compose.silu)
Mish = _layer("Mish", compose.mish)
Tanh = _layer("Tanh", tanh)
Sigmoid = _layer("Sigmoid", compose.sigmoid)
Softplus = _layer("Softplus", compose.softplus)


class GELU(Module):
    """x Phi(x) (Hendrycks and Gimpel, 2016); approximate="tanh" for the cheaper form.

    >>> nn.GELU()(cr.asarray([[-1.0, 2.0]])).numpy()
    array([[-0.15865526,  1.9544997 ]], dtype=float32)
    """

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return compose.gelu(x, self.approximate)


class ELU(Module):
    """x for x > 0, else alpha (e^x - 1) (Clevert, Unterthiner and Hochreiter, 2016).

    >>> nn.ELU()(cr.asarray([[-1.0, 2.0]])).numpy()
    array([[-0.63212055,  2.        ]], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return compose.elu(x, self.alpha)


class LeakyReLU(Module):
    """x for x > 0, else negative_slope * x.

    >>> nn.LeakyReLU(0.1)(cr.asarray([[-1.0, 2.0]])).numpy()
    array([[-0.1,  2. ]], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return compose.leaky_relu(x, self.negative_slope)


class Softmax(Module):
    """e^x / sum(e^x) along `axis`. Losses take logits, so this is for predictions, not for training.

    >>> nn.Softmax()(cr.asarray([[0.0, 0.0]])).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return compose.softmax(x, self.axis)


class PReLU(Module):
    """x for x > 0, else weight * x, with a slope for each channel that is learnt (He et al., 2015).

    Args:
        start: the first slope.
        shared: one slope for all channels.

    >>> nn.PReLU(0.25)(cr.asarray([[-1.0, 2.0]])).numpy()
    array([[-0.25,  2.  ]], dtype=float32)
    """

    def __init__(self, start: float = 0.25, shared: bool = False, dtype: DTypeLike = "float32"):
        self.start, self.shared, self.dtype = float(start), shared, canonical(dtype)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        from .initializers import make

        self.weight = make(self.start, (1 if self.shared else x.shape[-1],), self.dtype, "weight")

    def forward(self, x: Any) -> Any:
        return where(less(0, x), x, x * self.weight)
