# SPDX-License-Identifier: Apache-2.0
"""`Loader`: batches of a source or a stream, made ahead by workers; any place in any epoch can be saved and gone on with."""

from __future__ import annotations

import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, CallError, ChainruleError, DataError, explain, shown
from ...names import Checked
from ..files import count
from ..sources.arrays import as_source
from ..sources.base import Source
from ..sources.collate import Kind, differs, spread, text_free
from .ahead import Ahead
from .buffers import Buffers
from .changes import Changes
from .lengths import Lengths, lengths_of
from .order import Order, bounds_of, chances_of
from .processes import Processes
from .stream import BUFFER, Place, Reader
from .threads import Inline, Threads
from .work import Job, Made, Skipped, Work

AHEAD = 2  # batches for each worker


class Loader(metaclass=Checked):
    """Batches of samples, nested arrays with one row per sample, made ahead by workers.

        loader = cr.data.Loader(cr.data.ImageFolder("photos/"), batch_size=64, seed=0, augment=augment.Flip())
        for batch in loader: ...            # one epoch; `loader.epoch` has then gone on by one
        state = loader.state()              # anywhere; `restore(state)` goes on with the next batch, in another process too

    The order of epoch e and all that `augment` does are functions of (seed, e, index of the sample), whatever `workers`, `prefetch` and `processes` are.
    Iterating again within an epoch goes on with the rest of it, as `Batches` does.

    Args:
        source: a `Source`; arrays in a tuple or dict; an object with `__len__` and `__getitem__`; a table of pandas, polars or pyarrow; or a stream:
            any other iterable of samples, or a function that makes one for each pass.
        batch_size: samples per batch; None for a stream that gives batches.
        shuffle: a new order for each epoch (None: yes). Of a stream, the size of a shuffle buffer (True: 1,000; None: 0).
        seed: of the order and of `augment`.
        workers: threads, or processes; 0 makes each batch when it is asked for.
        drop_last: whether a last batch that is not full is left out.
        buckets: how many groups of samples of similar lengths, or the largest length of each: a batch holds samples of one group, padded with zeros to its largest
            length; what is padded becomes `Ragged(values, lengths)`.
        lengths: (n,) of the samples, for `buckets`; None: all are read once to find them.
        augment: a pipeline of `chainrule.augment`, or a function (sample, generator) -> sample.
        sampler: a function epoch -> indices, or indices, instead of all samples.
        weights: chance of each sample, drawn with replacement, or "balanced" for equal shares of all classes.
        labels: class of each sample, for "balanced", where the source does not know it.
        prefetch: batches that are made ahead; None: two for each worker.
        processes: whether workers are processes, for samples whose making holds Python's lock.
        skip_errors: whether samples that cannot be read are left out; `skipped` lists them, and a warning counts them at the end of an epoch.
        collate: a function of a list of samples that makes the batch.
        steps_per_epoch: batches of an epoch of a stream; None: an epoch is one pass.
        repeat: whether a stream that ends within an epoch of `steps_per_epoch` begins again.
        shard: (k, n): this is one of n loaders that share each epoch, the k-th from 0.

    >>> source = [(np.full(3, i, "float32"), i) for i in range(10)]
    >>> loader = cr.data.Loader(source, batch_size=4, shuffle=True, seed=0)
    >>> [x.shape for x, y in loader]
    [(4, 3), (4, 3), (2, 3)]
    """

    FIXES = {"num_workers": "workers=4", "pin_memory": "there is no need for it: leave it out", "collate_fn": "collate=function", "prefetch_factor": "prefetch=8 batches in all",
             "persistent_workers": "workers stay between epochs: leave it out", "batch_sampler": "sampler=lambda epoch: indices", "generator": "seed=0",
             "multiprocessing_context": "processes=True", "worker_init_fn": "augment=function of (sample, generator) has a generator of its own for each sample",
             "sample_weights": "weights=...", "class_weight": 'weights="balanced"', "timeout": "leave it out: a worker that dies is seen at once"}

    def __init__(self, source: Any, batch_size: int | None = 32, *, shuffle: bool | int | None = None, seed: int = 0, workers: int = 2, drop_last: bool = False,
                 buckets: int | Sequence[int] | None = None, lengths: Any = None, augment: Any = None, sampler: Any = None, weights: Any = None, labels: Any = None,
                 prefetch: int | None = None, processes: bool = False, skip_errors: bool = False, collate: Callable[[list[Any]], Any] | None = None,
                 steps_per_epoch: int | None = None, repeat: bool = False, shard: tuple[int, int] | None = None):
        if isinstance(source, Loader):
            raise ArgumentError(explain("a Loader of a Loader", got=repr(source), expected="a source", fix="change the first one"))
        found = as_source(source)
        self.batch_size, self.seed, self.workers, self.drop_last = batch_size, int(seed), workers, bool(drop_last)
        self.prefetch = workers * AHEAD if prefetch is None else prefetch
        self.steps_per_epoch, self.processes, self.repeat = steps_per_epoch, processes, repeat
        _check_numbers(self, shard)
        self.source = found
        self._feed: _Planned | _Streamed
        if found is None:
            _refuse_of_stream(buckets=buckets, lengths=lengths, sampler=sampler, weights=weights, labels=labels, skip_errors=skip_errors or None, processes=processes or None)
            self._feed = _Streamed(self, source, int(BUFFER if shuffle is True else shuffle or 0), shard)
            ragged = None
        else:
            labels = found.labels if labels is None else np.asarray(labels)
            told = lengths_of(found, buckets, lengths)
            self._feed = _Planned(self, found, shuffle is None or bool(shuffle), sampler, chances_of(weights, labels, len(found)), shard, buckets, told)
            ragged = told.ragged if told else None
        self.work = Work(found, Changes(augment, self.seed), collate, skip_errors, ragged)
        self._position, self._kind = (0, 0), _Kinds(ragged, collate)
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

    def state(self) -> dict[str, Any]:
        """The place as plain data: `step` batches of `epoch` have been handed out."""
        return {"epoch": self.epoch, "step": self.step} | self._feed.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state()` was taken. ArgumentError if the samples, the batch size or the order were others; DataError, in words, where a stream cannot go there."""
        now = self._feed.settings()
        other = {name: (state.get(name), value) for name, value in now.items() if state.get(name) != value}
        if other:
            raise ArgumentError(explain("the saved place belongs to another loader", got=", ".join(f"{name} {was}" for name, (was, _) in other.items()),
                                        expected=", ".join(f"{name} {is_now}" for name, (_, is_now) in other.items())))
        epoch, step = int(state["epoch"]), int(state["step"])
        if epoch < 0 or step < 0:
            raise ArgumentError(explain("the saved place lies outside the epoch", got=f"epoch {epoch}, step {step}", expected="numbers from 0 on"))
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
        while True:
            if self._running is not token:
                raise ArgumentError(explain("this loop over the loader has been left for another one", expected="one loop at a time", fix="make a second Loader for a loop within the loop"))
            made = self._next()
            if made is None:
                break
            if made.batch is not None:
                yield made.batch
                del made
        self._warn()
        self._position = (self.epoch + 1, 0)

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
            except BaseException as error:  # an error of a sample, or Ctrl-C, ends all that was begun; iterating again begins with this batch
                self.close()
                if isinstance(error, ChainruleError):
                    self._feed.begin()  # a source that has lost samples says that
                raise
        return self._peeked

    def peek(self) -> Any:
        """The next batch, which stays the next one: to see what batches look like."""
        made = self._made()
        if made is None or made.batch is None:
            raise DataError(explain("there is no further batch in this epoch", got=f"epoch {self.epoch}, step {self.step}"))
        return made.batch

    def _warn(self) -> None:
        left = [one for one in self.skipped if one.epoch == self.epoch]
        if left:
            size = "" if self.source is None else f" of {len(self.source):,}"
            reason = left[0].reason.splitlines()
            warnings.warn(f"{count(len(left), 'sample')}{size} left out of epoch {self.epoch}, as they cannot be read; the first: {' '.join(' '.join(reason[:2]).split())}", stacklevel=3)

    # ---- workers

    def _pipeline(self) -> Ahead:
        if self._ahead is None:
            self._feed.ready()
            engine = self._engine()
            self._ahead = Ahead(engine, self.prefetch if self.workers else 0, self._feed.job_of)
            self._end = weakref.finalize(self, engine.close)
        return self._ahead

    def _engine(self) -> Any:
        if self.workers and self.processes:
            return Processes(self.work, self.workers)
        allocate = Buffers(self.prefetch + self.workers + 2)
        return Threads(self.work, allocate, self.workers, self._feed.reader) if self.workers else Inline(self.work, allocate, self._feed.reader)

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
    for name, low, none in (("batch_size", 1, True), ("workers", 0, False), ("prefetch", 0, False), ("steps_per_epoch", 1, True)):
        value = getattr(loader, name)
        if not ((none and value is None) or (isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= low)):
            raise ArgumentError(explain(f"{name} cannot be used", got=shown(value), expected=f"a whole number from {low} on"))
    if not 0 <= loader.seed < 2**64:
        raise ArgumentError(explain("the seed cannot be used", got=str(loader.seed), expected="a whole number from 0 to 2**64-1"))
    if shard is not None and not (isinstance(shard, tuple | list) and len(shard) == 2 and 0 <= shard[0] < shard[1]):
        raise ArgumentError(explain("shard cannot be used", got=shown(shard), expected="(k, n) with 0 <= k < n"))


def _refuse_of_stream(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise ArgumentError(explain(f"{name} needs samples by number", got=f"{name}={shown(value)} for a stream", expected="a source with __len__ and __getitem__",
                                        fix="list(stream), if it fits into memory; what is to be done to its samples one by one can be done in the stream"))


class _Kinds:
    """What all batches have in common: the first one says it."""

    def __init__(self, ragged: Sequence[bool] | None, collate: Any):
        self.free, self.kind = ragged is not None or collate is not None, None

    def check(self, batch: Any, index: int, source: Source | None) -> None:
        """DataError that names the sample if a batch is of another kind than the first."""
        if self.free:
            return
        leaves, structure = spread(batch)
        kind = Kind(structure, tuple(text_free(leaf.dtype) for leaf in leaves), tuple(leaf.shape[1:] for leaf in leaves))
        self.kind = self.kind or kind
        if kind != self.kind:
            raise differs(kind, self.kind, index, source.where if source else None)


# ---- where jobs come from


class _Planned:
    """Jobs of a source, by epoch and step."""

    reader = None

    def __init__(self, loader: Loader, source: Source, shuffle: bool, sampler: Any, chances: Any, shard: Any, buckets: Any, told: Lengths | None):
        if loader.batch_size is None:
            raise ArgumentError(explain("samples by number need a batch_size", got="batch_size=None", expected="a whole number from 1 on"))
        if sampler is not None and chances is not None:
            raise ArgumentError(explain("sampler and weights both choose the samples", fix="leave out one of them"))
        if loader.steps_per_epoch is not None:
            raise ArgumentError(explain("steps_per_epoch is for streams", got=f"{len(source):,} samples by number", fix="leave it out: an epoch takes every sample once; sampler=lambda epoch: indices for other epochs"))
        if not len(source):
            raise DataError(explain("the source is empty", got=f"{type(source).__name__} of 0 samples", expected="one sample or more"))
        self.source = source
        lengths = told.lengths if told else None
        bounds = bounds_of(buckets, lengths) if told else None  # type: ignore[arg-type]
        self.order = Order(len(source), int(loader.batch_size), shuffle, loader.seed, loader.drop_last, chances=chances, sampler=sampler,
                           shard=None if shard is None else tuple(shard), lengths=lengths, bounds=bounds)
        if not self.order.count(0):
            raise ArgumentError(explain("no batch can be made", got=f"{len(source):,} samples, batch_size {loader.batch_size}, drop_last", fix="use a smaller batch_size"))

    def count(self, epoch: int) -> int:
        return self.order.count(epoch)

    def begin(self) -> None:
        if len(self.source) != self.order.size:
            raise DataError(explain("the source changed its length", got=f"{len(self.source):,} samples", expected=f"{self.order.size:,}, as when the loader was made",
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
        return {"samples": order.size, "batch_size": order.batch_size, "shuffle": order.shuffle, "seed": order.seed, "drop_last": order.drop_last,
                "shard": None if order.shard is None else list(order.shard), "buckets": None if order.bounds is None else order.bounds.tolist(),
                "weights": _sum_of(order.chances), "lengths": _sum_of(order.lengths), "sampler": _described(order.sampler)}

    def state(self) -> dict[str, Any]:
        return self.settings()

    def restore(self, state: Mapping[str, Any], epoch: int, step: int) -> None:
        if step > self.order.count(epoch):
            raise ArgumentError(explain("the saved place lies outside the epoch", got=f"epoch {epoch}, step {step}", expected=f"step 0 to {self.order.count(epoch)}"))

    def leave(self, engine: Any) -> None:
        """What an engine has made ahead can be made again."""

    def ready(self) -> None:
        """There is nothing to go back to."""


def _sum_of(array: np.ndarray | None) -> int | None:
    return None if array is None else zlib.crc32(np.ascontiguousarray(array).tobytes())


def _described(sampler: Any) -> Any:
    if sampler is None:
        return None
    return getattr(sampler, "__qualname__", type(sampler).__name__) if callable(sampler) else _sum_of(np.asarray(sampler))


class _Streamed:
    """Jobs of a stream, whose samples a worker reads itself when it is its turn."""

    def __init__(self, loader: Loader, stream: Any, buffer: int, shard: Any):
        self.stream, self.buffer, self.shard = stream, buffer, None if shard is None else tuple(shard)
        self.batch_size, self.seed, self.drop_last, self.steps, self.repeat = loader.batch_size, loader.seed, loader.drop_last, loader.steps_per_epoch, loader.repeat
        self.reader, self._place, self._next, self._left = self._reader(), Place(0, 0, None), 0, None

    def _reader(self) -> Reader:
        return Reader(self.stream, self.batch_size, self.buffer, self.seed, self.drop_last, self.shard)

    def __getstate__(self) -> dict[str, Any]:
        raise CallError(explain("a Loader of a stream cannot be sent to another process", fix="make it there"))

    def count(self, epoch: int) -> int:
        if self.steps is None:
            raise CallError(explain("a stream has no length", expected="batches per epoch", fix="Loader(stream, steps_per_epoch=...)"))
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
            raise DataError(explain(f"the stream ended within epoch {epoch}", got=f"{step:,} batches", expected=f"steps_per_epoch={self.steps:,}",
                                    fix="repeat=True begins it again, fewer steps_per_epoch, or None for one epoch per pass"))
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
        return {"batch_size": self.batch_size, "buffer": self.buffer, "seed": self.seed, "drop_last": self.drop_last, "steps_per_epoch": self.steps,
                "shard": None if self.shard is None else list(self.shard)}

    def state(self) -> dict[str, Any]:
        place = self._place
        return self.settings() | {"pass": place.number, "batches": place.batches, "last": place.last} | ({} if place.own is None else {"stream": place.own})

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
