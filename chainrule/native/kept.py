# SPDX-License-Identifier: Apache-2.0
"""A module as loaded machine code, from the disk if it is there: the key is text that says what the module does."""

from __future__ import annotations

from collections.abc import Callable

from . import cache, engine
from .pieces import Pieces
from .target import Target


def library(text: str, write: Callable[[Pieces], object], target: Target) -> engine.Library:
    """The library of the module that `write` fills, which is done only where no code is kept for `text`."""
    key = cache.key(target, text)
    code = cache.read(key)
    if code is None:
        pieces = Pieces(target)
        write(pieces)
        code = pieces.finish()
        cache.write(key, code)
    return engine.Library(code)
