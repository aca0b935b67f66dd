# SPDX-License-Identifier: Apache-2.0
"""What a run takes: mistakes in the arguments of `fit` and `evaluate`, told before anything is trained."""

from __future__ import annotations

import difflib
import functools
import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, BoundsError, explain, shown
from ..foundations import tree as trees
from ..foundations.foreign import CALLBACK
from ..ir import Tensor, Type, tracing
from ..ir.graph import input_node
from ..losses import Several
from ..ops.require import at
from .data import Samples
from .measured import OfOutput
from .programs import strong
from .structure import take

ROWS = 8192  # that are looked at together
METHODS = ("begin", "after_step", "after_epoch", "end", "state", "restore")
SIGNATURES = {"begin": "begin(self, run)", "after_step": "after_step(self, run)",
              "after_epoch": "after_epoch(self, run, row)", "end": "end(self, run)"}


def check_run(model: Any, epochs: Any, penalty: Any) -> None:
    """The model is one that can be called, the epochs are a number of times, the penalty is a function."""
    if isinstance(model, type):
        raise ArgumentError(explain("the model is a class, not a model", got=model.__name__,
                                    expected=f"an instance of {model.__name__}",
                                    fix=f"make one: {model.__name__}(...)"))
    check_epochs(epochs)
    if penalty is not None and not callable(penalty):
        raise ArgumentError(
            explain(
                "a penalty is a function of the model",
                got=shown(penalty),
                fix=f"for example optim.penalties.ridge({penalty if isinstance(penalty, float | int) else 1e-4!r})",
            )
        )


def check_epochs(epochs: Any) -> None:
    """A number of passes over the data."""
    if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 0:
        raise ArgumentError(explain("epochs is a whole number, 0 or more", got=shown(epochs)))


def in_data(error: BoundsError, rows: np.ndarray) -> BoundsError:
    """The error with the row of the data in the place of that of a batch of `rows`, where it belongs to one."""
    if error.moved is None or not error.place or error.shape[:1] != (len(rows),):
        return error
    return error.moved((int(rows[error.place[0]]), *error.place[1:]))


class NonFiniteWarning(UserWarning):
    """Inputs hold NaN or infinities, so that outputs may mean nothing.

    >>> issubclass(cr.train.NonFiniteWarning, UserWarning)
    True
    """


def say_bad_inputs(x: np.ndarray) -> None:
    """A NonFiniteWarning if any number of the samples is NaN or infinite."""
    if x.dtype.kind != "f":
        return
    rows = [start + i for start in range(0, len(x), ROWS) for i in _bad_rows(x[start:start + ROWS])]
    if rows:
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(x[rows[0]]))[0])
        warnings.warn(explain(f"{len(rows):,} of {len(x):,} samples have inputs that are not finite",
                              got=f"{x[rows[0]][place]} in sample {rows[0]}{at(place)}", expected="finite numbers",
                              fix="fill what is missing in the way in which it was filled for the training"),
                      NonFiniteWarning, stacklevel=2)


def _bad_rows(x: np.ndarray) -> list[int]:
    with np.errstate(all="ignore"):
        if np.isfinite(np.add.reduce(x, axis=None)):
            return []
    return [int(i) for i in np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))]


def check_targets(loss: Any, metrics: Sequence[Any], outputs: Any, data: Samples) -> None:
    """BoundsError for the first target that the loss or a metric has no use for; `outputs` are symbols of those of one
    sample."""
    for start in range(0, len(data), ROWS):
        rows = np.arange(start, min(start + ROWS, len(data)))
        y, weights = take(data.y, slice(start, start + ROWS)), take(data.weights, slice(start, start + ROWS))
        try:
            loss.check(trees.map(functools.partial(_rows, count=len(rows)), outputs), y, weights)
            for metric in metrics if isinstance(outputs, Tensor) and outputs.ndim else ():
                getattr(metric, "check_targets", _nothing)((len(y), *outputs.shape[1:]), y, weights)
        except BoundsError as error:
            raise in_data(error, rows) from None


def _rows(x: Tensor, count: int) -> Tensor:
    """The symbol of so many samples."""
    with tracing():
        return Tensor(input_node(Type((count, *x.shape[1:]), x.dtype))) if x.ndim else x


def _nothing(*_: Any) -> None:
    """A metric that somebody made without the base class checks nothing before a run."""


def needs_arrays(callback: Any, model: Any) -> bool:
    """Whether a callback, with or without our base class, works on all training samples in memory."""
    return bool(getattr(callback, "needs_arrays", lambda model: False)(model))


def check_for_trainer(listed: Sequence[Any], models: Sequence[Any]) -> None:
    """ArgumentError for a callback that looks at the loss or the samples of `fit`, where a step of the user's own is
    trained."""
    for callback in listed:
        if getattr(callback, "only_fit", False) or any(needs_arrays(callback, model) for model in models):
            raise ArgumentError(explain(f"{type(callback).__name__} looks at the loss or the samples of `fit`",
                                        got="a Trainer, whose step and data are your own",
                                        expected="a callback that looks at the model, its optimiser and the history",
                                        fix="leave it out"))


def check_outputs(model: Any, outputs: Any, loss: Any = None) -> Any:
    """The outputs, if the model gives something and a loss of the library gets one tensor."""
    name = type(strong(model)).__name__
    if outputs is None:
        raise ArgumentError(explain(f"forward of {name} returns nothing", got="None", expected="a tensor",
                                    fix="end it with `return ...`"))
    if isinstance(outputs, tuple | list | dict) and loss is not None and not (loss.own or isinstance(loss, Several)):
        kinds = f"a {type(outputs).__name__} of {len(outputs)}"
        raise ArgumentError(explain(f"forward of {name} returns {kinds}, and the loss {loss.name} compares one tensor "
                                    "with the targets",
                                    got=kinds, expected="a tensor",
                                    fix="return the one that is compared; or give targets and losses by output, "
                                        f"loss={_example(outputs, loss)}; or a loss of your own: a function (outputs, "
                                        "targets) -> values"))
    return outputs


def _example(outputs: Any, loss: Any) -> str:
    keys = list(outputs)[:2] if isinstance(outputs, dict) else None
    return "{" + ", ".join(f"{key!r}: {loss.name!r}" for key in keys) + "}" if keys else f"({loss.name!r}, ...)"


def check_measured(model: Any, outputs: Any, metrics: Any) -> None:
    """Metrics get what the model gives, which is one tensor."""
    if isinstance(outputs, tuple) and any(not isinstance(metric, OfOutput) for metric in metrics):
        kinds = f"a tuple of {len(outputs)}"
        raise ArgumentError(explain(f"forward of {type(strong(model)).__name__} returns {kinds}, and metrics measure "
                                    "one tensor", got=kinds, expected="a tensor",
                                    fix="return the one that is measured, or leave metrics=[...] out and measure after "
                                        "training"))


def check_parameters(model: Any) -> None:
    """There is something to learn."""
    if model.parameters():
        return
    frozen = any(v.dtype.kind == "f" for v in model.variables().values())
    raise ArgumentError(explain(f"{type(model).__name__} has nothing to learn",
                                got="all parameters are frozen" if frozen else "a model without parameters",
                                expected="at least one trainable Variable",
                                fix="model.unfreeze(...)" if frozen
                                else "layers with weights, such as nn.Dense, kept as attributes of the model or in a "
                                     "list of it"))


def _meant(name: str) -> str | None:
    """The method of a callback that is meant by one of another library, or by a misspelt one; None for any other name.
    """
    if name.startswith("_") or name in METHODS:
        return None
    close = difflib.get_close_matches(name, [*CALLBACK, *SIGNATURES], 1, 0.85)
    return (CALLBACK.get(name) or (None if not close or len(name) < 6 else CALLBACK.get(close[0])
                                   or SIGNATURES[close[0]]))


def _check_signature(callback: Any, name: str) -> None:
    """ArgumentError where a method of a callback does not take what it is given."""
    try:
        signature = inspect.signature(getattr(callback, name))
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*[None] * SIGNATURES[name].count(","))
    except TypeError:
        raise ArgumentError(explain(f"{name} of {type(callback).__name__} does not take what a callback gets",
                                    got=f"{name}{signature}", expected=f"def {SIGNATURES[name]}",
                                    fix=f"def {SIGNATURES[name]}: ...")) from None


def callbacks(found: Any) -> list[Any]:
    """A list of callbacks; a single one is a list of one."""
    listed = list(found) if isinstance(found, tuple | list) else [found]
    for callback in listed:
        meant = next(((name, ours) for name in dir(callback) if (ours := _meant(name)) is not None), None)
        if meant is not None:
            raise ArgumentError(explain("nothing here calls this method of a callback",
                                        got=f"{meant[0]} of {getattr(callback, '__name__', type(callback).__name__)}",
                                        expected="begin, after_step, after_epoch, end",
                                        fix=f"class Mine(train.Callback): def {meant[1]}: ..."))
        if isinstance(callback, type) or not all(hasattr(callback, method) for method in METHODS):
            name = callback.__name__ if isinstance(callback, type) else None
            raise ArgumentError(explain("this is not a callback", got=shown(callback),
                                        expected="objects such as train.EarlyStopping(patience=5)",
                                        fix=f"make one: {name}(...)" if name
                                        else "a class of your own: class Mine(train.Callback)"))
        for method in SIGNATURES:
            _check_signature(callback, method)
    return listed
