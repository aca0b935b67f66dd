# SPDX-License-Identifier: Apache-2.0
"""Loops on the native backend: carries of every kind, both directions, history, gradients, loops within loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_check import check, graph_of

from chainrule.compiler.transform import grad
from chainrule.ir.bind import bind
from chainrule.ir.graph import Graph
from chainrule.ir.node import REGISTRY
from chainrule.ops import compose as C
from chainrule.ops import reduce as R


def randoms(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32") * np.float32(0.3)


def body_of(function: Any, *arrays: np.ndarray) -> Graph:
    return graph_of(function, arrays)


def scan(body: Graph, *inputs: Any, carries: int, sequences: int, length: int, reverse: bool = False,
         history: bool = False) -> Any:
    return bind(REGISTRY["scan"], *inputs, body=body, carries=carries, sequences=sequences, length=length,
                reverse=reverse, history=history)


def cell(h: Any, c: Any, x: Any, w: Any) -> list[Any]:
    z = C.tanh(C.matmul(h, w) + x)
    c = 0.5 * c + z
    return [z * C.sigmoid(c), c, R.sum(z, axis=1)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [5, 200])
def test_recurrence(reverse: bool, history: bool, threads: int, size: int) -> None:
    h, c = randoms(4, size), randoms(4, size, seed=1)
    x, w = randoms(7, 4, size, seed=2), randoms(size, size, seed=3) / size
    body = body_of(cell, h, c, x[0], w)
    options = {"carries": 2, "sequences": 1, "length": 7, "reverse": reverse, "history": history}
    check(lambda *v: list(scan(body, *v, **options)), h, c, x, w, threads=threads)


def test_large_carry_is_updated_in_place() -> None:
    total, x = randoms(150, 200), randoms(5, 150, 200, seed=1)
    body = body_of(lambda s, x: [s + x * x, R.mean(s)], total, x[0])
    check(lambda *v: list(scan(body, *v, carries=1, sequences=1, length=5)), total, x)
    turned = body_of(lambda s, x: [C.matmul(s, C.matrix_transpose(x)) * 0.01], randoms(150, 150), randoms(150, 150))
    check(lambda *v: list(scan(turned, *v, carries=1, sequences=1, length=3)), randoms(150, 150),
          randoms(3, 150, 150, seed=1))


def test_unchanged_and_exchanged_carries() -> None:
    a, b, x = randoms(3, 4), randoms(3, 4, seed=1), randoms(6, 3, 4, seed=2)
    body = body_of(lambda a, b, x: [b, a, a + x], a, b, x[0])
    for history in (False, True):
        check(lambda *v, history=history: list(scan(body, *v, carries=2, sequences=1, length=6, history=history)), a, b,
              x)


def test_one_step_and_scalars() -> None:
    a, x = np.float32(0.5).reshape(()), randoms(1, 3)
    body = body_of(lambda a, x: [a + R.sum(x), x * a], a, x[0])
    check(lambda *v: list(scan(body, *v, carries=1, sequences=1, length=1)), a, x)
    counter = np.asarray(0, "int64")
    body = body_of(lambda i: [i + 1, i * i], counter)
    check(lambda i: list(scan(body, i, carries=1, sequences=0, length=9)), counter)


def test_gradient_of_a_loop() -> None:
    h, x, w = randoms(4, 5), randoms(7, 4, 5, seed=2), randoms(5, 5, seed=3)
    body = body_of(lambda h, x, w: [C.tanh(C.matmul(h, w) + x), h], h, x[0], w)

    def loss(h: Any, x: Any, w: Any) -> Any:
        last, seen = scan(body, h, x, w, carries=1, sequences=1, length=7)
        return R.sum(last * last) + R.sum(seen)

    check(lambda *v: list(grad(loss, argnums=(0, 1, 2))(*v)), h, x, w)


def test_loop_within_a_loop() -> None:
    a, x = randoms(3, 4), randoms(5, 6, 3, 4, seed=1)
    inner = body_of(lambda a, x: [a * 0.9 + x, a], a, x[0, 0])

    def step(a: Any, x: Any) -> list[Any]:
        last, seen = scan(inner, a, x, carries=1, sequences=1, length=6)
        return [last * 0.5, R.sum(seen, axis=0)]

    outer = body_of(step, a, x[0])
    check(lambda *v: list(scan(outer, *v, carries=1, sequences=1, length=5)), a, x)


def test_body_that_needs_the_host() -> None:
    a, x = randoms(3, 4), randoms(5, 3, 4, seed=1)
    body = body_of(lambda a, x: [a + bind(REGISTRY["cumsum"], x, axis=1)], a, x[0])
    check(lambda *v: list(scan(body, *v, carries=1, sequences=1, length=5)), a, x)
