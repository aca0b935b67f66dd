# SPDX-License-Identifier: Apache-2.0
"""How well objects are found in images: average precision by COCO's rules.

In come the `boxes.Detections` found in each image and the true ones. Found boxes, the surest first, are matched to true
boxes of their class whose IoU reaches a threshold, each true box once. Precision over recall of a class is made
monotone and read at 101 recalls; its mean is AP, the mean over classes mAP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import boxes
from ..boxes import Detections
from ..errors import ArgumentError, ShapeError, explain, shown
from .intervals import Estimate, check_level

__all__ = ["DetectionScores", "mean_average_precision"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)


class DetectionScores(NamedTuple):
    """`ap` over all thresholds, `ap50` and `ap75` at IoU 0.5 and 0.75 (NaN where these are no thresholds), each an
    Estimate, and AP by class.

    >>> truth = [cr.boxes.Detections([[0, 0, 4, 4]], [0])]
    >>> found = [cr.boxes.Detections([[0, 0, 4, 4]], [0], [0.9])]
    >>> scores = cr.metrics.mean_average_precision(found, truth, resamples=0)
    >>> isinstance(scores, cr.metrics.DetectionScores), float(scores.ap50)
    (True, 1.0)
    """

    ap: Estimate
    ap50: Estimate
    ap75: Estimate
    by_class: dict[int, float]

    def __str__(self) -> str:
        return f"mAP50 {self.ap50}, mAP50-95 {self.ap}"


class _Matches(NamedTuple):
    """Of one class: per found box its image, score, and by threshold whether it is right or does not count; per image
    the true boxes."""

    image: np.ndarray  # (n,)
    score: np.ndarray  # (n,)
    right: np.ndarray  # (thresholds, n)
    ignored: np.ndarray  # (thresholds, n)
    truths: np.ndarray  # (images,)


def mean_average_precision(found: Sequence[Detections], truth: Sequence[Detections], *,
                           thresholds: Sequence[float] | None = None, most: int = 100, resamples: int = 200,
                           level: float = 0.95, seed: int = 0) -> DetectionScores:
    """Mean average precision by COCO's rules (Lin et al., 2014), the numbers of pycocotools for objects of all sizes.

    Args:
        found: objects found in each image, with scores.
        truth: the true objects of each image; of `crowd` ones a found box is neither right nor wrong.
        thresholds: of the IoU from which a box counts as found; None for 0.5, 0.55, ..., 0.95.
        most: boxes of a class in one image that count, the surest.
        resamples: bootstrap resamples of images for the intervals; 0 gives none.

    Values are NaN where there are no true objects. Raises ShapeError for lists of different lengths, ArgumentError for
    found boxes without scores.

    >>> truth = [cr.boxes.Detections([[0, 0, 4, 4], [6, 6, 9, 9]], [0, 0])]
    >>> found = [cr.boxes.Detections([[0, 0, 4, 4], [1, 6, 2, 9]], [0, 0], [0.9, 0.8])]
    >>> round(float(cr.metrics.mean_average_precision(found, truth, resamples=0).ap50), 4)
    0.505
    """
    _check(found, truth)
    check_level(level)
    limits = np.asarray(THRESHOLDS if thresholds is None else thresholds, np.float64).reshape(-1)
    classes = sorted({int(label) for one in truth for label in one.labels})
    matches = {label: _match_class(found, truth, label, limits, most) for label in classes}
    once = _values(matches, np.ones(len(truth))).reshape(len(limits), len(classes))
    several = _resampled(matches, len(truth), limits, resamples, seed)
    columns = {"ap": np.ones(len(limits), bool), "ap50": np.isclose(limits, 0.5), "ap75": np.isclose(limits, 0.75)}
    summary = {name: _estimate(once[rows], several[:, rows], level) for name, rows in columns.items()}
    return DetectionScores(**summary, by_class={label: _mean(once[:, i]) for i, label in enumerate(classes)})


def _check(found: Sequence[Detections], truth: Sequence[Detections]) -> None:
    if len(found) != len(truth):
        raise ShapeError(explain("each image has its found and its true objects",
                                 got=f"{len(found)} found, {len(truth)} true"))
    for i, one in enumerate(found):
        if one.scores is None and len(one):
            raise ArgumentError(explain("found boxes have scores, by which they are ranked", got=f"none in image {i}",
                                        fix="mean_average_precision(found, truth), in this order"))
        if len(one) and not np.isfinite(one.scores).all():
            raise ArgumentError(explain("scores are finite numbers", got=f"{shown(one.scores)} in image {i}"))


# ---- matching

def _match_class(found: Sequence[Detections], truth: Sequence[Detections], label: int, thresholds: np.ndarray,
                 most: int) -> _Matches:
    image, score, right, ignored, truths = [], [], [], [], np.zeros(len(truth))
    for i, (ours, theirs) in enumerate(zip(found, truth, strict=True)):
        ours, theirs = ours.take(ours.labels == label), theirs.take(theirs.labels == label)
        if len(ours):
            ours = ours.take(np.argsort(-ours.scores, kind="stable")[:most])
        crowd = theirs.crowd if theirs.crowd is not None else np.zeros(len(theirs), bool)
        truths[i] = np.sum(~crowd)
        hits = _match_image(ours.boxes, theirs.boxes, crowd, thresholds)
        image.append(np.full(len(ours), i))
        score.append(ours.scores if len(ours) else np.zeros(0))
        right.append(hits == 1)
        ignored.append(hits == 2)
    order = np.argsort(-np.concatenate(score), kind="stable")
    return _Matches(np.concatenate(image)[order], np.concatenate(score)[order], np.concatenate(right, 1)[:, order],
                    np.concatenate(ignored, 1)[:, order], truths)


def _match_image(ours: np.ndarray, theirs: np.ndarray, crowd: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(thresholds, found boxes): 0 matches nothing, 1 a true box, 2 only a crowd."""
    order = np.argsort(crowd, kind="stable")
    theirs, crowd = theirs[order], crowd[order]
    overlaps = np.where(crowd, boxes.intersection_over_first(ours, theirs), boxes.iou(ours, theirs))
    hits = np.zeros((len(thresholds), len(ours)), np.int64)
    for t, threshold in enumerate(thresholds):
        free = np.ones(len(theirs), bool)
        for row in range(len(ours)):
            place = _best(overlaps[row], free, crowd, min(threshold, 1 - 1e-10))
            if place is not None:
                hits[t, row] = 2 if crowd[place] else 1
                free[place] = bool(crowd[place])
    return hits


def _best(overlaps: np.ndarray, free: np.ndarray, crowd: np.ndarray, threshold: float) -> int | None:
    """The free true box with the largest overlap, the last of equals; a crowd only where there is none."""
    for kind in (~crowd, crowd):
        fits = np.flatnonzero(free & kind & (overlaps >= threshold))
        if len(fits):
            return int(fits[len(fits) - 1 - np.argmax(overlaps[fits][::-1])])
    return None


# ---- precision over recall

def _values(matches: dict[int, _Matches], counts: np.ndarray) -> np.ndarray:
    """AP (thresholds, classes) where image i occurs counts[i] times."""
    return np.stack([_average_precision(one, counts) for one in matches.values()], 1) if matches else np.zeros((0, 0))


def _average_precision(one: _Matches, counts: np.ndarray) -> np.ndarray:
    total = float(one.truths @ counts)
    if not total:
        return np.full(len(one.right), np.nan)
    weights = counts[one.image]
    right = np.cumsum(one.right * weights, axis=1)
    wrong = np.cumsum(~(one.right | one.ignored) * weights, axis=1)
    precision = right / np.maximum(right + wrong, np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.array([_at_recalls(recall, best) for recall, best in zip(right / total, envelope, strict=True)])


def _at_recalls(recall: np.ndarray, precision: np.ndarray) -> float:
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())


def _resampled(matches: dict[int, _Matches], images: int, thresholds: np.ndarray, resamples: int,
               seed: int) -> np.ndarray:
    """(resamples, thresholds, classes)."""
    if not images or not matches or resamples < 1:
        return np.zeros((0, len(thresholds), len(matches)))
    rng = np.random.default_rng(seed)
    return np.stack([_values(matches, rng.multinomial(images, np.full(images, 1 / images)).astype(np.float64))
                     for _ in range(resamples)])


def _estimate(value: np.ndarray, several: np.ndarray, level: float) -> Estimate:
    found = [mean for one in several if np.isfinite(mean := _mean(one))]
    if not found or not value.size:
        return Estimate(_mean(value))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(_mean(value), float(low), float(high), level)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
