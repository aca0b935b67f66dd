# SPDX-License-Identifier: Apache-2.0
"""A Trainer does what the same step in a plain loop does, misses nothing in a checkpoint, and resumes with the same
bits."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.errors import ArgumentError, BoundsError, DataError, NonFiniteError, ShapeError

X = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")
DATA = {"x": X, "y": X[:, :1] - 2 * X[:, 1:2]}


class Setting:
    """A model with dropout and an average of its weights, made anew with the same bits."""

    def __init__(self):
        cr.random.seed(1)
        self.model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dropout(0.2), nn.Dense(1)], input_shape=(3,))
        self.optimizer = optim.Adam(0.01)
        self.model(X[:1])
        self.average = {name: cr.Variable(p.numpy(), trainable=False) for name, p in self.model.parameters().items()}

    def step(self, batch):
        loss = cr.mean((self.model(batch["x"], training=True) - batch["y"]) ** 2)
        self.optimizer.update(self.model, cr.gradients(loss, self.model))
        for name, p in self.model.parameters().items():
            self.average[name].assign(0.9 * self.average[name] + 0.1 * p)
        return {"loss": loss, "root": cr.sqrt(loss)}

    def trainer(self, **options):
        return train.Trainer(self.step, {"model": self.model, "optimizer": self.optimizer, "average": self.average},
                             **options)

    def bits(self):
        return [v.numpy() for v in self.trainer().variables().values()]


def same(a: Setting, b: Setting) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a.bits(), b.bits(), strict=True))


def test_a_step_in_a_trainer_is_the_step_in_a_loop() -> None:
    ours, loop = Setting(), Setting()
    history = ours.trainer().run(DATA, epochs=3, batch_size=20, seed=5, progress=False)
    cr.random.seed(5)
    for generator in train.states.generators(loop.model):
        generator.seed(int(cr.random.randint(2**62).item()))
    compiled, losses = cr.compile(loop.step), []
    batches = cr.data.Batches(100, 20, seed=5)
    while batches.epoch < 3:
        losses.append(np.mean([compiled({name: array[i] for name, array in DATA.items()})["loss"].item()
                               for i in batches]))
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    for p, q in zip(ours.bits(), loop.bits(), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-7)


class Stop(train.Callback):
    """What Ctrl-C does, after so many steps."""

    def __init__(self, step: int):
        self.step = step

    def after_step(self, run):
        if run.step_number == self.step:
            raise KeyboardInterrupt


class Restorable:
    """A loader that comes back by its state."""

    def __init__(self):
        self.place = [0, 0]

    def __iter__(self):
        order = np.random.default_rng(self.place[0]).permutation(100)
        while self.place[1] < 5:
            rows = order[self.place[1] * 20:][:20]
            self.place[1] += 1
            yield {name: array[rows] for name, array in DATA.items()}
        self.place = [self.place[0] + 1, 0]

    def state(self):
        return {"place": list(self.place)}

    def restore(self, state):
        self.place = list(state["place"])


LISTS = [{name: array[i:i + 20] for name, array in DATA.items()} for i in range(0, 100, 20)]
SOURCES = {"arrays": (lambda: DATA, {"batch_size": 20}), "list": (lambda: LISTS, {}),
           "endless": (lambda: itertools.cycle(LISTS), {"steps_per_epoch": 5}),
           "list in longer epochs": (lambda: LISTS, {"steps_per_epoch": 7}), "loader": (Restorable, {}),
           "loader in longer epochs": (Restorable, {"steps_per_epoch": 7})}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("stop", [5, 8])
def test_a_run_that_was_interrupted_ends_with_the_same_bits(name: str, stop: int, tmp_path: Path) -> None:
    source, options = SOURCES[name]
    whole, parts, path = Setting(), Setting(), tmp_path / "run.ckpt"
    history = whole.trainer().run(source(), epochs=3, progress=False, **options)
    first = parts.trainer().run(source(), epochs=3, progress=False, callbacks=[Stop(stop)], checkpoint=path, **options)
    assert first.interrupted
    resumed = Setting()
    again = resumed.trainer().run(source(), epochs=3, progress=False, resume=path, **options)
    drop = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    assert same(resumed, whole)
    for row, other in zip(drop(again.rows), drop(history.rows), strict=True):
        assert row == pytest.approx(other, rel=1e-12)


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import os, signal
from test_trainer import DATA, Setting, train

class Kill(train.Callback):
    def after_step(self, run):
        if run.step_number == 8:
            os.kill(os.getpid(), signal.SIGKILL)

Setting().trainer().run(DATA, epochs=3, batch_size=20, progress=False, checkpoint={path!r},
                        callbacks=[train.Checkpoint({path!r}, every_steps=3), Kill()])
"""


def test_a_killed_process_loses_nothing_before_its_last_checkpoint(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    code = KILLED.format(tests=str(Path(__file__).parent), path=path)
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == -signal.SIGKILL
    whole, resumed = Setting(), Setting()
    whole.trainer().run(DATA, epochs=3, batch_size=20, progress=False)
    resumed.trainer().run(DATA, epochs=3, batch_size=20, progress=False, resume=path)
    assert same(resumed, whole)


def test_steps_without_data_make_their_own() -> None:
    model, optimizer = nn.Dense(1, input_shape=(2,)), optim.SGD(0.1)

    def step():
        x = cr.random.normal((16, 2))
        loss = cr.mean((model(x) - x[:, :1]) ** 2)
        optimizer.update(model, cr.gradients(loss, model))
        return loss
    history = train.Trainer(step, {"model": model,
                                   "optimizer": optimizer}).run(epochs=2, steps_per_epoch=50, progress=False)
    assert history["loss"][-1] < 1e-3
    np.testing.assert_allclose(model.weight.numpy(), [[1], [0]], atol=0.01)


class EachStep(train.Callback):
    """Has to be told of each step, so that no two run in one call."""

    def __init__(self):
        self.count = 0

    def after_step(self, run):
        self.count += 1


@pytest.mark.parametrize("data", [None, X])
def test_many_steps_in_one_call_have_the_bits_of_single_ones(data) -> None:
    def trained(callbacks):
        cr.random.seed(0)
        model, optimizer = nn.Dense(1, input_shape=(3,)), optim.Adam(0.1)

        def step(*batch):
            x = batch[0] if batch else cr.random.normal((16, 3))
            loss = cr.mean((model(x) - x[:, :1]) ** 2)
            optimizer.update(model, cr.gradients(loss, model))
            return loss

        history = train.Trainer(step, {"model": model, "optimizer": optimizer}).run(
            data, epochs=3, batch_size=10, steps_per_epoch=10, callbacks=callbacks, progress=False
        )
        return model.weight.numpy(), history["loss"]
    counter = EachStep()
    many, single = trained([]), trained([counter])
    assert counter.count == 30
    assert np.array_equal(many[0], single[0])
    assert many[1] == pytest.approx(single[1], rel=1e-12)


def test_two_players_with_second_derivatives_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    generator, critic = (nn.Dense(2, input_shape=(2,)),
                         nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(1)], input_shape=(2,)))
    players = {"generator": generator, "critic": critic, "g": optim.SGD(0.05), "d": optim.SGD(0.05)}
    start = [p.numpy() for m in (generator, critic) for p in m.parameters().values()]

    def step(batch):
        real, z = batch
        fake = generator(z)
        middle = 0.5 * (real + fake)
        slope = cr.gradients(cr.sum(critic(middle)), middle)
        penalty = cr.mean((cr.sqrt(cr.sum(slope ** 2, axis=1)) - 1) ** 2)
        loss = cr.mean(critic(fake)) - cr.mean(critic(real)) + 10 * penalty
        players["d"].update(critic, cr.gradients(loss, critic, unrelated="zero"))
        mine = -cr.mean(critic(generator(z)))
        players["g"].update(generator, cr.gradients(mine, generator))
        return {"critic": loss, "generator": mine}
    generator(X[:1, :2]), critic(X[:1, :2])
    start = [p.numpy() for m in (generator, critic) for p in m.parameters().values()]
    data = (X[:40, :2].copy(), X[60:, :2].copy())
    history = train.Trainer(step, players).run(data, epochs=2, batch_size=40, shuffle=False, progress=False)

    w, b, w1, b1, w2, b2 = (torch.tensor(p, requires_grad=True) for p in start)
    judge = lambda x: torch.tanh(x @ w1 + b1) @ w2 + b2
    real, z = map(torch.tensor, data)
    for epoch in range(2):
        middle = 0.5 * (real + (z @ w + b))
        slope, = torch.autograd.grad(judge(middle).sum(), middle, create_graph=True)
        loss = judge(z @ w + b).mean() - judge(real).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
        grads = torch.autograd.grad(loss, (w1, b1, w2, b2), allow_unused=True)
        with torch.no_grad():
            for p, g in zip((w1, b1, w2, b2), grads, strict=True):
                p -= 0 if g is None else 0.05 * g
        mine = -judge(z @ w + b).mean()
        for p, g in zip((w, b), torch.autograd.grad(mine, (w, b)), strict=True):
            p.data -= 0.05 * g
        assert history["critic"][epoch] == pytest.approx(loss.item(), rel=1e-4)
        assert history["generator"][epoch] == pytest.approx(mine.item(), rel=1e-4)


def test_a_changed_variable_without_an_owner_is_named() -> None:
    setting = Setting()
    setting.average["0.weight"].name = "an average"
    with pytest.raises(ArgumentError, match=r"none of the named objects has(?s:.)*an average \(3, 8\)"):
        train.Trainer(setting.step, {"model": setting.model, "optimizer": setting.optimizer}).run(DATA, progress=False)


def test_a_step_that_is_not_finite_changes_nothing_and_says_where() -> None:
    setting = Setting()
    held = lambda: [v.numpy() for v in (*setting.model.parameters().values(), *setting.average.values())]
    before = held()
    spoilt = {**DATA, "y": np.where(np.arange(100)[:, None] == 50, np.nan, DATA["y"])}
    with pytest.raises(NonFiniteError, match="epoch 1, step 1"):
        setting.trainer().run(spoilt, batch_size=100, progress=False)
    assert all(np.array_equal(p, q) for p, q in zip(before, held(), strict=True))


def test_a_gradient_that_is_not_finite_is_found_though_the_loss_is() -> None:
    p, optimizer = cr.Variable(np.float32(0.0)), optim.SGD(0.1)

    def step(batch):
        loss = cr.sqrt(p.value) + cr.mean(batch)  # its slope at 0 is infinite
        optimizer.update({"p": p}, cr.gradients(loss, {"p": p}))
        return loss
    with pytest.raises(NonFiniteError):
        train.Trainer(step, {"p": {"p": p}, "optimizer": optimizer}).run(X, progress=False)


def test_mistakes_are_told() -> None:
    setting = Setting()
    run = lambda step, data=DATA, **options: train.Trainer(
        step, {"model": setting.model, "optimizer": setting.optimizer, "average": setting.average}
    ).run(data, progress=False, **options)
    with pytest.raises(ShapeError, match="'loss' is not one number"):
        run(lambda batch: {"loss": batch["x"]})
    with pytest.raises(ArgumentError, match="'loss' is no number"):
        run(lambda batch: {"loss": "small"})
    with pytest.raises(ShapeError, match=r"different numbers of samples(?s:.)*x\.a"):
        run(setting.step, {"x": {"a": X}, "y": X[:3]})
    with pytest.raises(ArgumentError, match="without data an epoch has no end"):
        run(setting.step, None)
    with pytest.raises(DataError, match="hold no batch"):
        run(setting.step, [])
    with pytest.raises(DataError, match="ended in the middle of an epoch"):
        run(setting.step, iter(LISTS), steps_per_epoch=7)
    with pytest.raises(DataError, match="used up"):
        run(setting.step, iter(LISTS), epochs=2)
    with pytest.raises(ArgumentError, match="max_time is a number of seconds"):
        run(setting.step, max_time=-1)
    with pytest.raises(ArgumentError, match="holds no Variables"):
        train.Trainer(setting.step, {"model": 3})
    with pytest.raises(DataError, match="no numbers"):
        run(setting.step, {"x": np.array(["a"]), "y": X[:1]})
    with pytest.raises(BoundsError, match=r"sample|position|row"):
        table = nn.Embedding(3, 2)
        train.Trainer(lambda ids: cr.mean(table(ids)),
                      {"table": table}).run(np.array([0, 1, 2, 5]), batch_size=2, progress=False)


def test_checkpoints_of_other_runs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    Setting().trainer().run(DATA, progress=False, checkpoint=path)
    with pytest.raises(ArgumentError, match="another data set"):
        Setting().trainer().run({**DATA, "x": X + 1}, progress=False, resume=path)
    model = nn.Dense(1)
    cr.fit(model, (X, DATA["y"]), loss="mse", checkpoint=tmp_path / "fit.ckpt", progress=False)
    with pytest.raises(ArgumentError, match="another kind of run"):
        Setting().trainer().run(DATA, progress=False, resume=tmp_path / "fit.ckpt")
    with pytest.raises(ArgumentError, match="written by a Trainer"):
        cr.fit(model, (X, DATA["y"]), loss="mse", resume=path, progress=False)


def test_early_stopping_and_time() -> None:
    setting = Setting()
    history = setting.trainer().run(DATA, epochs=500, progress=False,
                                    callbacks=[train.EarlyStopping("loss", patience=2)])
    assert len(history) < 500
    assert history.kept["epoch"] == history.best("loss")["epoch"]
    assert len(Setting().trainer().run(DATA, epochs=10**6, progress=False, max_time=0.2)) < 10**6


class SavesAtTheEnd(train.Callback):
    """Wants a checkpoint of a run that was stopped in the middle of a step."""

    def __init__(self, path):
        self.path = path

    def end(self, run):
        run.save(self.path)


def test_there_is_no_checkpoint_of_half_a_step(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="stopped in the middle of a step"):
        Setting().trainer().run(DATA, progress=False, callbacks=[Stop(2), SavesAtTheEnd(tmp_path / "run")])


def test_what_stops_a_run_is_heard_after_the_step() -> None:
    """Also where steps could run many at a time: the oracle is the number of steps that were done."""
    class Third(train.Callback):
        def after_step(self, run):
            run.stop = run.step_number >= 3

        def steps_apart(self, run):
            return 3
    trainer = Setting().trainer()
    trainer.run(DATA, epochs=5, batch_size=5, progress=False, callbacks=[Third()])
    assert 3 <= trainer.step_number <= 5
