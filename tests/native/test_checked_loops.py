# SPDX-License-Identifier: Apache-2.0
"""Loops whose bodies choose elements by index: machine code, and the first bad index is told as in eager code."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import BoundsError
from chainrule.foundations import tree
from chainrule.native.plan.steps import HostStep
from chainrule.ops.index import scatter

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(10, 5)).astype("float32")
GOOD, BAD = np.array([1, 9, -3, 0]), np.array([1, 9, 13, 0, 55])


def lookup(indices):
    return cr.scan(lambda c, k: (cr.sin(c + cr.take(TABLE, k, axis=0)), c), cr.zeros((5,)), indices)


def additions(indices):
    """Writes into a table by index."""
    return cr.scan(lambda c, k: (scatter(c, cr.reshape(k, (1,)), cr.ones((1, 5))), None), TABLE, indices)[0]


def until(indices):
    """Goes on from index to index; from what is read for a bad one it would never stop."""
    return cr.while_loop(lambda s: s < 100.0, lambda s: s * 2 * cr.take(np.array([0, 1], "float32"), indices[0]),
                         cr.ones(()))


def nested(indices):
    def body(c, x):
        return lookup(indices)[0] + c + x, cr.cond(x > 0, lambda: cr.take(TABLE, indices[1], axis=0), lambda: c)
    return cr.scan(body, cr.zeros((5,)), np.arange(3, dtype="float32"))


def mapped(indices):
    return cr.vmap(lambda row: lookup(row + indices)[1])(np.zeros((64, 1), "int64"))


def message(function, *arrays) -> str:
    with pytest.raises(BoundsError) as caught:
        function(*arrays)
    return str(caught.value).partition("  fix")[0]


@pytest.fixture(params=["1", "2"])
def threads(request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_THREADS", request.param)


@pytest.mark.parametrize("function", [lookup, additions, nested, mapped])
def test_bodies_with_indices_are_the_loop(threads: None, function) -> None:
    for a, b in zip(tree.flatten(function(GOOD))[0], tree.flatten(cr.compile(function)(GOOD))[0], strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [lookup, additions, until, nested, mapped])
def test_they_are_machine_code(function) -> None:
    steps = cr.compile(function, backend="native").lower(GOOD).program.plan.steps
    assert [step.node.op.name for step in steps if isinstance(step, HostStep)] == []


@pytest.mark.parametrize("function", [lookup, additions, until, nested])
def test_the_first_bad_index_is_told(threads: None, function) -> None:
    compiled = cr.compile(function)
    bad = BAD if function is not until else np.array([13])
    for _ in range(2):  # a failure leaves nothing behind
        assert message(compiled, bad) == message(function, bad)
    if function is not until:
        assert compiled(np.where(BAD > 9, 1, BAD)) is not None


def test_a_bad_index_of_a_mapped_loop_is_an_error(threads: None) -> None:
    message(cr.compile(mapped), BAD)


def test_a_loop_that_is_fed_by_a_bad_index_ends(threads: None) -> None:
    def fed(values, i):
        factor = cr.sum(cr.take(values, i) * values)  # a bad index is read as the first value: 0
        return cr.while_loop(lambda s: s < 100, lambda s: s * 2 * factor, cr.ones(()))
    compiled = cr.compile(fed)
    values = np.array([0, 1, 2], "float32")
    assert compiled(values, 2).item() == 144
    assert "7" in message(compiled, values, 7)


def test_variables_stay_as_they_were(threads: None) -> None:
    inside, beside = cr.Variable(np.zeros((1000, 5), "float32")), cr.Variable(np.zeros(100_000, "float32"))

    def function(indices):
        def body(c, k):
            inside.assign(inside.value + cr.take(TABLE, k, axis=0))
            return c + 1, None
        last = cr.scan(body, 0.0, indices)[0]
        beside.assign(cr.scan(lambda c, _: (c + 1, None), beside.value, None, length=3)[0])
        return last
    compiled = cr.compile(function)
    message(compiled, BAD)
    assert not inside.numpy().any() and not beside.numpy().any()
    compiled(GOOD)
    np.testing.assert_allclose(inside.numpy()[7], TABLE[GOOD].sum(0), rtol=1e-5)
    assert (beside.numpy() == 3).all()


def test_derivatives_with_indices_are_those_of_eager_code(threads: None) -> None:
    def loss(table, indices):
        return cr.sum(cr.scan(lambda c, k: (cr.sin(c + cr.take(table, k, axis=0)), c * c), cr.ones((5,)), indices)[1])
    gradient = cr.grad(loss)
    np.testing.assert_allclose(cr.compile(gradient)(TABLE, GOOD).numpy(), gradient(TABLE, GOOD).numpy(), rtol=1e-5,
                               atol=1e-6)
    message(cr.compile(gradient), TABLE, BAD)
