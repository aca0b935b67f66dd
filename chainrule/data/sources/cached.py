# SPDX-License-Identifier: Apache-2.0
"""`cache`: what a source gives, written once to a file that is mapped into memory afterwards.

The file holds the leaves of one sample after the other, then where each begins and the shapes of those that differ,
then a description in JSON, its length and a mark. It is written whole or not at all, and belongs to a key: another key
makes it anew.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import ArgumentError, DataError, explain
from ...foundations import tree
from ...foundations.files import open_regular, parse_json, reading, write_atomically
from ...typing import SourceLike
from ..files import fault
from .arrays import sized
from .base import COMPOSED, Source
from .collate import differs, kind_of, spread, text_free
from .reading import read_one

MARK = b"chainrule samples 1\n"
SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ALIGNED = 16


def cache(source: SourceLike, path: str | os.PathLike[str], key: str | None = None) -> Source:
    """The same samples from a file: the first call reads them all and writes `path`, later ones with the same key only
    open it.

    Args:
        key: says what the samples are; the file is used again as long as it is the same. None: made of the source's
            files, sizes, times and options, which is possible where no function of yours is among what makes a sample.

    Raises DataError if the disk is full or a sample cannot be read, and then leaves what was there as it was;
    ArgumentError if a key is needed.

    >>> source = cr.data.map([1.0, 2.0], lambda x: np.float32(x * x))
    >>> kept = cr.data.cache(source, "squares.cache", key="squares, v1")
    >>> len(kept), float(kept[1])
    (2, 4.0)
    """
    source = sized(source, "cache")
    key = source.key() if key is None else f"told {key!r}"
    if key is None:
        raise ArgumentError(explain("it cannot be seen whether these samples are still the same",
                                    got=f"{source!r}, made by a function or an object of yours",
                                    fix='say a key, and another one whenever the function changes: data.cache(source, '
                                        'path, key="resized 64, v1")'))
    key = f"{key}, {len(source)} samples"
    found = _open(Path(path), key)
    if found is None:
        _write(source, Path(path), key)
        found = _open(Path(path), key)
    if found is None:
        raise fault(f"{path}: the cache has been changed by another program while it was opened")
    found.labels, found.class_names = source.labels, source.class_names
    return found


class Cached(Source):
    """Samples in a file that `cache` has written."""

    def __init__(self, path: Path, head: dict[str, Any], size: int):
        self.path, self.head = path, head
        self._tree, self._dtypes = _tree_of(head["tree"]), [np.dtype(dtype) for dtype in head["dtypes"]]
        self._texts, self._ranks = head["texts"], head["ranks"]
        self._data = np.memmap(path, np.uint8, "r")
        self._starts = self._data[head["starts"]:head["starts"] + 8 * (head["samples"] + 1)].view(np.int64)
        self._shapes = None if head["shapes"] is not None else self._table(head, size)
        self._records = self._as_records() if head["shapes"] is not None else None

    def _table(self, head: dict[str, Any], size: int) -> np.ndarray:
        begin = head["starts"] + 8 * (head["samples"] + 1)
        return self._data[begin:begin + 8 * head["samples"]
                          * sum(self._ranks)].view(np.int64).reshape(head["samples"], -1)

    def _as_records(self) -> np.ndarray:
        """All samples as one array of records, where they have one shape."""
        fields = [(f"f{i}", dtype, tuple(shape))
                  for i, (dtype, shape) in enumerate(zip(self._dtypes, self.head["shapes"], strict=True))]
        packed = np.dtype(fields)
        stride = -(-packed.itemsize // ALIGNED) * ALIGNED
        whole = np.dtype({"names": packed.names, "formats": [packed.fields[name][0] for name in packed.names],
                          "offsets": [packed.fields[name][1] for name in packed.names], "itemsize": max(stride, 1)})
        return self._data[:stride * len(self)].view(whole)

    def __len__(self) -> int:
        return self.head["samples"]

    def sample(self, index: int) -> Any:
        if self._records is not None:
            return tree.unflatten(self._tree, [np.array(self._records[name][index])[()]
                                               for name in self._records.dtype.names])
        return tree.unflatten(self._tree, self._loose(index))

    def _loose(self, index: int) -> list[Any]:
        begin, place, leaves = int(self._starts[index]), 0, list[Any]()
        for dtype, rank, text in zip(self._dtypes, self._ranks, self._texts, strict=True):
            shape = tuple(int(n) for n in self._shapes[index, place:place + rank])  # type: ignore[index]
            end = begin + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            content = self._data[begin:end].tobytes()
            leaves.append(_text(content, text) if text else np.frombuffer(bytearray(content), dtype).reshape(shape)[()])
            begin, place = end, place + rank
        return leaves

    def batch(self, indices: np.ndarray) -> Any:
        if self._records is None:
            return None
        return tree.unflatten(self._tree, [np.ascontiguousarray(self._records[name][indices])
                                           for name in self._records.dtype.names])

    def where(self, index: int) -> str:
        return f"{self.path}, sample {index:,}"

    def key(self) -> str:
        return self.head["key"]

    def __reduce__(self) -> Any:
        return _reopened, (self.path, self.head["key"], self.labels, self.class_names)


def _reopened(path: Path, key: str, labels: Any, class_names: Any) -> Cached:
    found = _open(path, key)
    if found is None:
        raise fault(f"{path}: the cache is gone or belongs to other samples now")
    found.labels, found.class_names = labels, class_names
    return found


def _text(content: bytes, kind: str) -> Any:
    return content if kind == "bytes" else content.decode("utf-8")


# ---- writing


def _write(source: Source, path: Path, key: str) -> None:
    try:
        write_atomically(path, lambda stream: _fill(stream, source, key))
    except OSError as error:
        if error.errno in SPACE:
            raise DataError(explain(f"{path}: the disk is full, nothing was kept of the cache", got=error.strerror,
                                    fix="make room, or name a path on another disk; the source itself works without a "
                                        "cache")) from error
        raise DataError(explain(f"{path}: the cache cannot be written", got=error.strerror or str(error))) from error


def _fill(stream: BinaryIO, source: Source, key: str) -> None:
    first, starts, shapes, common = None, array("q", [0]), array("q"), True
    for index in range(len(source)):
        leaves, structure = spread(read_one(source, index))
        kind = _flat(kind_of(leaves, structure))
        first = first or kind
        if (kind.tree, kind.dtypes,
            [len(s) for s in kind.shapes]) != (first.tree, first.dtypes, [len(s) for s in first.shapes]):
            raise differs(kind, first, index, source.where)
        contents = [_content(leaf) for leaf in leaves]
        found = [n for leaf, content in zip(leaves, contents, strict=True) for n in _shape(leaf, content)]
        shapes.extend(found)
        common = common and found == shapes[:len(found)].tolist()
        for content in contents:
            stream.write(content)
        size = sum(map(len, contents))
        stream.write(bytes(-size % ALIGNED))
        starts.append(starts[-1] + size + -size % ALIGNED)
    _finish(stream, source, key, first, starts, shapes, common)


def _finish(stream: BinaryIO, source: Source, key: str, first: Any, starts: array, shapes: array, common: bool) -> None:
    if first is None:
        raise fault("an empty source cannot be cached", got=repr(source))
    texts = [{"U": "text", "O": "bytes"}.get(dtype.kind) for dtype in first.dtypes]
    common = common and not any(texts)
    stream.write(starts.tobytes())
    if not common:
        stream.write(shapes.tobytes())
    ranks = [1 if text else len(shape) for text, shape in zip(texts, first.shapes, strict=True)]
    dtypes = ["|u1" if text else dtype.str for text, dtype in zip(texts, first.dtypes, strict=True)]
    head = {"key": key, "samples": len(starts) - 1, "starts": starts[-1], "tree": _described(first.tree),
            "dtypes": dtypes, "texts": texts,
            "ranks": ranks, "shapes": first.shapes if common else None}
    content = json.dumps(head).encode()
    stream.write(content + struct.pack("<QI", len(content), zlib.crc32(content)) + MARK)


def _flat(kind: Any) -> Any:
    return kind._replace(dtypes=tuple(text_free(dtype) for dtype in kind.dtypes))


def _content(leaf: np.ndarray) -> bytes:
    if leaf.dtype == object:
        return bytes(leaf.item()) if not leaf.shape and isinstance(leaf.item(), bytes) else _refuse(leaf)
    if leaf.dtype.kind == "U":
        return leaf.item().encode("utf-8") if not leaf.shape else _refuse(leaf)
    return np.ascontiguousarray(leaf).tobytes()


def _refuse(leaf: np.ndarray) -> bytes:
    raise DataError(explain("a cache keeps numbers and texts", got=f"an array of {leaf.dtype} {leaf.shape}",
                            fix="cache the source before what makes such arrays"))


def _shape(leaf: np.ndarray, content: bytes) -> tuple[int, ...]:
    return (len(content),) if leaf.dtype.kind in "OU" else leaf.shape


KINDS = {"dict": dict, "tuple": tuple, "list": list, "none": type(None), "leaf": None}


def _described(structure: tree.Tree) -> Any:
    kind = next((name for name, kind in KINDS.items() if structure.kind is kind), None)
    if kind is None or not all(isinstance(name, str | int) for name in structure.keys):
        raise DataError(explain("a cache keeps samples of dicts with texts as keys, tuples and lists",
                                got=f"{structure.kind.__name__} {structure.keys}"))
    return [kind, list(structure.keys), [_described(child) for child in structure.children]]


def _tree_of(described: Any) -> tree.Tree:
    kind, keys, children = described
    return tree.Tree(KINDS[kind], tuple(keys), tuple(_tree_of(child) for child in children))


# ---- opening


def _open(path: Path, key: str) -> Cached | None:
    """The cache at `path` if it belongs to `key`, else None; DataError for a file that is no cache, which is never
    written over."""
    if not path.exists():
        return None
    with open_regular(path) as file, reading(path, "cache", fix="remove the file, it is then written anew"):
        size = os.fstat(file.fileno()).st_size
        tail = struct.calcsize("<QI") + len(MARK)
        file.seek(max(size - tail, 0))
        end = file.read(tail)
        if len(end) < tail or not end.endswith(MARK):
            raise fault(f"{path}: this is no cache of samples, or it is damaged",
                        fix="name another path, or remove the file")
        length, checksum = struct.unpack("<QI", end[:-len(MARK)])
        if length > size - tail:
            raise fault(f"{path}: the cache is damaged", got=f"a description of {length:,} bytes in a file of {size:,}",
                        fix="remove the file")
        file.seek(size - tail - length)
        content = file.read(length)
        if zlib.crc32(content) != checksum:
            raise fault(f"{path}: the cache is damaged", fix="remove the file, it is then written anew")
        head = parse_json(content, path, "cache")
        if head["key"] != key:
            return None
        _check_size(path, head, size - tail - length)
        return Cached(path, head, size)


def _check_size(path: Path, head: dict[str, Any], size: int) -> None:
    table = 0 if head["shapes"] is not None else 8 * head["samples"] * sum(head["ranks"])
    expected = head["starts"] + 8 * (head["samples"] + 1) + table
    if size != expected:
        raise fault(f"{path}: the cache is damaged", got=f"{size:,} bytes of samples", expected=f"{expected:,}",
                    fix="remove the file, it is then written anew")


COMPOSED.update(cache=cache)
