# SPDX-License-Identifier: Apache-2.0
"""What all readers share: finding a file, looking at its first bytes, reading it whether or not it is gzipped.

A path comes in; bytes, or a DataError that names the file and the place, go out. The kind of a file is decided by its
first bytes, not by its name, so a renamed or doubly compressed file is understood or refused for the right reason.
"""

from __future__ import annotations

import difflib
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import ArgumentError, DataError, explain, shown
from ..foundations.files import open_regular

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
CHUNK = 1 << 20
UNPACKED_FREELY = 1 << 28  # bytes that any packed file may unpack to,
LARGEST_RATIO = 200        # and how many times its own size, beyond that: text packs by 10, sparse numbers by 100


def fault(problem: str, *, got: str | None = None, expected: str | None = None, fix: str | None = None) -> DataError:
    """A DataError in the common form, ready to be raised."""
    return DataError(explain(problem, got=got, expected=expected, fix=fix))


def existing(path: str | os.PathLike) -> Path:
    """The path as a Path; a DataError that suggests similar names if nothing is there, an ArgumentError for what is no
    path."""
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(explain("the path of a file is expected", got=shown(path), expected="a str or a Path",
                                    fix="arrays and DataFrames go to cr.fit(model, (x, y)) as they are"))
    path = Path(path)
    try:
        path.stat()
        return path
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # no permission, a loop of links, a zero byte in the name
        raise fault(f"{path}: the file cannot be opened: {getattr(error, 'strerror', error)}") from None
    return _missing(path)


def _missing(path: Path) -> Path:
    folder = path.parent
    if not folder.is_dir():
        raise fault(f"{path}: there is no such file, and no folder {folder}")
    close = close_names(path.name, list_folder(folder))
    fix = f"did you mean {' or '.join(str(folder / name) for name in close)}?" if close else None
    raise fault(f"{path}: there is no such file", fix=fix)


def close_names(name: str, names: list[str]) -> list[str]:
    """Up to three of `names` that look like `name`, best first; case does not count."""
    lowered = {other.lower(): other for other in names}
    return [lowered[found] for found in difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.6)]


def list_folder(folder: Path) -> list[str]:
    """The sorted names in a folder; DataError if it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise fault(f"{folder}: the folder cannot be read: {error.strerror}") from None


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The content of a file as a stream, unzipped if it is gzip; DataError as in `open_regular`."""
    with open_regular(path) as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as stream:
            yield stream  # type: ignore[misc]


def unpacked_limit(path: Path, size: int | None = None) -> int:
    """To how many bytes a packed file (of `size` bytes) may unpack before it is taken for a trap."""
    return max(UNPACKED_FREELY, LARGEST_RATIO * (os.path.getsize(path) if size is None else size))


def refuse_unpacked(place: str, size: int, limit: int) -> DataError:
    """The error for something that unpacks to more than `limit` bytes."""
    return fault(f"{place}: refused, it unpacks to far more than it is", got=f"{size:,} bytes or more",
                 expected=f"at most {limit:,}, that is {LARGEST_RATIO} times the packed size",
                 fix="if you trust the file, unpack it first and name the unpacked one")


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The content, unzipped if it is gzip, at most `limit` bytes; DataError for a damaged gzip file, with the byte
    offset, and for one that unpacks to more than 200 times its size (and 256 MiB).
    """
    pieces: list[bytes] = []
    size = 0
    most = unpacked_limit(path)
    with unpacked(path) as file:
        while limit is None or size < limit:
            try:
                piece = file.read(CHUNK if limit is None else min(CHUNK, limit - size))
            except (EOFError, OSError, zlib.error) as error:
                raise fault(f"{path}: the gzip data is damaged or cut off after {size:,} unpacked bytes",
                            got=str(error), fix="copy or download the file again") from error
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise refuse_unpacked(str(path), size, most)
    return b"".join(pieces)


def first_bytes(path: Path, count: int = 512) -> bytes:
    """The first bytes after unpacking; what can be read of a damaged gzip file, so that the real reader tells more."""
    with unpacked(path) as file:
        try:
            return file.read(count)
        except (EOFError, OSError, zlib.error):
            return b""


def sniff(path: Path) -> str:
    """The kind of a file: ``npz``, ``npy``, ``tar``, ``idx``, ``parquet``, ``image``, or ``table`` for anything else.
    """
    start = first_bytes(path)
    if start[257:262] == b"ustar" or ".tar" in path.suffixes or path.suffix == ".tgz":
        return "tar"
    if start[:2] == b"\0\0" and len(start) >= 4 and 1 <= start[3] <= 8:
        return "idx"
    for magic, kind in _MAGICS:
        if start.startswith(magic):
            return kind
    return "idx" if ("idx" in path.name and path.suffix in (".gz", "")) or "-ubyte" in path.name else "table"


_MAGICS = (
    (ZIP_MAGIC, "npz"), (b"PK\x05\x06", "npz"), (b"\x93NUMPY", "npy"), (b"PAR1", "parquet"),
    (b"\x89PNG", "image"), (b"\xff\xd8\xff", "image"), (b"GIF8", "image"), (b"II*\0", "image"), (b"MM\0*", "image"),
    (b"RIFF", "sound"),
)


def listed(names: Sequence[str], most: int = 12) -> str:
    """``a, b, c``: names in a message, the first ones of many and how many they are."""
    shown = ", ".join(map(str, names[:most]))
    return shown if len(names) <= most else f"{shown}, … ({len(names):,} in all)"


def count(number: int, what: str, many: str | None = None) -> str:
    """``1 row``, ``1,836 rows``: a number with its noun."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"
