# SPDX-License-Identifier: Apache-2.0
"""The mechanics of training against formulas written out in NumPy, and against PyTorch where it has the same."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim, train
from chainrule.errors import ArgumentError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(90, 5))
Y = (X @ GENERATOR.normal(size=(5, 3)) + 0.3 * GENERATOR.normal(size=(90, 3))).argmax(-1)


def double(*layers):
    return nn.Sequential([nn.Dense(units, activation=activation, dtype="float64") for units, activation in layers])


# ---- back-propagation

def test_back_propagation_through_two_layers_by_hand():
    model = double((7, "tanh"), (3, "linear"))
    model(X[:1])
    w1, b1, w2, b2 = (v.numpy() for v in model.parameters().values())
    hidden = np.tanh(X @ w1 + b1)
    logits = hidden @ w2 + b2
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    delta2 = (p - np.eye(3)[Y]) / len(X)
    delta1 = delta2 @ w2.T * (1 - hidden**2)
    found = cr.gradients(losses.cross_entropy(model(X), Y), model)
    for g, expected in zip(found.values(), (X.T @ delta1, delta1.sum(0), hidden.T @ delta2, delta2.sum(0)),
                           strict=True):
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_gradients_of_single_samples_average_to_that_of_the_batch():
    torch = pytest.importorskip("torch")
    model = double((6, "tanh"), (3, "linear"))
    model(X[:1])
    w1, b1, w2, b2 = (v.numpy() for v in model.parameters().values())

    def one(a, b, c, d, x, t):
        return losses.cross_entropy((cr.tanh(x @ a + b) @ c + d)[None], t)
    singles = cr.vmap(cr.grad(one, argnums=(0, 1, 2, 3)),
                      in_axes=(None, None, None, None, 0, 0))(w1, b1, w2, b2, X, np.eye(3)[Y][:, None])
    whole = cr.gradients(losses.cross_entropy(model(X), Y), model)

    def theirs(a, b, c, d, x, t):
        return torch.nn.functional.cross_entropy((torch.tanh(x @ a + b) @ c + d)[None], t[None])
    expected = torch.func.vmap(torch.func.grad(theirs, (0, 1, 2, 3)),
                               (None, None, None, None, 0, 0))(*map(torch.tensor, (w1, b1, w2, b2, X, Y)))
    for g, batch, other in zip(singles, whole.values(), expected, strict=True):
        np.testing.assert_allclose(g.numpy().mean(0), batch.numpy(), atol=1e-12)
        np.testing.assert_allclose(g.numpy(), other.numpy(), atol=1e-12)


def test_one_step_of_gradient_descent_is_its_formula_to_the_bit():
    model = double((3, "linear"))
    model(X[:1])
    before = {name: v.numpy() for name, v in model.parameters().items()}
    grads = cr.gradients(losses.cross_entropy(model(X), Y), model)
    optim.SGD(0.1).update(model, grads)
    for name, v in model.parameters().items():
        np.testing.assert_array_equal(v.numpy(), before[name] - 0.1 * grads[name].numpy())


# ---- optima and trajectories

def test_gradient_descent_arrives_at_the_normal_equations():
    y = X @ GENERATOR.normal(size=(5, 1)) + GENERATOR.normal(size=(90, 1))
    model = double((1, "linear"))
    model(X[:1])
    optimizer = optim.SGD(0.2)
    for _ in range(500):
        optimizer.update(model, cr.gradients(losses.mean_squared_error(model(X), y), model))
    expected = np.linalg.lstsq(np.c_[X, np.ones(90)], y, rcond=None)[0]
    np.testing.assert_allclose(np.r_[model[0].weight.numpy(), model[0].bias.numpy()[None]], expected, atol=1e-6)


def test_the_constant_with_the_least_absolute_error_is_the_median():
    y = GENERATOR.normal(size=(31, 1)) ** 3
    c = cr.Variable(np.zeros((1, 1)), name="c")
    optimizer = optim.SGD(optim.schedules.inverse_sqrt(0.5, 10))
    for _ in range(4000):
        optimizer.update([c], [cr.gradients(losses.mean_absolute_error(cr.broadcast_to(c.value, (31, 1)), y), c)])
    assert c.numpy().item() == pytest.approx(np.median(y), abs=5e-3)
    assert cr.grad(lambda z: losses.mean_absolute_error(z, np.zeros(1)))(np.zeros(1)).item() == 0


def test_one_sample_at_a_time_is_the_way_of_pytorch():
    torch = pytest.importorskip("torch")
    ours = double((4, "tanh"), (3, "linear"))
    ours(X[:1])
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)).double()
    with torch.no_grad():
        for p, v in zip(theirs.parameters(), ours.parameters().values(), strict=True):
            p.copy_(torch.tensor(v.numpy().T))
    mine, other = optim.SGD(0.05), torch.optim.SGD(theirs.parameters(), 0.05)
    batches = cr.data.Batches(90, 1, seed=3)
    for _, (i,) in zip(range(100), batches, strict=False):
        mine.update(ours, cr.gradients(losses.cross_entropy(ours(X[i:i + 1]), Y[i:i + 1]), ours))
        other.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(X[i:i + 1])), torch.tensor(Y[i:i + 1])).backward()
        other.step()
    for p, v in zip(theirs.parameters(), ours.parameters().values(), strict=True):
        np.testing.assert_allclose(v.numpy(), p.detach().numpy().T, rtol=1e-10, atol=1e-12)


def test_accumulated_batches_of_ragged_sequences_are_one_large_batch():
    """Sums and weights are added up, not means: the number of words in a micro-batch does not matter."""
    x = GENERATOR.normal(size=(12, 7, 4))
    y = GENERATOR.integers(0, 3, (12, 7))
    mask = np.arange(7) < GENERATOR.integers(1, 8, 12)[:, None]
    model = nn.Sequential([nn.Dense(6, activation="tanh", dtype="float64"), nn.Dense(3, dtype="float64")])
    whole = cr.gradients(losses.cross_entropy(model(x), y, mask=mask), model)
    sums, weight = {}, 0.0
    for start in range(0, 12, 3):
        part = slice(start, start + 3)
        total, own = losses.cross_entropy.sum_and_weight(model(x[part]), y[part], mask=mask[part])
        weight += own.item()
        for name, g in cr.gradients(total, model).items():
            sums[name] = sums.get(name, 0) + g.numpy()
    for name, g in whole.items():
        np.testing.assert_allclose(sums[name] / weight, g.numpy(), atol=1e-12)


# ---- remedies

@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0, 10.0, 100.0])
def test_batch_normalisation_trains_from_any_scale_of_the_first_weights(scale):
    x = X.astype(np.float32)
    model = nn.Sequential([nn.Dense(16, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dense(16, bias=False),
                           nn.BatchNorm(), nn.ReLU(), nn.Dense(3)])
    model(x[:1])
    for name in ("0.weight", "3.weight"):
        v = model.parameters()[name]
        v.assign(v.numpy() * np.float32(scale))
    history = cr.fit(model, (x, Y), loss="cross_entropy", optimizer=optim.Adam(1e-2), epochs=40, batch_size=30,
                     metrics=["accuracy"], progress=False, backend="reference")
    assert history["accuracy"][-1] > 0.8


def test_early_stopping_ends_exactly_patience_epochs_after_the_best():
    def bits():
        return hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.variables().values())).hexdigest()

    class Watch(train.Callback):
        def after_epoch(self, run, row):
            seen.append(bits())
    seen, model, x = [], nn.Sequential([nn.Dense(40, activation="relu"), nn.Dense(3)]), X.astype(np.float32)
    stopping = train.EarlyStopping(patience=4)
    history = cr.fit(model, (x[:40], Y[:40]), loss="cross_entropy", optimizer=optim.Adam(3e-2), epochs=200,
                     validation=(x[40:], Y[40:]), callbacks=[Watch(), stopping], progress=False, backend="reference")
    values = history["validation_loss"]
    best = int(np.argmin(values)) + 1
    assert len(history) == best + 4 == stopping.best_epoch + 4 < 200
    assert bits() == seen[best - 1]


def test_dropout_in_prediction_has_the_mean_and_spread_of_its_masks():
    model = nn.Sequential([nn.Dropout(0.5), nn.BatchNorm(), nn.Dense(1)])
    x = X[:4].astype(np.float32)
    model(x)
    before = {name: v.numpy() for name, v in model.variables().items()}
    state = cr.random.default.state.numpy()
    found = train.predict_samples(model, x, samples=4000, backend="reference")
    assert found.shape == (4000, 4, 1)
    w, scale = before["2.weight"][:, 0], 1 / np.sqrt(1 + model[1].epsilon)
    np.testing.assert_allclose(found.mean(0)[:, 0], scale * x @ w, atol=4 * found.std() / 4000**0.5)
    np.testing.assert_allclose(found.std(0)[:, 0], np.sqrt(((scale * x * w) ** 2).sum(-1)), rtol=0.1)
    for name, v in model.variables().items():
        np.testing.assert_array_equal(v.numpy(), before[name])
    np.testing.assert_array_equal(cr.random.default.state.numpy(), state)
    np.testing.assert_array_equal(cr.predict(model, x, backend="reference").numpy(),
                                  cr.predict(model, x, backend="reference").numpy())
    with pytest.raises(ArgumentError, match="no dropout"):
        train.predict_samples(nn.Sequential([nn.Dense(1)]), x)
