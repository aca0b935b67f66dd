# SPDX-License-Identifier: Apache-2.0
"""Targets that a loss has no use for: the same error in eager and compiled code and in fit and evaluate, by their row
of the data."""

from __future__ import annotations

import numpy as np
import pytest
from loss_table import NAMES, N, example

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import BoundsError
from chainrule.losses.targets import ANY
from chainrule.testing import available

BACKENDS = [b for b in ("reference", "native", "xla") if available(b)]
WITHOUT = {"box_iou", "cosine_distance", "gaussian_kl", "gaussian_nll", "huber", "info_nce", "log_cosh",
           "mean_absolute_error", "mean_absolute_percentage_error",
           "mean_squared_error", "mean_squared_logarithmic_error", "poisson", "quantile", "smooth_l1",
           "triplet"}  # real numbers, or none
CHECKED = [name for name in NAMES if name not in WITHOUT]
WRONG = {"ctc": 9, "hinge": 2.0, "squared_hinge": -2.0}


def broken(name, row):
    outputs, targets = example(name, "float32")
    place = (row, *(0,) * (targets.ndim - 1))
    targets[place] = WRONG.get(name, -3 if targets.dtype.kind == "i" else 7.0)
    return outputs, targets, place


def words(error):
    """Without the user's line."""
    return [line for line in str(error).splitlines() if not line.startswith("  at ")]


def test_every_loss_declares_what_its_targets_must_be():
    assert {name for name, loss in losses.TABLE.items() if loss.targets is ANY} == WITHOUT


@pytest.mark.parametrize("name", CHECKED)
def test_eager_and_compiled_code_say_the_same(name):
    loss, (outputs, targets, place) = losses.get(name), broken(name, 5)
    with pytest.raises(BoundsError) as eager:
        loss(outputs, targets)
    assert f"at index {place if len(place) > 1 else place[0]}" in str(eager.value)
    for backend in BACKENDS:
        run = cr.compile(lambda x, t: loss(x, t), backend=backend)
        run(*example(name, "float32"))
        with pytest.raises(BoundsError) as compiled:
            run(outputs, targets)
        assert words(compiled.value) == words(eager.value), backend
        run(*example(name, "float32"))


@pytest.mark.parametrize("name", CHECKED)
def test_nan_is_no_target(name):
    outputs, targets = example(name, "float32")
    if targets.dtype.kind == "f":
        targets[3] = np.nan
        with pytest.raises(BoundsError, match="nan"):
            losses.get(name)(outputs, targets)


@pytest.mark.parametrize("name", [name for name in CHECKED if not isinstance(example(name)[0], tuple)])
def test_fit_and_evaluate_name_the_row_of_the_data(name):
    outputs, targets, _ = broken(name, 5)
    model = nn.Sequential([nn.Dense(outputs.shape[-1])])
    model(outputs)
    before = model[0].weight.numpy()
    row = "5" if targets.ndim == 1 else r"\(5, 0"
    for call in (lambda **o: cr.fit(model, (outputs, targets), loss=name, batch_size=2, progress=False, **o),
                 lambda **o: cr.fit(model, example(name, "float32"), validation=(outputs, targets), loss=name,
                                    batch_size=2, progress=False, **o),
                 lambda **o: cr.evaluate(model, (outputs, targets), loss=name, batch_size=2, **o)):
        with pytest.raises(BoundsError, match=f"(?s)at index {row}"):
            call(backend="reference")
    np.testing.assert_array_equal(model[0].weight.numpy(), before)
    weights = np.ones(N)
    weights[5] = 0  # what does not count may be anything
    history = cr.fit(model, (outputs, targets, weights), loss=name, batch_size=2, progress=False, backend="reference")
    assert np.isfinite(history["loss"][-1])
    assert np.isfinite(cr.evaluate(model, (outputs, targets, weights), loss=name, batch_size=2,
                                   backend="reference")["loss"].value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_variances(backend):
    loss = cr.compile(lambda m, v, t: losses.gaussian_nll((m, v), t), backend=backend)
    with pytest.raises(BoundsError, match=r"(?s)a variance is out of range.*-0.5 at index 2.*0 or more"):
        loss(np.zeros(3), np.array([1, 2, -0.5]), np.zeros(3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_that_fails_has_changed_nothing(backend):
    model, optimizer = nn.Sequential([nn.Dense(3)]), optim.Adam(0.1)
    x, y = np.random.default_rng(0).normal(size=(40, 5)).astype("float32"), np.zeros(40, int)
    model(x)
    optimizer.build(model.parameters())

    @cr.compile(backend=backend)
    def step(x, y):
        optimizer.update(model, cr.gradients(losses.cross_entropy(model(x), y), model))
    step(x, y)
    before = [v.numpy() for v in (*model.parameters().values(), *optimizer.variables().values())]
    y[33] = 3
    with pytest.raises(BoundsError, match="label 3 at index 33"):
        step(x, y)
    for v, old in zip((*model.parameters().values(), *optimizer.variables().values()), before, strict=True):
        np.testing.assert_array_equal(v.numpy(), old)


@pytest.mark.parametrize("backend", BACKENDS)
def test_token_ids_are_named_by_their_row(backend):
    tokens = np.random.default_rng(0).integers(0, 10, (300, 5))
    tokens[277, 3] = 12
    model = nn.Sequential([nn.Embedding(10, 4), nn.Flatten(), nn.Dense(2)])
    for call in (lambda: cr.predict(model, tokens, batch_size=64, backend=backend),
                 lambda: cr.evaluate(model, (tokens, tokens[:, 0] % 2), loss="cross_entropy", batch_size=64,
                                     backend=backend),
                 lambda: cr.fit(model, (tokens, tokens[:, 0] % 2), loss="cross_entropy", batch_size=16, epochs=2,
                                progress=False, backend=backend)):
        with pytest.raises(BoundsError, match=r"(?s)12 at position \(277, 3\).*0 to 9"):
            call()


def test_metrics_name_the_row_too():
    x, y = np.random.default_rng(0).normal(size=(50, 3)).astype("float32"), np.zeros(50, int)
    model = nn.Sequential([nn.Dense(3)])
    model(x)
    y[41] = 5
    for call in (lambda: cr.evaluate(model, (x, y), metrics=["accuracy"], batch_size=8),
                 lambda: cr.fit(model, (x, y), loss=lambda o, t: cr.sum(o * o, axis=-1), metrics=["accuracy"],
                                batch_size=8, progress=False)):
        with pytest.raises(BoundsError, match="label 5 at index 41"):
            call()


def test_predict_says_that_inputs_are_not_finite():
    x = np.ones((40, 3), "float32")
    x[33, 1] = np.nan
    model = nn.Sequential([nn.Dense(2)])
    with pytest.warns(cr.train.NonFiniteWarning, match=r"(?s)1 of 40 samples.*nan in sample 33 at index 1"):
        cr.predict(model, x, batch_size=16)
    cr.predict(model, np.full((4, 3), 3e38, "float32"), batch_size=2)  # large is finite
