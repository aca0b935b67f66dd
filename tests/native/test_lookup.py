# SPDX-License-Identifier: Apache-2.0
"""Products of a table's rows: the table is multiplied first where that is less work. Oracle: the meaning of the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_check import check, compare, graph_of

from chainrule import native
from chainrule.compiler.transform import grad
from chainrule.errors import BoundsError
from chainrule.ops import compose as C
from chainrule.ops import index as I
from chainrule.ops import movement as M
from chainrule.ops import reduce as R

TABLE = np.random.default_rng(0).standard_normal((7, 24)).astype("float32")
WEIGHT = np.random.default_rng(1).standard_normal((24, 40)).astype("float32")
TOKENS = np.random.default_rng(2).integers(0, 5, (6, 9))  # rows 5 and 6 are never taken


def rows_of_largest_product(program: native.Program) -> int:
    return max(step.flops for step in program.plan.steps if step.kind == "product") // (2 * 24 * 40)


def project(table: Any, weight: Any) -> Any:
    return C.matmul(I.take(table, TOKENS, axis=0), weight)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_table_is_multiplied_before_rows_are_taken(threads: int) -> None:
    program = check(project, TABLE, WEIGHT, threads=threads)
    assert rows_of_largest_product(program) == len(TABLE)


def test_all_gradients_sum_rows_first() -> None:
    def loss(table: Any, weight: Any) -> Any:
        y = project(table, weight)
        return R.sum(C.tanh(y) * y)

    program = check(lambda *v: list(grad(loss, argnums=(0, 1))(*v)), TABLE, WEIGHT, rtol=1e-4, atol=1e-4)
    assert rows_of_largest_product(program) == len(TABLE)


def test_a_transpose_between_is_seen_through() -> None:
    def loss(table: Any, weight: Any) -> Any:
        x = M.permute_dims(I.take(table, TOKENS, axis=0), (1, 0, 2))
        return R.sum(C.tanh(M.permute_dims(C.matmul(x, weight), (1, 0, 2))))

    program = check(lambda *v: list(grad(loss, argnums=(0, 1))(*v)), TABLE, WEIGHT, rtol=1e-4, atol=1e-4)
    assert rows_of_largest_product(program) == len(TABLE)


def test_rows_that_are_turned_first_are_summed_once() -> None:
    def loss(table: Any, weight: Any) -> Any:
        return R.sum(C.tanh(C.matmul(M.permute_dims(I.take(table, TOKENS, axis=0), (1, 0, 2)), weight)))

    program = check(lambda *v: list(grad(loss, argnums=(0, 1))(*v)), TABLE, WEIGHT, rtol=1e-4, atol=1e-4)
    assert sum(step.kind == "scatter" and step.spec.columns == WEIGHT.shape[1] for step in program.plan.steps) == 1


def test_infinities_in_rows_that_nobody_takes_reach_nothing() -> None:
    table = TABLE.copy()
    table[5], table[6, 0] = np.inf, np.nan

    def loss(table: Any, weight: Any) -> Any:
        return R.sum(C.tanh(project(table, weight)))

    graph = graph_of(lambda *v: [project(*v), *grad(loss, argnums=(0, 1))(*v)], [table, WEIGHT])
    program = compare(graph, [table, WEIGHT], rtol=1e-4, atol=1e-4)
    assert all(np.isfinite(x).all() for x in program([table, WEIGHT]))


def test_large_tables_stay_as_they_are() -> None:
    table = np.random.default_rng(0).standard_normal((100, 24)).astype("float32")
    program = check(project, table, WEIGHT)
    assert rows_of_largest_product(program) == TOKENS.size


def test_other_axes_and_base_values_are_left_alone() -> None:
    check(lambda t, w: C.matmul(I.take(t, TOKENS[0], axis=1), w), TABLE, WEIGHT[:9])
    g = np.random.default_rng(3).standard_normal((54, 40)).astype("float32")
    check(lambda t, w, g: I.scatter(t, TOKENS.reshape(-1), C.matmul(g, C.matrix_transpose(w))), TABLE, WEIGHT, g,
          rtol=1e-4, atol=1e-4)


def test_an_index_out_of_bounds_is_still_reported() -> None:
    graph = graph_of(lambda t, i, w: C.matmul(I.take(t, i, axis=0), w), [TABLE, TOKENS, WEIGHT])
    with pytest.raises(BoundsError, match="9 at position"):
        native.load(graph, 1)([TABLE, np.full_like(TOKENS, 9), WEIGHT])
