# SPDX-License-Identifier: Apache-2.0
"""Optimisers made of optimisers, transforms of gradients, schedules against PyTorch's, plateaus and L-BFGS."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import ArgumentError, NonFiniteError
from chainrule.ir.graph import topological

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((12, 4)), rng.standard_normal((12, 2))


def network():
    cr.random.seed(1)
    return nn.Sequential([nn.Dense(5, "tanh", dtype="float64"), nn.Dense(2, dtype="float64")], input_shape=(4,))


def train(optimizer, batches, compiled=False):
    model = network()
    model(X)

    def step(x, y):
        optimizer.update(model, cr.gradients(losses.mean_squared_error(model(x), y), model))
    run = cr.compile(step, backend="reference") if compiled else step
    for x, y in batches:
        run(x, y)
    assert not compiled or len(run.entries) == 1
    return {name: v.numpy() for name, v in model.parameters().items()}


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("compiled", [False, True])
def test_groups_are_optimisers_of_their_own(compiled):
    found = train(optim.groups(optim.AdamW(0.01, weight_decay=0.2),
                               {"*.bias": {"weight_decay": 0.0}, "0.*": optim.SGD(0.1)}),
                  [(X, Y)] * 5, compiled)
    model = network()
    parts = {"0.weight": optim.SGD(0.1), "1.weight": optim.AdamW(0.01, weight_decay=0.2),
             "0.bias": optim.AdamW(0.01, weight_decay=0.0), "1.bias": optim.AdamW(0.01, weight_decay=0.0)}
    for _ in range(5):
        grads = cr.gradients(losses.mean_squared_error(model(X), Y), model)
        for name, optimizer in parts.items():
            optimizer.update({name: model.parameters()[name]}, {name: grads[name]})
    same(found, {name: v.numpy() for name, v in model.parameters().items()})


def test_groups_share_clipping_and_learning_rate():
    optimizer = optim.groups(optim.SGD(1.0, clip_norm=1.0), {"b": {"learning_rate": 0.5}})
    a, b = cr.Variable(np.zeros(1)), cr.Variable(np.zeros(1))
    optimizer.update({"a": a, "b": b}, {"a": np.array([3.0]), "b": np.array([4.0])})
    np.testing.assert_allclose([a.numpy()[0], b.numpy()[0]], [-0.6, -0.4], rtol=1e-6)
    optimizer.learning_rate = 0.1
    assert [m.learning_rate for m in optimizer.members.values()] == [0.1, 0.05]
    assert optimizer.step.numpy() == 1
    with pytest.raises(ArgumentError, match="no parameter fits"):
        optim.groups(optim.SGD(1.0), {"*.bias": {}}).update({"a": a}, {"a": np.ones(1)})
    with pytest.raises(ArgumentError, match="is for matrices"):
        optim.Muon().build({"a": a})


@pytest.mark.parametrize("compiled", [False, True])
def test_accumulated_batches_are_one_large_batch(compiled):
    small = [(X[i:i + 4], Y[i:i + 4]) for i in (0, 4, 8)]
    optimizer = optim.accumulate(optim.Adam(0.05), 3)
    found = train(optimizer, small * 2, compiled)
    same(found, train(optim.Adam(0.05), [(X, Y)] * 2))
    assert optimizer.step.numpy() == 2
    same(train(optim.accumulate(optim.SGD(0.1), 3), small[:2], compiled), train(optim.SGD(0.1), []))


def test_a_chain_transforms_in_order():
    p, g = {"w": cr.Variable(np.ones((3, 2)))}, np.arange(6.0).reshape(3, 2)
    optim.chain(optim.transforms.centralize(), optim.transforms.clip_value(1.0), optim.SGD(1.0)).update(p, {"w": g})
    np.testing.assert_allclose(p["w"].numpy(), 1 - np.clip(g - g.mean(0), -1, 1))
    q = {"w": cr.Variable(np.ones((3, 2))), "b": cr.Variable(np.array([0.0, 5.0]))}
    optim.chain(optim.transforms.clip_adaptive(0.1), optim.SGD(1.0)).update(q, {"w": g, "b": np.ones(2)})
    limit = 0.1 * np.sqrt(3) / np.linalg.norm(g, axis=0)
    np.testing.assert_allclose(q["w"].numpy(), 1 - g * np.minimum(limit, 1), rtol=1e-12)
    np.testing.assert_allclose(q["b"].numpy(), [-1e-4, 4.5], rtol=1e-12)
    r = {"w": cr.Variable(np.ones((3, 2)))}
    optim.chain(optim.transforms.decay_weights(0.5), optim.transforms.clip_norm(1e9),
                optim.SGD(1.0)).update(r, {"w": g})
    np.testing.assert_allclose(r["w"].numpy(), 0.5 - g)
    with pytest.raises(ArgumentError, match="ends with an optimiser"):
        optim.chain(optim.transforms.centralize())


@pytest.mark.parametrize("make", [lambda: optim.groups(optim.Muon(0.02), {"*bias": optim.AdamW(1e-2)}),
                                  lambda: optim.accumulate(optim.Adafactor(0.1), 2),
                                  lambda: optim.chain(optim.transforms.centralize(), optim.NAdam(1e-2))])
def test_state_survives_a_copy(make):
    batches = [(X[i:i + 4], Y[i:i + 4]) for i in (0, 4, 8, 2)]
    whole, model = train(make(), batches), network()
    first, second = make(), make()
    for optimizer, part in ((first, batches[:3]), (second, batches[3:])):
        optimizer.build(model.parameters())
        if optimizer is second:
            for name, v in second.variables().items():
                v.assign(first.variables()[name].numpy())
        for x, y in part:
            optimizer.update(model, cr.gradients(losses.mean_squared_error(model(x), y), model))
    same({name: v.numpy() for name, v in model.parameters().items()}, whole)


@pytest.mark.parametrize("make", [lambda: optim.groups(optim.Muon(0.02), {"*bias": optim.AdamW(1e-2)}),
                                  lambda: optim.accumulate(optim.Adam(0.02), 2),
                                  lambda: optim.chain(optim.transforms.clip_adaptive(0.1),
                                                      optim.SGD(0.1, momentum=0.9))])
def test_fit_resumes_to_the_same_bits(make, tmp_path):
    data = X.astype("float32"), (X[:, :2] * 2).astype("float32")

    def fitted(epochs, **options):
        cr.random.seed(0)
        model = nn.Sequential([nn.Dense(5, "tanh"), nn.Dense(2)])
        history = cr.fit(model, data, loss="mean_squared_error", optimizer=make(), epochs=epochs, batch_size=3,
                         progress=False, **options)
        return history["loss"], {name: v.numpy() for name, v in model.parameters().items()}
    losses_of, whole = fitted(6)
    assert losses_of[-1] < losses_of[0]
    fitted(3, checkpoint=tmp_path / "run")
    _, resumed = fitted(6, resume=tmp_path / "run")
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name])


@pytest.mark.parametrize(("make", "text"), [
    (lambda: optim.Adam(lr=1e-3), "learning_rate"), (lambda: optim.Adam(1e-3, betas=(0.9, 0.99)), "beta1=a"),
    (lambda: optim.AdamW(eps=1e-6), "epsilon"),
    (lambda: optim.groups(optim.Adam(), {"*bias": {"lr": 0.1}}), "learning_rate"),
    (lambda: optim.groups("adam", {}), "not an optimiser"),
    (lambda: optim.chain(3, optim.SGD(0.1)), "does not transform"),
    (lambda: optim.chain(optim.transforms.centralize(), "adam"), "ends with"),
    (lambda: optim.schedules.one_cycle(0.1, 100, shape="line"), "another form"),
    (lambda: optim.schedules.one_cycle(0.1, 100, 0.6, phases=3), "below 1/2"),
])
def test_mistakes_are_told_with_a_remedy(make, text):
    with pytest.raises(ArgumentError, match="(?s)" + text):
        make()


# ---- schedules

def rates_of_torch(make, steps):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    schedule, found = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


SCHEDULES_OF_PYTORCH = {
    "StepLR": (optim.schedules.step(0.1, 100, 0.5), lambda s, o: s.StepLR(o, 100, 0.5)),
    "MultiStepLR": (optim.schedules.multi_step(0.1, [30, 200, 777], 0.3),
                    lambda s, o: s.MultiStepLR(o, [30, 200, 777], 0.3)),
    "ConstantLR": (optim.schedules.sequence([0.1 / 4, 0.1], [50]), lambda s, o: s.ConstantLR(o, 0.25, 50)),
    "LinearLR": (optim.schedules.linear(0.1 / 5, 400, 0.1 * 0.7), lambda s, o: s.LinearLR(o, 0.2, 0.7, 400)),
    "ExponentialLR": (optim.schedules.exponential(0.1, 1, 0.995), lambda s, o: s.ExponentialLR(o, 0.995)),
    "MultiplicativeLR": (optim.schedules.exponential(0.1, 1, 0.999),
                         lambda s, o: s.MultiplicativeLR(o, lambda t: 0.999)),
    "LambdaLR": (lambda t: 0.1 / (1 + 0.01 * t), lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + 0.01 * t))),
    "PolynomialLR": (optim.schedules.polynomial(0.1, 900, 2.0), lambda s, o: s.PolynomialLR(o, 900, 2.0)),
    "CosineAnnealingLR": (optim.schedules.cosine(0.1, 1000, 0.01), lambda s, o: s.CosineAnnealingLR(o, 1000, 0.01)),
    "restarts of equal length": (optim.schedules.cosine_restarts(0.1, 64, 1.0, 0.01),
                                 lambda s, o: s.CosineAnnealingWarmRestarts(o, 64, 1, eta_min=0.01)),
    "CosineAnnealingWarmRestarts": (optim.schedules.cosine_restarts(0.1, 30, 2.0, 0.01),
                                    lambda s, o: s.CosineAnnealingWarmRestarts(o, 30, 2, eta_min=0.01)),
    "OneCycleLR": (optim.schedules.one_cycle(0.1, 1000),
                   lambda s, o: s.OneCycleLR(o, 0.1, total_steps=1000, cycle_momentum=False)),
    "OneCycleLR, lines": (optim.schedules.one_cycle(0.1, 1000, 0.2, shape="linear"),
                          lambda s, o: s.OneCycleLR(o, 0.1, total_steps=1000, pct_start=0.2, anneal_strategy="linear",
                                                    cycle_momentum=False)),
    "OneCycleLR, three phases": (optim.schedules.one_cycle(0.1, 1000, 0.4, 10.0, 100.0, phases=3),
                                 lambda s, o: s.OneCycleLR(o, 0.1, total_steps=1000, pct_start=0.4, div_factor=10,
                                                           final_div_factor=100, three_phase=True,
                                                           cycle_momentum=False)),
    "CyclicLR": (optim.schedules.cyclic(0.1, 0.5, 37, 50),
                 lambda s, o: s.CyclicLR(o, 0.1, 0.5, 37, 50, cycle_momentum=False)),
    "CyclicLR, halved": (optim.schedules.cyclic(0.1, 0.5, 100, shrink=0.5),
                         lambda s, o: s.CyclicLR(o, 0.1, 0.5, 100, mode="triangular2", cycle_momentum=False)),
    "CyclicLR, decaying": (optim.schedules.cyclic(0.1, 0.5, 50, decay=0.99),
                           lambda s, o: s.CyclicLR(o, 0.1, 0.5, 50, mode="exp_range", gamma=0.99,
                                                   cycle_momentum=False)),
    "ChainedScheduler": (optim.schedules.product(optim.schedules.exponential(0.1, 1, 0.99),
                                                 optim.schedules.sequence([0.5, 1.0], [20])),
                         lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.5, 20), s.ExponentialLR(o, 0.99)])),
    "SequentialLR": (optim.schedules.sequence([optim.schedules.linear(0.01, 50, 0.1), optim.schedules.cosine(0.1, 950)],
                                              [50]),
                     lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 50), s.CosineAnnealingLR(o, 950)], [50])),
}


@pytest.mark.parametrize("name", SCHEDULES_OF_PYTORCH)
def test_schedules_of_pytorch(name):
    ours, theirs = SCHEDULES_OF_PYTORCH[name]
    steps = np.arange(1000)
    found = cr.vmap(ours)(steps).numpy() if name != "LambdaLR" else ours(steps)
    np.testing.assert_allclose(found, rates_of_torch(theirs, 1000), rtol=1e-12, atol=1e-12)


def test_every_schedule_of_pytorch_has_a_row():
    scheduler = pytest.importorskip("torch").optim.lr_scheduler
    known = {name for name in vars(scheduler) if name.endswith(("LR", "Restarts", "ChainedScheduler"))
             and not name.startswith("_")}
    rows = {name.split(",")[0] for name in SCHEDULES_OF_PYTORCH}
    assert known - {"LRScheduler", "ReduceLROnPlateau"} <= rows


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("cooldown", [0, 2])
def test_plateau_of_pytorch(cooldown, relative):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(3).random(1000) * np.linspace(2, 1, 1000)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.9, patience=2, threshold=1e-2,
                                                          threshold_mode="rel" if relative else "abs",
                                                          cooldown=cooldown, min_lr=1e-3, eps=0)
    make = lambda: optim.Plateau(factor=0.9, patience=2, min_delta=1e-2, cooldown=cooldown, least=1e-3,
                                 relative=relative)
    ours, plateau = optim.SGD(0.1), make()
    for value in values:
        schedule.step(value)
        plateau.observe(value, ours)
        assert ours.learning_rate == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        again = make()
        again.restore(plateau.state())
        plateau = again


def test_plateau_in_fit():
    data = X.astype("float32"), Y.astype("float32")
    model, optimizer = nn.Sequential([nn.Dense(2)]), optim.SGD(0.0)
    optimizer.learning_rate = 1e-9
    cr.fit(model, data, loss="mean_squared_error", optimizer=optimizer, epochs=4, progress=False,
           callbacks=[optim.Plateau("loss", factor=0.5, patience=1)])
    assert optimizer.learning_rate == pytest.approx(0.5e-9)


# ---- L-BFGS

def rosenbrock(p):
    x = p.value
    return cr.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_lbfgs_finds_the_minimum_of_rosenbrock():
    p = cr.Variable(np.array([-1.2, 1.0, -0.5, 0.8]))
    found = optim.LBFGS(least_change=0, tolerance=1e-9).minimize(lambda: rosenbrock(p), [p], 200, backend="reference")
    np.testing.assert_allclose(p.numpy(), 1.0, atol=1e-8)
    assert found.converged
    assert found.gradient <= 1e-9
    assert found.evaluations < 150


def test_lbfgs_with_fixed_steps_as_pytorch():
    torch = pytest.importorskip("torch")
    start = np.array([0.3, -0.2, 0.5, 0.1])
    p, t = cr.Variable(start), torch.tensor(start, requires_grad=True)
    ours = optim.LBFGS(0.1, history=3, line_search=None, tolerance=0, least_change=0)
    theirs = torch.optim.LBFGS([t], 0.1, max_iter=101, max_eval=10**6, history_size=3, tolerance_grad=0,
                               tolerance_change=0)

    def closure():
        theirs.zero_grad()
        loss = (torch.cosh(t) * torch.tensor([1.0, 2, 3, 4])).sum() + (t[1:] * t[:-1]).sum()
        loss.backward()
        return loss
    theirs.param_groups[0]["max_iter"] = 30
    theirs.step(closure)
    weights = np.array([1.0, 2, 3, 4])
    ours.minimize(lambda: cr.sum(cr.cosh(p.value) * weights) + cr.sum(p.value[1:] * p.value[:-1]), [p], 30,
                  backend="reference")
    np.testing.assert_allclose(p.numpy(), t.detach().numpy(), rtol=1e-8, atol=1e-12)


def test_every_accepted_step_meets_the_wolfe_conditions():
    from chainrule.optim.lbfgs import _Point, strong_wolfe

    for seed in range(20):
        a, b = np.random.default_rng(seed).random(2) + 0.2
        point = lambda t, a=a, b=b: _Point(t, np.cos(3 * a * t) + b * (t - 2)**2, np.ones(1),
                                           -3 * a * np.sin(3 * a * t) + 2 * b * (t - 2))
        start, end = point(0.0), strong_wolfe(point, point(0.0), 10.0 ** (seed % 5 - 2))
        assert end.f <= start.f + 1e-4 * end.t * start.slope
        assert abs(end.slope) <= 0.9 * abs(start.slope)


def test_lbfgs_on_a_model_equals_least_squares():
    model = nn.Sequential([nn.Dense(2, dtype="float64")], input_shape=(4,))
    model(X)
    optim.LBFGS(tolerance=1e-10, least_change=0).minimize(lambda: losses.mean_squared_error(model(X), Y), model, 100,
                                                          backend="reference")
    expected = np.linalg.lstsq(np.c_[X, np.ones(12)], Y, rcond=None)[0]
    np.testing.assert_allclose(np.r_[model[0].weight.numpy(), model[0].bias.numpy()[None]], expected, atol=1e-8)
    bad = cr.Variable(np.array([np.inf]))
    with pytest.raises(NonFiniteError):
        optim.LBFGS().minimize(lambda: cr.sum(bad.value), [bad], backend="reference")
    with pytest.raises(ArgumentError):
        optim.LBFGS(line_search="wolfe")


# ---- fine-tuning

def tower():
    model = nn.Sequential([nn.Dense(4, activation="tanh", input_shape=(3,)), nn.Dense(4, activation="tanh"),
                           nn.Dense(4, activation="tanh"), nn.Dense(2)])
    model.variables()
    return model


def test_groups_without_a_first_optimiser():
    model, x = tower(), np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    optimizer = optim.groups({"3.*": optim.SGD(0.1), "*": optim.SGD(0.01)})
    grads = cr.gradients(losses.mean_squared_error(model(x), np.zeros((5, 2), np.float32)), model)
    before = {name: v.numpy() for name, v in model.parameters().items()}
    optimizer.update(model, grads)
    for name, v in model.parameters().items():
        np.testing.assert_allclose(v.numpy(), before[name] - (0.1 if name.startswith("3") else 0.01)
                                   * grads[name].numpy(), rtol=1e-5, atol=1e-7)
    for wrong in (lambda: optim.groups({}), lambda: optim.groups({"*": {}}),
                  lambda: optim.groups({"*": optim.SGD(0.1)}, {"*": {}}), lambda: optim.groups(optim.SGD(0.1)),
                  lambda: (one := optim.SGD(0.1)) and optim.groups({"0.*": one, "*": one}),
                  lambda: optim.groups({"3.*": optim.SGD(0.1)}).update(model, grads)):
        with pytest.raises(ArgumentError):
            wrong()


def test_a_group_that_is_frozen_waits():
    """A pattern of frozen parameters is no mistake, and the group's steps begin when it is trained."""
    model, x = tower(), np.ones((5, 3), np.float32)
    optimizer = optim.groups({"3.*": optim.Adam(0.1), "*": optim.Adam(0.01)})
    model.freeze("0.*", "1.*", "2.*")
    step = lambda: optimizer.update(
        model, cr.gradients(losses.mean_squared_error(model(x), np.zeros((5, 2), np.float32)), model)
    )
    for _ in range(3):
        step()
    before = model[0].weight.numpy()
    model.unfreeze()
    step()
    # Adam's first step, whose bias is corrected
    np.testing.assert_allclose(np.abs(model[0].weight.numpy() - before), 0.01, rtol=1e-2)


@pytest.mark.parametrize("schedule", [False, True])
def test_rates_that_fall_layer_by_layer(schedule):
    model, x = tower(), np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    rate = optim.schedules.linear(0.1, 10, 0.0) if schedule else 0.1
    optimizer = optim.layerwise(optim.SGD(rate), model, decay=0.5)
    grads = cr.gradients(losses.mean_squared_error(model(x), np.zeros((5, 2), np.float32)), model)
    before = {name: v.numpy() for name, v in model.parameters().items()}
    optimizer.update(model, grads)
    for name, v in model.parameters().items():
        np.testing.assert_allclose(v.numpy(), before[name] - 0.1 * 0.5 ** (3 - int(name[0])) * grads[name].numpy(),
                                   rtol=1e-4, atol=1e-7)
    with pytest.raises(ArgumentError, match="decay"):
        optim.layerwise(optim.SGD(0.1), model, 0)


def test_layers_of_a_transformer():
    from chainrule import models

    model = models.BERT(11, 8, 8, 3, 2, 16)
    model(np.zeros((1, 4), np.int64))
    optimizer = optim.layerwise(optim.AdamW(1.0), model, decay=0.5)
    rates = {name: optimizer.members[optimizer.group_of(name)].learning_rate for name in model.parameters()}
    assert {rates[name] for name in rates if name.startswith(("tokens", "positions", "types", "norm"))} == {0.5 ** 4}
    assert [rates[f"blocks.{i}.attention.query.weight"]
            for i in range(3)] == [0.5 ** 3, 0.5 ** 2, 0.5] and rates["pooler.weight"] == 1


def test_no_gradient_is_computed_below_the_lowest_trainable_layer():
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)

    def products(*frozen):
        model = tower()
        if frozen:
            model.freeze(*frozen)
        loss = losses.mean_squared_error(model(cr.asarray(x), training=True), np.zeros((5, 2), np.float32))
        grads = cr.gradients(loss, model)
        return sum(node.op.name == "contract" for node in topological([g.node for g in grads.values()]))
    # forward 4; backward: two for each trained layer (by its weight, and by what comes in unless it is the lowest one)
    assert products() == 4 + 4 + 3
    assert products("0.*", "1.*") == 4 + 2 + 1
    assert products("0.*", "1.*", "2.*") == 4 + 1
    assert products("1.*", "2.*") == 4 + 2 + 3
