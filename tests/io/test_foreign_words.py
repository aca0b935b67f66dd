# SPDX-License-Identifier: Apache-2.0
"""Words of other libraries at the top level, of optimisers and of callbacks are answered with ours."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim, train
from chainrule.errors import ArgumentError
from chainrule.foundations.foreign import CALLBACK, MODELS, OPTIMIZER, STEP, TOP


@pytest.mark.parametrize("name", TOP)
def test_at_the_top(name):
    with pytest.raises(AttributeError, match=re.escape(TOP[name])):
        getattr(cr, name)


@pytest.mark.parametrize(
    "text",
    sorted(set(re.findall(r"cr\.[a-z_.A-Z0-9]+", " ".join([*TOP.values(), *OPTIMIZER.values(), *MODELS.values()])))),
)
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


@pytest.mark.parametrize("optimizer", [optim.Adam(0.1), optim.accumulate(optim.SGD(0.1), 2),
                                       copy.deepcopy(optim.Adam(0.1)), pickle.loads(pickle.dumps(optim.Adam(0.1)))])
def test_a_step_as_a_method(optimizer):
    with pytest.raises(ArgumentError, match=re.escape(STEP)):
        optimizer.step()
    with pytest.raises(TypeError, match="not a method"):
        optimizer.step(lambda: None)


def test_the_count_of_steps_remains_a_variable():
    model, optimizer = cr.nn.Sequential([cr.nn.Dense(1, input_shape=(1,))]), optim.Adam(0.1)
    optimizer.update(model, cr.gradients(cr.sum(model(np.ones((1, 1), "float32"))), model))
    assert optimizer.step.item() == 1 and pickle.loads(pickle.dumps(optimizer)).step.item() == 1


@pytest.mark.parametrize("name", MODELS)
def test_of_a_ready_made_model(name):
    with pytest.raises(AttributeError, match=re.escape(MODELS[name])):
        getattr(cr.models, name)


def test_a_misspelt_model():
    with pytest.raises(AttributeError, match="resnet_cifar"):
        cr.models.resnet_cifr  # noqa: B018
    assert not hasattr(cr.models, "_nothing")


@pytest.mark.parametrize("name", CALLBACK)
def test_of_a_callback(name):
    mine = type("Mine", (train.Callback,), {name: lambda self: None})()
    with pytest.raises(ArgumentError, match=re.escape(CALLBACK[name])):
        cr.fit(cr.nn.Dense(2), (np.ones((4, 3), "float32"), np.zeros(4, "int64")), loss="cross_entropy", callbacks=mine,
               progress=False)
