# SPDX-License-Identifier: Apache-2.0
"""Dynamic batching: requests that wait at the same time are computed together.

One thread computes. While it does, requests gather; it then takes all that fit together, so that a lone request never
waits for company unless `delay` asks for it. The rows are filled up to a power of two, so that few sizes are compiled.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from .served import Arrays

Compute = Callable[[Arrays], Arrays]


@dataclass
class Waiting:
    """A request in the queue: its inputs, and where its outputs go."""

    arrays: Arrays
    answer: Future[Arrays] = field(default_factory=Future)

    @property
    def rows(self) -> int:
        """How many samples it has."""
        return len(next(iter(self.arrays.values())))

    def fits(self, other: Waiting) -> bool:
        """Whether both can be rows of one batch."""
        return all(a.dtype == b.dtype and a.shape[1:] == b.shape[1:]
                   for a, b in zip(self.arrays.values(), other.arrays.values(), strict=True))


class Batcher:
    """A thread that computes what is submitted, several requests at a time.

    Args:
        compute: from arrays to arrays, whose rows do not depend on each other.
        most: rows of a batch of several requests.
        delay: seconds for which a request waits for others; 0: only while the thread is busy.
        seen: is told the rows of each batch.
    """

    def __init__(self, compute: Compute, most: int = 64, delay: float = 0.0,
                 seen: Callable[[int], None] = lambda rows: None):
        self._compute, self._most, self._delay, self._seen = compute, most, delay, seen
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._left: Waiting | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="batcher")
        self._thread.start()

    def submit(self, arrays: Arrays) -> Future[Arrays]:
        """Queue a request; the outputs of its rows come by the future."""
        waiting = Waiting(arrays)
        self._queue.put(waiting)
        return waiting.answer

    def close(self) -> None:
        """Compute what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._left or self._queue.get()) is not None:
            self._left = None
            together, more = self._gather(first)
            self._answer(together)
            if not more:
                return

    def _gather(self, first: Waiting) -> tuple[list[Waiting], bool]:
        """(requests to be computed together, whether the thread goes on)."""
        together, rows, until = [first], first.rows, time.monotonic() + self._delay
        while rows < self._most:
            try:
                left = until - time.monotonic()
                following = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return together, False
            if rows + following.rows > self._most or not first.fits(following):
                self._left = following
                break
            together.append(following)
            rows += following.rows
        return together, True

    def _answer(self, together: list[Waiting]) -> None:
        together = [one for one in together if one.answer.set_running_or_notify_cancel()]
        if not together:
            return
        try:
            outputs = self._joined(together)
        except BaseException as error:
            if len(together) == 1:
                together[0].answer.set_exception(error)
                return
            for one in together:  # the guilty one alone has the error
                self._answer_alone(one)
            return
        place = 0
        for one in together:
            one.answer.set_result({name: array[place:place + one.rows] for name, array in outputs.items()})
            place += one.rows

    def _answer_alone(self, one: Waiting) -> None:
        try:
            one.answer.set_result(self._joined([one]))
        except BaseException as error:
            one.answer.set_exception(error)

    def _joined(self, together: list[Waiting]) -> Arrays:
        rows = sum(one.rows for one in together)
        self._seen(rows)
        arrays = {name: np.concatenate([one.arrays[name] for one in together]) if len(together) > 1 else array
                  for name, array in together[0].arrays.items()}
        return {name: array[:rows] for name, array in self._compute(filled(arrays, rows, self._most)).items()}


def filled(arrays: Arrays, rows: int, most: int) -> Arrays:
    """The arrays with their last row repeated up to the next power of two, and beyond `most` rows up to a multiple of
    it.

    >>> from chainrule.serving.batching import filled
    >>> filled({"x": np.arange(3)}, 3, 8)["x"].tolist()
    [0, 1, 2, 2]
    """
    size = 1 << (rows - 1).bit_length() if rows <= most else -(-rows // most) * most
    if size == rows:
        return arrays
    places = np.minimum(np.arange(size), rows - 1)
    return {name: array[places] for name, array in arrays.items()}
