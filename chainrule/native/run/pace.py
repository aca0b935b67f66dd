# SPDX-License-Identifier: Apache-2.0
"""How many threads a program runs on: all of them, or, while something else keeps a core busy, one.

Threads that wait for each other at barriers lose far more than their share when one of them is not scheduled. The bits
do not depend on the number of threads, so the faster way may be found by measuring: a window of calls alone is tried
when the last window together was not clearly better than calls alone are known to be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

CALLS, SECONDS = 16, 0.02  # a window ends after so many calls or so much time
CLEAR = 0.75  # together is clearly better below this share of the time alone
LONGEST = 64  # windows between two trials, when trials keep failing
AFFORDED = 0.05  # share of the time that trials which fail may cost


class Pace:
    """Chooses for each call, of one step or more, between `together` and `alone`, which compute the same bits."""

    def __init__(self, together: Callable[[], None], alone: Callable[[], None],
                 clock: Callable[[], float] = time.perf_counter):
        self.together, self.alone, self.clock = together, alone, clock
        self.run_together, self.on_trial = True, False
        self.calls, self.steps, self.seconds = 0, 0, 0.0
        self.times = {True: 0.0, False: 0.0}  # seconds a step took in the last window together, alone; 0 is unknown
        self.windows = {True: 0.0, False: 0.0}  # seconds that the last window together, alone lasted
        self.wait, self.patience = 0, 1  # windows until the other way is tried; how many to wait when a trial fails

    def __call__(self, steps: int = 1) -> None:
        start = self.clock()
        (self.together if self.run_together else self.alone)()
        self.seconds += self.clock() - start
        self.calls, self.steps = self.calls + 1, self.steps + steps
        if self.calls >= CALLS or self.seconds >= SECONDS:
            self.times[self.run_together], self.windows[self.run_together] = self.seconds / self.steps, self.seconds
            self._decide()
            self.calls, self.steps, self.seconds = 0, 0, 0.0

    def _decide(self) -> None:
        """The way of the next window."""
        if self.on_trial:
            self._judge()
        elif self.run_together and self.times[True] < CLEAR * self.times[False]:
            self.wait, self.patience = 0, 1
        elif self.wait > 0:
            self.wait -= 1
        else:
            self.run_together, self.on_trial = not self.run_together, True

    def _judge(self) -> None:
        """Stay with what was tried if it was faster, else go back and wait longer before the next trial."""
        tried, other = self.times[self.run_together], self.times[not self.run_together]
        won = tried < other
        self.run_together, self.on_trial = self.run_together == won, False
        self.patience = 1 if won else min(2 * self.patience, LONGEST)
        self.wait = self.patience
        if not won:
            lost = (tried - other) / tried * self.seconds
            self.wait = max(self.patience, math.ceil(lost / (AFFORDED * self.windows[self.run_together])))
