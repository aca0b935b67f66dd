# SPDX-License-Identifier: Apache-2.0
"""Loops whose threads take rows of the batch, whose weights are packed and whose constants are computed before. Oracle:
the meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_check import compare, graph_of

from chainrule import native
from chainrule.compiler.transform import grad
from chainrule.ir.graph import interpret
from chainrule.native.plan.steps import PackStep, ScanStep
from chainrule.native.rewrites.batch import LEAST, row_blocks, with_rows
from chainrule.native.target import Target
from chainrule.ops import compose as C
from chainrule.ops import movement as M
from chainrule.ops import reduce as R
from chainrule.ops.precision import round_to_bfloat16
from chainrule.ops.scan import scan


def randoms(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32") * np.float32(0.3)


def gated(states: Any, now: Any, constants: Any) -> Any:
    """A cell with two states, gates side by side, and a mask."""
    (h, c), (x, keep), (w, b) = states, now, constants
    z = x + C.matmul(h, w) + b
    n = h.shape[1]
    f, g = C.sigmoid(M.slice_axis(z, 1, 0, n)), C.tanh(M.slice_axis(z, 1, n, 2 * n))
    new = f * c + (1.0 - f) * g
    return [keep * C.tanh(new) + (1.0 - keep) * h, new], [h * g]


def operands(batch: int, units: int, steps: int) -> list[np.ndarray]:
    keep = (np.random.default_rng(7).random((steps, batch, 1)) < 0.8).astype("float32")
    return [randoms(batch, units), randoms(batch, units, seed=1), randoms(steps, batch, 2 * units, seed=2), keep,
            randoms(units, 2 * units, seed=3), randoms(2 * units, seed=4)]


def loss(h: Any, c: Any, x: Any, keep: Any, w: Any, b: Any, reverse: bool = False) -> Any:
    (last, cell), (seen,) = scan(gated, [h, c], [x, keep], [w, b], reverse=reverse)
    return R.sum(last * last) + R.sum(cell) + R.sum(seen * seen)


def scans(program: native.Program) -> list[ScanStep]:
    return [s for s in program.plan.steps if isinstance(s, ScanStep)]


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 31, 32, 63, 64, 100, 130, 1000])
def test_blocks_cover_all_rows(rows: int) -> None:
    found = row_blocks(rows)
    assert sum(count * n for count, n in found) == (rows if rows >= 2 * LEAST else 0)
    assert all(n >= LEAST for _, n in found)
    assert not found or max(n for _, n in found) - min(n for _, n in found) <= 1


@pytest.mark.parametrize(("batch", "units"), [(3, 7), (16, 20), (17, 33), (40, 5), (70, 24)])
@pytest.mark.parametrize("reverse", [False, True])
def test_values_and_gradients_of_odd_sizes(batch: int, units: int, reverse: bool) -> None:
    arrays = operands(batch, units, 9)
    graph = graph_of(lambda *v: [loss(*v, reverse=reverse),
                                 *grad(lambda *a: loss(*a, reverse=reverse), argnums=(0, 1, 2, 4, 5))(*v)], arrays)
    one, two = (compare(graph, arrays, rtol=1e-4, atol=1e-4, threads=n) for n in (1, 2))
    assert [s.is_split for s in scans(two)] == [batch >= 2 * LEAST] * len(scans(two))
    for a, b in zip(one(arrays), two(arrays), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_are_packed_once_for_all_steps() -> None:
    arrays = operands(17, 33, 9)
    program = compare(graph_of(lambda *v: list(grad(loss, argnums=(2, 4))(*v)), arrays), arrays, rtol=1e-4, atol=1e-4)
    packed = [s for s in program.plan.steps if isinstance(s, PackStep)]
    products = [s for scan in scans(program) for x in scan.blocks for s in x.body.steps if s.kind == "product"]
    assert packed
    assert all(s.spec.packed for s in products)


def test_few_steps_do_not_pay_for_packing() -> None:
    arrays = operands(17, 33, 2)
    program = compare(graph_of(loss, arrays), arrays, rtol=1e-4)
    assert not any(isinstance(s, PackStep) for s in program.plan.steps)


@pytest.mark.parametrize("batch", [9, 40])
def test_rows_that_depend_on_each_other_stay_together(batch: int) -> None:
    def mixed(states: Any, now: Any, constants: Any) -> Any:
        h = C.tanh(now[0] + states[0] - R.mean(states[0], axis=0, keepdims=True))
        return [h], [h]

    arrays = [randoms(batch, 6), randoms(11, batch, 6, seed=1)]
    graph = graph_of(lambda h, x: scan(mixed, [h], [x])[1][0], arrays)
    program = compare(graph, arrays, threads=2)
    assert not any(s.is_split for s in scans(program))


@pytest.mark.parametrize("units", [16, 17])
def test_a_batch_as_wide_as_the_state(units: int) -> None:
    """Extents that are equal by chance must not be taken for each other."""
    def step(states: Any, now: Any, constants: Any) -> Any:
        w, = constants
        h = C.tanh(C.matmul(states[0], w) + now[0] + w[0] + R.sum(w, axis=1))
        return [h], [h]

    arrays = [randoms(units, units), randoms(5, units, units, seed=1), randoms(units, units, seed=2)]
    compare(graph_of(lambda h, x, w: scan(step, [h], [x], [w])[1][0], arrays), arrays, threads=2)


def test_the_body_for_some_rows_means_the_same() -> None:
    batch, rows = 20, 7
    arrays = [x[0] if i in (2, 3) else x for i, x in enumerate(operands(batch, 6, 1))]
    body = graph_of(lambda h, c, x, keep, w, b: [y for part in gated([h, c], [x, keep], [w, b]) for y in part], arrays)
    cut = with_rows(body, 4, rows)
    assert cut is not None
    for got, want in zip(interpret(cut, [x[5:5 + rows] if i < 4 else x for i, x in enumerate(arrays)]),
                         interpret(body, arrays), strict=True):
        np.testing.assert_array_equal(got, want[5:5 + rows])


def test_what_is_the_same_in_every_step_is_computed_before() -> None:
    def step(states: Any, now: Any, constants: Any) -> Any:
        w, = constants
        unit = w / R.sum(w * w, axis=0, keepdims=True) ** 0.5
        return [C.tanh(C.matmul(states[0], unit) + now[0])], [states[0]]

    arrays = [randoms(6, 20), randoms(9, 6, 20, seed=1), randoms(20, 20, seed=2)]
    graph = graph_of(lambda *v: list(grad(lambda h, x, w: R.sum(scan(step, [h], [x], [w])[1][0] ** 2),
                                          argnums=(0, 1, 2))(*v)), arrays)
    program = compare(graph, arrays, rtol=1e-4, atol=1e-4, threads=2)
    forward = scans(program)[0].blocks[0].body
    assert not any(x.kind in ("div", "sqrt") for s in forward.steps if s.kind == "loops" for stage in s.kernel.stages
                   for store in stage.stores for x in [store.value, *store.value.args])


@pytest.mark.parametrize(("batch", "units"), [(9, 24), (17, 40), (32, 33)])
def test_bfloat16_weights_are_rounded_before_the_loop(batch: int, units: int) -> None:
    def step(states: Any, now: Any, constants: Any) -> Any:
        h = C.tanh(now[0] + C.matmul(round_to_bfloat16(states[0]), round_to_bfloat16(constants[0])))
        return [h], [h]

    def run(h: Any, x: Any, w: Any) -> Any:
        return scan(step, [h], [x], [w])[1][0]

    arrays = [randoms(batch, units), randoms(10, batch, units, seed=1), randoms(units, units, seed=2)]
    graph = graph_of(run, arrays)
    one, two = (compare(graph, arrays, rtol=1e-2, atol=1e-4, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one(arrays)[0], two(arrays)[0])
    loop, = scans(one)
    if Target.host().pairs:
        assert not any(s.writes[0].shape == (units, units) for x in loop.blocks for s in x.body.steps)
        assert any(s.panels.narrow for s in one.plan.steps if isinstance(s, PackStep)) == (units % 2 == 0)


def test_rounded_carries_and_sequences_stay_float32_inside() -> None:
    def step(states: Any, now: Any, constants: Any) -> Any:
        h = 0.7 * states[0] + now[0] * constants[0]
        return [h], [h]

    arrays = [randoms(17, 20), randoms(9, 17, 20, seed=1), randoms(17, 20, seed=2)]
    graph = graph_of(lambda *v: scan(step, *([round_to_bfloat16(x)] for x in v))[1][0], arrays)
    compare(graph, arrays, threads=2)


def test_packed_products_around_a_loop_within_a_loop() -> None:
    def inner(states: Any, now: Any, constants: Any) -> Any:
        h = C.tanh(C.matmul(states[0], constants[0]) + now[0])
        return [h], [h]

    def outer(states: Any, now: Any, constants: Any) -> Any:
        (h,), (seen,) = scan(inner, [C.matmul(states[0], constants[0])], [now[0]], [constants[0]])
        return [C.matmul(h, constants[0])], [R.sum(seen, axis=0)]

    arrays = [randoms(17, 20), randoms(9, 8, 17, 20, seed=1), randoms(20, 20, seed=2)]
    graph = graph_of(lambda h, x, w: scan(outer, [h], [x], [w])[1][0], arrays)
    program = compare(graph, arrays, rtol=1e-4, atol=1e-4, threads=2)
    body = scans(program)[0].blocks[0].body
    assert [s.spec.packed for s in body.steps if s.kind == "product"] == [True, True]
