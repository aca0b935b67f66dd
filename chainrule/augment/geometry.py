# SPDX-License-Identifier: Apache-2.0
"""Flips, turns, shifts, zooms and crops of images, with boxes, masks and keypoints following by the same matrix.

Each operation is a random affine matrix for each sample (and, for crops, a new size); `move` applies it to everything
that a sample holds. Angles are in degrees, positive turns go from the x axis to the y axis (clockwise on the screen).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from ..typing import RangeLike
from .base import Augmentation, Batch, changed
from .checks import check_images, interval, share, size_of
from .draws import Draws
from .pixels import mask_fill, warp


class Geometric(Augmentation):
    """An operation that moves pixels; a subclass writes `matrices`."""

    fill: float | str = 0.0
    size: tuple[int, int] | None = None

    def matrices(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """(N, 3, 3), from the old pixels to the new ones."""
        raise NotImplementedError

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        check_images(batch.x)
        return move(batch, self.matrices(draws, *batch.x.shape[1:3]), self.size, self.fill)


def move(batch: Batch, matrices: np.ndarray, size: tuple[int, int] | None = None, fill: float | str = 0.0) -> Batch:
    """Everything in the batch under the matrices (N, 3, 3): images linearly, masks by the nearest pixel (0 outside
    where the image gets a
    number, else as the image), boxes by their corners, clipped to the image (those that leave it are dropped, with
    their labels), keypoints as points."""
    size = size or batch.x.shape[1:3]
    x = warp(batch.x, matrices, size, fill)
    masks = (None if batch.masks is None else warp(np.asarray(batch.masks), matrices, size, mask_fill(fill),
                                                   nearest=True))
    points = None if batch.keypoints is None else [
        move_points(p, m, size) for p, m in zip(batch.keypoints, matrices, strict=True)]
    moved = changed(batch, x=x, masks=masks, keypoints=points)
    return moved if batch.boxes is None else _move_boxes(moved, matrices, size)


def _move_boxes(batch: Batch, matrices: np.ndarray, size: tuple[int, int]) -> Batch:
    boxes, labels = [], None if batch.labels is None else []
    for i, (own, matrix) in enumerate(zip(batch.boxes, matrices, strict=True)):
        new = clip_boxes(move_boxes(own, matrix), size)
        kept = (new[:, 2] > new[:, 0]) & (new[:, 3] > new[:, 1])
        boxes.append(new[kept].astype(np.asarray(own).dtype) if np.asarray(own).dtype.kind == "f" else new[kept])
        if labels is not None:
            labels.append(np.asarray(batch.labels[i])[kept])
    return changed(batch, boxes=boxes, labels=labels)


def move_boxes(boxes: Any, matrix: np.ndarray) -> np.ndarray:
    """The smallest upright boxes (n, 4) around the moved corners."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # (n, 4, 2)
    moved = mapped(corners, matrix)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)


def clip_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes limited to an image of `size` (height, width)."""
    return np.clip(boxes, 0, [size[1], size[0], size[1], size[0]])


def move_points(points: Any, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Points (k, 2) or (k, 3) moved; a third number, visibility, becomes 0 outside the image."""
    points = np.asarray(points)
    moved = points.astype(np.float64 if points.dtype.kind != "f" else points.dtype)
    moved[:, :2] = mapped(points[:, :2], matrix)
    if points.shape[1] > 2:
        outside = ((moved[:, :2] < 0) | (moved[:, :2] > [size[1], size[0]])).any(axis=1)
        moved[outside, 2] = 0
    return moved


def mapped(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) under a matrix (3, 3)."""
    flat = points @ matrix[:2, :2].T + matrix[:2, 2]
    return flat if (matrix[2] == [0, 0, 1]).all() else flat / (points @ matrix[2, :2] + matrix[2, 2])[..., np.newaxis]


# ---- matrices

def linear(count: int, a: Any = 1.0, b: Any = 0.0, c: Any = 0.0, d: Any = 1.0) -> np.ndarray:
    """(N, 3, 3) with rows (a, b, 0), (c, d, 0), (0, 0, 1)."""
    matrices = np.zeros((count, 3, 3))
    matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1], matrices[:, 2, 2] = a, b, c, d, 1
    return matrices


def shift(count: int, x: Any, y: Any) -> np.ndarray:
    """(N, 3, 3) that add (x, y)."""
    matrices = linear(count)
    matrices[:, 0, 2], matrices[:, 1, 2] = x, y
    return matrices


def rotation(degrees: np.ndarray) -> np.ndarray:
    """(N, 3, 3); quarter turns are exact."""
    angle = np.deg2rad(degrees)
    cosine, sine = (np.where(np.abs(v) < 1e-15, 0.0, v) for v in (np.cos(angle), np.sin(angle)))
    return linear(len(angle), cosine, -sine, sine, cosine)


def about_centre(matrices: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same with the centre of the image in the place of (0, 0)."""
    count = len(matrices)
    return shift(count, width / 2, height / 2) @ matrices @ shift(count, -width / 2, -height / 2)


# ---- operations

class Flip(Geometric):
    """The mirror image. Digits, letters and other things with a handedness change their meaning: leave it out there.

    Args:
        axis: "horizontal" (left and right change places) or "vertical".
        probability: share of samples that are flipped.

    >>> x = np.array([1.0, 2.0, 3.0], "float32").reshape(1, 1, 3, 1)
    >>> cr.augment.Flip(probability=1.0).batch(x)[0].ravel()
    array([3., 2., 1.], dtype=float32)
    """

    def __init__(self, axis: str = "horizontal", probability: float = 0.5):
        if axis not in ("horizontal", "vertical"):
            raise ArgumentError(explain("there is no such axis", got=repr(axis), expected="'horizontal' or 'vertical'"))
        self.axis, self.probability = axis, share(probability)

    def matrices(self, draws: Draws, height: int, width: int) -> np.ndarray:
        matrices = linear(len(draws.indices))
        place, extent = (0, width) if self.axis == "horizontal" else (1, height)
        matrices[:, place, place], matrices[:, place, 2] = -1, extent
        return matrices

    def run(self, batch: Batch, draws: Draws) -> Batch:
        """Images alone are copied once, turned round or as they are."""
        if batch.masks is not None or batch.boxes is not None or batch.keypoints is not None or self.probability >= 1:
            return super().run(batch, draws)
        check_images(batch.x)
        turned = draws.one() < self.probability
        matrices = self.matrices(draws, *batch.x.shape[1:3])
        matrices[~turned] = np.eye(3)
        return changed(batch, x=warp(batch.x, matrices, fill=self.fill))


class Affine(Geometric):
    """Zoom, shear, turn (all about the centre) and shift, in this order, in one interpolation.

    Args:
        degrees: turn, from a range (low, high); one number d stands for (-d, d).
        translate: shift along x and y in shares of the extent: 0.1 for a tenth in each direction.
        scale: zoom from a range around 1: (0.8, 1.25), or 0.2 for (0.8, 1.2).
        shear: degrees, along x.
        fill: what comes in from outside: a number, "edge" or "reflect".
        probability: share of samples that are changed.

    >>> x = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype("float32")
    >>> y, _ = cr.augment.Affine(degrees=10, translate=0.1, scale=0.1).batch(x, seed=0)
    >>> y.shape
    (1, 8, 8, 3)
    """

    def __init__(self, degrees: RangeLike = 0.0, translate: RangeLike = 0.0, scale: RangeLike = 0.0,
                 shear: RangeLike = 0.0, fill: float | str = 0.0, probability: float = 1.0):
        self.degrees, self.translate = interval("degrees", degrees), interval("translate", translate)
        self.scale, self.shear = interval("scale", scale, 1.0), interval("shear", shear)
        self.fill, self.probability = fill, share(probability)
        if self.scale[0] <= 0:
            raise ArgumentError(explain("a zoom is positive", got=repr(scale), expected="for example (0.8, 1.25)"))

    def matrices(self, draws: Draws, height: int, width: int) -> np.ndarray:
        count = len(draws.indices)
        zoom, slope = draws.one(*self.scale), np.tan(np.deg2rad(draws.one(*self.shear)))
        turn = rotation(draws.one(*self.degrees)) @ linear(count, b=slope) @ linear(count, a=zoom, d=zoom)
        x, y = draws.one(*self.translate) * width, draws.one(*self.translate) * height
        return shift(count, x, y) @ about_centre(turn, height, width)


class Rotate(Affine):
    """Turn about the centre by an angle from `degrees`: (low, high), or d for (-d, d); clockwise where it is positive.

    >>> cr.augment.Rotate(15)(np.zeros((8, 8, 3), "float32"), seed=0).shape
    (8, 8, 3)
    """

    def __init__(self, degrees: RangeLike, fill: float | str = 0.0, probability: float = 1.0):
        super().__init__(degrees=degrees, fill=fill, probability=probability)


class Scale(Affine):
    """Zoom about the centre by a factor from `scale`: (0.8, 1.25), or 0.2 for (0.8, 1.2).

    >>> cr.augment.Scale((0.8, 1.25))(np.zeros((8, 8, 3), "float32"), seed=0).shape
    (8, 8, 3)
    """

    def __init__(self, scale: RangeLike, fill: float | str = 0.0, probability: float = 1.0):
        super().__init__(scale=scale, fill=fill, probability=probability)


class Shear(Affine):
    """Slant along x by an angle from `shear`, in degrees.

    >>> cr.augment.Shear(10)(np.zeros((8, 8, 3), "float32"), seed=0).shape
    (8, 8, 3)
    """

    def __init__(self, shear: RangeLike, fill: float | str = 0.0, probability: float = 1.0):
        super().__init__(shear=shear, fill=fill, probability=probability)


class Perspective(Geometric):
    """Each corner of the image moves inwards by chance, as if it were seen from the side.

    Args:
        by: how far at most, in shares of half the extent.
        fill, probability: as in Affine.

    >>> cr.augment.Perspective(probability=1.0)(np.zeros((8, 8, 3), "float32"), seed=0).shape
    (8, 8, 3)
    """

    def __init__(self, by: float = 0.3, fill: float | str = 0.0, probability: float = 0.5):
        self.by, self.fill, self.probability = share(by), fill, share(probability)

    def matrices(self, draws: Draws, height: int, width: int) -> np.ndarray:
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
        inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [width / 2, height / 2] * self.by
        return homographies(corners, corners + inwards * draws.uniform(8).reshape(-1, 4, 2))


def homographies(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(N, 3, 3): the matrices that take four points (4, 2) to four points each (N, 4, 2)."""
    x, y = np.broadcast_to(old, new.shape).transpose(2, 0, 1)
    u, v = new.transpose(2, 0, 1)
    one, none = np.ones_like(x), np.zeros_like(x)
    system = np.concatenate([np.stack([x, y, one, none, none, none, -u * x, -u * y], axis=-1),
                             np.stack([none, none, none, x, y, one, -v * x, -v * y], axis=-1)], axis=1)
    found = np.linalg.solve(system, np.concatenate([u, v], axis=1)[..., np.newaxis])[..., 0]
    return np.concatenate([found, np.ones((len(found), 1))], axis=1).reshape(-1, 3, 3)


class Translate(Geometric):
    """Shift by whole pixels, up to the share `by` of the extent to each side; every bit that stays is kept.

    Args:
        by: a share (0.1), or (share of the width, share of the height).
        fill, probability: as in Affine.

    >>> cr.augment.Translate(0.1)(np.zeros((8, 8, 3), "float32"), seed=0).shape
    (8, 8, 3)
    """

    def __init__(self, by: RangeLike = 0.1, fill: float | str = 0.0, probability: float = 1.0):
        self.by = (by, by) if isinstance(by, int | float) else tuple(by)
        self.fill, self.probability = fill, share(probability)

    def matrices(self, draws: Draws, height: int, width: int) -> np.ndarray:
        most = [round(share * extent) for share, extent in zip(self.by, (width, height), strict=True)]
        return shift(len(draws.indices), *(draws.integers(-m, m) for m in most))


class Crop(Geometric):
    """A window of `size` (height, width) at a random place, after `padding` pixels of `fill` on each side.

    Crop(32, padding=4) is the usual shift of 32 x 32 images. Kept pixels keep their bits.

    >>> cr.augment.Crop(6, padding=1)(np.zeros((8, 8, 3), "float32"), seed=0).shape
    (6, 6, 3)
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 0, fill: float | str = 0.0):
        self.size, self.padding, self.fill = size_of(size), padding, fill

    def matrices(self, draws: Draws, height: int, width: int) -> np.ndarray:
        room = [extent + 2 * self.padding - new for extent, new in zip((width, height), self.size[::-1], strict=True)]
        if min(room) < 0:
            raise ArgumentError(explain("the window is larger than the image", got=f"{self.size} of {(height, width)}",
                                        fix="give padding=, or a smaller size"))
        return shift(len(draws.indices), *(self.padding - draws.integers(0, r) for r in room))


class ResizedCrop(Geometric):
    """A window of random area and shape, stretched to `size` (Szegedy et al., 2015).

    Args:
        size: height and width that come out.
        area: share of the image's area that the window has, from a range.
        ratio: width / height of the window, from a range (logarithmically).
        probability: share of samples that are cropped; needs images of `size` if it is below 1.

    >>> cr.augment.ResizedCrop(6)(np.zeros((8, 8, 3), "float32"), seed=0).shape
    (6, 6, 3)
    """

    def __init__(self, size: int | tuple[int, int], area: tuple[float, float] = (0.3, 1.0),
                 ratio: tuple[float, float] = (3 / 4, 4 / 3), probability: float = 1.0):
        self.size, self.area, self.ratio = size_of(size), interval("area", area), interval("ratio", ratio)
        self.fill, self.probability = "edge", share(probability)
        if not 0 < self.area[0] <= self.area[1] <= 1 or self.ratio[0] <= 0:
            raise ArgumentError(explain("area lies in (0, 1], ratio above 0", got=f"area={area}, ratio={ratio}"))

    def matrices(self, draws: Draws, height: int, width: int) -> np.ndarray:
        area = draws.one(*self.area) * height * width
        ratio = np.exp(draws.one(math.log(self.ratio[0]), math.log(self.ratio[1])))
        wide, high = np.minimum(np.sqrt(area * ratio), width), np.minimum(np.sqrt(area / ratio), height)
        left, top = draws.one() * (width - wide), draws.one() * (height - high)
        zoom = linear(len(area), a=self.size[1] / wide, d=self.size[0] / high)
        return zoom @ shift(len(area), -left, -top)
