# SPDX-License-Identifier: Apache-2.0
"""What the settings of optimisers, schedules, penalties and transforms are, by their names: a new one has the checks of
the old ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from ..foundations.arguments import (
    Check,
    count,
    counting,
    counts,
    finite,
    function,
    not_negative,
    optional,
    positive,
    switch,
    text,
    whole,
)
from ..foundations.remade import remade

P = ParamSpec("P")


def rate(value: Any) -> str | None:
    """The check of a learning rate: a number or a schedule."""
    return None if function(value) is None or not_negative(value) is None else "a number, 0 or more, or a schedule"


def mapping(value: Any) -> str | None:
    """The check of a dict."""
    return None if isinstance(value, Mapping) else "a dict"


def coefficients(value: Any) -> str | None:
    """The check of several numbers."""
    return (None if isinstance(value, tuple | list) and all(finite(item) is None for item in value)
            else "a tuple of finite numbers")


OF_OPTIMIZERS: dict[str, Check] = {
    "learning_rate": rate, **dict.fromkeys(("nesterov", "centered", "amsgrad", "decoupled", "relative", "lazy"),
                                           switch), "iterations": counting,
    "history": counting, "coefficients": coefficients, "only": optional(text), "seed": whole, "patterns": mapping,
    "steps": counting,
    "larger_is_better": optional(switch), "monitor": text, "constraint": function, "operator": function,
    **dict.fromkeys(("decay", "tolerance", "least_change", "least", "power", "start_averaging"), not_negative),
}
OF_FUNCTIONS: dict[str, Check] = {
    **dict.fromkeys(("learning_rate", "final", "strength", "l1_strength", "l2_strength", "low", "high", "power"),
                    not_negative),
    **dict.fromkeys(("factor", "first", "last", "shrink", "decay", "least"), positive), "rise": finite, "axis": whole,
    "only": optional(text),
    "boundaries": counts, "warmup_steps": count, "schedule": rate, "shape": text,
}


def setting(maker: Callable[P, Callable[..., Any]]) -> Callable[P, Any]:
    """`remade`, with the checks of settings."""
    return remade(maker, OF_FUNCTIONS)
