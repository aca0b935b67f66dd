# SPDX-License-Identifier: Apache-2.0
"""Random programs as bodies of loops and branches. Oracle: the same loop run eagerly by Python, and finite differences
of its value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.ir import Tensor
from chainrule.ops.broadcast import broadcast_to
from chainrule.testing import available
from chainrule.testing.programs import grown

BACKENDS = [name for name in ("reference", "native", "xla") if available(name)]
STEPS = 4


def like(x: Tensor, y: Tensor) -> Tensor:
    """y in the shape of x."""
    y = y if y.shape == x.shape else broadcast_to(cr.mean(y) if y.size else cr.sum(y), x.shape)
    return cr.tanh(y + 0.1 * x)


class Loop:
    """A loop whose body is a random program of what it carries, reads and is given; with branches, and loops within it.
    """

    def __init__(self, seed: int, kind: str):
        rng = np.random.default_rng(seed)
        self.seed, self.kind, self.reverse, self.size = seed, kind, bool(rng.integers(2)), int(rng.integers(3, 8))
        self.inner, self.branch, self.held = (bool(coin) for coin in rng.integers(0, 2, 3))
        self.start = rng.standard_normal((3, 2))
        self.variable = cr.Variable(self.start)
        shape = lambda: tuple(int(n) for n in rng.integers(1, 5, rng.integers(0, 3)))
        one = shape()
        self.arrays = [rng.standard_normal(s) for s in (shape(), one, (STEPS, *shape()), (STEPS, *one), shape())]

    def body(self, a: Tensor, b: Tensor, *read: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The next (a, b), and what is kept of the step."""
        pool = grown(np.random.default_rng(self.seed), [a, b, *read], self.size)
        last = pool[-1]
        if self.branch:
            last = cr.cond(cr.sum(b) > 0, lambda x, y: like(x, y), lambda x, y: like(x, cr.sin(y)), a, last)
        if self.inner:
            last = cr.scan(lambda h, x: (like(h, x) * h, h), like(a, last), self.inner_rows())[0]
        if self.held:
            self.variable.assign(like(self.variable.value, pool[-2]))
            last = like(a, last) + cr.mean(self.variable.value)
        return like(a, last), like(b, pool[-2]), pool[-3]

    def inner_rows(self) -> Tensor:
        return cr.asarray(np.linspace(-1, 1, 3))

    def __call__(self, a: Any, b: Any, xs: Any, ys: Any, w: Any) -> list[Tensor]:
        a, b, xs, ys, w = (cr.asarray(v) for v in (a, b, xs, ys, w))
        if self.kind == "scan":
            def step(carry: Any, row: Any) -> Any:
                first, second, kept = self.body(*carry, *row, w)
                return (first, second), kept
            (a, b), kept = cr.scan(step, (a, b), (xs, ys), reverse=self.reverse)
            return [a, b, kept, self.variable.value]

        def go_on(carry: Any) -> Tensor:
            return (carry[0] < STEPS) & (cr.sum(carry[1]) < 50)

        def again(carry: Any) -> Any:
            n, first, second = carry
            return (n + 1, *self.body(first, second, xs, ys, w)[:2])
        n, a, b = cr.while_loop(go_on, again, (cr.asarray(np.int64(0)), a, b), max_steps=STEPS + 2)
        return [a, b, n, self.variable.value]

    def value(self, *arrays: Any) -> Tensor:
        """One number that depends on all that comes out."""
        return sum((cr.sum(cr.sin(x)) for x in self(*arrays) if x.dtype.kind == "f" and x.size), start=cr.asarray(0.0))

    def run(self, function: Callable[..., Any], backend: str | None) -> list[np.ndarray]:
        self.variable.assign(self.start)
        found = (cr.compile(function, backend=backend) if backend else function)(*self.arrays)
        return [x.numpy() for x in found]


def check(seed: int, kind: str) -> None:
    loop = Loop(seed, kind)
    wanted = loop.run(loop, None)
    for backend in BACKENDS:
        for a, b in zip(loop.run(loop, backend), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, err_msg=f"{kind} {seed} on {backend}")


def check_gradients(seed: int, kind: str) -> None:
    loop = Loop(seed, kind)
    gradient = lambda *arrays: cr.grad(loop.value, tuple(range(len(arrays))))(*arrays)
    wanted = loop.run(gradient, None)
    for backend in BACKENDS:
        for a, b in zip(loop.run(gradient, backend), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9, err_msg=f"{kind} {seed} on {backend}")
    if loop.held:  # what is read of a Variable that was assigned is a leaf, which a difference does not know
        loop.held = False
        wanted = loop.run(gradient, None)
    assert_slope(loop, wanted)


def assert_slope(loop: Loop, gradients: list[np.ndarray]) -> None:
    """The gradients are those of differences of the value, in one random direction."""
    rng, size = np.random.default_rng(loop.seed), 1e-6
    directions = [rng.standard_normal(x.shape) for x in loop.arrays]
    ends = [loop.value(*(x + sign * size * d for x, d in zip(loop.arrays, directions, strict=True))).item()
            for sign in (1, -1)]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * size), rel=1e-4, abs=1e-6), f"{loop.kind} {loop.seed}"


@pytest.mark.parametrize("kind", ["scan", "while"])
@pytest.mark.parametrize("seed", range(6))
def test_a_random_body_gives_what_python_gives(seed: int, kind: str) -> None:
    check(seed, kind)


@pytest.mark.parametrize("kind", ["scan", "while"])
@pytest.mark.parametrize("seed", range(3))
def test_a_random_body_has_the_derivatives_of_the_loop(seed: int, kind: str) -> None:
    check_gradients(100 + seed, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scan", "while"])
@pytest.mark.parametrize("block", range(2))
def test_many_random_bodies(block: int, kind: str) -> None:
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        check(seed, kind)
        check_gradients(seed, kind)
