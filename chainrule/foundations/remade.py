# SPDX-License-Identifier: Apache-2.0
"""Functions that are made by a call, such as schedules and penalties: shown, copied and pickled as the call that made
them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from ..errors import shown
from .arguments import Check, guarded

P = ParamSpec("P")


class Made:
    """A function and the call that made it."""

    def __init__(self, function: Callable[..., Any], maker: Callable[..., Any], args: tuple[Any, ...],
                 options: dict[str, Any]):
        self.__wrapped__, self.__name__, self.__doc__ = function, maker.__name__, maker.__doc__
        self.maker, self.args, self.options = maker, args, options

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__wrapped__(*args, **options)

    def __reduce__(self) -> Any:
        return functools.partial(self.maker, **self.options), self.args

    def __repr__(self) -> str:
        given = ", ".join([*map(shown, self.args), *(f"{name}={shown(value)}" for name, value in self.options.items())])
        return f"{self.maker.__name__}({given})"


def remade(maker: Callable[P, Callable[..., Any]], checks: Mapping[str, Check] | None = None) -> Callable[P, Any]:
    """A decorator for a function at the top of a module that makes functions: what it makes can be pickled if its
    arguments can.

    Arguments are checked by their names, with `checks` before those of all functions.
    """
    door = guarded(maker, **(checks or {}))

    @functools.wraps(maker)
    def make(*args: P.args, **options: P.kwargs) -> Any:
        return Made(door(*args, **options), make, args, options)
    return make
