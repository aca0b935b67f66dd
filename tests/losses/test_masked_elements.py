# SPDX-License-Identifier: Apache-2.0
"""What a mask or a weight of 0 leaves out has no influence on value, gradient or checks, whatever stands there: every
loss and metric."""

from __future__ import annotations

import numpy as np
import pytest
from loss_table import NAMES, A, B, N, example, like, parts

import chainrule as cr
from chainrule import losses, metrics
from chainrule.testing import available

KEEP = np.array([True, False, True, True, False, True, True])
BAD = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-38)
BACKENDS = ["eager", *(b for b in ("reference", "native", "xla") if available(b))]
GIVEN = {"mask": {"mask": KEEP}, "weights": {"weights": KEEP.astype("float32")},
         "both": {"mask": KEEP, "weights": np.where(KEEP, 2.0, 1.0).astype("float32")}}


def spoilt(array, value):
    array = array.copy()
    array[~KEEP] = value if array.dtype.kind == "f" else 99 if value > 0 else -99
    return array


def value_and_gradients(name, outputs, targets, given, backend):
    loss, which = losses.get(name), tuple(range(len(parts(outputs))))
    run = cr.value_and_grad(lambda *found: loss(like(outputs, found), targets, **given), which)
    run = run if backend == "eager" else cr.compile(run, backend=backend)
    value, slopes = run(*map(cr.asarray, parts(outputs)))
    return [value.numpy(), *(s.numpy() for s in slopes)]


def broken(name, value):
    """Outputs and targets with `value` wherever the samples that do not count are."""
    outputs, targets = example(name, "float32")
    samples = losses.get(name).samples
    spoil = lambda i, part: part if samples is not None and i >= samples else spoilt(part, value)
    return (like(outputs, [spoil(i, part) for i, part in enumerate(parts(outputs))]),
            None if targets is None else spoilt(targets, value))


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient(name, kind):
    outputs, targets = example(name, "float32")
    wanted = value_and_gradients(name, outputs, targets, GIVEN[kind], "eager")
    for value in BAD:
        found = value_and_gradients(name, *broken(name, value), GIVEN[kind], "eager")
        for a, b in zip(found, wanted, strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)
    for slope, part in zip(wanted[1:], parts(outputs), strict=True):
        if part.shape[0] == N:
            assert not slope[~KEEP].any()


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("name", NAMES)
def test_compiled(name, backend):
    wanted = value_and_gradients(name, *example(name, "float32"), GIVEN["mask"], "eager")
    for a, b in zip(value_and_gradients(name, *broken(name, np.nan), GIVEN["mask"], backend), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_leaving_the_samples_out(name):
    outputs, targets = example(name)
    rows = lambda part: part[KEEP] if part.shape[0] == N else part
    alone = like(outputs, [rows(part) for part in parts(outputs)]), None if targets is None else targets[KEEP]
    assert losses.get(name)(*broken(name, np.nan),
                            mask=KEEP).item() == pytest.approx(losses.get(name)(*alone).item(), rel=1e-5)


def test_masks_of_single_elements():
    keep = np.random.default_rng(0).random(A.shape) < 0.6
    for name in ("mean_squared_error", "huber", "log_cosh", "mean_absolute_error", "poisson", "quantile",
                 "mean_absolute_percentage_error"):
        x, t = A.copy(), np.abs(B)
        wanted = cr.grad(lambda x, t=t, name=name: losses.get(name)(x, t, mask=keep))(x).numpy()
        t[~keep] = np.nan
        found = cr.grad(lambda x, t=t, name=name: losses.get(name)(x, t, mask=keep))(np.where(keep, x, np.inf)).numpy()
        np.testing.assert_array_equal(found, wanted)


# ---- metrics

CLASS = ["accuracy", "top_2", "precision", "recall", "f1", "auc", "average_precision", "log_loss"]
NUMBER = ["mae", "mse", "rmse", "r2"]


def test_the_table_of_metrics_is_complete():
    assert {type(metrics.get(name)) for name in (*CLASS, *NUMBER)} == set(metrics.NAMES.values())


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", [*CLASS, *NUMBER])
def test_metrics(name, value):
    rng = np.random.default_rng(3)
    outputs = rng.normal(size=(N, 3)).astype("float32")
    targets = rng.normal(size=(N, 3)).astype("float32") if name in NUMBER else np.array([0, 1, 2, 1, 0, 1, 0])
    wanted, found = metrics.get(name), metrics.get(name)
    wanted.update(outputs[KEEP], targets[KEEP])
    found.update(spoilt(outputs, value), spoilt(targets, value), KEEP)
    assert found.result() == pytest.approx(wanted.result(), rel=1e-12)
    assert found.interval() == pytest.approx(wanted.interval(), rel=1e-6)
