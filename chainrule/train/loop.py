# SPDX-License-Identifier: Apache-2.0
"""`Loop`: what every run does, whatever its step is: epochs of steps, told to callbacks, saved, interrupted and gone on
with.

`fit` (`training.py`) and `Trainer` say what a step is, what is noted of it and what a checkpoint holds besides;
everything else is here, once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..compiler.compile import Compiled
from ..errors import ArgumentError, BoundsError, explain
from ..foundations import tree as trees
from ..foundations.files import reading
from ..io.tensors import assign_arrays, check_arrays
from ..ir import Variable
from .callbacks import Callback, check_kinds, restore_states, saved_states, start_afresh, steps_apart
from .checkpoint import Claims, read_state, write_state
from .describe import check_same, settings_of
from .feeds import Feed
from .history import History
from .interrupt import Interruption
from .progress import reporter
from .step import explain_nonfinite
from .stretch import Stretch

PARTS = ("the inputs", "the targets", "the sample weights")  # of the arguments of a step, in errors


class Loop:
    """A run while it goes on. Below it: `_learn`, `_learnt`, `_numbers_of_epoch`, `_state`, `_restored` and what they
    need."""

    validation: Any = None
    call = "run"  # what began it, in what it says

    step: Compiled
    stretch: Stretch

    def _prepare(self, feed: Feed, *, epochs: int, checkpoint: str | Path | None, callbacks: Sequence[Callback],
                 progress: bool | str, max_time: float | None) -> None:
        """Begin a new run; nothing is done yet."""
        self.feed, self.epochs, self.checkpoint, self.callbacks = feed, int(epochs), checkpoint, list(callbacks)
        self.history, self.stop = History(), False
        self.reporter, self.deadline = reporter(progress), _deadline(max_time)
        self.seconds = 0.0  # of this epoch
        self.claims, self.interruption, self.between_steps = Claims(), Interruption(), True
        self._wanted: list[str | Path] = []
        self._stopped: dict[str, Any] | None = None  # by whom
        self._compiled: set[Any] = set()
        for callback in self.callbacks:
            start_afresh(callback)

    # ---- where the run is

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.feed.epoch

    @property
    def step_number(self) -> int:
        """Steps that are done, over all epochs."""
        return self.feed.done

    # ---- the loop

    def _run(self) -> History:
        with self.claims:
            for callback in self.callbacks:
                callback.begin(self)
            with self.reporter, self.interruption:
                try:
                    self._epochs()
                except KeyboardInterrupt:
                    self._interrupted()
            for callback in self.callbacks:
                callback.end(self)
        return self.history

    def _epochs(self) -> None:
        if self.checkpoint is not None and not self.stop:
            # so that there is always one to go on from, and a full disk is heard of before the work
            self.save(self.checkpoint)
        while self.epoch < self.epochs and self._goes_on():
            self.interruption.act()
            self._epoch()

    def _goes_on(self) -> bool:
        return not self.stop

    def _epoch(self) -> None:
        feed = self.feed
        self.reporter.start(self.epoch + 1, self.epochs, feed.steps, feed.step)
        started = time.perf_counter() - self.seconds
        feed.begin()
        self._begin_epoch()
        whole = feed.step == feed.steps
        while not whole and not self.stop:
            before = self.seconds
            steps = self._next()
            self.seconds = time.perf_counter() - started
            self.stretch.observe(steps, self.seconds - before)
            whole = not steps or feed.step == feed.steps
            self.stop = self.stop or (self.deadline is not None and time.perf_counter() >= self.deadline)
        self._finish(whole)

    def _begin_epoch(self) -> None:
        """What the model needs before an epoch begins or goes on."""

    def _next(self) -> int:
        """Learn from the next batches, in one call if that can be; how many, 0 where a stream has ended its epoch."""
        rows = self.feed.rows(self._room())
        steps = self._many(rows) if rows is not None and len(rows) > 1 else 0
        if not steps:
            try:
                batch = self._batch(None if rows is None else rows[0])
            except StopIteration:
                return 0
            self._learn(batch, None if rows is None else rows[0])
        self._done(steps or 1)
        return steps or 1

    def _room(self) -> int:
        """How many of the next steps may run in one call."""
        return int(min([self.stretch.length, *(steps_apart(callback, self) for callback in self.callbacks)]))

    def _batch(self, rows: np.ndarray | None) -> Any:
        """The next batch, of these rows if it has any; StopIteration at the end of an epoch."""
        return self.feed.next() if rows is None else self.feed.batch(rows)

    def _many(self, rows: np.ndarray) -> int:
        """Several steps in one call of machine code, as far as it comes; how many were done, 0 where it is not
        possible."""
        self.stretch.prepare(rows[0])
        self._hold()
        try:
            found = self.stretch(rows)
        except BoundsError as error:
            raise self.feed.located(error, rows[error.step]) from None
        if found is not None:
            self._learnt(rows[:found[0]], found[1])
        return 0 if found is None else found[0]

    def _run_step(self, arguments: tuple[Any, ...], rows: np.ndarray | None) -> Any:
        """What one step returns."""
        key = len(rows) if rows is not None else tuple((leaf.shape, leaf.dtype) for leaf in trees.flatten(arguments)[0])
        if key not in self._compiled:  # which may take long, so Ctrl-C may end it
            self.step.lower(*arguments)
            self._compiled.add(key)
        self._hold()
        try:
            return self.step.arrays(*arguments)
        except BoundsError as error:
            raise self.feed.located(error, rows) from None

    def _hold(self) -> None:
        """From here until the step is noted, what this run holds is neither the state before it nor the one after it.
        """
        self.between_steps, self.interruption.held = False, True

    def _done(self, steps: int) -> None:
        """Steps are noted: now the position says so, everybody hears of it, and an interruption finds nothing
        half-done."""
        self.feed.advance(steps)
        self.interruption.held = False
        self._tell("after_step", self)
        self.interruption.act()

    def _tell(self, method: str, *arguments: Any) -> None:
        """Call all callbacks; what they want to be saved holds the state of all of them after that."""
        for callback in self.callbacks:
            stopped = self.stop
            getattr(callback, method)(*arguments)
            if self.stop and not stopped and not getattr(callback, "pauses", False):
                self._stopped = who(callback)
        self.between_steps = True
        wanted, self._wanted = self._wanted, []
        for path in wanted:
            self.save(path)

    def _nonfinite(self, ahead: int, arguments: tuple[Any, ...], names: Sequence[str] = PARTS) -> NoReturn:
        """Say where the first NaN or infinity of a step comes from, which is so many steps ahead."""
        raise explain_nonfinite(self.step.lower(*arguments), trees.flatten(arguments)[0],
                                f"epoch {self.epoch + 1}, step {self.feed.step + ahead}", names)

    def _finish(self, whole: bool) -> None:
        """The end of an epoch, or of the run in the middle of one."""
        self.between_steps = False
        row = {"epoch": self.epoch + 1} | self._numbers_of_epoch(whole) | {"seconds": self.seconds}
        self._forget_epoch()
        self.seconds = 0.0
        if whole:
            self.feed.end_epoch()
        self.history.rows.append(row)
        self.reporter.finish(row)
        self._tell("after_epoch", self, row)
        if self.checkpoint is not None:
            self.save(self.checkpoint)

    def _interrupted(self) -> None:
        self.history.interrupted, self.interruption.held = True, True
        done = (f"interrupted in epoch {self.epoch + 1}, after step {self.feed.step}"
                + (f" of {self.feed.steps}" if self.feed.steps is not None else ""))
        go_on = f'{self.call}(..., resume="{self.checkpoint}")'
        if self.checkpoint is None:
            self.reporter.say(f'{done}; what was learnt is kept (give checkpoint="file" to be able to go on)')
        elif self.between_steps:
            self.save(self.checkpoint)
            self.reporter.say(f"{done}; saved. Go on with: {go_on}")
        else:
            self.reporter.say(f"{done}, with the next one half-done; the checkpoint is as it was. Go on from there "
                              f"with: {go_on}")

    # ---- what the runs differ in

    def _learn(self, batch: Any, rows: np.ndarray | None) -> None:
        """Run one step and note what it gave."""
        raise NotImplementedError

    def _learnt(self, rows: np.ndarray, results: Any) -> None:
        """Note what several steps gave, int64 (steps, rows) of the data; only the last may not be finite."""
        raise NotImplementedError

    def _numbers_of_epoch(self, whole: bool) -> dict[str, Any]:
        """The row of the epoch, without its number and its time."""
        raise NotImplementedError

    def _forget_epoch(self) -> None:
        """Begin the sums anew."""
        raise NotImplementedError

    def _parts(self) -> dict[str, dict[str, Variable]]:
        """Name in the checkpoint → the Variables that are kept there."""
        raise NotImplementedError

    def _made_of(self) -> dict[str, str]:
        """What has to be the same when a run goes on."""
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        """All that a checkpoint holds."""
        raise NotImplementedError

    def _place(self, path: str | Path, state: dict[str, Any]) -> dict[str, Any]:
        """The state of the feed; ArgumentError for a checkpoint of another kind of run."""
        raise NotImplementedError

    def _restored(self, state: dict[str, Any]) -> dict[str, Any]:
        """Take over what is neither Variables nor position; where the history and the states of the callbacks are."""
        raise NotImplementedError

    # ---- saving and restoring

    def save(self, path: str | Path) -> None:
        """Write the whole run to a file; if callbacks are just being told of a step or an epoch, when all have been."""
        if not self.between_steps:
            self._later(path)
            return
        self.claims.claim(path)
        write_state(path, self._state())

    def _later(self, path: str | Path) -> None:
        if self.history.interrupted:
            raise ArgumentError(explain("this run was stopped in the middle of a step, of which no checkpoint can be "
                                        "made", got=str(path),
                                        fix="go on from the last one that was written before"))
        self._wanted.append(path)

    def _told(self) -> dict[str, Any]:
        """What was said of the run so far."""
        rows = [{k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
                for row in self.history.rows]
        return {"history": rows, "callbacks": saved_states(self.callbacks)}

    def restore(self, path: str | Path) -> None:
        """Go on from a file that `save` wrote, in a run made in the same way; ArgumentError or DataError before
        anything changes."""
        with reading(path, "checkpoint", "use an earlier checkpoint"):
            state = read_state(path)
            place, parts = self._place(path, state), self._parts()
            check_same(self._made_of(), state["made with"])
            check_kinds(self.callbacks, state["callbacks"])
            for name, part in parts.items():
                check_arrays(part, state[name], name)
            self.feed.restore(place)
            for name, part in parts.items():
                assign_arrays(part, state[name], name)
            self.seconds = state["seconds"]
            told = self._restored(state)
            self.history.rows = [{k: float("nan") if v is None else v for k, v in row.items()}
                                 for row in told["history"]]
            restore_states(self.callbacks, told["callbacks"])


def who(callback: Any) -> dict[str, Any]:
    """What tells a callback from another one: its kind and its settings."""
    return {"kind": type(callback).__name__, "settings": settings_of(callback)}


def _deadline(max_time: Any) -> float | None:
    """When the run ends, by the clock of `time.perf_counter`."""
    if max_time is None:
        return None
    if isinstance(max_time, bool) or not isinstance(max_time, int | float) or not max_time > 0:
        raise ArgumentError(explain("max_time is a number of seconds", got=repr(max_time), expected="above 0"))
    return time.perf_counter() + float(max_time)

