# SPDX-License-Identifier: Apache-2.0
"""Losses between vectors: of outputs and targets, or of several outputs with each other, which come as a tuple.

Distances run over the last axis; every other axis counts samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, explain
from ..ir import Tensor
from ..ops import compose, reduce
from ..ops.elementwise import abs, astype, maximum, minimum, where
from ..ops.index import iota
from ..ops.movement import reshape
from ..typing import ArrayLike
from .base import agree, loss, no_targets, several
from .targets import ANY, Targets

LOWEST = -1e30  # a score that takes no part in a softmax
ALIKE = "the targets are 1 for alike, {} for not"


@loss(targets=ANY)
def cosine_distance(outputs: ArrayLike, targets: ArrayLike, *, epsilon: float = 1e-8) -> Any:
    """1 - cos of the angle between outputs and targets along the last axis; vectors shorter than `epsilon` count as
    that long.

    >>> cr.losses.cosine_distance([[1.0, 0.0]], [[1.0, 1.0]])
    Tensor(0.29289323, dtype=float32)
    """
    return 1 - _cosine(outputs, agree(outputs, targets), epsilon)


def _cosine(a: Tensor, b: Tensor, epsilon: float = 1e-8) -> Tensor:
    return reduce.sum(compose.unit(a, epsilon) * compose.unit(b, epsilon), axis=-1)


@loss(targets=Targets(-1.0, 1.0, ALIKE.format(-1)))
def cosine_embedding(outputs: ArrayLike, targets: ArrayLike, *, margin: float = 0.0) -> Any:
    """From outputs (a, b) and targets 1 (alike) or -1: 1 - cos(a, b), or max(0, cos(a, b) - margin).

    >>> a, b = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> cr.losses.cosine_embedding((a, b), np.array([1, -1]))
    Tensor(0., dtype=float64)
    """
    a, b = _two(outputs, "cosine_embedding")
    t, cos = _labels(targets, a, "cosine_embedding"), _cosine(a, b)
    return where(compose.greater(t, 0), 1 - cos, maximum(cos - margin, 0.0))


@loss(targets=Targets(0.0, 1.0, ALIKE.format(0)))
def contrastive(outputs: ArrayLike, targets: ArrayLike, *, margin: float = 1.0) -> Any:
    """From outputs (a, b) and targets t, 1 (alike) or 0: t d^2 + (1 - t) max(0, margin - d)^2 with d = |a - b|
    (Hadsell et al., 2006).

    >>> a, b = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.3, 0.4], [1.0, 1.5]])
    >>> cr.losses.contrastive((a, b), np.array([1, 0]))
    Tensor(0.2500005, dtype=float64)
    """
    a, b = _two(outputs, "contrastive")
    t, d = _labels(targets, a, "contrastive"), _distance(a, b, 2.0)
    short, square = maximum(margin - d, 0.0), reduce.sum((a - b) * (a - b), axis=-1)
    return where(compose.equal(t, 0), 0.0, t * square) + (1 - t) * short * short


@loss(targets=ANY)
def triplet(outputs: ArrayLike, targets: ArrayLike, *, margin: float = 1.0, power: float = 2.0,
            swap: bool = False) -> Any:
    """max(0, |a - p| - |a - n| + margin) from outputs (anchor a, positive p, negative n); no targets
    (Schroff et al., 2015; Balntas et al., 2016).

    Args:
        power: of the norm.
        swap: take |p - n| in the place of |a - n| where it is smaller.

    >>> anchor, positive, negative = np.array([[0.0]]), np.array([[1.0]]), np.array([[1.5]])
    >>> cr.losses.triplet((anchor, positive, negative), None)
    Tensor(0.5, dtype=float64)
    """
    a, p, n = several(outputs, ("anchor", "positive", "negative"), "triplet")
    no_targets(targets, "triplet")
    far = _distance(a, n, power)
    far = minimum(far, _distance(p, n, power)) if swap else far
    return maximum(_distance(a, p, power) - far + margin, 0.0)


@loss(targets=Targets(-1.0, 1.0, "the targets are -1 and 1"))
def margin_ranking(outputs: ArrayLike, targets: ArrayLike, *, margin: float = 0.0) -> Any:
    """max(0, -t (a - b) + margin) from outputs (a, b), scores, and targets t: 1 where a should be the higher, else
    -1.

    >>> cr.losses.margin_ranking((np.array([2.0, 0.0]), np.array([1.0, 1.0])), np.array([1.0, 1.0]))
    Tensor(0.5, dtype=float64)
    """
    a, b = _two(outputs, "margin_ranking")
    t = agree(a, targets)
    return maximum(margin - t * (a - b), 0.0)


@loss(targets=ANY)
def info_nce(outputs: ArrayLike, targets: ArrayLike, *, temperature: float = 0.1, symmetric: bool = False,
             keep: Tensor | None = None) -> Any:
    """The cross-entropy of finding each query's own key among all keys of the batch, by cosine / temperature, from
    outputs (queries, keys), each (batch, width); no targets (van den Oord et al., 2018).

    With `symmetric` the mean of both ways, as in CLIP (Radford et al., 2021). Samples that a mask leaves out are
    nobody's negatives.

    >>> queries = np.eye(3, 4, dtype="float32")
    >>> round(float(cr.losses.info_nce((queries, queries), None)), 4)
    0.0001
    """
    queries, keys = _two(outputs, "info_nce")
    no_targets(targets, "info_nce")
    if queries.ndim != 2:
        raise ShapeError(explain("info_nce compares the rows of two batches", got=f"queries {queries.shape}",
                                 expected="(batch, width)", fix="flatten the other axes"))
    scores = compose.matmul(_unit(queries), _unit(keys).mT) * (1 / temperature)
    n = scores.shape[0]
    own = compose.equal(iota((n, n), 0), iota((n, n), 1))

    if keep is not None:
        scores = where(compose.logical_or(own, reshape(keep, (1, n)) & reshape(keep, (n, 1))), scores, LOWEST)

    def of_own(log_p: Tensor) -> Tensor:
        return -reduce.sum(where(own, log_p, 0.0), axis=-1)
    onward = of_own(compose.log_softmax(scores))
    return 0.5 * (onward + of_own(compose.log_softmax(scores.mT))) if symmetric else onward


def _unit(x: Tensor) -> Tensor:
    return compose.unit(x, 1e-12)


def _two(outputs: Any, name: str) -> tuple[Tensor, Tensor]:
    a, b = several(outputs, ("a", "b") if name != "info_nce" else ("queries", "keys"), name)
    if a.shape != b.shape:
        raise ShapeError(explain(f"the two outputs of {name} have different shapes", got=f"{a.shape}, {b.shape}",
                                 expected="one shape"))
    return a, b


def _labels(targets: Any, a: Tensor, name: str) -> Tensor:
    if targets is None or targets.shape != a.shape[:-1]:
        raise ShapeError(explain(f"{name} needs one target per pair", expected=f"targets {a.shape[:-1]}",
                                 got="None" if targets is None else f"targets {targets.shape}"))
    return astype(targets, a.dtype)


def _distance(a: Tensor, b: Tensor, power: float, epsilon: float = 1e-6) -> Tensor:
    """The norm of a - b + epsilon: never 0, where it would have no derivative."""
    d = abs(a - b + epsilon)
    if power == 1:
        return reduce.sum(d, axis=-1)
    if power == 2:
        return reduce.sum(compose.length(d, (d.ndim - 1,)), axis=-1)
    largest = maximum(compose.stop_gradient(reduce.max(d, axis=-1, keepdims=True)), float(np.finfo(d.dtype).tiny))
    return reduce.sum(largest, axis=-1) * reduce.sum(maximum(d / largest, 1e-30)**power, axis=-1) ** (1 / power)
