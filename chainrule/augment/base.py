# SPDX-License-Identifier: Apache-2.0
"""`Augmentation`, `Compose` and `Augmented`: samples in, changed samples of the same kind out.

An operation is written for a batch; one sample is a batch of one, and gets the same bits in any batch. Beside the image
go boxes (left, top, right, bottom), masks and keypoints (x, y) in pixels: the corner of the first pixel is (0, 0), its
centre (0.5, 0.5). Everything is NumPy, and random only through `Draws`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain, shown
from ..typing import ArrayLike
from .checks import check_beside, check_value_range, range_of
from .draws import Draws

TARGETS = (None, "masks", "boxes", "keypoints")
FIELDS = ("x", "y", "masks", "boxes", "labels", "keypoints")


@dataclass(frozen=True)
class Batch:
    """N samples. `x` (N, ...); `masks` (N, H, W) or (N, H, W, M); the others are lists of N arrays.

    boxes (n, 4), labels (n,) of the boxes, keypoints (k, 2) or (k, 3), whose third number becomes 0 outside the image.
    `value_range` is (black, white) of the images, or None where that is not known.

    >>> batch = cr.augment.Batch(np.zeros((4, 8, 8, 3), "float32"), y=np.arange(4))
    >>> len(batch), batch.take(np.array([1, 2])).y
    (4, array([1, 2]))
    """

    x: np.ndarray
    y: Any = None
    masks: Any = None
    boxes: Any = None
    labels: Any = None
    keypoints: Any = None
    value_range: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, chosen: np.ndarray) -> Batch:
        """Some of the samples."""
        return replace(self, **{name: _take(getattr(self, name), chosen) for name in FIELDS})

    def put(self, chosen: np.ndarray, other: Batch) -> Batch:
        """These samples, with those at `chosen` replaced."""
        if self.x.shape[1:] != other.x.shape[1:]:
            raise ShapeError(explain("an operation that some samples escape cannot change their shape",
                                     got=f"{other.x.shape[1:]} from {self.x.shape[1:]}",
                                     fix="give it the size of the images, or probability=1"))
        return replace(self, **{name: _put(getattr(self, name), chosen, getattr(other, name)) for name in FIELDS})


def _take(value: Any, chosen: np.ndarray) -> Any:
    return value if value is None else value[chosen] if isinstance(value, np.ndarray) else [value[i] for i in chosen]


def _put(value: Any, chosen: np.ndarray, new: Any) -> Any:
    if value is None:
        return None
    value = value.copy() if isinstance(value, np.ndarray) else list(value)
    for place, item in zip(chosen, new, strict=True):
        value[place] = item
    return value


class Augmentation:
    """Base of all operations; a subclass writes `apply`.

    `probability` is the share of samples to which the operation is applied; the others keep their bits. What an
    operation that moves or mixes images cannot take along stands in `leaves_behind`, and is refused beside them.

    >>> x = np.arange(4.0, dtype="float32").reshape(1, 2, 2, 1)
    >>> isinstance(cr.augment.Flip(), cr.augment.Augmentation)
    True
    """

    probability: float = 1.0
    whole_batch = False  # whether it needs all samples of a batch at once, as MixUp does
    needs_range = False  # whether it must know what black and white are
    leaves_behind: tuple[str, ...] = ()

    def check(self, batch: Batch) -> None:
        """ArgumentError for what lies beside the images and would not follow them."""
        beside = [name for name in self.leaves_behind if getattr(batch, name) is not None]
        if beside:
            raise ArgumentError(explain(f"{' and '.join(self.leaves_behind)} cannot follow {type(self).__name__}",
                                        got=f"{' and '.join(beside)} beside the images",
                                        fix=f"leave out {type(self).__name__}; augment.Affine and others with a matrix "
                                            "move them along"))

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        """What happens to every sample of the batch."""
        raise NotImplementedError(f"{type(self).__name__} needs a method apply(self, batch, draws)")

    def run(self, batch: Batch, draws: Draws) -> Batch:
        """`apply` to the samples that chance picks."""
        if self.probability >= 1:
            return self.apply(batch, draws)
        chosen = np.flatnonzero(draws.one() < self.probability)
        if not len(chosen):
            return batch
        return batch.put(chosen, self.apply(batch.take(chosen), draws.take(chosen)))

    def batch(self, x: np.ndarray, y: ArrayLike | None = None, **options: Any) -> tuple[np.ndarray, Any]:
        """(x, y) changed, as in Compose."""
        return Compose([self]).batch(x, y, **options)

    def over(self, x: np.ndarray) -> Compose:
        """The same for a data set x, whose range of values then holds for each of its batches, dark ones too."""
        return Compose([self]).over(x)

    def __call__(self, sample: Any, *, seed: int = 0, epoch: int = 0, index: int = 0) -> Any:
        """One sample changed: an array, a list of words, or a dict with `image` and boxes, masks, keypoints."""
        return Compose([self])(sample, seed=seed, epoch=epoch, index=index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={shown(v, 1000)}' for k, v in vars(self).items())})"


class Several(Augmentation):
    """What is made of `operations`: it needs to know what one of them needs to know."""

    operations: list[Augmentation]

    @property
    def needs_range(self) -> bool:  # type: ignore[override]
        """Whether one of the operations must know what black and white are."""
        return any(operation.needs_range for operation in self.operations)

    def check(self, batch: Batch) -> None:
        for operation in self.operations:
            operation.check(batch)


class Compose(Several):
    """Operations one after the other.

    Args:
        operations: of this module; their places in the list are part of what makes their random numbers.
        targets: what y is in a batch (x, y): None for labels or numbers that stay as they are, or "masks", "boxes" or
            "keypoints", which follow the image.
        value_range: (black, white) of the images. By default (0, 255) for uint8; floating-point images are taken to go
            from 0 to 1 if they do, from 0 to 255 if they reach from 16 to 255, and are refused by operations on values
            otherwise.

    >>> pipeline = cr.augment.Compose([cr.augment.Crop(6), cr.augment.Flip()])
    >>> x, y = pipeline.batch(np.zeros((4, 8, 8, 1), "float32"), np.arange(4), seed=0)
    >>> x.shape, y
    ((4, 6, 6, 1), array([0, 1, 2, 3]))
    """

    def __init__(self, operations: Sequence[Augmentation], targets: str | None = None,
                 value_range: tuple[float, float] | None = None):
        operations = [operations] if isinstance(operations, Augmentation) else list(operations)
        self.operations = [one for op in operations for one in (op.operations if isinstance(op, Compose) else [op])]
        self.targets = _agreed("targets", targets, operations)
        self.value_range = check_value_range(_agreed("value_range", value_range, operations))
        for op in self.operations:
            if not isinstance(op, Augmentation):
                raise ArgumentError(explain("this is not an augmentation", got=repr(op),
                                            expected="operations such as augment.Flip()",
                                            fix=f"{op.__name__}(...)" if isinstance(op, type) else None))
        if targets not in TARGETS:
            raise ArgumentError(explain("targets of this kind are not known", got=repr(targets),
                                        expected="None, 'masks', 'boxes' or 'keypoints'"))

    def over(self, x: np.ndarray) -> Compose:
        if self.value_range is not None or not self.needs_range:
            return self
        stated = copy.copy(self)
        stated.value_range = range_of(x)
        return stated

    def apply(self, batch: Batch, draws: Draws) -> Batch:
        for i, operation in enumerate(self.operations):
            batch = operation.run(batch, Draws(draws.seed, draws.epoch, draws.indices, i))
        return batch

    def batch(self, x: np.ndarray, y: ArrayLike | None = None, *, seed: int = 0, epoch: int = 0,
              indices: ArrayLike | None = None, workers: int = 1) -> tuple[np.ndarray, Any]:
        """(x, y) changed: x (N, ...), y what `targets` says; `indices` (N,) are the samples' numbers in the data set.

        The bits do not depend on `workers` (threads), nor, but for MixUp and CutMix, on what else is in the batch.
        """
        indices = np.arange(len(x)) if indices is None else np.asarray(indices)
        if len(indices) != len(x):
            raise ShapeError(explain("one index is needed for each sample", got=f"{len(indices)} for {len(x)} samples"))
        whole = self._checked(Batch(x, **{self.targets or "y": y}))
        for alone, operations in self._stages():
            whole = _in_parts(whole, operations, seed, epoch, indices, 1 if alone else workers)
        return whole.x, getattr(whole, self.targets or "y")

    def _checked(self, batch: Batch) -> Batch:
        check_beside(batch)
        self.check(batch)
        known = self.value_range or (range_of(batch.x) if self.needs_range else None)
        return replace(batch, value_range=known)

    def _stages(self) -> list[tuple[bool, list[tuple[int, Augmentation]]]]:
        """The operations in runs of those that look at one sample and those that look at the batch."""
        stages: list[tuple[bool, list[tuple[int, Augmentation]]]] = []
        for item in enumerate(self.operations):
            if not stages or stages[-1][0] != item[1].whole_batch:
                stages.append((item[1].whole_batch, []))
            stages[-1][1].append(item)
        return stages

    def __call__(self, sample: Any, *, seed: int = 0, epoch: int = 0, index: int = 0) -> Any:
        batch, restore = _single(sample)
        return restore(self.apply(self._checked(batch), Draws(seed, epoch, np.array([index]), 0)))


def _in_parts(batch: Batch, operations: list[tuple[int, Augmentation]], seed: int, epoch: int, indices: np.ndarray,
              workers: int) -> Batch:
    def work(places: np.ndarray) -> Batch:
        part = batch if len(places) == len(batch) else batch.take(places)
        for number, operation in operations:
            part = operation.run(part, Draws(seed, epoch, indices[places], number))
        return part

    parts = [p for p in np.array_split(np.arange(len(batch)), max(workers, 1)) if len(p)]
    if len(parts) < 2:
        return work(np.arange(len(batch)))
    with ThreadPoolExecutor(workers) as pool:
        return _join(list(pool.map(work, parts)))


def _join(parts: list[Batch]) -> Batch:
    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if values[0] is None:
            return None
        return np.concatenate(values) if isinstance(values[0], np.ndarray) else [item for v in values for item in v]
    return replace(parts[0], **{name: joined(name) for name in FIELDS})


def _agreed(name: str, own: Any, operations: Any) -> Any:
    """What a pipeline and those within it say of themselves; ArgumentError if they contradict each other."""
    said = [own, *(getattr(op, name) for op in operations if isinstance(op, Compose))]
    given = [value for value in said if value is not None]
    if any(value != given[0] for value in given):
        raise ArgumentError(explain(f"pipelines within each other say different {name}",
                                    got=" and ".join(map(repr, given)), fix=f"give {name} to the outer one only"))
    return given[0] if given else None


# ---- one sample

def _single(sample: Any) -> tuple[Batch, Any]:
    """A sample as a batch of one, and the way back."""
    if isinstance(sample, dict):
        return _from_dict(sample), lambda batch: _to_dict(sample, batch)
    if isinstance(sample, list | tuple):
        return Batch(np.asarray(sample)[np.newaxis]), lambda batch: [word for word in batch.x[0].tolist() if word != ""]
    return Batch(np.asarray(sample)[np.newaxis]), lambda batch: batch.x[0]


def _from_dict(sample: dict[str, Any]) -> Batch:
    known = ("image", "y", "masks", "boxes", "labels", "keypoints")
    unknown = [name for name in sample if name not in known]
    if "image" not in sample or unknown:
        raise ArgumentError(explain("a sample is a dict with an image and what belongs to it", got=", ".join(sample),
                                    expected=", ".join(known)))
    rest = {name: [np.asarray(sample[name])] for name in known[1:] if sample.get(name) is not None}
    if "masks" in rest:
        rest["masks"] = np.stack(rest["masks"])
    return Batch(np.asarray(sample["image"])[np.newaxis], **rest)


def _to_dict(sample: dict[str, Any], batch: Batch) -> dict[str, Any]:
    changed = {name: getattr(batch, name)[0] for name in sample if name != "image" and sample[name] is not None}
    return {**sample, **changed, "image": batch.x[0]}


class Augmented:
    """A data set whose samples are changed when they are looked at: `data[i]` is (x, y) of sample i in this epoch.

    Args:
        x, y: arrays of one length.
        pipeline: an Augmentation, such as Compose([...]).
        seed: of all random numbers.
        workers: threads that share a batch; they do not change any bit.

    `set_epoch(n)` chooses the epoch; `batch(indices)` gives arrays.

    >>> x, y = np.zeros((4, 8, 8, 1), "float32"), np.arange(4)
    >>> data = cr.augment.Augmented(x, y, cr.augment.Crop(6))
    >>> len(data), data[0][0].shape
    (4, (6, 6, 1))
    """

    def __init__(self, x: ArrayLike, y: ArrayLike, pipeline: Augmentation, seed: int = 0, workers: int = 1):
        self.x, self.y = np.asarray(x), y if y is None else np.asarray(y)
        if y is not None and len(self.x) != len(self.y):
            raise ShapeError(explain("x and y have different lengths", got=f"x {len(self.x)}, y {len(self.y)}"))
        self.pipeline = pipeline.over(self.x)
        self.seed, self.workers, self.epoch = seed, workers, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random changes are shown."""
        self.epoch = int(epoch)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        x, y = self.batch(np.array([range(len(self))[index]]))
        return x[0], y if y is None else y[0]

    def batch(self, indices: ArrayLike) -> tuple[np.ndarray, Any]:
        """(x, y) of the samples `indices` in this epoch."""
        indices = np.asarray(indices)
        y = self.y if self.y is None else self.y[indices]
        return self.pipeline.batch(self.x[indices], y, seed=self.seed, epoch=self.epoch, indices=indices,
                                   workers=self.workers)


def changed(batch: Batch, **new: Any) -> Batch:
    """The batch with some fields replaced."""
    return replace(batch, **new)
