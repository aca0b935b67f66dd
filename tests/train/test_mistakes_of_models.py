# SPDX-License-Identifier: Apache-2.0
"""Models from which nothing can be learnt, and the line that made a NaN, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import errors, nn, train

X, Y = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32), np.zeros(8, np.int64)


class Nothing(nn.Module):
    def __init__(self):
        self.dense = nn.Dense(2)

    def forward(self, x):
        self.dense(x)


class Two(Nothing):
    def forward(self, x):
        return self.dense(x), self.dense(x)


@pytest.mark.parametrize("use", [lambda m: cr.fit(m, (X, Y), loss="cross_entropy", progress=False),
                                 lambda m: cr.evaluate(m, (X, Y), loss="cross_entropy"),
                                 lambda m: cr.predict(m, X)])
def test_forward_without_return_is_told(use):
    with pytest.raises(errors.ArgumentError, match=r"(?s)forward of Nothing returns nothing.*return \.\.\.") as caught:
        use(Nothing())
    assert "test_mistakes_of_models.py" in str(caught.value)


def test_a_tuple_is_for_a_loss_of_ones_own():
    for use in (cr.fit, cr.evaluate):
        with pytest.raises(errors.ArgumentError, match=r"returns a tuple of 2, and the loss cross_entropy"):
            use(Two(), (X, Y), loss="cross_entropy")
    loss = lambda outputs, targets: cr.losses.cross_entropy(outputs[0] + outputs[1], targets, reduction="none")
    cr.fit(Two(), (X, Y), loss=loss, progress=False)
    assert len(cr.predict(Two(), X)) == 2


def test_a_model_without_parameters_is_told():
    with pytest.raises(errors.ArgumentError, match=r"(?s)nothing to learn.*without parameters"):
        cr.fit(nn.Sequential([nn.Flatten()]), (X, Y), loss="cross_entropy", progress=False)
    frozen = nn.Sequential([nn.Dense(2)])
    frozen(X)
    frozen.freeze()
    with pytest.raises(errors.ArgumentError, match=r"(?s)nothing to learn.*frozen"):
        cr.fit(frozen, (X, Y), loss="cross_entropy", progress=False)


class Makes(nn.Module):
    """A NaN made on a line of its own."""

    def __init__(self, backward):
        self.dense, self.backward = nn.Dense(2), backward

    def forward(self, x):
        z = self.dense(x)
        if self.backward:
            return cr.sqrt(z * 0) * z  # the slope of the root at 0
        return cr.log(z * 0) + z


def said(model, **options):
    with pytest.raises(errors.NonFiniteError) as caught:
        train.fit(model, (X, Y), loss="cross_entropy", progress=False, **options)
    return str(caught.value)


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_nan_is_told_with_the_line_of_the_user(backend):
    forward, backward = said(Makes(False), backend=backend), said(Makes(True), backend=backend)
    assert "`log`" in forward and "return cr.log(z * 0) + z" in forward and "backward" not in forward
    assert "on the way backward" in backward and "return cr.sqrt(z * 0) * z" in backward


@pytest.mark.parametrize("nested", [False, True])
def test_a_nan_of_a_penalty_is_told_with_its_own_operation(nested):
    def penalty(model):
        with cr.no_grad():
            return cr.sum(cr.log(model[0].weight * 0))

    def plain(model):
        return cr.sum(cr.log(model[0].weight * 0))

    text = said(nn.Sequential([nn.Dense(2)]), penalty=penalty if nested else plain)
    assert "`log`" in text and "cr.log(model[0].weight * 0)" in text
