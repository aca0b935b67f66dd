# SPDX-License-Identifier: Apache-2.0
"""Where the batches of a run come from: arrays in memory, a loader, any iterable, or nowhere.

Every feed gives one batch at a time and knows how to come back to where it was: `state` is plain data, and after
`restore` the next batch is the one that would have come next. Of what is in memory, many batches can be asked for at
once, by their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from ..data import Batches
from ..errors import ArgumentError, BoundsError, DataError, ShapeError, explain, shown
from ..foundations import tree as trees
from .checks import in_data
from .data import Samples
from .describe import fingerprint


class Feed:
    """Base: `steps` batches make an epoch (None: as many as come), `epoch` of them are done, `step` batches of the
    current one.

    `leaves` are the arrays whose rows are gathered by a program that runs many steps in one call; None where batches
    come one by one.
    """

    steps: int | None = None
    leaves: list[np.ndarray] | None = None

    def __init__(self) -> None:
        self._place = (0, 0)

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self._place[0]

    @property
    def step(self) -> int:
        """Batches of this epoch that are done."""
        return self._place[1]

    @property
    def done(self) -> int:
        """Batches that are done, over all epochs."""
        return self.epoch * (self.steps or 0) + self.step

    def begin(self) -> None:
        """An epoch begins, or goes on."""

    def rows(self, most: int) -> np.ndarray | None:
        """The samples of the next batches, at most so many: int64 (batches, rows); None where batches come one by one.
        """
        return None

    def batch(self, indices: np.ndarray) -> Any:
        """The batch of these samples."""
        raise NotImplementedError

    def next(self) -> Any:
        """The next batch; StopIteration at the end of the epoch. Nothing moves until `advance`."""
        raise NotImplementedError

    def advance(self, steps: int = 1) -> None:
        """So many batches are done."""
        self._place = (self.epoch, self.step + steps)

    def end_epoch(self) -> None:
        """All batches of the epoch are done."""
        self._place = (self.epoch + 1, 0)

    def state(self) -> dict[str, Any]:
        """The position."""
        return {"epoch": self.epoch, "step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._place = (int(state["epoch"]), int(state["step"]))

    def made_of(self) -> dict[str, str]:
        """What has to be the same when a run goes on."""
        return {}

    def located(self, error: BoundsError, rows: np.ndarray | None) -> BoundsError:
        """The error of a batch of these rows, with the row of the data where that is known."""
        return error


class Nothing(Feed):
    """Steps that make their own data."""

    def __init__(self, steps: int | None):
        super().__init__()
        if steps is None:
            raise ArgumentError(explain("without data an epoch has no end", fix="run(None, steps_per_epoch=1000, ...)"))
        self.steps, self.leaves = steps, []

    def next(self) -> Any:
        return None

    def rows(self, most: int) -> np.ndarray:
        """The next steps, as if each had one sample."""
        return np.zeros((max(1, min(most, self.steps - self.step)), 1), np.int64)  # type: ignore[operator]

    def batch(self, indices: np.ndarray) -> Any:
        """There is none."""
        return None


class Arrays(Feed):
    """Nested arrays with one axis of samples; the order is a function of (seed, epoch)."""

    steps: int

    def __init__(self, data: Any, batches: Batches, steps: int | None):
        self.leaves, self.tree = trees.flatten(data)
        self.batches = batches
        self.steps = min(steps or len(batches), len(batches))

    @property
    def epoch(self) -> int:
        return self.batches.epoch

    @property
    def step(self) -> int:
        return self.batches.step

    def begin(self) -> None:
        self.order = self.batches.order(self.epoch)

    def rows(self, most: int) -> np.ndarray:
        return self.batches.block(self.order, min(most, self.steps - self.batches.step))

    def next(self) -> Any:
        return self.batch(self.rows(1)[0])

    def batch(self, indices: np.ndarray) -> Any:
        return trees.unflatten(self.tree, [leaf[indices] for leaf in self.leaves or ()])

    def advance(self, steps: int = 1) -> None:
        self.batches.advance(steps)

    def end_epoch(self) -> None:
        self.batches.end_epoch()

    def state(self) -> dict[str, Any]:
        return super().state() | {"batches": self.batches.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.batches.restore(state["batches"])

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(*self.leaves or ())

    def made_of(self) -> dict[str, str]:
        return {"data set": self._fingerprint}

    def located(self, error: BoundsError, rows: np.ndarray | None) -> BoundsError:
        return error if rows is None else in_data(error, rows)


class Stored(Arrays):
    """The samples (x, y, weights) of `fit`; full batches of one array x are written into the same memory."""

    def __init__(self, data: Samples, batches: Batches, steps: int | None):
        super().__init__((data.x, data.y, data.weights), batches, steps)
        self.data, self.inputs = data, None
        if data.plain:
            self.inputs = np.empty((min(batches.batch_size, len(data)), *data.x.shape[1:]), data.x.dtype)

    def batch(self, indices: np.ndarray) -> Any:
        """(x, y, weights)."""
        return self.data.batch(indices, self.inputs if self.inputs is not None and len(indices) == len(self.inputs)
                               else None)

    def state(self) -> dict[str, Any]:
        return self.batches.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.batches.restore(state)


class Stream(Feed):
    """A loader, or any iterable of batches: each pass over it is an epoch, or every `steps` batches are one.

    What has `state` and `restore` (such as `cr.data.Loader`) comes back by them; another iterable is gone through again
    up to the place.
    """

    def __init__(self, source: Any, steps: int | None):
        super().__init__()
        self.source = source
        self.iterator: Iterator[Any] | None = None
        self.endless = steps is not None
        self.steps = steps if steps is not None else _length(source)
        self.restores = all(callable(getattr(source, name, None)) for name in ("state", "restore"))
        self._peeked: list[Any] = []
        self._skip, self._taken = 0, 0
        self._position: Any = None
        self._done = 0
        self.once = iter(source) is source  # a generator cannot begin again

    @property
    def done(self) -> int:
        return self._done

    def begin(self) -> None:
        if self.iterator is None or (not self.endless and self.step == 0 and not self._peeked):
            self.iterator = self._fresh()

    def _fresh(self) -> Iterator[Any]:
        if self.once and self._taken and not self.restores:
            raise DataError(explain("this stream of batches is used up",
                                    got=f"{type(self.source).__name__}, which can be gone through once",
                                    expected="something that begins again with each epoch, such as a list or a "
                                             "cr.data.Loader", fix="steps_per_epoch=..., for a stream without end"))
        iterator = iter(self.source)
        for _ in range(self._skip):
            next(iterator, None)
        self._skip = 0
        return iterator

    def next(self) -> Any:
        if not self._peeked:
            self._position = self.source.state() if self.restores else None
            self._peeked.append(self._pull())
        return self._peeked[0]

    def _pull(self) -> Any:
        if self.endless and self.step == self.steps:
            raise StopIteration
        batch = next(self.iterator, _END)  # type: ignore[arg-type]
        if batch is _END and self.endless and not self.once:
            self._taken = 0
            self.iterator = self._fresh()
            batch = next(self.iterator, _END)
        if batch is not _END:
            self._taken += 1
            return trees.map(_numbers, batch)
        if self.epoch == self.step == 0:
            raise DataError(explain("the data hold no batch", got=type(self.source).__name__))
        if self.endless:
            raise DataError(explain("the stream has ended in the middle of an epoch",
                                    got=f"{self.step} of {self.steps} batches of epoch {self.epoch + 1}",
                                    fix="a smaller steps_per_epoch, or a stream without end"))
        raise StopIteration

    def advance(self, steps: int = 1) -> None:
        super().advance(steps)
        self._done += steps
        self._peeked.clear()

    def end_epoch(self) -> None:
        if not self.endless:
            self._exhaust()
        super().end_epoch()

    def _exhaust(self) -> None:
        """What an iterator does after its last batch, such as to count the epoch, is done too."""
        if self.iterator is not None and self.step == self.steps and next(self.iterator, _END) is not _END:
            raise DataError(explain("the data hold more batches than their length says", got=f"more than {self.steps}",
                                    fix="mend __len__, or give steps_per_epoch="))
        self.iterator, self._taken = None, self._taken if self.once else 0

    def state(self) -> dict[str, Any]:
        source = None if not self.restores else self._position if self._peeked else self.source.state()
        return super().state() | {"source": source, "taken": self._taken - len(self._peeked), "done": self._done}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        taken = int(state["taken"])
        if self.restores:
            self.source.restore(state["source"])
        elif self.once and taken:  # one batch was looked at already
            self._peeked.clear()
            for _ in range(taken - 1):
                next(self.iterator, None)  # type: ignore[call-overload]
        if not self.once or self.restores:
            self._peeked.clear()
            self.iterator, self._skip = None, 0 if self.restores else taken
        self._taken, self._done = taken, int(state["done"])


_END = object()


def feed_of(data: Any, batch_size: int, shuffle: bool, seed: int, drop_last: bool, steps: int | None) -> Feed:
    """The feed for what a user gave as data."""
    check_steps(steps)
    if data is None:
        return Nothing(steps)
    if _in_memory(data):
        return _arrays(data, steps, batch_size=batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last)
    if hasattr(data, "__iter__"):
        return Stream(data, steps)
    raise ArgumentError(explain("this is no data to train on", got=shown(data),
                                expected="nested arrays, a cr.data.Loader, an iterable of batches, or None"))


def _arrays(data: Any, steps: int | None, **options: Any) -> Arrays:
    """The arrays of a structure as numbers, of one length."""
    data = trees.map(_numbers, data)
    lengths = [len(leaf) for leaf in trees.flatten(data)[0]]
    if len(set(lengths)) != 1:
        raise ShapeError(
            explain(
                "the arrays of the data have different numbers of samples",
                got=", ".join(
                    f"{path} {leaf.shape}" for path, leaf in zip(trees.paths(data), trees.flatten(data)[0], strict=True)
                ),
                expected="one length",
            )
        )
    return Arrays(data, Batches(lengths[0], **options), steps)


def check_steps(steps: Any) -> None:
    """A number of steps per epoch, or None."""
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise ArgumentError(explain("this is no number of steps", got=f"steps_per_epoch={shown(steps)}",
                                    expected="a positive integer"))


def _in_memory(data: Any) -> bool:
    """Whether this is a structure of arrays: a tuple or dict of them, or a single one. A list is a list of batches."""
    if isinstance(data, list):
        return False
    leaves = trees.flatten(data)[0]
    return (bool(leaves) and all(hasattr(leaf, "__array__") and hasattr(leaf, "shape") and len(leaf.shape)
                                 for leaf in leaves))


def _numbers(leaf: Any) -> np.ndarray:
    """An array as `fit` takes it: float64 becomes float32."""
    array = np.asarray(leaf)
    if array.dtype.kind not in "biuf":
        raise DataError(explain("these data are no numbers", got=f"an array of {array.dtype}",
                                fix="encode texts and categories as numbers first"))
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _length(source: Any) -> int | None:
    try:
        return len(source)
    except TypeError:
        return None
