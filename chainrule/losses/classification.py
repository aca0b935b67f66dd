# SPDX-License-Identifier: Apache-2.0
"""Losses of classification. All take logits; two classes by a sigmoid, many by a softmax."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, explain, shown
from ..ir import Tensor, as_tensor
from ..ir.dtype import is_float
from ..ops import compose, reduce
from ..ops.broadcast import broadcast_to
from ..ops.control import custom_gradient
from ..ops.elementwise import astype, equal, exp, less, log, maximum, multiply, ones_like, where, zeros_like
from ..ops.index import iota, take
from ..ops.movement import reshape
from ..typing import ArrayLike
from .base import agree, check_share, loss, no_targets, several, tensor
from .targets import ANY, SHARES, Labels, LogShares, Targets, class_labels


class SoftmaxWarning(UserWarning):
    """Probabilities were given to a loss that takes logits.

    >>> import warnings
    >>> warnings.simplefilter("ignore", cr.losses.SoftmaxWarning)
    >>> issubclass(cr.losses.SoftmaxWarning, UserWarning)
    True
    """


BINARY = "are the labels 1 and 2, or -1 and 1? map them to 0 and 1"
SIGNS = Targets(-1.0, 1.0, "the labels are -1 and 1", neutral=1.0)

# ---- two classes

@loss(targets=Targets(0.0, 1.0, BINARY))
def binary_cross_entropy(outputs: ArrayLike, targets: ArrayLike, *, label_smoothing: float = 0.0,
                         positive_weight: Any = 1.0) -> Any:
    """-(w t log p + (1 - t) log(1 - p)) with p = sigmoid(outputs); targets t in [0, 1].

    Args:
        label_smoothing: s moves the targets to t (1 - s) + s / 2.
        positive_weight: w, for rare positives; one number, or one for each output (the last axis).

    Outputs that come from a sigmoid are told by a SoftmaxWarning.

    >>> cr.losses.binary_cross_entropy([[0.0], [3.0]], [[1.0], [1.0]])
    Tensor(0.37086725, dtype=float32)
    """
    t = agree(outputs, targets)
    _warn_of_sigmoid(outputs)
    check_share("label_smoothing", label_smoothing)
    t = t * (1 - label_smoothing) + label_smoothing / 2 if label_smoothing else t
    if isinstance(positive_weight, int | float) and positive_weight == 1:
        return compose.softplus(outputs) - t * outputs
    factor = astype(tensor(positive_weight), outputs.dtype)
    if factor.shape not in ((), outputs.shape[-1:]):
        raise ShapeError(explain("there must be one positive weight, or one for each output",
                                 got=f"positive_weight {factor.shape}", expected=f"a number or {outputs.shape[-1:]}"))
    return factor * t * compose.softplus(-outputs) + (1 - t) * compose.softplus(outputs)


@loss(targets=SIGNS)
def hinge(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """max(0, 1 - t * outputs) with targets t of -1 and 1.

    >>> cr.losses.hinge([[0.5], [-2.0]], [[1.0], [-1.0]])
    Tensor(0.25, dtype=float32)
    """
    t = agree(outputs, targets)
    return maximum(1 - t * outputs, 0.0)


@loss(targets=SIGNS)
def squared_hinge(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """max(0, 1 - t * outputs)^2 with targets t of -1 and 1.

    >>> cr.losses.squared_hinge([[0.5], [-2.0]], [[1.0], [-1.0]])
    Tensor(0.125, dtype=float32)
    """
    value = hinge.values(outputs, targets)
    return value * value


@loss(targets=SIGNS)
def soft_margin(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """log(1 + e^(-t * outputs)) with targets t of -1 and 1.

    >>> cr.losses.soft_margin([[0.0]], [[1.0]])
    Tensor(0.6931472, dtype=float32)
    """
    t = agree(outputs, targets)
    return compose.softplus(-t * outputs)


@loss(targets=Targets(0.0, 1.0, BINARY))
def multi_label_soft_margin(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """The binary cross-entropy of each label, averaged over the labels (the last axis).

    >>> cr.losses.multi_label_soft_margin([[0.0, 0.0]], [[1.0, 0.0]])
    Tensor(0.6931472, dtype=float32)
    """
    return reduce.mean(binary_cross_entropy.values(outputs, targets), axis=-1)


@loss(targets=Targets(0.0, 1.0, BINARY))
def focal(outputs: ArrayLike, targets: ArrayLike, *, alpha: float | None = 0.25, gamma: float = 2.0) -> Any:
    """-a (1 - q)^gamma log q, with q the probability of the truth: easy samples count little (Lin et al., 2017).

    Args:
        targets: in [0, 1], of the shape of the outputs.
        alpha: a of the positives; 1 - alpha of the negatives; None for 1.
        gamma: 0 is the cross-entropy.

    >>> cr.losses.focal([[-2.0], [2.0]], [[0.0], [1.0]], gamma=2.0)
    Tensor(0.00090178, dtype=float32)
    """
    t = agree(outputs, targets)
    _warn_of_sigmoid(outputs)
    p = compose.sigmoid(_where_it_moves(outputs))
    wrong = p * (1 - t) + (1 - p) * t
    tiny = float(np.finfo(wrong.dtype).tiny)  # whose powers are 0 for our purposes, and have derivatives
    wrong = where(less(wrong, tiny), tiny, wrong)
    value = (compose.softplus(outputs) - t * outputs) * (wrong**gamma if gamma else 1.0)
    return value if alpha is None else (alpha * t + (1 - alpha) * (1 - t)) * value


def _where_it_moves(x: Tensor) -> Tensor:
    """Logits limited to where a sigmoid is neither 0 nor 1; no gradient passes beyond."""
    most = 104.0 if x.dtype == np.float32 else 746.0
    return where(less(most, x), most, where(less(x, -most), -most, x))


# ---- many classes

@loss(targets=Labels(shares=True))
def cross_entropy(outputs: ArrayLike, targets: ArrayLike, *, label_smoothing: float = 0.0, class_weights: Any = None,
                  ignore_label: int | None = None) -> Any:
    """-log(softmax(outputs))[label], from logits (..., classes).

    Args:
        targets: integer labels of shape (...), or probabilities (such as one-hot rows) of shape (..., classes).
        label_smoothing: s moves the targets to t (1 - s) + s / classes.
        class_weights: one number w per class. The value of a sample is sum_c w_c t_c (-log softmax_c) / w_label, with t
            smoothed, and w_label its weight in the mean; samples of a class of weight 0 do not count.
        ignore_label: samples with this label do not count (-100 in PyTorch): as a mask, but told by the labels.

    Labels are of any integer type, or bool. Raises BoundsError for one outside 0 .. classes - 1, compiled or not.

    >>> logits, labels = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0, 2]
    >>> cr.losses.cross_entropy(logits, labels)
    Tensor(0.89549476, dtype=float32)
    >>> cr.losses.cross_entropy(logits, labels, reduction="none")
    Tensor([0.23954484, 1.5514446 ], dtype=float32)
    """
    _check_logits(outputs)
    check_share("label_smoothing", label_smoothing)
    if targets.dtype.kind in "iub" and targets.shape == outputs.shape[:-1]:
        targets = class_labels(targets)
        if ignore_label is not None:
            return _without(outputs, targets, ignore_label, label_smoothing, class_weights)
        return _cross_entropy_of_labels(outputs, targets, label_smoothing, class_weights)
    if targets.shape == outputs.shape:
        return _of_probabilities(outputs, astype(targets, outputs.dtype), label_smoothing, class_weights)
    raise _wrong_targets(outputs, targets)


def _without(outputs: Tensor, labels: Tensor, ignored: int, smoothing: float, class_weights: Any) -> Any:
    """Values and weights that are 0 for the ignored label."""
    counts = compose.not_equal(labels, ignored)
    found = _cross_entropy_of_labels(outputs, where(counts, labels, zeros_like(labels)), smoothing, class_weights)
    values, weights = found if isinstance(found, tuple) else (found, ones_like(found))
    return where(counts, values, zeros_like(values)), where(counts, weights, zeros_like(weights))


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
    second = outputs.ndim > 2 and targets.shape == (outputs.shape[0], *outputs.shape[2:])
    return ShapeError(explain("the labels do not fit the logits", got=got, expected=expected,
                              fix="the classes are the last axis: cr.moveaxis(logits, 1, -1)" if second
                              else "one label for each row of logits"))


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
    if "softmax" in _warned or not (_comes_from(outputs, "softmax") or _look_like_probabilities(outputs.node.data)):
        return
    _warned.add("softmax")
    warnings.warn(explain("the outputs are probabilities already, cross_entropy applies softmax itself",
                          got="rows in [0, 1] that sum to 1",
                          expected="logits", fix="remove the softmax at the end of the model"), SoftmaxWarning,
                  stacklevel=2)


def _warn_of_sigmoid(outputs: Tensor) -> None:
    """Once: the outputs went through a sigmoid already."""
    if "sigmoid" in _warned or not _comes_from(outputs, "sigmoid"):
        return
    _warned.add("sigmoid")
    warnings.warn(explain("the outputs are probabilities already, this loss applies a sigmoid itself",
                          got="the result of a sigmoid", expected="logits",
                          fix="remove the sigmoid at the end of the model"), SoftmaxWarning, stacklevel=2)


def _comes_from(outputs: Tensor, function: str) -> bool:
    """Whether the outputs are, but for their shape, dtype and mask, the result of a function that says so."""
    node = outputs.node
    while True:
        if node.op.name == "custom_gradient" and (rule := node.attrs["rule"]) is not None:
            return getattr(rule, "gives", None) == function
        if node.op.name not in ("reshape", "slice", "cast", "transpose", "where", "require", "custom_gradient"):
            return False
        node = node.inputs[1 if node.op.name == "where" else 0]


def _look_like_probabilities(rows: np.ndarray | None) -> bool:
    if rows is None or rows.size < 2 * rows.shape[-1] or not (rows >= 0).all() or not (rows <= 1).all():
        return False
    return bool(np.allclose(rows.sum(axis=-1), 1, atol=1e-4))


def _cross_entropy_of_labels(x: Tensor, labels: Tensor, smoothing: float, class_weights: Any) -> Any:
    classes = x.shape[-1]
    place = iota(x.shape, x.ndim - 1, labels.dtype)
    chosen = equal(broadcast_to(reshape(labels, (*labels.shape, 1)), x.shape), place)
    weights = _class_weights(class_weights, classes, x.dtype)
    factors = take(weights, compose.clip(labels, 0, classes - 1))  # those out of range are refused before
    low: Any = smoothing / classes
    scaled: Callable[[Tensor], Tensor] = lambda x: x
    if smoothing and class_weights is not None:
        low = low * _relative(weights, factors)
        mass = 1 - smoothing + reduce.sum(low, axis=-1)
        scaled = lambda x: x * (mass if x.ndim == mass.ndim else reshape(mass, (*mass.shape, 1)))

    def target() -> Tensor:
        """What is taken from the logits: shares whose sum `scaled` multiplies by."""
        return where(chosen, broadcast_to(as_tensor(low + (1 - smoothing), x.dtype), x.shape),
                     broadcast_to(as_tensor(low, x.dtype), x.shape))

    shifted = x - reduce.max(x, axis=-1, keepdims=True)
    total = scaled(log(reduce.sum(exp(shifted), axis=-1)))
    picked = target() * shifted if smoothing else where(chosen, shifted, zeros_like(shifted))
    value = total - reduce.sum(picked, axis=-1)
    value = custom_gradient(value, (x,),
                            lambda g, y, x: (reshape(g, (*g.shape, 1)) * (scaled(compose.softmax(x)) - target()),))
    return (value, factors) if class_weights is not None else value


def _relative(weights: Tensor, own: Tensor) -> Tensor:
    """The weight of every class by that of the label; 0 where the label's is 0."""
    own = reshape(own, (*own.shape, 1))
    counts = compose.not_equal(own, 0)
    return where(broadcast_to(counts, (*own.shape[:-1], *weights.shape)), weights / where(counts, own, ones_like(own)),
                 0.0)


def _class_weights(class_weights: Any, classes: int, dtype: np.dtype) -> Tensor:
    if class_weights is None:
        return broadcast_to(as_tensor(1.0, dtype), (classes,))
    weights = astype(tensor(class_weights), dtype)
    if weights.shape != (classes,):
        raise ShapeError(explain("there must be one weight per class", got=f"class_weights {weights.shape}",
                                 expected=f"({classes},)"))
    return weights


def _of_probabilities(x: Tensor, t: Tensor, smoothing: float, class_weights: Any) -> Any:
    classes = x.shape[-1]
    smooth = t * (1 - smoothing) + smoothing / classes if smoothing else t
    terms = _times_log(smooth, compose.log_softmax(x))
    if class_weights is None:
        return -reduce.sum(terms, axis=-1)
    weights = _class_weights(class_weights, classes, x.dtype)
    factors = reduce.sum(t * weights, axis=-1)
    counts = compose.not_equal(factors, 0)
    value = -reduce.sum(terms * weights, axis=-1) / where(counts, factors, ones_like(factors))
    return where(counts, value, zeros_like(value)), factors


def _times_log(t: Tensor, log_p: Tensor) -> Tensor:
    """t log p; 0 where t is 0, also where p is."""
    lowest = float(np.finfo(log_p.dtype).min)
    nothing = compose.logical_and(equal(t, 0), less(log_p, lowest))
    return multiply(t, where(nothing, zeros_like(log_p), log_p))


@loss(targets=Labels(shares=True))
def categorical_focal(outputs: ArrayLike, targets: ArrayLike, *, gamma: float = 2.0) -> Any:
    """-(1 - q)^gamma log q with q = softmax(outputs)[label], from logits (..., classes) and integer labels (...).

    >>> cr.losses.categorical_focal([[2.0, 0.0], [0.0, 2.0]], [0, 1])
    Tensor(0.00180356, dtype=float32)
    """
    value = cross_entropy.values(outputs, targets)
    if not gamma:
        return value
    wrong = -compose.expm1(-_where_it_moves(value))
    tiny = float(np.finfo(wrong.dtype).tiny)
    return where(less(wrong, tiny), tiny, wrong)**gamma * value


@loss(targets=SHARES)
def categorical_hinge(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """max(0, 1 + max over the wrong classes - the right one), from scores (..., classes) and one-hot targets.

    >>> cr.losses.categorical_hinge([[2.0, 0.5]], [[0.0, 1.0]])
    Tensor(2.5, dtype=float32)
    """
    t = agree(outputs, targets)
    right, wrong = reduce.sum(t * outputs, axis=-1), reduce.max((1 - t) * outputs, axis=-1)
    return maximum(wrong - right + 1, 0.0)


@loss(targets=Labels())
def multi_margin(outputs: ArrayLike, targets: ArrayLike, *, margin: float = 1.0, power: int = 1) -> Any:
    """The sum over the wrong classes c of max(0, margin - x[label] + x[c])^power, over the number of classes, from
    scores x (..., classes) and integer labels (...) (Crammer and Singer, 2001).

    >>> cr.losses.multi_margin([[2.0, 1.5, 0.0]], [0])
    Tensor(0.16666667, dtype=float32)
    """
    _check_logits(outputs)
    if targets.dtype.kind not in "iub" or targets.shape != outputs.shape[:-1]:
        raise _wrong_targets(outputs, targets)
    if power not in (1, 2):
        raise ArgumentError(explain("the power of multi_margin is 1 or 2", got=shown(power)))
    labels = class_labels(targets)
    chosen = equal(broadcast_to(reshape(labels, (*labels.shape, 1)), outputs.shape),
                   iota(outputs.shape, outputs.ndim - 1, labels.dtype))
    right = reduce.sum(where(chosen, outputs, zeros_like(outputs)), axis=-1, keepdims=True)
    short = where(chosen, zeros_like(outputs), maximum(margin + (outputs - right), 0.0))
    return reduce.sum((short if power == 1 else short * short) * (1 / outputs.shape[-1]), axis=-1)


# ---- divergences

@loss(targets=LogShares())
def kl_divergence(outputs: ArrayLike, targets: ArrayLike, *, logits: bool = True, log_targets: bool = False) -> Any:
    """sum of t (log t - log q) over the last axis, for target probabilities t and q = softmax(outputs); 0 log 0 = 0.

    Args:
        logits: the outputs are logits; with False they are log q.
        log_targets: the targets are log t.

    >>> cr.losses.kl_divergence([[0.0, 0.0]], [[1.0, 0.0]])
    Tensor(0.6931472, dtype=float32)
    """
    t, log_q = agree(outputs, targets), compose.log_softmax(outputs) if logits else outputs
    if log_targets:
        return reduce.sum(exp(t) * (t - log_q), axis=-1)
    return reduce.sum(_entropy_terms(t) - _times_log(t, log_q), axis=-1)


def _entropy_terms(t: Tensor) -> Tensor:
    """t log t, 0 at 0."""
    empty = equal(t, 0)
    return where(empty, zeros_like(t), t * log(where(empty, ones_like(t), t)))


@loss(targets=SHARES)
def jensen_shannon(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """(KL(t | m) + KL(q | m)) / 2 with m = (t + q) / 2 and q = softmax(outputs): symmetric, at most log 2.

    >>> cr.losses.jensen_shannon([[0.0, 0.0]], [[1.0, 0.0]])
    Tensor(0.21576157, dtype=float32)
    """
    t = agree(outputs, targets)
    log_q = compose.log_softmax(outputs)
    q = exp(log_q)
    m = 0.5 * (t + q)
    log_m = log(maximum(m, float(np.finfo(m.dtype).tiny)))
    return 0.5 * reduce.sum(_entropy_terms(t) + _times_log(q, log_q) - (t + q) * log_m, axis=-1)


@loss(targets=ANY)
def gaussian_kl(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """KL(N(mean, e^log_variance) | N(0, 1)) summed over all axes but the first, from outputs (mean, log_variance); no
    targets (Kingma and Welling, 2014).

    >>> mean, log_variance = np.zeros((1, 2), "float32"), np.zeros((1, 2), "float32")
    >>> cr.losses.gaussian_kl((mean + 1, log_variance), None)
    Tensor(1., dtype=float32)
    """
    mean, log_variance = several(outputs, ("mean", "log_variance"), "gaussian_kl")
    no_targets(targets, "gaussian_kl")
    value = 0.5 * (exp(log_variance) + mean * mean - 1 - log_variance)
    return reduce.sum(value, axis=tuple(range(1, value.ndim)))
