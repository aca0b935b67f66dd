# SPDX-License-Identifier: Apache-2.0
"""What every task is: settings that show, `fit`, `predict`, `evaluate`, and one file that holds all of it.

A task joins pieces of the library. Its class lists its settings, each with a default, as annotated names; `_learn`
makes `parts` (the network, and the baselines it is measured against) and `state` (everything else that serving needs:
columns, vocabulary, classes, scales), which is plain data. `cr.save` writes both into one file, so what was fitted on
the training data is what serves: there is no second preprocessing.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, dataclass_transform

from .. import io, nn, random
from ..errors import ArgumentError, DataError, explain, shown
from ..foundations.files import reading
from ..foundations.names import closest, look_up
from ..typing import TableLike

NETWORK = "network"


class Parts(nn.Module):
    """What a task has learnt: its network and its baselines, by name; a module only to be saved as one."""

    def __init__(self, names: Sequence[str], modules: Sequence[nn.Module]):
        self.names, self.members = list(names), list(modules)

    def by_name(self) -> dict[str, nn.Module]:
        """The modules by their names."""
        return dict(zip(self.names, self.members, strict=True))

    def forward(self, *x: Any) -> Any:
        return self.members[self.names.index(NETWORK)](*x)


@dataclass_transform(kw_only_default=True, eq_default=False)
class Task:
    """The base of all tasks: settings are keyword arguments, every one with a default that `repr` and `settings` show.

    Attributes:
        notes: what was found in the data and done with them, a line each.

    >>> isinstance(cr.tasks.TextClassifier(), cr.tasks.Task)
    True
    """

    kinds: ClassVar[dict[str, type[Task]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(kw_only=True, repr=False, eq=False)(cls)
        Task.kinds[cls.__name__] = cls

    def __post_init__(self) -> None:
        self.parts: dict[str, nn.Module] = {}
        self.state: dict[str, Any] = {}
        self.notes: list[str] = []
        self.check()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name, as given or as chosen by the data."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def check(self) -> None:
        """Raise ArgumentError for settings that make no sense; tasks add checks of their own."""
        for name, value in self.settings.items():
            if (
                name in COUNTS
                and value is not None
                and not (isinstance(value, int) and not isinstance(value, bool) and value >= 1)
            ):
                raise ArgumentError(explain(f"{name} counts something", got=f"{name}={shown(value)}",
                                            expected="an integer, 1 or more"))
            if name in RATES and value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise ArgumentError(explain(f"{name} is a rate", got=f"{name}={shown(value)}",
                                            expected="a number above 0"))
            if name in SHARES and not (isinstance(value, int | float) and 0 <= value < 1):
                raise ArgumentError(explain(f"{name} is a share", got=f"{name}={shown(value)}",
                                            expected="a number from 0 to below 1"))

    # ---- learning

    def fit(self, data: TableLike, validation: TableLike | None = None, seed: int = 0, **settings: Any) -> Self:
        """Learn from data; returns the task.

        Args:
            data: in the forms that the class names.
            validation: data of the same form, to choose epochs and thresholds by; None: a share of `data` is held out.
            seed: of weights, order, dropout and what is held out; the same seed gives the same bits.
            settings: replace those that the task was made with.
        """
        self._replace(settings)
        self.parts, self.state, self.notes = {}, {}, []
        random.seed(seed)
        started = time.perf_counter()
        self._learn(data, validation, seed)
        self.state["seconds"] = round(time.perf_counter() - started, 3)
        return self

    def _replace(self, settings: Mapping[str, Any]) -> None:
        for name, value in settings.items():
            if name not in self.settings:
                raise ArgumentError(explain(f"{type(self).__name__} has no such setting", got=f"{name}={shown(value)}",
                                            expected=", ".join(self.settings), fix=closest(name, self.settings)))
            setattr(self, name, value)
        self.check()

    def _learn(self, data: Any, validation: Any, seed: int) -> None:
        """Fill `parts` and `state`."""
        raise NotImplementedError

    @property
    def fitted(self) -> bool:
        """Whether there is something to predict with."""
        return bool(self.parts)

    def _need_fit(self) -> None:
        if not self.fitted:
            raise ArgumentError(explain(f"this {type(self).__name__} has learnt nothing yet",
                                        fix="call fit(data) first, or cr.load(path)"))

    @property
    def network(self) -> Any:
        """The trained network; ArgumentError before `fit`."""
        self._need_fit()
        return self.parts[NETWORK]

    # ---- use

    def predict(self, data: TableLike) -> Any:
        """The answer for each sample of `data`, which has no targets."""
        raise NotImplementedError

    def evaluate(self, data: TableLike) -> Any:
        """Measured values on data with targets, with intervals, each beside the baselines: a `Report`."""
        raise NotImplementedError

    # ---- files

    def save(self, path: str | Path) -> Path:
        """Write the task to one .safetensors file; `cr.save(task, path)` is the same, and `cr.load(path)` opens it."""
        return io.save(self, path)

    def saved(self) -> tuple[nn.Module, dict[str, Any]]:
        """(what has weights, what is plain data): the contents of the file."""
        self._need_fit()
        return Parts(list(self.parts), list(self.parts.values())), {
            "task": {"name": type(self).__name__, "settings": self.settings, "state": self.state, "notes": self.notes}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={shown(value)}' for name, value in self.settings.items())})"


dataclasses.dataclass(kw_only=True, repr=False, eq=False)(Task)

COUNTS = frozenset({"bands", "epochs", "batch_size", "members", "bins", "patience", "horizon", "lookback", "factors",
                    "width",
                    "length"})
RATES = frozenset({"learning_rate"})
SHARES = frozenset({"dropout", "held_out"})


def opened(parts: Any, saved: Mapping[str, Any], path: str | Path) -> Task:
    """The task whose `saved()` is in a file; DataError for a file that names no task or settings that it does not have.
    """
    with reading(path, "task file"):
        kind = look_up("task", str(saved["name"]), Task.kinds, fix="import the module that defines it")
        task = kind(**{str(name): _tuples(value) for name, value in saved["settings"].items()})
        if not isinstance(parts, Parts):
            raise DataError(explain(f"{path}: the file of a task holds its parts", got=type(parts).__name__))
        task.parts, task.state, task.notes = parts.by_name(), dict(saved["state"]), list(saved["notes"])
        return task


def _tuples(value: Any) -> Any:
    """Settings are tuples where JSON has lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
