# SPDX-License-Identifier: Apache-2.0
"""Optimisers, schedules of their learning rate, and penalties."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, explain, shown
from ..foundations.names import look_up, unknown_attribute
from ..typing import OptimizerLike
from . import averaged, matrices, penalties, proximal, rules, schedules, transforms, variants
from .averaged import ASGD, FTRL
from .base import Optimizer, clip_by_norm
from .lbfgs import LBFGS, Minimum
from .matrices import Adafactor, Muon
from .plateau import Plateau
from .proximal import GradientNoise, Proximal, constrained
from .rules import SGD, Adagrad, Adam, Adamax, AdamW, RMSprop
from .variants import LAMB, Adadelta, Lion, NAdam, RAdam, Rprop
from .wrappers import accumulate, chain, groups, layerwise

NAMES = {name.lower(): getattr(family, name) for family in (rules, variants, matrices, averaged)
         for name in family.__all__}


def get(optimizer: OptimizerLike) -> Optimizer:
    """An optimiser from its name (any case), its class, or itself.

    >>> cr.optim.get("adam")
    Adam(learning_rate=0.001)
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        return look_up("optimiser", optimizer.lower(), NAMES, fix="for example optim.Adam(1e-3)")()
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    fix = ("L-BFGS sees all data at once: optim.LBFGS().minimize(loss, model, 100)" if isinstance(optimizer, LBFGS)
           or optimizer is LBFGS else None)
    raise ArgumentError(explain("this is not an optimiser", got=shown(optimizer),
                                expected="optim.Adam(1e-3), or a name: " + ", ".join(sorted(NAMES)), fix=fix))


__all__ = ["ASGD", "FTRL", "LAMB", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax",
           "GradientNoise",
           "Lion", "Minimum", "Muon", "NAdam", "Optimizer", "Plateau", "Proximal", "RAdam", "RMSprop", "Rprop",
           "accumulate",
           "chain", "clip_by_norm", "constrained", "get", "groups", "layerwise", "penalties", "proximal", "schedules",
           "transforms"]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("optim", name, __all__)
