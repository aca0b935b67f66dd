# SPDX-License-Identifier: Apache-2.0
"""Streams: what can only be gone through, read batch by batch, perhaps through a shuffle buffer, from a place that can
be found again.

A pass is one way through the stream. A place is the number of the pass, the batches of it that were read, and a
checksum of the last sample: to restore it, the pass is begun again and read up to there, unless the stream itself can
say and restore its place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError, ChainruleError, DataError, explain
from ...foundations.files import told
from ...foundations.tree import unflatten
from ..sources.arrays import fingerprint
from ..sources.collate import spread
from .order import Job, Rows
from .work import Made

BUFFER = 1000  # samples that wait in a shuffle buffer, where its size is not told
SHUFFLE_STREAM = 2**61


class Place(NamedTuple):
    """Where a stream is after a batch."""

    number: int            # of the pass
    batches: int           # of this pass that were read
    last: int | None       # checksum of the last sample
    own: Any = None        # what the stream says of its place itself
    end: bool = False      # whether the pass has ended, instead of a batch


class Reader:
    """The samples of a stream, batch after batch and pass after pass; one thread at a time calls it.

    Args:
        stream: an iterable, or a function that makes one for each pass.
        batch_size: None if the stream gives batches.
        buffer: samples among which the next one is drawn; 0 for the order of the stream.
        shard: (k, n): every n-th sample from the k-th on.
    """

    def __init__(self, stream: Any, batch_size: int | None, buffer: int, seed: int, drop_last: bool,
                 shard: tuple[int, int] | None):
        self.stream, self.batch_size, self.buffer = stream, batch_size, buffer
        self.seed, self.drop_last, self.shard = seed, drop_last, shard
        self.number, self.batches, self.read = 0, 0, 0
        self._samples: Iterator[tuple[int, Any]] | None = None
        self.once = not callable(stream) and iter_of(stream) is stream
        self._used = False

    def __call__(self) -> Any:
        """(job, place) of the next batch, or a Made that says that the pass has ended."""
        if self._samples is None:
            self._samples = self._begin()
        found = self._next_samples()
        if not found or (self.batch_size and self.drop_last and len(found) < self.batch_size):
            return self._ended()
        self.batches += 1
        numbers = np.array([number for number, _ in found], np.int64)
        last = found[-1][1]
        place = Place(self.number, self.batches, _checksum(last), self._own())
        if self.batch_size is None:
            leaves, structure = spread(last)
            return Made(unflatten(structure, leaves), place=place)
        return Job(self.number, Rows(numbers, numbers), [sample for _, sample in found]), place

    def _begin(self) -> Iterator[tuple[int, Any]]:
        if self.once and self._used:
            raise DataError(explain("the stream is used up",
                                    got=f"{type(self.stream).__name__}, which can be gone through once",
                                    expected="one that begins anew",
                                    fix="give a function that makes it: Loader(lambda: samples())"))
        self._used, self.read = True, 0
        numbered = self._numbered()
        return numbered if not self.buffer else _shuffled(numbered, self.buffer, self.seed, self.number)

    def _numbered(self) -> Iterator[tuple[int, Any]]:
        """The samples with their numbers in the stream; errors of the stream say after which sample they came."""
        try:
            for number, sample in enumerate(iter_of(self.stream() if callable(self.stream) else self.stream)):
                self.read = number + 1
                if self.shard is None or number % self.shard[1] == self.shard[0]:
                    yield number, sample
        except ChainruleError:
            raise
        except Exception as error:
            raise DataError(explain(f"the stream failed after {self.read:,} samples",
                                    got=f"{type(error).__name__}: {told(error)}",
                                    fix="a stream that has failed cannot go on: mend it where it is made, or leave bad "
                                        "samples out there")) from error

    def _next_samples(self) -> list[tuple[int, Any]]:
        found: list[tuple[int, Any]] = []
        for item in self._samples:  # type: ignore[union-attr]
            found.append(item)
            if len(found) == (self.batch_size or 1):
                break
        return found

    def _ended(self) -> Made:
        if not self.batches:
            what = ("the stream is empty" if not self.read
                    else f"the stream ended before it filled a batch: {self.read:,} samples")
            raise DataError(explain(what, got="no batch", expected="samples",
                                    fix="if it can be gone through once only, give a function that makes it: "
                                        "Loader(lambda: samples())"))
        place = Place(self.number, self.batches, None, end=True)
        self.number, self.batches, self._samples = self.number + 1, 0, None
        return Made(None, place=place)

    # ---- places

    def _own(self) -> Any:
        """What the stream says of its place, if it does and nothing waits in a shuffle buffer."""
        name = next((name for name in ("state", "state_dict") if self._restorable(name)), None)
        return None if name is None or self.buffer else copy.deepcopy(getattr(self.stream, name)())

    def _restorable(self, name: str) -> bool:
        other = {"state": "restore", "state_dict": "load_state_dict"}[name]
        return (not callable(self.stream) and callable(getattr(self.stream, name, None))
                and callable(getattr(self.stream, other, None)))

    def seek(self, place: Place) -> None:
        """Go to a place; DataError in words where that is not possible."""
        if place.own is not None and not self.buffer:
            self._restore(place)
            return
        if self.once and self._used:
            raise DataError(explain("the stream cannot go back",
                                    got=f"{type(self.stream).__name__}, of which {self.read:,} samples have been read",
                                    expected="a stream that begins anew, or has state() and restore(state)",
                                    fix="give a function that makes it: Loader(lambda: samples())"))
        self.number, self.batches, self._samples = place.number, 0, None
        while self.batches < place.batches:
            self._check(self(), place)

    def _check(self, found: Any, wanted: Place) -> None:
        """DataError if what is read again is not what was read before."""
        place = found.place if isinstance(found, Made) else found[1]
        if place.end:
            raise _other_stream(f"it ended after {place.batches:,} batches", f"{wanted.batches:,} or more")
        if self.batches == wanted.batches and wanted.last is not None and place.last != wanted.last:
            raise _other_stream(f"another sample at the end of batch {self.batches:,}",
                                "the samples that it gave before")

    def _restore(self, place: Place) -> None:
        (self.stream.restore if hasattr(self.stream, "restore") else self.stream.load_state_dict)(place.own)
        self.number, self.batches, self._samples = place.number, place.batches, None
        self._used = False


def _other_stream(got: str, expected: str) -> DataError:
    return DataError(explain("the stream does not give what it gave when its place was saved", got=got,
                             expected=expected,
                             fix="a stream is restored by reading it again from its beginning: it must give the same "
                                 "samples, or have state() and restore(state)"))


def _checksum(sample: Any) -> int | None:
    try:
        return fingerprint(sample)
    except ChainruleError:  # a sample that only the user's own collate understands
        return None


def iter_of(stream: Any) -> Iterator[Any]:
    """An iterator over a stream; ArgumentError for what is none."""
    try:
        return iter(stream)
    except TypeError:
        raise ArgumentError(explain("this cannot be gone through", got=type(stream).__name__,
                                    expected="an iterable of samples, or a function that makes one")) from None


def _shuffled(samples: Iterator[tuple[int, Any]], size: int, seed: int, number: int) -> Iterator[tuple[int, Any]]:
    """The samples in an order in which none comes more than about `size` places early: each place of a full buffer is
    equally likely to be given next."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, SHUFFLE_STREAM + number], np.uint64)))
    buffer: list[tuple[int, Any]] = []
    for item in samples:
        if len(buffer) < size:
            buffer.append(item)
            continue
        place = int(generator.integers(size))
        buffer[place], item = item, buffer[place]
        yield item
    for place in generator.permutation(len(buffer)):
        yield buffer[place]
