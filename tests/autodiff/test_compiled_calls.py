# SPDX-License-Identifier: Apache-2.0
"""Derivatives of compiled functions that are called eagerly. Oracle: the same derivative of the function itself, and
closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, BoundsError, DTypeError, TraceError
from chainrule.foundations import tree
from chainrule.testing import available

BACKENDS = pytest.mark.parametrize("backend", [name if available(name)
                                               else pytest.param(name, marks=pytest.mark.skip(reason="not available "
                                                                                                     "here"))
                                               for name in ("reference", "native", "xla")])
X = np.linspace(-1.0, 1.5, 6).reshape(2, 3)


def same(found, wanted, rtol=1e-10) -> None:
    found, wanted = (tree.flatten(x)[0] for x in (found, wanted))
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def scalar(x):
    return cr.sum(cr.exp(x) * cr.sin(x @ cr.matrix_transpose(x))[0, 1])


def vector(x):
    return cr.tanh(x @ cr.matrix_transpose(x))


TRANSFORMS = {
    "grad": (scalar, lambda f: cr.grad(f)(X)), "value_and_grad": (scalar, lambda f: cr.value_and_grad(f)(X)),
    "grad of grad": (scalar, lambda f: cr.grad(lambda x: cr.sum(cr.grad(f)(x) ** 2))(X)),
    "jacobian": (vector, lambda f: cr.jacobian(f)(X)), "hessian": (scalar, lambda f: cr.hessian(f)(X)),
    "vjp": (vector, lambda f: cr.vjp(f, X)[1](np.eye(2))[0]), "jvp": (vector, lambda f: cr.jvp(f, (X,), (X,))),
    "hvp": (scalar, lambda f: cr.hvp(f, (X,), (X,))), "vmap": (scalar, lambda f: cr.vmap(f)(np.stack([X, 2 * X]))),
    "vmap of grad": (scalar, lambda f: cr.vmap(cr.grad(f))(np.stack([X, 2 * X]))),
    "jacobian of jacobian": (vector, lambda f: cr.jacobian(cr.jacobian(f))(X)),
    "compiled grad": (scalar, lambda f: cr.compile(cr.grad(f))(X)),
    "compiled hessian": (scalar, lambda f: cr.compile(cr.hessian(f))(X)),
    "checkpoint": (vector, lambda f: cr.grad(lambda x: cr.sum(cr.checkpoint(f)(x)))(X)),
}


@BACKENDS
@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_passes_through(name, backend) -> None:
    function, transform = TRANSFORMS[name]
    same(transform(cr.compile(function, backend=backend)), transform(function))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_without_history_outside_derivatives_are_the_same(name) -> None:
    function, transform = TRANSFORMS[name]
    for f in (function, cr.compile(function)):
        with cr.no_grad():
            found = transform(f)
        same(found, transform(function))
        assert not any(x.node.inputs for x in tree.flatten(found)[0])


@BACKENDS
def test_compiled_functions_call_each_other(backend) -> None:
    inner = cr.compile(lambda x: x * cr.exp(x), backend=backend)
    outer = cr.compile(lambda x: cr.sum(inner(x) ** 2), backend=backend)
    plain = lambda x: cr.sum((x * cr.exp(x)) ** 2)
    same(cr.hessian(outer)(X), cr.hessian(plain)(X))
    same(cr.grad(lambda x: cr.sum(inner(inner(x))))(X),
         cr.grad(lambda x: cr.sum(x * cr.exp(x) * cr.exp(x * cr.exp(x))))(X))


@BACKENDS
def test_structures_of_results_and_arguments(backend) -> None:
    def function(data, *, scale):
        return {"a": data["x"] * scale, "n": cr.argmax(data["x"]), "word": "yes",
                "b": (cr.sum(data["x"] ** 2), scale * 2)}

    def loss(f):
        def value(x, s):
            found = f({"x": x, "k": 3}, scale=s)
            return cr.sum(found["a"]) * found["b"][0] + found["b"][1] + found["n"]
        return value
    for places in (0, 1, (0, 1)):
        same(cr.grad(loss(cr.compile(function, backend=backend)), places)(X, cr.asarray(2.0)),
             cr.grad(loss(function), places)(X, cr.asarray(2.0)))


@BACKENDS
def test_variables_are_read_with_history(backend) -> None:
    w, b = cr.Variable(X, name="w"), cr.Variable(np.float64(0.5), name="b")
    f = cr.compile(lambda x: cr.sum(w * w * x) * b, backend=backend)
    x = cr.asarray(2 * X)
    y = f(x)
    same(cr.gradients(y, {"w": w, "b": b, "x": x}), {"w": 2 * X * 2 * X * 0.5, "b": np.sum(2 * X**3), "x": X * X * 0.5})
    g = cr.gradients(y, w)
    same(cr.gradients(cr.sum(g), b), np.sum(2 * X * 2 * X))
    same(cr.gradients(y * y, w), 2 * y.numpy() * 4 * X * X * 0.5)


@BACKENDS
def test_what_was_read_stays_when_a_variable_changes(backend) -> None:
    w = cr.Variable(X.copy(), name="w")
    f = cr.compile(lambda: cr.sum(w * w * w), backend=backend)
    step = cr.compile(lambda: w.assign(w - 1), backend=backend)
    step()
    w.assign(X)
    f()  # nobody keeps this one
    y = f()
    step()
    same(w.numpy(), X - 1)
    same(cr.gradients(y, w), 3 * X**2)
    z = f()
    step()
    w.assign(0 * X)
    same(cr.gradients(z + y, w), 3 * X**2 + 3 * (X - 1) ** 2)


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_variables_are_updated_in_place_when_no_result_is_kept(backend) -> None:
    w = cr.Variable(np.zeros((64, 64), "float32"))
    f, step = cr.compile(lambda: cr.sum(w * w), backend=backend), cr.compile(lambda: w.assign(w + 1), backend=backend)
    step()
    place = w.take_array(write=False).__array_interface__["data"][0]
    f()
    assert w.take_array(write=True).__array_interface__["data"][0] == place
    kept = f()
    assert w.take_array(write=True).__array_interface__["data"][0] != place
    assert kept.item() == 64 * 64


@BACKENDS
def test_states_that_are_assigned(backend) -> None:
    """Dropout draws from a state, batch normalisation writes running statistics, both in the function that is
    differentiated."""
    def build():
        cr.random.seed(3)
        model = nn.Sequential([nn.Dense(8), nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(1)])
        model(np.ones((2, 3), "float32"))
        return model
    x, found = np.float32(X), []
    for compiled in (False, True):
        model = build()
        f = lambda x, model=model: model(x, training=True)
        f = cr.compile(f, backend=backend) if compiled else f
        losses = [cr.sum(f(x) ** 2) for _ in range(2)]
        found.append([cr.gradients(losses[i], model) for i in (1, 0)]
                     + [{k: v.numpy() for k, v in model.variables().items()}])
    same(*found, rtol=1e-4)
    assert any(np.abs(g.numpy()).max() > 1e-3 for g in found[0][0].values())


@BACKENDS
def test_a_training_step_refuses_instead_of_zero(backend) -> None:
    model = nn.Sequential([nn.Dense(4, activation="tanh"), nn.Dense(1)])
    optimiser = optim.SGD(0.1)
    x = np.float32(X)
    model(x)

    @cr.compile(backend=backend)
    def step(x):
        loss = cr.mean(model(x) ** 2)
        optimiser.update(model, cr.gradients(loss, model))
        return loss
    assert step(x).item() > step(x).item()
    t = cr.asarray(x)
    for targets in (model, model[0].bias, t, {"x": t, "m": model.parameters()}):
        with pytest.raises(TraceError, match="step has overwritten"):
            cr.gradients(step(t), targets)
    with pytest.raises(TraceError, match="step has overwritten"):
        cr.grad(lambda x: step(x * 2))(x)
    w = cr.Variable(np.ones(3, "float32"))
    same(cr.gradients(step(t) + cr.sum(w), w), np.ones(3))


def test_assigned_variables_that_no_result_needs_are_no_hindrance() -> None:
    w, count = cr.Variable(X), cr.Variable(np.zeros(10_000))

    @cr.compile
    def f(x):
        count.assign(count + 1)
        return cr.sum(w * x)
    same(cr.gradients(f(2 * X) + f(X), w), 3 * X)
    assert count.numpy()[0] == 2


@BACKENDS
def test_gradients_of_bfloat16_products(backend) -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((16, 16)).astype("float32") for _ in range(2))
    loss = lambda x, w: cr.sum(cr.tanh(x @ w))
    found = cr.grad(cr.compile(loss, backend=backend, precision="bfloat16"), (0, 1))(x, w)
    inside = cr.compile(cr.grad(loss, (0, 1)), backend=backend, precision="bfloat16")(x, w)
    same(found, inside, rtol=1e-5)
    exact = cr.grad(loss, (0, 1))(x, w)
    assert 1e-5 < np.abs(found[0].numpy() - exact[0].numpy()).max() < 0.1


@BACKENDS
def test_rules_of_their_own_inside(backend) -> None:
    from chainrule.ops.control import custom_gradient
    scale = cr.Variable(np.float64(3.0), name="scale")

    def function(x):
        mask = x > 0  # a value of the first trace that the rule closes over
        y = custom_gradient(x * x, (x,), lambda g, y, x: (g * cr.where(mask, 7.0 * x, 0.0) * scale,))
        return cr.checkpoint(lambda t: cr.exp(t) * cr.where(mask, 1.0, 2.0))(y) * cr.stop_gradient(x)
    loss = lambda f: lambda x: cr.sum(f(x))
    compiled = cr.compile(function, backend=backend)
    same(cr.grad(loss(compiled))(X), cr.grad(loss(function))(X))
    same(cr.hessian(loss(compiled))(X), cr.hessian(loss(function))(X))


@BACKENDS
def test_a_checkpoint_around_a_compiled_function_draws_again_what_it_drew(backend) -> None:
    generator = cr.random.Generator(1)
    drawn = lambda x: x * x * generator.bernoulli(0.5, x.shape)
    found = []
    for f in (drawn, cr.compile(drawn, backend=backend)):
        generator.seed(4)
        found.append([cr.grad(lambda x, f=f: cr.sum(cr.checkpoint(f)(x)))(X) for _ in range(3)])
    same(*found)


@BACKENDS
def test_a_function_first_called_without_history_has_its_derivatives_inside(backend) -> None:
    f = cr.compile(lambda x: cr.grad(lambda t: cr.sum(t * t))(x), backend=backend)
    g = cr.compile(lambda x: cr.gradients(cr.sum(x * x), x), backend=backend)
    with cr.no_grad():
        same([f(X), g(X)], [2 * X, 2 * X])
    same([f(X), g(X)], [2 * X, 2 * X])


@BACKENDS
def test_loops_are_differentiated(backend) -> None:
    layer = nn.LSTM(4)
    x = np.float32(np.random.default_rng(0).standard_normal((2, 5, 3)))
    layer(x)
    f = cr.compile(lambda x: layer(x), backend=backend)
    same(cr.gradients(cr.sum(f(x) ** 2), layer), cr.gradients(cr.sum(layer(x) ** 2), layer), rtol=1e-4)


# ---- no silent zeros

@pytest.mark.parametrize("run", [lambda f: f, lambda f: cr.compile(f)], ids=["eager", "compiled"])
def test_gradients_of_what_was_not_recorded_are_refused(run) -> None:
    w, other = cr.Variable(np.ones(3, "float32"), name="w"), cr.Variable(np.ones(3, "float32"), name="other")

    def unrecorded():
        with cr.no_grad():
            loss = cr.sum(w * w)
        return cr.gradients(loss, w)

    def indices():
        return cr.gradients(cr.astype(cr.argmax(w), cr.float32), w)

    def assigned_since():
        other.assign(w.value)
        return cr.gradients(cr.sum(other.value), w)
    for f in (unrecorded, indices, assigned_since, lambda: cr.gradients(cr.sum(other * 2), {"w": w}),
              lambda: cr.gradients(cr.asarray(2.0), [w, other]),
              lambda: cr.gradients(cr.sum(cr.asarray(np.ones(3, "float32"))), w)):
        with pytest.raises(ArgumentError, match="not computed from"):
            run(f)()
    assert not run(lambda: cr.gradients(cr.sum(other * 2), w, unrelated="zero"))().numpy().any()
    assert not run(lambda: cr.gradients(cr.sum(other * 2), [w, other]))()[0].numpy().any()
    assert not run(lambda: cr.gradients(cr.sum(cr.stop_gradient(w)), w))().numpy().any()


@pytest.mark.parametrize("detour", [lambda x: np.sum(np.asarray(x) ** 2), lambda x: float(cr.sum(x)),
                                    lambda x: cr.sum(x).item()])
@pytest.mark.parametrize("transform", [cr.grad, cr.jacobian, cr.value_and_grad, lambda f: lambda x: cr.vjp(f, x)])
def test_a_detour_through_numpy_is_refused(detour, transform) -> None:
    with pytest.raises(ArgumentError, match="no gradient passes"):
        transform(detour)(np.ones(3, "float32"))


@pytest.mark.parametrize("transform",
                         [cr.grad, cr.jacobian, cr.hessian, lambda f: lambda x: cr.vjp(f, x)[1](cr.asarray(1.0))])
def test_values_that_go_to_numpy_and_come_back_are_refused(transform) -> None:
    for detour in (lambda x: cr.sum(cr.asarray(np.asarray(x) ** 2)), lambda x: cr.asarray(cr.sum(x).item()),
                   lambda x: cr.asarray(float(cr.sum(x)))):
        with pytest.raises(ArgumentError, match="not computed from"):
            transform(detour)(np.ones(3, "float32"))
    # a constant has the derivative zero
    assert not cr.grad(lambda x: cr.asarray(3.0))(np.ones(3, "float32")).numpy().any()
    assert not cr.hessian(lambda x: cr.sum(x))(np.ones(3, "float32")).numpy().any()


@BACKENDS
@pytest.mark.parametrize("label", [3, 7, -1, -3])
@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_one_hot_of_what_is_no_class(backend, label, dtype) -> None:
    labels = np.array([0, label], dtype)
    for f in (cr.one_hot, cr.compile(lambda x, n: cr.one_hot(x, n), backend=backend)):
        with pytest.raises(BoundsError):
            f(labels, 3)
        with pytest.raises(DTypeError, match="integer"):
            f(np.array([0.5, 1.0], "float32"), 3)
        np.testing.assert_array_equal(f(np.array([[2], [0]], dtype), 3), [[[0, 0, 1]], [[1, 0, 0]]])
        assert f(np.zeros((0,), dtype), 3).shape == (0, 3)
