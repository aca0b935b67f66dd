# SPDX-License-Identifier: Apache-2.0
"""Machine code kept on disk between processes, in a directory that only its owner can write.

A file is a line with the checksum of the rest, a line with the lengths of the object files, then these. A file that is damaged, foreign or writable by
others is not loaded but made again; where nothing can be kept, compilation simply happens each time.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

import llvmlite

from .. import config
from ..version import __version__
from .target import Target

HEADER = 65  # 64 hexadecimal digits and a newline


def key(target: Target, text: str) -> str:
    """The name of the entry for a program text on a processor."""
    parts = (target.triple, target.processor, target.features, llvmlite.__version__, __version__, _own_code(), text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


_code: str | None = None


def _own_code() -> str:
    """A checksum of the generators themselves: a changed generator makes other code from the same text."""
    global _code
    if _code is None:
        total = hashlib.sha256()
        for path in sorted(Path(__file__).parent.glob("*.py")):
            total.update(path.read_bytes())
        _code = total.hexdigest()
    return _code


def directory() -> Path | None:
    """The directory, made if it is missing; None if there is none that only this user can write."""
    base = config.cache_directory()
    if base is None:
        return None
    path = base / "native"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path if _is_private(path) else None
    except OSError:
        return None


def _is_private(path: Path) -> bool:
    state = path.stat()
    if not hasattr(os, "getuid"):
        return True
    return state.st_uid == os.getuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read(name: str) -> list[bytes] | None:
    """The object files kept under a name, if they are whole."""
    path = directory()
    if path is None:
        return None
    try:
        if not _is_private(path / name):
            return None
        content = (path / name).read_bytes()
    except OSError:
        return None
    rest = content[HEADER:]
    return _unpacked(rest) if content[:HEADER] == _header(rest) else None


def _packed(code: Sequence[bytes]) -> bytes:
    return b" ".join(b"%d" % len(part) for part in code) + b"\n" + b"".join(code)


def _unpacked(content: bytes) -> list[bytes]:
    lengths, rest = content.split(b"\n", 1)
    ends = list(itertools.accumulate(map(int, lengths.split())))
    return [rest[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _header(code: bytes) -> bytes:
    return hashlib.sha256(code).hexdigest().encode() + b"\n"


def write(name: str, code: Sequence[bytes]) -> None:
    """Keep object files under a name: a temporary file first, then one rename."""
    path = directory()
    if path is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=path)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            content = _packed(code)
            file.write(_header(content) + content)
        os.replace(temporary, path / name)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
