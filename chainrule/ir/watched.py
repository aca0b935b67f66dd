# SPDX-License-Identifier: Apache-2.0
"""`Watched`: an object whose attributes compiled functions may have read. Who changes one moves a counter, and compiled
functions look at it in each call: as long as it stands still, nothing that they watch has changed."""

from __future__ import annotations

import itertools
from typing import Any

_numbers = itertools.count(1)
_changes = 0


def changes() -> int:
    """Another number whenever an attribute of a watched object has changed."""
    return _changes


def changed() -> None:
    """Tell compiled functions that something they may have read has changed."""
    global _changes
    _changes = next(_numbers)


class Watched:
    """Base of layers, losses and optimisers: an attribute that gets another value is noticed by compiled functions."""

    def __setattr__(self, name: str, value: Any) -> None:
        held = self.__dict__
        if name in held and held[name] is not value:
            changed()
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        changed()
        object.__delattr__(self, name)
