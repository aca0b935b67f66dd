# SPDX-License-Identifier: Apache-2.0
"""What an augmentation takes: mistakes in arguments and samples, told with what came, what was expected and a fix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain

BRIGHT = 16.0  # floating-point images that reach this go to 255; between 1 and this they may be anything
ROUNDING = 1e-5  # of the range: how far interpolation may leave it


def check_images(x: np.ndarray) -> None:
    """Images are (N, H, W, C), floating-point or uint8."""
    if x.ndim != 4 or (x.dtype != np.uint8 and x.dtype.kind != "f"):
        fix = ("add the missing axis: x[..., None]" if x.ndim == 3 else "x.astype('uint8'), or x.astype('float32')"
               if x.ndim == 4 else None)
        raise ShapeError(explain("images are needed here", got=f"{x.dtype} of shape {x.shape[1:]} for one sample",
                                 expected="(height, width, channels), uint8 or floating point", fix=fix))


def range_of(x: np.ndarray) -> tuple[float, float] | None:
    """(black, white) of images, by their dtype or their values; None where these leave it open."""
    if x.dtype == np.uint8:
        return 0.0, 255.0
    if x.dtype.kind != "f" or not x.size:
        return None
    low, high = float(x.min()), float(x.max())
    if not low >= 0 or not (high <= 1 or BRIGHT <= high <= 255):
        return None
    return (0.0, 1.0) if high <= 1 else (0.0, 255.0)


def check_value_range(value: Any) -> tuple[float, float] | None:
    """A stated range of values, as two numbers."""
    if value is None:
        return None
    low, high = interval("value_range", value if isinstance(value, tuple | list) else (0.0, value))
    if not low < high:
        raise ArgumentError(explain("black and white are different values", got=f"value_range={value!r}",
                                    expected="for example (0, 255)"))
    return low, high


def stated_range(batch: Any, name: str) -> tuple[float, float]:
    """(black, white) of a batch of images, whose values all lie there; ArgumentError with what the values are
    otherwise."""
    x, known = batch.x, batch.value_range
    if x.dtype == np.uint8:
        if known not in (None, (0.0, 255.0)):
            raise ArgumentError(explain("uint8 images go from 0 to 255", got=f"value_range={known}",
                                        fix="leave out value_range"))
        return 0.0, 255.0
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if known is None:
        raise ArgumentError(explain(f"{name} must know which values are black and white",
                                    got=f"{x.dtype} images with values from {low:.4g} to {high:.4g}",
                                    expected="uint8, or floats from 0 to 1 or from 0 to 255",
                                    fix="say it: augment.Compose([...], value_range=(0, 4095)); standardise after the "
                                        "augmentation, not before it"))
    room = ROUNDING * (known[1] - known[0])
    if not known[0] - room <= low <= high <= known[1] + room:
        raise ArgumentError(explain(f"images leave the range that {name} works in",
                                    got=f"values from {low:.4g} to {high:.4g}",
                                    expected=f"{known[0]:g} to {known[1]:g}",
                                    fix="say it: augment.Compose([...], value_range=(black, white))"))
    return known


def constant(value: float, dtype: np.dtype) -> np.ndarray:
    """A value that is put into images of this dtype; ArgumentError if they cannot hold it."""
    if dtype.kind in "ui" and not (float(value).is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max):
        limits = np.iinfo(dtype)
        raise ArgumentError(explain("images of this dtype cannot hold the fill",
                                    got=f"fill={value!r} in {dtype} images",
                                    expected=f"a whole number from {limits.min} to {limits.max}"))
    return np.asarray(value, dtype)


def check_beside(batch: Any) -> None:
    """What lies beside the images of a batch fits them: masks of their size, boxes with four edges in order, points."""
    for name in ("masks", "boxes", "keypoints"):
        beside = getattr(batch, name)
        if beside is not None and len(beside) != len(batch.x):
            raise ShapeError(explain(f"each image has its own {name}", got=f"{len(beside)} for {len(batch.x)} images"))
    axes = slice(1, 3 if batch.x.ndim == 4 else 2)
    if batch.masks is not None and np.shape(batch.masks)[axes] != batch.x.shape[axes]:
        raise ShapeError(explain("a mask has the size of its image",
                                 got=f"mask {np.shape(batch.masks)[axes]}, image {batch.x.shape[axes]}",
                                 expected="(height, width), or (height, width, masks)"))
    for i, boxes in enumerate(batch.boxes if batch.boxes is not None else ()):
        _check_boxes(np.asarray(boxes), None if batch.labels is None else np.asarray(batch.labels[i]))
    for points in batch.keypoints if batch.keypoints is not None else ():
        if np.size(points) and (np.ndim(points) != 2 or np.shape(points)[1] not in (2, 3)):
            raise ShapeError(explain("keypoints come as rows", got=f"shape {np.shape(points)}",
                                     expected="(points, 2), or (points, 3) with visibility",
                                     fix="one point is [[x, y]]"))


def _check_boxes(boxes: np.ndarray, labels: np.ndarray | None) -> None:
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ShapeError(explain("boxes come as rows", got=f"shape {boxes.shape}",
                                 expected="(boxes, 4): left, top, right, bottom",
                                 fix="one box is [[left, top, right, bottom]]"))
    count = len(boxes) if boxes.size else 0
    if labels is not None and len(labels) != count:
        raise ShapeError(explain("each box has one label", got=f"{count} boxes, {len(labels)} labels"))
    wrong = np.flatnonzero((boxes[:, 0] > boxes[:, 2]) | (boxes[:, 1] > boxes[:, 3])) if count else []
    if len(wrong):
        raise ArgumentError(explain("a box ends before it begins", got=f"box {wrong[0]}: {boxes[wrong[0]].tolist()}",
                                    expected="left, top, right, bottom in pixels",
                                    fix="from (x, y, width, height): [x, y, x + width, y + height]"))


def share(value: float) -> float:
    """A number in [0, 1]."""
    if isinstance(value, str) or not 0 <= value <= 1:
        raise ArgumentError(explain("a probability lies in [0, 1]", got=repr(value)))
    return float(value)


def interval(name: str, value: Any, around: float = 0.0) -> tuple[float, float]:
    """(low, high); a single number d means around - d to around + d."""
    ends = (around - value, around + value) if isinstance(value, int | float | np.number) else value
    if (
        not isinstance(ends, tuple | list)
        or len(ends) != 2
        or not all(isinstance(end, int | float | np.number) for end in ends)
        or not ends[0] <= ends[1]
    ):
        raise ArgumentError(explain(f"{name} is a range", got=repr(value), expected="(low, high), or one number"))
    return float(ends[0]), float(ends[1])


def size_of(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width); one number stands for both."""
    height, width = (size, size) if isinstance(size, int | np.integer) else size
    if height < 1 or width < 1:
        raise ArgumentError(explain("a size is positive", got=repr(size)))
    return int(height), int(width)
