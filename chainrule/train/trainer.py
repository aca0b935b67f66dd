# SPDX-License-Identifier: Apache-2.0
"""`Trainer`: any training step, written as a plain function, in the machinery of `fit`.

The step is traced and compiled whole. What it changes is found in its trace, so that a checkpoint holds all of it, and
a Variable that belongs to none of the named objects is an error. A step whose numbers or gradients are not finite
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from .. import random
from ..compiler.compile import Entry, compile
from ..errors import ArgumentError, ShapeError, explain, shown
from ..foundations import tree as trees
from ..io.tensors import variable_arrays
from ..ir import Tensor, Variable, as_tensor
from ..nn import Module
from ..ops.compose import isfinite
from ..ops.elementwise import astype
from ..optim.base import Optimizer, seen_gradients
from ..typing import DataLike
from . import checks
from .callbacks import Callback
from .feeds import Feed, feed_of
from .history import History
from .loop import Loop
from .states import generators
from .step import commit_if, summed
from .stretch import Stretch

# bytes of a bare Variable, such as a replay buffer, that a failed step leaves as it was: that costs a copy in each step
MOST_COPIED = 2**20


class Trainer(Loop):
    """Trains anything with a step of one's own: several models and optimisers, alternating updates, penalties, averages
    of weights.

    Args:
        step: step(batch) -> a dict of numbers (or one number, the loss), or step() where `run` gets no data. It
            computes gradients with `cr.gradients` and calls `optimizer.update(model, gradients)`, and may assign
            Variables.
        objects: name -> model, optimiser, Variable, random generator or a structure of these: all that the step
            changes.
        backend, precision: as of `cr.compile`.

    The numbers of an epoch's row are means over its steps, weighted by their samples. Raises NonFiniteError, naming
    layer, operation and line, where a number or a gradient is NaN or infinite (nothing has changed then), and
    ArgumentError where the step changes a Variable that none of the objects has.

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

    def __init__(self, step: Callable[..., Any], objects: Mapping[str, Any], *, backend: str | None = None,
                 precision: str = "float32"):
        if not callable(step):
            raise ArgumentError(explain("the step is no function", got=shown(step),
                                        expected="step(batch) -> dict of numbers"))
        if not isinstance(objects, Mapping) or not objects:
            raise ArgumentError(explain("the objects that a step changes are named in a dict", got=shown(objects),
                                        expected='{"model": model, "optimizer": optimizer}'))
        self.objects = dict(objects)
        for name, thing in self.objects.items():
            _variables(thing, name)
        self._function, self.step = step, compile(self._traced, backend=backend, precision=precision)
        self._names: list[str] = []
        self._begin(Feed(), epochs=0, checkpoint=None, callbacks=[], progress=False, max_time=None)

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

    def modules(self) -> dict[str, Module]:
        """Name → module of all models."""
        return {f"{name}.{key}" if key else name: module for name, thing in self.objects.items()
                if isinstance(thing, Module) for key, module in thing.modules().items()}

    def variables(self) -> dict[str, Variable]:
        """Name → Variable of all objects."""
        return {f"{name}.{key}" if key else name: v for name, thing in self.objects.items()
                for key, v in _variables(thing, name).items()}

    # ---- a run

    def run(self, data: DataLike | None = None, *, epochs: int = 1, batch_size: int = 32,
            steps_per_epoch: int | None = None, shuffle: bool = True, drop_last: bool = False, seed: int = 0,
            checkpoint: str | Path | None = None, resume: str | Path | None = None,
            callbacks: Sequence[Callback] = (), progress: bool | str = True, max_time: float | None = None) -> History:
        """Train for `epochs`; returns the History.

        Args:
            data: nested arrays (dicts and tuples, one axis of samples), from which batches of `batch_size` are taken in
                an order that is a function of (seed, epoch); a `cr.data.Loader` or another iterable of batches; None
                for a step that makes its own.
            steps_per_epoch: needed without data and for streams without end; of arrays, only so many batches of each
                epoch.
            seed: of the order, of weights that are not built yet and of random numbers.
            checkpoint: file that holds the whole run before the first step, after each epoch and when it is
                interrupted.
            resume: a checkpoint to go on from, also from the middle of an epoch; ends with the same bits as a run that
                was not interrupted.
            callbacks: as of `fit`; `run.model` is the only model, or all objects.
            max_time: seconds after which the run ends (with the current call), as if stopped by a callback.
        """
        checks.check_epochs(epochs)
        feed = feed_of(data, batch_size, shuffle, seed, drop_last, steps_per_epoch)
        listed = checks.callbacks(callbacks)
        checks.check_for_trainer(listed, [thing for thing in self.objects.values() if isinstance(thing, Module)])
        self._begin(feed, epochs=epochs, checkpoint=checkpoint, callbacks=listed, progress=progress, max_time=max_time)
        self._build(seed)
        if resume is not None:
            self.restore(resume)
        return self._run()

    def _begin(self, feed: Feed, **options: Any) -> None:
        self._prepare(feed, **options)
        self._sums, self._weight = np.zeros(0), 0.0
        program = self.step
        self.stretch = Stretch(lambda rows: program.lower(*_arguments(feed.batch(rows))), feed.leaves, True,
                               feed.leaves is not None)

    def _build(self, seed: int) -> None:
        """Build what is not there yet, and seed what draws: a run depends on nothing that was drawn before."""
        random.seed(seed)
        drawn = [generator for thing in self.objects.values() if isinstance(thing, Module)
                 for generator in generators(thing)]
        self.feed.begin()
        self._check_owners(self.step.lower(*_arguments(self.feed.next())))
        self._sums = np.zeros(len(self._names))
        for generator in drawn:
            generator.seed(int(random.randint(2**62).item()))

    # ---- steps and epochs

    def _learn(self, batch: Any, rows: np.ndarray | None) -> None:
        arguments = _arguments(batch)
        *numbers, finite = self._run_step(arguments, rows)
        if not finite:
            self._nonfinite(1, arguments)
        self._add([np.reshape(number, 1) for number in numbers], _rows(batch))

    def _learnt(self, rows: np.ndarray, results: Any) -> None:
        (*numbers, finite), steps = results, len(rows)
        if not finite[steps - 1]:
            self._nonfinite(steps, _arguments(self.feed.batch(rows[-1])))
        self._add([number[:steps] for number in numbers], rows.shape[1])

    def _add(self, numbers: Sequence[np.ndarray], rows: int) -> None:
        """Note the numbers of steps of so many samples each."""
        for i, number in enumerate(numbers):
            self._sums[i] += rows * number.sum(dtype=np.float64)
        steps = len(numbers[0]) if numbers else 1
        self._weight += rows * steps
        self.reporter.advance(rows * steps, numbers[0].tolist() if numbers else [])

    def _numbers_of_epoch(self, whole: bool) -> dict[str, Any]:
        return {name: float(total / self._weight) if self._weight else float("nan")
                for name, total in zip(self._names, self._sums, strict=True)}

    def _forget_epoch(self) -> None:
        self._sums[:], self._weight = 0.0, 0.0

    def _finish(self, whole: bool) -> None:
        if whole:
            super()._finish(whole)
        elif self.checkpoint is not None:  # the epoch goes on in the next run
            self.save(self.checkpoint)

    # ---- the program

    def _traced(self, *batch: Any) -> tuple[Any, ...]:
        with seen_gradients() as gradients:
            numbers = _numbers(self._function(*batch))
        names = list(numbers)
        if self._names and names != self._names:
            raise ArgumentError(explain("the step returns other numbers than before", got=", ".join(names),
                                        expected=", ".join(self._names)))
        self._names = names
        finite = isfinite(reduce(lambda total, x: total + astype(x, "float32"),
                                 [*numbers.values(), *map(summed, gradients)], as_tensor(np.float32(0))))
        loose = {id(v) for thing in self.objects.values() if _plain(thing) for v in _variables(thing, "").values()}
        commit_if(finite, lambda variable: id(variable) not in loose or variable.value.node.type.bytes <= MOST_COPIED)
        return (*numbers.values(), finite)

    def _check_owners(self, entry: Entry) -> None:
        """Every Variable that the step changes has a name, or is a random state."""
        known = {id(v) for v in (*self.variables().values(), *random.variables().values())}
        if strange := [v for v in entry.captured.writes if id(v) not in known]:
            told = ", ".join(f"{v.name or 'a variable without a name'} {tuple(v.shape)}" for v in strange[:5])
            raise ArgumentError(
                explain(
                    "the step changes what none of the named objects has: a checkpoint would miss it",
                    got=told,
                    expected=", ".join(self.objects),
                    fix='name its owner too: Trainer(step, {..., "averages": averages})',
                )
            )

    # ---- saving and restoring

    def _parts(self) -> dict[str, dict[str, Variable]]:
        return {"objects": self.variables(), "random": random.variables()}

    def _made_of(self) -> dict[str, str]:
        return {"list of objects": ", ".join(self.objects),
                "list of numbers": ", ".join(self._names)} | self.feed.made_of()

    def _state(self) -> dict[str, Any]:
        told, arrays = self._told(), {name: variable_arrays(part) for name, part in self._parts().items()}
        return {"trainer": 1, "made with": self._made_of(), "feed": self.feed.state(), "sums": self._sums.tolist(),
                "weight": self._weight, "seconds": self.seconds,
                "steps": self.step_number, "stop": self.stop, "history": told["history"], **arrays,
                "callbacks": told["callbacks"]}

    def _place(self, path: str | Path, state: dict[str, Any]) -> dict[str, Any]:
        if "trainer" not in state:
            raise ArgumentError(explain("this checkpoint is of another kind of run", got=f"{path}, written by fit",
                                        expected="one that a Trainer wrote", fix="fit(..., resume=path)"))
        return state["feed"]

    def _restored(self, state: dict[str, Any]) -> dict[str, Any]:
        self._sums, self._weight = np.array(state["sums"], np.float64), state["weight"]
        self.stop = state["stop"] and self.epoch >= self.epochs
        return state


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
            raise ArgumentError(explain(f"what the step returns as {name!r} is no number", got=shown(value),
                                        expected="a dict of numbers, or one number")) from None
        if numbers[str(name)].ndim:
            raise ShapeError(explain(f"what the step returns as {name!r} is not one number",
                                     got=f"shape {numbers[str(name)].shape}", expected="shape ()",
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
    items = (thing.items() if isinstance(thing, Mapping) else enumerate(thing) if isinstance(thing, list | tuple)
             else None)
    if items is None:
        raise ArgumentError(explain(f"the object {name!r} holds no Variables", got=shown(thing),
                                    expected="a model, an optimiser, a Variable, a random generator, or a structure of "
                                             "these"))
    return {f"{key}.{inner}" if inner else str(key): v for key, item in items
            for inner, v in _variables(item, f"{name}.{key}").items()}
