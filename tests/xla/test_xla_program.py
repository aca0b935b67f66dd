# SPDX-License-Identifier: Apache-2.0
"""What an XLA program promises beside its values: bounds, Variables, other people's settings. Oracle: the reference
backend."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tables.ops import make_body

pytest.importorskip("jax")

import jax

import chainrule as cr
from chainrule.compiler.compile import optimise
from chainrule.errors import BoundsError
from chainrule.ir import REGISTRY, Graph, Tensor, Type, bind, tracing
from chainrule.ir.graph import close, input_node, interpret
from chainrule.ops import elementwise as e
from chainrule.ops.compose import softmax
from chainrule.ops.index import scatter, take
from chainrule.testing import compare_backends, random_graph
from chainrule.testing.backends import assert_same
from chainrule.xla import load


@pytest.mark.parametrize("seed", range(12))
def test_a_random_program_gives_what_numpy_gives(seed: int) -> None:
    graph, arrays = random_graph(seed, size=14)
    expected, found = interpret(graph, arrays), load(optimise(graph))(arrays)
    for value, wanted in zip(found, expected, strict=True):
        assert_same(value, wanted, f"seed {seed}", 1e-4, 1e-5)


def test_the_random_bits_are_the_same() -> None:
    state = np.array([1, 2**32 - 1, 77, 5], np.uint32)
    compare_backends(lambda s: bind(REGISTRY["random_bits"], s, shape=(3, 333)), state, backends=["xla"])


@pytest.mark.parametrize("index", [5, -6, 2**40])
def test_an_index_out_of_bounds_is_found(index: int) -> None:
    look_up = cr.compile(lambda x, i: take(x, i, axis=0) * 2.0, backend="xla")
    put = cr.compile(lambda x, i: scatter(x, i, e.ones_like(i, dtype="float32")), backend="xla")
    x = np.arange(5.0, dtype="float32")
    np.testing.assert_array_equal(look_up(x, np.array([0, -5, 4])), [0, 0, 8])
    for function in (look_up, put):
        with pytest.raises(BoundsError, match=f"got +{index}"):
            function(x, np.array([0, index, 1]))


def test_a_lookup_in_an_empty_axis_is_found() -> None:
    look_up = cr.compile(lambda x, i: take(x, i, axis=0), backend="xla")
    assert look_up(np.zeros((0, 2), "float32"), np.zeros(0, int)).shape == (0, 2)
    with pytest.raises(BoundsError, match="empty"):
        look_up(np.zeros((0, 2), "float32"), np.array([0]))


def looking_up() -> Graph:
    """(carry, index, table) -> (carry + table[index])."""
    f = np.dtype("float32")
    inputs = [input_node(Type((), f)), input_node(Type((), np.dtype("int64"))), input_node(Type((4,), f))]
    with tracing():
        carry, index, table = map(Tensor, inputs)
        result = carry + take(table, index, axis=0)
    return close(inputs, [result.node])


def test_an_index_out_of_bounds_in_a_loop_is_found() -> None:
    body = looking_up()

    def total(start: Tensor, indices: Tensor, table: Tensor) -> Tensor:
        return bind(REGISTRY["scan"], start, indices, table, body=body, carries=1, sequences=1, length=indices.shape[0],
                    reverse=False, history=False)[0]
    run, table = cr.compile(total, backend="xla"), np.arange(4, dtype="float32")
    assert run(np.float32(1), np.array([3, -1, 2]), table).item() == 9
    with pytest.raises(BoundsError, match=r"got +7"):
        run(np.float32(1), np.array([3, 1, 7]), table)
    assert run(np.float32(1), np.zeros(0, np.int64), table).item() == 1


def test_the_settings_of_jax_are_left_alone() -> None:
    before = jax.config.jax_enable_x64
    program = cr.compile(lambda x: x * 2, backend="xla")
    result = program(np.array([2**40, 3]))
    assert result.dtype == np.int64 and result.tolist() == [2**41, 6]
    assert jax.config.jax_enable_x64 == before
    assert jax.numpy.ones(2).dtype == (np.float64 if before else np.float32)


def test_variables_are_updated_and_earlier_values_stay() -> None:
    v = cr.Variable(np.arange(200_000, dtype="float32"), name="v")
    step = cr.compile(lambda x: (v.assign(v.value + x), v.value * 1.0)[1], backend="xla")
    before, kept = v.value, v.numpy()
    for i in range(3):
        result = step(np.float32(1))
        np.testing.assert_array_equal(v.numpy(), kept + i + 1)
        np.testing.assert_array_equal(result, kept + i + 1)
    np.testing.assert_array_equal(before, kept)
    v.assign(v.numpy())
    cr.compile(lambda: v.assign(v.value * 2.0), backend="reference")()
    np.testing.assert_array_equal(v.numpy(), (kept + 3) * 2)


def test_arguments_are_not_written_into() -> None:
    x = np.arange(200_000, dtype="float32")
    v = cr.Variable(x)
    step = cr.compile(lambda y: v.assign(v.value + y), backend="xla")
    step(x)
    step(x)
    np.testing.assert_array_equal(x, np.arange(200_000, dtype="float32"))
    np.testing.assert_array_equal(v.numpy(), 3 * x)


def test_a_training_step_gives_what_numpy_gives() -> None:
    def steps(backend: str) -> list[np.ndarray]:
        rng = np.random.default_rng(3)
        w = cr.Variable(rng.standard_normal((4, 3)).astype("float32"), name="w")
        x, y = rng.standard_normal((8, 4)).astype("float32"), rng.integers(0, 3, 8)

        def step(x: Tensor, y: Tensor) -> Tensor:
            loss = -cr.mean(cr.take_along_axis(e.log(softmax(x @ w)), y[:, None], axis=1))
            w.assign(w.value - 0.5 * cr.gradients(loss, w))
            return loss
        run = cr.compile(step, backend=backend)
        return [*(run(x, y).numpy() for _ in range(5)), w.numpy()]

    for found, wanted in zip(steps("xla"), steps("reference"), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_derivatives_of_loops_compile() -> None:
    body = make_body(np.dtype("float64"))
    rng = np.random.default_rng(0)
    carry, xs, w = rng.standard_normal(3), rng.standard_normal((4, 3)), rng.standard_normal((3, 3))

    def loss(carry: Tensor, xs: Tensor, w: Tensor) -> Tensor:
        last, _, ys = bind(REGISTRY["scan"], carry, cr.asarray(0), xs, w, body=body, carries=2, sequences=1, length=4,
                           reverse=False, history=False)
        return cr.sum(last * last) + cr.sum(ys * ys)
    compare_backends(cr.grad(loss, (0, 1, 2)), carry, xs, w, backends=["xla"], rtol=1e-10, atol=1e-12)


def test_show_gives_the_program() -> None:
    program = cr.compile(lambda x: e.tanh(x) + 1.0, backend="xla")
    program(np.ones(3, "float32"))
    entry = next(iter(program.entries.values()))
    assert "stablehlo.tanh" in entry.program.show("kernels")
    assert "HloModule" in entry.program.show("asm")


def test_a_missing_jax_is_one_clear_line() -> None:
    code = ("import sys; sys.modules['jax'] = None\n"
            "import chainrule as cr, numpy as np\n"
            "try: cr.compile(lambda x: x + 1.0, backend='xla')(np.ones(2, 'float32'))\n"
            "except cr.errors.MissingExtra as error: print(error)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "the xla backend needs jax; install it with: pip install 'chainrule[xla]'"


# ---- Variables stay on the device

def steps(backend: str) -> tuple[list[float], dict[str, np.ndarray]]:
    """Losses and weights of a little training in which the host looks at a weight, and writes one, between two steps.
    """
    cr.random.seed(0)
    model, optimizer = (cr.nn.Sequential([cr.nn.Dense(5, activation="tanh"), cr.nn.Dropout(0.5), cr.nn.Dense(1)]),
                        cr.optim.Adam(0.1))
    x = np.random.default_rng(0).standard_normal((6, 3)).astype("float32")
    model(x)

    @cr.compile(backend=backend)
    def step(x: Tensor) -> Tensor:
        loss = cr.mean(model(x, training=True) ** 2)
        optimizer.update(model, cr.gradients(loss, model))
        return loss
    found, first = [], next(iter(model.parameters().values()))
    for i in range(4):
        found.append(step(x).item())
        if i == 1:
            first.assign(first.numpy() * 0.5)
        if i == 2:
            found.append(cr.compile(lambda x: cr.mean(model(x)), backend="native")(x).item())
    return found, {name: variable.numpy() for name, variable in model.variables().items()}


def test_training_on_the_device_is_training_here() -> None:
    (a, left), (b, right) = steps("reference"), steps("xla")
    np.testing.assert_allclose(a, b, rtol=1e-5)
    for name, value in left.items():
        np.testing.assert_allclose(right[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_step_moves_no_variable() -> None:
    model = cr.nn.Dense(4, input_shape=3)
    model.variables()

    @cr.compile(backend="xla")
    def step(x: Tensor) -> Tensor:
        y = cr.sum(model(x))
        model.weight.assign(model.weight - 0.1 * cr.gradients(y, [model.weight])[0])
        return y
    x, start = np.ones((2, 3), "float32"), model.weight.numpy()
    step(x)
    kept = model.bias.take_remote(lambda array: pytest.fail("it was sent again"))
    step(x)
    assert model.bias.take_remote(lambda array: pytest.fail("it was sent again")) is kept
    assert isinstance(model.weight.take_remote(lambda array: pytest.fail("it came back")), jax.Array)
    np.testing.assert_allclose(model.weight.numpy(), start - 2 * 0.1 * 2, rtol=1e-6)


def test_a_step_that_fails_changes_nothing() -> None:
    table = cr.Variable(np.arange(8, dtype="float32").reshape(4, 2), "table")

    @cr.compile(backend="xla")
    def step(ids: Tensor) -> Tensor:
        rows = take(table.value, ids, axis=0)
        table.assign(table.value * 2.0)
        return rows
    step(np.array([0, 3]))
    for _ in range(2):
        with pytest.raises(BoundsError):
            step(np.array([0, 4]))
        np.testing.assert_array_equal(table.numpy(), 2 * np.arange(8).reshape(4, 2))
    assert step(np.array([3]))[0, 1].item() == 14


# ---- values that XLA computes anew in each kernel that reads them

@pytest.mark.parametrize("extreme", [cr.max, cr.min])
@pytest.mark.parametrize("shape", [(8, 8), (64, 100), (300, 33)])
def test_the_gradient_of_an_extreme_is_not_lost(extreme, shape) -> None:
    """On a GPU each kernel has its own last bit of erf: the extreme of one is then no element of the other."""
    def loss(x: Tensor) -> Tensor:
        y = e.erf(x)
        m = extreme(y, axis=-1, keepdims=True)
        return cr.sum(cr.tanh(m) * 1.5) + cr.sum(cr.tanh(y - m))
    x = np.random.default_rng(1).standard_normal(shape).astype("float32")
    found, expected = (cr.compile(cr.grad(loss), backend=backend)(x).numpy() for backend in ("xla", "reference"))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_gradient_of_the_larger_is_not_lost() -> None:
    """The same where two arrays are compared element by element; operands on opposite sides of a kink are far apart."""
    loss = lambda a, b: cr.sum(cr.tanh(cr.maximum(cr.tanh(a * 1.3 - b), cr.tanh(a - b * 0.7) + 0.2)))
    a, b = np.random.default_rng(2).standard_normal((2, 64, 100)).astype("float32")
    found, expected = (cr.compile(cr.grad(loss, (0, 1)), backend=backend)(a, b) for backend in ("xla", "reference"))
    for value, wanted in zip(found, expected, strict=True):
        wrong = ~np.isclose(value.numpy(), wanted.numpy(), rtol=1e-3, atol=1e-4)
        assert wrong.mean() < 1e-3  # those on the kink


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "sign", "round", "trunc", "ceil", "multiply", "divide",
                                  "copysign", "atan2"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeros_have_the_signs_of_numpy(name: str, dtype: str) -> None:
    values = np.array([0.0, -0.0, 0.3, -0.3, 1.0, -1.0, 2.5, -2.5, np.inf, -np.inf, np.nan], dtype)
    pairs = [side.ravel() for side in np.meshgrid(values, values)]
    function = getattr(cr, name)
    arrays = pairs[:1] if name in ("sign", "round", "trunc", "ceil") else pairs
    found = np.asarray(cr.compile(lambda *x: function(*x), backend="xla")(*arrays))
    with np.errstate(all="ignore"):
        expected = np.asarray(cr.compile(lambda *x: function(*x), backend="reference")(*arrays))
    zeros = (found == 0) & (expected == 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.array_equal(np.signbit(found[zeros]), np.signbit(expected[zeros]))
