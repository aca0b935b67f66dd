# SPDX-License-Identifier: Apache-2.0
"""What an augmentation takes: mistakes in arguments and samples, told with what came, what was expected and a fix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain


def check_images(x: np.ndarray) -> None:
    """Images are (N, H, W, C), floating-point or uint8."""
    if x.ndim != 4 or (x.dtype != np.uint8 and x.dtype.kind != "f"):
        fix = "add the missing axis: x[..., None]" if x.ndim == 3 else "x.astype('uint8'), or x.astype('float32')" if x.ndim == 4 else None
        raise ShapeError(explain("images are needed here", got=f"{x.dtype} of shape {x.shape[1:]} for one sample",
                                 expected="(height, width, channels), uint8 or floating point", fix=fix))


def check_beside(batch: Any) -> None:
    """What lies beside the images of a batch fits them: masks of their size, boxes with four edges in order, points."""
    if batch.masks is not None and np.shape(batch.masks)[1:3] != batch.x.shape[1:3]:
        raise ShapeError(explain("a mask has the size of its image", got=f"mask {np.shape(batch.masks)[1:3]}, image {batch.x.shape[1:3]}",
                                 expected="(height, width), or (height, width, masks)"))
    for i, boxes in enumerate(batch.boxes if batch.boxes is not None else ()):
        _check_boxes(np.asarray(boxes), None if batch.labels is None else np.asarray(batch.labels[i]))
    for points in batch.keypoints if batch.keypoints is not None else ():
        if np.size(points) and (np.ndim(points) != 2 or np.shape(points)[1] not in (2, 3)):
            raise ShapeError(explain("keypoints come as rows", got=f"shape {np.shape(points)}", expected="(points, 2), or (points, 3) with visibility",
                                     fix="one point is [[x, y]]"))


def _check_boxes(boxes: np.ndarray, labels: np.ndarray | None) -> None:
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ShapeError(explain("boxes come as rows", got=f"shape {boxes.shape}", expected="(boxes, 4): left, top, right, bottom",
                                 fix="one box is [[left, top, right, bottom]]"))
    count = len(boxes) if boxes.size else 0
    if labels is not None and len(labels) != count:
        raise ShapeError(explain("each box has one label", got=f"{count} boxes, {len(labels)} labels"))
    wrong = np.flatnonzero((boxes[:, 0] > boxes[:, 2]) | (boxes[:, 1] > boxes[:, 3])) if count else []
    if len(wrong):
        raise ArgumentError(explain("a box ends before it begins", got=f"box {wrong[0]}: {boxes[wrong[0]].tolist()}", expected="left, top, right, bottom in pixels",
                                    fix="from (x, y, width, height): [x, y, x + width, y + height]"))


def share(value: float) -> float:
    """A number in [0, 1]."""
    if isinstance(value, str) or not 0 <= value <= 1:
        raise ArgumentError(explain("a probability lies in [0, 1]", got=repr(value)))
    return float(value)


def interval(name: str, value: Any, around: float = 0.0) -> tuple[float, float]:
    """(low, high); a single number d means around - d to around + d."""
    ends = (around - value, around + value) if isinstance(value, int | float | np.number) else value
    if not isinstance(ends, tuple | list) or len(ends) != 2 or not all(isinstance(end, int | float | np.number) for end in ends) or not ends[0] <= ends[1]:
        raise ArgumentError(explain(f"{name} is a range", got=repr(value), expected="(low, high), or one number"))
    return float(ends[0]), float(ends[1])


def size_of(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width); one number stands for both."""
    height, width = (size, size) if isinstance(size, int | np.integer) else size
    if height < 1 or width < 1:
        raise ArgumentError(explain("a size is positive", got=repr(size)))
    return int(height), int(width)
