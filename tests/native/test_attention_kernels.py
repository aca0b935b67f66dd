# SPDX-License-Identifier: Apache-2.0
"""Attention block by block: equal to its NumPy meaning forward, backward and twice, on any number of threads, in little
memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from native_check import graph_of

import chainrule as cr
from chainrule import native, nn
from chainrule.ir import bind
from chainrule.ir.graph import interpret
from chainrule.native.plan.attention import AttentionStep
from chainrule.ops.attention import ATTENTION, GRADIENT, attention
from chainrule.ops.movement import permute_dims

Shapes = tuple[int, int, int, int, int, int, int]


def both(q, k, v, g, *mask, causal, scale):
    """Attention and its gradient for the slope g."""
    y, denominator = bind(ATTENTION, q, k, v, *mask, causal=causal, scale=scale)
    return [y, denominator, *bind(GRADIENT, q, k, v, denominator, cr.sum(y * g, axis=3), g, *mask, causal=causal,
                                  scale=scale)]


def operands(rng, shapes: Shapes, dtype: str, mask: tuple[int, ...] | None) -> list[np.ndarray]:
    n, t, s, h, g, d, e = shapes
    arrays = [rng.standard_normal(x).astype(dtype) for x in ((n, t, h, d), (n, s, g, d), (n, s, g, e), (n, t, h, e))]
    if mask is None:
        return arrays
    allowed = rng.random(mask) < 0.6
    if mask[2] > 1:
        allowed[:, :, 0] = False  # a query that may attend to nothing
    return [*arrays, allowed]


def drawn(rng) -> tuple[Shapes, str, tuple[int, ...] | None, bool]:
    """Odd extents, shared heads, every kind of mask."""
    groups, t = int(rng.integers(1, 4)), int(rng.integers(8, 150))
    s = int(rng.choice([t, rng.integers(1, 200)]))
    d = int(rng.choice([1, 3, 8, 16, 32, 40, 64, 80]))
    shapes = int(rng.integers(1, 3)), t, s, groups * int(rng.integers(1, 4)), groups, d, int(rng.choice([d, d, 5, 48]))
    n, t, s, h = shapes[:4]
    mask = tuple(int(x) if rng.random() < 0.5 else 1 for x in (n, h, t, s)) if rng.random() < 0.5 else None
    return shapes, str(rng.choice(["float32", "float32", "float64"])), mask, bool(rng.integers(2))


FIXED = [((1, 128, 128, 2, 2, 32, 32), "float32", None, True), ((1, 70, 70, 4, 2, 32, 16), "float32", None, True),
         ((1, 300, 300, 1, 1, 16, 16), "float32", None, True), ((1, 40, 19, 1, 1, 8, 8), "float32", None, True),
         ((2, 33, 200, 2, 1, 64, 64), "float64", (2, 1, 1, 200), False)]


@pytest.mark.parametrize("case", [*FIXED, *range(8), *[pytest.param(i, marks=pytest.mark.slow) for i in range(8, 60)]])
def test_kernels_are_the_meaning_on_any_number_of_threads(case) -> None:
    rng = np.random.default_rng(case if isinstance(case, int) else 99)
    shapes, dtype, mask, causal = drawn(rng) if isinstance(case, int) else case
    arrays = operands(rng, shapes, dtype, mask)
    graph = graph_of(lambda *x: both(*x, causal=causal, scale=1 / np.sqrt(shapes[5])), arrays)
    alone, together = native.load(graph, 1), native.load(graph, 2)
    assert sum(isinstance(step, AttentionStep) for step in alone.plan.steps) == 2
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    for one, two, want in zip(alone(arrays), together(arrays), interpret(graph, arrays), strict=True):
        assert one.tobytes() == two.tobytes()
        np.testing.assert_allclose(one, want, rtol=tolerance, atol=tolerance)


def test_a_query_that_sees_nothing_gets_zero_and_gives_none() -> None:
    rng = np.random.default_rng(0)
    arrays = operands(rng, (1, 20, 20, 2, 2, 8, 8), "float32", (1, 1, 20, 20))
    run = cr.compile(lambda *x: both(*x, causal=False, scale=0.5), backend="native")
    y, denominator, dq, dk, dv = (x.numpy() for x in run(*arrays))
    assert (y[:, 0] == 0).all() and (denominator[:, 0] == -np.inf).all() and (dq[:, 0] == 0).all()
    assert np.isfinite(dk).all() and np.isfinite(dv).all()


@pytest.mark.parametrize("by_query", [False, True])
def test_keys_behind_the_last_that_is_seen_are_left_out(by_query: bool) -> None:
    """Padded batches: samples of different lengths, one of which is empty."""
    rng = np.random.default_rng(8)
    arrays = operands(rng, (4, 70, 203, 2, 1, 24, 24), "float32", None)
    places, lengths = np.arange(203), np.array([203, 65, 1, 0])
    mask = (places < lengths[:, None])[:, None, None]
    if by_query:
        mask = mask & (places < np.arange(70)[:, None] * 2)[None, None]
    arrays.append(mask)
    graph = graph_of(lambda *x: both(*x, causal=False, scale=0.2), arrays)
    for one, two, want in zip(native.load(graph, 1)(arrays), native.load(graph, 2)(arrays), interpret(graph, arrays),
                              strict=True):
        assert one.tobytes() == two.tobytes()
        np.testing.assert_allclose(one, want, rtol=2e-5, atol=2e-5)


def test_not_a_number_stays_one() -> None:
    q, k, v = (np.ones((1, 16, 1, 4), np.float32) for _ in range(3))
    q[0, 3, 0, 0] = np.nan
    y = cr.compile(attention, backend="native")(q, k, v).numpy()
    assert np.isnan(y[0, 3]).all() and np.isfinite(np.delete(y, 3, axis=1)).all()


def test_heads_are_read_where_they_lie() -> None:
    """Operands with the heads in front are views: there is no copy, and no array of all pairs."""
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((2, 3, 256, 16)).astype(np.float32) for _ in range(3)]
    graph = graph_of(lambda *x: attention(*(permute_dims(a, (0, 2, 1, 3)) for a in x), causal=True), arrays)
    program = native.load(graph, 1)
    assert [step.kind for step in program.plan.steps] == ["attention"]
    np.testing.assert_allclose(program(arrays)[0], interpret(graph, arrays)[0], rtol=2e-5, atol=2e-5)
    assert program.plan.arena < 2 * 3 * 256 * 256 * 4 / 4


FEW = [((2, 1, 256, 4, 4, 64, 64), "float32", (1, 1, 1, 256), False),
       ((1, 3, 77, 2, 1, 24, 40), "float32", (1, 2, 3, 77), True),
       ((2, 7, 16, 2, 2, 5, 3), "float64", (2, 1, 1, 16), False),
       ((1, 2, 33, 1, 1, 1, 1), "float32", (1, 1, 2, 1), False),
       ((3, 1, 20, 3, 3, 16, 16), "float64", None, False), ((1, 5, 19, 4, 2, 130, 70), "float32", (1, 1, 1, 1), True)]


@pytest.mark.parametrize(("shapes", "dtype", "mask", "causal"), FEW)
def test_few_queries_are_the_meaning_on_any_number_of_threads(shapes: Shapes, dtype: str, mask, causal: bool) -> None:
    q, k, v, _, *allowed = operands(np.random.default_rng(7), shapes, dtype, mask)
    for part in allowed:
        part[..., part.shape[3] // 2:] &= part.shape[3] < 30  # room for keys to come
    arrays = [q, k, v, *allowed]
    graph = graph_of(lambda *x: list(bind(ATTENTION, *x, causal=causal, scale=0.3)), arrays)
    alone, together = native.load(graph, 1), native.load(graph, 2)
    assert [step.kind for step in alone.plan.steps] == ["attention"]
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    for one, two, want in zip(alone(arrays), together(arrays), interpret(graph, arrays), strict=True):
        assert one.tobytes() == two.tobytes()
        np.testing.assert_allclose(one, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shapes", [(2, 1, 10, 2, 1, 8, 8), (1, 5, 0, 2, 2, 4, 4), (0, 16, 16, 2, 2, 4, 4),
                                    (1, 16, 16, 2, 2, 0, 4)])
def test_what_has_no_kernel_is_written_out(shapes: Shapes) -> None:
    arrays = operands(np.random.default_rng(2), shapes, "float32", None)
    graph = graph_of(lambda *x: both(*x, causal=False, scale=0.5), arrays)
    program = native.load(graph, 1)
    assert not any(step.label.startswith("attention") for step in program.plan.steps)
    for got, want in zip(program(arrays), interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_second_derivatives(causal: bool) -> None:
    """Of the compiled program against the same eagerly, whose derivatives the table of operations checks."""
    rng = np.random.default_rng(3)
    q, k, v, _ = operands(rng, (1, 12, 14, 2, 1, 4, 4), "float64", None)

    def slope(q, k, v):
        g = cr.grad(lambda *x: cr.sum(attention(*x, causal=causal) ** 3), (0, 1, 2))(q, k, v)
        return sum(cr.sum(x * x) for x in g)
    found = cr.compile(cr.grad(slope, (0, 1, 2)), backend="native")(q, k, v)
    for got, want in zip(found, cr.grad(slope, (0, 1, 2))(*map(cr.asarray, (q, k, v))), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-9, atol=1e-11)


def test_one_tensor_may_be_query_key_and_value() -> None:
    x = np.random.default_rng(4).standard_normal((1, 9, 2, 4))
    loss = lambda x: cr.sum(cr.sin(attention(x, x, x, causal=True)))
    apart = cr.grad(lambda q, k, v: cr.sum(cr.sin(attention(q, k, v, causal=True))), (0, 1, 2))(x, x, x)
    np.testing.assert_allclose(cr.grad(loss)(x).numpy(), sum(g.numpy() for g in apart), rtol=1e-12)
    twice = lambda f: cr.grad(lambda x: cr.sum(cr.grad(f)(x) ** 2))(x).numpy()
    separate = lambda x: cr.sum(cr.sin(attention(x, x * 1.0, x + 0.0, causal=True)))
    np.testing.assert_allclose(twice(loss), twice(separate), rtol=1e-10)


def test_blocks_are_the_weights_of_all_pairs() -> None:
    """A layer with a bias of zero goes the other way: all weights in memory."""
    rng = np.random.default_rng(5)
    q, k, v = (rng.standard_normal((2, 65, 4, 16)).astype(np.float32) for _ in range(3))
    mask = rng.random((2, 1, 65, 65)) < 0.7
    for causal in (False, True):
        run = lambda bias, causal=causal: cr.compile(lambda *x: nn.attention(*x, bias=bias, causal=causal),
                                                     backend="native")(q, k, v, mask)
        np.testing.assert_allclose(run(None).numpy(), run(0.0).numpy(), rtol=2e-5, atol=2e-6)


MEMORY = """
import resource, sys
import numpy as np
import chainrule as cr
from chainrule import nn
x = np.random.default_rng(0).standard_normal((1, 4096, 32)).astype(np.float32)
w = cr.Variable(np.random.default_rng(1).standard_normal((32, 96)).astype(np.float32) / 6)

@cr.compile
def step(x):
    q, k, v = (cr.reshape((x @ w)[..., 32 * i:32 * i + 32], (1, 4096, 4, 8)) for i in range(3))
    loss = cr.sum(nn.attention(q, k, v, bias={bias}, causal=True) ** 2)
    return loss, cr.gradients(loss, [w])[0]

loss, g = step(x)
print(float(loss), float(np.linalg.norm(g.numpy())), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_long_sequences_need_a_quarter_of_the_memory() -> None:
    """Row of the promise: at 4096 steps, peak memory of training at most 1/4 of that with all weights, at the same
    loss."""
    found = [np.array(subprocess.run([sys.executable, "-c", MEMORY.format(bias=bias)], check=True, capture_output=True,
                                     text=True).stdout.split(), float)
             for bias in ("None", "0.0")]
    np.testing.assert_allclose(found[0][:2], found[1][:2], rtol=1e-4)
    assert found[0][2] <= found[1][2] / 4, found
