# SPDX-License-Identifier: Apache-2.0
"""Classes that count more or less: weights by label, and what is said where one class is rare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from ..foundations import tree as trees
from .data import Samples

RARE = 10.0  # times as many samples of the most frequent class as of the rarest are worth a word
MOST = 1000  # more values than that are no classes


def by_class(data: Samples, wanted: Any) -> Samples:
    """The samples with two weights each: that of the sample, and that of its class."""
    if wanted is None:
        return data
    factors = _factors(_labels(data), wanted)
    return replace(data, weights=np.stack([data.weights, factors], axis=1).astype(np.float32), weighted=True)


def _labels(data: Samples) -> np.ndarray:
    if not isinstance(data.y, np.ndarray) or not isinstance(data.weights, np.ndarray):
        raise ArgumentError(explain("class weights need one array of labels",
                                    got=f"targets {', '.join(trees.paths(data.y, 'y'))}",
                                    expected="class numbers, one per sample",
                                    fix="weights by output: fit(model, (x, y, {output: weights}), ...)"))
    labels = data.y.reshape(-1) if data.y.size == len(data) else None
    if labels is None or (labels.dtype.kind == "f" and not (labels == np.round(labels)).all()):
        raise ArgumentError(explain("class weights need one label for each sample",
                                    got=f"targets {data.y.dtype}{list(data.y.shape)}",
                                    expected="class numbers, one per sample",
                                    fix="weights of samples: fit(model, (x, y, weights), ...)"))
    return labels


def _factors(labels: np.ndarray, wanted: Any) -> np.ndarray:
    classes, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(wanted, str) and wanted == "balanced":
        return (len(labels) / (len(classes) * counts))[places]
    if not isinstance(wanted, Mapping):
        raise ArgumentError(explain("class_weight says what each class counts", got=repr(wanted)[:60],
                                    expected="{label: weight} or 'balanced'"))
    unknown = [label for label in wanted if label not in set(classes.tolist())]
    bad = [label for label, value in wanted.items() if not (np.isfinite(value) and value >= 0)]
    if unknown or bad:
        raise ArgumentError(
            explain(
                "class_weight names a class that no sample has" if unknown else "the weight of a class is 0 or more",
                got=", ".join(f"{label!r}: {wanted[label]!r}" for label in (unknown or bad)[:5]),
                expected=f"classes {', '.join(map(str, classes[:8].tolist()))}{', …' if len(classes) > 8 else ''}",
            )
        )
    return np.array([float(wanted.get(label, 1.0)) for label in classes.tolist()])[places]


def imbalance(data: Samples, loss: Any) -> str | None:
    """What to say where one class is rare, None where there is nothing to say."""
    y = data.y
    if (
        not data.plain
        or "cross_entropy" not in loss.name
        or y.ndim != 1
        or y.dtype.kind not in "iu"
        or data.weighted
        or y.min() < 0
        or y.max() >= MOST
    ):
        return None
    counts = np.bincount(y)
    known = np.flatnonzero(counts)
    rarest, most = known[counts[known].argmin()], known[counts[known].argmax()]
    if counts[most] < RARE * counts[rarest]:
        return None
    return (f"class {rarest} has {counts[rarest] / len(y):.2%} of the samples, class {most} "
            f"{counts[most] / len(y):.1%}: "
            "class_weight=\"balanced\" lets all classes count the same; look at f1 or average_precision, not at "
            "accuracy")
