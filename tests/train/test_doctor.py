# SPDX-License-Identifier: Apache-2.0
"""The doctor: every planted illness is found at its place with one remedy; healthy models and runs are left in peace.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.statistics import Run
from chainrule.train.curves import constant_loss, read_curves

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((300, 8)).astype(np.float32)
Y = (X @ GENERATOR.standard_normal((8, 3))).argmax(-1)
IMAGES = GENERATOR.random((64, 10, 10, 1), dtype=np.float32)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order():
    cr.random.seed(0)
    GENERATOR.bit_generator.state = np.random.default_rng(1).bit_generator.state


def mlp(activation="relu", weights="he_normal", depth=1, units=32, out=3):
    layers = [nn.Dense(units, activation=activation, weight_initializer=weights) for _ in range(depth)]
    return nn.Sequential([*layers, nn.Dense(out)])


def scaled(model, factor, name):
    model(X[:1] if model.input_shape is None else np.zeros((1, *model.input_shape), np.float32))
    variable = model.variables()[name]
    variable.assign(variable.numpy() * np.float32(factor))
    return model


def shifted(model, by, name):
    model(X[:1])
    model.variables()[name].assign(model.variables()[name].numpy() + np.float32(by))
    return model


def zeroed():
    return scaled(mlp(), 0.0, "0.weight")


Y01 = (Y == 0).astype(np.float32)[:, None]
RARE = np.where(np.arange(300) < 285, 0, 1)
PLANTED = {
    "dead units": (lambda: shifted(mlp(), -100, "0.bias"), (X, Y), "cross_entropy", "model[0] Dense"),
    "softmax before cross-entropy": (lambda: nn.Sequential([nn.Dense(16, "relu"), nn.Dense(3, "softmax")]), (X, Y),
                                     "cross_entropy", "model[1] Dense"),
    "sigmoid before cross-entropy": (lambda: nn.Sequential([nn.Dense(16, "relu"), nn.Dense(1), nn.Sigmoid()]), (X, Y01),
                                     "binary_cross_entropy", "model[2] Sigmoid"),
    "inputs not normalised": (mlp, (X * 50 + 120, Y), "cross_entropy", "Sequential (input)"),
    "targets not normalised": (lambda: mlp(out=1), (X, X[:, :1] * 3e4 + 2e5), "mean_squared_error", "targets"),
    "class imbalance": (mlp, (X, RARE), "cross_entropy", "targets"),
    "no activation": (lambda: nn.Sequential([nn.Dense(16), nn.Dropout(0.1), nn.Dense(3)]), (X, Y), "cross_entropy",
                      "model[0] Dense"),
    "equal weights": (zeroed, (X, Y), "cross_entropy", "model[0] Dense"),
    "saturated activations": (lambda: scaled(mlp("tanh"), 100, "0.weight"), (X, Y), "cross_entropy", "model[0] Dense"),
    "vanishing gradients": (lambda: mlp("sigmoid", "glorot_uniform", depth=20), (X, Y), "cross_entropy",
                            "model[0] Dense"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_illness_is_found_at_its_place(kind):
    make, data, loss, where = PLANTED[kind]
    report = cr.diagnose(make(), data, loss=loss)
    found = [finding for finding in report if finding.kind == kind]
    assert found and found[0].where == where
    assert set(report.kinds) == {kind}
    assert found[0].remedy and found[0].problem and kind in str(report)


def test_exploding_gradients_through_layers_and_through_time():
    deep = mlp("relu", "he_normal", depth=8)
    deep(X[:1])
    for name, variable in deep.variables().items():
        if "weight" in name:
            variable.assign(variable.numpy() * np.float32(5))
    assert "exploding gradients" in cr.diagnose(deep, (X, Y), loss="cross_entropy").kinds
    for radius, activation, kind in ((1.5, "linear", "exploding gradients"), (0.5, "tanh", "vanishing gradients")):
        model = nn.Sequential([nn.SimpleRNN(16, activation=activation), nn.Dense(3)])
        x = GENERATOR.standard_normal((40, 60, 4)).astype(np.float32)
        model(x[:1])
        recurrent = model.variables()["0.recurrent_weight"]
        recurrent.assign(recurrent.numpy() * np.float32(radius))
        report = cr.diagnose(model, (x, Y[:40]), loss="cross_entropy")
        assert kind in report.kinds and report[-1].where == "model[0] SimpleRNN"


def test_remedies_help():
    """20 sigmoid layers: the gradient is lost on its way; with ReLU and He's weights it arrives."""
    def ratio(model):
        exam = train.doctor.examine(model, X, Y, np.ones(300, np.float32), cr.losses.get("cross_entropy"))
        norms = [np.linalg.norm(g) for name, g in exam.gradients.items() if g.ndim > 1]
        return norms[1] / norms[-2]  # layers of one shape
    assert ratio(mlp("sigmoid", "glorot_uniform", depth=20)) < 1e-6
    assert 0.1 < ratio(mlp("relu", "he_normal", depth=20, units=64)) < 10
    blocks = [nn.Residual([nn.LayerNorm(), nn.Dense(32, "sigmoid", weight_initializer="glorot_uniform")])
              for _ in range(20)]
    assert 0.1 < ratio(nn.Sequential([nn.Dense(32), *blocks, nn.Dense(3)])) < 10


HEALTHY = {
    "mlp": (mlp, (X, Y), "cross_entropy"), "deep": (lambda: mlp(depth=10, units=64), (X, Y), "cross_entropy"),
    "tanh": (lambda: mlp("tanh", "glorot_uniform", depth=3), (X, Y), "cross_entropy"),
    "regression": (lambda: mlp(out=1), (X, X[:, :1] - X[:, 1:2]), "mean_squared_error"),
    "binary": (lambda: mlp(out=1), (X, Y01), "binary_cross_entropy"),
    "linear": (lambda: nn.Sequential([nn.Dense(3)]), (X, Y), "cross_entropy"),
    "convolution": (lambda: nn.Sequential([nn.Conv2D(8, 3, activation="relu"), nn.MaxPool2D(2), nn.Flatten(),
                                           nn.Dense(3)]),
                    (IMAGES, Y[:64]), "cross_entropy"),
    "normalised inside": (lambda: nn.Sequential([nn.BatchNorm(), nn.Dense(16, "relu"), nn.Dense(3)]), (X * 100, Y),
                          "cross_entropy"),
    "residual": (lambda: nn.Sequential([nn.Dense(16),
                                        *[nn.Residual([nn.LayerNorm(), nn.Dense(16, "gelu")]) for _ in range(6)],
                                        nn.ReLU(), nn.Dense(3)]),
                 (X, Y), "cross_entropy"),
    "lstm": (lambda: nn.Sequential([nn.LSTM(12), nn.Dense(3)]),
             (GENERATOR.standard_normal((64, 15, 4)).astype(np.float32), Y[:64]), "cross_entropy"),
    "words": (lambda: nn.Sequential([nn.Embedding(50, 8), nn.Flatten(), nn.Dense(3)]),
              (GENERATOR.integers(0, 50, (64, 6)), Y[:64]), "cross_entropy"),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_models_are_silent_and_stay_as_they_are(name):
    make, data, loss = HEALTHY[name]
    model = make()
    model(data[0][:2])
    before = [v.numpy() for v in model.variables().values()]
    report = cr.diagnose(model, data, loss=loss)
    assert report == [], str(report)
    assert str(report) == "nothing found"
    for a, v in zip(before, model.variables().values(), strict=True):
        np.testing.assert_array_equal(a, v.numpy())


def fit(model, data, optimizer, epochs, **options):
    doctor = train.Doctor()
    settings = {"loss": "cross_entropy", "batch_size": 32, "progress": False, "backend": "reference",
                "metrics": ["accuracy"]}
    history = cr.fit(model, data, optimizer=optimizer, epochs=epochs, callbacks=[doctor], **(settings | options))
    return doctor.findings, history


def test_a_healthy_run_is_silent_and_has_the_same_bits():
    train_data, held_out = (X[:220], Y[:220]), (X[220:], Y[220:])
    watched, alone = (nn.Sequential([nn.Dense(16, "relu"), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(3)])
                      for _ in range(2))
    found, history = fit(watched, train_data, optim.Adam(5e-3, weight_decay=1e-3), 12, validation=held_out)
    assert found == [], str(found)
    assert history["validation_accuracy"][-1] > 0.85
    cr.fit(alone, train_data, loss="cross_entropy", optimizer=optim.Adam(5e-3, weight_decay=1e-3), epochs=12,
           batch_size=32, progress=False, backend="reference")
    for a, b in zip(watched.variables().values(), alone.variables().values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_overfitting_is_found():
    noisy = np.where(GENERATOR.random(300) < 0.3, GENERATOR.integers(0, 3, 300), Y)
    found, _ = fit(mlp(units=128), (X[:80], noisy[:80]), optim.Adam(1e-2), 40, validation=(X[80:], noisy[80:]))
    assert found.kinds == ["overfitting"]
    assert "overfitting since epoch" in found[0].problem and "accuracy 100" in found[0].problem
    assert "EarlyStopping" in found[0].remedy


def spirals(n=150):
    t = np.sqrt(GENERATOR.random(n)) * 3 * np.pi
    arm = np.stack([t * np.cos(t), t * np.sin(t)], -1) / 8
    return np.concatenate([arm, -arm]).astype(np.float32), np.repeat([0, 1], n)


def test_underfitting_is_found():
    found, _ = fit(nn.Sequential([nn.Dense(2)]), spirals(), optim.Adam(2e-2), 15)
    assert found.kinds == ["underfitting"]
    assert "larger model" in found[0].remedy


@pytest.mark.parametrize(("optimizer", "kind"),
                         [(optim.SGD(1e-5), "learning rate too low"), (optim.SGD(30.0), "learning rate too high")])
def test_a_learning_rate_that_is_wrong_is_found(optimizer, kind):
    found, _ = fit(mlp("tanh"), (X, Y), optimizer, 8)
    assert kind in found.kinds


def test_curves_by_hand():
    y = np.arange(100) % 4

    def kinds(training, validation=None):
        rows = [{"epoch": i + 1, "loss": v, **({} if validation is None else {"validation_loss": validation[i]})}
                for i, v in enumerate(training)]
        return [finding.kind for finding in read_curves(rows, y, "cross_entropy")]
    assert kinds([1.3, 1.0, 0.7, 0.5, 0.4, 0.35], [1.3, 1.1, 0.8, 0.6, 0.5, 0.48]) == []
    assert kinds([1.3, 1.0, 0.7, 0.5, 0.3, 0.1], [1.3, 1.0, 0.9, 1.0, 1.2, 1.5]) == ["overfitting"]
    assert kinds([1.39, 1.38, 1.37, 1.37, 1.37, 1.37]) == ["underfitting"]
    assert kinds([1.39, 1.388, 1.386, 1.384, 1.382]) == ["learning rate too low"]
    assert kinds([1.3, 0.8, 0.5, 0.9, 1.4, 3.0]) == ["learning rate too high"]
    assert kinds([1.3, 1.29]) == []


def test_the_loss_of_the_best_constant():
    y = GENERATOR.integers(0, 3, 50)
    p = np.bincount(y) / 50
    assert constant_loss(y, "cross_entropy") == pytest.approx(-(p * np.log(p)).sum())
    assert constant_loss(np.eye(3)[y], "cross_entropy") == pytest.approx(-(p * np.log(p)).sum())
    assert constant_loss(X, "mean_squared_error") == pytest.approx(X.var(0).mean(), rel=1e-6)
    assert constant_loss(np.array([0, 1, 1, 1.0]),
                         "binary_cross_entropy") == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert constant_loss(y, "hinge") is None


def test_the_spread_of_activations():
    model = scaled(mlp(depth=3), 30, "1.weight")
    report = train.activation_report(model, X)
    by_hand = np.maximum(X @ model.variables()["0.weight"].numpy(), 0)
    assert [spread.layer for spread in report] == [f"model[{i}] Dense" for i in range(4)]
    assert report[0].mean == pytest.approx(by_hand.mean(),
                                           rel=1e-4) and report[0].deviation == pytest.approx(by_hand.std(), rel=1e-4)
    assert not report[0].unusual and report[1].unusual and "<-" in str(report[1])
    assert str(report).splitlines() == [str(spread) for spread in report]


def test_one_batch_can_be_learnt_by_heart():
    model = mlp()
    model(X[:1])
    before = model.variables()["0.weight"].numpy()
    assert train.overfit_one_batch(model, (X, Y), loss="cross_entropy", optimizer=optim.Adam(1e-2),
                                   backend="reference") < 1e-2
    np.testing.assert_array_equal(model.variables()["0.weight"].numpy(), before)
    silent = nn.Sequential([nn.Dense(4, "relu", bias_initializer="zeros"), nn.Dense(3)])
    assert train.overfit_one_batch(shifted(silent, -100, "0.bias"), (X, Y), loss="cross_entropy",
                                   backend="reference") > 0.1


# ---- what a network without non-linearity cannot do

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR_Y = np.array([[0], [1], [1], [0]], np.float32)


def solved(layers, seed):
    model = nn.Sequential(layers)
    cr.fit(model, (XOR, XOR_Y), loss="binary_cross_entropy", optimizer=optim.Adam(0.1), epochs=150, batch_size=4,
           seed=seed, progress=False, backend="reference")
    return bool(((model(XOR).numpy() > 0) == XOR_Y).all())


def test_a_deep_linear_network_is_one_matrix():
    model = nn.Sequential([nn.Dense(16), nn.Dense(16), nn.Dense(1)])
    outputs = model(XOR).numpy()
    weights = [layer.weight.numpy() for layer in model.layers]
    np.testing.assert_allclose(outputs, XOR @ (weights[0] @ weights[1] @ weights[2]), atol=1e-6)
    assert cr.diagnose(model, (XOR, XOR_Y), loss="binary_cross_entropy").kinds == ["no activation"]


def test_linear_networks_fail_at_xor_and_one_hidden_layer_solves_it():
    assert not any(solved([nn.Dense(8), nn.Dense(8), nn.Dense(1)], seed) for seed in range(3))
    assert sum(solved([nn.Dense(8, "tanh"), nn.Dense(1)], seed) for seed in range(20)) >= 19


# ---- real pictures

def test_digits_overfit_with_few_pictures_and_not_with_help(shared_data):
    digits = cr.data.load(shared_data / "mnist")

    def pictures(x, count):
        return x[:count].reshape(count, -1).astype(np.float32) / 255
    held = pictures(digits.x_test, 1000), digits.y_test[:1000]
    few, many = ((pictures(digits.x_train, n), digits.y_train[:n]) for n in (500, 4000))
    found, _ = fit(mlp(units=128, out=10), few, optim.Adam(2e-3), 25, validation=held, backend="native")
    assert found.kinds == ["overfitting"] and "100" in found[0].problem
    regular = nn.Sequential([nn.Dense(64, "relu"), nn.Dropout(0.3), nn.Dense(10)])
    found, history = fit(regular, many, optim.Adam(2e-3), 8, validation=held, backend="native")
    assert found == [], str(found)
    assert history["validation_accuracy"][-1] > 0.9


def test_dropout_and_augmentation_shrink_the_gap(shared_data):
    """500 digits, the same first weights for both: the validation loss minus that of the samples without dropout and
    shifts."""
    digits = cr.data.load(shared_data / "mnist")
    x, held = ((part[:count, 4:24, 4:24].astype(np.float32) / 255)
               for part, count in ((digits.x_train, 500), (digits.x_test, 1000)))

    def gap(seed, dropout, augment):
        model = nn.Sequential([nn.Flatten(), nn.Dense(64, "relu"), *([nn.Dropout(dropout)] if dropout else []),
                               nn.Dense(10)])
        cr.fit(model, (x, digits.y_train[:500]), loss="cross_entropy", optimizer=optim.Adam(2e-3), epochs=25, seed=seed,
               augment=augment, progress=False)
        on = lambda part, y: cr.evaluate(model, (part, y), loss="cross_entropy")["loss"]
        return on(held, digits.y_test[:1000]) - on(x, digits.y_train[:500])
    runs = [Run.of_losses(name, [gap(seed, dropout, augment) for seed in range(5)])
            for name, dropout, augment in (("plain", 0.0, None), ("regularised", 0.5, cr.augment.Translate(0.1)))]
    found = cr.compare(*runs, test="paired_t")
    assert runs[1].values.mean() < 0.7 * runs[0].values.mean() and found.p < 0.05, str(found)


def test_recurrent_weights_of_spectral_radius_above_one_are_flagged():
    x = GENERATOR.standard_normal((40, 60, 4)).astype(np.float32)
    for radius, flagged in ((1.5, True), (1.0, False)):
        model = nn.Sequential([nn.SimpleRNN(16), nn.Dense(3)])
        model(x[:1])
        recurrent = model.variables()["0.recurrent_weight"]
        recurrent.assign(recurrent.numpy() * np.float32(radius))
        assert ("large recurrent weights" in cr.diagnose(model, (x, Y[:40]), loss="cross_entropy").kinds) == flagged


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_gates_that_forget_too_soon_are_flagged_and_memory_helps(layer):
    x = GENERATOR.standard_normal((20, 150, 4)).astype(np.float32)
    reports = [cr.diagnose(nn.Sequential([made, nn.Dense(3)]), (x, Y[:20]), loss="cross_entropy")
               for made in (layer(12), layer(12, memory=150))]
    assert reports[0].kinds == ["vanishing gradients"] and "memory=150" in reports[0][0].remedy
    assert reports[1] == []
