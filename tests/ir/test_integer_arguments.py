# SPDX-License-Identifier: Apache-2.0
"""Integers among the arguments of compiled functions: those that are only calculated with share a program. Oracle:
eager code."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

X = np.random.default_rng(0).standard_normal((4, 3))
BACKENDS = ["native", "reference", "xla"]


def programs(compiled):
    return len({id(entry.program) for entry in compiled.entries.values()})


def compare(function, values, backend="native", x=X, rtol=1e-9):
    """The compiled function, and that it gives what the function gives, for every value."""
    if backend == "xla":
        pytest.importorskip("jax")
    compiled = cr.compile(function, backend=backend)
    for value in values:
        found, wanted = np.asarray(compiled(x, value)), np.asarray(function(cr.asarray(x), value))
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-12, err_msg=f"{value}")
    return compiled


CALCULATE = {
    "factor": lambda x, n: cr.tanh(x) * n,
    "rate": lambda x, n: x * (0.1 * 0.99**n),
    "correction of a moment": lambda x, n: x / (1 - 0.9 ** (n + 1)),
    "cosine": lambda x, n: x * math.cos(n / 100),
    "twice": lambda x, n: (x + n) * n - n,
    "whole": lambda x, n: cr.astype(x * 10, "int32") * n + n,
    "small": lambda x, n: cr.astype(x, "int8") + n % 100,
    "condition": lambda x, n: cr.where(cr.sum(x) + n > 20, x, -x),
    "array": lambda x, n: x * cr.asarray(n),
    "derivative": lambda x, n: cr.gradients(cr.sum(cr.sin(x * n)), x) if isinstance(x, cr.Tensor) else x,
    "chosen row": lambda x, n: cr.take(x, n % 4, axis=0),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALCULATE)
def test_one_program_for_all_values_that_are_calculated_with(name, backend):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = compare(CALCULATE[name], [*range(2, 45), 1, 0, -1, 7, 3], backend)
    assert programs(compiled) <= 4


USE = {
    "extent": lambda x, n: x[:1] + cr.zeros((abs(n) % 5 + 1, 3)),
    "choice": lambda x, n: x * n if n > 3 else x - n,
    "steps": lambda x, n: sum((x * k for k in range(n % 4)), x),
    "kind": lambda x, n: x * n if isinstance(n, int) and type(n) is int else x,
    "word": lambda x, n: x * len(f"{n}") + hash(n) % 7,
    "place": lambda x, n: x[n % 4] * n,
    "digits": lambda x, n: x * float(n**9 + 1) / float(n**9 + 2),
    "dictionary": lambda x, n: x * {0: 1, 3: 5}.get(n, 2),
    "bits": lambda x, n: x * (n & 3) + (n << 3) + ~n,
    "odd": lambda x, n: cr.exp(x) if n % 2 else cr.sin(x) * n,
    "own": lambda x, n: cr.sum(x) if n == 5 else cr.sum(x, axis=n % 2),
    "power": lambda x, n: x ** (n % 5),
}


@pytest.mark.parametrize("name", USE)
def test_whatever_is_done_with_an_integer_is_seen(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of many programs
        compare(USE[name], [2, 3, 4, 5, 3, 10**6, 0, 1, 12, 5, 2])


def test_two_integers_of_which_one_is_an_extent():
    compiled = cr.compile(lambda x, n, step: cr.sum(x[:n]) * step + n)
    for n in (1, 2, 3):
        for step in range(10):
            np.testing.assert_allclose(compiled(X, n, step), X[:n].sum() * step + n, rtol=1e-9)
    assert programs(compiled) <= 6


def test_bools_and_integers_are_different_arguments():
    compiled = cr.compile(lambda x, n: x * 3 if n is True else x * n)
    for n in (1, True, 2, True, 5, False, 1):
        np.testing.assert_allclose(compiled(X, n), X * (3 if n is True else n))


def test_gradients_through_a_program_of_many_values():
    weight = cr.Variable(X[0])
    compiled = cr.compile(lambda x, n: cr.sum(cr.sin(x * weight.value * n)))
    for n in range(6):
        x = cr.asarray(X)
        over_x, over_weight = cr.gradients(compiled(x, n), [x, weight])
        slope = np.cos(X * X[0] * n) * n
        np.testing.assert_allclose(over_x, slope * X[0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(over_weight, (slope * X).sum(0), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_variables_that_a_program_of_many_values_assigns(backend):
    if backend == "xla":
        pytest.importorskip("jax")
    a, b = cr.Variable(X[0]), cr.Variable(X[1])

    @cr.compile(backend=backend)
    def step(x, n):
        a.assign(a.value * 0.5 + n)
        b.assign(b.value + x * a.value)
        return cr.sum(b.value) * n

    wanted = X[0].copy(), X[1].copy()
    for n in range(8):
        wanted = (first := wanted[0] * 0.5 + n), wanted[1] + X[2] * first
        np.testing.assert_allclose(step(X[2], n), wanted[1].sum() * n, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(a.numpy(), wanted[0], rtol=1e-9)
    np.testing.assert_allclose(b.numpy(), wanted[1], rtol=1e-9)
    assert programs(step) == 2


def test_a_training_step_that_is_given_its_number():
    def train(compiled):
        cr.random.seed(0)
        model, optimizer = nn.Sequential([nn.Dense(4, activation="tanh"), nn.Dense(1)]), optim.SGD(0.1)
        model(X.astype("float32"))

        def step(x, n):
            loss = cr.mean((model(x) - 1.0) ** 2)
            optimizer.update(model, {name: g * (1 / (1 + n)) for name, g in cr.gradients(loss, model).items()})
            return loss

        run = cr.compile(step) if compiled else step
        return [float(run(cr.asarray(X.astype("float32")), n)) for n in range(8)]

    np.testing.assert_allclose(train(True), train(False), rtol=1e-5)


def test_what_is_read_beside_the_arguments_still_counts():
    setting = {"scale": 1.0}
    compiled = cr.compile(lambda x, n: x * n * setting["scale"])
    for n in range(4):
        np.testing.assert_allclose(compiled(X, n), X * n)
    setting["scale"] = 2.0
    for n in range(6):
        np.testing.assert_allclose(compiled(X, n), X * n * 2)


def test_values_seen_long_ago_are_forgotten():
    compiled = cr.compile(lambda x, n: x * n, backend="reference")
    for n in range(600):
        compiled(1.0, n)
    assert len(compiled.entries) <= 520 and programs(compiled) == 2
    assert float(compiled(1.0, 3)) == 3


def test_random_functions_of_two_integers():
    pieces = [lambda y, a, b: y * a, lambda y, a, b: y + b, lambda y, a, b: y * 0.5**b,
              lambda y, a, b: cr.tanh(y) if a > b else y,
              lambda y, a, b: y[:a % 3 + 1] if len(y.shape) and y.shape[0] > 3 else y - a,
              lambda y, a, b: cr.where(y > b, y, a),
              lambda y, a, b: cr.take(y, b % y.shape[0], axis=0)[None] + y, lambda y, a, b: y * (a * b) - a // (b + 1)]
    for seed in range(15):
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(pieces), 3)

        def function(x, a, b, chosen=chosen):
            for i in chosen:
                x = pieces[i](x, a, b)
            return x

        compiled = cr.compile(function, backend="native" if seed < 8 else "reference")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for a, b in rng.integers(0, 6, (8, 2)).tolist():
                np.testing.assert_allclose(compiled(X, a, b), function(cr.asarray(X), a, b), rtol=1e-9,
                                           err_msg=f"{seed} {a} {b}")
