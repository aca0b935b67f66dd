# SPDX-License-Identifier: Apache-2.0
"""A module as loaded machine code, from the disk if it is there: the key is text that says what the module does."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from . import cache, engine
from .target import Target


def library(text: str, module: Callable[[], ir.Module], target: Target) -> engine.Library:
    """The library of `module()`, which is made only where no code is kept for `text`."""
    key = cache.key(target, text)
    code = cache.read(key)
    if code is None:
        code = engine.object_code(engine.optimised(str(module()), target), target)
        cache.write(key, code)
    return engine.Library(code)
