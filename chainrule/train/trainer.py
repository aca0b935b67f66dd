# SPDX-License-Identifier: Apache-2.0
"""`Trainer`: any training step, written as a plain function, in the machinery of `fit`.

The step is traced and compiled whole. What it changes is found in its trace, so that a checkpoint holds all of it, and a Variable
that belongs to none of the named objects is an error. A step whose numbers or gradients are not finite changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from .. import random
from ..compiler.compile import Entry, compile
from ..errors import ArgumentError, BoundsError, ShapeError, explain, shown
from ..foundations import tree as trees
from ..foundations.files import reading
from ..io.tensors import assign_arrays, check_arrays, variable_arrays
from ..ir import Tensor, Variable, as_tensor
from ..nn import Module
from ..ops.compose import isfinite
from ..ops.elementwise import astype
from ..optim.base import Optimizer, seen_gradients
from ..typing import DataLike
from . import checks
from .callbacks import Callback, check_kinds, restore_states, saved_states, start_afresh, steps_apart
from .checkpoint import Claims, read_state, write_state
from .describe import check_same
from .feeds import Arrays, Feed, Nothing, feed_of
from .history import History
from .interrupt import Interruption
from .progress import reporter
from .states import generators
from .step import commit_if, explain_nonfinite, summed
from .stretch import GROWTH, SECONDS

MOST_COPIED = 2**20  # bytes of a bare Variable, such as a replay buffer, that a failed step leaves as it was: that costs a copy in each step


class Trainer:
    """Trains anything with a step of one's own: several models and optimisers, alternating updates, penalties, averages of weights.

    Args:
        step: step(batch) -> a dict of numbers (or one number, the loss), or step() where `run` gets no data. It computes gradients with
            `cr.gradients` and calls `optimizer.update(model, gradients)`, and may assign Variables.
        objects: name -> model, optimiser, Variable, random generator or a structure of these: all that the step changes.
        backend, precision: as of `cr.compile`.

    The numbers of an epoch's row are means over its steps, weighted by their samples. Raises NonFiniteError, naming layer, operation
    and line, where a number or a gradient is NaN or infinite (nothing has changed then), and ArgumentError where the step changes a
    Variable that none of the objects has.

    >>> import numpy as np, chainrule as cr
    >>> model, optimizer = cr.nn.Dense(1), cr.optim.Adam(0.1)
    >>> def step(batch):
    ...     x, y = batch
    ...     loss = cr.mean((model(x) - y) ** 2)
    ...     optimizer.update(model, cr.gradients(loss, model))
    ...     return {"loss": loss}
    >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    >>> trainer = cr.train.Trainer(step, {"model": model, "optimizer": optimizer})
    >>> history = trainer.run((x, 2 * x), epochs=60, progress=False)
    >>> bool(history["loss"][-1] < 1e-3)
    True
    """

    validation = None

    def __init__(self, step: Callable[..., Any], objects: Mapping[str, Any], *, backend: str | None = None, precision: str = "float32"):
        if not callable(step):
            raise ArgumentError(explain("the step is no function", got=shown(step), expected="step(batch) -> dict of numbers"))
        if not isinstance(objects, Mapping) or not objects:
            raise ArgumentError(explain("the objects that a step changes are named in a dict", got=shown(objects), expected='{"model": model, "optimizer": optimizer}'))
        self.objects = dict(objects)
        for name, thing in self.objects.items():
            _variables(thing, name)
        self._function, self._program = step, compile(self._traced, backend=backend, precision=precision)
        self._names: list[str] = []
        self.history, self.stop, self.epochs, self.feed = History(), False, 0, Feed()
        self.claims, self.interruption, self.reporter = Claims(), Interruption(), reporter(False)

    # ---- what callbacks see

    @property
    def model(self) -> Any:
        """The only model among the objects, or all objects together: both have `variables()`."""
        modules = [thing for thing in self.objects.values() if isinstance(thing, Module)]
        return modules[0] if len(modules) == 1 else self

    @property
    def optimizer(self) -> Any:
        """The first optimiser among the objects."""
        return next((thing for thing in self.objects.values() if isinstance(thing, Optimizer)), None)

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.feed.epoch

    @property
    def step_number(self) -> int:
        """Steps that are done, over all epochs."""
        return self._steps_done

    def variables(self) -> dict[str, Variable]:
        """Name → Variable of all objects."""
        return {f"{name}.{key}" if key else name: v for name, thing in self.objects.items() for key, v in _variables(thing, name).items()}

    # ---- a run

    def run(self, data: DataLike | None = None, *, epochs: int = 1, batch_size: int = 32, steps_per_epoch: int | None = None, shuffle: bool = True,
            drop_last: bool = False, seed: int = 0, checkpoint: str | Path | None = None, resume: str | Path | None = None,
            callbacks: Sequence[Callback] = (), progress: bool | str = True, max_time: float | None = None) -> History:
        """Train for `epochs`; returns the History.

        Args:
            data: nested arrays (dicts and tuples, one axis of samples), from which batches of `batch_size` are taken in an order that is a
                function of (seed, epoch); a `cr.data.Loader` or another iterable of batches; None for a step that makes its own.
            steps_per_epoch: needed without data and for streams without end; of arrays, only so many batches of each epoch.
            seed: of the order, of weights that are not built yet and of random numbers.
            checkpoint: file that holds the whole run before the first step, after each epoch and when it is interrupted.
            resume: a checkpoint to go on from, also from the middle of an epoch; ends with the same bits as a run that was not interrupted.
            callbacks: as of `fit`; `run.model` is the only model, or all objects.
            max_time: seconds after which the run ends (with the current call), as if stopped by a callback.
        """
        checks.check_epochs(epochs)
        self.epochs, self.checkpoint, self.callbacks = int(epochs), checkpoint, checks.callbacks(callbacks)
        self.feed = feed_of(data, batch_size, shuffle, seed, drop_last, steps_per_epoch)
        self.history, self.stop, self.reporter, self._wanted = History(), False, reporter(progress), []
        self.claims, self.interruption, self.between_steps = Claims(), Interruption(), True
        self._sums, self._weight, self._seconds, self._steps_done = np.zeros(0), 0.0, 0.0, 0
        self._length, self._repeated, self._tried = 1, None, False
        self._deadline = None if max_time is None else time.perf_counter() + float(max_time)
        for callback in self.callbacks:
            start_afresh(callback)
        self._start(seed)
        if resume is not None:
            with reading(resume, "checkpoint", "use an earlier checkpoint"):
                self.restore(resume)
        return self._run()

    def _start(self, seed: int) -> None:
        """Build what is not there yet, and seed what draws: a run depends on nothing that was drawn before."""
        random.seed(seed)
        drawn = [generator for thing in self.objects.values() if isinstance(thing, Module) for generator in generators(thing)]
        self.feed.begin()
        self._first(self._compiled(self.feed.next()))
        self._sums = np.zeros(len(self._names))
        for generator in drawn:
            generator.seed(int(random.randint(2**62).item()))

    def _run(self) -> History:
        with self.claims:
            for callback in self.callbacks:
                callback.begin(self)
            with self.reporter, self.interruption:
                try:
                    if self.checkpoint is not None and not self.stop:
                        self.save(self.checkpoint)  # so that a full disk is heard of before the work
                    while self.epoch < self.epochs and not self.stop:
                        self._epoch()
                    if self.checkpoint is not None and self.feed.step:  # stopped in the middle of an epoch
                        self.save(self.checkpoint)
                except KeyboardInterrupt:
                    self._interrupted()
            for callback in self.callbacks:
                callback.end(self)
        return self.history

    def _epoch(self) -> None:
        self.interruption.act()
        self.reporter.start(self.epoch + 1, self.epochs, self.feed.steps, self.feed.step)
        started = time.perf_counter() - self._seconds
        self.feed.begin()
        while not self.stop and (self.feed.steps is None or self.feed.step < self.feed.steps):
            before = time.perf_counter()
            try:
                steps = self._steps()
            except StopIteration:
                break
            now = time.perf_counter()
            self._seconds = now - started
            self._length = max(1, min(int(SECONDS * steps / max(now - before, 1e-9)), GROWTH * self._length))
            self.stop = self.stop or (self._deadline is not None and now >= self._deadline)
        if not self.stop or self.feed.step == self.feed.steps:
            self._finish()

    def _steps(self) -> int:
        """The next steps, in one call if they can be; how many."""
        room = int(min([self._length, *(steps_apart(callback, self) for callback in self.callbacks)]))
        rows = self.feed.rows(room) if isinstance(self.feed, Arrays | Nothing) else None
        if rows is not None and len(rows) > 1 and (run := self._many(rows)) is not None:
            return self._noted(*run, rows.shape[1])
        batch = self.feed.next()
        entry = self._compiled(batch)
        self._hold()
        try:
            numbers = self._program.arrays(*_arguments(batch))
        except BoundsError as error:
            raise checks.in_data(error, rows[0]) if isinstance(self.feed, Arrays) and rows is not None else error from None
        *numbers, finite = numbers
        if not finite:
            raise explain_nonfinite(entry, trees.flatten(batch)[0], self._place(1))
        return self._noted(1, [np.reshape(number, 1) for number in numbers], _rows(batch))

    def _many(self, rows: np.ndarray) -> tuple[int, list[np.ndarray]] | None:
        """Several steps in one call of machine code, without Python between them; None where the program cannot."""
        feed = self.feed
        if not self._tried and isinstance(feed, Arrays | Nothing):
            self._tried = True
            entry = self._compiled(feed.batch(rows[0]))
            last = len(entry.types) - 1
            self._rows_of_call = rows.shape[1]
            self._repeated = entry.repeated(feed.leaves, rows.shape[1], last, frozenset(range(last + 1)))
        if self._repeated is None or not isinstance(feed, Arrays | Nothing) or rows.shape[1] != self._rows_of_call:
            return None
        self._hold()
        try:
            done, (*numbers, finite) = self._repeated(rows)
        except BoundsError as error:
            raise checks.in_data(error, rows[error.step]) if isinstance(feed, Arrays) else error from None
        if not finite[done - 1]:
            batch = feed.batch(rows[done - 1])
            raise explain_nonfinite(self._compiled(batch), trees.flatten(batch)[0], self._place(done))
        return done, [number[:done] for number in numbers]

    def _place(self, ahead: int) -> str:
        return f"epoch {self.epoch + 1}, step {self.feed.step + ahead}"

    def _hold(self) -> None:
        """From here until the step is noted, what this run holds is neither the state before it nor the one after it."""
        self.between_steps, self.interruption.held = False, True

    def _noted(self, steps: int, numbers: Sequence[np.ndarray], rows: int) -> int:
        for i, number in enumerate(numbers):
            self._sums[i] += rows * number.sum(dtype=np.float64)
        self._weight += rows * steps
        self._steps_done += steps
        self.feed.advance(steps)
        self.interruption.held = False
        self.reporter.advance(rows * steps, numbers[0].tolist() if numbers else [])
        self._tell("after_step", self)
        self.interruption.act()
        return steps

    def _tell(self, method: str, *arguments: Any) -> None:
        """Call all callbacks; what they want to be saved holds the state of all of them after that."""
        self.between_steps = False
        for callback in self.callbacks:
            getattr(callback, method)(*arguments)
        self.between_steps = True
        wanted, self._wanted = self._wanted, []
        for path in wanted:
            self.save(path)

    def _finish(self) -> None:
        row: dict[str, Any] = {"epoch": self.epoch + 1}
        row |= {name: float(total / self._weight) if self._weight else float("nan") for name, total in zip(self._names, self._sums, strict=True)}
        row["seconds"] = self._seconds
        self._sums[:], self._weight, self._seconds = 0.0, 0.0, 0.0
        self.feed.end_epoch()
        self.history.rows.append(row)
        self.reporter.finish(row)
        self._tell("after_epoch", self, row)
        if self.checkpoint is not None:
            self.save(self.checkpoint)

    def _interrupted(self) -> None:
        self.history.interrupted, self.interruption.held = True, True
        done = f"interrupted in epoch {self.epoch + 1}, after step {self.feed.step}"
        if self.checkpoint is None:
            self.reporter.say(f'{done}; what was learnt is kept (give checkpoint="file" to be able to go on)')
        elif self.between_steps:
            self.save(self.checkpoint)
            self.reporter.say(f'{done}; saved. Go on with: run(..., resume="{self.checkpoint}")')
        else:
            self.reporter.say(f'{done}, with the next one half-done; the checkpoint is as it was. Go on from there with: run(..., resume="{self.checkpoint}")')

    # ---- the program

    def _traced(self, *batch: Any) -> tuple[Any, ...]:
        with seen_gradients() as gradients:
            numbers = _numbers(self._function(*batch))
        names = list(numbers)
        if self._names and names != self._names:
            raise ArgumentError(explain("the step returns other numbers than before", got=", ".join(names), expected=", ".join(self._names)))
        self._names = names
        finite = isfinite(reduce(lambda total, x: total + astype(x, "float32"), [*numbers.values(), *map(summed, gradients)], as_tensor(np.float32(0))))
        loose = {id(v) for thing in self.objects.values() if _plain(thing) for v in _variables(thing, "").values()}
        commit_if(finite, lambda variable: id(variable) not in loose or variable.value.node.type.bytes <= MOST_COPIED)
        return (*numbers.values(), finite)

    def _compiled(self, batch: Any) -> Entry:
        return self._program.lower(*_arguments(batch))

    def _first(self, entry: Entry) -> None:
        """Every Variable that the step changes has a name, or is a random state."""
        known = {id(v) for v in (*self.variables().values(), *random.variables().values())}
        if strange := [v for v in entry.captured.writes if id(v) not in known]:
            told = ", ".join(f"{v.name or 'a variable without a name'} {tuple(v.shape)}" for v in strange[:5])
            raise ArgumentError(explain("the step changes what none of the named objects has: a checkpoint would miss it", got=told, expected=", ".join(self.objects),
                                        fix='name its owner too: Trainer(step, {..., "averages": averages})'))

    # ---- saving and restoring

    def save(self, path: str | Path) -> None:
        """Write the whole run to a file; if callbacks are just being told of a step or an epoch, when all have been."""
        if not self.between_steps:
            self._wanted.append(path)
            return
        self.claims.claim(path)
        write_state(path, self._state())

    def _state(self) -> dict[str, Any]:
        return {"trainer": 1, "made with": self._made_with(), "feed": self.feed.state(), "sums": self._sums.tolist(), "weight": self._weight, "seconds": self._seconds,
                "steps": self._steps_done, "stop": self.stop, "history": [{k: None if v != v else v for k, v in row.items()} for row in self.history.rows],
                "objects": variable_arrays(self.variables()), "random": variable_arrays(random.variables()), "callbacks": saved_states(self.callbacks)}

    def _made_with(self) -> dict[str, str]:
        return {"list of objects": ", ".join(self.objects), "list of numbers": ", ".join(self._names)} | self.feed.made_of()

    def restore(self, path: str | Path) -> None:
        """Go on from a file that `save` wrote; ArgumentError or DataError before anything changes."""
        state = read_state(path)
        if "trainer" not in state:
            raise ArgumentError(explain("this checkpoint is of another kind of run", got=f"{path}, written by fit", expected="one that a Trainer wrote", fix="fit(..., resume=path)"))
        check_same(self._made_with(), state["made with"])
        check_kinds(self.callbacks, state["callbacks"])
        check_arrays(self.variables(), state["objects"], "objects")
        check_arrays(random.variables(), state["random"], "random")
        self.feed.restore(state["feed"])
        assign_arrays(self.variables(), state["objects"], "objects")
        assign_arrays(random.variables(), state["random"], "random")
        self._sums, self._weight, self._seconds = np.array(state["sums"], np.float64), state["weight"], state["seconds"]
        self._steps_done = state["steps"]
        self.stop = state["stop"] and self.epoch >= self.epochs
        self.history.rows = [{k: float("nan") if v is None else v for k, v in row.items()} for row in state["history"]]
        restore_states(self.callbacks, state["callbacks"])


def _plain(thing: Any) -> bool:
    """Whether these are bare Variables, of no model and no optimiser."""
    return isinstance(thing, Variable | Mapping | list | tuple)


def _arguments(batch: Any) -> tuple[Any, ...]:
    return () if batch is None else (batch,)


def _rows(batch: Any) -> int:
    leaves = trees.flatten(batch)[0]
    return len(leaves[0]) if leaves and leaves[0].ndim else 1


def _numbers(result: Any) -> dict[str, Tensor]:
    """What a step returned, as a dict of single numbers."""
    named = result if isinstance(result, Mapping) else {} if result is None else {"loss": result}
    numbers = {}
    for name, value in named.items():
        try:
            numbers[str(name)] = as_tensor(value)
        except (TypeError, ValueError):
            raise ArgumentError(explain(f"what the step returns as {name!r} is no number", got=shown(value), expected="a dict of numbers, or one number")) from None
        if numbers[str(name)].ndim:
            raise ShapeError(explain(f"what the step returns as {name!r} is not one number", got=f"shape {numbers[str(name)].shape}", expected="shape ()",
                                     fix=f"cr.mean({name})"))
    return numbers


def _variables(thing: Any, name: str) -> dict[str, Variable]:
    """Name → Variable of an object or of a structure of them; "" where it is one itself."""
    if isinstance(thing, Variable):
        return {"": thing}
    if isinstance(thing, random.Generator):
        return {"state": thing.state}
    if callable(getattr(thing, "variables", None)):
        return dict(thing.variables())
    items = thing.items() if isinstance(thing, Mapping) else enumerate(thing) if isinstance(thing, list | tuple) else None
    if items is None:
        raise ArgumentError(explain(f"the object {name!r} holds no Variables", got=shown(thing), expected="a model, an optimiser, a Variable, a random generator, or a structure of these"))
    return {f"{key}.{inner}" if inner else str(key): v for key, item in items for inner, v in _variables(item, f"{name}.{key}").items()}
