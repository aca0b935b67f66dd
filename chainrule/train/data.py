# SPDX-License-Identifier: Apache-2.0
"""What `fit`, `evaluate` and `predict` accept as data, as arrays of one length: (x, y) or (x, y, sample weights)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import unmasked
from ..errors import ArgumentError, ShapeError, explain
from ..nn.module import float_type


@dataclass(frozen=True)
class Samples:
    """Inputs, targets and one weight per sample, all in memory."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    weighted: bool = True  # whether any weight is another number than 1

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: np.ndarray, out: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The samples at `indices` (all within the data) as contiguous arrays; the inputs are written into `out`, if it is given."""
        x = self.x.take(indices, axis=0, out=out, mode="clip")  # any other mode fills `out` by way of a copy
        return x, self.y[indices], self.weights[indices]


def samples(data: Any, name: str = "the data", model: Any = None) -> Samples:
    """(x, y) or (x, y, weights) as arrays; float64 becomes float32 unless the model computes in float64, integers stay."""
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        fix = ("take a part of the samples: train, rest = data.split(x, 0.8); validation=(x[rest], y[rest])" if isinstance(data, int | float)
               else "for a file or a folder use chainrule.data.load(path)")
        raise ArgumentError(explain(f"{name} must be a pair (x, y)", got=repr(data) if isinstance(data, int | float) else type(data).__name__,
                                    expected="(x, y) or (x, y, sample weights)", fix=fix))
    x, y = inputs(data[0], f"x of {name}", model), inputs(data[1], f"y of {name}", model)
    weights = np.ones(len(x), np.float32) if len(data) == 2 else np.asarray(unmasked(data[2]), np.float32)
    if not len(x) == len(y) == len(weights):
        raise ShapeError(explain(f"{name} has arrays of different lengths", got=f"x {len(x)}, y {len(y)}, weights {len(weights)}",
                                 expected="one target and one weight for each sample"))
    if not len(x):
        raise ShapeError(explain(f"{name} has no samples", got=f"x of shape {x.shape}"))
    _check_weights(weights, name)
    return Samples(x, y, weights, bool((weights != 1).any()))


def over_all(pipeline: Any, x: np.ndarray) -> Any:
    """An augmentation that knows the range of values of all samples, so that it treats those of each batch alike."""
    return pipeline.over(x) if hasattr(pipeline, "over") else pipeline


def _check_weights(weights: np.ndarray, name: str) -> None:
    if (weights < 0).any():
        raise ArgumentError(explain(f"a sample weight of {name} is negative", got=f"{np.nanmin(weights)} at sample {np.nanargmin(weights)}", expected="0 or more"))
    bad = np.argwhere(~np.isfinite(weights))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise ArgumentError(explain(f"a sample weight of {name} is not a finite number", got=f"{weights[place]} at sample {place[0]}", expected="0 or more",
                                    fix="give 0 to samples that shall not count"))
    if not weights.any():
        raise ArgumentError(explain(f"no sample of {name} counts", got=f"{len(weights):,} weights, all 0", expected="some above 0"))


def augmented(pipeline: Any, x: np.ndarray, y: np.ndarray, seed: int, epoch: int,
              indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(inputs, targets, targets for metrics) after an augmentation; metrics keep labels that mixing made soft."""
    if not hasattr(pipeline, "batch"):
        raise ArgumentError(explain("this is not an augmentation", got=repr(pipeline), fix="augment.Compose([augment.Flip(), ...])"))
    new_x, new_y = pipeline.batch(x, y, seed=seed, epoch=epoch, indices=indices)
    if new_x.shape != x.shape or new_x.dtype != x.dtype:
        raise ShapeError(explain("the augmentation changes the shape or the dtype of the samples", got=f"{new_x.dtype} of shape {new_x.shape[1:]}",
                                 expected=f"{x.dtype} of shape {x.shape[1:]}", fix="crop to the size of the images: augment.Crop(size, padding=4)"))
    return new_x, new_y, new_y if new_y.shape == y.shape else y


def inputs(x: Any, name: str = "x", model: Any = None) -> np.ndarray:
    """Numbers as an array with one entry per sample; float64 becomes what the model computes in."""
    array = x.numpy() if hasattr(x, "numpy") else np.asarray(unmasked(x))
    if array.dtype.kind not in "biuf":
        raise ArgumentError(explain(f"{name} is not numeric", got=f"dtype {array.dtype}", expected="numbers",
                                    fix="encode labels as integers 0..C-1; chainrule.data.load does it for files"))
    if array.ndim == 0:
        raise ShapeError(explain(f"{name} must have one entry per sample", got="a single number"))
    return array.astype(float_type(model), copy=False) if array.dtype == np.float64 else array
