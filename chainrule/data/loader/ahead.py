# SPDX-License-Identifier: Apache-2.0
"""Batches that are made ahead: a queue of so many as `prefetch` says, in order, across the ends of epochs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from typing import Any

from .work import Job, Made

PATIENCE = 0.5  # seconds between two looks, so that Ctrl-C is heard on every system


class Ahead:
    """What an engine makes, in the order of the places in which it was asked for."""

    def __init__(self, engine: Any, most: int, job_of: Callable[[Any], tuple[Job | None, Any]]):
        self.engine, self.most, self.job_of = engine, most, job_of
        self._waiting: deque[tuple[Any, Future]] = deque()
        self._next: Any = None

    def take(self, place: Any) -> Made:
        """The batch at `place`; those behind it are begun meanwhile."""
        if not self._waiting or self._waiting[0][0] != place:
            self.forget()
            self._next = place
        self._fill(max(self.most, 1))
        _, future = self._waiting[0]
        made = _result(future)
        self._waiting.popleft()
        if self.most:
            self._fill(self.most)
        return made

    def _fill(self, most: int) -> None:
        while len(self._waiting) < most:
            job, following = self.job_of(self._next)
            self._waiting.append((self._next, self.engine.submit(job)))
            self._next = following

    def forget(self) -> None:
        """Leave what has been begun."""
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()


def _result(future: Future) -> Made:
    while True:
        try:
            return future.result(PATIENCE)
        except TimeoutError:
            if future.done():  # it is the worker's own
                raise
