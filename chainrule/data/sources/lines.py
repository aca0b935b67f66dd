# SPDX-License-Identifier: Apache-2.0
"""Text files by line: an index of offsets is made once, a line is read when it is asked for."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

from ...foundations.files import open_regular, reading
from ..files import GZIP_MAGIC, existing, fault
from .base import Source

CHUNK = 1 << 24


class TextLines(Source):
    """The lines of one or several text files, without their ends; the last one counts whether or not its end is
    written.

    Args:
        paths: one path, or a list of them, whose lines follow each other.
        encoding: of the text, such as "utf-8" or "latin-1".

    Only the places of the lines are kept in memory, 8 bytes for each. Raises DataError that names the file and the
    line.

    >>> from pathlib import Path
    >>> size = Path("poem.txt").write_text("one\\ntwo\\n")
    >>> source = cr.data.TextLines("poem.txt")
    >>> source[1]
    'two'
    """

    def __init__(self, paths: Any, encoding: str = "utf-8"):
        listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        self.paths = [str(existing(path)) for path in listed]
        self.encoding = encoding
        indexed = [_starts(path) for path in self.paths]
        self.starts = [starts for starts, _ in indexed]
        self._states = [state for _, state in indexed]
        self.ends = np.cumsum([len(starts) - 1 for starts in self.starts])
        if not len(self):
            raise fault(f"{', '.join(self.paths)}: no lines", got="an empty file")

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def _place(self, index: int) -> tuple[int, int]:
        file = int(np.searchsorted(self.ends, index, side="right"))
        return file, index - (int(self.ends[file - 1]) if file else 0)

    def sample(self, index: int) -> str:
        file, line = self._place(index)
        begin, end = (int(x) for x in self.starts[file][line:line + 2])
        with open_regular(self.paths[file]) as stream:
            if os.fstat(stream.fileno()).st_size != self._states[file][0]:
                raise fault(f"{self.paths[file]}: the file has changed since it was opened",
                            got=f"{os.fstat(stream.fileno()).st_size:,} bytes", expected=f"{self._states[file][0]:,}",
                            fix="make the source again")
            stream.seek(begin)
            content = stream.read(end - begin)
        with reading(f"{self.paths[file]}:{line + 1}", "line",
                     fix='say the encoding: TextLines(..., encoding="latin-1")'):
            return content.rstrip(b"\n").rstrip(b"\r").decode(self.encoding)

    def where(self, index: int) -> str:
        file, line = self._place(index)
        return f"{self.paths[file]}:{line + 1}"

    def key(self) -> str:
        return hashlib.sha256(repr(([os.path.realpath(path) for path in self.paths], self.encoding,
                                    self._states)).encode()).hexdigest()


def _starts(path: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Where each line begins, and the end of the file; and the size and time of the file."""
    found, size, last = [np.zeros(1, np.int64)], 0, b"\n"
    with open_regular(path) as stream, reading(path):
        state = os.fstat(stream.fileno())
        while chunk := stream.read(CHUNK):
            if size == 0 and chunk.startswith(GZIP_MAGIC):
                raise fault(f"{path}: a packed file has no lines that can be found by their place",
                            fix=f"unpack it first: gunzip {path}")
            found.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10) + (size + 1))
            size, last = size + len(chunk), chunk[-1:]
    if last != b"\n":
        found.append(np.array([size], np.int64))
    return np.concatenate(found), (state.st_size, state.st_mtime_ns)
