# SPDX-License-Identifier: Apache-2.0
"""Moving pixels: images sampled at the positions that an affine matrix gives, and separable resizing.

A matrix (3, 3) maps (x, y, 1) of the old image to the new one, up to a factor, in pixels with the corner of the first
pixel at (0, 0).
Images are interpolated linearly between the four nearest centres, masks take the nearest one. At whole positions the
weights are exactly 0 and 1, so flips, quarter turns, whole shifts and the identity keep every bit.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from .checks import constant, size_of

FILLS = ("constant", "edge", "reflect")


def warp(x: np.ndarray, matrices: np.ndarray, size: tuple[int, int] | None = None, fill: float | str = 0.0,
         nearest: bool = False) -> np.ndarray:
    """Images x (N, H, W, ...) under `matrices` (N, 3, 3), as (N, *size, ...).

    `fill` is what lies outside: a number, "edge" (the nearest pixel goes on) or "reflect".

    >>> x = np.arange(4.0, dtype="float32").reshape(1, 2, 2, 1)
    >>> np.array_equal(cr.augment.warp(x, np.eye(3)[None]), x)
    True
    """
    mode, value = fill_mode(fill)
    down, right = _sources(matrices, size or x.shape[1:3])
    if nearest:
        return _gather(x, np.floor(down).astype(np.intp), np.floor(right).astype(np.intp), mode, value)
    down, right = down - 0.5, right - 0.5
    i, j = np.floor(down), np.floor(right)
    v, u = (_wide((t - whole).astype(np.float32), x.ndim) for t, whole in ((down, i), (right, j)))
    i, j = i.astype(np.intp), j.astype(np.intp)
    if not (u.any() or v.any()):
        return _gather(x, i, j, mode, value)
    total = _gather(x, i, j, mode, value) * ((1 - v) * (1 - u))
    for a, b, weight in ((0, 1, (1 - v) * u), (1, 0, v * (1 - u)), (1, 1, v * u)):
        if weight.any():
            total += _gather(x, i + a, j + b, mode, value) * weight
    return like(x, total)


def fill_mode(fill: float | str) -> tuple[str, float]:
    """(one of FILLS, the constant)."""
    if isinstance(fill, str) and fill not in FILLS[1:]:
        raise ArgumentError(explain("there is no such way to fill", got=repr(fill),
                                    expected="a number, 'edge' or 'reflect'"))
    return (fill, 0.0) if isinstance(fill, str) else ("constant", float(fill))


def mask_fill(fill: float | str) -> float | str:
    """What lies outside a mask: nothing where its image gets a number, else what the image shows there."""
    return fill if isinstance(fill, str) else 0.0


def like(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values in the dtype of x; whole numbers are rounded and limited to what the dtype holds."""
    if x.dtype.kind == "f":
        return values.astype(x.dtype, copy=False)
    limits = np.iinfo(x.dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(x.dtype)


def _wide(weights: np.ndarray, rank: int) -> np.ndarray:
    return weights.reshape(*weights.shape, *(1,) * (rank - 3))


def _sources(matrices: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of the old image where the centres of the new pixels come from: (N, h, w), or, where rows stay
    rows,
    (N, h, 1) and (N, 1, w)."""
    y, x = np.arange(size[0])[:, np.newaxis] + 0.5, np.arange(size[1]) + 0.5
    if (matrices[:, 2] != [0, 0, 1]).any():
        across, down, depth = np.moveaxis(np.linalg.inv(matrices), 1, 0)[..., np.newaxis, np.newaxis]
        behind = depth[:, 0] * x + depth[:, 1] * y + depth[:, 2]
        return (down[:, 0] * x + down[:, 1] * y
                + down[:, 2]) / behind, (across[:, 0] * x + across[:, 1] * y + across[:, 2]) / behind
    inverse = inverted(matrices)[..., np.newaxis, np.newaxis]
    if not (inverse[:, 1, 0].any() or inverse[:, 0, 1].any()):
        return inverse[:, 1, 1] * y + inverse[:, 1, 2], inverse[:, 0, 0] * x + inverse[:, 0, 2]
    return (inverse[:, 1, 0] * x + inverse[:, 1, 1] * y + inverse[:, 1, 2],
            inverse[:, 0, 0] * x + inverse[:, 0, 1] * y + inverse[:, 0, 2])


def inverted(matrices: np.ndarray) -> np.ndarray:
    """The inverses of affine matrices (N, 3, 3), exact where their entries are 0, 1 and -1."""
    a, b, tx, c, d, ty = (matrices[:, i, j] for i in (0, 1) for j in (0, 1, 2))
    determinant = a * d - b * c
    inverse = np.zeros_like(matrices)
    inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 0], inverse[:, 1, 1] = d, -b, -c, a
    inverse /= determinant[:, np.newaxis, np.newaxis]
    inverse[:, 0, 2] = -(inverse[:, 0, 0] * tx + inverse[:, 0, 1] * ty)
    inverse[:, 1, 2] = -(inverse[:, 1, 0] * tx + inverse[:, 1, 1] * ty)
    inverse[:, 2, 2] = 1
    return inverse


def _gather(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, mode: str, value: float) -> np.ndarray:
    height, width = x.shape[1:3]
    if (
        mode == "constant"
        and rows.shape[2] == 1 == columns.shape[1]
        and _are_runs(rows[:, :, 0])
        and _are_runs(columns[:, 0])
    ):
        return _cut(x, rows[:, :, 0], columns[:, 0], value)
    inside_rows, inside_columns = _inside(rows, height, mode), _inside(columns, width, mode)
    first = (np.arange(len(x)) * (height * width))[:, np.newaxis, np.newaxis]
    place = first + inside_rows * width + inside_columns
    found = x.reshape(-1, *x.shape[3:]).take(place, axis=0, mode="clip")
    if mode != "constant":
        return found
    outside = (rows != inside_rows) | (columns != inside_columns)
    return np.where(_wide(outside, x.ndim), constant(value, x.dtype), found) if outside.any() else found


def _are_runs(index: np.ndarray) -> bool:
    """Whether each row of (N, n) counts up or down by one."""
    if index.shape[1] < 2:
        return False
    steps = index[:, 1:] - index[:, :-1]
    return bool((steps == steps[:, :1]).all() and (np.abs(steps[:, 0]) == 1).all())


def _cut(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, value: float) -> np.ndarray:
    """As `_gather` for rows (N, h) and columns (N, w) that are runs: crops, shifts and mirror images are copies of
    slices."""
    out = np.empty((len(x), rows.shape[1], columns.shape[1], *x.shape[3:]), x.dtype)
    fill, whole = constant(value, x.dtype), out.shape[1:3]
    old, new = _whole_pixels(x), _whole_pixels(out)
    for n, ((into_rows, from_rows),
            (into_columns, from_columns)) in enumerate(zip(_slices(rows, x.shape[1]), _slices(columns, x.shape[2]),
                                                           strict=True)):
        if (into_rows.stop - into_rows.start, into_columns.stop - into_columns.start) != whole:
            out[n] = fill
        new[n, into_rows, into_columns] = old[n, from_rows, from_columns]
    return out


def _whole_pixels(x: np.ndarray) -> np.ndarray:
    """(N, H, W) of pixels with all their channels, where these lie together: fewer and larger items to copy."""
    if x.ndim != 4 or not x.flags.c_contiguous or not x.shape[3]:
        return x
    return x.view(np.dtype((np.void, x.shape[3] * x.itemsize)))[..., 0]


def _slices(index: np.ndarray, extent: int) -> list[tuple[slice, slice]]:
    """For each run, which of its places lie within 0..extent - 1, and where these are."""
    found, size = [], index.shape[1]
    for first, second in index[:, :2].tolist():
        if second > first:
            begin, end = max(0, -first), max(0, -first, min(size, extent - first))
            found.append((slice(begin, end), slice(first + begin, first + end)))
        else:
            begin = max(0, first - extent + 1)
            end = max(begin, min(size, first + 1))
            found.append((slice(begin, end), slice(first - begin, first - end if end <= first else None, -1) if end
                          > begin else slice(0, 0)))
    return found


def _inside(index: np.ndarray, extent: int, mode: str) -> np.ndarray:
    if mode == "reflect":
        index = index % (2 * extent)
        return np.minimum(index, 2 * extent - 1 - index)
    return np.clip(index, 0, extent - 1)


def resize(x: np.ndarray, size: int | tuple[int, int], antialias: bool = True) -> np.ndarray:
    """Images (N, H, W, C) resized to `size` by linear interpolation; with `antialias`, the triangle is widened by the
    factor of the reduction, so that every old pixel counts (as Pillow does).

    >>> cr.augment.resize(np.zeros((2, 8, 8, 3), "float32"), (4, 6)).shape
    (2, 4, 6, 3)
    """
    x, size = np.asarray(x), size_of(size)
    if x.ndim != 4:
        raise ShapeError(explain("images are resized in batches", got=f"shape {x.shape}",
                                 expected="(images, height, width, channels)",
                                 fix="one image: augment.resize(x[None], size)[0]" if x.ndim == 3 else None))
    rows, columns = (_weights(old, new, antialias) for old, new in zip(x.shape[1:3], size, strict=True))
    half = np.tensordot(x.astype(np.float32, copy=False), columns, axes=(2, 1))  # (N, H, C, w)
    return like(x, np.tensordot(half, rows, axes=(1, 1)).transpose(0, 3, 2, 1))


def _weights(old: int, new: int, antialias: bool) -> np.ndarray:
    """(new, old): how much of each old pixel goes into each new one."""
    scale = old / new
    width = max(scale, 1.0) if antialias else 1.0
    centre = (np.arange(new)[:, np.newaxis] + 0.5) * scale
    if not antialias:
        centre = np.clip(centre, 0.5, old - 0.5)
    weights = np.maximum(1 - np.abs(np.arange(old) + 0.5 - centre) / width, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
