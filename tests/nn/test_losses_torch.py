# SPDX-License-Identifier: Apache-2.0
"""Losses against PyTorch, value and gradient, in float64 over random configurations; CTC also against all paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses
from chainrule.errors import ArgumentError, BoundsError, ShapeError

torch = pytest.importorskip("torch")
F = torch.nn.functional


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def check(loss, function, outputs, targets=None, **options):
    """Value and gradients with respect to every output; `function` takes torch's outputs and gives the mean."""
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    variables, leaves = [cr.Variable(p) for p in parts], [torch.tensor(p, requires_grad=True) for p in parts]
    value = loss(tuple(variables) if isinstance(outputs, tuple) else variables[0], targets, **options)
    expected = function(*leaves)
    np.testing.assert_allclose(value.item(), expected.item(), rtol=1e-10, atol=1e-13)
    for a, b in zip(cr.gradients(value, variables), torch.autograd.grad(expected, leaves), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_of_one_shape(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 5, 2 + seed % 2))
    x, t = normal(*shape, seed=seed) * 2, normal(*shape, seed=seed + 9)
    y, signs, share = torch.tensor(t), np.where(t > 0, 1.0, -1.0), 1 / (1 + np.exp(-t))
    beta, q = rng.random() + 0.1, rng.random()
    check(losses.smooth_l1, lambda o: F.smooth_l1_loss(o, y, beta=beta), x, t, beta=beta)
    check(losses.smooth_l1, lambda o: F.l1_loss(o, y), x, t, beta=0)
    check(losses.soft_margin, lambda o: F.soft_margin_loss(o, torch.tensor(signs)), x, signs)
    check(losses.squared_hinge, lambda o: torch.clamp(1 - torch.tensor(signs) * o, min=0).square().mean(), x, signs)
    check(losses.quantile, lambda o: torch.maximum(q * (y - o), (q - 1) * (y - o)).mean(), x, t, q=q)
    check(losses.poisson, lambda o: F.poisson_nll_loss(o, y.abs() * 3, full=True), x, np.abs(t) * 3, full=True)
    check(losses.poisson, lambda o: F.poisson_nll_loss(o, y.abs(), log_input=False), np.abs(x) + 0.1, np.abs(t),
          log_rates=False)
    check(losses.multi_label_soft_margin,
          lambda o: F.multilabel_soft_margin_loss(o.reshape(-1, shape[-1]), torch.tensor(share).reshape(-1, shape[-1])),
          x, share)
    check(losses.mean_absolute_percentage_error, lambda o: 100 * ((o - y) / y).abs().mean(), x, t)
    check(losses.mean_squared_logarithmic_error, lambda o: (torch.log1p(o) - torch.log1p(y.abs())).square().mean(),
          np.abs(x), np.abs(t))
    for full in (False, True):
        check(losses.gaussian_nll, lambda m, v, full=full: F.gaussian_nll_loss(m, y, v, full=full), (x, np.exp(t)), t,
              full=full)
    check(losses.gaussian_nll, lambda m, v: F.gaussian_nll_loss(m, y, v, eps=0.5), (x, np.exp(t)), t, epsilon=0.5)


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal(gamma):
    x, t = normal(5, 3) * 3, (normal(5, 3, seed=1) > 0).astype(float)

    def theirs(o):
        p, y = torch.sigmoid(o), torch.tensor(t)
        q, a = p * y + (1 - p) * (1 - y), 0.25 * y + 0.75 * (1 - y)
        return (a * (1 - q)**gamma * F.binary_cross_entropy_with_logits(o, y, reduction="none")).mean()
    check(losses.focal, theirs, x, t, gamma=gamma)
    labels = np.array([0, 2, 1, 1, 0])

    def categorical(o):
        ce = F.cross_entropy(o, torch.tensor(labels), reduction="none")
        return ((1 - torch.exp(-ce))**gamma * ce).mean()
    check(losses.categorical_focal, categorical, x, labels, gamma=gamma)


@pytest.mark.parametrize("exclusive", [False, True])
def test_overlaps(exclusive):
    x, t = normal(2, 4, 3, 3), (normal(2, 4, 3, 3, seed=1) > 0).astype(float)

    def sums(o):
        p, y = torch.softmax(o, -1) if exclusive else torch.sigmoid(o), torch.tensor(t)
        return (p * y).sum((1, 2)), p.sum((1, 2)), y.sum((1, 2))
    check(losses.dice, lambda o: (1 - (2 * sums(o)[0] + 1) / (sums(o)[1] + sums(o)[2] + 1)).mean(), x, t,
          exclusive=exclusive)
    check(losses.jaccard, lambda o: (1 - (sums(o)[0] + 1) / (sums(o)[1] + sums(o)[2] - sums(o)[0] + 1)).mean(), x, t,
          exclusive=exclusive)
    assert losses.tversky(x, t, exclusive=exclusive,
                          smooth=0.5).item() == pytest.approx(losses.dice(x, t, exclusive=exclusive).item())


def test_divergences():
    x, t = normal(6, 4), np.random.default_rng(1).dirichlet(np.ones(4), 6)
    log_q, log_t = F.log_softmax(torch.tensor(x), -1).numpy(), np.log(t)
    check(losses.kl_divergence, lambda o: F.kl_div(o, torch.tensor(t), reduction="batchmean"), log_q, t, logits=False)
    check(losses.kl_divergence, lambda o: F.kl_div(o, torch.tensor(log_t), reduction="batchmean", log_target=True),
          log_q, log_t, logits=False, log_targets=True)

    def jensen(o):
        q, p = torch.softmax(o, -1), torch.tensor(t)
        m = torch.log((p + q) / 2)
        return 0.5 * (F.kl_div(m, p, reduction="batchmean") + F.kl_div(m, q, reduction="batchmean"))
    check(losses.jensen_shannon, jensen, x, t)
    normals = torch.distributions

    def of_normals(m, s):
        return normals.kl_divergence(normals.Normal(m, torch.exp(0.5 * s)), normals.Normal(0.0, 1.0)).sum(-1).mean()
    check(losses.gaussian_kl, of_normals, (x, normal(6, 4, seed=5)))


@pytest.mark.parametrize("seed", range(3))
def test_margins_and_pairs(seed):
    a, b, c = (normal(6, 5, seed=seed + i) for i in (0, 10, 20))
    signs, labels = np.where(normal(6, seed=seed) > 0, 1.0, -1.0), np.random.default_rng(seed).integers(0, 5, 6)
    t = torch.tensor(signs)
    check(losses.cosine_embedding, lambda x, y: F.cosine_embedding_loss(x, y, t, margin=0.1), (a, b), signs, margin=0.1)
    check(losses.margin_ranking, lambda x, y: F.margin_ranking_loss(x, y, t[:, None], margin=0.3), (a, b),
          signs[:, None] * np.ones(5), margin=0.3)
    for power, swap in ((2.0, False), (1.0, True), (3.0, True)):
        check(losses.triplet,
              lambda x, y, z, power=power, swap=swap: F.triplet_margin_loss(x, y, z, p=power, swap=swap), (a, b, c),
              power=power, swap=swap)
    for power in (1, 2):
        check(losses.multi_margin,
              lambda x, power=power: F.multi_margin_loss(x, torch.tensor(labels), p=power, margin=0.7), a, labels,
              power=power, margin=0.7)
    alike = (signs + 1) / 2

    def contrast(x, y):
        d = F.pairwise_distance(x, y)
        return (torch.tensor(alike) * (x - y).square().sum(-1) + (1 - torch.tensor(alike))
                * torch.clamp(4 - d, min=0)**2).mean()
    check(losses.contrastive, contrast, (a, b), alike, margin=4.0)
    right = np.eye(5)[labels]

    def hinge(x):
        y = torch.tensor(right)
        return torch.clamp(((1 - y) * x).max(-1).values - (y * x).sum(-1) + 1, min=0).mean()
    check(losses.categorical_hinge, hinge, a, right)

    def nce(x, y):
        scores = F.normalize(x) @ F.normalize(y).T / 0.2
        return 0.5 * (F.cross_entropy(scores, torch.arange(6)) + F.cross_entropy(scores.T, torch.arange(6)))
    check(losses.info_nce, nce, (a, b), temperature=0.2, symmetric=True)


# ---- CTC

def padded(words, length):
    return np.array([[*word, *[-1] * (length - len(word))] for word in words]).reshape(len(words), length)


@pytest.mark.parametrize("seed", range(6))
def test_ctc(seed):
    rng = np.random.default_rng(seed)
    n, steps, classes = 4, int(rng.integers(5, 12)), int(rng.integers(2, 6))
    blank = int(rng.integers(0, classes))
    symbols = [c for c in range(classes) if c != blank]
    lengths = np.array([steps, *rng.integers(3, steps + 1, n - 1)])
    # also empty, repeated
    words = [rng.choice(symbols, int(rng.integers(0, 3))).tolist() for _ in range(n - 1)] + [[symbols[0]] * 2]
    x = rng.standard_normal((n, steps, classes)) * 3

    def theirs(o):
        log_p = F.log_softmax(o, -1).transpose(0, 1)
        return F.ctc_loss(log_p, torch.tensor([label for word in words for label in word]), torch.tensor(lengths),
                          torch.tensor([len(w) for w in words]), blank=blank, reduction="none").mean()
    check(losses.ctc, theirs, x, padded(words, 4), output_lengths=lengths, blank=blank)
    sizes = np.array([len(w) for w in words])
    zeros = np.where(padded(words, 4) < 0, symbols[0], padded(words, 4))
    check(losses.ctc, theirs, x, zeros, output_lengths=lengths, target_lengths=sizes, blank=blank)


def test_ctc_adds_up_all_paths():
    x, word = normal(1, 4, 3), [1, 1]
    p = np.exp(x[0]) / np.exp(x[0]).sum(-1, keepdims=True)

    def reduced(path):
        return [k for k, _ in itertools.groupby(path) if k]
    total = sum(np.prod(p[range(4), path]) for path in itertools.product(range(3), repeat=4) if reduced(path) == word)
    assert losses.ctc(x, np.array([word])).item() == pytest.approx(-np.log(total), rel=1e-12)


def test_ctc_where_nothing_fits():
    x = cr.Variable(normal(2, 3, 4))
    words = np.array([[1, 1, 1], [1, 2, -1]])
    values = losses.ctc(x, words, reduction="none")
    assert np.isinf(values.numpy()[0])
    assert np.isfinite(values.numpy()[1])
    total = losses.ctc(x, words, zero_infinity=True)
    grads = cr.gradients(total, [x])[0].numpy()
    assert np.isfinite(total.item())
    assert (grads[0] == 0).all()
    assert np.abs(grads[1]).sum() > 0
    empty = losses.ctc(normal(2, 3, 4), np.zeros((2, 0), int), reduction="none").numpy()
    np.testing.assert_allclose(empty, -F.log_softmax(torch.tensor(normal(2, 3, 4)), -1)[..., 0].sum(-1).numpy())


def test_second_derivative_of_ctc():
    x = normal(1, 4, 3)
    word = np.array([[1, 2]])

    def slope(x):
        v = cr.Variable(x)
        return v, cr.gradients(losses.ctc(v, word), [v])[0]
    v, g = slope(x)
    direction = normal(1, 4, 3, seed=3)
    ours = cr.gradients(cr.sum(g * direction), [v])[0].numpy()
    h = 1e-5
    numeric = (slope(x + h * direction)[1].numpy() - slope(x - h * direction)[1].numpy()) / (2 * h)
    np.testing.assert_allclose(ours, numeric, rtol=1e-6, atol=1e-8)


def test_mistakes():
    x = normal(2, 3, 4)
    for call, error in ((lambda: losses.ctc(x[0], np.zeros((2, 1), int)), ShapeError),
                        (lambda: losses.ctc(x, np.full((2, 1), 4)), BoundsError),
                        (lambda: losses.ctc(x, np.zeros((2, 1), int), blank=4), ArgumentError),
                        (lambda: losses.ctc(x, np.ones((2, 1), int), output_lengths=[3, 9]), BoundsError),
                        (lambda: losses.triplet((x, x), None), ShapeError),
                        (lambda: losses.triplet((x, x, x), x), ArgumentError),
                        (lambda: losses.quantile(x, x, q=1.0), ArgumentError),
                        (lambda: losses.contrastive((x, x), None), ShapeError),
                        (lambda: losses.gaussian_nll((x, -x**2), x), BoundsError)):
        with pytest.raises(error):
            call()
