# SPDX-License-Identifier: Apache-2.0
"""`Loader`: batches of a source or a stream, made ahead by workers; any place in any epoch can be saved and gone on
with."""

from __future__ import annotations

import os
import re
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, ChainruleError, DataError, describe_frame, explain, shown, user_frame
from ...foundations.names import Checked
from ...typing import ArrayLike, SourceLike
from ..files import count
from ..sources.arrays import as_source
from ..splits import check_place, seed_of
from .ahead import Ahead
from .buffers import Buffers
from .changes import Changes
from .feeds import Kinds, Planned, Streamed
from .lengths import lengths_of
from .order import chances_of
from .processes import Processes
from .stream import BUFFER
from .threads import Inline, Threads
from .work import Made, Skipped, Work

AHEAD = 2  # batches for each worker


class Loader(metaclass=Checked):
    """Batches of samples, nested arrays with one row per sample, made ahead by workers.

        loader = cr.data.Loader(cr.data.ImageFolder("photos/"), batch_size=64, seed=0, augment=augment.Flip())
        for batch in loader: ...            # one epoch; `loader.epoch` has then gone on by one
        state = loader.state()              # anywhere; `restore(state)` goes on behind it, in another process too

    The order of epoch e and all that `augment` does are functions of (seed, e, index of the sample), whatever
    `workers`, `prefetch` and `processes` are. Iterating again within an epoch goes on with the rest of it, as `Batches`
    does. Threads read several samples of a source at once: for one that is not made for that (an open file with a
    position, a connection) say `workers=1` or `processes=True`.

    Args:
        source: a `Source`; arrays in a tuple or dict; an object with `__len__` and `__getitem__`; a table of pandas,
            polars or pyarrow; or a stream: any other iterable of samples, or a function that makes one for each pass.
        batch_size: samples per batch; None for a stream that gives batches.
        shuffle: a new order for each epoch (None: yes). Of a stream, the size of a shuffle buffer (True: 1,000; None:
            0).
        seed: of the order and of `augment`.
        workers: threads, or processes; 0 makes each batch when it is asked for.
        drop_last: whether a last batch that is not full is left out.
        buckets: how many groups of samples of similar lengths, or the largest length of each: a batch holds samples of
            one group, padded with zeros to its largest length; what is padded becomes `Ragged(values, lengths)`.
        lengths: (n,) of the samples, for `buckets`; None: all are read once to find them.
        augment: a pipeline of `chainrule.augment`, or a function (sample, generator) -> sample.
        sampler: a function epoch -> indices, or indices, instead of all samples.
        weights: chance of each sample, drawn with replacement, or "balanced" for equal shares of all classes.
        labels: class of each sample, for "balanced", where the source does not know it.
        prefetch: batches that are made ahead; None: two for each worker.
        processes: whether workers are processes, for samples whose making holds Python's lock.
        skip_errors: whether samples that cannot be read are left out; `skipped` lists them, and a warning counts them
            at the end of an epoch.
        collate: a function of a list of samples that makes the batch.
        steps_per_epoch: batches of an epoch of a stream; None: an epoch is one pass.
        repeat: whether a stream that ends within an epoch of `steps_per_epoch` begins again.
        shard: (k, n): this is one of n loaders that share each epoch, the k-th from 0.

    >>> source = [(np.full(3, i, "float32"), i) for i in range(10)]
    >>> loader = cr.data.Loader(source, batch_size=4, shuffle=True, seed=0)
    >>> [x.shape for x, y in loader]
    [(4, 3), (4, 3), (2, 3)]
    """

    FIXES = {"num_workers": "workers=4", "pin_memory": "there is no need for it: leave it out",
             "collate_fn": "collate=function", "prefetch_factor": "prefetch=8 batches in all",
             "persistent_workers": "workers stay between epochs: leave it out",
             "batch_sampler": "sampler=lambda epoch: indices", "generator": "seed=0",
             "multiprocessing_context": "processes=True",
             "worker_init_fn": "augment=function of (sample, generator) has a generator of its own for each sample",
             "sample_weights": "weights=...", "class_weight": 'weights="balanced"',
             "timeout": "leave it out: a worker that dies is seen at once"}

    def __init__(self, source: SourceLike, batch_size: int | None = 32, *, shuffle: bool | int | None = None,
                 seed: int = 0, workers: int = 2, drop_last: bool = False, buckets: int | Sequence[int] | None = None,
                 lengths: ArrayLike | None = None, augment: Any = None, sampler: Any = None,
                 weights: ArrayLike | None = None, labels: Any = None, prefetch: int | None = None,
                 processes: bool = False, skip_errors: bool = False, collate: Callable[[list[Any]], Any] | None = None,
                 steps_per_epoch: int | None = None, repeat: bool = False, shard: tuple[int, int] | None = None):
        _refuse_loaders(source, batch_size)
        found = as_source(source)
        self.batch_size, self.seed, self.workers, self.drop_last = batch_size, seed, workers, bool(drop_last)
        self.prefetch: int = AHEAD * workers if prefetch is None and isinstance(workers, int) else prefetch  # type: ignore[assignment]
        self.steps_per_epoch, self.processes, self.repeat = steps_per_epoch, processes, repeat
        _check_numbers(self, shard)
        self.source = found
        self._feed: Planned | Streamed
        if found is None:
            if batch_size is None:
                _refuse_of_batches(augment=augment, collate=collate, drop_last=drop_last or None)
            _refuse_of_stream(buckets=buckets, lengths=lengths, sampler=sampler, weights=weights, labels=labels,
                              skip_errors=skip_errors or None, processes=processes or None)
            self._feed = Streamed(self, source, int(BUFFER if shuffle is True else shuffle or 0), shard)
            ragged = None
        else:
            labels = found.labels if labels is None else np.asarray(labels)
            told = lengths_of(found, buckets, lengths)
            self._feed = Planned(self, found, shuffle is None or bool(shuffle), sampler,
                                 chances_of(weights, labels, len(found)), shard, buckets, told)
            ragged = told.ragged if told else None
        self.work = Work(found, Changes(augment, self.seed), collate, skip_errors, ragged)
        self._position, self._kind = (0, 0), Kinds(ragged, collate)
        self.skipped: list[Skipped] = []
        self._ahead: Ahead | None = None
        self._running: object = None
        self._peeked: Made | None = None
        self._end: Any = None

    # ---- where we are

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self._position[0]

    @property
    def step(self) -> int:
        """Batches of this epoch that have been handed out."""
        return self._position[1]

    def __len__(self) -> int:
        """Batches per epoch; CallError for a stream without `steps_per_epoch`."""
        return self._feed.count(self.epoch)

    def __bool__(self) -> bool:
        return True

    def state(self) -> dict[str, Any]:
        """The place as plain data: `step` batches of `epoch` have been handed out."""
        return {"epoch": self.epoch, "step": self.step} | self._feed.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state()` was taken. ArgumentError if the samples, the batch size or the order were others;
        DataError, in words, where a stream cannot go there."""
        check_place(state, self._feed.settings(), "another loader")
        epoch, step = int(state["epoch"]), int(state["step"])
        if epoch < 0 or step < 0:
            raise ArgumentError(explain("the saved place lies outside the epoch", got=f"epoch {epoch}, step {step}",
                                        expected="numbers from 0 on"))
        self._running = None
        self._stop()
        self._feed.restore(state, epoch, step)
        self._position = (epoch, step)

    # ---- batches

    def __iter__(self) -> Iterator[Any]:
        """The rest of the current epoch; then the place moves to the start of the next one."""
        token = self._running = object()
        return self._epoch_of(token)

    def _epoch_of(self, token: object) -> Iterator[Any]:
        self._feed.begin()
        whole, given = self.step == 0, 0
        while True:
            if self._running is not token:
                raise ArgumentError(explain("this loop over the loader has been left for another one",
                                            expected="one loop at a time",
                                            fix="make a second Loader for a loop within the loop"))
            made = self._next()
            if made is None:
                break
            if made.batch is not None:
                given += 1
                yield made.batch
                del made
        self._position = (self.epoch + 1, 0)
        self._report(self.epoch - 1, whole and not given)

    def _next(self) -> Made | None:
        """The next batch, counted as handed out; None at the end of the epoch."""
        made = self._made()
        self._peeked = None
        if made is None:
            return None
        self._feed.passed(made)
        if made.place is not None and made.place.end:
            return None
        self.skipped += made.skipped
        self._position = (self.epoch, self.step + 1)
        return made

    def _made(self) -> Made | None:
        """The next batch, which stays the next one."""
        if self._peeked is None:
            try:
                self._peeked = self._feed.take(self._pipeline(), self._position)
                if self._peeked is not None and self._peeked.batch is not None:
                    self._kind.check(self._peeked.batch, self._feed.first_index(self._position), self.source)
            # an error of a sample, or Ctrl-C, ends all that was begun; iterating again begins with this batch
            except BaseException as error:
                self.close()
                if isinstance(error, ChainruleError):
                    self._feed.begin()  # a source that has lost samples says that
                    _say_where(error)
                raise
        return self._peeked

    def peek(self) -> Any:
        """The next batch, which stays the next one: to see what batches look like."""
        made = self._made()
        if made is None or made.batch is None:
            raise DataError(explain("there is no further batch in this epoch",
                                    got=f"epoch {self.epoch}, step {self.step}"))
        return made.batch

    def _report(self, epoch: int, nothing: bool) -> None:
        """A warning about samples that were left out of an epoch; DataError if they were all."""
        left = [one for one in self.skipped if one.epoch == epoch]
        if not left:
            return
        reason = " ".join(" ".join(left[0].reason.splitlines()[:2]).split())
        if nothing:
            raise DataError(explain(f"no sample of epoch {epoch} could be read",
                                    got=f"{count(len(left), 'sample')} left out; the first: {reason}"))
        warnings.warn(f"{count(len(left), 'sample')} of {len(self.source):,} left out of epoch {epoch}, as they cannot "
                      f"be read; the first: {reason}", stacklevel=3)  # type: ignore[arg-type]

    # ---- workers

    def _pipeline(self) -> Ahead:
        if self._ahead is not None and self._process != os.getpid():  # a forked process has none of the threads
            self._end.detach()
            self._ahead = None
        if self._ahead is None:
            self._process = os.getpid()
            self._feed.ready()
            engine = self._engine()
            self._ahead = Ahead(engine, self.prefetch if self.workers else 0, self._feed.job_of)
            self._end = weakref.finalize(self, engine.close)
        return self._ahead

    def _engine(self) -> Any:
        if self.workers and self.processes:
            return Processes(self.work, self.workers)
        allocate = Buffers(self.prefetch + self.workers + 2)
        return (Threads(self.work, allocate, self.workers, self._feed.reader) if self.workers
                else Inline(self.work, allocate, self._feed.reader))

    def _stop(self) -> None:
        self._peeked = None
        if self._ahead is not None:
            self._ahead.forget()
            self._end()
            self._feed.leave(self._ahead.engine)
            self._ahead = None

    def close(self) -> None:
        """End the workers; iterating again starts new ones where the loader is."""
        self._stop()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_ahead": None, "_end": None, "_running": None, "_peeked": None}

    def __repr__(self) -> str:
        what = repr(self.source) if self.source is not None else "a stream"
        return f"Loader({what}, batch_size={self.batch_size}, epoch {self.epoch}, step {self.step})"


def _check_numbers(loader: Loader, shard: Any) -> None:
    for name, low, none in (("batch_size", 1, True), ("workers", 0, False), ("prefetch", 0, False),
                            ("steps_per_epoch", 1, True)):
        value = getattr(loader, name)
        if not ((none and value is None) or (isinstance(value, int | np.integer) and not isinstance(value, bool)
                                             and value >= low)):
            raise ArgumentError(explain(f"{name} cannot be used", got=shown(value),
                                        expected=f"a whole number from {low} on"))
    loader.seed = seed_of(loader.seed)
    if shard is not None and not (isinstance(shard, tuple | list) and len(shard) == 2 and 0 <= shard[0] < shard[1]):
        raise ArgumentError(explain("shard cannot be used", got=shown(shard), expected="(k, n) with 0 <= k < n"))


def _say_where(error: ChainruleError) -> None:
    """The user's loop, in an error whose maker, a worker, has no line of the user's."""
    text, line = str(error), describe_frame(user_frame())
    if line and not re.search(r"^  at  ", text, re.MULTILINE):
        error.args = (f"{text}\n  {'at':9} {line}",)


def _refuse_loaders(source: Any, batch_size: int | None) -> None:
    """ArgumentError for what makes batches already."""
    if isinstance(source, Loader):
        raise ArgumentError(explain("a Loader of a Loader", got=repr(source), expected="a source",
                                    fix="change the first one"))
    if batch_size is not None and hasattr(source, "dataset") and hasattr(source, "collate_fn"):
        raise ArgumentError(explain("this makes batches itself", got=type(source).__name__,
                                    expected="a source of samples",
                                    fix="Loader(loader.dataset, batch_size=...), or Loader(loader, batch_size=None) "
                                        "for its batches as they are"))


def _refuse_of_batches(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise ArgumentError(explain(f"{name} is for samples", got=f"{name}={shown(value)} with batch_size=None",
                                        expected="batches as the stream gives them",
                                        fix=f"leave out {name}, or give samples and a batch_size"))


def _refuse_of_stream(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise ArgumentError(explain(f"{name} needs samples by number", got=f"{name}={shown(value)} for a stream",
                                        expected="a source with __len__ and __getitem__",
                                        fix="list(stream), if it fits into memory; what is to be done to its samples "
                                            "one by one can be done in the stream"))
