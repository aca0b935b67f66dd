# SPDX-License-Identifier: Apache-2.0
"""`vmap` as a whole: arguments, nesting, derivatives inside and outside, compilation, Variables, random numbers,
messages.

Oracles: a loop over the examples, closed forms, and torch.func where torch is installed.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, BoundsError, ShapeError, TraceError

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def loss(parameters: dict, x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
    """Cross-entropy of a network with one hidden layer for one example."""
    hidden = cr.tanh(parameters["w"] @ x + parameters["b"])
    return -cr.take(cr.log_softmax(parameters["v"] @ hidden), y)


PARAMETERS = {"w": draw(7, 5), "b": draw(7), "v": draw(3, 7)}
X, Y = draw(6, 5), RNG.integers(0, 3, 6)


def test_axes_of_arguments_and_results() -> None:
    a, b = draw(4, 3, 2), draw(2, 5)
    f = lambda a, b: (a @ b, cr.sum(a))
    products, sums = cr.vmap(f, in_axes=(1, None), out_axes=(-1, 0))(a, b)
    np.testing.assert_allclose(products.numpy(), np.stack([a[:, i] @ b for i in range(3)], axis=-1))
    np.testing.assert_allclose(sums.numpy(), a.sum(axis=(0, 2)))
    assert cr.vmap(f, in_axes=(-2, None), out_axes=(1, 0))(a, b)[0].shape == (4, 3, 5)
    np.testing.assert_array_equal(cr.vmap(lambda a: cr.asarray(2.5))(a).numpy(), np.full(4, 2.5, np.float32))
    assert cr.vmap(lambda a: cr.ones((2,)), out_axes=None)(a).shape == (2,)


def test_structures_of_arguments() -> None:
    batch = {"x": X, "rest": [draw(6, 2), (draw(2, 6),)]}
    axes = ({"x": 0, "rest": [0, (1,)]}, None)

    def f(batch: dict, scale: float) -> dict:
        return {"total": scale * (cr.sum(batch["x"]) + cr.sum(batch["rest"][0]) * cr.sum(batch["rest"][1][0])),
                "x": batch["x"]}
    found = cr.vmap(f, in_axes=axes)(batch, 3.0)
    wanted = 3 * (X.sum(1) + batch["rest"][0].sum(1) * batch["rest"][1][0].sum(0))
    np.testing.assert_allclose(found["total"].numpy(), wanted)
    np.testing.assert_array_equal(found["x"].numpy(), X)
    np.testing.assert_allclose(cr.vmap(lambda x, *, factor: x * factor)(X, factor=2.0).numpy(), 2 * X)


def test_empty_and_single_batches() -> None:
    f = lambda x: cr.sum(cr.sort(x) * cr.cumulative_sum(x))
    assert cr.vmap(f)(np.zeros((0, 4))).shape == (0,)
    np.testing.assert_allclose(cr.vmap(f)(X[:1]).numpy(), [f(cr.asarray(X[0])).item()])


def test_nested() -> None:
    """All pairs: two maps, one inside the other."""
    a, b = draw(4, 3), draw(5, 3)
    distance = lambda x, y: cr.sqrt(cr.sum((x - y) ** 2))
    pairs = cr.vmap(cr.vmap(distance, (None, 0)), (0, None))
    np.testing.assert_allclose(pairs(a, b).numpy(), np.linalg.norm(a[:, None] - b[None], axis=-1))
    three = cr.vmap(cr.vmap(cr.vmap(lambda x, y, z: x * y + z, (None, None, 0)), (None, 0, None)), (0, None, None))
    np.testing.assert_allclose(three(a[:, 0], b[:, 0], X[:, 0]).numpy(), (a[:, 0, None] * b[:, 0])[:, :, None]
                               + X[:, 0])


def test_gradients_of_each_example_average_to_that_of_the_batch() -> None:
    each = cr.vmap(cr.grad(loss), (None, 0, 0))(PARAMETERS, X, Y)
    whole = cr.grad(lambda p: cr.mean(cr.vmap(loss, (None, 0, 0))(p, X, Y)))(PARAMETERS)
    loop = cr.grad(lambda p: sum(loss(p, x, int(y)) for x, y in zip(X, Y, strict=True)) / len(X))(PARAMETERS)
    for name in PARAMETERS:
        assert each[name].shape == (6, *PARAMETERS[name].shape)
        np.testing.assert_allclose(each[name].numpy().mean(0), whole[name].numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(whole[name].numpy(), loop[name].numpy(), rtol=1e-10, atol=1e-12)


def test_gradients_of_each_example_through_a_model() -> None:
    """Layers and their Variables: what `gradients` gives inside a mapped function."""
    model = cr.nn.Sequential([cr.nn.Conv2D(4, 3, activation="relu"), cr.nn.Flatten(), cr.nn.Dense(3)])
    images, labels = draw(5, 6, 6, 2).astype("float32"), Y[:5]
    model(images)
    criterion = cr.losses.cross_entropy
    one = lambda x, y: cr.gradients(criterion(model(x[None]), y[None]), model)
    each = cr.compile(cr.vmap(one))(images, labels)
    for i in range(5):
        for name, g in one(cr.asarray(images[i]), cr.asarray(labels[i])).items():
            np.testing.assert_allclose(each[name].numpy()[i], g.numpy(), rtol=1e-4, atol=1e-5)
    whole = cr.gradients(criterion(model(images), labels), model)
    for name, g in whole.items():
        np.testing.assert_allclose(each[name].numpy().mean(0), g.numpy(), rtol=1e-4, atol=1e-6)


def test_derivatives_inside_and_outside() -> None:
    f = lambda x: cr.sum(cr.sin(x) * cr.logsumexp(x)) + cr.sum(cr.softmax(x) ** 2)
    for derivative in (cr.grad(f), cr.hessian(f), cr.jacobian(lambda x: cr.softmax(x) * cr.softplus(x))):
        found = cr.vmap(derivative)(X).numpy()
        np.testing.assert_allclose(found, np.stack([derivative(cr.asarray(x)).numpy() for x in X]), rtol=1e-12,
                                   atol=1e-13)
    outside = cr.jacobian(cr.vmap(f))(cr.asarray(X[:3])).numpy()
    inside = cr.vmap(cr.grad(f))(X[:3]).numpy()
    np.testing.assert_allclose(outside, np.einsum("ij,ik->ijk", np.eye(3), inside), atol=1e-13)
    second = cr.hessian(lambda x: cr.sum(cr.vmap(f)(x)))(cr.asarray(X[:2])).numpy()
    blocks = cr.vmap(cr.hessian(f))(X[:2]).numpy()
    np.testing.assert_allclose(second, np.einsum("ab,aij->aibj", np.eye(2), blocks), atol=1e-12)
    tangents = draw(6, 5)
    found = cr.vmap(lambda x, v: cr.jvp(f, (x,), (v,))[1])(X, tangents).numpy()
    np.testing.assert_allclose(found, (cr.vmap(cr.grad(f))(X).numpy() * tangents).sum(1), rtol=1e-10)
    cr.testing.check_gradient(cr.vmap(f), X)


def test_custom_derivatives_that_hold_tensors_from_around_them() -> None:
    """A checkpoint inside a mapped function uses arrays of the example that are not its arguments."""
    weights = cr.Variable(draw(5, 5))

    def f(x: cr.Tensor, i: cr.Tensor) -> cr.Tensor:
        factor = cr.exp(-cr.sum(x * x))
        inner = cr.checkpoint(lambda z: cr.tanh(weights @ z) * factor + cr.take(z, i))
        return cr.sum(inner(x) ** 2)
    places = RNG.integers(0, 5, 6)
    found = cr.vmap(cr.grad(f))(X, places).numpy()
    np.testing.assert_allclose(found, np.stack([cr.grad(f)(cr.asarray(x), int(i)).numpy()
                                                for x, i in zip(X, places, strict=True)]), rtol=1e-10)
    total = lambda x: cr.sum(cr.vmap(f)(x, places))
    np.testing.assert_allclose(cr.grad(total)(cr.asarray(X)).numpy(), found, rtol=1e-10)
    shared = cr.gradients(total(cr.asarray(X)), weights).numpy()
    single = [cr.gradients(f(cr.asarray(x), int(i)), weights).numpy() for x, i in zip(X, places, strict=True)]
    np.testing.assert_allclose(shared, sum(single), rtol=1e-10)
    np.testing.assert_allclose(cr.compile(cr.grad(total), backend="reference")(X).numpy(), found, rtol=1e-10)


@pytest.mark.parametrize("backend", ["reference", "native", "xla"])
def test_a_compiled_map_is_one_program_without_a_loop(backend: str) -> None:
    if not cr.testing.available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    mapped = cr.vmap(cr.grad(loss), (None, 0, 0))
    compiled = cr.compile(mapped, backend=backend)
    arguments = ({k: v.astype("float32") for k, v in PARAMETERS.items()}, X.astype("float32"), Y)
    for name, value in compiled(*arguments).items():
        np.testing.assert_allclose(value.numpy(), mapped(*arguments)[name].numpy(), rtol=1e-5, atol=1e-6)
    sizes = [len(compiled.lower(arguments[0], np.tile(arguments[1], (k, 1)), np.tile(Y, k)).graph.nodes)
             for k in (1, 50)]
    assert sizes[0] == sizes[1], "the program grows with the batch"
    operations = {node.op.name for node in compiled.lower(*arguments).graph.nodes}
    assert "scan" not in operations
    np.testing.assert_allclose(cr.vmap(cr.compile(cr.sin))(X).numpy(), np.sin(X))


def test_a_chain_of_elementwise_operations_is_one_kernel() -> None:
    if not cr.testing.available("native"):
        pytest.skip("needs llvmlite")
    f = lambda x, a: cr.sum(cr.tanh(x * a + 1.0) * cr.exp(-x))
    alone = cr.compile(lambda x, a: cr.sum(cr.tanh(x * a + 1.0) * cr.exp(-x), axis=1), backend="native")
    mapped = cr.compile(cr.vmap(f, (0, None)), backend="native")
    x, a = X.astype("float32"), X[0].astype("float32")
    steps = [len(c.lower(x, a).program.plan.steps) for c in (alone, mapped)]
    assert steps[0] == steps[1]


def test_loops_in_mapped_functions() -> None:
    from chainrule.ops.scan import scan

    def f(x: cr.Tensor, w: cr.Tensor) -> tuple:
        (last, count), (path,) = scan(lambda c, s, k: ((cr.tanh(k[0] @ c[0] + s[0]), c[1] + 1), (c[0] * 2,)),
                                      [cr.zeros((5,), dtype="float64"), cr.asarray(0)], [x], [w])
        return last, count, path
    x, w = draw(4, 3, 5), draw(5, 5)
    last, count, path = cr.vmap(f, (0, None), out_axes=(0, None, 0))(x, w)
    assert count.item() == 3
    loop = [f(cr.asarray(each), cr.asarray(w)) for each in x]
    np.testing.assert_allclose(last.numpy(), np.stack([r[0].numpy() for r in loop]), rtol=1e-12)
    np.testing.assert_allclose(path.numpy(), np.stack([r[2].numpy() for r in loop]), rtol=1e-12)
    g = lambda x, w: cr.sum(f(x, w)[0] ** 2) + cr.sum(f(x, w)[2])
    found = cr.vmap(cr.grad(g, (0, 1)), (0, None))(x, w)
    for i, each in enumerate(x):
        for a, b in zip(found, cr.grad(g, (0, 1))(cr.asarray(each), cr.asarray(w)), strict=True):
            np.testing.assert_allclose(a.numpy()[i], b.numpy(), rtol=1e-10, atol=1e-12)


def test_an_ensemble_of_models() -> None:
    """The other way round: one input, many parameter sets."""
    stacks = {k: np.stack([v * (i + 1) for i in range(4)]) for k, v in PARAMETERS.items()}
    found = cr.vmap(loss, (0, None, None))(stacks, X[0], int(Y[0])).numpy()
    wanted = [loss({k: cr.asarray(v[i]) for k, v in stacks.items()}, cr.asarray(X[0]), int(Y[0])).item()
              for i in range(4)]
    np.testing.assert_allclose(found, wanted)


def test_variables() -> None:
    counter, table = cr.Variable(np.array(3.0)), cr.Variable(draw(6, 2))

    def f(x: cr.Tensor, row: cr.Tensor) -> cr.Tensor:
        counter.assign(counter.value + 1.0)
        return cr.sum(row) * cr.sum(x) * counter.value
    found = cr.vmap(f)(X, table)
    np.testing.assert_allclose(found.numpy(), table.numpy().sum(1) * X.sum(1) * 4)
    assert counter.numpy() == 4, "assigned once for the batch"
    np.testing.assert_allclose(cr.gradients(cr.sum(cr.vmap(lambda x, r: cr.sum(r) * cr.sum(x))(X, table)),
                                            table).numpy(),
                               np.repeat(X.sum(1)[:, None], 2, 1))
    with pytest.raises(TraceError, match="another value from each example"):
        cr.vmap(lambda x: counter.assign(cr.sum(x)) or x)(X)


def test_random_numbers() -> None:
    draws = lambda x: x * 0 + cr.random.normal((5,), dtype="float64")
    cr.random.seed(3)
    different = cr.vmap(draws)(X).numpy()
    after = cr.random.default.state.numpy()
    cr.random.seed(3)
    cr.random.normal((5,))
    np.testing.assert_array_equal(cr.random.default.state.numpy(), after)  # the generator moved on once
    assert len(np.unique(different)) == different.size
    cr.random.seed(3)
    blocks = cr.vmap(lambda x: cr.random.uniform((5,)))(X).numpy()
    cr.random.seed(3)
    np.testing.assert_array_equal(blocks, cr.random.uniform((6, 5)).numpy())
    same = cr.vmap(draws, randomness="same")(X).numpy()
    np.testing.assert_array_equal(same, np.broadcast_to(same[0], same.shape))
    with pytest.raises(TraceError, match="random number is drawn under vmap"):
        cr.vmap(draws, randomness="error")(X)
    cr.random.seed(3)
    np.testing.assert_allclose(cr.compile(cr.vmap(draws))(X).numpy(), different, rtol=1e-14)
    generator = cr.random.Generator(7)
    states = np.stack([generator.next().numpy() for _ in range(4)])
    from chainrule.ops.random import random_bits
    found = cr.vmap(lambda s: random_bits(s, (3,)), randomness="error")(states).numpy()
    np.testing.assert_array_equal(found, np.stack([random_bits(cr.asarray(s), (3,)).numpy() for s in states]))


def test_dropout_masks_differ_between_examples() -> None:
    layer = cr.nn.Dropout(0.5)
    found = cr.vmap(lambda x: layer(x[None], training=True)[0])(np.ones((64, 32), np.float32)).numpy()
    assert len({row.tobytes() for row in found}) == 64
    assert abs((found == 0).mean() - 0.5) < 0.05


# ---- mistakes

def test_mistakes_say_what_to_do() -> None:
    f = lambda x, y: x + y
    for call, kind, words in (
        (lambda: cr.vmap(f)(X, 3.0), ArgumentError, "in_axes=\\(0, None\\)"),
        (lambda: cr.vmap(f)(X, np.array(3.0)), ShapeError, "without axes"),
        (lambda: cr.vmap(f)(X, draw(5, 5)), ShapeError, "different numbers of examples"),
        (lambda: cr.vmap(f, in_axes=(0, None, None))(X, X), ArgumentError, "in_axes does not fit"),
        (lambda: cr.vmap(f, in_axes=None)(X, X), ArgumentError, "an argument to map over"),
        (lambda: cr.vmap(f, in_axes=2)(X, X), BoundsError, "no axis 2"),
        (lambda: cr.vmap(lambda x: x, out_axes=None)(X), ArgumentError, "no place for the examples"),
        (lambda: cr.vmap(lambda x: "text")(X), ArgumentError, "returns arrays"),
        (lambda: cr.vmap(f, randomness="maybe"), ArgumentError, "different | same | error"),
        (lambda: cr.vmap(lambda x: x if cr.sum(x) > 0 else -x)(X), TraceError, "vmap runs the function once"),
        (lambda: cr.vmap(lambda x: x[x > 0])(X), TraceError, "cr.where\\(mask"),
        (lambda: cr.vmap(lambda x, i: cr.take(x, i))(X, np.array([0, 1, 2, 3, 4, 5])), BoundsError, "out of bounds"),
    ):
        with pytest.raises(kind, match=words):
            call()


# ---- parity

def test_torch_func() -> None:
    torch = pytest.importorskip("torch")
    func = torch.func

    def theirs(p: dict, x, y):
        return -torch.log_softmax(p["v"] @ torch.tanh(p["w"] @ x + p["b"]), 0).gather(0, y[None])[0]
    p, x, y = {k: torch.tensor(v) for k, v in PARAMETERS.items()}, torch.tensor(X), torch.tensor(Y)
    wanted = func.vmap(func.grad(theirs), (None, 0, 0))(p, x, y)
    found = cr.vmap(cr.grad(loss), (None, 0, 0))(PARAMETERS, X, Y)
    for name in PARAMETERS:
        np.testing.assert_allclose(found[name].numpy(), wanted[name].numpy(), rtol=1e-10, atol=1e-12)
    second = func.jacrev(func.jacrev(lambda x, p, y: theirs(p, x, y)))
    np.testing.assert_allclose(cr.vmap(cr.hessian(lambda x, p, y: loss(p, x, y)),
                                       (0, None, 0))(X, PARAMETERS, Y).numpy(),
                               func.vmap(second, (0, None, 0))(x, p, y).numpy(), rtol=1e-9, atol=1e-12)
