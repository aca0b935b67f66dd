# SPDX-License-Identifier: Apache-2.0
"""Products with weights that a program overwrites are cut in two; oracle: the meaning of the same graph."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import compare, graph_of

from chainrule import native
from chainrule.native.rewrites.split_k import halves
from chainrule.ops import compose as C
from chainrule.ops import movement as M


def learn(x, w):
    return [w - 0.01 * C.matmul(M.permute_dims(x, (1, 0)), C.matmul(x, w)), C.matmul(x, w)]


def products(graph):
    return [node.inputs[1].shape for node in graph.nodes if node.op.name == "contract"]


def arrays(m: int, k: int, n: int) -> list[np.ndarray]:
    r = np.random.default_rng(0)
    return [r.standard_normal((m, k), np.float32), r.standard_normal((k, n), np.float32)]


@pytest.mark.parametrize(("m", "k", "n", "cut"), [(32, 784, 128, True), (9, 256, 65, True), (7, 784, 128, False),
                                                  (200, 784, 128, True), (400, 784, 128, False),
                                                  (32, 785, 128, False), (32, 784, 10, False)])
def test_small_batches_are_cut_and_have_the_same_value(m, k, n, cut):
    inputs = arrays(m, k, n)
    graph = graph_of(learn, inputs, aliases=((0, 1),))
    assert ((2, k // 2, n) in products(halves(graph))) == cut
    compare(graph, inputs, rtol=1e-4, atol=2e-3, threads=2)


def test_weights_that_stay_are_not_cut():
    graph = graph_of(learn, arrays(32, 784, 128))
    assert products(halves(graph)) == products(graph)


def test_threads_do_not_change_the_bits():
    x, w = arrays(32, 784, 128)
    graph = graph_of(learn, [x, w], aliases=((0, 1),))
    one, two = ([a.copy() for a in native.load(graph, threads)([x, w.copy()])] for threads in (1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))
