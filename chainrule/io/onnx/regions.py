# SPDX-License-Identifier: Apache-2.0
"""Operators on places in images: sampling at any coordinates, and boxes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ... import arrays as xp
from .words import Call, tensor, word

MODES = {"bilinear": "linear", "bicubic": "cubic"}


@word("GridSample")
def _grid_sample(call: Call, x: Any, grid: Any) -> Any:
    """The image (N, C, *S) at coordinates (N, *O, rank) from -1 to 1, the last axis of the image first."""
    x, grid = tensor(x), tensor(grid)
    corners, padding = bool(call.get("align_corners", 0)), call.get("padding_mode", "zeros")
    mode, extents = call.get("mode", "linear"), x.shape[2:]
    mode = MODES.get(mode, mode)
    taps = []
    for i, n in enumerate(extents):
        place = grid[..., len(extents) - 1 - i]
        place = (place + 1) / 2 * (n - 1) if corners else ((place + 1) * n - 1) / 2
        taps.append(_taps(place if mode == "cubic" else _bounded(place, n, padding, corners), mode))
    total: Any = 0
    for choice in itertools.product(*taps):
        total = total + _picked(x, [place for place, _ in choice], padding,
                                corners) * xp.expand_dims(_product([weight for _, weight in choice]), axis=1)
    return total


def _product(weights: list[Any]) -> Any:
    result = weights[0]
    for weight in weights[1:]:
        result = result * weight
    return result


def _taps(place: Any, mode: str) -> list[tuple[Any, Any]]:
    """Positions next to a place, and their weights."""
    if mode == "nearest":
        return [(xp.round(place), xp.ones_like(place))]
    low = xp.floor(place)
    t = place - low
    if mode == "linear":
        return [(low, 1 - t), (low + 1, t)]
    a = -0.75
    near, far = lambda d: ((a + 2) * d - (a + 3)) * d * d + 1, lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return [(low - 1, far(t + 1)), (low, near(t)), (low + 1, near(1 - t)), (low + 2, far(2 - t))]


def _bounded(place: Any, extent: int, padding: str, corners: bool) -> Any:
    """Moved into the image as the padding says."""
    if padding == "border":
        return xp.clip(place, 0, extent - 1)
    if padding != "reflection":
        return place
    low, high = (0.0, extent - 1.0) if corners else (-0.5, extent - 0.5)
    span = high - low
    if span == 0:
        return xp.zeros_like(place)
    away = xp.abs(place - low)
    turns = xp.floor(away / span)
    rest = away - turns * span
    inside = xp.where(xp.equal(turns - 2 * xp.floor(turns / 2), 0), rest + low, high - rest)
    return xp.clip(inside, 0, extent - 1)


def _picked(x: Any, places: list[Any], padding: str, corners: bool) -> Any:
    """The elements (N, C, *O) at whole positions, 0 outside."""
    n, channels, *extents = x.shape
    flat: Any = 0
    inside: Any = None
    for place, extent in zip(places, extents, strict=True):
        place = _bounded(place, extent, padding, corners)
        here = (place >= 0) & (place <= extent - 1)
        inside = here if inside is None else inside & here
        flat = flat * extent + xp.astype(xp.clip(place, 0, extent - 1), "int64")
    size = int(np.prod(extents))
    rows = np.arange(n).reshape(-1, *(1,) * (flat.ndim - 1)) * size
    pixels = xp.reshape(xp.moveaxis(x, 1, -1), (n * size, channels))
    found = xp.moveaxis(xp.take(pixels, flat + rows, axis=0), -1, 1)
    return xp.where(xp.expand_dims(inside, axis=1), found, xp.zeros_like(found))


@word("NonMaxSuppression")
def _non_max_suppression(call: Call, boxes: Any, scores: Any, most: Any = None, overlap: Any = None,
                         least: Any = None) -> Any:
    """(image, class, box) of the boxes that are kept: how many there are depends on the values, so it runs eagerly
    only."""
    boxes, scores = call.static(boxes, "the boxes").astype(float), call.static(scores, "the scores")
    number = lambda value, default: default if value is None else float(call.static(value).reshape(-1)[0])
    count, limit, bound = int(number(most, 0)), number(overlap, 0.0), number(least, -np.inf)
    corners = _corners(boxes, call.get("center_point_box", 0))
    rows = [(i, c, k) for i in range(scores.shape[0]) for c in range(scores.shape[1])
            for k in _kept(corners[i], scores[i, c], count, limit, bound)]
    return np.array(rows, np.int64).reshape(-1, 3)


def _corners(boxes: np.ndarray, centred: int) -> np.ndarray:
    if centred:
        x, y, w, h = np.moveaxis(boxes, -1, 0)
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], axis=-1)
    return np.concatenate([np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])],
                          axis=-1)


def _kept(boxes: np.ndarray, scores: np.ndarray, count: int, limit: float, bound: float) -> list[int]:
    kept: list[int] = []
    for k in np.argsort(-scores, kind="stable"):
        if len(kept) == count or scores[k] <= bound:
            break
        if all(_overlap(boxes[k], boxes[other]) <= limit for other in kept):
            kept.append(int(k))
    return kept


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    both, area = sides.prod(), lambda box: (box[2:] - box[:2]).prod()
    union = area(a) + area(b) - both
    return float(both / union) if union > 0 else 0.0
