# SPDX-License-Identifier: Apache-2.0
"""Machine code kept on disk between processes, in a directory that only its owner can write.

A file is a line with the checksum of its name and the rest, a line with the lengths of the object files, then these. A
file that is damaged, foreign or writable by others is not loaded but made again; where nothing can be kept, that is
said once and compilation happens each time. Beyond `CHAINRULE_CACHE_SIZE` the entries that were not used for the
longest time are removed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import llvmlite.binding
import numpy as np

from ....errors import explain
from ....foundations import config
from ....version import __version__
from .private import HAS_OWNERS, Folder

HEADER = 65  # 64 hexadecimal digits and a newline
PART = ".part"
FORGOTTEN = 3600.0  # seconds after which an unfinished file is nobody's
TIDY_EVERY = 50  # entries that a process writes
_number, _writes = itertools.count(), itertools.count()
_used: set[str] = set()  # entries that this process has read or written
_said: set[str] = set()  # folders that could not be used


def key(record: bytes) -> str:
    """The name of the entry for the record of a program."""
    return hashlib.sha256(_generators() + record).hexdigest()


HERE = Path(__file__).parents[2]  # native/
# outside this folder, by the files that write code
READ = ("errors.py", "foundations/__init__.py", "foundations/config.py", "foundations/fork.py", "ir", "ops/index.py",
        "ops/philox.py", "ops/require.py")


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
    """The files from which the code that is written for a record follows; FileNotFoundError for one that has gone
    elsewhere, since it would not be looked at."""
    outside = [HERE.parent / name for name in READ]
    if gone := [str(path) for path in outside if not path.exists()]:
        raise FileNotFoundError(f"the cache of compiled code is keyed by files that are not there: {', '.join(gone)}")
    folders = [HERE, *(x for x in outside if x.is_dir())]
    return sorted({*(x for x in outside if x.is_file()), *(x for folder in folders for x in folder.rglob("*.py"))})


def read(name: str) -> list[bytes] | None:
    """The object files kept under a name, if they are whole."""
    with _folder() as folder:
        if folder is None:
            return None
        try:
            content = folder.read(name)
            _use(folder, name)
        except OSError:
            return None
    return _unpacked(name, content)


def _use(folder: Folder, name: str) -> None:
    """Note that an entry is in use; what was not for the longest time goes first."""
    if name not in _used:
        _used.add(name)
        with contextlib.suppress(OSError):
            folder.touch(name)


def _packed(name: str, code: Sequence[bytes]) -> bytes:
    content = b" ".join(b"%d" % len(part) for part in code) + b"\n" + b"".join(code)
    return _header(name, content) + content


def _unpacked(name: str, content: bytes) -> list[bytes] | None:
    rest = content[HEADER:]
    if content[:HEADER] != _header(name, rest):
        return None
    lengths, rest = rest.split(b"\n", 1)
    ends = list(itertools.accumulate(map(int, lengths.split())))
    return [rest[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _header(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + content).hexdigest().encode() + b"\n"


def write(name: str, code: Sequence[bytes]) -> None:
    """Keep object files under a name; now and then what is too much goes."""
    with _folder() as folder, contextlib.suppress(OSError):
        if folder is None:
            return
        folder.write(name, _packed(name, code), f"{name}.{os.getpid()}.{next(_number)}{PART}")
        _used.add(name)
        if next(_writes) % TIDY_EVERY == 0:
            tidy(folder, config.cache_size())


def tidy(folder: Folder, size: int) -> None:
    """Remove what killed processes have left, and entries, those first that were not used for the longest time, beyond
    `size` bytes."""
    entries = folder.entries()
    for name in [x for x, state in entries.items() if _is_left(x, state)]:
        del entries[name]
        _try_to_remove(folder, name)
    total = sum(x.st_size for x in entries.values())
    for name, state in sorted(entries.items(), key=lambda item: item[1].st_mtime):
        if total <= size:
            break
        total -= state.st_size
        _try_to_remove(folder, name)


def _is_left(name: str, state: os.stat_result) -> bool:
    """Whether a file is one that its process did not finish."""
    if name.startswith("tmp") or (name.endswith(PART) and time.time() - state.st_mtime > FORGOTTEN):
        return True
    process = name.split(".")[1] if name.endswith(PART) and name.count(".") > 1 else ""
    if not process.isdigit() or not HAS_OWNERS:
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _try_to_remove(folder: Folder, name: str) -> None:
    with contextlib.suppress(OSError):
        folder.remove(name)


# ---- the folder

def _folder() -> contextlib.AbstractContextManager[Folder | None]:
    """The open folder; None, which is said once, where there is none that only this user can write."""
    base = config.cache_directory()
    if base is not None:
        try:
            return Folder(base / "native")
        except (OSError, ValueError) as error:  # ValueError: not a path at all
            _say(str(base), error)
    elif not config.is_cache_off():
        _say("", "there is no home directory")
    return contextlib.nullcontext()


def _say(base: str, why: object) -> None:
    if base not in _said:
        _said.add(base)
        logging.getLogger("chainrule").warning("%s", explain(
            "compiled code is not kept", got=str(why),
            expected="a folder that only you can write, below folders of which that is true too",
            fix="set CHAINRULE_CACHE to another folder, or to off"))
