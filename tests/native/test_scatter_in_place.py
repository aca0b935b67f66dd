# SPDX-License-Identifier: Apache-2.0
"""Variables updated by `scatter`: written where they lie, unless a check fails or somebody reads the old content later.
"""

from __future__ import annotations

import numpy as np
import pytest
from native_check import graph_of

import chainrule as cr
from chainrule import native, nn
from chainrule.errors import BoundsError
from chainrule.ir.graph import interpret
from chainrule.ops.index import scatter, take


def updated(table, index, rows):  # type: ignore[no-untyped-def]
    new = scatter(table, index, rows, axis=1, mode="set")
    return [new, cr.sum(new * new)]


def operands(places: list[int]) -> list[np.ndarray]:
    r = np.random.default_rng(0)
    return [r.standard_normal((3, 50, 20), np.float32), np.array(places),
            r.standard_normal((3, len(places), 20), np.float32)]


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_are_written_where_the_variable_lies(threads: int) -> None:
    arrays = operands([4, 49, 4])
    graph = graph_of(updated, arrays, aliases=((0, 0),))
    program = native.load(graph, threads)
    assert [step.kind for step in program.plan.steps].count("scatter") == 2  # the look at the indices, and the rows
    assert all(step.kind == "scatter" or step.node.op.name != "input"
               for step in program.plan.steps), "the table is copied"
    want = interpret(graph, arrays)
    new, total = program([arrays[0].copy(), *arrays[1:]])
    assert np.array_equal(new, want[0])
    np.testing.assert_allclose(total, want[1], rtol=1e-5)


def test_a_step_that_fails_leaves_the_variable_alone() -> None:
    arrays = operands([4, 50, 5])
    program = native.load(graph_of(updated, arrays, aliases=((0, 0),)), 2)
    table = arrays[0].copy()
    with pytest.raises(BoundsError):
        program([table, *arrays[1:]])
    assert np.array_equal(table, arrays[0])
    arrays[1][1] = 7
    assert np.array_equal(program([table, *arrays[1:]])[0][:, 7], arrays[2][:, 1])


def test_a_later_reader_of_the_old_content_gets_it() -> None:
    def function(table, index, rows):  # type: ignore[no-untyped-def]
        new = scatter(table, index, rows, axis=1, mode="set")
        return [new, cr.sum(take(table, cr.astype(cr.sum(new) * 0, "int64"), axis=1)) + cr.sum(new)]

    arrays = operands([0, 3, 9])
    graph = graph_of(function, arrays, aliases=((0, 0),))
    for got, want in zip(native.load(graph, 2)([arrays[0].copy(), *arrays[1:]]), interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_a_second_check_comes_before_the_first_variable_is_written() -> None:
    def function(one, two, index, rows):  # type: ignore[no-untyped-def]
        first = scatter(one, index, rows, axis=1, mode="set")
        return [first, scatter(two, index + 1, rows, axis=1, mode="set"), cr.sum(first)]

    table, index, rows = operands([4, 49, 5])
    one, two = table.copy(), table.copy()
    with pytest.raises(BoundsError):
        native.load(graph_of(function, [one, two, index, rows], aliases=((0, 0), (1, 1))), 1)([one, two, index, rows])
    assert np.array_equal(one, table) and np.array_equal(two, table)


def test_a_full_cache_of_keys_and_values_raises_and_keeps_them() -> None:
    cr.random.seed(0)
    layers = [nn.TransformerEncoderLayer(2, 32) for _ in range(2)]
    x = np.random.default_rng(1).standard_normal((3, 20, 16)).astype(np.float32)

    def model(x, caches=(None, None)):  # type: ignore[no-untyped-def]
        for layer, cache in zip(layers, caches, strict=True):
            x = layer(x, cache=cache, **({} if cache else {"causal": True}))
        return x

    whole = model(x).numpy()
    caches = [layer.cache(3, 19) for layer in layers]
    step = cr.compile(lambda x: model(x, caches), backend="native")
    for t in range(19):
        np.testing.assert_allclose(step(x[:, t:t + 1]).numpy()[:, 0], whole[:, t], atol=2e-5)
    before = [np.array(v.value) for cache in caches for v in (cache.keys, cache.values, cache.position)]
    with pytest.raises(BoundsError):
        step(x[:, 19:])
    after = [np.array(v.value) for cache in caches for v in (cache.keys, cache.values, cache.position)]
    assert all(map(np.array_equal, before, after))


