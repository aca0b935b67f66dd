# SPDX-License-Identifier: Apache-2.0
"""`tune`: proposals against the space, searches against known minima, killed and parallel searches against quiet ones.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn, optim, tuning
from chainrule.errors import ArgumentError, DataError, NonFiniteError
from chainrule.statistics import paired
from chainrule.tuning import gaussian, parzen
from chainrule.tuning.journal import Journal, Record
from chainrule.tuning.samplers import gaussian_process, tpe
from chainrule.tuning.samplers import random as at_random
from chainrule.tuning.space import problems

BRANIN = {"x": tuning.uniform(-5, 10), "y": tuning.uniform(0, 15)}
BEST = 0.39788735772973816
CONDITIONAL = {
    "optimizer": tuning.choice("sgd", "adam", "rmsprop"),
    "learning_rate": tuning.log_uniform(1e-5, 1e-1),
    "momentum": tuning.uniform(0.0, 0.99).when(optimizer="sgd"),
    "nesterov": tuning.choice(False, True).when(optimizer="sgd"),
    "beta": tuning.uniform(0.8, 0.999).when(optimizer=("adam", "rmsprop")),
    "layers": tuning.integer(1, 3),
    "second": tuning.integer(8, 512, log=True).when(layers=(2, 3)),
    "third": tuning.integer(8, 512, log=True).when(layers=3),
}


def branin(trial):
    x, y = trial["x"], trial["y"]
    return (y - 5.1 * x * x / (4 * math.pi**2) + 5 * x / math.pi
            - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def by_number(trial):
    """A module's function, so that other processes can run it."""
    for step in range(1, 10):
        trial.report(step, trial["x"] + 1 / step)
    return trial["x"] + 1e-3 * (trial.seed % 7)


def failing(trial):
    raise NonFiniteError("a NaN") if trial["x"] > 0.5 else KeyError("a mistake of the user")


# ---- spaces

def record(number, chosen, score=0.5):
    return Record(number, chosen, "finished", score, score)


@given(seed=st.integers(0, 2**32), number=st.integers(0, 10**6))
@settings(max_examples=200)
def test_conditional_proposals_are_always_valid(seed, number):
    chosen = at_random(CONDITIONAL, [], seed, number)
    assert list(problems(CONDITIONAL, chosen)) == []
    assert ("momentum" in chosen) == (chosen["optimizer"] == "sgd")
    assert ("third" in chosen) == (chosen["layers"] == 3)


@pytest.mark.parametrize("sampler", [tpe, gaussian_process])
def test_conditional_proposals_that_learn_are_always_valid(sampler):
    done = []
    for number in range(30):
        chosen = sampler(CONDITIONAL, done, 3, number)
        assert list(problems(CONDITIONAL, chosen)) == []
        done.append(record(number, chosen, score=math.log(chosen["learning_rate"]) ** 2))


def test_problems_are_named():
    assert list(problems(CONDITIONAL, {"optimizer": "adam", "learning_rate": 1.0, "momentum": 0.5, "beta": 0.9,
                                       "layers": 1, "z": 1})) == [
        "z is not in the space", "learning_rate = 1.0 lies outside", "momentum is there without its condition"]


@pytest.mark.parametrize(("dimension", "expected"), [
    (tuning.uniform(2, 4), lambda u: 2 + 2 * u),
    (tuning.log_uniform(1e-4, 1e-2), lambda u: 1e-4 * 100**u),
])
def test_numbers_are_even_on_their_scale(dimension, expected):
    u = np.linspace(0, 1, 11, endpoint=False)
    np.testing.assert_allclose([dimension.draw(v) for v in u], [expected(v) for v in u], rtol=1e-12)


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_reach_both_ends(log):
    drawn = [tuning.integer(1, 4, log=log).draw(u) for u in np.linspace(0, 1, 4000, endpoint=False)]
    counts = np.bincount(drawn, minlength=5)[1:]
    widths = np.log((np.arange(1, 5) + 0.5) / (np.arange(1, 5) - 0.5)) if log else np.ones(4)
    np.testing.assert_allclose(counts / 4000, widths / widths.sum(), atol=2e-3)


@pytest.mark.parametrize(("make", "text"), [
    (lambda: tuning.uniform(2, 1), "low 2, high 1"),
    (lambda: tuning.log_uniform(0, 1), "0 < low"),
    (lambda: tuning.integer(1, 2.5), "whole numbers"),
    (lambda: tuning.choice(), "nothing to choose from"),
    (lambda: tuning.choice(print), "plain value"),
    (lambda: tuning.choice(["relu", "tanh"]), r"choice\(\*\['relu', 'tanh'\]\)"),
    (lambda: cr.tune(branin, {"x": 3}, 1), "choice\\(3\\)"),
    (lambda: cr.tune(branin, {"a": tuning.uniform(0, 1).when(b=1), "b": tuning.choice(1)}, 1), "put 'b' before 'a'"),
    (lambda: cr.tune(branin, {"a": tuning.choice(1), "b": tuning.choice(1).when(a=2)}, 1), "'b' never exists"),
    (lambda: cr.tune(branin, BRANIN, 0), "trials 0"),
    (lambda: cr.tune(branin, BRANIN, 1, method="tpa"), "did you mean 'tpe'"),
    (lambda: cr.tune(branin, BRANIN, 1, method="random", accept=lambda s: False), "none of 1000 proposals"),
    (lambda: cr.tune(lambda trial: trial["learning_rat"], {"learning_rate": tuning.uniform(0, 1)}, 1, method="random"),
     "did you mean 'learning_rate'"),
    (lambda: tuning.ASHA(first=0), "no rungs"),
    (lambda: cr.tune(BRANIN, branin, 3), "a function and a space"),
    (lambda: cr.tune(branin, {}, 3), "a function and a space"),
    (lambda: cr.tune(lambda trial: None, BRANIN, 1, method="random"), "returned no number"),
    (lambda: cr.tune(lambda trial: 0.0, BRANIN, 1, method="random", workers=2), "function of a module"),
])
def test_mistakes_are_told(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


# ---- searches

@pytest.mark.slow
def test_the_gaussian_process_is_within_one_percent_of_the_minimum_of_branin():
    found = {method: np.array([cr.tune(branin, BRANIN, 60, method=method, seed=1000 * seed, repeats=0).best.value
                               for seed in range(20)])
             for method in ("random", "gp")}
    assert np.median(found["gp"]) <= 1.01 * BEST
    assert paired.wilcoxon(found["gp"] - found["random"]) < 0.05


def test_the_gaussian_process_finds_the_minimum_of_a_bowl():
    space = {"x": tuning.uniform(-1, 1), "rate": tuning.log_uniform(1e-4, 1), "kind": tuning.choice("a", "b")}
    bowl = lambda t: (t["x"] - 0.3) ** 2 + math.log10(t["rate"] / 1e-2) ** 2 + (t["kind"] == "a")
    assert cr.tune(bowl, space, 30, repeats=0).best.value < 0.01


def test_the_process_passes_through_its_points_and_its_expectation_is_that_of_samples():
    generator = np.random.default_rng(0)
    points = generator.random((12, 2))
    scores = gaussian.levelled(np.sin(5 * points[:, 0]) + points[:, 1])
    process = gaussian.fitted(points, scores, generator)
    mean, spread = process(points)
    np.testing.assert_allclose(mean, scores, atol=0.05)
    assert spread.max() < 0.2 < process(points + 3.0)[1].min()
    asked = generator.random((5, 2))
    mean, spread = process(asked)
    drawn = mean + spread * generator.normal(size=(200_000, 5))
    expected = np.maximum(0.1 - drawn, 0).mean(0)
    np.testing.assert_allclose(gaussian.expected_improvement(process, asked, 0.1), expected, atol=5e-3)
    assert np.isfinite(gaussian.levelled(np.array([1.0, np.nan, 2.0, 1e9]))).all()


def test_the_parzen_estimator_is_within_one_percent_of_the_minimum_of_branin():
    found = {method: np.array([searched(sampler, BRANIN, branin, 60, seed) for seed in range(20)])
             for method, sampler in (("random", at_random), ("tpe", tpe))}
    assert np.median(found["tpe"]) <= 1.01 * BEST
    assert paired.wilcoxon(found["tpe"] - found["random"]) < 0.05


def searched(sampler, space, score, trials, seed):
    """The best value that a sampler finds, without the journal of a search."""
    done = []
    for number in range(trials):
        chosen = sampler(space, done, 1000 * seed, number)
        done.append(record(number, chosen, score(chosen)))
    return min(r.score for r in done)


def test_the_parzen_estimator_learns_what_exists_only_sometimes():
    def score(chosen):
        momentum = (chosen["momentum"] - 0.9) ** 2 if "momentum" in chosen else 0.3
        return momentum + math.log10(chosen["learning_rate"] / 1e-3) ** 2 + 0.2 * abs(chosen["layers"] - 2)
    found = {sampler: np.array([searched(sampler, CONDITIONAL, score, 50, seed) for seed in range(8)])
             for sampler in (at_random, tpe)}
    assert np.median(found[tpe]) < 0.5 * np.median(found[at_random])


def test_the_density_is_that_of_what_it_draws():
    space, generator = {"x": tuning.uniform(0, 1), "c": tuning.choice("a", "b", "c")}, np.random.default_rng(0)
    density = parzen.Density(space, [{"x": 0.05, "c": "a"}, {"x": 0.6, "c": "b"}], 0.5)
    drawn = [density.draw(generator) for _ in range(20_000)]
    edges = np.linspace(0, 1, 11)
    for c in "abc":
        share = np.histogram([d["x"] for d in drawn if d["c"] == c], edges)[0] / len(drawn)
        grid = [{"x": float(x), "c": c} for x in (np.arange(1000) + 0.5) / 1000]
        np.testing.assert_allclose(share, np.exp(density.log(grid)).reshape(10, 100).mean(1) / 10 / 3, atol=0.006)


@pytest.mark.parametrize("method", ["random", "tpe", "gp"])
def test_a_search_that_goes_on_is_one_that_never_stopped(tmp_path, method):
    options = {"seed": 4, "method": method}
    whole = cr.tune(branin, BRANIN, 18, **options)
    cr.tune(branin, BRANIN, 13, repeats=0, journal=tmp_path / "j", **options)
    again = cr.tune(branin, BRANIN, 18, journal=tmp_path / "j", **options)
    assert [r.settings for r in again.trials] == [r.settings for r in whole.trials]
    assert again.winner == whole.winner
    # nothing is left to run
    assert cr.tune(lambda trial: 1 / 0, BRANIN, 18, journal=tmp_path / "j", **options).winner == whole.winner


def test_a_killed_search_keeps_its_trials(tmp_path):
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import chainrule as cr
        from test_search import BRANIN, branin
        def train(trial):
            if trial.number == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return branin(trial)
        cr.tune(train, BRANIN, 12, method="random", seed=5, journal={str(tmp_path / 'j')!r})
    """)
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    with open(tmp_path / "j", "a") as file:
        file.write('{"kind": "end", "num')  # the line that was being written
    ran = []
    again = cr.tune(lambda trial: ran.append(trial.number) or branin(trial), BRANIN, 12, method="random", seed=5,
                    journal=tmp_path / "j", repeats=0)
    assert ran == [7, 8, 9, 10, 11]
    assert again.trials[7].state == "finished"
    assert [r.value for r in again.trials] == [
        r.value for r in cr.tune(branin, BRANIN, 12, method="random", seed=5, repeats=0).trials
    ]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path):
    space = {"x": tuning.uniform(0, 1)}
    one, two = (cr.tune(by_number, space, 12, method="random", workers=workers, repeats=3) for workers in (1, 2))
    assert [r.settings for r in one.trials] == [r.settings for r in two.trials]
    assert one.winner == two.winner


def test_another_search_may_not_use_the_journal(tmp_path):
    cr.tune(branin, BRANIN, 2, method="random", repeats=0, journal=tmp_path / "j")
    for options, text in (({"seed": 1}, "another seed"), ({"higher_is_better": True}, "another sign")):
        with pytest.raises(DataError, match=text):
            cr.tune(branin, BRANIN, 2, method="random", repeats=0, journal=tmp_path / "j", **options)
    (tmp_path / "k").write_text("loss,accuracy\n")
    with pytest.raises(DataError, match="line 1"):
        cr.tune(branin, BRANIN, 2, method="random", journal=tmp_path / "k")


def test_the_winner_is_measured_again():
    noise = lambda trial: trial["x"] ** 2 + 0.1 * np.random.default_rng(trial.seed).normal()
    seen = []
    found = cr.tune(lambda trial: seen.append(trial.seed) or noise(trial), {"x": tuning.uniform(-1, 1)}, 30,
                    method="random", repeats=8)
    assert len(set(seen)) == 38
    assert found.winner.settings == found.best.settings
    assert (found.winner.low, found.winner.high) == paired.t_interval(np.array(found.winner.values))
    assert found.best.value < found.winner.mean  # the best of many is too good to be true
    assert "winner again" in str(found) and "30 trials: 30 finished" in str(found)


def test_larger_may_be_better():
    found = cr.tune(lambda trial: trial["x"], {"x": tuning.uniform(0, 1)}, 20, method="random", higher_is_better=True,
                    repeats=0)
    assert found.best.value == max(r.value for r in found.trials)


def test_what_diverges_loses_and_other_errors_end_the_search():
    space = {"x": tuning.uniform(0.6, 1)}
    found = cr.tune(failing, space, 3, method="random", repeats=0)
    assert [r.state for r in found.trials] == ["diverged"] * 3
    with pytest.raises(ArgumentError, match="no trial has finished"):
        _ = found.best
    with pytest.raises(KeyError):
        cr.tune(failing, {"x": tuning.uniform(0, 0.4)}, 3, method="random")


# ---- pruning

def test_rungs_and_who_passes_them():
    asha = tuning.ASHA(first=2, reduction=3)
    assert [step for step in range(1, 60) if asha.rung(step)] == [2, 6, 18, 54]
    others = [Record(n, {}, reports={2: float(n)}) for n in range(5)]
    assert [asha.stops(9, 2, score, others) for score in (-1.0, 0.5, 1.5, 4.5)] == [False, False, True, True]
    assert not asha.stops(9, 2, 9.0, others[:1])      # two trials are too few to judge
    assert not asha.stops(9, 3, 9.0, others)          # no rung
    assert asha.stops(9, 2, math.nan, [])


def test_pruning_saves_steps_and_keeps_the_best():
    steps = []

    def train(trial):
        for step in range(1, 28):
            steps.append(step)
            trial.report(step, trial["x"] + 1 / step)
        return trial["x"]
    space = {"x": tuning.uniform(0, 1)}
    whole = cr.tune(train, space, 40, method="random", repeats=0)
    all_steps = len(steps)
    steps.clear()
    pruned = cr.tune(train, space, 40, method="random", prune="asha", repeats=0)
    assert pruned.best.settings == whole.best.settings
    assert len(steps) < 0.4 * all_steps
    assert {r.state for r in pruned.trials} == {"finished", "pruned"}


def test_fit_reports_its_epochs(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 3)).astype(np.float32)
    y = x.sum(1, keepdims=True)

    def train(trial):
        history = cr.fit(nn.Sequential([nn.Dense(1)]), (x, y), loss="mean_squared_error",
                         optimizer=optim.SGD(trial["learning_rate"]), epochs=4, validation=(x, y), seed=trial.seed,
                         progress=False, callbacks=[trial.reports()], backend="reference")
        return history["validation_loss"][-1]
    found = cr.tune(train, {"learning_rate": tuning.log_uniform(1e-4, 0.3)}, 4, method="random", repeats=0,
                    journal=tmp_path / "j")
    reports = Journal(tmp_path / "j").records()
    assert all(list(r.reports) == [1, 2, 3, 4] and r.reports[4] == found.trials[n].value for n, r in reports.items())


# ---- what one tunes

def parameters(chosen):
    sizes = [4, *[chosen["units"]] * chosen["layers"], 3]
    return sum((a + 1) * b for a, b in itertools.pairwise(sizes))


def test_a_budget_of_parameters_is_kept():
    space = {"layers": tuning.integer(1, 4), "units": tuning.integer(4, 256, log=True),
             "activation": tuning.choice("relu", "tanh", "gelu")}

    def train(trial):
        model = nn.Sequential([nn.Dense(trial["units"], activation=trial["activation"]) for _ in range(trial["layers"])]
                              + [nn.Dense(3)])
        model(np.zeros((1, 4), np.float32))
        assert sum(v.size for v in model.parameters().values()) == parameters(trial.settings)
        return 1 / parameters(trial.settings)
    found = cr.tune(train, space, 25, method="random", accept=lambda chosen: parameters(chosen) <= 2000, repeats=0)
    assert all(parameters(r.settings) <= 2000 for r in found.trials)
    assert parameters(found.best.settings) > 1000


@pytest.mark.parametrize("method", ["gp", "tpe"])
def test_methods_that_learn_choose_among_what_is_accepted(method):
    """The score pulls out of what is accepted, with which a search goes on at the border of it."""
    space = {"layers": tuning.integer(1, 4), "units": tuning.integer(8, 512, log=True)}
    found = cr.tune(lambda trial: 1 / trial["units"], space, 25, method=method, accept=lambda chosen: parameters(chosen)
                    <= 2000, repeats=0)
    assert all(parameters(r.settings) <= 2000 for r in found.trials)
    assert found.best.settings["units"] > 180  # of at most 249


def test_the_best_strength_of_ridge_is_that_of_leave_one_out():
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = np.random.default_rng(0)
    x, w = generator.normal(size=(30, 20)), generator.normal(size=20) * 0.5
    y = x @ w + 2.0 * generator.normal(size=30)
    alphas = np.logspace(-2, 3, 400)
    reference = linear_model.RidgeCV(alphas=alphas, fit_intercept=False).fit(x, y).alpha_

    def left_out(trial):
        hat = x @ np.linalg.solve(x.T @ x + trial["strength"] * np.eye(20), x.T)
        return float(np.mean(((y - hat @ y) / (1 - np.diag(hat))) ** 2))
    found = cr.tune(left_out, {"strength": tuning.log_uniform(1e-2, 1e3)}, 40, method="random", repeats=0)
    assert 1 / 3 < found.best.settings["strength"] / reference < 3
