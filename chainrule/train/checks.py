# SPDX-License-Identifier: Apache-2.0
"""What a run takes: mistakes in the arguments of `fit` and `evaluate`, told before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, explain

METHODS = ("begin", "after_step", "after_epoch", "end", "state", "restore")


def check_run(model: Any, epochs: Any, penalty: Any) -> None:
    """The model is one that can be called, the epochs are a number of times, the penalty is a function."""
    if isinstance(model, type):
        raise ArgumentError(explain("the model is a class, not a model", got=model.__name__, fix=f"make one: {model.__name__}(...)"))
    if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 0:
        raise ArgumentError(explain("epochs is a whole number, 0 or more", got=repr(epochs)))
    if penalty is not None and not callable(penalty):
        raise ArgumentError(explain("a penalty is a function of the model", got=repr(penalty), fix=f"for example optim.penalties.ridge({penalty if isinstance(penalty, float | int) else 1e-4!r})"))


def several(found: Any) -> list[Any]:
    """A list of metrics; a single one, or its name, is a list of one."""
    return [found] if isinstance(found, str | type) or hasattr(found, "update") or callable(found) else list(found)


def callbacks(found: Any) -> list[Any]:
    """A list of callbacks; a single one is a list of one."""
    listed = list(found) if isinstance(found, tuple | list) else [found]
    for callback in listed:
        if isinstance(callback, type) or not all(hasattr(callback, method) for method in METHODS):
            name = callback.__name__ if isinstance(callback, type) else None
            raise ArgumentError(explain("this is not a callback", got=repr(callback), expected="objects such as train.EarlyStopping(patience=5)",
                                        fix=f"make one: {name}(...)" if name else "a class of your own: class Mine(train.Callback)"))
    return listed
