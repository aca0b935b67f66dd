# SPDX-License-Identifier: Apache-2.0
"""What runs zero times is not in the program: loops of no steps, sums over nothing, arrays without elements. Oracle:
eager code."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import errors
from chainrule.ops.scan import scan

ROWS = np.arange(15, dtype="float32").reshape(5, 3) / 10 + 0.1
NONE = np.zeros(0, "int64")
FAR = np.array([9, -9])  # out of bounds of every axis


def loop(x, xs, *, reverse=False, inner=0):
    """A loop over the rows of `xs` that looks up a row of `x` for each, in a loop of `inner` steps in each step."""
    def body(carry, sliced, fixed):
        row = cr.take(fixed[0], cr.astype(sliced[0][0], "int64") * 0 + 7, axis=0)  # out of bounds if a step were made
        within, _ = scan(lambda c, s, f: ([c[0] + s[0]], []), [carry[0]], [cr.zeros((inner, 3))])
        return [carry[0] * row + within[0]], [row * 2]
    (carry,), (ys,) = scan(body, [x[0]], [xs], [x], reverse=reverse)
    return cr.sum(carry * 3) + cr.sum(ys)


PROGRAMS = {
    "repeated no time": lambda x, i: cr.sum(cr.tanh(cr.sort(cr.repeat(x, 0, axis=0), axis=0))),
    "rows of no index": lambda x, i: cr.sum(cr.take(x, i, axis=0) ** 2) + cr.sum(x),
    "columns of no index": lambda x, i: cr.sum(cr.exp(cr.take(x, i, axis=1))) + cr.sum(x[1]),
    "an index of an empty product": lambda x, i: cr.sum(x[:0] * cr.take(x, cr.asarray(FAR)[i], axis=0)),
    "no rows sorted by another": lambda x, i: (
        cr.sum(cr.take_along_axis(x[:0], cr.argsort(x[:0] * 2, axis=0), axis=0)) + cr.mean(x)
    ),
    "a product over nothing": lambda x, i: cr.sum(cr.matmul(x[:, :0], cr.matrix_transpose(x[:, :0])) + x[:, :1]),
    "a row of products over nothing": lambda x, i: cr.sum(
        cr.matmul(cr.matrix_transpose(cr.take(x, i, axis=0)), cr.take(x, i, axis=0)) - x[:3]
    ),
    "joined with nothing": lambda x, i: cr.sum(cr.concat([x, cr.take(x, i, axis=0), x[:0]], axis=0) ** 3),
    "the product of nothing": lambda x, i: cr.sum(cr.prod(cr.take(x, i, axis=0), axis=0) * x[2]),
    "padded nothing": lambda x, i: cr.sum(cr.pad(cr.take(x, i, axis=0), ((2, 3), (0, 0)), value=2.0) * x),
    "running sums of nothing": lambda x, i: cr.sum(cr.cumulative_sum(x[:, :0], axis=1)) + cr.sum(x * x),
    "a loop of no steps": lambda x, i: loop(x, x[:0]),
    "a loop of no steps backwards": lambda x, i: loop(x, cr.take(x, i, axis=0), reverse=True, inner=2),
}


def outcome(function, *arrays):
    value, slope = function(*arrays)
    return np.asarray(value), np.asarray(slope)


@pytest.mark.parametrize("backend", ["native", "reference", "xla"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_over_nothing(name, backend):
    if backend == "xla":
        pytest.importorskip("jax")

    def both(x, i):
        value = PROGRAMS[name](x, i)
        return value, cr.gradients(value, x)

    value, slope = outcome(both, cr.asarray(ROWS), cr.asarray(NONE))
    assert value.shape == () and slope.shape == ROWS.shape
    found = outcome(cr.compile(both, backend=backend), ROWS, NONE)
    np.testing.assert_allclose(found[0], value, rtol=1e-6)
    np.testing.assert_allclose(found[1], slope, rtol=1e-6)


def random_program(seed, empty):
    """Some steps that each take rows, loop, sum, sort or join, of which those in `empty` have nothing to do."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 6, 4)

    def program(x, rows):
        total = cr.sum(x) * 0
        for step, kind in enumerate(kinds):
            part = cr.take(x, rows[:0] if step in empty else rows, axis=0)
            if kind == 0:
                (carry,), (ys,) = scan(lambda c, s, f: ([c[0] * 0.5 + cr.tanh(s[0])], [c[0] * f[0]]), [x[0]], [part],
                                       [x[1]])
                total, x = total + cr.sum(ys), x + carry
            elif kind == 1:
                x = x + cr.sum(cr.sort(part, axis=0) ** 2, axis=0)
            elif kind == 2:
                x = cr.concat([x, part], axis=0)[-5:] * 0.5
            elif kind == 3:
                x = x + cr.matmul(cr.matmul(x, cr.matrix_transpose(part)), part) * 0.01
            elif kind == 4:
                x = x + cr.take(cr.cumulative_sum(part, axis=0), cr.argsort(part[:, 0])[:0], axis=0).sum(axis=0)
            else:
                total = total + cr.sum(cr.take_along_axis(part, cr.argsort(part, axis=0), axis=0) * cr.exp(part))
        return total + cr.sum(cr.sin(x))

    return program


@pytest.mark.parametrize("backend", ["native", "reference", "xla"])
def test_random_programs_of_which_parts_have_nothing_to_do(backend):
    if backend == "xla":
        pytest.importorskip("jax")
    for seed in range(12 if backend == "native" else 4):
        program = random_program(seed, {int(i) for i in np.random.default_rng(seed + 100).integers(0, 4, 2)})

        def both(x, rows, program=program):
            value = program(x, rows)
            return value, cr.gradients(value, x)

        rows = np.array([4, 0, 2])
        value, slope = outcome(both, cr.asarray(ROWS.astype("float64")), cr.asarray(rows))
        found = outcome(cr.compile(both, backend=backend), ROWS.astype("float64"), rows)
        np.testing.assert_allclose(found[0], value, rtol=1e-9, atol=1e-12, err_msg=f"seed {seed}")
        np.testing.assert_allclose(found[1], slope, rtol=1e-9, atol=1e-12, err_msg=f"seed {seed}")


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_variable_after_a_loop_of_no_steps_is_what_it_was(backend):
    weight = cr.Variable(ROWS[0])

    @cr.compile(backend=backend)
    def step(xs):
        (carry,), _ = scan(lambda c, s, f: ([c[0] + s[0]], []), [weight.value], [xs])
        weight.assign(carry)
        return cr.sum(carry)

    assert float(step(ROWS[:0])) == pytest.approx(ROWS[0].sum())
    np.testing.assert_array_equal(weight.numpy(), ROWS[0])
    assert float(step(ROWS[1:])) == pytest.approx(ROWS.sum())
    np.testing.assert_allclose(weight.numpy(), ROWS.sum(0), rtol=1e-6)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_an_index_that_is_out_of_bounds_stays_one(backend):
    one = cr.compile(lambda x, i: cr.take(x[:0], i, axis=0), backend=backend)
    with pytest.raises(errors.BoundsError, match="out of bounds"):
        one(ROWS, np.array([0]))
