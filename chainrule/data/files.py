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
from pathlib import Path

from ..errors import DataError, explain

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
CHUNK = 1 << 20


def fault(problem: str, *, got: str | None = None, expected: str | None = None, fix: str | None = None) -> DataError:
    """A DataError in the common form, ready to be raised."""
    return DataError(explain(problem, got=got, expected=expected, fix=fix))


def existing(path: str | os.PathLike) -> Path:
    """The path as a Path; a DataError that suggests similar names if nothing is there."""
    path = Path(path)
    if path.exists():
        return path
    folder = path.parent
    if not folder.is_dir():
        raise fault(f"{path}: there is no such file, and no folder {folder}")
    close = close_names(path.name, os.listdir(folder))
    fix = f"did you mean {' or '.join(str(folder / name) for name in close)}?" if close else None
    raise fault(f"{path}: there is no such file", fix=fix)


def close_names(name: str, names: list[str]) -> list[str]:
    """Up to three of `names` that look like `name`, best first; case does not count."""
    lowered = {other.lower(): other for other in names}
    return [lowered[found] for found in difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.6)]


def is_gzip(path: Path) -> bool:
    """Whether the file starts with the gzip magic."""
    with open(path, "rb") as file:
        return file.read(2) == GZIP_MAGIC


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The content, unzipped if it is gzip, at most `limit` bytes; a damaged gzip file raises with the byte offset."""
    pieces: list[bytes] = []
    size = 0
    with (gzip.open if is_gzip(path) else open)(path, "rb") as file:
        while limit is None or size < limit:
            try:
                piece = file.read(CHUNK if limit is None else min(CHUNK, limit - size))
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise fault(f"{path}: the gzip data is damaged or cut off after {size:,} unpacked bytes",
                            got=str(error), fix="copy or download the file again") from error
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)


def first_bytes(path: Path, count: int = 512) -> bytes:
    """The first bytes after unpacking; what can be read of a damaged gzip file, so that the real reader tells more."""
    with (gzip.open if is_gzip(path) else open)(path, "rb") as file:
        try:
            return file.read(count)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return b""


def sniff(path: Path) -> str:
    """The kind of a file: ``npz``, ``npy``, ``tar``, ``idx``, ``parquet``, ``image``, or ``table`` for anything else."""
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
    (b"\x89PNG", "image"), (b"\xff\xd8\xff", "image"), (b"GIF8", "image"),
)


def count(number: int, what: str, many: str | None = None) -> str:
    """``1 row``, ``1,836 rows``: a number with its noun."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"
