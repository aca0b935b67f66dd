# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all.

In comes what a file shall hold, out comes the file under its name. The content goes to a temporary file in the same
directory first, is forced to the disk, and is then renamed over the old file, which POSIX and Windows both do in one
step: whoever reads sees the old content or the new, and a crash leaves the old one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes | str | Callable[[BinaryIO], object]) -> Path:
    """Write a file so that it is never seen half-written; its directory is made if it is missing.

    `content` is the bytes, a text (written as UTF-8), or a function that is given the open binary file and writes to
    it. Returns the path. If anything fails, the old file stays as it was, no temporary file is left behind, and the
    exception goes on its way.
    """
    target = Path(os.path.realpath(path))  # a link keeps pointing to the file: its target is replaced, not the link
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}.part")
    try:
        with open(temporary, "xb") as stream:
            _fill(stream, content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)
    return Path(path)


def _fill(stream: BinaryIO, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    if callable(content):
        content(stream)
    else:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)


def _sync_directory(directory: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets a directory be opened (Windows does not)."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot sync a directory; the file itself is safe
            os.fsync(handle)
    finally:
        os.close(handle)
