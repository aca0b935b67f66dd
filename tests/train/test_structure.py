# SPDX-License-Identifier: Apache-2.0
"""Several inputs and outputs: what `fit` does with nested data is what a loop written by hand does, and what does not
fit is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.errors import ArgumentError, ChainruleError, NonFiniteError, ShapeError

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(90, 3)).astype("float32"), RNG.normal(size=(90, 2)).astype("float32")
NUMBER, LABEL = A[:, :1] - B[:, 1:], (A[:, 1] > 0).astype("int64")


class Two(nn.Module):
    """Two inputs, a number and a class as outputs."""

    def __init__(self, kind: str = "dict"):
        cr.random.seed(3)
        self.body, self.number, self.label, self.kind = nn.Dense(8, activation="tanh"), nn.Dense(1), nn.Dense(2), kind

    def forward(self, a, b):
        h = self.body(cr.concat([a, b], axis=1))
        found = {"number": self.number(h), "label": self.label(h)}
        return found if self.kind == "dict" else tuple(found.values())


DICT = ({"a": A, "b": B}, {"number": NUMBER, "label": LABEL})
TUPLE = ((A, B), (NUMBER, LABEL))
LOSS = {"number": "mse", "label": "cross_entropy"}
OPTIONS = {"optimizer": "adam", "epochs": 3, "batch_size": 20, "progress": False, "seed": 1}


def bits(model):
    return [v.numpy() for v in model.parameters().values()]


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(bits(a), bits(b), strict=True))


def built(kind: str = "dict") -> Two:
    model = Two(kind)
    model(A[:1], B[:1])
    return model


def test_nested_data_train_as_a_loop_written_by_hand() -> None:
    model, loop, optimizer = built(), built(), optim.Adam()
    history = cr.fit(model, DICT, loss=LOSS, loss_weights={"label": 0.5}, **OPTIONS)

    def step(a, b, number, label):
        outputs = loop(a, b, training=True)
        mse, entropy = (cr.losses.mean_squared_error(outputs["number"], number),
                        cr.losses.cross_entropy(outputs["label"], label))
        optimizer.update(loop, cr.gradients(mse + 0.5 * entropy, loop))
        return mse, entropy
    batches, rows = cr.data.Batches(90, 20, seed=1), []
    while batches.epoch < 3:
        found = [(len(i), *(float(x.item()) for x in step(A[i], B[i], NUMBER[i], LABEL[i]))) for i in batches]
        count, mse, entropy = np.array(found).T
        rows.append((mse @ count / 90, entropy @ count / 90))
    np.testing.assert_allclose(np.array(rows).T, [history["number_loss"], history["label_loss"]], rtol=1e-4)
    np.testing.assert_allclose(history["loss"], [m + 0.5 * e for m, e in rows], rtol=1e-4)
    for p, q in zip(bits(model), bits(loop), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)


def test_tuples_and_dicts_are_the_same_and_many_steps_per_call_are_single_ones() -> None:
    named, placed, single = built(), built("tuple"), built()

    class Watch(train.Callback):
        def after_step(self, run):
            pass
    cr.fit(named, DICT, loss=LOSS, **OPTIONS)
    cr.fit(placed, TUPLE, loss=("mse", "cross_entropy"), **OPTIONS)
    cr.fit(single, DICT, loss=LOSS, callbacks=[Watch()], **OPTIONS)
    assert same(named, placed)
    assert same(named, single)


@pytest.mark.parametrize("backend", ["native", "reference", "xla"])
def test_metrics_and_validation_by_output(backend: str) -> None:
    if backend == "xla":
        pytest.importorskip("jax")
    model = built()
    history = cr.fit(model, DICT, loss=LOSS, metrics={"label": ["accuracy"], "number": "mae"}, validation=DICT,
                     backend=backend, **OPTIONS)
    assert list(history.rows[-1]) == ["epoch", "loss", "number_loss", "label_loss", "label_accuracy", "number_mae",
                                      "validation_loss", "validation_number_loss",
                                      "validation_label_loss", "validation_label_accuracy", "validation_number_mae",
                                      "seconds"]
    outputs = cr.predict(model, DICT[0], backend=backend, batch_size=40)
    assert set(outputs) == {"number", "label"} and outputs["number"].shape == (90, 1)
    found = cr.evaluate(model, DICT, loss=LOSS, metrics={"label": ["accuracy"]}, backend=backend, batch_size=32)
    assert float(found["label_accuracy"]) == pytest.approx(float((outputs["label"].numpy().argmax(1) == LABEL).mean()))
    assert float(found["number_loss"]) == pytest.approx(float(((outputs["number"].numpy() - NUMBER) ** 2).mean()),
                                                        rel=1e-5)
    assert float(found["loss"]) == pytest.approx(float(found["number_loss"]) + float(found["label_loss"]), rel=1e-6)
    kept = history.kept["validation_loss"]
    assert float(found["loss"]) == pytest.approx(kept, rel=1e-5)


def test_one_metric_list_holds_for_each_output() -> None:
    data = (A, {"one": NUMBER, "two": B})

    class Heads(nn.Module):
        def __init__(self):
            self.one, self.two = nn.Dense(1), nn.Dense(2)

        def forward(self, x):
            return {"one": self.one(x), "two": self.two(x)}
    history = cr.fit(Heads(), data, loss="mse", metrics=["mae"], progress=False)
    assert {"one_loss", "two_loss", "one_mae", "two_mae"} <= set(history.rows[0])


def test_weights_by_output_leave_out_what_has_none() -> None:
    weights = {"number": np.ones(90, "float32"), "label": (np.arange(90) % 3 == 0).astype("float32")}
    spoilt = np.where(weights["label"] == 0, 1 - LABEL, LABEL)
    one, other = built(), built()
    a = cr.fit(one, (*DICT, weights), loss=LOSS, **OPTIONS)
    b = cr.fit(other, (DICT[0], {"number": NUMBER, "label": spoilt}, weights), loss=LOSS, **OPTIONS)
    assert same(one, other) and a["label_loss"] == b["label_loss"]
    found = cr.evaluate(one, (*DICT, weights), loss=LOSS, batch_size=7)
    kept = weights["label"] > 0
    alone = cr.losses.cross_entropy(cr.predict(one, DICT[0])["label"].numpy()[kept], LABEL[kept])
    assert float(found["label_loss"]) == pytest.approx(float(alone.item()), rel=1e-5)


def test_a_part_without_weights_in_a_batch_does_not_spoil_the_step() -> None:
    weights = {"number": np.ones(90, "float32"), "label": np.r_[np.zeros(60), np.ones(30)].astype("float32")}
    history = cr.fit(built(), (*DICT, weights), loss=LOSS, shuffle=False, **{**OPTIONS, "batch_size": 10})
    assert np.isfinite(history["loss"]).all()


KILLED = """
import sys, os, signal
sys.path.insert(0, {tests!r})
from test_structure import *

class Kill(train.Callback):
    def after_step(self, run):
        if run.step_number == 8:
            os.kill(os.getpid(), signal.SIGKILL)

cr.fit(built(), DICT, loss=LOSS, metrics={{"label": ["accuracy"]}}, checkpoint={path!r},
       callbacks=[train.Checkpoint({path!r}, every_steps=3), Kill()], **OPTIONS)
"""


def test_a_killed_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    code = KILLED.format(tests=str(Path(__file__).parent), path=path)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    whole, resumed = built(), built()
    options = {"loss": LOSS, "metrics": {"label": ["accuracy"]}, **OPTIONS}
    a, b = (cr.fit(whole, DICT, **options),
            cr.fit(resumed, DICT, resume=path, callbacks=[train.Checkpoint(tmp_path / "b", every_steps=100)],
                   **options))
    assert same(whole, resumed)
    drop = lambda history: [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    assert drop(a) == drop(b)


def test_it_is_what_pytorch_does() -> None:
    torch = pytest.importorskip("torch")
    model = built()
    start = {name: torch.tensor(v.numpy(), requires_grad=True) for name, v in model.parameters().items()}
    cr.fit(model, DICT, loss=LOSS, loss_weights={"number": 2.0}, optimizer=optim.SGD(0.1), epochs=3, batch_size=90,
           shuffle=False, progress=False)
    for _ in range(3):
        h = torch.tanh(torch.cat([torch.tensor(A), torch.tensor(B)], 1) @ start["body.weight"] + start["body.bias"])
        loss = 2 * torch.nn.functional.mse_loss(h @ start["number.weight"] + start["number.bias"], torch.tensor(NUMBER))
        loss = loss + torch.nn.functional.cross_entropy(h @ start["label.weight"] + start["label.bias"],
                                                        torch.tensor(LABEL))
        loss.backward()
        with torch.no_grad():
            for p in start.values():
                p -= 0.1 * p.grad
                p.grad = None
    for name, v in model.parameters().items():
        np.testing.assert_allclose(v.numpy(), start[name].detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("data", "options", "text"), [
    (({"a": A, "b": B[:80]}, DICT[1]), {}, r"x\.b has another number of samples(?s:.)*80(?s:.)*90"),
    ((DICT[0], {"number": NUMBER}), {"loss": LOSS}, r"the targets have no part 'label'"),
    (DICT, {"loss": {"numbr": "mse"}}, r"have no part 'numbr'(?s:.)*number, label"),
    (DICT, {"metrics": {"lable": ["accuracy"]}}, r"the metric accuracy belongs to 'lable'"),
    (DICT, {"loss_weights": {"label": -1}}, r"loss weight of 'label'"),
    (DICT, {"loss_weights": {"x": 1}}, r"belongs to no loss"),
    (DICT, {"loss": {"label": None}}, r"no output has a loss"),
    ((*DICT, {"number": -np.ones(90)}), {}, r"sample weight of the training data \(number\) is negative"),
    (({"a": A, "b": {}}, DICT[1]), {}, r"empty dict"),
    ((DICT[0], {"number": NUMBER[:, 0], "label": LABEL}), {}, r"(?s)\(20, 1\)|\(20,\)"),
])
def test_what_does_not_fit_is_named(data, options, text: str) -> None:
    with pytest.raises(ChainruleError, match=text):
        cr.fit(built(), data, **{"loss": LOSS, **OPTIONS, **options})


def test_progress_directions_and_stopping_know_the_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    history = cr.fit(built(), DICT, loss=LOSS, metrics={"label": ["accuracy"]}, validation=0.2,
                     callbacks=[train.EarlyStopping("validation_label_loss")], **{**OPTIONS, "progress": "lines"})
    assert "label_accuracy" in capsys.readouterr().out
    assert history.best("validation_label_accuracy")["validation_label_accuracy"] == max(
        history["validation_label_accuracy"]
    )
    assert history.best("number_loss")["number_loss"] == min(history["number_loss"])


def test_rates_and_folds_take_nested_data() -> None:
    model = built()
    before = bits(model)
    found = train.lr_find(model, DICT, loss=LOSS, steps=30)
    assert 1e-6 < found.suggestion < 10 and all(np.array_equal(p, q) for p, q in zip(before, bits(model), strict=True))
    scores = train.cross_validate(built, DICT, loss=LOSS, metrics={"label": ["accuracy"]}, parts=3, epochs=2,
                                  loss_weights={"number": 2})
    assert {"loss", "number_loss", "label_loss", "label_accuracy"} == set(scores)


def test_what_needs_one_array_says_so() -> None:
    with pytest.raises(ArgumentError, match="one array of labels"):
        cr.fit(built(), DICT, loss=LOSS, class_weight="balanced", progress=False)
    with pytest.raises(ArgumentError, match="one array of inputs"):
        cr.fit(built(), DICT, loss=LOSS, augment=cr.augment.Flip(), progress=False)


def test_a_value_that_is_not_finite_is_named_by_its_part() -> None:
    spoilt = np.where(np.arange(90)[:, None] == 5, np.nan, B).astype("float32")
    with pytest.raises(NonFiniteError, match="the inputs b"):
        cr.fit(built(), ({"a": A, "b": spoilt}, DICT[1]), loss=LOSS, **OPTIONS)


# ---- sequences of different lengths

SEQUENCES = [RNG.normal(size=(n, 2)).astype("float32") for n in RNG.integers(1, 7, size=30)]
SUMS = np.array([s[:, :1].sum(0) for s in SEQUENCES], "float32")


def recurrent(tokens: bool = False):
    cr.random.seed(1)
    model = nn.Sequential([nn.GRU(6, return_sequences=tokens), nn.Dense(1)])
    model(SEQUENCES[0][None])
    return model


def test_sequences_of_different_lengths_are_predicted_as_one_by_one() -> None:
    model = recurrent()
    cr.fit(model, (SEQUENCES, SUMS), loss="mse", epochs=3, batch_size=8, progress=False)
    together = cr.predict(model, SEQUENCES, batch_size=7).numpy()
    alone = np.concatenate([model(s[None]).numpy() for s in SEQUENCES])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    loss = float(cr.evaluate(model, (SEQUENCES, SUMS), loss="mse", batch_size=9)["loss"])
    assert loss == pytest.approx(float(((alone - SUMS) ** 2).mean()), rel=1e-5)


def test_targets_of_each_step_count_where_the_step_exists() -> None:
    model, targets = recurrent(tokens=True), [s[:, :1] * 2 for s in SEQUENCES]
    cr.fit(model, (SEQUENCES, targets), loss="mse", epochs=2, batch_size=8, progress=False)
    outputs = [model(s[None]).numpy()[0] for s in SEQUENCES]
    mean = np.concatenate([(o - t) ** 2 for o, t in zip(outputs, targets, strict=True)]).mean()
    assert float(cr.evaluate(model, (SEQUENCES, targets), loss="mse", metrics=["mse"],
                             batch_size=9)["loss"]) == pytest.approx(float(mean), rel=1e-5)


def test_lengths_are_never_dropped_silently() -> None:
    class Flat(nn.Module):
        def __init__(self):
            self.dense = nn.Dense(1)

        def forward(self, x):
            return self.dense(cr.mean(x, axis=1))
    with pytest.raises(ArgumentError, match="lengths of x would be lost"):
        cr.fit(Flat(), (SEQUENCES, SUMS), loss="mse", progress=False)
    pooled = nn.Sequential([nn.AvgPool1D(2), nn.GRU(2), nn.Dense(1)])
    with pytest.raises(ArgumentError, match=r"layer 0, AvgPool1D(?s:.)*lengths of the sequences would be lost"):
        cr.fit(pooled, (SEQUENCES, SUMS), loss="mse", progress=False)
    with pytest.raises(ShapeError, match="entry 1 of x"):
        cr.predict(recurrent(), [np.zeros((2, 2), "f4"), np.zeros((3, 4), "f4")])
