# SPDX-License-Identifier: Apache-2.0
"""Generative models learn distributions that are known, by their papers' formulas, and samples are a function of the
seed."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import chainrule as cr
from chainrule import generative, models, nn, optim, train
from chainrule.errors import ArgumentError, ShapeError
from chainrule.generative.draws import Draws, start
from chainrule.generative.transport import plan

X = (np.random.default_rng(0).normal(size=(512, 2)) @ np.array([[1.0, 0.6], [0.0, 0.3]]) + [0.5, -1]).astype("float32")
LABELS = np.arange(512) % 2
dense = lambda *widths: nn.Sequential([*(nn.Dense(width, activation="relu") for width in widths[:-1]),
                                       nn.Dense(widths[-1])])


def make(name: str, classes: int | None = None):
    if name == "vae":
        return generative.VAE(dense(16, 16), dense(16, 2), latent=2, likelihood="gaussian")
    if name == "gan":
        return generative.GAN(dense(16, 2), dense(16, 1), latent=3, loss="hinge")
    if name == "diffusion":
        return generative.Diffusion(models.TimeMLP(2, width=32, depth=2, classes=classes), steps=50, classes=classes)
    if name == "flow":
        return generative.FlowMatching(models.TimeMLP(2, width=32, depth=2, classes=classes), classes=classes)
    return generative.RealNVP(2, layers=4, hidden=(16,))


NAMES = ["vae", "gan", "diffusion", "flow", "realnvp"]
OPTIONS = {"diffusion": {"steps": 5}, "flow": {"steps": 3}}


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_a_function_of_the_seed(name: str, tmp_path: Path) -> None:
    model, options = make(name), OPTIONS.get(name, {})
    with pytest.raises(ArgumentError, match="learnt from nothing"):
        model.sample(3)
    model.fit(X, epochs=1, progress=False)
    first = model.sample(20, seed=1, **options)
    cr.random.normal((3,))
    assert np.array_equal(first, model.sample(20, seed=1, **options))
    assert not np.array_equal(first, model.sample(20, seed=2, **options))
    assert first.shape == (20, 2) and np.isfinite(first).all()


@pytest.mark.parametrize("name", NAMES)
def test_runs_resume_with_the_same_bits(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    whole, part, resumed = make(name), make(name), make(name)
    whole.fit(X, epochs=3, ema=0.9, progress=False)
    part.fit(X, epochs=3, ema=0.9, progress=False, checkpoint=path, callbacks=[Stop(6)])
    resumed.fit(X, epochs=3, ema=0.9, progress=False, resume=path)
    for p, q in zip(whole.parameters().values(), resumed.parameters().values(), strict=True):
        assert np.array_equal(p.numpy(), q.numpy())


class Stop(train.Callback):
    def __init__(self, step: int):
        self.step = step

    def after_step(self, run):
        if run.step_number == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", NAMES)
def test_models_are_saved_and_loaded(name: str, tmp_path: Path) -> None:
    model, options = make(name), OPTIONS.get(name, {})
    model.fit(X, epochs=1, progress=False)
    cr.save(model, tmp_path / "model.cr")
    again = cr.load(tmp_path / "model.cr")
    assert np.array_equal(model.sample(5, **options), again.sample(5, **options))


def test_real_nvp_is_a_density_and_can_be_inverted() -> None:
    model = generative.RealNVP(2, layers=6, hidden=(32, 32))
    model.fit(X, epochs=40, optimizer=optim.Adam(0.003), progress=False)
    side = np.linspace(-6, 6, 301)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype("float32")
    assert np.exp(model.log_prob(points)).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=2e-3)
    z, change = model(X)
    np.testing.assert_allclose(model.inverse(z).numpy(), X, atol=1e-5)
    jacobian = cr.jacobian(lambda x: model(x[None])[0][0])(X[0])
    assert change.numpy()[0] == pytest.approx(math.log(abs(np.linalg.det(jacobian.numpy()))), abs=1e-4)
    truth = stats.multivariate_normal([0.5, -1], np.array([[1.0, 0.0], [0.6, 0.3]])
                                      @ np.array([[1.0, 0.6], [0.0, 0.3]])).logpdf(X).mean()
    assert model.log_prob(X).mean() == pytest.approx(truth, abs=0.1)


def test_bounds_of_a_linear_vae_are_below_the_likelihood_and_rise_to_it() -> None:
    model = generative.VAE(nn.Identity(), nn.Dense(2), latent=1, likelihood="gaussian")
    model.fit(X, epochs=60, optimizer=optim.Adam(0.02), progress=False)
    w, b, s = (model.decoder.weight.numpy().astype(float), model.decoder.bias.numpy().astype(float),
               math.exp(model.log_scale.numpy()))
    truth = stats.multivariate_normal(b, w.T @ w + s * s * np.eye(2)).logpdf(X)  # x = w z + b + s ε
    one, many = model.bound(X, samples=1), model.bound(X, samples=200)
    assert one.mean() < many.mean() < truth.mean() + 0.02
    assert many.mean() == pytest.approx(truth.mean(), abs=0.02)
    history = model.fit(X, epochs=1, optimizer=optim.SGD(0.0), progress=False)
    assert -history["loss"][0] == pytest.approx(one.mean(), abs=0.1)


def test_kl_of_a_vae_is_that_of_normal_distributions() -> None:
    model = generative.VAE(dense(4, 4), dense(4, 2), latent=3)
    x = (X > 0).astype("float32")
    kl = model.losses(x)["kl"].item()
    mean, log_variance = (part.numpy().astype(float) for part in model.encode(x))
    by_sampling = np.random.default_rng(0).normal(size=(4000, *mean.shape)) * np.exp(log_variance / 2) + mean
    difference = stats.norm.logpdf(by_sampling, mean, np.exp(log_variance / 2)) - stats.norm.logpdf(by_sampling)
    assert kl == pytest.approx(difference.sum(axis=2).mean(), rel=0.02)


def test_noise_schedules_are_those_of_the_papers() -> None:
    linear = generative.signal_levels("linear", 1000)
    np.testing.assert_allclose(linear[1:], np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    cosine = generative.signal_levels("cosine", 100)
    f = lambda t: math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2
    np.testing.assert_allclose(cosine[:-1], [f(t) / f(0) for t in range(100)])
    assert (np.diff(cosine) < 0).all() and 0 < cosine[-1] < 1e-4


class Exact(nn.Module):
    """The noise or velocity that a perfect network would predict for data ~ N(m, s²)."""

    mean, spread = 0.7, 0.4

    def __init__(self, levels=None, kind="noise"):
        self.levels, self.kind = levels, kind
        self.nothing = cr.Variable(np.float32(0))

    def forward(self, x, t):
        x, t = x + 0 * self.nothing.value, cr.reshape(t, (-1, 1))
        if self.levels is None:  # flow: x = (1 - t) x0 + t x1
            variance = (1 - t) ** 2 + (t * self.spread) ** 2
            slope = (t * self.spread ** 2 - (1 - t)) / variance
            return self.mean + slope * (x - t * self.mean)
        level = cr.take(cr.asarray(self.levels.astype("float32")),
                        cr.astype(cr.round(t * (len(self.levels) - 1)), "int64"))
        a, b = cr.sqrt(level), cr.sqrt(1 - level)
        noise = b * (x - a * self.mean) / (level * self.spread ** 2 + 1 - level)
        if self.kind == "noise":
            return noise
        return a * noise - b * (x - b * noise) / a


def spread_of_sampler(levels, steps: int, ancestral: bool, spread: float) -> tuple[float, float]:
    """Mean and standard deviation of what the sampler's recursion gives for data ~ N(m, s²) and a perfect network, in
    closed form."""
    times = np.rint(np.linspace(len(levels) - 1, 0, steps + 1)).astype(int)
    mean, variance = 0.0, 1.0
    for now, after in itertools.pairwise(times):
        a, b = math.sqrt(levels[now]), math.sqrt(1 - levels[now])
        k = a * spread ** 2 / (levels[now] * spread ** 2 + 1 - levels[now])  # E[x0 | x] = m + k (x - a m)
        fresh = ancestral * (1 - levels[after]) / (1 - levels[now]) * (1 - levels[now] / levels[after])
        c, d = math.sqrt(levels[after]), math.sqrt(max(1 - levels[after] - fresh, 0))
        x = c * k + d * (1 - a * k) / b
        mean = x * mean + (c - d * a / b) * Exact.mean * (1 - a * k)
        variance = x * x * variance + fresh
    return mean, math.sqrt(variance)


@pytest.mark.parametrize("method", ["ddim", "ancestral"])
@pytest.mark.parametrize("predict", ["noise", "velocity"])
def test_samplers_with_a_perfect_network_follow_their_recursion(method: str, predict: str) -> None:
    levels = generative.signal_levels("linear", 100)
    model = generative.Diffusion(Exact(levels, predict), steps=100, schedule="linear", predict=predict)
    model(np.zeros((2, 1), "float32"), np.ones(2, "float32"))
    x = model.sample(20_000, seed=3, steps=50, method=method).ravel()
    mean, spread = spread_of_sampler(levels, 50, method == "ancestral", 0.4)
    assert x.mean() == pytest.approx(mean, abs=0.01)
    assert x.std() == pytest.approx(spread, abs=0.006)
    assert mean == pytest.approx(0.7, abs=0.02) and spread == pytest.approx(0.4, abs=0.06)


@pytest.mark.parametrize(("method", "steps"), [("euler", 100), ("heun", 20)])
def test_solvers_with_the_exact_field_give_the_distribution(method: str, steps: int) -> None:
    model = generative.FlowMatching(Exact())
    model(np.zeros((2, 1), "float32"), np.ones(2, "float32"))
    x = model.sample(4000, seed=3, steps=steps, method=method).ravel()
    assert x.mean() == pytest.approx(0.7, abs=0.03)
    assert x.std() == pytest.approx(0.4, abs=0.03)


def test_a_flow_learns_two_classes_and_guidance_keeps_them_apart() -> None:
    x = (X * 0.2 + np.where(LABELS, 2, -2)[:, None]).astype("float32")
    model = generative.FlowMatching(models.TimeMLP(2, width=64, depth=2, classes=2), classes=2)
    model.fit(x, condition=LABELS, epochs=80, batch_size=128, optimizer=optim.Adam(0.003), progress=False)
    for guidance in (0.0, 1.0):
        for label in (0, 1):
            sign = 1 if label else -1
            assert (np.sign(model.sample(200, condition=label, steps=10, guidance=guidance).mean(axis=1))
                    == sign).mean() > 0.97
    mixed = model.sample(4, condition=[0, 1, 0, 1], steps=10)
    assert np.sign(mixed.mean(axis=1)).tolist() == [-1, 1, -1, 1]


def test_transport_plans_have_both_marginals_and_cost_least() -> None:
    from scipy.optimize import linear_sum_assignment
    a, b = (np.random.default_rng(i).normal(size=(40, 2)).astype("float32") for i in (0, 1))
    weights = np.exp(plan(cr.asarray(a), cr.asarray(b), rounds=200).numpy().astype(float))
    np.testing.assert_allclose(weights.sum(axis=0), 1 / 40, rtol=1e-3)
    np.testing.assert_allclose(weights.sum(axis=1), 1 / 40, rtol=2e-2)
    cost = np.square(a[:, None] - b[None]).sum(axis=2)
    least = cost[linear_sum_assignment(cost)].mean()
    assert least <= (weights * cost).sum() <= 1.5 * least < 0.5 * cost.mean()


@pytest.mark.parametrize("loss", generative.gan.LOSSES)
def test_losses_of_a_gan_are_those_of_pytorch(loss: str) -> None:
    torch = pytest.importorskip("torch")
    model = generative.GAN(dense(8, 2), nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(1)]), latent=2,
                           loss=loss)
    real, fake = X[:32], X[32:64]
    model.losses(real)
    w1, b1, w2, b2 = (torch.tensor(p.numpy(), requires_grad=True) for p in model.critic.parameters().values())
    judge = lambda x: (torch.tanh(x @ w1 + b1) @ w2 + b2)[:, 0]
    r, f = judge(torch.tensor(real)), judge(torch.tensor(fake))
    soft, relu = torch.nn.functional.softplus, torch.relu
    wanted = {"non_saturating": (soft(-r).mean() + soft(f).mean(), soft(-f).mean()),
              "hinge": (relu(1 - r).mean() + relu(1 + f).mean(), -f.mean()),
              "wasserstein_gp": (f.mean() - r.mean(), -f.mean())}[loss]
    if loss == "wasserstein_gp":
        share = cr.random
        cr.random.seed(5)
        u = torch.tensor(share.uniform((32, 1)).numpy())
        between = (u * torch.tensor(real) + (1 - u) * torch.tensor(fake)).requires_grad_()
        slope, = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
        wanted = wanted[0] + 10 * ((slope.norm(dim=1) - 1) ** 2).mean(), wanted[1]
    cr.random.seed(5)
    ours = model.critic_loss(real, fake)
    grads = cr.gradients(ours, model.critic, unrelated="zero")
    assert ours.item() == pytest.approx(wanted[0].item(), rel=1e-4)
    theirs = torch.autograd.grad(wanted[0], (w1, b1, w2, b2), allow_unused=True, retain_graph=True)
    for g, t in zip(grads.values(), theirs, strict=True):
        np.testing.assert_allclose(g.numpy(), 0 if t is None else t.numpy(), rtol=1e-3, atol=1e-5)
    assert model.generator_loss(cr.asarray(fake)).item() == pytest.approx(wanted[1].item(), rel=1e-4)


def test_a_wasserstein_gan_learns_mean_and_spread() -> None:
    model = generative.GAN(dense(32, 2), dense(32, 32, 1), latent=2, loss="wasserstein_gp", critic_steps=3,
                           critic_optimizer=optim.Adam(2e-3, beta1=0.0))
    x = np.tile(X, (8, 1))
    model.fit(x, epochs=150, batch_size=64, optimizer=optim.Adam(1e-3, beta1=0.0), ema=0.99, progress=False)
    samples = model.sample(2000)
    np.testing.assert_allclose(samples.mean(axis=0), X.mean(axis=0), atol=0.25)
    np.testing.assert_allclose(samples.std(axis=0), X.std(axis=0), rtol=0.3)


def test_layers_know_that_they_are_trained() -> None:
    norms = [nn.BatchNorm() for _ in range(3)]
    body = lambda norm, *after: nn.Sequential([nn.Dense(8), norm, nn.ReLU(), *after])
    gan = generative.GAN(body(norms[0], nn.Dense(2)), dense(8, 1), latent=2, loss="hinge")
    vae = generative.VAE(body(norms[1]), body(norms[2], nn.Dense(2)), latent=2, likelihood="gaussian")
    for model in (gan, vae):
        model.fit(X, epochs=2, progress=False)
    for norm in norms:
        assert not np.allclose(norm.running_mean.numpy(), 0)


def test_pictures_of_samples_are_saved(tmp_path: Path) -> None:
    model = make("gan")
    model.fit(X, epochs=2, samples=tmp_path / "samples", progress=False, ema=0.9)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == ["samples-0001.png", "samples-0002.png"]
    page = generative.grid(np.arange(3.0)[:, None, None, None] * np.ones((3, 2, 2, 1)), columns=2)
    assert page[1:3, 4:6, 0].tolist() == [[1, 1], [1, 1]] and page[4:6, 1:3, 0].tolist() == [[2, 2], [2, 2]]


def test_draws_are_those_of_a_generator() -> None:
    generator = cr.random.Generator(7)
    draws = Draws(start(7))
    for _ in range(2):
        assert np.array_equal(draws.normal((3,)).numpy(), generator.normal((3,)).numpy())
    assert np.array_equal(draws.now.numpy(), generator.state.numpy())


def test_mistakes_are_told() -> None:
    with pytest.raises(ShapeError, match="no samples to learn from"):
        make("flow").fit(np.zeros(3))
    with pytest.raises(ShapeError, match="not one condition for each sample"):
        make("flow", 2).fit(X, condition=LABELS[:3], progress=False)
    with pytest.raises(ArgumentError, match="takes no condition"):
        make("flow").fit(X, condition=LABELS, progress=False)
    with pytest.raises(ArgumentError, match="no such loss of a GAN"):
        generative.GAN(dense(2), dense(1), loss="lsgan")
    with pytest.raises(ArgumentError, match="no such schedule"):
        generative.Diffusion(models.TimeMLP(2), schedule="sigmoid")
    with pytest.raises(ArgumentError, match="no such likelihood"):
        generative.VAE(dense(2), dense(2), likelihood="poisson")
    model = make("diffusion")
    model.fit(X, epochs=1, progress=False)
    for options, words in [({"method": "euler"}, "no such sampler"), ({"steps": 51}, "some of the times")]:
        with pytest.raises(ArgumentError, match=words):
            model.sample(2, **options)
    with pytest.raises(ArgumentError, match="no number of samples"):
        model.sample(0)
