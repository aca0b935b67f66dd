# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C between two steps: the first one is noted and acts when the running step is done, so that nothing is
half-done."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interruption:
    """While entered, the first Ctrl-C is only noted. A second one stops at once, but not what is `held`; a third one
    does.

    Attributes:
        presses: how often Ctrl-C was pressed.
        held: whether something runs that must not stop half-way, such as a step or the writing of a checkpoint.
    """

    def __init__(self) -> None:
        self.presses, self.held = 0, False
        self._before: Any = None

    def __enter__(self) -> Interruption:
        self.presses, self.held = 0, False
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        before, self._before = self._before, None
        if before is not None and signal.getsignal(signal.SIGINT) == self._note:  # not one that was set meanwhile
            signal.signal(signal.SIGINT, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.presses += 1
        if self.presses > (2 if self.held else 1):
            raise KeyboardInterrupt

    def act(self) -> None:
        """Raise KeyboardInterrupt if one was asked for."""
        if self.presses:
            raise KeyboardInterrupt
