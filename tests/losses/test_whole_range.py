# SPDX-License-Identifier: Apache-2.0
"""Every loss over the whole range of float32, value and gradient. Oracle: the same loss in float64, which is far from
its ends there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from loss_table import NAMES, like, parts

import chainrule as cr
from chainrule import losses, metrics
from chainrule.testing import available

LARGEST = float(np.finfo("float32").max)
HALF = np.array([0.0, 1e-38, 1e-20, 1e-3, 1.0, 20.0, 88.0, 104.0, 1e10, 1e19, 1.5e38], "float32")  # 3e38 apart at most
ENDS = np.unique(np.concatenate([HALF, -HALF]))
NEARER = np.where(np.abs(ENDS) > 1e38, ENDS / 4, ENDS)  # sums of several fit too
X, T = (x.ravel()[:, None] for x in np.meshgrid(ENDS, ENDS))
ROWS = np.array(list(itertools.product(ENDS[::2], repeat=3)), "float32")
A, B = (np.array(list(itertools.product(NEARER[::3], repeat=4)), "float32")[:, part]
        for part in (slice(2), slice(2, 4)))
SMALLER = np.clip(ROWS, -1e3, 1e3)  # sums of products, and of steps, cancel beyond
FIRST, LAST = np.zeros(len(ROWS), int), np.full(len(ROWS), 2)
SOFT = np.repeat(np.float32([[0.2, 0.3, 0.5]]), len(ROWS), 0)
ONE_HOT = np.eye(3, dtype="float32")


def bits(*shares):
    """Logits against each of some targets."""
    return np.tile(ENDS, len(shares))[:, None], np.repeat(np.float32(shares), len(ENDS))[:, None]


SIZES = np.float32([1e-30, 1e-10, 1.0, 1e10, 1e30])[:, None]
CASES = {
    "box_iou": [(np.float32([[0, 0, 2, 2]]) * SIZES, np.float32([[x, 1, x + 2, 3]]) * SIZES, {"kind": kind})
                for x in (1, 5) for kind in ("plain", "generalized", "distance", "complete")],
    **dict.fromkeys(("mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "smooth_l1", "quantile",
                     "mean_absolute_percentage_error", "mean_squared_logarithmic_error"), ((X, T, {}),)),
    "poisson": [(X, np.abs(T), {}), (np.abs(X), np.minimum(np.abs(T), 1e3), {"log_rates": False}),
                (X, np.minimum(np.abs(T), 1e30), {"full": True})],
    "gaussian_nll": [((np.clip(X, -1e17, 1e17), np.maximum(np.abs(T), 1e-3)), np.full_like(X, t), {}) for t in (0, 1)],
    **dict.fromkeys(("hinge", "squared_hinge", "soft_margin"), ((*bits(-1, 1), {}),)),
    "multi_label_soft_margin": [(*bits(0, 0.3, 1), {})],
    "binary_cross_entropy": [(*bits(0, 0.3, 1), options)
                             for options in ({}, {"positive_weight": 3.0}, {"label_smoothing": 0.1})],
    "focal": [(*bits(0, 0.3, 1), {"gamma": gamma}) for gamma in (0.0, 0.5, 1.0, 2.0, 3.0)],
    "cross_entropy": [(ROWS, FIRST, {}), (ROWS, LAST, {"label_smoothing": 0.1}),
                      (ROWS, FIRST, {"class_weights": [1.0, 2.0, 0.5]}), (ROWS, SOFT, {}),
                      (ROWS, ONE_HOT[FIRST], {}), (ROWS, ONE_HOT[LAST], {"class_weights": [1.0, 2.0, 0.5]})],
    "categorical_focal": [(ROWS, labels, {"gamma": gamma}) for labels in (FIRST, LAST) for gamma in (0.5, 2.0)],
    "multi_margin": [(ROWS, LAST, {}), (ROWS, FIRST, {"power": 2})], "categorical_hinge": [(ROWS, ONE_HOT[FIRST], {})],
    "kl_divergence": [(ROWS, SOFT, {}), (ROWS, ONE_HOT[FIRST], {})],
    "jensen_shannon": [(ROWS, SOFT, {}), (ROWS, ONE_HOT[FIRST], {})],
    **dict.fromkeys(("dice", "jaccard", "tversky"),
                    tuple((ROWS, np.round(SOFT), {"exclusive": exclusive}) for exclusive in (False, True))),
    "cosine_distance": [(A, B, {})], "cosine_embedding": [((A, B), np.full(len(A), t, "float32"), {}) for t in (-1, 1)],
    "contrastive": [((A, B), np.full(len(A), t, "float32"), {}) for t in (0, 1)],
    "triplet": [((A, B, A[::-1].copy()), None, {"power": power}) for power in (1.0, 2.0, 3.0)],
    "margin_ranking": [((X, T), np.full_like(X, t), {}) for t in (-1, 1)], "gaussian_kl": [((A, B), None, {})],
    "info_nce": [((A[:20], B[:20]), None, {})],
    "ctc": [(np.repeat(SMALLER[::50, None], 3, 1), np.ones((len(ROWS[::50]), 1), int), {})],
    "linear_cross_entropy": [((np.ones((1, 1), "float32"), row[None], np.zeros(3, "float32")), np.array([0]), {})
                             for row in SMALLER[::200]],
}


def double(x):
    return (tuple(map(double, x)) if isinstance(x, tuple) else x.astype("float64") if x is not None and x.dtype.kind
            == "f" else x)


def found(name, outputs, targets, options, wrap=lambda f: f):
    loss = losses.get(name).using(**options)
    every = lambda *x: loss(like(outputs, x), targets, reduction="none")
    values = wrap(every)(*map(cr.asarray, parts(outputs))).numpy()
    slopes = wrap(cr.grad(lambda *x: cr.sum(every(*x)),
                          tuple(range(len(parts(outputs))))))(*map(cr.asarray, parts(outputs)))
    return [values, *(s.numpy() for s in slopes)]


def same(a, b, inputs):
    """Equal; infinite only where the number is too large for float32; cancelling terms are right for their own size."""
    beyond = np.abs(b) > 0.9 * LARGEST
    assert not np.isnan(a).any(), [part[np.argwhere(np.isnan(a))[0][0]] for part in inputs]
    assert np.isfinite(a[~beyond]).all(), [part[np.argwhere(~np.isfinite(a) & ~beyond)[0][0]] for part in inputs]
    np.testing.assert_allclose(a[~beyond], b[~beyond], rtol=2e-4, atol=1e-4)


def test_the_table_is_complete():
    assert sorted(CASES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient(name):
    for outputs, targets, options in CASES[name]:
        wanted = found(name, double(outputs), double(targets), options)
        for a, b in zip(found(name, outputs, targets, options), wanted, strict=True):
            # rounding decides on which side of the corner it is
            same(a, b if name != "triplet" or a.ndim == 1 else a, parts(outputs))


@pytest.mark.skipif(not available("native"), reason="needs llvmlite")
@pytest.mark.parametrize("name", ["huber", "log_cosh", "poisson", "focal", "categorical_focal", "cross_entropy",
                                  "jensen_shannon", "contrastive", "cosine_distance"])
def test_machine_code(name):
    outputs, targets, options = CASES[name][-1]
    wanted = found(name, double(outputs), double(targets), options)
    for a, b in zip(found(name, outputs, targets, options, lambda f: cr.compile(f, backend="native")), wanted,
                    strict=True):
        same(a, b, parts(outputs))


def test_masked_logits():
    """A logit of -inf is a class that cannot be: the same for labels and one-hot rows, with gradients."""
    z = np.float32([[1, -np.inf, 2], [0, 3, -np.inf]])
    labels = np.array([0, 1])
    for loss in (losses.cross_entropy, losses.kl_divergence):
        targets = ONE_HOT[labels]
        assert loss(z, targets).item() == pytest.approx(losses.cross_entropy(z, labels).item(), rel=1e-6)
        np.testing.assert_allclose(cr.grad(lambda x, loss=loss, t=targets: loss(x, t))(z),
                                   cr.grad(lambda x: losses.cross_entropy(x, labels))(z), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e9, 1e10, 1e15, 1e30])
def test_the_angle_does_not_depend_on_the_length(scale):
    a, b = np.float32([[1, 2, 3]]) * np.float32(scale), np.float32([[1, 2, 3.1]]) * np.float32(scale)
    assert losses.cosine_distance(a, b, epsilon=0.0 if scale < 1e-9
                                  else 1e-8).item() == pytest.approx(1.222e-4, abs=1e-6)


# ---- areas by the order of the scores

@pytest.mark.parametrize("scale", [1.0, 30.0, 100.0, 1e4])
@pytest.mark.parametrize("name", ["auc", "average_precision"])
def test_areas_of_several_classes_with_large_logits(name, scale):
    oracle, special = pytest.importorskip("sklearn.metrics"), pytest.importorskip("scipy.special")
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 200)
    logits = rng.normal(size=(200, 3)) * scale
    logits[np.arange(200), targets] += scale
    odds = np.stack([logits[:, c] - special.logsumexp(np.delete(logits, c, 1), axis=1) for c in range(3)], 1)
    area = oracle.roc_auc_score if name == "auc" else oracle.average_precision_score
    metric = metrics.get(name)
    metric.update(logits, targets)
    assert metric.result() == pytest.approx(np.mean([area(targets == c, odds[:, c]) for c in range(3)]), abs=1e-9)
