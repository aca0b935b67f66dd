# SPDX-License-Identifier: Apache-2.0
"""Which sample is which, wherever it stands in its file: hashes that are kept with a run, so that its split can be
found again.

A sample has two: of what the network gets (`inputs`), and of that with its target (`whole`). A saved split is the pair
of arrays of each part; `assign` puts the samples of a file that may have changed since back into their parts.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

PARTS = ("train", "val", "test")
CHUNK = 1024


@dataclass(frozen=True)
class Fingerprints:
    """Two hashes per sample, uint64 (N,): of the inputs with the target, and of the inputs alone.

    >>> x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    >>> found = cr.data.fingerprints(x, y)
    >>> isinstance(found, cr.data.Fingerprints), found.whole.shape
    (True, (4,))
    """

    whole: np.ndarray
    inputs: np.ndarray

    def __len__(self) -> int:
        return len(self.whole)


@dataclass(frozen=True)
class Assignment:
    """Where the samples of a file belong.

    rows        part → indices into the file of the samples that are still there, in the order of the saved part
    saved       part → how many samples the part had
    relabelled  part → how many of those found have another target than they had
    new         indices of the samples that are in no saved part

    >>> x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    >>> found = cr.data.assign(cr.data.fingerprints(x, y), {"train": cr.data.fingerprints(x[:3], y[:3])})
    >>> isinstance(found, cr.data.Assignment), found.new
    (True, array([3]))
    """

    rows: dict[str, np.ndarray]
    saved: dict[str, int]
    relabelled: dict[str, int]
    new: np.ndarray

    def gone(self, part: str) -> int:
        """How many samples of a saved part are not in the file any more."""
        return self.saved[part] - len(self.rows[part])


def fingerprints(x: np.ndarray, y: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]
                 | None = None) -> Fingerprints:
    """The hashes (BLAKE2b, 64 bits) of samples with encoded targets, by what the network gets of them: x, or what
    `transform` makes of x.

    >>> x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    >>> a, b = cr.data.fingerprints(x, y), cr.data.fingerprints(x[:1], y[:1] + 1)
    >>> bool(a.inputs[0] == b.inputs[0]), bool(a.whole[0] == b.whole[0])
    (True, False)
    """
    inputs, whole = [], []
    for start in range(0, len(x), CHUNK):
        samples = x[start:start + CHUNK] if transform is None else transform(x[start:start + CHUNK])
        for sample, target in zip(samples, y[start:start + CHUNK], strict=True):
            hashed = hashlib.blake2b(sample.tobytes(), digest_size=8)
            inputs.append(hashed.digest())
            hashed.update(target.tobytes())
            whole.append(hashed.digest())
    return Fingerprints(np.frombuffer(b"".join(whole), "<u8"), np.frombuffer(b"".join(inputs), "<u8"))


def assign(found: Fingerprints, split: Mapping[str, Fingerprints]) -> Assignment:
    """Put each sample into the part that it was in: by its whole content first, then by its inputs, if its target
    changed.

    A sample that is there more often than before counts as new; so no sample is in two parts, and one that was trained
    on is never tested on.

    >>> x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    >>> before = {"train": cr.data.fingerprints(x[:3], y[:3]), "test": cr.data.fingerprints(x[3:], y[3:])}
    >>> found = cr.data.assign(cr.data.fingerprints(x[::-1], y[::-1]), before)
    >>> found.rows["test"], found.new
    (array([0]), array([], dtype=int64))
    """
    places = {part: np.full(len(hashes), -1) for part, hashes in split.items()}
    free = np.ones(len(found), bool)
    _match(found.whole, free, {part: hashes.whole for part, hashes in split.items()}, places)
    exact = {part: int((place >= 0).sum()) for part, place in places.items()}
    _match(found.inputs, free, {part: hashes.inputs for part, hashes in split.items()}, places)
    rows = {part: place[place >= 0] for part, place in places.items()}
    return Assignment(rows, {part: len(hashes) for part, hashes in split.items()},
                      {part: len(rows[part]) - exact[part] for part in rows}, np.flatnonzero(free))


def _match(found: np.ndarray, free: np.ndarray, split: Mapping[str, np.ndarray], places: dict[str, np.ndarray]) -> None:
    """Give each saved hash without a place the first free sample that has it; what was trained on chooses first."""
    waiting: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(free)[::-1].tolist():
        waiting[int(found[row])].append(row)
    for part in sorted(split, key=PARTS.index):
        for item in np.flatnonzero(places[part] < 0).tolist():
            rows = waiting.get(int(split[part][item]))
            if rows:
                places[part][item] = rows.pop()
                free[places[part][item]] = False
