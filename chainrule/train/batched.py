# SPDX-License-Identifier: Apache-2.0
"""Data that come in batches: loaders, sources of samples and streams, for `fit`, `evaluate` and `predict`.

A source (`__len__` and `__getitem__`, or one of `cr.data`) becomes a `cr.data.Loader`; another iterable gives batches,
or, where what is to be predicted has no axis, samples.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import data as sources
from ..errors import ArgumentError, DataError, explain, shown
from ..foundations import tree as trees
from ..foundations.arguments import unmasked
from ..ir import Tensor, Variable
from .data import Samples, samples, structure
from .feeds import Stream
from .structure import leaves


def is_batched(data: Any) -> bool:
    """Whether this is a loader, a source or a stream, and no structure of arrays in memory."""
    if isinstance(data, sources.Loader | sources.Source):
        return True
    if data is None or isinstance(data, tuple | Mapping | str | bytes | int | float | Tensor
                                  | Variable) or hasattr(data, "__array__"):
        return False
    if isinstance(data, list):
        return len(data) not in (2, 3) and bool(data) and all(isinstance(item, tuple) for item in data)
    return hasattr(data, "__iter__") or (hasattr(data, "__len__") and hasattr(data, "__getitem__"))


def stream_of(data: Any, batch_size: int, *, shuffle: bool = True, seed: int = 0, drop_last: bool = False,
              steps: int | None = None, augment: Any = None) -> Stream:
    """Batches of whatever `is_batched`, with a place that can be saved."""
    if isinstance(data, sources.Loader):
        if augment is not None:
            raise ArgumentError(explain("a Loader changes its samples itself",
                                        got="augment=... of fit, beside a Loader", fix="Loader(..., augment=...)"))
        return Stream(data, steps)
    if isinstance(data, sources.Source) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return Stream(sources.Loader(data, batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last,
                                     augment=augment), steps)
    if augment is not None:
        raise ArgumentError(explain("batches of a stream are not augmented by fit",
                                    fix="cr.data.Loader(stream, augment=...)"))
    first = next(iter(data) if iter(data) is not data else data, None)
    if iter(data) is data and first is not None:
        data = itertools.chain([first], data)
    if _is_sample(first):
        return Stream(sources.Loader(data, batch_size, seed=seed, drop_last=drop_last, steps_per_epoch=steps), None)
    return Stream(data, steps)


def _is_sample(first: Any) -> bool:
    """Whether the target of (x, y) is one number."""
    return (isinstance(first, tuple | list) and len(first) > 1
            and all(np.ndim(leaf) == 0 for leaf in trees.flatten(first[1])[0]))


def of_batch(batch: Any, name: str, model: Any) -> Samples:
    """A batch (x, y) or (x, y, weights), checked."""
    if isinstance(batch, Mapping) or not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        kind = (f"a dict of {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else f"{len(batch)} parts"
                if isinstance(batch, tuple | list) else f"one {type(batch).__name__}")
        first, second = (list(map(repr, batch)) + ["'x'", "'y'"])[:2] if isinstance(batch, Mapping) else ("'x'", "'y'")
        raise ArgumentError(explain(f"a batch of {name} does not say what is predicted from what", got=kind,
                                    expected="(x, y) or (x, y, weights)",
                                    fix=f"cr.data.map(source, lambda sample: (sample[{first}], sample[{second}]))"))
    return samples(tuple(batch), name, model, whole=False)


class Batched:
    """Batches to measure with, gone through from the same place each time.

    Attributes: `x`, `y` of the first batch; `weighted`, whether any weight may be another number than 1.
    """

    def __init__(self, data: Any, name: str, model: Any, batch_size: int, targets: bool = True):
        stream = stream_of(data, batch_size, shuffle=False) if not isinstance(data, sources.Loader) else None
        self.source, self.name = data if stream is None else stream.source, name
        self.model, self.targets = model, targets
        if iter(self.source) is self.source and not hasattr(self.source, "restore"):
            raise ArgumentError(explain(f"{name} can be gone through once, and it is needed more often",
                                        got=shown(data), expected="a list, a cr.data.Loader or arrays",
                                        fix="list(stream)"))
        self.place = (copy.deepcopy(self.source.state()) if hasattr(self.source, "state")
                      and hasattr(self.source, "restore") else None)
        first = next(iter(self), None)
        if first is None:
            raise DataError(explain(f"{name} has no batch", got=shown(data)))
        self.x, self.y = first.x, first.y
        self.weights, self.weighted = first.weights, True

    def __iter__(self) -> Iterator[Samples]:
        if self.place is not None:
            self.source.restore(self.place)
        for batch in self.source:
            batch = trees.map(lambda leaf: np.asarray(unmasked(leaf)), batch)
            yield of_batch(batch, self.name, self.model) if self.targets else self._inputs(batch)

    def _inputs(self, batch: Any) -> Samples:
        """A batch to predict from: x alone, or the first of (x, y)."""
        x = structure(batch[0] if isinstance(batch, tuple | list) and len(batch) in (2, 3) else batch, self.name,
                      self.model)
        return Samples(x, nothing := np.zeros(len(leaves(x)[0]), np.float32), nothing)


    def rewind(self) -> None:
        """Put the source back to the place from which it is gone through."""
        if self.place is not None:
            self.source.restore(self.place)


def given(data: Any, model: Any, batch_size: int = 256, name: str = "the data") -> Samples | Batched:
    """What a user gave as data, whatever `fit` takes: samples in memory, or the batches of a source, a loader or a
    stream."""
    return Batched(data, name, model, batch_size) if is_batched(data) else samples(data, name, model)


def some(data: Any, model: Any, count: int) -> Samples:
    """Samples to look at: all that are in memory; or the first `count` of those that come in batches, as far as these
    have one shape."""
    found = given(data, model, count)
    if isinstance(found, Samples):
        return found
    parts, rows = list[Samples](), 0
    for batch in found:
        parts += [batch] if not parts or _shapes(batch) == _shapes(parts[0]) else []
        rows += len(batch)
        if rows >= count:
            break
    found.rewind()
    joined = [trees.map(lambda *arrays: np.concatenate(arrays)[:count], *(getattr(part, name) for part in parts))
              for name in ("x", "y", "weights")]
    return Samples(*joined, any(part.weighted for part in parts))


def _shapes(batch: Samples) -> list[Any]:
    return [array.shape[1:] for array in leaves((batch.x, batch.y, batch.weights))]


def endless(data: Any, model: Any, batch_size: int, seed: int) -> Iterator[tuple[Any, Any, Any]]:
    """Full batches (x, y, weights) in a random order, epoch after epoch."""
    if not is_batched(data):
        whole = samples(data, model=model)
        batches = sources.Batches(len(whole), min(batch_size, len(whole)), seed=seed, drop_last=True)
        while True:
            yield from map(whole.batch, batches)
    stream = stream_of(data, batch_size, seed=seed)
    while True:
        stream.begin()
        while stream.steps is None or stream.step < stream.steps:
            try:
                batch = of_batch(stream.next(), "the data", model)
            except StopIteration:
                break
            yield batch.x, batch.y, batch.weights
            stream.advance()
        stream.end_epoch()


def in_order(data: Any) -> Any:
    """The data, unless it is a loader that mixes its samples: what is predicted could not be told apart."""
    order = getattr(getattr(data, "_feed", None), "order", None)
    if isinstance(data, sources.Loader) and (order is None or order.shuffle):
        raise ArgumentError(explain("this Loader mixes its samples, so that nobody knows which output belongs to which",
                                    got=repr(data), fix="Loader(source, shuffle=False)"))
    return data
