# SPDX-License-Identifier: Apache-2.0
"""The door of public functions: an argument is what its name says, and whatever goes wrong below is told as our
mistakes are.

`guard(globals(), __all__)` at the end of a module puts it before each of the functions. An argument is checked by its
name (an `axis` is an integer, `keepdims` a switch, a `shape` has no negative extent), so a new function has the checks
of the old ones. Errors of Python and NumPy from within, a call that does not fit the signature included, become an
ArgumentError that shows the call; it is a TypeError too where Python raised one.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import PACKAGE, ArgumentError, CallError, ChainruleError, explain
from .names import closest

Check = Callable[[Any], str | None]  # what was expected instead, or None
FOREIGN = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, BufferError)
BELOW = (PACKAGE, os.path.dirname(np.__file__) + os.sep, "<frozen", "<__array_function__")


def unmasked(x: Any) -> Any:
    """`x` itself; ArgumentError for a masked array (or a sequence with one) of which an element is masked: here it
    would count."""
    if isinstance(x, list | tuple):
        for item in x:
            unmasked(item)
    elif (
        isinstance(x, np.ndarray)
        and type(x) is not np.ndarray
        and isinstance(x, np.ma.MaskedArray)
        and np.ma.is_masked(x)
    ):
        raise ArgumentError(explain("elements of this array are masked, and arrays here have no masks",
                                    got=f"{int(np.ma.count_masked(x))} of {x.size} masked",
                                    expected="an array whose elements all count",
                                    fix="x.filled(value), or the data and the mask apart: x.data, ~x.mask"))
    return x


def is_whole(value: Any) -> bool:
    """Whether `value` can count: an integer of Python, NumPy or a tensor, but no truth value."""
    if type(value) is int:
        return True
    kind = getattr(value, "dtype", None)
    return (not isinstance(value, bool | np.bool_) and hasattr(value, "__index__")
            and (kind is None or np.dtype(kind).kind in "iu"))


def whole(value: Any) -> str | None:
    """The check of an integer."""
    return None if is_whole(value) else "an integer"


def count(value: Any) -> str | None:
    """The check of an integer, 0 or more."""
    return None if is_whole(value) and (_traced(value) or value >= 0) else "an integer, 0 or more"


def _traced(value: Any) -> bool:
    node = getattr(value, "node", None)
    return node is not None and node.data is None


def optional(check: Check) -> Check:
    """The check of what may be None too."""
    return lambda value: None if value is None else check(value)


def wholes(value: Any) -> str | None:
    """The check of one integer or several."""
    fine = (is_whole(value) or (isinstance(value, tuple | list | range | np.ndarray)
                                and all(is_whole(item) for item in value)))
    return None if fine else "an integer, or a sequence of integers"


def extents(value: Any) -> str | None:
    """The check of a shape: no negative extent."""
    items = (value,) if is_whole(value) else value
    if wholes(value) or any(not _traced(n) and n < 0 for n in items):
        return "an integer, or a sequence of integers, 0 or more"
    return None


def switch(value: Any) -> str | None:
    """The check of a truth value."""
    return None if isinstance(value, bool | np.bool_) else "True or False"


def _device(value: Any) -> str | None:
    return None if value is None or value == "cpu" else '"cpu" or None: eager tensors live on the CPU'


def _pairs(value: Any) -> str | None:
    pairs = isinstance(value, tuple | list | np.ndarray) and all(
        isinstance(pair, tuple | list | np.ndarray) and len(pair) == 2 and all(count(n) is None for n in pair)
        for pair in value)
    return None if pairs else "a pair of integers (before, after), 0 or more, for each axis"


def number(expected: str, fits: Callable[[Any], bool]) -> Check:
    """The check of one real number that `fits`, which is asked of finite ones only."""
    def check(value: Any) -> str | None:
        real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        return None if real and abs(value) < math.inf and fits(value) else expected
    return check


finite = number("a finite number", lambda x: True)
not_negative = number("a finite number, 0 or more", lambda x: x >= 0)
positive = number("a finite number above 0", lambda x: x > 0)
between = number("a number between 0 and 1", lambda x: 0 < x < 1)
counting = number("an integer, 1 or more", lambda x: is_whole(x) and x >= 1)


def counts(value: Any) -> str | None:
    """The check of a sequence of integers, 0 or more."""
    fine = isinstance(value, tuple | list | range | np.ndarray) and all(count(item) is None for item in value)
    return None if fine else "a sequence of integers, 0 or more"


def numbers(value: Any) -> str | None:
    """The check of real numbers: one, nested lists or an array of them, or a tensor."""
    if hasattr(value, "node"):
        return None if value.dtype.kind not in "bc" else "real numbers"
    try:
        array = np.asarray(unmasked(value))
    except FOREIGN:  # rows of several lengths
        return "an array of numbers"
    return (None if array.dtype.kind in "biuf" or (array.dtype.kind == "V" and not array.dtype.names) or not array.size
            else "an array of real numbers")


def places(value: Any) -> str | None:
    """The check of a sequence of finite numbers."""
    sequence = isinstance(value, tuple | list | range) or (isinstance(value, np.ndarray) and value.ndim == 1)
    return None if sequence and all(finite(item) is None for item in value) else "a sequence of finite numbers"


def text(value: Any) -> str | None:
    """The check of text."""
    return None if isinstance(value, str) else "text"


def function(value: Any) -> str | None:
    """The check of what can be called."""
    return None if callable(value) and not isinstance(value, type) else "a function"


CHECKS: dict[str, Check] = {
    "axis": optional(wholes), "shape": optional(extents), "shift": wholes, "source": wholes, "destination": wholes,
    "repetitions": wholes, "widths": _pairs, "device": _device, "copy": optional(switch), "k": whole, "offset": whole,
    "n": whole,
    "num": count, "n_rows": count, "n_cols": optional(count), "classes": count,
    **dict.fromkeys(("keepdims", "descending", "stable", "full_matrices", "upper", "include_initial", "endpoint",
                     "invert"), switch),
}


def guarded(function: Callable[..., Any], /, **own: Check) -> Callable[..., Any]:
    """`function` behind the door; `own` are checks of its arguments that differ from those of their names."""
    parameters = inspect.signature(function).parameters
    checks = {name: check for name, check in {**CHECKS, **own}.items() if name in parameters}
    positional = [(i, name, checks[name]) for i, (name, p) in enumerate(parameters.items())
                  if name in checks and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    title = function.__qualname__.removesuffix(".__init__") if "self" in parameters else function.__name__

    @functools.wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        for i, name, check in positional:
            if i < len(args) and (expected := check(args[i])):
                raise _unfit(title, name, args[i], expected)
        if options:
            for name, value in options.items():
                if name in checks and (expected := checks[name](value)):
                    raise _unfit(title, name, value, expected)
        try:
            return function(*args, **options)
        except FOREIGN as error:
            if isinstance(error, ChainruleError | np.linalg.LinAlgError):
                raise
            raise _told(function, args, options, error) from error
    checked.guarded = True  # type: ignore[attr-defined]
    return checked


def refuse_unfit(title: str, names: Iterable[str], checks: Mapping[str, Check], args: Iterable[Any],
                 options: Mapping[str, Any]) -> None:
    """ArgumentError for an argument of a call that does not fit; `names` are those of the parameters, in order."""
    for name, value in [*zip(names, args, strict=False), *options.items()]:
        if name in checks and (expected := checks[name](value)):
            raise _unfit(title, name, value, expected)


def is_ours(error: BaseException) -> bool:
    """Whether an error of Python or NumPy was raised below code of this library that nobody else's code was called
    from."""
    if isinstance(error, ChainruleError | np.linalg.LinAlgError) or not isinstance(error, FOREIGN):
        return False
    trace = error.__traceback__
    files = []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return all(file.startswith(BELOW) for file in files)


def told(title: str, args: Iterable[Any], options: Mapping[str, Any], error: Exception,
         fix: str | None = None) -> ArgumentError:
    """Our error for one of Python or NumPy from below a call of `title`."""
    given = ", ".join([*map(brief, args), *(f"{name}={brief(value)}" for name, value in options.items())])
    kind = CallError if isinstance(error, TypeError) else ArgumentError
    return kind(explain(f"{title} does not take these arguments: {error}", got=f"{title}({given})", fix=fix))


# by the name of an argument that means the same everywhere
FIXES = {"learning_rate": "for example 1e-3, or optim.schedules.cosine(1e-3, 1000)"}


def _unfit(title: str, name: str, value: Any, expected: str) -> ArgumentError:
    kind = ArgumentError if isinstance(value, int | np.integer) and not isinstance(value, bool) else CallError
    return kind(explain(f"{title}: the argument {name} does not fit", got=f"{name}={brief(value)}", expected=expected,
                        fix=FIXES.get(name)))


def _told(function: Callable[..., Any], args: Any, options: Mapping[str, Any], error: Exception) -> ArgumentError:
    signature = inspect.signature(function)
    title = function.__qualname__.removesuffix(".__init__") if "self" in signature.parameters else function.__name__
    args = args[1:] if "self" in signature.parameters else args
    given = ", ".join([*map(brief, args), *(f"{name}={brief(value)}" for name, value in options.items())])
    unknown = next((name for name in options if name not in signature.parameters), None)
    bare = signature.replace(parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
                             return_annotation=signature.empty)
    kind = CallError if isinstance(error, TypeError) else ArgumentError
    return kind(explain(f"{title} does not take these arguments: {error}", got=f"{title}({given})",
                        expected=f"{title}{bare}", fix=closest(unknown, signature.parameters) if unknown else None))


def brief(value: Any) -> str:
    """A value in a few words: arrays by dtype and shape."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def guard_methods(owner: type, names: Iterable[str], own: Mapping[str, Mapping[str, Check]] | None = None) -> None:
    """The door before methods of a class."""
    for name in names:
        setattr(owner, name, guarded(getattr(owner, name), **(own or {}).get(name, {})))


def guard(module: dict[str, Any], names: Iterable[str], own: Mapping[str, Mapping[str, Check]] | None = None) -> None:
    """Put the door before the functions `names` of a module that are its own; `own` holds further checks by function
    and argument."""
    for name in names:
        function = module.get(name)
        if (
            inspect.isfunction(function)
            and function.__module__ == module["__name__"]
            and not hasattr(function, "guarded")
        ):
            module[name] = guarded(function, **(own or {}).get(name, {}))
