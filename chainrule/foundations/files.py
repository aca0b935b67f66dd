# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all, and read without harm, whatever lies under their names.

In comes what a file shall hold, out comes the file under its name. The content goes to a temporary file in the same
directory first, is forced to the disk, and is then renamed over the old file, which POSIX and Windows both do in one
step: whoever reads sees the old content or the new, and a crash leaves the old one.

Whatever is read comes through `open_regular`, which never waits for a pipe, and under `reading`, which turns whatever a
damaged content raises into a DataError that names the file.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import re
import secrets
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import ArgumentError, ChainruleError, DataError, MissingExtra, explain, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["alone", "open_regular", "parse_json", "read_regular", "reading", "write_atomically"]

# what content that is damaged, cut off or of another kind can raise in the readers of Python, NumPy, Pillow and others
DAMAGES = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, AssertionError, RecursionError,
           MemoryError, NotImplementedError, OSError, EOFError, RuntimeError, SyntaxError, struct.error, zlib.error,
           lzma.LZMAError, zipfile.BadZipFile, tokenize.TokenError)


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


@contextlib.contextmanager
def alone(path: str | os.PathLike[str], fix: str) -> Iterator[None]:
    """Hold a folder, or a file that may not be there yet, for one training at a time; ArgumentError with `fix` if
    another one holds it.

    An empty hidden file in the folder, or beside the file, is locked, as what is written by renaming is another file
    each time. The lock is the system's, so it goes with its holder, however that ends. Where there are no locks,
    nothing is held.
    """
    folder, place, held = os.path.isdir(path), Path(os.path.realpath(path)), None
    place = place / ".lock" if folder else place.with_name(f".{place.name[:200]}.lock")
    try:
        try:
            held = _lock(place)
        except BlockingIOError:
            what = f"another training is writing into this {'folder' if folder else 'file'}"
            raise ArgumentError(explain(what, got=str(path), fix=fix)) from None
        except OSError:  # no locks here; what else is wrong with the place is said by whoever writes
            pass
        yield
    finally:
        if held is not None:
            place.unlink(missing_ok=True)
            held.close()


def _opened(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _lock(place: Path) -> BinaryIO | None:
    """The file at `place`, locked; BlockingIOError if another one holds it, None where the system has no locks."""
    while fcntl is not None:
        file = open(place, "ab", opener=_opened)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):  # its holder has removed it meanwhile
                if os.path.samestat(os.fstat(file.fileno()), os.stat(place)):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()
    return None


# ---- reading


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading bytes; DataError if it is missing, not readable, a folder, a pipe or a device.

    It is opened without waiting and looked at afterwards, so a pipe that nobody writes to never holds the program up.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(explain("the path of a file is expected", got=shown(path), expected="a str or a Path"))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        kind = os.stat(path).st_mode  # a device may act when it is opened
        handle = os.open(path, flags) if stat.S_ISREG(kind) else None
        kind = kind if handle is None else os.fstat(handle).st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        said = "there is no such file" if missing else f"the file cannot be opened: {getattr(error, 'strerror', error)}"
        raise DataError(explain(f"{path}: {said}")) from None
    if handle is not None and stat.S_ISREG(kind):
        return os.fdopen(handle, "rb")
    if handle is not None:
        os.close(handle)
    raise DataError(explain(f"{path}: this is {_kind(kind)}", expected="a file"))


def _kind(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device: refused, as reading it may never end"


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The content of a file; DataError as in `open_regular`."""
    with open_regular(path) as file, reading(path):
        return file.read()


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str = "file",
            fix: str | None = "copy or save the file again") -> Iterator[None]:
    """What a damaged file makes its readers raise comes out as a DataError; errors of ours that do not name the file do
    so."""
    try:
        yield
    except ChainruleError as error:
        if isinstance(error, MissingExtra) or str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error
    except DAMAGES as error:
        raise DataError(explain(f"{path}: the {what} cannot be read, it is damaged or of another kind", got=told(error),
                                fix=fix)) from error


def told(error: BaseException, most: int = 200) -> str:
    """What an exception from below says, in one short line without addresses in memory."""
    text = re.sub(r" ?<_io[^>]*>| at 0x[0-9a-f]+", "", str(error))
    text = " ".join(text.split())
    text = text if isinstance(error, OSError | ValueError) and text else f"{type(error).__name__} {text}".strip()
    return text if len(text) <= most else text[:most - 1] + "…"


def parse_json(content: bytes | str, path: str | os.PathLike[str], what: str = "file") -> dict[str, Any]:
    """The object in a JSON text; DataError naming the file and the line if it is damaged, nested too deeply or no
    object."""
    with reading(path, what):
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(explain(f"{path}:{error.lineno}: the {what} is not JSON",
                                    got=f"{error.msg} at column {error.colno}",
                                    fix="copy or save the file again")) from None
    if not isinstance(found, dict):
        raise DataError(explain(f"{path}: the {what} holds no object", got=type(found).__name__, expected="{...}"))
    return found
