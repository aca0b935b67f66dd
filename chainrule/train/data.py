# SPDX-License-Identifier: Apache-2.0
"""What `fit`, `evaluate` and `predict` accept as data, as arrays of one length: (x, y) or (x, y, sample weights), each
an array or a nested structure of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Ragged
from ..errors import ArgumentError, ShapeError, explain
from ..foundations import tree as trees
from ..foundations.arguments import unmasked
from ..nn.core.module import float_type
from .structure import leaves, one_length, take


@dataclass(frozen=True)
class Samples:
    """Inputs, targets and weights, all in memory: arrays with one entry per sample, or structures of them."""

    x: Any
    y: Any
    weights: Any
    weighted: bool = True  # whether any weight is another number than 1

    def __len__(self) -> int:
        return len(leaves(self.x)[0])

    @property
    def plain(self) -> bool:
        """Whether all of it is arrays, none nested."""
        return all(isinstance(part, np.ndarray) for part in (self.x, self.y, self.weights))

    def batch(self, indices: np.ndarray, out: np.ndarray | None = None) -> tuple[Any, Any, Any]:
        """The samples at `indices` (all within the data) as contiguous arrays; the inputs are written into `out`, if it
        is given."""
        if not self.plain:
            return take(self.x, indices), take(self.y, indices), take(self.weights, indices)
        x = self.x.take(indices, axis=0, out=out, mode="clip")  # any other mode fills `out` by way of a copy
        return x, self.y[indices], self.weights[indices]


def samples(data: Any, name: str = "the data", model: Any = None, whole: bool = True) -> Samples:
    """(x, y) or (x, y, weights) as arrays; float64 becomes float32 unless the model computes in float64, integers stay.

    x, y and weights may be dicts and tuples of arrays, and lists of arrays of different lengths, which become `Ragged`.
    Of `whole` data some weight is above 0; of one of many batches it need not be, and others may have weights where all
    of this one are 1.
    """
    if not isinstance(data, tuple | list) or isinstance(data, Ragged) or len(data) not in (2, 3):
        fix = ("take a part of the samples: train, rest = data.split(x, 0.8); validation=(x[rest], y[rest])"
               if isinstance(data, int | float)
               else "for a file or a folder use chainrule.data.load(path)")
        raise ArgumentError(explain(f"{name} must be a pair (x, y)", got=repr(data) if isinstance(data, int | float)
                                    else type(data).__name__,
                                    expected="(x, y) or (x, y, sample weights)", fix=fix))
    x, y = structure(data[0], f"x of {name}", model), structure(data[1], f"y of {name}", model)
    count, told = len(leaves(x)[0]), len(data) == 3 or _ragged(y)
    if len(data) == 3:
        weights = trees.map(lambda array: np.asarray(unmasked(array), np.float32),
                            structure(data[2], f"weights of {name}", model))
    elif isinstance(y, Ragged):
        weights = _existing(y)
    else:
        weights = (np.ones(count, np.float32) if not _ragged(y)
                   else parts_of(y, lambda part: _existing(part) if isinstance(part, Ragged)
                                 else np.ones(count, np.float32)))
    y = parts_of(y, lambda part: part.values if isinstance(part, Ragged) else part)
    _check_lengths(x, y, weights, name)
    _check_weights(weights, name, whole)
    return Samples(x, y, weights, any(bool((array != 1).any()) for array in leaves(weights)) if whole else told)


def structure(x: Any, name: str, model: Any = None) -> Any:
    """Numbers in arrays, or in dicts and tuples of arrays, as `inputs` takes them; a list of arrays of different
    lengths becomes Ragged."""
    if isinstance(x, Ragged):
        return Ragged(inputs(x.values, f"{name}.values", model), np.asarray(x.lengths, np.int64))
    if isinstance(x, Mapping | tuple) and (isinstance(x, Mapping) or _holds_arrays(x)):
        if not x:
            raise ArgumentError(explain(f"{name} is an empty {type(x).__name__}", expected="arrays"))
        parts = {key: structure(item, f"{name}[{key!r}]", model)
                 for key, item in (x.items() if isinstance(x, Mapping) else enumerate(x))}
        return parts if isinstance(x, Mapping) else tuple(parts.values())
    if isinstance(x, list) and len({np.shape(item)[:1] for item in x}) > 1 and all(np.ndim(item) for item in x):
        return padded(x, name, model)
    return inputs(x, name, model)


def _holds_arrays(x: tuple[Any, ...]) -> bool:
    """Whether a tuple is several parts, and not numbers or rows of them."""
    return any(hasattr(item, "__array__") or isinstance(item, Mapping | Ragged)
               or (isinstance(item, tuple) and _holds_arrays(item)) for item in x)


def padded(sequences: Any, name: str, model: Any = None) -> Ragged:
    """Sequences (length, ...) of different lengths in one array, with zeros behind each."""
    arrays = [np.asarray(item) for item in sequences]
    odd = next((i for i, array in enumerate(arrays) if array.shape[1:] != arrays[0].shape[1:]), None)
    if odd is not None:
        raise ShapeError(explain(f"entry {odd} of {name} has another shape behind its length",
                                 got=f"{arrays[odd].shape}",
                                 expected=f"(length, {', '.join(map(str, arrays[0].shape[1:]))})"))
    lengths = np.array([len(array) for array in arrays], np.int64)
    values = np.zeros((len(arrays), int(lengths.max()), *arrays[0].shape[1:]),
                      np.result_type(*{array.dtype for array in arrays if array.size} or {np.dtype(np.float32)}))
    for row, array in zip(values, arrays, strict=True):
        row[:len(array)] = array
    return Ragged(inputs(values, name, model), lengths)


def _existing(x: Ragged) -> np.ndarray:
    """1 where a step exists, 0 behind it."""
    return (np.arange(x.values.shape[1]) < x.lengths[:, None]).astype(np.float32)


def _ragged(x: Any) -> bool:
    return (isinstance(x, Ragged)
            or (isinstance(x, Mapping | tuple) and any(map(_ragged, x.values() if isinstance(x, Mapping) else x))))


def parts_of(x: Any, function: Any) -> Any:
    """The structure with `function` applied to each array and each Ragged in it."""
    if isinstance(x, Mapping):
        return {key: parts_of(item, function) for key, item in x.items()}
    return (tuple(parts_of(item, function) for item in x) if isinstance(x, tuple) and not isinstance(x, Ragged)
            else function(x))


def _check_lengths(x: Any, y: Any, weights: Any, name: str) -> None:
    if all(isinstance(part, np.ndarray) for part in (x, y, weights)):
        if not len(x) == len(y) == len(weights):
            raise ShapeError(explain(f"{name} has arrays of different lengths",
                                     got=f"x {len(x)}, y {len(y)}, weights {len(weights)}",
                                     expected="one target and one weight for each sample"))
    else:
        one_length({"x": x, "y": y, "weights": weights}, name)
    if not len(leaves(x)[0]):
        raise ShapeError(explain(f"{name} has no samples", got=f"x of shape {leaves(x)[0].shape}"))


def held_out(data: Samples, share: float, seed: int, shuffle: bool) -> tuple[Samples, Samples]:
    """(the rest, a share of the samples): chosen by the seed if they are shuffled, else the last ones."""
    count = max(1, round(share * len(data)))
    if count >= len(data):
        raise ArgumentError(explain("no sample would be left to learn from",
                                    got=f"validation={share} of {len(data)} samples", expected="a smaller share"))
    order = np.random.default_rng([seed, len(data)]).permutation(len(data)) if shuffle else np.arange(len(data))
    parts = np.sort(order[:-count]), np.sort(order[-count:])
    rest, held = (Samples(take(data.x, i), take(data.y, i), take(data.weights, i), data.weighted) for i in parts)
    return rest, held


def over_all(pipeline: Any, x: np.ndarray) -> Any:
    """An augmentation that knows the range of values of all samples, so that it treats those of each batch alike."""
    if pipeline is not None and not isinstance(x, np.ndarray):
        raise ArgumentError(explain("an augmentation changes one array of inputs",
                                    got=f"inputs {', '.join(trees.paths(x))}", expected="x as one array",
                                    fix="cr.data.Loader(source, augment=function) with a function (sample, generator) "
                                        "-> sample"))
    return pipeline.over(x) if hasattr(pipeline, "over") else pipeline


def _check_weights(weights: Any, name: str, whole: bool) -> None:
    for path, array in zip(trees.paths(weights), leaves(weights), strict=True):
        _check_factors(array, f"{name} ({path})" if path else name, whole)


def _check_factors(weights: np.ndarray, name: str, whole: bool) -> None:
    if (weights < 0).any():
        raise ArgumentError(explain(f"a sample weight of {name} is negative",
                                    got=f"{np.nanmin(weights)} at sample {np.nanargmin(weights)}",
                                    expected="0 or more"))
    bad = np.argwhere(~np.isfinite(weights))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise ArgumentError(explain(f"a sample weight of {name} is not a finite number",
                                    got=f"{weights[place]} at sample {place[0]}", expected="0 or more",
                                    fix="give 0 to samples that shall not count"))
    if whole and not weights.any():
        raise ArgumentError(explain(f"no sample of {name} counts", got=f"{len(weights):,} weights, all 0",
                                    expected="some above 0"))


def augmented(pipeline: Any, x: np.ndarray, y: np.ndarray, seed: int, epoch: int,
              indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(inputs, targets, targets for metrics) after an augmentation; metrics keep labels that mixing made soft."""
    if not hasattr(pipeline, "batch"):
        raise ArgumentError(explain("this is not an augmentation", got=repr(pipeline),
                                    fix="augment.Compose([augment.Flip(), ...])"))
    new_x, new_y = pipeline.batch(x, y, seed=seed, epoch=epoch, indices=indices)
    if new_x.shape != x.shape or new_x.dtype != x.dtype:
        raise ShapeError(explain("the augmentation changes the shape or the dtype of the samples",
                                 got=f"{new_x.dtype} of shape {new_x.shape[1:]}",
                                 expected=f"{x.dtype} of shape {x.shape[1:]}",
                                 fix="crop to the size of the images: augment.Crop(size, padding=4)"))
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
