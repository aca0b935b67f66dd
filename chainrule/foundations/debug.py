# SPDX-License-Identifier: Apache-2.0
"""One dial to look inside: CHAINRULE_DEBUG from 0 to 7, each step one stage deeper, on standard error.

    1 what is compiled, and how long it takes    2 the time of each run       3 the size after each pass
    4 the graph as traced                        5 the graph after each pass  6 kernels and memory plan
    7 LLVM and assembly
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from . import config


def say(level: int, text: Callable[[], str]) -> None:
    """Print `text()` if the dial stands at `level` or above."""
    if config.debug() >= level:
        print(text(), file=sys.stderr, flush=True)
