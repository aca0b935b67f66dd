# SPDX-License-Identifier: Apache-2.0
"""Training with bfloat16 products: float32 weights, checkpoints that resume to the bit, and what networks learn."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import errors, nn, optim, train
from chainrule.data.embedded import read_digits

BACKENDS = ("reference", "native")


def network() -> nn.Module:
    return nn.Sequential([nn.Conv2D(8, 3, activation="relu"), nn.BatchNorm(), nn.MaxPool2D(2), nn.Flatten(),
                          nn.Dropout(0.2), nn.Dense(10)])


def data() -> tuple[np.ndarray, np.ndarray]:
    part = read_digits().train
    return part.x[:500].astype(np.float32) / 255, np.asarray(part.y[:500]).astype(np.int64)


def run(model: nn.Module, **options: object) -> train.History:
    settings = {"loss": "cross_entropy", "optimizer": optim.Adam(3e-3), "epochs": 3, "batch_size": 50,
                "progress": False, "precision": "bfloat16"}
    return cr.fit(model, data(), **(settings | options))


def arrays(model: nn.Module) -> list[np.ndarray]:
    return [v.numpy() for v in model.variables().values()]


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_learns_what_float32_learns(backend):
    narrow, wide = run(network(), backend=backend), run(network(), backend=backend, precision="float32")
    assert narrow["loss"][-1] < 0.6 * narrow["loss"][0]
    assert narrow["loss"][-1] == pytest.approx(wide["loss"][-1], rel=0.05)
    assert narrow["loss"][-1] != wide["loss"][-1]


def test_variables_and_results_stay_float32():
    model = network()
    run(model, epochs=1)
    assert {v.dtype for v in model.parameters().values()} == {np.dtype("float32")}
    assert any(np.any(a.view(np.uint32) & 0xFFFF)
               for a in map(np.array, model.parameters().values())), "the weights are not rounded"
    x, y = data()
    predicted = cr.predict(model, x, precision="bfloat16")
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted.numpy(), cr.predict(model, x).numpy(), atol=0.05)
    narrow = cr.evaluate(model, (x, y), loss="cross_entropy", metrics=["accuracy"], precision="bfloat16")
    assert narrow["loss"] == pytest.approx(cr.evaluate(model, (x, y), loss="cross_entropy")["loss"], rel=0.02)


class KillAt(train.Callback):
    """Ctrl-C after a step."""

    def __init__(self, step: int):
        self.step = step

    def after_step(self, run: object) -> None:
        if run.step_number == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, backend):
    whole, resumed = network(), network()
    run(whole, backend=backend, callbacks=[train.Callback()])
    assert run(network(), backend=backend, callbacks=[KillAt(13)], checkpoint=tmp_path / "run").interrupted
    run(resumed, backend=backend, callbacks=[train.Callback()], resume=tmp_path / "run")
    for a, b in zip(arrays(whole), arrays(resumed), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("call", [lambda m: run(m, precision="bf16"),
                                  lambda m: cr.predict(m, data()[0], precision="float16"),
                                  lambda m: cr.evaluate(m, data(), loss="cross_entropy", precision="double")])
def test_unknown_precisions_are_refused(call):
    with pytest.raises(errors.ArgumentError, match="no such precision"):
        call(network())


@pytest.mark.slow
def test_real_data_is_learnt_as_well_as_in_float32(shared_data):
    """The difference of the means over three seeds is within three times the spread that seeds make."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from benchmarks import precision

    images, tokens = precision.digits(shared_data, 6000), precision.text(shared_data)
    runs = {"mnist": lambda p, seed: precision.train_cnn(images, p, seed, 1),
            "gpt": lambda p, seed: precision.train_gpt(tokens, p, seed, 60)}
    for name, train_one in runs.items():
        for key, (wide, narrow, spread) in precision.compare(name, train_one, 3).items():
            assert abs(narrow - wide) <= max(3 * spread, 0.02 * abs(wide)), f"{name}: {key}"
