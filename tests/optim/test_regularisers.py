# SPDX-License-Identifier: Apache-2.0
"""Penalties, proximal steps, constraints, noise and pruning: against formulas, scikit-learn, and theory."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.nn import constraints
from chainrule.nn.surgery.prune import prune_zeros

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((120, 10))
TRUE = np.array([3.0, -2.0, 1.5, 0, 0, 0, 0, 0, 0, 0])
Y = X @ TRUE + 0.1 * GENERATOR.standard_normal(120)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order():
    cr.random.seed(0)
    GENERATOR.bit_generator.state = np.random.default_rng(1).bit_generator.state


def regression(optimizer, steps, penalty=None):
    """Weights after `steps` full-batch steps on |X w - y|^2 / (2 n), in float64."""
    w = cr.Variable(np.zeros((10, 1)), name="w")

    @cr.compile(backend="reference")
    def step():
        loss = cr.sum((cr.matmul(X, w.value) - Y[:, None]) ** 2) / (2 * len(X))
        loss = loss if penalty is None else loss + penalty({"w": w})
        optimizer.update({"w": w}, cr.gradients(loss, {"w": w}))
    for _ in range(steps):
        step()
    return w.numpy()[:, 0]


def test_a_proximal_l1_step_is_the_lasso_with_its_exact_zeros():
    linear_model = pytest.importorskip("sklearn.linear_model")
    expected = linear_model.Lasso(alpha=0.2, fit_intercept=False, tol=1e-10).fit(X, Y).coef_
    found = regression(optim.Proximal(optim.SGD(0.3), optim.proximal.l1(0.2)), 300)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert (found[3:] == 0).all()
    by_gradient = regression(optim.SGD(0.3), 300, optim.penalties.l1(0.2))
    assert (by_gradient != 0).all()


def test_ridge_is_its_closed_form():
    strength = 0.3
    expected = np.linalg.solve(X.T @ X / len(X) + strength * np.eye(10), X.T @ Y / len(X))
    for found in (regression(optim.SGD(0.3), 300, optim.penalties.ridge(strength)),
                  regression(optim.SGD(0.3), 300, optim.penalties.l2(strength / 2)),
                  regression(optim.SGD(0.3, weight_decay=strength), 300),
                  regression(optim.Proximal(optim.SGD(0.3), optim.proximal.ridge(strength)), 300)):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_decay_and_penalty_are_one_for_sgd_and_two_for_adam():
    """The penalty's gradient goes through Adam's scaling, the decoupled decay does not (Loshchilov and Hutter, 2019).
    """
    same = [regression(optim.SGD(0.1), 25, optim.penalties.ridge(0.5)),
            regression(optim.SGD(0.1, weight_decay=0.5), 25)]
    np.testing.assert_allclose(*same, rtol=1e-10)
    through = [regression(optim.Adam(0.05), 25, optim.penalties.ridge(0.5)),
               regression(optim.Adam(0.05, weight_decay=0.5), 25)]
    np.testing.assert_allclose(*through, rtol=1e-10)
    apart = regression(optim.AdamW(0.05, weight_decay=0.5), 25)
    assert np.abs(apart - through[0]).max() > 0.01
    # without a gradient AdamW shrinks by rate * decay, Adam with a penalty steps by the whole learning rate
    for optimizer, expected in ((optim.AdamW(0.1, weight_decay=0.5), 2 * 0.95),
                                (optim.Adam(0.1, weight_decay=0.5), 2 - 0.1)):
        p = cr.Variable(np.full((1, 1), 2.0), name="p")
        optimizer.update({"p": p}, {"p": np.zeros((1, 1))})
        assert p.numpy()[0, 0] == pytest.approx(expected, rel=1e-6)


def test_penalties_and_their_gradients_are_their_formulas():
    w = GENERATOR.standard_normal((4, 3))
    v = cr.Variable(w, name="0.weight")
    lengths = np.sqrt((w**2).sum(0))
    rows = ((optim.penalties.l2(0.1), 0.1 * (w**2).sum(), 0.2 * w),
            (optim.penalties.ridge(0.1), 0.05 * (w**2).sum(), 0.1 * w),
            (optim.penalties.l1(0.1), 0.1 * np.abs(w).sum(), 0.1 * np.sign(w)),
            (optim.penalties.group_lasso(0.1), 0.1 * 2 * lengths.sum(), 0.2 * w / lengths),
            (optim.penalties.l1_l2(0.1, 0.2), 0.1 * np.abs(w).sum() + 0.2 * (w**2).sum(), 0.1 * np.sign(w) + 0.4 * w))
    for penalty, value, gradient in rows:
        found = penalty({"0.weight": v})
        assert found.item() == pytest.approx(value, rel=1e-9)
        np.testing.assert_allclose(cr.gradients(found, {"0.weight": v})["0.weight"].numpy(), gradient, rtol=1e-9)


def test_a_pattern_limits_a_penalty_to_a_layer():
    model = nn.Sequential([nn.Dense(3), nn.Dense(2)], input_shape=4)
    weights = {name: v.numpy() for name, v in model.parameters().items()}
    assert optim.penalties.l2(1.0, only="1.*")(model).item() == pytest.approx(
        (weights["1.weight"] ** 2).sum(), rel=1e-6
    )
    with pytest.raises(ArgumentError, match="no weights fit"):
        optim.penalties.l2(1.0, only="7.*")(model)


def test_the_group_operator_is_its_formula_and_minimises():
    p, rate, strength = GENERATOR.standard_normal((4, 6)), 0.1, 1.5
    found = optim.proximal.group_lasso(strength)(cr.asarray(p), rate).numpy()
    threshold, lengths = rate * strength * 2, np.sqrt((p**2).sum(0))
    np.testing.assert_allclose(found, p * np.maximum(1 - threshold / lengths, 0), rtol=1e-12)
    rows = optim.proximal.group_lasso(3.0, axis=0)(cr.asarray(p), 0.1).numpy()
    np.testing.assert_allclose(rows, p * np.maximum(1 - 0.3 * np.sqrt(6) / np.sqrt((p**2).sum(1, keepdims=True)), 0),
                               rtol=1e-12)

    def objective(q):
        return ((q - p) ** 2).sum() / 2 + rate * strength * 2 * np.sqrt((q**2).sum(0)).sum()
    for _ in range(50):
        assert objective(found) <= objective(found + 0.1 * GENERATOR.standard_normal(p.shape)) + 1e-12


def test_group_lasso_removes_units_and_the_smaller_net_gives_the_same():
    x = GENERATOR.standard_normal((200, 6)).astype(np.float32)
    y = np.maximum(x[:, :1], 0) - 0.5 * np.maximum(x[:, 1:2], 0)
    model = nn.Sequential([nn.Dense(32, activation="relu"), nn.Dense(1)])
    optimizer = optim.Proximal(optim.SGD(0.1), optim.proximal.group_lasso(0.01), only="0.*")
    cr.fit(model, (x, y), loss="mean_squared_error", optimizer=optimizer, epochs=60, progress=False,
           backend="reference")
    dead = ~model.parameters()["0.weight"].numpy().any(axis=0)
    assert dead.sum() >= 4
    smaller = prune_zeros(model)
    assert smaller.layers[0].units == 32 - dead.sum()
    np.testing.assert_allclose(smaller(x).numpy(), model(x).numpy(), atol=1e-5)
    assert ((model(x).numpy() - y) ** 2).mean() < 0.3 * y.var()


def test_group_lasso_removes_whole_filters():
    """The class is the brightness of a spot: of twelve filters few are needed, and those that are not become 0."""
    x = GENERATOR.random((120, 6, 6, 1)).astype(np.float32)
    y = (x.mean((1, 2, 3)) > 0.5).astype(np.int64)
    model = nn.Sequential([nn.Conv2D(12, 3, activation="relu"), nn.GlobalAvgPool2D(), nn.Dense(2)])
    optimizer = optim.Proximal(optim.SGD(0.2, momentum=0.9), optim.proximal.group_lasso(0.01), only="0.*")
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=optimizer, epochs=15, batch_size=20, progress=False)
    alive = model.parameters()["0.weight"].numpy().any(axis=(0, 1, 2))
    assert 0 < alive.sum() < 12
    smaller = prune_zeros(model)
    assert smaller.layers[0].filters == alive.sum()
    np.testing.assert_allclose(smaller(x).numpy(), model(x).numpy(), atol=1e-5)


def test_pruning_through_convolution_normalisation_pooling_and_flatten():
    model = nn.Sequential([nn.Conv2D(8, 3, activation="relu"), nn.BatchNorm(), nn.MaxPool2D(2), nn.Conv2D(6, 3),
                           nn.ReLU(),
                           nn.Flatten(), nn.Dense(5, activation="tanh"), nn.Dense(3)])
    x = GENERATOR.standard_normal((4, 12, 12, 2)).astype(np.float32)
    model(x, training=True)
    values = model.parameters()

    def zero(name, index):
        array = values[name].numpy()
        array[index] = 0
        values[name].assign(array)
    zero("3.weight", (slice(None), slice(None), [1, 4]))    # filters 1 and 4 of the first layer are not listened to
    # filter 6 of the first is a constant, through normalisation and pooling
    zero("0.weight", (..., 6))
    values["0.bias"].assign(np.full(8, 0.7, np.float32))
    zero("3.weight", (..., 2))
    zero("3.bias", 2)                                       # filter 2 of the second gives 0
    zero("6.weight", (slice(None), 0))                      # a unit that is constant: activation(bias)
    values["6.bias"].assign(np.full(5, 0.3, np.float32))
    smaller = prune_zeros(model)
    assert [smaller.layers[i].filters for i in (0, 3)] == [5, 5]
    assert smaller.layers[6].units == 4
    np.testing.assert_allclose(smaller(x).numpy(), model(x).numpy(), atol=1e-5)
    with pytest.raises(ArgumentError, match="built Sequential"):
        prune_zeros(nn.Dense(3))


CONSTRAINTS = {
    "max_norm": (constraints.max_norm(1.0),
                 lambda w: w * np.minimum(1 / np.linalg.norm(w.reshape(-1, w.shape[-1]), axis=0), 1)),
    "unit_norm": (constraints.unit_norm(), lambda w: w / np.linalg.norm(w.reshape(-1, w.shape[-1]), axis=0)),
    "non_negative": (constraints.non_negative(), lambda w: np.maximum(w, 0)),
    "bounded": (constraints.bounded(-0.1, 0.2), lambda w: np.clip(w, -0.1, 0.2)),
}


@pytest.mark.parametrize("shape", [(4, 3), (3, 3, 2, 5)])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_are_projections(name, shape):
    project, expected = CONSTRAINTS[name]
    w = GENERATOR.standard_normal(shape)
    once = project(cr.asarray(w))
    np.testing.assert_allclose(once.numpy(), expected(w), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(project(once).numpy(), once.numpy(), rtol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_constraints_hold_during_training(backend):
    x = GENERATOR.standard_normal((90, 6)).astype(np.float32)
    y = (x.sum(1) > 0).astype(int)
    model = nn.Sequential([nn.Dense(12, activation="relu"), nn.Dense(2)])
    optimizer = optim.constrained(optim.Adam(0.05), constraints.max_norm(0.5), only="0.*")
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=optimizer, epochs=5, progress=False, backend=backend)
    norms = [np.linalg.norm(model.parameters()[f"{i}.weight"].numpy(), axis=0) for i in (0, 1)]
    assert norms[0].max() <= 0.5 + 1e-6 and norms[1].max() > 0.5


def test_non_negative_least_squares():
    nnls = pytest.importorskip("scipy.optimize").nnls
    found = regression(optim.constrained(optim.SGD(0.3), constraints.non_negative()), 300)
    np.testing.assert_allclose(found, nnls(X, Y)[0], atol=1e-6)


def test_gradient_noise_has_its_variance_and_its_state():
    v = cr.Variable(np.zeros((300, 300)), name="v")
    optimizer = optim.GradientNoise(optim.SGD(1.0), strength=0.04, decay=1.0)
    before = np.zeros((300, 300))
    for t in range(4):
        optimizer.update({"v": v}, {"v": np.zeros((300, 300))})
        step, before = v.numpy() - before, v.numpy()
        assert step.std() == pytest.approx(np.sqrt(0.04 / (1 + t)), rel=0.02)
        assert abs(step.mean()) < 0.004
    assert optimizer.variables()["noise"].numpy()[2] == 4
    assert set(optimizer.variables()) == {"step", "learning_rate", "noise"}


def test_wrapped_optimisers_resume_with_the_same_bits(tmp_path):
    x = GENERATOR.standard_normal((64, 5)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)

    def run(**options):
        model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(2)])
        noisy = optim.GradientNoise(optim.Proximal(optim.Adam(1e-2), optim.proximal.l1(0.01)), seed=3)
        cr.fit(model, (x, y), loss="cross_entropy", optimizer=noisy, progress=False, backend="reference", **options)
        return [v.numpy() for v in model.variables().values()]
    whole = run(epochs=4)
    run(epochs=2, checkpoint=tmp_path / "half")
    for a, b in zip(whole, run(epochs=4, resume=tmp_path / "half"), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [lambda: optim.proximal.l1(-1), lambda: constraints.max_norm(0),
                                  lambda: constraints.bounded(1, 0),
                                  lambda: optim.penalties.l1(-1), lambda: optim.penalties.ridge("strong"),
                                  lambda: optim.penalties.l1_l2(1, -1), lambda: optim.penalties.group_lasso(-1),
                                  lambda: optim.Proximal("adam", optim.proximal.l1(1)),
                                  lambda: optim.GradientNoise(optim.SGD(), -1)])
def test_mistakes_are_named(make):
    with pytest.raises(ArgumentError):
        make()


def test_the_strength_has_a_best_value_between_too_little_and_too_much():
    """Few noisy samples: the error on others falls, then rises, with the strength (the U shape)."""
    generator = np.random.default_rng(3)
    x, held = generator.standard_normal((14, 10)), generator.standard_normal((500, 10))
    y = x @ TRUE + 2.0 * generator.standard_normal(14)
    errors = []
    for strength in (0.0, 0.03, 0.3, 3.0, 30.0):
        w, optimizer = cr.Variable(np.zeros((10, 1)), name="w"), optim.SGD(0.05)
        penalty = optim.penalties.ridge(strength)

        @cr.compile(backend="reference")
        def step(w=w, optimizer=optimizer, penalty=penalty):
            loss = cr.sum((cr.matmul(x, w.value) - y[:, None]) ** 2) / (2 * len(x)) + penalty({"w": w})
            optimizer.update({"w": w}, cr.gradients(loss, {"w": w}))
        for _ in range(600):
            step()
        errors.append(float(((held @ (w.numpy()[:, 0] - TRUE)) ** 2).mean()))
    best = int(np.argmin(errors))
    assert 0 < best < 4 and errors[0] > 1.05 * errors[best] and errors[-1] > 1.5 * errors[best], errors
