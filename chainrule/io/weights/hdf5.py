# SPDX-License-Identifier: Apache-2.0
"""Keras's files: .keras (a zip file with model.weights.h5), .weights.h5, and .h5 of earlier versions: HDF5, by the
library h5py.

An array is called by its path in the file, as Keras has it: "layers/dense/vars/0", or "dense/dense/kernel:0" in earlier
files. Links to other files, and arrays that lie in them, are refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MissingExtra, shown
from ...foundations.files import parse_json, reading
from .contents import Entry, Mapped, Weights, damaged, element_count, native, refuse_bomb
from .zips import Members, Stream

WEIGHTS, SETTINGS = "model.weights.h5", "config.json"
MOST_DEEP, MOST_NODES = 64, 1_000_000


def read_hdf5(path: Path) -> Weights:
    """The arrays of an .h5 file; of one that holds a whole model those of its layers, and its settings in `metadata`.
    """
    mapped = Mapped(path)
    file = _opened(path, mapped.bytes)
    with reading(path, "HDF5 file"):
        root = (file["model_weights"] if "model_weights" in file
                and file.get("model_weights", getlink=True).__class__.__name__ == "HardLink" else file)
        entries = dict(_entries(path, root, "", {}, 0))
        said = file.attrs.get("model_config")
        return Weights(entries, {"config": parse_json(said, path, "description of the model")}
                       if isinstance(said, str | bytes) else {})


def read_keras(path: Path) -> Weights:
    """The arrays of a .keras file, and the description of the model in `metadata`."""
    members = Members(Mapped(path))
    if WEIGHTS not in members.infos:
        raise damaged(path, "this is no file of Keras's", got=", ".join(list(members.infos)[:4]), expected=WEIGHTS)
    config = (parse_json(bytes(members.bytes(SETTINGS)), path, "description of the model") if SETTINGS in members.infos
              else {})
    file = _opened(path, members.bytes(WEIGHTS))
    with reading(path, "HDF5 file"):
        return Weights(dict(_entries(path, file, "", {}, 0)), {"config": config})


def _opened(path: Path, content: memoryview) -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("reading Keras's files", "h5py", "hdf5") from None
    with reading(path, "HDF5 file"):
        return h5py.File(io.BufferedReader(Stream(content)), "r")


def _entries(path: Path, group: Any, start: str, seen: dict[Any, str], depth: int) -> Iterator[tuple[str, Entry]]:
    """The arrays below a group. A group that is there twice is visited once, so that no ring is followed for ever."""
    seen[group.id.__hash__()] = start
    if depth > MOST_DEEP or len(seen) > MOST_NODES:
        raise damaged(path, "the groups of the file hold each other without end: refused")
    for name in group:
        full, kind = f"{start}{name}", type(group.get(name, getlink=True)).__name__
        if kind != "HardLink":
            raise damaged(path, "the file links to another place or file: refused", got=f"{shown(full)}, a {kind}",
                          fix=None)
        item = group[name]
        if type(item).__name__ == "Dataset":
            if item.dtype.kind in "biuf":
                yield full, _entry(path, full, item)
        elif type(item).__name__ == "Group" and item.id.__hash__() not in seen:
            yield from _entries(path, item, f"{full}/", seen, depth + 1)


def _entry(path: Path, name: str, dataset: Any) -> Entry:
    what = f"array {name!r}"
    if dataset.external or dataset.is_virtual:
        raise damaged(path, f"{what} lies in another file: refused", fix=None)
    size = element_count(tuple(map(int, dataset.shape or ())), path, what) * dataset.dtype.itemsize
    refuse_bomb(path, what, size, dataset.id.get_storage_size())
    if dataset.dtype.name == "bfloat16":
        raise damaged(path, f"{what} has a dtype that cannot be read", got=str(dataset.dtype))

    def read() -> np.ndarray:
        with reading(path, what):
            return np.asarray(dataset[()]).astype(native(dataset.dtype), copy=False)
    return Entry(tuple(dataset.shape), native(dataset.dtype), read)
