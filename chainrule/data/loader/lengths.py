# SPDX-License-Identifier: Apache-2.0
"""How long the sequences of a source are, and which leaves of a sample are such sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError, explain
from ..sources.base import Source
from ..sources.collate import spread
from ..sources.reading import read_one

LOOKED_AT = 16  # samples, where the lengths are told


@dataclass
class Lengths:
    """The length of each sample (n,), and of each leaf whether it is as long as that."""

    lengths: np.ndarray
    ragged: list[bool]


def lengths_of(source: Source, buckets: Any, told: Any) -> Lengths | None:
    """Lengths for `buckets`, as told or found by reading every sample once; None without buckets."""
    if buckets is None:
        if told is not None:
            raise ArgumentError(explain("lengths are for buckets", got="lengths without buckets",
                                        fix="Loader(..., buckets=4, lengths=lengths)"))
        return None
    if not len(source):
        raise DataError(explain("the source is empty", got=f"{type(source).__name__} of 0 samples",
                                expected="one sample or more"))
    return _found(source) if told is None else _checked(source, np.asarray(told))


def _found(source: Source) -> Lengths:
    """A leaf whose length is not the same in all samples is a sequence."""
    found = np.array([_lengths(source, i) for i in range(len(source))], np.int64)
    ragged = (found != found[0]).any(axis=0)
    if not ragged.any():
        ragged = np.arange(found.shape[1]) == int(np.argmax(found[0] >= 0))
    if not (found[:, ragged] >= 0).all() or not ragged.any():
        raise DataError(explain("buckets need sequences", got="samples of single numbers or texts",
                                expected="samples with an array"))
    return Lengths(found[:, ragged].max(axis=1), ragged.tolist())


def _lengths(source: Source, index: int) -> list[int]:
    return [leaf.shape[0] if leaf.ndim else -1 for leaf in spread(read_one(source, index))[0]]


def _checked(source: Source, lengths: np.ndarray) -> Lengths:
    if lengths.shape != (len(source),) or lengths.dtype.kind not in "iu":
        raise ArgumentError(explain("lengths do not fit the source", got=f"{lengths.dtype} of shape {lengths.shape}",
                                    expected=f"whole numbers ({len(source):,},)"))
    looked_at = np.unique(np.r_[np.linspace(0, len(source) - 1, LOOKED_AT).astype(np.int64), lengths.argmin(),
                                lengths.argmax()])
    ragged = [all(pair) for pair in zip(*[[n == lengths[i] for n in _lengths(source, int(i))] for i in looked_at],
                                        strict=True)]
    if not any(ragged):
        raise ArgumentError(explain("no part of the samples has these lengths",
                                    got=f"sample 0 has arrays of length {_lengths(source, 0)}",
                                    expected=str(int(lengths[0]))))
    return Lengths(lengths.astype(np.int64), ragged)
