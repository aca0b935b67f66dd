# SPDX-License-Identifier: Apache-2.0
"""Hyperparameters: spaces of settings, and `cr.tune`, which searches them.

    space = {"learning_rate": tuning.log_uniform(1e-4, 1e-1), "activation": tuning.choice("relu", "tanh")}
    print(cr.tune(train, space, trials=30, prune="asha", journal="search.jsonl"))
"""

from typing import Any

from ..foundations.names import unknown_attribute
from .journal import Record
from .pruning import ASHA
from .search import Search, Winner, tune
from .space import choice, integer, log_uniform, uniform
from .trial import Pruned, Trial

__all__ = ["ASHA", "Pruned", "Record", "Search", "Trial", "Winner", "choice", "integer", "log_uniform", "tune",
           "uniform"]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("tuning", name, __all__)
