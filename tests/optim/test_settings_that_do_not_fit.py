# SPDX-License-Identifier: Apache-2.0
"""Every setting of every optimiser, schedule, penalty, transform and proximal operator refuses what makes no sense,
with our own errors."""

from __future__ import annotations

import inspect
import math
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.errors import ChainruleError
from chainrule.optim import NAMES, penalties, proximal, schedules, transforms

WRONG = ["x", None, math.nan, math.inf, -math.inf, -1.0, [0.1], object(), 1j, True, np.ones(2), {}, len,
         np.float32("nan"), "nan", b"1"]
BASE = {"steps": 10, "decay_steps": 10, "warmup_steps": 2, "boundaries": [1, 2], "every": 3, "period": 5,
        "rise_steps": 3, "grads": {"a": cr.ones(3)},
        "patterns": {"*": {"learning_rate": 0.1}}, "constraint": lambda p: p, "operator": lambda p, rate: p,
        "high": 0.2, "schedules": [0.1, 0.2, 0.3]}
CALLS = {
    **NAMES, "LBFGS": optim.LBFGS, "Plateau": optim.Plateau, "GradientNoise": optim.GradientNoise,
    "accumulate": optim.accumulate, "Proximal": optim.Proximal,
    "constrained": optim.constrained, "groups": optim.groups, "clip_by_norm": optim.clip_by_norm,
    **{f"{module.__name__.split('.')[-1]}.{name}": made for module in (schedules, penalties, transforms, proximal)
       for name, made in vars(module).items()
       if inspect.isfunction(made) and made.__module__ == module.__name__ and name[0] != "_"
       and name not in ("chosen", "others", "constrained")},
}
# what is right after all, by the argument's name: no limit, nothing, a schedule, a callable, a truth value
RIGHT = {
    "clip_norm": [math.inf], "clip_value": [math.inf], "most": [math.inf], "norm": [math.inf], "value": [math.inf],
    "patterns": [{}], "grads": [{}],
    "learning_rate": [len], "schedule": [len], "constraint": [len], "operator": [len], "monitor": ["x", "nan"],
    "only": ["x", "nan"],
    "coupled": [True], "axis": [], "rise": [], "line_search": [None], "fall_steps": [None],
    **{name: [True] for name in ("nesterov", "centered", "amsgrad", "lazy", "relative", "larger_is_better")},
}


def arguments(call):
    return {name: BASE.get(name, optim.SGD(0.1) if name == "optimizer" else 0.1)
            for name, p in inspect.signature(call).parameters.items()
            if (p.default is p.empty or name == "patterns") and p.kind is not p.VAR_POSITIONAL}


@pytest.mark.parametrize("name", CALLS)
def test_every_setting(name):
    call = CALLS[name]
    call(**arguments(call))
    bad = []
    for setting, parameter in inspect.signature(call).parameters.items():
        for value in WRONG if parameter.kind is not parameter.VAR_POSITIONAL else ():
            if any(value is right or (type(value) is type(right) is dict)
                   for right in (parameter.default, *RIGHT.get(setting, ()))):
                continue
            try:
                call(**{**arguments(call), setting: value})
                bad.append(f"{setting}={value!r} is taken")
            except ChainruleError:
                pass
            except Exception as error:
                bad.append(f"{setting}={value!r}: {type(error).__name__}: {error}")
    assert not bad


def test_there_is_no_such_setting():
    with pytest.raises(ChainruleError, match=r"SGD does not take these arguments"):
        optim.SGD(0.1, 0.2, True, False, 0.1, None, None, 1, 2)
    assert list(inspect.signature(optim.SGD).parameters)[:2] == ["learning_rate", "momentum"]


def test_what_a_user_writes_keeps_its_own_errors():
    class Mine(optim.Optimizer):
        def __init__(self, decay="linear"):
            super().__init__(0.1)
            self.decay = {"linear": 1}[decay]

    assert Mine().decay == 1
    with pytest.raises(KeyError):
        Mine("square")


def test_schedules_are_still_pickled_as_calls():
    made = pickle.loads(pickle.dumps(schedules.cosine(0.1, 10)))
    assert made(5).item() == schedules.cosine(0.1, 10)(5).item() and repr(made) == "cosine(0.1, 10)"
