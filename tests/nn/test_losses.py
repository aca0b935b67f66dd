# SPDX-License-Identifier: Apache-2.0
"""Losses as sums and weights: batches, masks and accumulation give the same number; checks hold compiled or not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses
from chainrule.errors import ArgumentError, BoundsError, DTypeError, ShapeError
from chainrule.ops import compose
from chainrule.testing import check_gradient

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((10, 4)).astype("float32"), rng.integers(0, 4, 10)
T = rng.random((10, 4)).astype("float32")
W = rng.random(10).astype("float32")


P, Q, R = (rng.standard_normal((10, 4)).astype("float32") for _ in range(3))
SIGNS, MASKS = np.sign(T - 0.5), np.round(T)
STEPS = rng.standard_normal((10, 6, 4)).astype("float32")
WORDS = np.array([[1, 2, 3], [1, 1, -1], [3, -1, -1], [-1, -1, -1], [2, 2, 3]] * 2)
BOXES = np.concatenate([X[:, :2], X[:, :2] + 1 + np.abs(X[:, 2:])], axis=1)
EXAMPLES = {
    "box_iou": (BOXES, BOXES + 0.2 * T),
    "cross_entropy": (X, Y), "categorical_focal": (X, Y), "multi_margin": (X, Y),
    "kl_divergence": (X, T / T.sum(-1, keepdims=True)), "jensen_shannon": (X, T / T.sum(-1, keepdims=True)),
    "hinge": (X, SIGNS), "squared_hinge": (X, SIGNS), "soft_margin": (X, SIGNS),
    "categorical_hinge": (X, np.eye(4, dtype="float32")[Y]),
    "dice": (X, MASKS), "jaccard": (X, MASKS), "tversky": (X, MASKS),
    "gaussian_nll": ((X, T + 0.1), P), "gaussian_kl": ((X, P), None),
    "cosine_embedding": ((P, Q), SIGNS[:, 0]), "contrastive": ((P, Q), MASKS[:, 0]), "triplet": ((P, Q, R), None),
    "margin_ranking": ((P, Q), SIGNS), "ctc": (STEPS, WORDS), "linear_cross_entropy": ((X, P[:4]), Y),
}
# whose values depend on one sample each, whose outputs have rows
ALONE = [name for name in losses.TABLE if name not in ("info_nce", "linear_cross_entropy")]


def example(name):
    return EXAMPLES.get(name, (X, T))


def rows(x, index):
    return None if x is None else tuple(part[index] for part in x) if isinstance(x, tuple) else x[index]


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("batch", [1, 3, 10])
def test_sums_over_batches_are_the_sum(name, batch):
    loss, (outputs, targets) = losses.get(name), example(name)
    total, weight = loss.sum_and_weight(outputs, targets, W)
    slices = [slice(i, i + batch) for i in range(0, 10, batch)]
    parts = [loss.sum_and_weight(rows(outputs, i), rows(targets, i), W[i]) for i in slices]
    assert sum(p[0].item() for p in parts) == pytest.approx(total.item(), rel=1e-5)
    assert sum(p[1].item() for p in parts) == pytest.approx(weight.item(), rel=1e-5)
    assert loss(outputs, targets, weights=W).item() == pytest.approx((total / weight).item(), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in ALONE if name != "gaussian_nll"])
def test_a_mask_is_leaving_out(name):
    loss, (outputs, targets) = losses.get(name), example(name)
    mask = np.arange(10) % 3 != 0
    broken = tuple(part.copy() for part in outputs) if isinstance(outputs, tuple) else (outputs.copy(),)
    for part in broken:
        part[~mask] = np.nan
    broken = broken if isinstance(outputs, tuple) else broken[0]
    assert loss(broken, targets,
                mask=mask).item() == pytest.approx(loss(rows(outputs, mask), rows(targets, mask)).item(), rel=1e-5)


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("name", losses.TABLE)
def test_reductions_and_compiled(name, backend):
    loss, (outputs, targets) = losses.get(name), example(name) if name != "info_nce" else ((P, Q), None)
    values = loss(outputs, targets, reduction="none").numpy()
    assert loss(outputs, targets, reduction="sum").item() == pytest.approx(values.sum(), rel=1e-5)
    assert loss(outputs, targets).item() == pytest.approx(values.mean(), rel=1e-5)

    def gradients(x, t):
        parts = [cr.Variable(part) for part in (x if isinstance(x, tuple) else (x,))]
        return cr.gradients(loss(tuple(parts) if isinstance(x, tuple) else parts[0], t), parts)
    eager = gradients(outputs, targets)
    parts = [cr.Variable(part) for part in (outputs if isinstance(outputs, tuple) else (outputs,))]

    def both():
        value = loss(tuple(parts) if isinstance(outputs, tuple) else parts[0], targets)
        return value, cr.gradients(value, parts)
    run = cr.compile(both, backend=backend)
    value, grads = run()
    assert value.item() == pytest.approx(values.mean(), rel=1e-5)
    for a, b in zip(grads, eager, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)
    run()
    assert len(run.entries) == 1


def test_one_hot_equals_labels():
    for options in ({}, {"label_smoothing": 0.2}, {"class_weights": [1.0, 2.0, 3.0, 4.0]}):
        loss = losses.cross_entropy.using(**options)
        assert loss(X, np.eye(4, dtype="float32")[Y]).item() == pytest.approx(loss(X, Y).item(), rel=1e-5)


def test_large_logits_are_no_trouble():
    x = cr.Variable(np.array([[1e4, 0.0], [0.0, 1e4]], "float32"))
    value = losses.cross_entropy(x, np.array([0, 0]))
    assert value.item() == 5e3
    np.testing.assert_allclose(cr.gradients(value, [x])[0].numpy(), [[0, 0], [-0.5, 0.5]])


def double(x):
    return (tuple(map(double, x)) if isinstance(x, tuple) else x.astype(np.float64) if x is not None and x.dtype.kind
            == "f" else x)


@pytest.mark.parametrize("name", losses.TABLE)
def test_derivatives_to_the_second_order_and_the_dtype(name):
    loss, (outputs, targets) = losses.get(name), map(double, example(name) if name != "info_nce" else ((P, Q), None))
    several = isinstance(outputs, tuple)
    check_gradient(lambda *parts: loss(parts if several else parts[0], targets), *(outputs if several else (outputs,)),
                   order=2)
    assert loss(outputs, targets).dtype == np.float64


def test_second_derivatives_of_cross_entropy():
    x = np.array([[0.3, -1.0, 0.5]])
    p = np.exp(x[0]) / np.exp(x[0]).sum()
    h = cr.hessian(lambda x: losses.cross_entropy(x, np.array([1])))(x).numpy().reshape(3, 3)
    np.testing.assert_allclose(h, np.diag(p) - np.outer(p, p), atol=1e-12)


@pytest.mark.parametrize("label", [4, -1, 100])
def test_a_label_out_of_range_is_found_compiled_too(label):
    y = Y.copy()
    y[3] = label
    with pytest.raises(BoundsError, match="index 3"):
        losses.cross_entropy(X, y)
    with pytest.raises(BoundsError):
        cr.compile(lambda x, y: losses.cross_entropy(x, y), backend="reference")(X, y)


@pytest.mark.parametrize("loss, outputs, targets, error", [
    (losses.mean_squared_error, np.ones((8, 1)), np.ones(8), ShapeError),
    (losses.mean_squared_error, np.ones(8), np.ones((8, 1)), ShapeError),
    (losses.binary_cross_entropy, np.ones((8, 1)), np.ones(8), ShapeError),
    (losses.binary_cross_entropy, np.ones(8), 2 * np.ones(8), BoundsError),
    (losses.cross_entropy, X, Y[:, None], ShapeError),
    (losses.cross_entropy, X, Y.astype("float32"), DTypeError),
    (losses.cross_entropy, X, Y[:5], ShapeError),
    (losses.cross_entropy, X, T[:, :3], ShapeError),
    (losses.cross_entropy, X[:, :1], Y, ShapeError),
    (losses.mean_squared_error, np.ones(3, "int64"), np.ones(3), DTypeError),
])
def test_nothing_is_broadcast_silently(loss, outputs, targets, error):
    with pytest.raises(error):
        loss(outputs, targets)
    with pytest.raises(ShapeError):
        losses.mean_squared_error(X, T, weights=W[:3])


def test_softmax_before_cross_entropy_is_told_once():
    losses._warned.clear()
    with pytest.warns(losses.SoftmaxWarning, match="remove the softmax"):
        losses.cross_entropy(compose.softmax(X), Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.cross_entropy(compose.softmax(X), Y)
    losses._warned.clear()
    with pytest.warns(losses.SoftmaxWarning):
        cr.compile(lambda x: losses.cross_entropy(compose.softmax(x), Y), backend="reference")(X)


@pytest.mark.parametrize("outputs", [lambda x: cr.sigmoid(x), lambda x: cr.sigmoid(x)[:, 0],
                                     lambda x: cr.reshape(cr.sigmoid(x), (-1,))])
@pytest.mark.parametrize("run", [lambda f: f, lambda f: cr.compile(f, backend="reference")], ids=["eager", "compiled"])
def test_sigmoid_before_binary_cross_entropy_is_told_once(outputs, run):
    loss = lambda x: losses.binary_cross_entropy(outputs(x), cr.zeros(outputs(x).shape))
    losses._warned.clear()
    with pytest.warns(losses.SoftmaxWarning, match="remove the sigmoid"):
        run(loss)(cr.asarray(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(loss)(cr.asarray(X))
        losses._warned.clear()
        for logits in (X, cr.tanh(X), cr.softmax(X), cr.sigmoid(X) * 2.0):
            losses.binary_cross_entropy(logits, np.zeros((10, 4), "float32"))


def test_options_out_of_range_are_told():
    for call, error, words in ((lambda: losses.cross_entropy(X, Y, label_smoothing=1.5), ArgumentError,
                                "label_smoothing=1.5"),
                               (lambda: losses.binary_cross_entropy(X, T, label_smoothing=-0.1), ArgumentError,
                                "0 to 1"),
                               (lambda: losses.huber(X, T, delta=0.0), ArgumentError, "delta=0.0"),
                               (lambda: losses.binary_cross_entropy(X, T, positive_weight=np.ones(3)), ShapeError,
                                r"positive_weight \(3,\)"),
                               (lambda: losses.cross_entropy(np.ones((2, 3, 4, 4)), np.zeros((2, 4, 4), int)),
                                ShapeError, "moveaxis")):
        with pytest.raises(error, match=f"(?s){words}"):
            call()


def test_functions_and_names():
    assert losses.get(losses.huber) is losses.huber
    assert losses.get("huber") is losses.huber
    mine = losses.get(lambda outputs, targets: cr.sum(cr.abs(outputs - targets), axis=-1))
    assert mine(X, T).item() == pytest.approx(np.abs(X - T).sum(-1).mean(), rel=1e-5)
    mean = losses.get(lambda outputs, targets: cr.mean(cr.abs(outputs - targets)))
    total, weight = mean.sum_and_weight(X, T)
    assert (total / weight).item() == pytest.approx(np.abs(X - T).mean(), rel=1e-5)
    assert weight.item() == 10
    for wrong in ("crossentropy", 3):
        with pytest.raises(ArgumentError):
            losses.get(wrong)
    with pytest.raises(ArgumentError, match="label_smoothing"):
        losses.cross_entropy.using(label_smooth=0.1)


@pytest.mark.parametrize("given", [{}, {"mask": np.arange(10) > 2}, {"weights": W}])
@pytest.mark.parametrize("run", [lambda f: f, lambda f: cr.compile(f, backend="reference")], ids=["eager", "compiled"])
def test_probabilities_are_told_with_masks_and_from_layers(given, run):
    binary = lambda x, **o: losses.binary_cross_entropy(cr.nn.Sigmoid()(x), np.zeros((10, 4), "float32"), **o)
    for loss in (binary, lambda x, **o: losses.cross_entropy(cr.nn.Softmax()(x), Y, **o)):
        losses._warned.clear()
        with pytest.warns(losses.SoftmaxWarning):
            run(lambda x, loss=loss: loss(x, **given))(cr.asarray(X))
    losses._warned.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(lambda x: losses.cross_entropy(cr.log_softmax(x), Y, **given))(cr.asarray(X))
