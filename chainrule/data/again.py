# SPDX-License-Identifier: Apache-2.0
"""The data of a run that has been trained, read once more: with what was fitted then, each sample in the part it was
in.

A file may have changed since. What is new is left out of every part, what is gone or has another target is said;
nothing is fitted, so a column in another unit does not pass for the old one: its samples are not those that were held
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .dataset import Dataset, Source, read_parts
from .files import count, fault
from .fingerprints import PARTS, Assignment, Fingerprints, assign, fingerprints
from .parts import Part
from .preprocess import Scaling, TablePreprocess
from .table import Dialect, Table
from .target import Target


def load_again(source: Source, preprocess: TablePreprocess | Scaling, fitted: Target, split: Mapping[str, Fingerprints],
               target: Any = None, *, test: Source | None = None,
               dialect: Dialect | None = None) -> tuple[Dataset, Assignment]:
    """The samples of a source in the parts of a saved `split`, and what has become of each part.

    `preprocess` and `fitted` are those of the run, `dialect` what was told of its file. The description of the Dataset
    says how the data changed, and is empty if they did not. Raises DataError where the data cannot be read as those of
    the run.

    >>> data = cr.data.load("digits")
    >>> again, found = cr.data.load_again("digits", data.preprocess, data.target, cr.data.split_of(data))
    >>> again, len(found.new)
    (Dataset('digits': train 1,437, test 360 samples of shape (8, 8, 1), 10 classes), 0)
    """
    parts = [part for _, part in read_parts(source, preprocess, target, test=test, told=dialect).items()]
    x = np.concatenate([_samples(part, preprocess) for part in parts])
    y = np.concatenate([fitted.known(part.y, part.where) for part in parts])
    found = assign(fingerprints(x, y, None if isinstance(preprocess, TablePreprocess) else preprocess.transform), split)
    notes = _changes(found)
    notes += [note for part in parts for note in _news(part, preprocess, fitted)] if notes else []
    return _dataset(parts[0].origin, x, y, found, preprocess, fitted, notes), found


def split_of(dataset: Dataset) -> dict[str, Fingerprints]:
    """The fingerprints of each part of a data set: what `load_again` needs of its split.

    >>> {part: len(found.whole) for part, found in cr.data.split_of(cr.data.digits()).items()}
    {'train': 1437, 'test': 360}
    """
    transform = None if dataset.encoded else dataset.preprocess.transform
    return {part: fingerprints(getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}"), transform)
            for part in PARTS if getattr(dataset, f"x_{part}") is not None}


def _samples(part: Part, preprocess: TablePreprocess | Scaling) -> np.ndarray:
    table = isinstance(preprocess, TablePreprocess)
    if isinstance(part.x, Table) != table:
        raise fault(f"{part.origin}: the data changed their form since the training",
                    got="arrays" if table else "a table", expected="a table" if table else "arrays")
    if table:
        return preprocess.transform(part.x)
    if part.x.shape[1:] != preprocess.feature_shape:
        raise fault(f"{part.origin}: the data changed their shape since the training",
                    got=f"samples of shape {part.x.shape[1:]}", expected=f"samples of shape {preprocess.feature_shape}")
    return part.x


def _dataset(name: str, x: np.ndarray, y: np.ndarray, found: Assignment, preprocess: TablePreprocess | Scaling,
             fitted: Target, notes: list[str]) -> Dataset:
    arrays = {f"{letter}_{part}": array[rows] for part, rows in found.rows.items()
              for letter, array in (("x", x), ("y", y))}
    table = isinstance(preprocess, TablePreprocess)
    return Dataset(name, preprocess=preprocess, target=fitted, feature_names=preprocess.feature_names if table else (),
                   description=notes, encoded=table, **arrays)


# ---- in words


def _changes(found: Assignment) -> list[str]:
    """What changed, in one line, or nothing."""
    gone = [f"{found.gone(part):,} of {found.saved[part]:,} in the {_WORDS[part]} part" for part in found.saved
            if found.gone(part)]
    other = sum(found.relabelled.values())
    said = [*([f"{count(len(found.new), 'sample')} new, in no part"] if len(found.new) else []),
            *([f"gone or with other values: {', '.join(gone)}"] if gone else []),
            *([f"{count(other, 'sample')} with another target"] if other else [])]
    return [f"the data changed since the training: {'; '.join(said)}"] if said else []


_WORDS = {"train": "training", "val": "validation", "test": "test"}


def _news(part: Part, preprocess: TablePreprocess | Scaling, fitted: Target) -> list[str]:
    """Classes, categories and columns of a part that the training data did not have."""
    classes = fitted.unknown(part.y)
    notes = [f"{part.origin}: classes that the model does not know: {', '.join(classes[:10])}"] if classes else []
    if isinstance(preprocess, TablePreprocess):
        added = [name for name in part.x.names if name not in preprocess.names]
        gone = [name for name in preprocess.names if name not in part.x.names]
        notes += [f"{part.origin}: {word}: {', '.join(names)}" for word, names in
                  (("columns that are new, and not used", added), ("columns that are gone, and were not used", gone))
                  if names]
        notes += preprocess.unseen(part.x)
    return notes
