# SPDX-License-Identifier: Apache-2.0
"""Words of other libraries at the top level, of optimisers and of callbacks are answered with ours."""

from __future__ import annotations

import re

import pytest

import chainrule as cr
from chainrule import optim, train
from chainrule.errors import ArgumentError
from chainrule.foreign import CALLBACK, OPTIMIZER, TOP


@pytest.mark.parametrize("name", TOP)
def test_at_the_top(name):
    with pytest.raises(AttributeError, match=re.escape(TOP[name])):
        getattr(cr, name)


@pytest.mark.parametrize("text", sorted(set(re.findall(r"cr\.[a-z_.A-Z0-9]+", " ".join([*TOP.values(), *OPTIMIZER.values()])))))
def test_the_answers_exist(text):
    found = cr
    for part in text.split(".")[1:]:
        found = getattr(found, part)


def test_a_misspelt_name_at_the_top():
    with pytest.raises(AttributeError, match="softmax"):
        cr.sofmax  # noqa: B018
    assert not hasattr(cr, "_nothing")


@pytest.mark.parametrize("name", OPTIMIZER)
def test_of_an_optimiser(name):
    with pytest.raises(AttributeError, match=re.escape(OPTIMIZER[name])):
        getattr(optim.Adam(0.1), name)


@pytest.mark.parametrize("name", CALLBACK)
def test_of_a_callback(name):
    with pytest.raises(ArgumentError, match=re.escape(CALLBACK[name])):
        type("Mine", (train.Callback,), {name: lambda self: None})
