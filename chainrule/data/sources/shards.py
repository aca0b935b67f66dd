# SPDX-License-Identifier: Apache-2.0
"""Tar shards in WebDataset's layout: files whose names differ after the first dot only are one sample.

    0001.jpg 0001.cls 0001.json 0002.jpg …        a sample is {"jpg": image, "cls": 7, "json": {...}}

The heads of the members are read once; a sample is then read from its place. So samples have numbers, and are shuffled
and resumed like those of any other source.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain, shown
from ...foundations.files import open_regular, parse_json, reading, told
from ..files import GZIP_MAGIC, existing, fault
from ..images import MEMBER_LIMIT, SUFFIXES, pictures_from
from .base import Source
from .folders import decoded_image

Place = tuple[str, int, int, int]  # extension, number of the shard, offset, size
PACKED = (GZIP_MAGIC, b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd")


class TarShards(Source):
    """The samples of one or several .tar files in WebDataset's layout: dicts by extension, or tuples of chosen ones.

    Args:
        paths: a path, a list of them, or a pattern such as "train-{000..009}.tar" or "train-*.tar".
        fields: extensions that make a tuple, such as ("jpg", "cls"), alternatives as "jpg;png"; None: a dict of all.
        size: (height, width) or one number for all images.
        colour: "rgb", "grey", or None for what each file has.
        decode: functions by extension, bytes to value, for what is decoded in another way.

    Images become uint8 (H, W, C), .cls and .index whole numbers, .txt texts, .json what they say, .npy arrays; others
    stay bytes. Nothing in a file is executed. Raises DataError that names the shard and the member.

    >>> import io, tarfile
    >>> with tarfile.open("pairs.tar", "w") as file:
    ...     for name, content in [("1.txt", b"one"), ("2.txt", b"two")]:
    ...         entry = tarfile.TarInfo(name)
    ...         entry.size = len(content)
    ...         file.addfile(entry, io.BytesIO(content))
    >>> [sample["txt"] for sample in cr.data.TarShards("pairs.tar")]
    ['one', 'two']
    """

    def __init__(self, paths: Any, fields: tuple[str, ...] | None = None, size: int | tuple[int, int] | None = None,
                 colour: str | None = "rgb", decode: Mapping[str, Callable[[bytes], Any]] | None = None):
        self.paths = _expand(paths)
        self.fields, self.pictures, self.decode = fields, pictures_from(size, colour), dict(decode or {})
        self.index: list[tuple[str, list[Place]]] = []
        for number, path in enumerate(self.paths):
            self.index += _members(path, number)
        if not self.index:
            raise fault(f"{', '.join(self.paths[:3])}: no samples found",
                        expected="members such as 0001.jpg and 0001.cls")

    def __len__(self) -> int:
        return len(self.index)

    def where(self, index: int) -> str:
        name, places = self.index[index]
        return f"{self.paths[places[0][1]]}: {name}"

    def sample(self, index: int) -> Any:
        name, places = self.index[index]
        if self.fields is None:
            return {"__key__": name, **{place[0]: self._read(name, place) for place in places}}
        return tuple(self._read(name, self._field(name, places, field)) for field in self.fields)

    def _field(self, name: str, places: list[Place], field: str) -> Place:
        for extension in field.split(";"):
            for place in places:
                if place[0] == extension:
                    return place
        raise fault(f"{self.paths[places[0][1]]}: the sample {name!r} has no {field}",
                    got=", ".join(place[0] for place in places), expected=field)

    def _read(self, name: str, place: Place) -> Any:
        extension, shard, offset, size = place
        told_as = f"{self.paths[shard]}: {name}.{extension}"
        with open_regular(self.paths[shard]) as file, reading(told_as):
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise fault(f"{told_as}: the shard ends too early", got=f"{len(content):,} bytes", expected=f"{size:,}",
                        fix="copy or download the file again")
        return self._decoded(content, extension, told_as)

    def _decoded(self, content: bytes, extension: str, place: str) -> Any:
        last = "." + extension.rpartition(".")[2].lower()
        if extension in self.decode:
            return self.decode[extension](content)
        if last in SUFFIXES:
            return decoded_image(content, place, self.pictures)
        with reading(place, "member"):
            return PLAIN[last](content, place) if last in PLAIN else content

    def key(self) -> str | None:
        if self.decode:
            return None
        states = [(os.path.realpath(path), os.path.getsize(path), os.stat(path).st_mtime_ns) for path in self.paths]
        return hashlib.sha256(repr((states, self.fields, self.pictures)).encode()).hexdigest()


def _npy(content: bytes, place: str) -> np.ndarray:
    import io
    return np.load(io.BytesIO(content), allow_pickle=False)


def _whole(content: bytes, place: str) -> int:
    return int(content)


def _text(content: bytes, place: str) -> str:
    return content.decode("utf-8")


def _json(content: bytes, place: str) -> Any:
    return parse_json(content, place)


PLAIN: dict[str, Callable[[bytes, str], Any]] = {".cls": _whole, ".index": _whole, ".id": _whole, ".txt": _text,
                                                 ".text": _text, ".json": _json, ".npy": _npy}


def _expand(paths: Any) -> list[str]:
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[str] = []
    for path in listed:
        for one in _braces(os.fspath(path)):
            matching = sorted(glob.glob(one)) if any(c in one for c in "*?[") and not os.path.exists(one) else [one]
            found += [str(existing(name)) for name in matching]
    if not found:
        raise ArgumentError(explain("no file has such a name", got=shown(paths),
                                    expected='paths, or a pattern such as "train-{000..009}.tar"'))
    return found


def _braces(pattern: str) -> list[str]:
    """``a-{00..02}`` as a-00, a-01, a-02."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if match is None or os.path.exists(pattern):
        return [pattern]
    first, last = match.groups()
    numbers = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    return [name for n in numbers for name in _braces(pattern[:match.start()] + n + pattern[match.end():])]


def _members(path: str, number: int) -> list[tuple[str, list[Place]]]:
    """The samples of a shard with the places of their members, in the order of the file."""
    with open_regular(path) as file:
        start = file.read(6)
        if any(start.startswith(magic) for magic in PACKED):
            raise fault(f"{path}: samples of a packed shard cannot be found by their place",
                        fix="unpack it first (gunzip); images hardly shrink anyway")
        file.seek(0)
        size, found = os.fstat(file.fileno()).st_size, dict[str, list[Place]]()
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    _take(found, member, path, number, size)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise fault(f"{path}: the tar file is damaged or cut off", got=told(error),
                        fix="copy or download the file again") from error
    return list(found.items())


def _take(found: dict[str, list[Place]], member: tarfile.TarInfo, path: str, number: int, size: int) -> None:
    folder, _, name = member.name.rpartition("/")
    stem, dot, extension = name.partition(".")
    if member.isdir() or not stem:
        return
    if not member.isreg() or member.issparse() or member.size > MEMBER_LIMIT:
        raise fault(f"{path}: the member {member.name!r} is refused",
                    got=f"{'a file' if member.isreg() else 'a link or device'} of {member.size:,} bytes",
                    expected=f"plain files of at most {MEMBER_LIMIT:,} bytes")
    if member.offset_data + member.size > size:
        raise fault(f"{path}: the tar file is cut off in {member.name!r}", got=f"{size:,} bytes",
                    expected=f"{member.offset_data + member.size:,} or more", fix="copy or download the file again")
    if dot:
        found.setdefault(f"{folder}/{stem}" if folder else stem,
                         []).append((extension, number, member.offset_data, member.size))
