# SPDX-License-Identifier: Apache-2.0
"""What arguments of statistics are, by their names: `guard(globals(), names, by_name(names))` puts the checks before
functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..foundations.arguments import (
    Check,
    between,
    count,
    counting,
    finite,
    function,
    guard_methods,
    not_negative,
    numbers,
    positive,
    text,
    unmasked,
    whole,
    wholes,
)


def finite_numbers(value: Any) -> str | None:
    """The check of real numbers, one or an array of them, all finite."""
    if not isinstance(value, bool | np.bool_) and numbers(value) is not None:
        return "real numbers"
    if hasattr(value, "node"):  # a tensor may have no values yet
        return None
    bad = np.argwhere(~np.isfinite(np.asarray(unmasked(value), np.float64)))
    return ("finite numbers, and there is one that is "
            f"not{f' at {tuple(bad[0].tolist())}' if bad.size and bad.shape[1] else ''}" if len(bad) else None)


def labels(value: Any) -> str | None:
    """The check of class numbers or truth values."""
    try:
        array = np.asarray(unmasked(value))
    except ValueError:  # rows of several lengths
        return "an array of labels"
    return None if array.dtype.kind in "biuf" else "an array of labels"


NAMES: dict[str, Check] = {
    "level": between, "method": text, "test": text, "correction": text, "seed": count, "index": whole, "keep": wholes,
    "given": wholes, "function": function, "labels": labels,
    "tolerance": positive, "noise": finite_numbers, "smoothing": not_negative,
    **dict.fromkeys(("only_a", "only_b", "both", "neither"), whole),
    **dict.fromkeys(("bins", "resamples", "steps"), counting),
    **dict.fromkeys(("prior", "likelihood", "joint", "d", "p", "probabilities", "totals", "weights", "start", "alpha",
                     "beta", "concentration", "mean", "std", "successes", "failures", "trials", "counts", "values",
                     "x"), finite_numbers), **dict.fromkeys(("data", "batch"), numbers),
}


def by_name(functions: Iterable[str], **own: Check) -> dict[str, dict[str, Check]]:
    """The checks for each of the functions; `own` are those of arguments that differ here."""
    return dict.fromkeys(functions, NAMES | own)


def guard_class(owner: type, *methods: str, **own: Check) -> None:
    """The checks before the constructor and these methods of a class."""
    guard_methods(owner, ["__init__", *methods], by_name(["__init__", *methods], **own))


__all__ = ["by_name", "finite", "finite_numbers", "guard_class"]
