# SPDX-License-Identifier: Apache-2.0
"""Public parameters say what they take: few of them are `Any`, and the package tells type checkers to read them."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import chainrule
from chainrule import nn, typing

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import public_names

SAYS_NOTHING = ("Any", "Any | None", inspect.Parameter.empty)


def functions() -> Iterator[Callable[..., Any]]:
    """Public functions, constructors and methods, each once, without what a user does not call."""
    seen = set()
    for module in public_names.modules():
        for name in public_names.names(module):
            value = getattr(importlib.import_module(module), name)
            found = [value.__init__,
                     *(f for key, f in vars(value).items() if key not in public_names.NOT_SHOWN and key[0] != "_")] \
                if isinstance(value, type) else [getattr(value, "values", value)]
            for function in (inspect.unwrap(f) for f in found if callable(f)):
                if (
                    inspect.isfunction(function)
                    and function.__module__.startswith("chainrule")
                    and function not in seen
                ):
                    seen.add(function)
                    yield function


def test_fewer_than_one_in_twenty_parameters_is_any() -> None:
    found = [(f.__qualname__, p) for f in functions() for p in inspect.signature(f).parameters.values() if p.name
             != "self"]
    silent = [f"{name}({p.name})" for name, p in found if p.annotation in SAYS_NOTHING]
    assert len(found) > 2500 and len(silent) < 0.05 * len(found), f"{len(silent)} of {len(found)}: {silent}"


def test_type_checkers_read_the_package() -> None:
    assert (Path(chainrule.__file__).parent / "py.typed").exists()


def test_the_names_exist() -> None:
    assert all(hasattr(typing, name) for name in typing.__all__)


def test_arrays_of_all_kinds_have_what_array_like_asks_for() -> None:
    for value in (chainrule.asarray([1.0]), chainrule.Variable([1.0]),
                  nn.Dense(1, input_shape=(1,))(np.ones((1, 1), "float32"))):
        assert isinstance(value.__array__(), np.ndarray)
