# SPDX-License-Identifier: Apache-2.0
"""Whether a larger value of a monitored number is the better one: its metric says so, and nothing else does.

A column of a history is a metric's name with what was measured in front, such as `validation_accuracy` or
`ema_validation_loss`; losses are better when smaller. A number of which no metric is known has no direction: it is
asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import ArgumentError, explain, shown
from .table import NAMES, resolve

__all__ = ["direction", "larger_is_better"]

PREFIX = re.compile(r"(?:\w*?_)??(?:validation|val|test|training|train)_|(?:ema|swa|average)_")


def direction(column: str, own: Mapping[str, bool] | None = None) -> bool | None:
    """Whether larger is better in this column, None if nobody knows; `own` are metrics of the user by name.

    >>> cr.metrics.direction("accuracy"), cr.metrics.direction("loss"), cr.metrics.direction("colour")
    (True, False, None)
    """
    names = [column, PREFIX.sub("", column, count=1)]
    for name in names:
        if own and name in own:
            return own[name]
    for name in names:
        if name in ("loss", "seconds") or (name.endswith("_loss") and name not in NAMES):
            return False
        try:
            return resolve(name)[0].higher_is_better
        except ArgumentError:
            continue
    return None


def larger_is_better(column: str, own: Mapping[str, bool] | None = None) -> bool:
    """The same; ArgumentError where nobody knows.

    >>> cr.metrics.larger_is_better("validation_accuracy"), cr.metrics.larger_is_better("loss")
    (True, False)
    """
    found = direction(column, own)
    if found is None:
        raise ArgumentError(explain(f"it is not known whether a larger {column} is a better one", got=shown(column),
                                    expected="a loss, or a metric that was given to `fit`",
                                    fix="say it: larger_is_better=True or False"))
    return found
