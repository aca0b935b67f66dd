# SPDX-License-Identifier: Apache-2.0
"""Weighted and masked losses, value and gradient, in float64. Oracle: a loop over samples that adds up weight times
loss."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses
from chainrule.testing import check_gradient

RNG = np.random.default_rng(5)
N, K = 7, 4
A, B, C = (RNG.normal(size=(N, K)) for _ in range(3))
SHARES, LABELS = RNG.dirichlet(np.ones(K), N), RNG.integers(0, K, N)
SIGNS, BITS, POSITIVE = np.where(B > 0, 1.0, -1.0), (B > 0).astype(float), np.abs(B) + 0.1
WORDS = np.array([[1, 2, 3], [1, 1, -1], [3, -1, -1], [-1, -1, -1], [2, 2, 3], [2, -1, -1], [1, 3, -1]])
BOXES = np.concatenate([A[:, :2], A[:, :2] + 1 + np.abs(A[:, 2:])], axis=1)
EXAMPLES = {
    "box_iou": (BOXES, BOXES + B * 0.2),
    "cross_entropy": (A, LABELS), "categorical_focal": (A, LABELS), "multi_margin": (A, LABELS),
    "kl_divergence": (A, SHARES),
    "jensen_shannon": (A, SHARES), "hinge": (A, SIGNS), "squared_hinge": (A, SIGNS), "soft_margin": (A, SIGNS),
    "categorical_hinge": (A, np.eye(K)[LABELS]), "dice": (A, BITS), "jaccard": (A, BITS), "tversky": (A, BITS),
    "focal": (A, BITS),
    "binary_cross_entropy": (A, BITS), "multi_label_soft_margin": (A, BITS), "gaussian_nll": ((A, POSITIVE), B),
    "gaussian_kl": ((A, B), None),
    "cosine_embedding": ((A, B), SIGNS[:, 0]), "contrastive": ((A, B), BITS[:, 0]), "triplet": ((A, B, C), None),
    "margin_ranking": ((A, B), SIGNS),
    "ctc": (RNG.normal(size=(N, 6, K)), WORDS), "mean_squared_logarithmic_error": (np.abs(A), POSITIVE),
    "poisson": (A, POSITIVE),
}
# whose values belong to one sample each
ALONE = [name for name in losses.TABLE if name not in ("info_nce", "linear_cross_entropy")]
WITH_CORNERS = {"mean_absolute_error", "hinge", "categorical_hinge", "multi_margin", "triplet", "contrastive",
                "margin_ranking", "cosine_embedding",
                "mean_absolute_percentage_error", "quantile"}
OPTIONS = {"cross_entropy": [{"label_smoothing": 0.1}, {"class_weights": np.array([1.0, 2.0, 0.5, 3.0])},
                             {"ignore_label": 2},
                             {"class_weights": np.array([1.0, 2.0, 0.5, 3.0]), "label_smoothing": 0.1}],
           "binary_cross_entropy": [{"positive_weight": 3.0}, {"label_smoothing": 0.1}]}
CASES = [(name, options) for name in ALONE for options in ({}, *OPTIONS.get(name, []))]
WEIGHTS, MASK = RNG.random(N) + 0.2, np.array([True, False, True, True, True, False, True])


def example(name: str) -> tuple:
    return EXAMPLES.get(name, (A, B))


def parts_of(outputs) -> tuple:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def like(outputs, parts):
    return tuple(parts) if isinstance(outputs, tuple) else parts[0]


def by_loop(loss, outputs, targets, parts, factors):
    """sum_i f_i l_i / sum_i f_i w_i, with the sum l_i and the weight w_i of the sample alone."""
    total, weight = [], []
    for i in range(N):
        one = slice(i, i + 1)
        a, w = loss.sum_and_weight(like(outputs, [p[one] for p in parts]), None if targets is None else targets[one])
        total.append(float(factors[i]) * a)
        weight.append(float(factors[i]) * w)
    return sum(total[1:], total[0]) / sum(weight[1:], weight[0])


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda x: x if isinstance(x, str) else "-".join(x))
@pytest.mark.parametrize("kind", ["weights", "mask", "both"])
def test_weights_and_masks(name, options, kind) -> None:
    loss, (outputs, targets) = losses.get(name).using(**options), example(name)
    factors = {"weights": WEIGHTS, "mask": MASK.astype(float), "both": WEIGHTS * MASK}[kind]
    given = {**({"weights": WEIGHTS} if kind != "mask" else {}), **({"mask": MASK} if kind != "weights" else {})}
    places = tuple(range(len(parts_of(outputs))))
    whole = cr.value_and_grad(lambda *parts: loss(like(outputs, parts), targets, **given), places)
    loop = cr.value_and_grad(lambda *parts: by_loop(loss, outputs, targets, parts, factors), places)
    (value, grads), (wanted, slopes) = (f(*map(cr.asarray, parts_of(outputs))) for f in (whole, loop))
    assert value.dtype == np.float64
    assert value.item() == pytest.approx(wanted.item(), rel=1e-10)
    for g, slope in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(g, slope, rtol=1e-9, atol=1e-13)
    a, w = (x.numpy() for x in loss.per_sample(outputs, targets, **given))
    assert a.shape == w.shape == (N,) and a.sum() / w.sum() == pytest.approx(wanted.item(), rel=1e-10)


@pytest.mark.parametrize("name", [name for name in losses.TABLE if name not in WITH_CORNERS])
def test_derivatives_to_order_two(name) -> None:
    loss, (outputs, targets) = losses.get(name), example(name)
    if name == "linear_cross_entropy":
        outputs, targets = (A, RNG.normal(size=(K, 5)), RNG.normal(size=5)), LABELS
    if name == "info_nce":
        outputs, targets = (A, B), None
    check_gradient(lambda *parts: loss(like(outputs, parts), targets), *parts_of(outputs), order=2, rtol=1e-5)


@pytest.mark.parametrize("name", ALONE)
def test_no_sample_at_all(name) -> None:
    """The sum over nothing is 0, with gradient 0."""
    loss, (outputs, targets) = losses.get(name), example(name)
    empty, none = [p[:0] for p in parts_of(outputs)], None if targets is None else targets[:0]
    value, grads = cr.value_and_grad(lambda *parts: loss(like(outputs, parts), none, reduction="sum"),
                                     tuple(range(len(empty))))(*empty)
    assert value.item() == 0
    assert [g.shape for g in grads] == [p.shape for p in empty]


def test_logits_far_out() -> None:
    """|z| = 10,000: value, slope and curvature are finite and right."""
    z, y = np.array([1e4, -1e4, 1e4, -1e4]), np.array([1.0, 0.0, 0.0, 1.0])
    for dtype in ("float32", "float64"):
        x, t = z.astype(dtype), y.astype(dtype)
        value, slope = cr.value_and_grad(lambda x, t=t: losses.binary_cross_entropy(x, t, reduction="sum"))(x)
        assert value.item() == 2e4
        np.testing.assert_array_equal(slope, np.array([0, 0, 1, -1.0]))
        np.testing.assert_array_equal(
            cr.grad(lambda x, t=t: cr.sum(cr.grad(lambda x: losses.binary_cross_entropy(x, t, reduction="sum"))(x)))(x),
            np.zeros(4),
        )
    for form in (lambda x: losses.cross_entropy(x, np.array([0, 1])), lambda x: losses.cross_entropy(x, np.eye(2))):
        value, slope = cr.value_and_grad(form)(np.array([[1e4, -1e4], [1e4, -1e4]]))
        assert value.item() == 1e4 and np.isfinite(slope.numpy()).all()


def test_mean_absolute_error_at_zero() -> None:
    np.testing.assert_array_equal(
        cr.grad(lambda x: losses.mean_absolute_error(x, np.zeros(3)))(np.array([0.0, 1.0, -1.0])),
        np.array([0, 1, -1]) / 3,
    )


def test_a_wrong_label_is_told() -> None:
    with pytest.raises(IndexError, match=r"(?s)label 7 at index 3.*0 to 3"):
        losses.cross_entropy(A, np.array([0, 1, 2, 7, 0, 1, 2]))
