# SPDX-License-Identifier: Apache-2.0
"""Maps in the epilogues of products and convolutions: the values of the reference, and no kernel of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_check import check, compare, graph_of

from chainrule import native
from chainrule.ops import elementwise as E
from chainrule.ops import movement as M
from chainrule.ops import reduce as R
from chainrule.ops.compose import matrix_transpose
from chainrule.ops.contract import conv, conv_transpose


def randoms(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def kinds(program: native.Program) -> list[str]:
    return [step.kind for step in program.plan.steps]


def relu(x):  # type: ignore[no-untyped-def]
    return E.maximum(x, 0.0)


SAME: dict[str, Any] = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
SHAPES = [(1, 40, 33), (3, 17, 16), (37, 65, 10), (64, 5, 50), (50, 700, 7), (130, 40, 2), (5, 3, 128)]


@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_bias_activation_and_residual(m: int, k: int, n: int) -> None:
    x, w, b, r = randoms(m, k), randoms(k, n, seed=1), randoms(n, seed=2), randoms(m, n, seed=3)
    program = check(lambda x, w, b, r: relu(x @ w + b) + r, x, w, b, r, rtol=1e-4, atol=1e-4)
    assert kinds(program) == ["product"]
    check(lambda x, w, b: 2.0 * (x @ matrix_transpose(w)) - b, x, randoms(n, k), b, rtol=1e-4, atol=1e-4)
    check(lambda x, w, s: (x @ w) * s, x, w, randoms(m, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
def test_result_that_others_need_too(threads: int) -> None:
    x, w, b = randoms(30, 20), randoms(20, 37, seed=1), randoms(37, seed=2)

    def function(x, w, b):  # type: ignore[no-untyped-def]
        y = x @ w
        return [y, relu(y + b), R.sum(y, axis=0)]

    check(function, x, w, b, rtol=1e-4, atol=1e-4, threads=threads)


def test_booleans_and_several_results() -> None:
    x, w, c = randoms(30, 20), randoms(20, 37, seed=1), randoms(30, 37, seed=2) > 0

    def function(x, w, c):  # type: ignore[no-untyped-def]
        y = x @ w
        return [E.where(c, y, 0.0), y > 0.5]

    check(function, x, w, c, rtol=1e-4, atol=1e-4)


def test_batches_of_products() -> None:
    x, w, b = randoms(3, 2, 9, 12), randoms(3, 2, 12, 21, seed=1), randoms(21, seed=2)
    program = check(lambda x, w, b: relu(x @ w + b), x, w, b, rtol=1e-4, atol=1e-4)
    assert kinds(program) == ["product"]


def test_change_of_layout() -> None:
    x, w = randoms(3, 4, 9, 12), randoms(3, 4, 12, 16, seed=1)
    program = check(lambda x, w: M.reshape(M.permute_dims(x @ w, (0, 2, 1, 3)), (27, 64)), x, w, rtol=1e-4, atol=1e-4)
    assert kinds(program) == ["product"]
    check(lambda x, w: M.reshape(M.permute_dims(x @ w, (3, 2, 1, 0)), (144, 12)), x, w, rtol=1e-4, atol=1e-4)


def test_operands_that_share_a_layout() -> None:
    x, w, u = randoms(3, 4, 9, 12), randoms(3, 4, 12, 16, seed=1), randoms(64, 10, seed=2)

    def function(x, w, u):  # type: ignore[no-untyped-def]
        y = M.reshape(M.permute_dims(x @ w, (0, 2, 1, 3)), (3, 9, 64))
        forward = M.reshape(y, (27, 64)) @ u
        return [forward, M.reshape(M.permute_dims(y, (2, 0, 1)), (64, 27)) @ forward]

    program = check(function, x, w, u, rtol=1e-3, atol=1e-3)
    assert kinds(program) == ["product"] * 3


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("taps", [1, 3])
def test_convolutions(stride: int, taps: int) -> None:
    x, w, b = randoms(2, 9, 11, 5), randoms(taps, taps, 5, 19, seed=1), randoms(19, seed=2)
    options = {"stride": (stride, stride), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    program = check(lambda x, w, b: relu(conv(x, w, **options) + b), x, w, b, rtol=1e-4, atol=1e-4)
    assert kinds(program) == ["product"]
    extent = lambda n: (n + 2 - taps) // stride + 1

    def backward(g, w, mask):  # type: ignore[no-untyped-def]
        return E.where(mask > 0, conv_transpose(g, w, extents=x.shape[1:3], **options), 0.0)

    check(backward, randoms(2, extent(9), extent(11), 19), w, x, rtol=1e-4, atol=1e-4)


def test_updates_in_place() -> None:
    x, g, w = randoms(20, 16), randoms(20, 40, seed=1), randoms(16, 40, seed=2)

    def function(x, g, w):  # type: ignore[no-untyped-def]
        y = x @ w
        return [w - 0.1 * (matrix_transpose(x) @ g), y]

    graph = graph_of(function, [x, g, w], aliases=((0, 2),))
    program = compare(graph, [x, g, w], rtol=1e-4, atol=1e-4)
    mine = w.copy()
    assert program([x, g, mine])[0] is mine
    np.testing.assert_allclose(mine, w - 0.1 * (x.T @ g), rtol=1e-4, atol=1e-4)


def test_a_map_waits_for_what_it_reads() -> None:
    x, w, u = randoms(20, 16), randoms(16, 40, seed=1), randoms(20, 40, seed=2)

    def function(x, w, u):  # type: ignore[no-untyped-def]
        y = x @ w
        total = R.sum(u, axis=0)
        return [y + total, total]

    check(function, x, w, u, rtol=1e-4, atol=1e-4)


def test_a_normalisation_and_its_slow_activation_are_one_kernel() -> None:
    """The statistics read the whole product, so the normalisation cannot be its epilogue and waits for its activation.
    """
    x, w = randoms(6, 9, 8, 5), randoms(3, 3, 5, 20, seed=1)

    def function(x, w):  # type: ignore[no-untyped-def]
        y = conv(x, w, **SAME)
        y = (y - R.mean(y, axis=(0, 1, 2))) / R.std(y, axis=(0, 1, 2))
        return y * E.tanh(y)

    program = check(function, x, w, rtol=1e-4, atol=1e-4)
    assert sum(step.writes[0].shape == (6, 9, 8, 20) for step in program.plan.steps) == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_short_lines_of_several_samples(threads: int) -> None:
    x, w, b, r = randoms(7, 4, 4, 20), randoms(3, 3, 20, 40, seed=1), randoms(40, seed=2), randoms(7, 4, 4, 40, seed=3)
    function = lambda x, w, b, r: relu(conv(x, w, **SAME) + b) + r
    program = check(function, x, w, b, r, rtol=1e-4, atol=1e-4, threads=threads)
    assert kinds(program) == ["product"]
