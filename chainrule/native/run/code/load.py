# SPDX-License-Identifier: Apache-2.0
"""A module as loaded machine code, from the disk if it is there: the key is the record of all that the module is made
of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....errors import OutOfMemoryError, explain
from ....ir.memory import FIX
from ...target import Target
from . import cache, engine
from .pieces import Pieces
from .record import decode, encode

# bytes of addresses that LLVM and the threads which compile may want; LLVM ends the process where it gets none
ROOM = 160 << 20


def library(content: Any, write: Callable[[Any, Pieces], object], target: Target) -> engine.Library:
    """The library of the module that `write` fills from `content`, which is done only where no code is kept for its
    record.

    `write` gets what the record says, so that code depends on nothing else; it must not know the content from
    elsewhere.
    """
    _need_room()
    record = encode((target, content))
    key = cache.key(record)
    code = cache.read(key)
    if code is None:
        code = _generated(record, write)
        cache.write(key, code)
    return engine.Library(code)


def _need_room() -> None:
    try:
        np.empty(ROOM, np.uint8)
    except MemoryError:
        raise OutOfMemoryError(explain("there is not enough memory to compile",
                                       expected=f"{ROOM:,} bytes for the compiler", fix=FIX)) from None


def _generated(record: bytes, write: Callable[[Any, Pieces], object]) -> list[bytes]:
    target, content = decode(record)
    pieces = Pieces(target)
    write(content, pieces)
    return pieces.finish()
