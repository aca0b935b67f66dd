# SPDX-License-Identifier: Apache-2.0
"""Boxes in images: formats, overlap of each with each, and non-maximum suppression.

    overlaps = cr.boxes.iou(found, true)                        # (n, m)
    kept = cr.boxes.nms(found, scores, 0.5, classes=labels)     # rows, the best first

A box is (left, top, right, bottom) in pixels, the corner of the first pixel being (0, 0). NumPy only; the loss for
training is `losses.box_iou`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ArgumentError, ShapeError, explain, shown
from .typing import ArrayLike

__all__ = ["Detections", "area", "complete_iou", "convert", "distance_iou", "generalized_iou", "iou", "nms"]

TINY = 1e-7  # added where a quotient could be 0 / 0, as in the usual implementations


@dataclass(frozen=True)
class Detections:
    """The objects of one image, true ones (without scores) or found ones.

    Attributes:
        boxes: (n, 4) float64: left, top, right, bottom in pixels.
        labels: (n,) int64, class numbers.
        scores: (n,) float64, how sure each is; None for true objects.
        crowd: (n,) bool, true boxes that stand for many objects or are too difficult: to find them is neither right nor
            wrong.

    Raises ShapeError if the lengths differ.

    >>> cr.boxes.Detections([[0, 0, 4, 4]], [1], [0.9])
    Detections(1 box, labels [1], scores [0.9])
    """

    boxes: Any
    labels: Any
    scores: Any = None
    crowd: Any = None

    def __post_init__(self) -> None:
        rows = {"boxes": rows_of(self.boxes), "labels": np.asarray(self.labels, np.int64).reshape(-1)}
        for name, dtype in (("scores", np.float64), ("crowd", bool)):
            if getattr(self, name) is not None:
                rows[name] = np.asarray(getattr(self, name), dtype).reshape(-1)
        if len({len(value) for value in rows.values()}) != 1:
            raise ShapeError(explain("each box has one label, and one score if there are any",
                                     got=", ".join(f"{name} {len(value)}" for name, value in rows.items())))
        for name, value in rows.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, rows: ArrayLike) -> Detections:
        """Some of the objects, by number or mask."""
        return Detections(*(None if value is None else value[rows]
                            for value in (self.boxes, self.labels, self.scores, self.crowd)))

    def __repr__(self) -> str:
        count = f"{len(self)} box" + ("es" if len(self) != 1 else "")
        scores = "" if self.scores is None else f", scores {shown(np.round(self.scores, 3).tolist())}"
        return f"Detections({count}, labels {shown(self.labels.tolist())}{scores})"


def rows_of(boxes: ArrayLike) -> np.ndarray:
    """Boxes (n, 4) as float64; ShapeError for another shape, no boxes may have any."""
    rows = np.asarray(boxes, np.float64)
    if not rows.size:
        return np.zeros((0, 4))
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ShapeError(explain("boxes come as rows of four numbers", got=f"shape {rows.shape}", expected="(boxes, 4)",
                                 fix="boxes.reshape(-1, 4)"))
    return rows


# ---- formats

FORMATS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {  # from and to (left, top, right, bottom)
    "xyxy": (lambda a, b, c, d: (a, b, c, d), lambda a, b, c, d: (a, b, c, d)),
    "xywh": (lambda x, y, w, h: (x, y, x + w, y + h), lambda a, b, c, d: (a, b, c - a, d - b)),
    "cxcywh": (lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
               lambda a, b, c, d: ((a + c) / 2, (b + d) / 2, c - a, d - b)),
}


def convert(boxes: ArrayLike, source: str, target: str = "xyxy") -> np.ndarray:
    """Boxes (n, 4) in another format, float64.

    Args:
        source, target: "xyxy" (left, top, right, bottom), "xywh" (left, top, width, height: COCO) or "cxcywh" (centre,
            width, height: YOLO).

    Raises ArgumentError for a format of another name.

    >>> cr.boxes.convert([[2, 1, 4, 6]], "xywh")
    array([[2., 1., 6., 7.]])
    """
    for name in (source, target):
        if name not in FORMATS:
            raise ArgumentError(explain("there is no such format of boxes", got=shown(name),
                                        expected=" | ".join(FORMATS)))
    corners = FORMATS[source][0](*rows_of(boxes).T)
    return np.stack(FORMATS[target][1](*corners), axis=1)


def area(boxes: ArrayLike) -> np.ndarray:
    """Width times height (n,).

    >>> cr.boxes.area([[0, 0, 2, 3]])
    array([6.])
    """
    rows = rows_of(boxes)
    return (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])


# ---- overlap of each of n boxes with each of m

def iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Intersection over union (n, m), from 0 to 1; 0 where both boxes are empty.

    >>> cr.boxes.iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [5, 5, 6, 6]])
    array([[0.33333333, 0.        ]])
    """
    a, b = rows_of(a), rows_of(b)
    return _quotient(*_areas(a, b))


def intersection_over_first(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """The share of each of n boxes that lies in each of m (n, m): the overlap with a region that stands for many
    objects."""
    a, b = rows_of(a), rows_of(b)
    return _quotient(_areas(a, b)[0], np.broadcast_to(area(a)[:, None], (len(a), len(b))))


def generalized_iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """GIoU = IoU - (hull - union) / hull (n, m), from -1 to 1; hull is the smallest box around both (Rezatofighi et
    al., 2019).

    >>> cr.boxes.generalized_iou([[0, 0, 1, 1]], [[2, 0, 3, 1]])
    array([[-0.33333333]])
    """
    a, b = rows_of(a), rows_of(b)
    both, union = _areas(a, b)
    width, height = _hull(a, b)
    return _quotient(both, union) - _quotient(width * height - union, width * height)


def distance_iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """DIoU = IoU - d² / c² (n, m): d between the centres, c the diagonal of the smallest box around both (Zheng et al.,
    2020).

    >>> cr.boxes.distance_iou([[0, 0, 1, 1]], [[2, 0, 3, 1]]).round(6)
    array([[-0.4]])
    """
    a, b = rows_of(a), rows_of(b)
    width, height = _hull(a, b)
    centres = (((a[:, None, :2] + a[:, None, 2:]) - (b[None, :, :2] + b[None, :, 2:])) / 2) ** 2
    return iou(a, b) - centres.sum(axis=2) / (width**2 + height**2 + TINY)


def complete_iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """CIoU = DIoU - αv (n, m), v = 4/π² (atan(w/h) - atan(w'/h'))², α = v / (1 - IoU + v) (Zheng et al., 2020).

    >>> cr.boxes.complete_iou([[0, 0, 2, 2]], [[0, 0, 2, 2]])
    array([[1.]])
    """
    a, b = rows_of(a), rows_of(b)
    v = 4 / math.pi**2 * (_angle(a)[:, None] - _angle(b)[None]) ** 2
    return distance_iou(a, b) - v**2 / (1 - iou(a, b) + v + TINY)


def _areas(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(intersection, union), each (n, m)."""
    size = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]), 0)
    both = size[..., 0] * size[..., 1]
    return both, area(a)[:, None] + area(b)[None] - both


def _hull(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Width and height (n, m) of the smallest box around two."""
    size = np.maximum(a[:, None, 2:], b[None, :, 2:]) - np.minimum(a[:, None, :2], b[None, :, :2])
    return size[..., 0], size[..., 1]


def _angle(boxes: np.ndarray) -> np.ndarray:
    return np.arctan2(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


# ---- suppression

def nms(boxes: ArrayLike, scores: ArrayLike, threshold: float = 0.5, classes: ArrayLike | None = None) -> np.ndarray:
    """Non-maximum suppression: rows of the boxes to keep, int64, by falling score.

    A box goes if its IoU with a kept one of a higher score, and of its class, is above the threshold. Of equal scores
    the first row wins.

    Args:
        boxes: (n, 4); scores: (n,).
        threshold: from 0 to 1.
        classes: (n,); None: all boxes compete.

    >>> cr.boxes.nms([[0, 0, 2, 2], [0, 0, 2, 2.2], [5, 5, 6, 6]], [0.8, 0.9, 0.7], 0.5)
    array([1, 2])
    """
    rows, scores = rows_of(boxes), np.asarray(scores, np.float64).reshape(-1)
    kinds = (np.zeros(len(rows), np.int64) if classes is None
             else np.unique(np.asarray(classes), return_inverse=True)[1].reshape(-1))
    if not len(rows) == len(scores) == len(kinds):
        raise ShapeError(explain("each box has one score and one class",
                                 got=f"boxes {len(rows)}, scores {len(scores)}, classes {len(kinds)}"))
    if not 0 <= threshold <= 1:
        raise ArgumentError(explain("the threshold of overlap is a share", got=f"threshold={shown(threshold)}",
                                    expected="a number from 0 to 1"))
    order = np.argsort(-scores, kind="stable")
    kept = [_survivors(rows, order[kinds[order] == kind], threshold) for kind in np.unique(kinds)]
    chosen = np.zeros(len(rows), bool)
    for part in kept:
        chosen[part] = True
    return order[chosen[order]]


def _survivors(boxes: np.ndarray, order: np.ndarray, threshold: float) -> list[int]:
    kept = []
    while len(order):
        kept.append(int(order[0]))
        overlaps = iou(boxes[order[:1]], boxes[order[1:]])[0]
        order = order[1:][overlaps <= threshold]
    return kept
