# SPDX-License-Identifier: Apache-2.0
"""Machine code kept on disk between processes, in a directory that only its owner can write.

A file is a line with the checksum of the rest, a line with the lengths of the object files, then these. A file that is damaged, foreign or writable by
others is not loaded but made again; where nothing can be kept, compilation simply happens each time.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import llvmlite.binding
import numpy as np

from .. import config
from ..version import __version__

HEADER = 65  # 64 hexadecimal digits and a newline


def key(record: bytes) -> str:
    """The name of the entry for the record of a program."""
    return hashlib.sha256(_generators() + record).hexdigest()


HERE = Path(__file__).parent
READ = ("config.py", "errors.py", "ir", "ops/philox.py")  # outside this folder, by the files that write code


@functools.cache
def _generators() -> bytes:
    """A checksum of the generators and of what they stand on: another one makes other code from the same record."""
    names = sys.version, llvmlite.__version__, str(llvmlite.binding.llvm_version_info), np.__version__, __version__
    total = hashlib.sha256(repr(names).encode())
    for path in own_code():
        content = path.read_bytes()
        total.update(f"{path.relative_to(HERE.parent)} {len(content)}\n".encode() + content)
    return total.digest()


def own_code() -> list[Path]:
    """The files from which the code that is written for a record follows."""
    outside = [HERE.parent / name for name in READ]
    folders = [HERE, *(x for x in outside if x.is_dir())]
    return sorted({*(x for x in outside if x.is_file()), *(x for folder in folders for x in folder.rglob("*.py"))})


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
