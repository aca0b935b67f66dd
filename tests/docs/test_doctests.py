# SPDX-License-Identifier: Apache-2.0
"""Every public name shows an example, and every example gives what it says.

Examples see `cr`, `np` and `nn`, run in an empty folder, and may differ from the text in the last digits of a number.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import public_names

WITHOUT: dict[str, str] = {
    "chainrule.rl": "A2C Agent DoubleQLearning DQN evaluate_policy ExpectedSARSA exponential linear Reinforce Returns "
                    "SAC SARSA TabularAgent TD3",
    "chainrule.train": "SavedRun",
}  # module -> names that have no example yet; only ever shorter
NEEDS = {"chainrule.models.fill_mask": "tokenizers", "chainrule.models.load_tokenizer": "tokenizers",
         "chainrule.train.tensorboard": "tensorboard", "chainrule.rl.Gym": "gymnasium", "chainrule.distribute": "jax",
         "chainrule.serving.application": "starlette",
         **dict.fromkeys([f"chainrule.mesh.{name}"
                          for name in ("distribute", "Mesh", "Mesh.shard", "Mesh.plan", "Plan", "Plan.fits")],
                         "jax")}  # what is not there in every environment
NUMBER = re.compile(r"(?<![\w.])-?(?:\d+\.\d*|\.\d+|\d+(?=e))(?:e[-+]?\d+)?")


class Checker(doctest.OutputChecker):
    """Numbers with a point agree to 1e-4, all other text exactly but for white space."""

    def check_output(self, want: str, got: str, flags: int) -> bool:
        if super().check_output(want, got, flags):
            return True
        expected, found = ([float(x) for x in NUMBER.findall(text)] for text in (want, got))
        same = len(expected) == len(found) and np.allclose(expected, found, rtol=1e-4, atol=1e-6)
        return (same and super().check_output(*(re.sub(r"\s+", "", NUMBER.sub("#", text)) for text in (want, got)),
                                              flags))


def documented(module: str) -> list[tuple[str, Any]]:
    """The names of a module, each with its object; of a class also the methods that it writes itself."""
    found = [(name, getattr(importlib.import_module(module), name)) for name in public_names.names(module)
             if public_names.is_ours(module, name)]
    methods = [(f"{name}.{key}", member) for name, value in found if isinstance(value, type)
               for key, member in vars(value).items() if not key.startswith("_") and inspect.isfunction(member)]
    return found + methods


def examples(module: str, name: str, value: Any) -> doctest.DocTest:
    """The examples in a docstring."""
    scope = {"cr": cr, "np": np, "nn": nn}
    return doctest.DocTestParser().get_doctest(inspect.getdoc(value) or "", scope, f"{module}.{name}", None, None)


@pytest.mark.parametrize("module", public_names.modules())
def test_examples_give_what_they_say(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(Checker(), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
                                   | doctest.IGNORE_EXCEPTION_DETAIL)
    texts: list[str] = []
    for name, value in documented(module):
        if (needed := NEEDS.get(f"{module}.{name}")) and not importlib.util.find_spec(needed):
            continue
        cr.random.seed(0)
        runner.run(examples(module, name, value), out=texts.append)
    assert not runner.failures, "".join(texts)


@pytest.mark.parametrize("module", public_names.modules())
def test_every_name_has_an_example(module: str) -> None:
    without = {name for name, value in documented(module) if "." not in name
               and not examples(module, name, value).examples}
    listed = set(WITHOUT.get(module, "").split())
    assert without - listed == set(), "write an example"
    assert listed - without == set(), "has one now: take the name off the list"


def test_numbers_agree_but_for_their_last_digits() -> None:
    check = Checker().check_output
    assert check("Tensor([0.70710677], dtype=float32)\n", "Tensor([0.7071068], dtype=float32)\n", 0)
    assert not check("Tensor([0.7071], dtype=float32)\n", "Tensor([0.7081], dtype=float32)\n", 0)
    assert not check("Tensor([1.], dtype=float32)\n", "Tensor([1.], dtype=float64)\n",
                     0) and not check("12\n", "13\n", 0)
