# SPDX-License-Identifier: Apache-2.0
"""What a worker does: the numbers of samples come in, a batch goes out, whichever worker it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...errors import ChainruleError, DataError, MissingExtra, OutOfMemoryError, explain
from ..sources.base import Source
from ..sources.collate import Allocate, collate
from ..sources.reading import read_one
from .changes import Changes
from .order import Job, Rows


class Skipped(NamedTuple):
    """A sample that was left out, and why."""

    epoch: int
    index: int
    reason: str


@dataclass
class Made:
    """A batch, or None if no sample of it could be read; what was left out; what a stream says of its place."""

    batch: Any
    skipped: list[Skipped] = field(default_factory=list)
    place: Any = None


@dataclass
class Work:
    """How a batch is made of its samples."""

    source: Source | None
    changes: Changes
    collate: Callable[[list[Any]], Any] | None = None
    skip_errors: bool = False
    ragged: Sequence[bool] | None = None

    def __call__(self, job: Job, allocate: Allocate = np.empty) -> Made:
        whole = self._whole(job)
        if whole is not None:
            return Made(self.changes.of_batch(whole, job))
        samples, rows, skipped = self._samples(job)
        if not samples:
            return Made(None, skipped)
        kept = job._replace(rows=rows)
        samples = self.changes.of_samples(samples, kept)
        return Made(self.changes.of_batch(self._collated(samples, rows, allocate), kept), skipped)

    def _whole(self, job: Job) -> Any:
        """The batch read at once, where the source can do so and nothing is done to single samples."""
        if self.source is None or self.collate is not None or self.ragged is not None or self.changes.by_sample:
            return None
        try:
            return self.source.batch(job.rows.indices)
        except Exception:  # one by one, each error names its sample
            return None

    def _samples(self, job: Job) -> tuple[list[Any], Rows, list[Skipped]]:
        if job.samples is not None:
            return job.samples, job.rows, []
        found = self._at_once(job.rows.indices)
        if found is not None:
            return found, job.rows, []
        if not self.skip_errors:
            return [read_one(self.source, int(i)) for i in job.rows.indices], job.rows, []  # type: ignore[arg-type]
        return self._readable(job)

    def _at_once(self, indices: np.ndarray) -> list[Any] | None:
        try:
            return self.source.samples(indices)  # type: ignore[union-attr]
        except Exception:  # one by one, each error names its sample
            return None

    def _readable(self, job: Job) -> tuple[list[Any], Rows, list[Skipped]]:
        found, kept, skipped = [], [], []
        for place, index in enumerate(job.rows.indices.tolist()):
            try:
                found.append(read_one(self.source, index))  # type: ignore[arg-type]
                kept.append(place)
            except (MissingExtra, OutOfMemoryError):
                raise
            except ChainruleError as error:
                skipped.append(Skipped(job.epoch, index, str(error)))
        rows = job.rows
        return found, Rows(rows.indices[kept], rows.draws[kept], rows.length), skipped

    def _collated(self, samples: list[Any], rows: Rows, allocate: Allocate) -> Any:
        if self.collate is None:
            return collate(samples, rows.indices, allocate, self.ragged, rows.length,
                           self.source.where if self.source else None)
        try:
            return self.collate(samples)
        except ChainruleError:
            raise
        except Exception as error:
            raise DataError(explain("the function collate failed",
                                    got=f"{type(error).__name__}: {error}, for samples {rows.indices[:8].tolist()}…",
                                    expected="a function of a list of samples that gives a batch")) from error

