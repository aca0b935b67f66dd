# SPDX-License-Identifier: Apache-2.0
"""Forked processes: cached properties of Python 3.11 hold a lock while they compute, which a child of another thread
would find closed for ever."""

from __future__ import annotations

import sys
import threading
from functools import cached_property


def renew_locks() -> None:
    """New locks for the cached properties of all classes of the library, in a child, which has one thread; later
    Pythons need none."""
    if sys.version_info >= (3, 12):
        return
    modules = [x for name, x in list(sys.modules.items()) if name.startswith(f"{__name__.partition('.')[0]}.")]
    classes = {id(x): x for module in modules for x in vars(module).values() if isinstance(x, type)}
    for kind in classes.values():
        for x in vars(kind).values():
            if isinstance(x, cached_property):
                x.lock = threading.RLock()  # type: ignore[attr-defined]

