# SPDX-License-Identifier: Apache-2.0
"""What `freeze` and `unfreeze` choose: all Variables of a module, those that a pattern names, or those that a predicate
accepts.

A frozen parameter is not trainable; a frozen statistic, such as the running mean of a BatchNorm, is neither updated nor
replaced by that of the batch. Layers that are not built yet keep the order and follow it when they are.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ...errors import ArgumentError, explain, shown
from ...foundations.names import closest
from ...ir import Variable

Choice = str | Callable[[str, Variable], bool]
# the dotted name of a module when it got the order, what is chosen, whether it is frozen
Order = tuple[str, Choice, bool]


class Freezable(Protocol):
    """What is asked of a module here."""

    built: bool
    _record: Any

    def variables(self) -> dict[str, Variable]: ...

    def modules(self) -> dict[str, Any]: ...

    def attributes(self) -> Any: ...


def change(model: Freezable, choices: tuple[Any, ...], frozen: bool) -> None:
    """Freeze (or make trainable) what each of the choices fits; all if there is none. One that fits nothing changes
    nothing and raises."""
    for choice in choices:
        _check(model, choice, "freeze" if frozen else "unfreeze")
    for choice in choices or ("*",):
        for path, module in model.modules().items():
            follow(module, (path, choice, frozen))
            if not module.built:
                module._record.orders.append((path, choice, frozen))


def follow(module: Freezable, order: Order) -> None:
    """Do what an order says to the Variables that the module holds itself."""
    path, choice, frozen = order
    for name, variable in module.attributes():
        if (
            not isinstance(variable, Variable)
            or name in getattr(module, "constants", ())
            or not _chosen(choice, _join(path, name), variable)
        ):
            continue
        if name in getattr(module, "statistics", ()):
            variable.frozen = frozen
        elif variable.dtype.kind == "f":
            variable.trainable = not frozen


def inherit(module: Freezable) -> None:
    """Hand the orders of a module that was just built on to modules that were made meanwhile."""
    for name, below in module.modules().items():
        if name and not below._record.orders:
            orders = [(_join(path, name), choice, frozen) for path, choice, frozen in module._record.orders]
            below._record.orders = [] if below.built else orders
            for order in orders if below.built else ():
                follow(below, order)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _ancestors(name: str) -> Iterator[str]:
    """The name and what stands before each of its dots."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _chosen(choice: Choice, name: str, variable: Variable) -> bool:
    if isinstance(choice, str):
        return any(fnmatch.fnmatchcase(part, choice) for part in _ancestors(name))
    return bool(choice(name, variable))


def _check(model: Freezable, choice: Any, word: str) -> None:
    """Raise ArgumentError for what is no choice, and for a choice that fits nothing."""
    if not isinstance(choice, str) and not callable(choice):
        raise ArgumentError(explain(f"{word} takes patterns of names, or functions (name, variable) -> bool",
                                    got=shown(choice), expected='for example model.freeze("encoder.*")',
                                    fix="model.unfreeze() makes trainable again" if choice in (True, False)
                                    else 'names are those of model.variables()'))
    variables = model.variables()
    if any(_chosen(choice, name, variable) for name, variable in variables.items()):
        return
    unbuilt = [path for path, module in model.modules().items() if has_to_be_built(module)]
    if unbuilt and (not isinstance(choice, str) or any(_may_hold(choice, path) for path in unbuilt)):
        return
    known = sorted({part for name in [*variables, *filter(None, model.modules())] for part in _ancestors(name)})
    what = repr(choice) if isinstance(choice, str) else getattr(choice, "__name__", "the function")
    raise ArgumentError(explain(
        f"there is nothing to {word}: no parameter fits", got=what,
        expected=", ".join(known[:8]) + (", ..." if len(known) > 8 else ""), fix=_fix(choice, known, bool(unbuilt))))


def _fix(choice: Choice, known: list[str], unbuilt: bool) -> str:
    above = choice.rpartition(".")[0] if isinstance(choice, str) else ""
    if unbuilt and (above in known or "*" in above or not above):
        return "call the model once first, model(x): its parameters have no names yet"
    return (closest(choice.removesuffix(".*"), known) if isinstance(choice, str)
            else None) or "names are those of model.variables()"


def _may_hold(pattern: str, path: str) -> bool:
    """Whether the pattern names a module, or all that is below it."""
    return (any(fnmatch.fnmatchcase(part, pattern) or fnmatch.fnmatchcase(f"{part}.", pattern)
                for part in _ancestors(path)) or pattern == "*")


def has_to_be_built(module: Freezable) -> bool:
    """Whether the module makes Variables at its first call, which has not come yet."""
    return not module.built and "build" in {name for kind in type(module).__mro__[:-3] for name in vars(kind)}
