# SPDX-License-Identifier: Apache-2.0
"""Values that are made again instead of being kept: the same bits, less memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.compiler.known import known
from chainrule.ir.graph import interpret
from chainrule.native.plan import fuse, stored
from chainrule.native.rewrites import rematerialise
from chainrule.native.rewrites.rematerialise import Search
from chainrule.native.rewrites.rematerialise import again as recompute


def step_of(layers: int, width: int):
    cr.random.seed(0)
    model = nn.Sequential([nn.Dense(width, activation=nn.GELU(approximate="tanh")) for _ in range(layers)]
                          + [nn.LayerNorm(), nn.Dense(3)])
    optimizer = optim.Adam(1e-2)
    x = np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 3, 64)
    model(x)

    @cr.compile(backend="native")
    def step(x, y):
        loss = losses.cross_entropy(model(x, training=True), y)
        optimizer.update(model, cr.gradients(loss, model))
        return loss
    return step, model, (x, y)


@pytest.fixture
def small(monkeypatch):
    """Limits that small programs reach."""
    monkeypatch.setattr(rematerialise, "LARGE", 1 << 12)
    monkeypatch.setattr(stored, "MUCH_MEMORY", 1 << 12)
    monkeypatch.setattr(fuse, "MUCH", 1 << 12)
    monkeypatch.setattr(fuse, "FAR", 12)
    return monkeypatch


def test_the_same_bits_in_less_memory(small) -> None:
    found = {}
    for worth in (0, 1 << 60):
        small.setattr(rematerialise, "WORTH", worth)
        known.clear()
        step, model, arrays = step_of(6, 64)
        history = [float(step(*arrays)) for _ in range(3)]
        program = next(iter(step.entries.values())).program
        found[worth] = history, [v.numpy().tobytes() for v in model.parameters().values()], program.plan.arena
    (kept, arena_kept), (made, arena_made) = ((x[:2], x[2]) for x in (found[1 << 60], found[0]))
    assert kept == made
    assert arena_made < 0.75 * arena_kept


def test_only_operations_on_elements_are_repeated(small) -> None:
    small.setattr(rematerialise, "WORTH", 0)
    step, _, arrays = step_of(4, 64)
    graph = step.lower(*arrays).graph
    after = recompute(graph)
    count = lambda graph, name: sum(node.op.name == name for node in graph.nodes)
    assert count(after, "exp") > count(graph, "exp")
    for name in ("contract", "sum", "max", "take", "scatter"):
        assert count(after, name) == count(graph, name)


def test_what_is_small_in_all_is_kept() -> None:
    step, _, arrays = step_of(4, 64)
    graph = step.lower(*arrays).graph
    assert recompute(graph) is graph


def test_a_value_is_late_after_a_long_gap_only(small) -> None:
    step, _, arrays = step_of(4, 64)
    search = Search(step.lower(*arrays).graph)
    for node in search.graph.nodes:
        late = search.late(node)
        if late is not None:
            times = [search.clock[node], *sorted(search.clock[x] for x in search.users[node])]
            assert max(b - a for a, b in itertools.pairwise(times) if b <= late) >= rematerialise.GAP


def test_a_long_chain_is_made_again_in_part_only(small) -> None:
    """A thousand operations in a row, each needed twice: no recursion as deep as the graph."""
    small.setattr(rematerialise, "WORTH", 0)
    x = np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32)

    def function(x):
        for _ in range(1000):
            x = cr.tanh(x + 0.5)
        return cr.sum(x)
    graph = cr.compile(cr.grad(function), backend="reference").lower(x).graph
    after = recompute(graph)
    for one, two in zip(interpret(graph, [x]), interpret(after, [x]), strict=True):
        np.testing.assert_array_equal(one, two)
