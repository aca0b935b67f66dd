# SPDX-License-Identifier: Apache-2.0
"""What is asked of a model and data takes what `fit` takes: nested arrays, sources, loaders and streams, with the
answer of plain arrays."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.errors import ArgumentError, DataError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((60, 4)).astype(np.float32)
Y = (X @ GENERATOR.standard_normal((4, 3))).argmax(-1)


class Pairs:
    """A source of samples by number."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], int(Y[index])


class Batches:
    """A stream that begins again: batches of 20, with weights or without."""

    def __init__(self, *arrays, size=20):
        self.arrays, self.size = arrays or (X, Y), size

    def __iter__(self):
        for i in range(0, len(self.arrays[0]), self.size):
            yield tuple(array[i:i + self.size] for array in self.arrays)


GIVEN = {"arrays": lambda: (X, Y), "source": Pairs,
         "loader": lambda: cr.data.Loader(Pairs(), batch_size=20, shuffle=False), "stream": Batches}


def network():
    cr.random.seed(0)
    return nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(3)], input_shape=(4,))


TOOLS = {
    "top losses": lambda model, data: train.top_losses(model, data, loss="cross_entropy", count=5).losses,
    "their places": lambda model, data: train.top_losses(model, data, loss="cross_entropy", count=5).indices,
    "losses of samples": lambda model, data: train.sample_losses(model, data, loss="cross_entropy")[0],
    "largest batch": lambda model, data: train.largest_batch(
        model, data, loss="cross_entropy", memory=2**20, most=512, backend="reference"
    ),
    "gradient": lambda model, data: train.gradient(model, data, loss="cross_entropy")["0.weight"],
    "deltas": lambda model, data: train.deltas(model, data, loss="cross_entropy")["0"],
    "report of gradients": lambda model, data: [
        row.gradient for row in train.gradient_report(model, data, loss="cross_entropy")
    ],
    "one batch": lambda model, data: train.overfit_one_batch(model, data, loss="cross_entropy", steps=5),
    "findings": lambda model, data: len(cr.diagnose(model, data, loss="cross_entropy")),
}


@pytest.mark.parametrize("given", ["source", "loader", "stream"])
@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_says_the_same_of_the_same_samples(name, given):
    model = network()
    np.testing.assert_allclose(TOOLS[name](model, GIVEN[given]()), TOOLS[name](model, GIVEN["arrays"]()), rtol=1e-5,
                               atol=1e-7)


def test_a_loader_is_left_where_it_was():
    loader = cr.data.Loader(Pairs(), batch_size=8)
    model = network()
    cr.diagnose(model, loader, loss="cross_entropy", samples=20)
    train.overfit_one_batch(model, loader, loss="cross_entropy", steps=2)
    assert (loader.epoch, loader.step) == (0, 0)


@pytest.mark.parametrize("given", GIVEN)
def test_rates_and_folds_of_any_data(given):
    assert 1e-6 < train.lr_find(network(), GIVEN[given](), loss="cross_entropy", steps=30, batch_size=8).suggestion < 10
    if given in ("arrays", "source"):
        assert len(train.cross_validate(network, GIVEN[given](), loss="cross_entropy", parts=3,
                                        epochs=1)["loss"].values) == 3


def test_folds_of_a_source_are_those_of_arrays():
    found = [train.cross_validate(network, GIVEN[given](), loss="cross_entropy", parts=3, epochs=1,
                                  shuffle=False)["loss"].values for given in ("arrays", "source")]
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: train.cross_validate(network, Batches(), loss="mse"), "samples by number"),
    (lambda: train.cross_validate(network, cr.data.Loader(Pairs()), loss="mse"), "the source of the loader"),
    (lambda: train.cross_validate(network, Pairs(), loss="mse", stratify=True), "one array of labels"),
    (lambda: train.top_losses(network(), cr.data.Loader(Pairs()), loss="cross_entropy"), "mixes its samples"),
    (lambda: cr.diagnose(network(), iter([(X, Y)]), loss="cross_entropy"), "gone through once"),
])
def test_what_a_tool_needs_is_said(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()


# ---- several inputs and outputs

class Two(nn.Module):
    """Two inputs, two outputs; `end` follows the second one."""

    def __init__(self, end=None):
        self.left, self.right = nn.Dense(6, activation="tanh"), nn.Dense(6, activation="tanh")
        self.label, self.number = nn.Dense(3, activation=end), nn.Dense(2)

    def forward(self, a, b, training=False):
        between = self.left(a) + self.right(b)
        return {"label": self.label(between), "number": self.number(between)}


NESTED = ({"a": X, "b": X[:, 1:]}, {"label": Y, "number": X[:, :2]})
LOSS = {"label": "cross_entropy", "number": "mse"}


def two(end=None):
    cr.random.seed(0)
    model = Two(end)
    model(X[:1], X[:1, 1:])
    return model


def test_the_loss_of_a_sample_is_the_sum_of_those_of_its_outputs():
    model = two()
    outputs = model(X, X[:, 1:])
    wanted = (cr.losses.cross_entropy(outputs["label"], Y, reduction="none").numpy()
              + cr.losses.mean_squared_error(outputs["number"], X[:, :2],
                                             reduction="none").numpy().reshape(60, -1).mean(axis=1))
    values, found = train.sample_losses(model, NESTED, loss=LOSS, batch_size=16)
    np.testing.assert_allclose(values, wanted, rtol=1e-5)
    assert found["number"].shape == (60, 2)
    top = train.top_losses(model, NESTED, loss=LOSS, count=3)
    assert top.indices.tolist() == np.argsort(-wanted, kind="stable")[:3].tolist()
    assert "target label" in str(top) and "target number" in str(top)


def test_the_gradient_of_several_losses_is_that_of_the_objective():
    model = two()
    weights = {"label": GENERATOR.uniform(0, 1, 60).astype("f"), "number": GENERATOR.uniform(0, 1, 60).astype("f")}
    loss = cr.losses.of_outputs(LOSS, {"label": 0.5})
    objective = loss.objective(*loss.sum_and_weight(model(X, X[:, 1:]), NESTED[1], weights))
    wanted = cr.gradients(objective, model)
    found = train.gradient(model, (*NESTED, weights), loss=loss, batch_size=16)
    assert set(found) == set(wanted)
    for name, array in found.items():
        np.testing.assert_allclose(array, wanted[name].numpy(), rtol=1e-4, atol=1e-6)


def test_steps_that_do_not_exist_are_no_part_of_a_sample():
    lengths = [2, 5, 3]
    x = [GENERATOR.standard_normal((n, 4)).astype("f") for n in lengths]
    model = nn.Sequential([nn.Dense(1, weight_initializer="ones", bias=False)])
    values, _ = train.sample_losses(model, (x, [np.zeros((n, 1), "f") for n in lengths]), loss="mse")
    np.testing.assert_allclose(values, [np.square(one.sum(axis=1)).mean() for one in x], rtol=1e-5)


def test_illnesses_are_found_in_their_input_and_output():
    kinds = lambda model, data: {(finding.kind, finding.where) for finding in cr.diagnose(model, data, loss=LOSS)}
    assert kinds(two(), NESTED) == set()
    assert kinds(two("softmax"), NESTED) == {("softmax before cross-entropy", "model.label Dense")}
    (x, y) = NESTED
    assert ("inputs not normalised", "Two (input b)") in kinds(two(), ({"a": x["a"], "b": x["b"] * 90}, y))
    assert ("targets not normalised", "targets number") in kinds(two(), (x, {**y, "number": y["number"] * 1e5}))


def test_other_tools_take_nested_data():
    model = two()
    before = [v.numpy() for v in model.variables().values()]
    assert train.overfit_one_batch(model, NESTED, loss=LOSS, steps=300, optimizer=optim.Adam(0.02)) < 0.5
    assert train.largest_batch(model, NESTED, loss=LOSS, memory=2**22, most=64) == 64
    assert {"label", "number", "left"} <= set(train.deltas(model, NESTED, loss=LOSS))
    assert len(train.activation_report(model, NESTED[0])) == 4
    for old, v in zip(before, model.variables().values(), strict=True):
        np.testing.assert_array_equal(old, v.numpy())


def test_statistics_and_uncertainty_of_several_inputs():
    class Model(nn.Module):
        def __init__(self):
            self.normal, self.drop = nn.BatchNorm(), nn.Dropout(0.5)

        def forward(self, a, b, training=False):
            return self.drop(self.normal(a + b, training=training), training=training)
    model = Model()
    model(X, X)
    train.recompute_statistics(model, {"a": X, "b": X}, batch_size=30)
    np.testing.assert_allclose(model.normal.running_mean.numpy(), 2 * X.mean(axis=0), atol=1e-5)
    assert train.predict_samples(model, {"a": X, "b": X}, samples=3).shape == (3, 60, 4)
    with pytest.raises(ArgumentError, match="works on all training samples"):
        cr.fit(network_with_statistics(), Batches(), loss="cross_entropy", callbacks=[train.SWA()], progress=False)


def network_with_statistics():
    return nn.Sequential([nn.BatchNorm(), nn.Dense(3)])


# ---- during a run

@pytest.mark.parametrize("given", GIVEN)
def test_the_doctor_looks_at_any_data(given):
    def run(callbacks):
        cr.random.seed(0)
        model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(3, "softmax")])
        cr.fit(model, GIVEN[given](), loss="cross_entropy", batch_size=20, epochs=2, callbacks=callbacks,
               progress=False)
        return model
    doctor, norms = train.Doctor(), train.GradientNorms()
    watched, alone = run([doctor, norms]), run([])
    assert "softmax before cross-entropy" in doctor.findings.kinds
    assert sorted(norms.reports) == [1, 2]
    np.testing.assert_array_equal(watched.variables()["0.weight"].numpy(), alone.variables()["0.weight"].numpy())


def test_callbacks_look_at_nested_data():
    doctor, until = train.Doctor(), train.Until(gradient=1e-9)
    cr.fit(two("softmax"), NESTED, loss=LOSS, epochs=2,
           callbacks=[doctor, until, train.SWA(start=1), train.GradientNorms()], progress=False)
    assert "softmax before cross-entropy" in doctor.findings.kinds
    assert until.gradient_norm > 0


@pytest.mark.parametrize("make", [train.Doctor, train.GradientNorms, lambda: train.Until(gradient=1e-3)])
def test_a_trainer_says_that_it_has_no_loss(make):
    model, optimizer = network(), optim.SGD(0.1)

    def step(batch):
        loss = cr.mean(model(batch[0]) ** 2)
        optimizer.update(model, cr.gradients(loss, model))
        return loss
    with pytest.raises(ArgumentError, match="looks at the loss or the samples of `fit`"):
        train.Trainer(step, {"model": model, "optimizer": optimizer}).run((X, Y), callbacks=[make()], progress=False)


# ---- weights of batches

def test_weights_count_though_those_of_the_first_batch_are_one():
    weights = np.where(np.arange(60) < 20, 1, GENERATOR.uniform(0, 3, 60)).astype("f")
    found = []
    for data in ((X, Y, weights), Batches(X, Y, weights)):
        model = network()
        cr.fit(model, data, loss="cross_entropy", optimizer=optim.SGD(0.1), batch_size=20, epochs=2, shuffle=False,
               progress=False)
        found.append(model.variables()["0.weight"].numpy())
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_a_batch_without_weight_is_passed_over():
    weights = np.where(np.arange(60) < 40, 1, 0).astype("f")
    found = []
    for data in ((X[:40], Y[:40]), Batches(X, Y, weights)):
        model = network()
        history = cr.fit(model, data, loss="cross_entropy", optimizer=optim.SGD(0.1), batch_size=20, epochs=2,
                         shuffle=False, progress=False)
        found.append([*model.variables()["0.weight"].numpy().ravel(), *history["loss"]])
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_weights_that_come_late_are_no_surprise():
    class Late:
        def __iter__(self):
            yield X[:20], Y[:20]
            yield X[20:40], Y[20:40], np.full(20, 2, "f")
    with pytest.raises(DataError, match="the first one had none"):
        cr.fit(network(), Late(), loss="cross_entropy", progress=False)
