# SPDX-License-Identifier: Apache-2.0
"""Where a Loader's jobs come from: `Planned`, of a source, by epoch and step; `Streamed`, of a stream, one after the
other. And what their batches have in common."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, CallError, DataError, explain
from ..sources.base import Source
from ..sources.collate import Kind, differs, spread, text_free
from .ahead import Ahead
from .lengths import Lengths
from .order import Job, Order, bounds_of
from .stream import Place, Reader
from .work import Made


class Planned:
    """Jobs of a source, by epoch and step."""

    reader = None

    def __init__(self, loader: Any, source: Source, shuffle: bool, sampler: Any, chances: Any, shard: Any, buckets: Any,
                 told: Lengths | None):
        if loader.batch_size is None:
            raise ArgumentError(explain("samples by number need a batch_size", got="batch_size=None",
                                        expected="a whole number from 1 on"))
        if sampler is not None and chances is not None:
            raise ArgumentError(explain("sampler and weights both choose the samples", fix="leave out one of them"))
        if loader.steps_per_epoch is not None:
            raise ArgumentError(explain("steps_per_epoch is for streams", got=f"{len(source):,} samples by number",
                                        fix="leave it out: an epoch takes every sample once; sampler=lambda epoch: "
                                            "indices for other epochs"))
        if not len(source):
            raise DataError(explain("the source is empty", got=f"{type(source).__name__} of 0 samples",
                                    expected="one sample or more"))
        self.source = source
        lengths = told.lengths if told else None
        bounds = bounds_of(buckets, lengths) if told else None  # type: ignore[arg-type]
        self.order = Order(len(source), int(loader.batch_size), shuffle, loader.seed, loader.drop_last, chances=chances,
                           sampler=sampler, shard=None if shard is None else tuple(shard), lengths=lengths,
                           bounds=bounds)
        if not self.order.count(0):
            raise ArgumentError(explain("no batch can be made",
                                        got=f"{len(source):,} samples, batch_size {loader.batch_size}, drop_last",
                                        fix="use a smaller batch_size"))

    def count(self, epoch: int) -> int:
        return self.order.count(epoch)

    def begin(self) -> None:
        if len(self.source) != self.order.size:
            raise DataError(explain("the source changed its length", got=f"{len(self.source):,} samples",
                                    expected=f"{self.order.size:,}, as when the loader was made",
                                    fix="make a new Loader"))

    def job_of(self, place: tuple[int, int]) -> tuple[Job | None, tuple[int, int]]:
        epoch, step = place
        following = (epoch, step + 1) if step + 1 < self.order.count(epoch) else (epoch + 1, 0)
        return Job(epoch, self.order.batch(epoch, step)), following

    def take(self, ahead: Ahead, place: tuple[int, int]) -> Made | None:
        return ahead.take(place) if place[1] < self.order.count(place[0]) else None

    def passed(self, made: Made) -> None:
        """The numbers of epoch and step are all there is to a place."""

    def first_index(self, place: tuple[int, int]) -> int:
        return int(self.order.batch(*place).indices[0])

    def settings(self) -> dict[str, Any]:
        order = self.order
        return {"samples": order.size, "batch_size": order.batch_size, "shuffle": order.shuffle, "seed": order.seed,
                "drop_last": order.drop_last,
                "shard": None if order.shard is None else list(order.shard), "buckets": None if order.bounds is None
                else order.bounds.tolist(),
                "weights": _sum_of(order.chances), "lengths": _sum_of(order.lengths),
                "sampler": _described(order.sampler)}

    def state(self) -> dict[str, Any]:
        return self.settings()

    def restore(self, state: Mapping[str, Any], epoch: int, step: int) -> None:
        if step > self.order.count(epoch):
            raise ArgumentError(explain("the saved place lies outside the epoch", got=f"epoch {epoch}, step {step}",
                                        expected=f"step 0 to {self.order.count(epoch)}"))

    def leave(self, engine: Any) -> None:
        """What an engine has made ahead can be made again."""

    def ready(self) -> None:
        """There is nothing to go back to."""


def _sum_of(array: np.ndarray | None) -> int | None:
    return None if array is None else zlib.crc32(np.ascontiguousarray(array).tobytes())


def _described(sampler: Any) -> Any:
    if sampler is None:
        return None
    return (getattr(sampler, "__qualname__", type(sampler).__name__) if callable(sampler)
            else _sum_of(np.asarray(sampler)))


class Streamed:
    """Jobs of a stream, whose samples a worker reads itself when it is its turn."""

    def __init__(self, loader: Any, stream: Any, buffer: int, shard: Any):
        self.stream, self.buffer, self.shard = stream, buffer, None if shard is None else tuple(shard)
        self.batch_size, self.seed = loader.batch_size, loader.seed
        self.drop_last, self.steps, self.repeat = loader.drop_last, loader.steps_per_epoch, loader.repeat
        self.reader, self._place, self._next, self._left = self._reader(), Place(0, 0, None), 0, None

    def _reader(self) -> Reader:
        return Reader(self.stream, self.batch_size, self.buffer, self.seed, self.drop_last, self.shard)

    def __getstate__(self) -> dict[str, Any]:
        raise CallError(explain("a Loader of a stream cannot be sent to another process", fix="make it there"))

    def count(self, epoch: int) -> int:
        if self.steps is None:
            raise CallError(explain("a stream has no length", expected="batches per epoch",
                                    fix="Loader(stream, steps_per_epoch=...)"))
        return self.steps

    def begin(self) -> None:
        """Whether there are samples shows when they are read."""

    def job_of(self, place: Any) -> tuple[None, Any]:
        return None, place + 1

    def take(self, ahead: Ahead, place: tuple[int, int]) -> Made | None:
        epoch, step = place
        if self.steps is not None and step >= self.steps:
            return None
        made = self._read(ahead)
        if not made.place.end or self.steps is None:
            return made
        if step and not self.repeat:
            raise DataError(explain(f"the stream ended within epoch {epoch}", got=f"{step:,} batches",
                                    expected=f"steps_per_epoch={self.steps:,}",
                                    fix="repeat=True begins it again, fewer steps_per_epoch, or None for one epoch per "
                                        "pass"))
        return self._read(ahead)

    def _read(self, ahead: Ahead) -> Made:
        made = ahead.take(self._next)
        self._next += 1
        return made

    def passed(self, made: Made) -> None:
        """The place of the stream goes on with what is handed out."""
        self._place = Place(made.place.number + 1, 0, None) if made.place.end else made.place

    def first_index(self, place: tuple[int, int]) -> int:
        return self._place.batches * (self.batch_size or 1)

    def settings(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "buffer": self.buffer, "seed": self.seed, "drop_last": self.drop_last,
                "steps_per_epoch": self.steps,
                "shard": None if self.shard is None else list(self.shard)}

    def state(self) -> dict[str, Any]:
        place = self._place
        return self.settings() | {"pass": place.number, "batches": place.batches,
                                  "last": place.last} | ({} if place.own is None else {"stream": place.own})

    def restore(self, state: Mapping[str, Any], epoch: int, step: int) -> None:
        self._seek(Place(int(state["pass"]), int(state["batches"]), state["last"], state.get("stream")))

    def leave(self, engine: Any) -> None:
        """What an engine has read ahead must be read again."""
        self._left = engine

    def ready(self) -> None:
        """Be where the loader is: what was read ahead is read again; DataError where the stream cannot do so."""
        if self._left is not None:
            self._seek(self._place)

    def _seek(self, place: Place) -> None:
        if self._left is not None:
            self._left.join()  # a thread may still be reading
        if (self.reader.number, self.reader.batches) != (place.number, place.batches):
            if not self.reader.once:
                self.reader = self._reader()
            self.reader.seek(place)
        self._place, self._left = place, None


class Kinds:
    """What all batches have in common: the first one says it."""

    def __init__(self, ragged: Sequence[bool] | None, collate: Any):
        self.free, self.kind = ragged is not None or collate is not None, None

    def check(self, batch: Any, index: int, source: Source | None) -> None:
        """DataError that names the sample if a batch is of another kind than the first."""
        if self.free:
            return
        leaves, structure = spread(batch)
        kind = Kind(structure, tuple(text_free(leaf.dtype) for leaf in leaves),
                    tuple(leaf.shape[1:] for leaf in leaves))
        self.kind = self.kind or kind
        if kind != self.kind:
            raise differs(kind, self.kind, index, source.where if source else None)
