# SPDX-License-Identifier: Apache-2.0
"""Losses: a value for each sample, added up with weights; every one is (weighted sum, total weight) inside.

So a mean over an epoch is exact for any batch size, mask or accumulation. Nothing is broadcast silently: outputs and
targets must agree. Losses take logits. A loss is a function (outputs, targets) -> values, declared with `@loss`; a call
gives the weighted mean, and `sum_and_weight` its two parts.
"""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import ArgumentError, BoundsError, DTypeError, ShapeError, explain
from .ir import Tensor, Variable, as_tensor
from .ir.dtype import bool_, is_float, is_integer
from .names import closest, look_up, unknown_attribute
from .ops import compose, reduce
from .ops.broadcast import broadcast_to
from .ops.control import custom_gradient
from .ops.elementwise import abs, astype, equal, exp, less, log, maximum, multiply, ones_like, where, zeros_like
from .ops.index import iota, take
from .ops.movement import reshape

TABLE: dict[str, Loss] = {}
REDUCTIONS = ("mean", "sum", "none")


class SoftmaxWarning(UserWarning):
    """Probabilities were given to a loss that takes logits."""


class Loss:
    """A loss function with its options.

    `loss(outputs, targets, weights=None, mask=None, reduction="mean", **options)` gives the weighted mean (or "sum", or
    "none": each value times its weight). `loss.using(**options)` fixes options.

    `weights` has the shape of the values or of their leading axes (one number per sample); `mask` likewise, True where
    a value counts.
    """

    def __init__(self, values: Callable[..., Any], options: dict[str, Any] | None = None):
        functools.update_wrapper(self, values)
        self.values, self.options = values, dict(options or {})
        self.name = values.__name__

    def using(self, **options: Any) -> Loss:
        """The same loss with these options."""
        known = [name for name, p in inspect.signature(self.values).parameters.items() if p.kind is p.KEYWORD_ONLY]
        for name in options:
            if name not in known:
                raise ArgumentError(explain(f"the loss {self.name} has no option {name!r}",
                                            got=f"{name}={options[name]!r}",
                                            expected=", ".join(known) or "no options", fix=closest(name, known)))
        return Loss(self.values, {**self.options, **options})

    def __call__(self, outputs: Any, targets: Any, *, weights: Any = None, mask: Any = None, reduction: str = "mean",
                 **options: Any) -> Tensor:
        if reduction not in REDUCTIONS:
            raise ArgumentError(explain("there is no such reduction", got=repr(reduction),
                                        expected=" | ".join(REDUCTIONS),
                                        fix=closest(reduction, REDUCTIONS) or "leave it out for the mean"))
        chosen = self.using(**options) if options else self
        values, factors = chosen._weighted(outputs, targets, weights, mask)
        if reduction == "none":
            return values if factors is None else values * factors
        total, weight = _sums(values, factors)
        return total if reduction == "sum" else total / weight

    def sum_and_weight(self, outputs: Any, targets: Any, weights: Any = None,
                       mask: Any = None) -> tuple[Tensor, Tensor]:
        """(sum of weight * value, sum of weights), two scalars; their ratio is the mean, over any number of batches."""
        return _sums(*self._weighted(outputs, targets, weights, mask))

    def _weighted(self, outputs: Any, targets: Any, weights: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
        outputs, targets = _tensor(outputs), _tensor(targets)
        found = self.values(outputs, targets, **self.options)
        values, own = found if isinstance(found, tuple) else (_tensor(found), None)
        factors = own
        for name, factor in (("weights", weights), ("mask", mask)):
            if factor is not None:
                factor = _spread(astype(_tensor(factor), values.dtype), values, name)
                factors = factor if factors is None else factors * factor
        if mask is not None:  # what is masked out does not count, even if it is not finite
            values = where(_spread(astype(_tensor(mask), bool_), values, "mask"), values, zeros_like(values))
        return values, factors

    def __repr__(self) -> str:
        return f"losses.{self.name}" + (f".using({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"
                                        if self.options else "")


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else as_tensor(x.value if isinstance(x, Variable) else x)


def _sums(values: Tensor, factors: Tensor | None) -> tuple[Tensor, Tensor]:
    if factors is None:
        return reduce.sum(values), as_tensor(float(values.size), values.dtype)
    return reduce.sum(values * factors), reduce.sum(factors)


def _spread(factor: Tensor, values: Tensor, name: str) -> Tensor:
    """One factor per value from one per leading axes of the values."""
    if factor.shape == values.shape:
        return factor
    if values.shape[:factor.ndim] != factor.shape:
        column = factor.shape[-1:] == (1,) and values.shape[:factor.ndim - 1] == factor.shape[:-1]
        fix = f"drop the axis of extent 1: {name}.squeeze(-1)" if column else "give one number per value, or per sample"
        raise ShapeError(explain(f"the {name} do not fit the values of the loss",
                                 got=f"{name} {factor.shape}, values {values.shape}",
                                 expected=f"{values.shape}" + (f" or {values.shape[:1]}" if values.ndim > 1 else ""),
                                 fix=fix))
    return broadcast_to(reshape(factor, (*factor.shape, *(1,) * (values.ndim - factor.ndim))), values.shape)


def loss(function: Callable[..., Any]) -> Loss:
    """Declare a loss: a function (outputs, targets, *, options) -> values, or (values, weights)."""
    TABLE[function.__name__] = made = Loss(function)
    return made


def get(name: Any) -> Loss:
    """A loss from its name, from a Loss, or from a function (outputs, targets) -> values per sample (or their mean)."""
    if isinstance(name, Loss):
        return name
    if isinstance(name, str):
        return look_up("loss", name, TABLE)
    if not callable(name):
        raise ArgumentError(explain("a loss is a name or a function (outputs, targets) -> values", got=repr(name),
                                    expected=", ".join(sorted(TABLE))))
    return Loss(_of_function(name))


def _of_function(function: Callable[..., Any]) -> Callable[..., Any]:
    def values(outputs: Tensor, targets: Tensor) -> Tensor:
        found = _tensor(function(outputs, targets))
        return found if found.ndim else broadcast_to(found, (outputs.shape[0] if outputs.ndim else 1,))
    values.__name__ = getattr(function, "__name__", "loss")
    return values


# ---- what outputs and targets must look like

def _agree(outputs: Tensor, targets: Tensor) -> Tensor:
    """The targets in the dtype of the outputs; shapes must be equal."""
    if outputs.shape != targets.shape:
        raise ShapeError(explain("outputs and targets have different shapes",
                                 got=f"outputs {outputs.shape}, targets {targets.shape}",
                                 expected=f"targets {outputs.shape}", fix=_shape_fix(outputs.shape, targets.shape)))
    if not is_float(outputs.dtype):
        raise DTypeError(explain("the outputs of a network are floating-point numbers", got=f"outputs {outputs.dtype}",
                                 fix="cast them: cr.astype(outputs, 'float32')"))
    return astype(targets, outputs.dtype)


def _shape_fix(outputs: tuple[int, ...], targets: tuple[int, ...]) -> str | None:
    if outputs == (*targets, 1):
        return "give the targets the last axis, y[..., None], or drop it from the outputs: outputs[..., 0]"
    if targets == (*outputs, 1):
        return "drop the last axis of the targets: y[..., 0]"
    if outputs and targets and outputs[0] != targets[0] and outputs[1:] == targets[1:]:
        return f"check that both come from the same batch: there are {outputs[0]} outputs and {targets[0]} targets"
    return "the last layer decides the shape of the outputs; reshape the targets to it"


# ---- regression

@loss
def mean_squared_error(outputs: Any, targets: Any) -> Any:
    """(outputs - targets)^2, averaged over all elements."""
    difference = outputs - _agree(outputs, targets)
    return difference * difference


@loss
def mean_absolute_error(outputs: Any, targets: Any) -> Any:
    """|outputs - targets|, averaged over all elements."""
    return abs(outputs - _agree(outputs, targets))


@loss
def huber(outputs: Any, targets: Any, *, delta: float = 1.0) -> Any:
    """d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2), with d = outputs - targets (Huber, 1964)."""
    d = outputs - _agree(outputs, targets)
    a = abs(d)
    return where(compose.less_equal(a, delta), 0.5 * d * d, delta * (a - 0.5 * delta))


@loss
def log_cosh(outputs: Any, targets: Any) -> Any:
    """log(cosh(outputs - targets)) = |d| + log1p(e^(-2 |d|)) - log 2."""
    d = outputs - _agree(outputs, targets)
    return compose.softplus(2 * d) - d - math.log(2)


@loss
def poisson(outputs: Any, targets: Any) -> Any:
    """e^outputs - targets * outputs: the outputs are logarithms of rates."""
    return exp(outputs) - _agree(outputs, targets) * outputs


# ---- two classes

@loss
def binary_cross_entropy(outputs: Any, targets: Any, *, label_smoothing: float = 0.0,
                         positive_weight: float = 1.0) -> Any:
    """-(w t log p + (1 - t) log(1 - p)) with p = sigmoid(outputs); targets t in [0, 1].

    Args:
        label_smoothing: s moves the targets to t (1 - s) + s / 2.
        positive_weight: w, for rare positives.
    """
    t = _agree(outputs, targets)
    _check_range(t, 0.0, 1.0, "a target of binary_cross_entropy",
                 "are the labels 1 and 2, or -1 and 1? map them to 0 and 1")
    t = t * (1 - label_smoothing) + label_smoothing / 2 if label_smoothing else t
    if positive_weight == 1.0:
        return compose.softplus(outputs) - t * outputs
    return positive_weight * t * compose.softplus(-outputs) + (1 - t) * compose.softplus(outputs)


@loss
def hinge(outputs: Any, targets: Any) -> Any:
    """max(0, 1 - t * outputs) with targets t of -1 and 1."""
    t = _agree(outputs, targets)
    _check_range(t, -1.0, 1.0, "a target of hinge", "the labels are -1 and 1")
    return maximum(1 - t * outputs, 0.0)


def _check_range(values: Tensor, low: float, high: float, what: str, fix: str) -> None:
    data = values.node.data
    if data is not None and data.size and not ((data >= low) & (data <= high)).all():
        place = tuple(int(i) for i in np.argwhere(~((data >= low) & (data <= high)))[0])
        raise BoundsError(explain(f"{what} is out of range", got=f"{data[place]:g} at position {place}",
                                  expected=f"{low:g} to {high:g}", fix=fix))


# ---- many classes

@loss
def cross_entropy(outputs: Any, targets: Any, *, label_smoothing: float = 0.0, class_weights: Any = None) -> Any:
    """-log(softmax(outputs))[label], from logits (..., classes).

    Args:
        targets: integer labels of shape (...), or probabilities (such as one-hot rows) of shape (..., classes).
        label_smoothing: s moves the targets to t (1 - s) + s / classes.
        class_weights: one number per class; the mean is weighted by them.

    Raises BoundsError for a label outside 0 .. classes - 1, compiled or not.
    """
    _check_logits(outputs)
    if is_integer(targets.dtype) and targets.shape == outputs.shape[:-1]:
        return _of_labels(outputs, targets, label_smoothing, class_weights)
    if targets.shape == outputs.shape:
        return _of_probabilities(outputs, astype(targets, outputs.dtype), label_smoothing, class_weights)
    raise _wrong_targets(outputs, targets)


def _wrong_targets(outputs: Tensor, targets: Tensor) -> Exception:
    classes, labels = outputs.shape[-1], outputs.shape[:-1]
    got = f"labels {targets.dtype}{list(targets.shape)}, logits {outputs.dtype}{list(outputs.shape)}"
    expected = f"integer labels {labels}, or probabilities {outputs.shape}"
    if targets.shape == labels:
        return DTypeError(explain(f"the labels are {targets.dtype}", got=got, expected=expected,
                                  fix="cast them: y.astype('int64')"))
    if targets.shape == (*labels, 1):
        return ShapeError(explain("the labels have an axis too many", got=got, expected=expected,
                                  fix=f"use y.squeeze(-1), or pass one-hot rows of width {classes}"))
    if targets.ndim == len(labels) and targets.shape[:1] != labels[:1]:
        return ShapeError(explain(f"there are {targets.shape[0]} labels for {labels[0]} outputs", got=got,
                                  expected=expected,
                                  fix="check that both come from the same batch"))
    if targets.ndim == outputs.ndim and targets.shape[:-1] == labels:
        return ShapeError(explain(f"the targets have {targets.shape[-1]} classes, the outputs have {classes}", got=got,
                                  expected=expected,
                                  fix=f"make the last layer Dense({targets.shape[-1]}), or one-hot rows of {classes}"))
    return ShapeError(explain("the labels do not fit the logits", got=got, expected=expected,
                              fix="one label for each row of logits"))


def _check_logits(outputs: Tensor) -> None:
    if not outputs.ndim or not is_float(outputs.dtype):
        raise ShapeError(explain("cross-entropy needs a row of logits per sample",
                                 got=f"{outputs.dtype}{list(outputs.shape)}", expected="(batch, classes)"))
    if outputs.shape[-1] == 1:
        raise ShapeError(explain("cross-entropy needs at least two classes", got=f"logits {outputs.shape}",
                                 expected="(batch, classes)",
                                 fix="use losses.binary_cross_entropy, or Dense(2) as the last layer"))
    _warn_of_softmax(outputs)


_warned: set[str] = set()


def _warn_of_softmax(outputs: Tensor) -> None:
    """Once: the outputs went through softmax already, or look as if they had."""
    if "softmax" in _warned or not (_is_softmax(outputs) or _look_like_probabilities(outputs.node.data)):
        return
    _warned.add("softmax")
    warnings.warn(explain("the outputs are probabilities already, cross_entropy applies softmax itself",
                          got="rows in [0, 1] that sum to 1",
                          expected="logits", fix="remove the softmax at the end of the model"), SoftmaxWarning,
                  stacklevel=2)


def _is_softmax(outputs: Tensor) -> bool:
    node = outputs.node
    if node.op.name != "custom_gradient" or node.inputs[0].op.name != "div":
        return False
    return node.inputs[0].inputs[0].op.name == "exp"


def _look_like_probabilities(rows: np.ndarray | None) -> bool:
    if rows is None or rows.size < 2 * rows.shape[-1] or not (rows >= 0).all() or not (rows <= 1).all():
        return False
    return bool(np.allclose(rows.sum(axis=-1), 1, atol=1e-4))


def _of_labels(x: Tensor, labels: Tensor, smoothing: float, class_weights: Any) -> Any:
    classes = x.shape[-1]
    _check_labels(labels, classes)
    place = iota(x.shape, x.ndim - 1, labels.dtype)
    chosen = equal(broadcast_to(reshape(labels, (*labels.shape, 1)), x.shape), place)

    def target() -> Tensor:
        high, low = 1 - smoothing + smoothing / classes, smoothing / classes
        return where(chosen, broadcast_to(as_tensor(high, x.dtype), x.shape),
                     broadcast_to(as_tensor(low, x.dtype), x.shape))

    shifted = x - reduce.max(x, axis=-1, keepdims=True)
    total = log(reduce.sum(exp(shifted), axis=-1))
    picked = target() * shifted if smoothing else where(chosen, shifted, zeros_like(shifted))
    value = total - reduce.sum(picked, axis=-1)
    value = custom_gradient(value, (x,), lambda g, y, x: (reshape(g, (*g.shape, 1)) * (compose.softmax(x) - target()),))
    factors = take(_class_weights(class_weights, classes, x.dtype), _nonnegative(labels, classes))
    return (value, factors) if class_weights is not None else value + (factors - 1)


def _nonnegative(labels: Tensor, classes: int) -> Tensor:
    """Labels below 0 moved out of bounds: they do not count from the end."""
    return where(less(labels, 0), classes, labels) if labels.dtype.kind == "i" else labels


def _class_weights(class_weights: Any, classes: int, dtype: np.dtype) -> Tensor:
    if class_weights is None:
        return broadcast_to(as_tensor(1.0, dtype), (classes,))
    weights = astype(_tensor(class_weights), dtype)
    if weights.shape != (classes,):
        raise ShapeError(explain("there must be one weight per class", got=f"class_weights {weights.shape}",
                                 expected=f"({classes},)"))
    return weights


def _check_labels(labels: Tensor, classes: int) -> None:
    data = labels.node.data
    if data is None or not data.size or (data.min() >= 0 and data.max() < classes):
        return
    place = tuple(int(i) for i in np.argwhere((data < 0) | (data >= classes))[0])
    fix = f"make the last layer Dense({int(data.max()) + 1}), or mask the sample"
    fix = "are the labels 1-based? Use y - 1" if data.max() == classes else fix
    fix = "a negative label is no class: leave the sample out with a mask" if data[place] < 0 else fix
    raise BoundsError(explain(f"label {data[place]} is not a class",
                              got=f"label {data[place]} at index {place[0] if len(place) == 1 else place}",
                              expected=f"0 to {classes - 1}, for {classes} logits", fix=fix))


def _of_probabilities(x: Tensor, t: Tensor, smoothing: float, class_weights: Any) -> Any:
    classes = x.shape[-1]
    _check_range(t, 0.0, 1.0, "a target probability", "pass integer labels, or rows that sum to 1")
    t = t * (1 - smoothing) + smoothing / classes if smoothing else t
    terms = multiply(t, compose.log_softmax(x))
    if class_weights is None:
        return -reduce.sum(terms, axis=-1)
    weights = _class_weights(class_weights, classes, x.dtype)
    factors = reduce.sum(t * weights, axis=-1)
    return -reduce.sum(terms * weights, axis=-1) / factors, factors


@loss
def kl_divergence(outputs: Any, targets: Any) -> Any:
    """sum of t (log t - log softmax(outputs)) over the last axis, for target probabilities t; 0 log 0 = 0."""
    t = _agree(outputs, targets)
    _check_range(t, 0.0, 1.0, "a target probability", "the targets are probabilities, the outputs logits")
    empty = equal(t, 0)
    entropy = where(empty, zeros_like(t), t * log(where(empty, ones_like(t), t)))
    return reduce.sum(entropy - t * compose.log_softmax(outputs), axis=-1)


@loss
def cosine_distance(outputs: Any, targets: Any, *, epsilon: float = 1e-8) -> Any:
    """1 - cos of the angle between outputs and targets along the last axis."""
    t = _agree(outputs, targets)
    norms = [compose.maximum(reduce.sum(v * v, axis=-1), epsilon * epsilon) for v in (outputs, t)]
    return 1 - reduce.sum(outputs * t, axis=-1) / compose.sqrt(norms[0] * norms[1])


__all__ = [
    "Loss", "SoftmaxWarning", "binary_cross_entropy", "cosine_distance", "cross_entropy", "get", "hinge", "huber",
           "kl_divergence",
    "log_cosh", "loss", "mean_absolute_error", "mean_squared_error", "poisson",
]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("losses", name, __all__)
