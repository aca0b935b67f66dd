# SPDX-License-Identifier: Apache-2.0
"""A batch as the metrics want it: one row for each item that counts, everything checked.

In come outputs, targets and weights in the shapes that users have (labels or one-hot rows, one column or many, a mask
for the first axes only), out come flat arrays without the items of weight 0. What does not fit together is told here,
once, in the house form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, BoundsError, DTypeError, ShapeError, explain
from ..foundations.arguments import unmasked

__all__ = ["ClassItems", "NumberItems", "checked_labels", "class_items", "item_weights", "number_items"]


@dataclass(frozen=True, slots=True)
class ClassItems:
    """n classified items: `shares` are the target rows if the targets were not labels, `samples` the batch rows."""

    scores: np.ndarray  # (n, columns); one column means two classes
    labels: np.ndarray  # (n,) integers in 0 … classes - 1
    shares: np.ndarray | None  # (n, classes)
    weights: np.ndarray  # (n,) float64, above 0
    samples: np.ndarray  # (n,) index along the first axis of the batch

    @property
    def classes(self) -> int:
        """How many classes there are: 2 for one column."""
        return max(self.scores.shape[1], 2)


@dataclass(frozen=True, slots=True)
class NumberItems:
    """A batch of numbers in float64, all of one shape; where the weight is 0, outputs and targets are 0."""

    outputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def class_items(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> ClassItems:
    """Outputs (…, C) or (…, 1) or (n,), targets as labels (…) or as one-hot rows (…, C).

    Raises ShapeError, DTypeError (labels that are not whole numbers), BoundsError (labels outside 0 … C - 1) and
    ArgumentError (target rows that are no shares, bad weights).
    """
    outputs, targets = _numeric(outputs, "outputs"), _numeric(targets, "targets")
    columns = outputs.shape[-1] if outputs.ndim > 1 else 1
    has_rows = outputs.shape == targets.shape and columns > 1
    shape = _item_shape(outputs, targets, has_rows)
    weight, samples = item_weights(weights, shape).ravel(), _sample_index(shape)
    keep = np.flatnonzero(weight)
    scores, wanted = outputs.reshape(-1, columns), targets.reshape(-1, columns) if has_rows else targets.ravel()
    if len(keep) < len(weight):
        scores, wanted, weight, samples = scores[keep], wanted[keep], weight[keep], samples[keep]
    if has_rows:
        return ClassItems(scores, _shares(wanted).argmax(axis=1), wanted, weight, samples)
    labels = checked_labels(wanted, max(columns, 2), lambda i: np.unravel_index(keep[i], shape), shape)
    return ClassItems(scores, labels, None, weight, samples)


def number_items(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> NumberItems:
    """Outputs and targets of one and the same shape; raises ShapeError where they would only broadcast."""
    outputs, targets = _numeric(outputs, "outputs"), _numeric(targets, "targets")
    if outputs.shape != targets.shape:
        raise ShapeError(explain(
            "outputs and targets have different shapes; broadcasting them would give a wrong value silently",
            got=f"outputs {outputs.shape}, targets {targets.shape}", expected="the same shape twice",
            fix=f"reshape the targets: targets.reshape({outputs.shape})" if outputs.size == targets.size else
                "let the model give one output for each target"))
    weight = np.broadcast_to(item_weights(weights, outputs.shape), outputs.shape)
    clean = lambda array: np.where(weight != 0, array, 0).astype(np.float64)
    return NumberItems(clean(outputs), clean(targets), weight)


def item_weights(weights: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Weights for items of this shape in float64: None means 1; a mask of the first axes holds for all further ones."""
    if weights is None:
        return np.ones(shape)
    given = _numeric(weights, "weights").astype(np.float64)
    if given.shape != shape[:given.ndim]:
        raise ShapeError(explain("the weights do not fit the items", got=f"weights {given.shape}, items {shape}",
                                 expected=f"{shape} or its first axes, such as {shape[:1]}",
                                 fix="pass one weight (or mask value) for each item or for each row"))
    if not np.all(np.isfinite(given)) or np.any(given < 0):
        raise ArgumentError(explain("weights must be finite and not negative",
                                    got=f"values from {given.min()} to {given.max()}",
                                    expected="numbers from 0 upwards", fix="use 0 to leave an item out"))
    return np.broadcast_to(given.reshape(given.shape + (1,) * (len(shape) - given.ndim)), shape)


def checked_labels(labels: np.ndarray, classes: int, place=lambda i: (i,),
                   shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Labels (n,) as integers; raises DTypeError or BoundsError naming the first bad one by its place in the batch."""
    where = lambda i: ", ".join(str(int(axis)) for axis in place(i))
    if labels.dtype.kind == "f":
        odd = np.flatnonzero(labels != np.floor(labels))  # a NaN differs from itself, so it is found as well
        if len(odd):
            raise DTypeError(explain(f"label {labels[odd[0]]} at index {where(odd[0])} is not a whole number",
                                     got=f"{labels.dtype} targets", expected=f"labels 0 … {classes - 1}",
                                     fix="use integer labels, or a regression metric such as 'mae'"))
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        found = tuple(int(axis) for axis in place(outside[0]))
        raise BoundsError.at(found, shape or labels.shape,
                             lambda told: _no_class(labels, labels[outside[0]], told, classes))
    return labels.astype(np.intp)


def _no_class(labels: np.ndarray, label, place: tuple[int, ...], classes: int) -> str:
    one_based = labels.min() >= 1 and labels.max() == classes
    if one_based:
        fix = "are labels 1-based? subtract 1 from them"
    elif label < 0:
        fix = "if a negative label means padding, pass weights that are 0 there"
    else:
        fix = f"are labels 1-based? else give the model {int(labels.max()) + 1} output columns"
    return explain(f"label {int(label)} at index {', '.join(map(str, place))} is not one of the {classes} classes",
                   got=f"labels from {int(labels.min())} to {int(labels.max())}", expected=f"0 … {classes - 1}",
                   fix=fix)


def _numeric(array: np.ndarray, what: str) -> np.ndarray:
    array = np.asarray(unmasked(array))
    if array.dtype.kind not in "biuf":
        raise DTypeError(explain(f"the {what} are not numbers", got=f"dtype {array.dtype}",
                                 expected="floats or integers", fix="map class names to labels 0, 1, 2, … first" if what
                                 == "targets" else None))
    return array


def _item_shape(outputs: np.ndarray, targets: np.ndarray, has_rows: bool) -> tuple[int, ...]:
    if outputs.ndim and (has_rows or targets.shape == outputs.shape[:-1]):
        return outputs.shape[:-1]
    if outputs.ndim and targets.shape == outputs.shape:  # one column, or none
        return outputs.shape
    squeezed = targets.ndim and targets.shape[-1] == 1 and targets.shape[:-1] in (outputs.shape[:-1], outputs.shape)
    raise ShapeError(explain(
        f"targets of shape {targets.shape} do not fit outputs of shape {outputs.shape}",
        got=f"outputs {outputs.shape}, targets {targets.shape}",
        expected=f"labels {outputs.shape[:-1] or '(n,)'} or one-hot rows {outputs.shape}",
        fix="drop the last axis: targets.squeeze(-1)" if squeezed else "give one label for each row of the outputs"))


def _sample_index(shape: tuple[int, ...]) -> np.ndarray:
    per_sample = int(np.prod(shape[1:]))
    return np.arange(shape[0]) if per_sample == 1 else np.repeat(np.arange(shape[0]), per_sample)


def _shares(rows: np.ndarray) -> np.ndarray:
    """Target rows that are at least 0 and sum to 1: one-hot, smoothed or mixed labels."""
    bad = np.flatnonzero(~((rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1, dtype=np.float64) - 1) < 1e-3)))
    if len(bad):
        raise ArgumentError(explain(
            "targets of the shape of the outputs must be one-hot rows (or shares that sum to 1)",
            got=f"row {bad[0]} of the targets sums to {rows[bad[0]].sum()}", expected="rows that sum to 1",
            fix="for one yes/no answer per column, give outputs and targets a last axis of size 1"))
    return rows
