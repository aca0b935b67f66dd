# SPDX-License-Identifier: Apache-2.0
"""Workers in this process: none (each batch is made when it is asked for) or threads, which share one queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ...errors import DataError, explain
from ..sources.collate import Allocate
from .order import Job
from .work import Made, Work

PATIENCE = 30.0  # seconds for a thread to come to the end of what it does

Read = Callable[[], "Job | Made"]  # of a stream: the next samples, or what there is to say at its end


class Inline:
    """No workers: a batch is made in the thread that asks for it."""

    def __init__(self, work: Work, allocate: Allocate, read: Read | None = None):
        self.work, self.allocate, self.read = work, allocate, read

    def submit(self, job: Job | None) -> Future:
        """The batch of a job, or of the next samples of the stream."""
        future: Future = Future()
        _make(self.work, self.allocate, self._job(job), future)
        return future

    def _job(self, job: Job | None) -> Any:
        try:
            return self.read() if job is None and self.read is not None else job
        except Exception as error:
            return error

    def close(self) -> None:
        """There is nothing to end."""

    def join(self) -> None:
        """There is nothing to wait for."""


class Threads:
    """Threads that make batches; they end with the program, whatever they are doing."""

    def __init__(self, work: Work, allocate: Allocate, workers: int, read: Read | None = None):
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        order = threading.Lock()
        self._threads = [threading.Thread(target=_serve, args=(self._queue, order, work, allocate, read), daemon=True,
                                          name=f"loader-{i}") for i in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job | None) -> Future:
        """Have a batch made; None: of the next samples of the stream."""
        future: Future = Future()
        self._queue.put((job, future))
        return future

    def close(self) -> None:
        """End the threads after what each is doing; what waits is left."""
        try:
            while True:
                _, future = self._queue.get_nowait()
                future.cancel()
        except queue.Empty:
            pass
        for _ in self._threads:
            self._queue.put(None)

    def join(self) -> None:
        """Wait until no thread reads any more."""
        for thread in self._threads:
            thread.join(PATIENCE)


def _serve(jobs: queue.SimpleQueue, order: threading.Lock, work: Work, allocate: Allocate, read: Read | None) -> None:
    while True:
        with order:  # samples of a stream belong to the jobs in the order in which these were given
            item = jobs.get()
            if item is None:
                return
            job, future = item
            if not future.set_running_or_notify_cancel():
                continue
            if job is None:
                job = _read(read)
        _make(work, allocate, job, future)
        del item, job, future  # nothing of a batch is held while a worker waits


def _read(read: Read | None) -> Any:
    try:
        return read()  # type: ignore[misc]
    except BaseException as error:
        return error


def _make(work: Work, allocate: Allocate, job: Any, future: Future) -> None:
    try:
        if isinstance(job, BaseException):
            raise job
        if isinstance(job, Made):
            future.set_result(job)
            return
        job, place = job if type(job) is tuple else (job, None)
        made = work(job, allocate)
        made.place = place
        future.set_result(made)
    except Exception as error:
        future.set_exception(error)
    except BaseException as error:  # sys.exit() in a sample ends neither the worker nor, unsaid, the program
        failure = DataError(explain("a sample or its function tried to end the program",
                                    got=f"{type(error).__name__}: {error}", expected="a sample, or an exception"))
        failure.__cause__ = error
        future.set_exception(failure)
