# SPDX-License-Identifier: Apache-2.0
"""Folders and files that only this user (or the system's own) can have changed, opened and looked at by one descriptor.

From the root on each folder is opened within the one before, without following links, and its owner and mode are read
from the descriptor itself, so what was checked is what is used, whoever renames something in between. Where others may
write to a folder, they must not be able to rename what is in it: it has the sticky bit, as /tmp has. Links directly
below the root are the system's own (macOS has /tmp as one).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

HAS_OWNERS = hasattr(os, "getuid") and os.open in os.supports_dir_fd
FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
PASSAGE = os.O_PATH | FOLDER if hasattr(os, "O_PATH") else FOLDER  # a folder that may be passed, but not listed
FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC",
                                              0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Refused(OSError):
    """A folder or file that others could have changed; the text says which and why."""


class Folder:
    """A private folder; it and missing ones above it are made. It is open until the end of the `with` block that it is
    used in."""

    def __init__(self, path: Path):
        self.path = Path(os.path.abspath(path))
        self.descriptor: int | None = None
        if HAS_OWNERS:
            self.descriptor = _descend(self.path)
        else:
            self.path.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)

    def _place(self, name: str) -> str:
        return name if self.descriptor is not None else str(self.path / name)

    def read(self, name: str) -> bytes:
        """The content of a regular file that belongs to this user and that nobody else can write."""
        with open(os.open(self._place(name), os.O_RDONLY | FILE, dir_fd=self.descriptor), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise Refused(f"{self.path / name} is no file")
            if HAS_OWNERS:
                _check(state, self.path / name, is_own=True)
            return file.read()

    def write(self, name: str, content: bytes, temporary: str) -> None:
        """Write a file: under a temporary name first, then one rename."""
        descriptor = os.open(self._place(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE, 0o600,
                             dir_fd=self.descriptor)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            os.replace(self._place(temporary), self._place(name), src_dir_fd=self.descriptor,
                       dst_dir_fd=self.descriptor)
        except BaseException:
            self.remove(temporary)
            raise

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._place(name), dir_fd=self.descriptor)

    def touch(self, name: str) -> None:
        """Say that a file was used now."""
        os.utime(self._place(name), dir_fd=self.descriptor, follow_symlinks=self.descriptor is None)

    def entries(self) -> dict[str, os.stat_result]:
        """The files in it."""
        found = {}
        for name in os.listdir(self.path if self.descriptor is None else self.descriptor):
            try:
                state = os.stat(self._place(name), dir_fd=self.descriptor, follow_symlinks=self.descriptor is None)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(state.st_mode):
                found[name] = state
        return found


def _descend(path: Path) -> int:
    """A descriptor of the folder; Refused if others could have put it, or one above it, there."""
    root, *names = path.parts
    if names:
        names = [*Path(os.path.realpath(root + names[0])).parts[1:], *names[1:]]
    here, descriptor = Path(root), os.open(root, FOLDER)
    try:
        for number, name in enumerate(names, 1):
            _check(os.fstat(descriptor), here)
            here, above = here / name, descriptor
            descriptor = _below(above, name, here, FOLDER if number == len(names) else PASSAGE)
            os.close(above)
        _check(os.fstat(descriptor), here, is_own=True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _below(descriptor: int, name: str, path: Path, flags: int) -> int:
    """A folder in an open one, made if it is missing."""
    try:
        return os.open(name, flags, dir_fd=descriptor)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=descriptor)
        return os.open(name, flags, dir_fd=descriptor)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Refused(f"{path} is a link, or no folder") from error
        raise


def _check(state: os.stat_result, path: Path, is_own: bool = False) -> None:
    """Refuse what others own or may change; in a folder with the sticky bit others can only add."""
    if state.st_uid not in ((os.getuid(),) if is_own else (os.getuid(), 0)):
        raise Refused(f"{path} belongs to another user")
    if state.st_mode & OTHERS and (is_own or not state.st_mode & stat.S_ISVTX):
        raise Refused(f"others may write to {path}")
