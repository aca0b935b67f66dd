# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at any point of a run, once and twice: the checkpoint says what is done, and a resumed run has the same bits.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.data import splits
from chainrule.foundations import files
from chainrule.io import tensors
from chainrule.train import stretch

TRACED = (str(Path(train.__file__).parent), splits.__file__, files.__file__, tensors.__file__)
GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(52, 4)).astype(np.float32), GENERATOR.integers(0, 3, 52)


def plain():
    return [train.EarlyStopping(patience=9)]


def averaged():
    return [train.EMA(0.9), optim.Plateau(patience=1), train.Until(steps=11)]


def run(callbacks, **options):
    """(hash of all weights, rows without times) of two epochs of seven steps."""
    model = nn.Sequential([nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(3)])
    history = cr.fit(model, (X, Y), loss="cross_entropy", optimizer=optim.Adam(1e-2), epochs=2, batch_size=8,
                     validation=(X[:9], Y[:9]), metrics=["accuracy"], seed=3, progress=False, backend="native",
                     callbacks=callbacks(), **options)
    bits = hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.variables().values())).hexdigest()
    return history.interrupted, bits, [{k: v for k, v in row.items() if k != "seconds"} for row in history]


class At:
    """Ctrl-C before the line with this number is run; lines of training and of writing files count."""

    def __init__(self, number):
        self.number, self.seen = number, 0

    def __enter__(self):
        sys.settrace(self.call)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def call(self, frame, event, argument):
        return self.line if frame.f_code.co_filename.startswith(TRACED) else None

    def line(self, frame, event, argument):
        self.seen += event == "line"
        if self.seen == self.number:
            self.number = -1
            self.hit(frame)
        return self.line

    def hit(self, frame):
        raise KeyboardInterrupt


class Pressed(At):
    """A real Ctrl-C there, heard as `fit` hears it, and a second one some lines later."""

    def __init__(self, number, again):
        super().__init__(number)
        self.again = again

    def hit(self, frame):
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # within the run
            signal.raise_signal(signal.SIGINT)
        if self.again:
            self.number, self.again = self.seen + self.again, 0


def lines(callbacks, path):
    with At(-1) as counter:
        run(callbacks, checkpoint=path)
    return counter.seen


@pytest.fixture
def three_steps_per_call(monkeypatch):
    """The number of steps in a call follows from the time; here it is fixed, so that lines can be counted."""
    monkeypatch.setattr(stretch.Stretch, "observe", lambda self, steps, seconds: setattr(self, "length", 3))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file interrupted while it was opened
@pytest.mark.parametrize("points", [4, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.parametrize("callbacks", [plain, averaged])
@pytest.mark.parametrize("again", [None, 0, 7, 60])
def test_a_run_interrupted_anywhere_resumes_to_the_same_bits(tmp_path, three_steps_per_call, callbacks, again, points):
    path = tmp_path / "run"
    whole = run(callbacks)
    count = lines(callbacks, path)
    for number in np.random.default_rng(points).integers(1, count, points):
        path.unlink(missing_ok=True)
        try:
            with At(number) if again is None else Pressed(number, again):
                run(callbacks, checkpoint=path)
        except KeyboardInterrupt:
            pass
        assert run(callbacks, resume=path if path.exists()
                   else None) == whole, f"interrupted before line {number} of {count}"
        assert [p.name for p in tmp_path.iterdir() if not p.name.endswith((".part", ".lock"))] in (["run"], [])


class Press(train.Callback):
    """Ctrl-C in a callback, once or twice."""

    def __init__(self, step, times):
        self.step, self.times = step, times

    def after_step(self, run):
        if run.step_number == self.step:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("step", [1, 7, 8, 14])
def test_one_press_is_saved_and_two_leave_the_file_as_it_was(tmp_path, step):
    path, whole = tmp_path / "run", run(plain)
    assert run(lambda: [*plain(), Press(step, 1)], checkpoint=path)[0]
    saved = train.checkpoint.read_state(path)["batches"]
    assert (saved["epoch"] * 7 + saved["step"]) == step
    assert run(lambda: [*plain(), train.Callback()], resume=path) == whole
    assert run(lambda: [*plain(), Press(step, 2)], checkpoint=path)[0]
    saved = train.checkpoint.read_state(path)["batches"]
    assert (saved["epoch"] * 7 + saved["step"]) == (7 if step > 7 else 0)
    assert run(lambda: [*plain(), train.Callback()], resume=path) == whole


def test_there_is_a_checkpoint_before_the_first_step(tmp_path):
    class Look(train.Callback):
        def after_step(self, run):
            assert (tmp_path / "run").exists()

    run(lambda: [Look()], checkpoint=tmp_path / "run")


def test_the_handler_of_ctrl_c_is_as_before(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    mine = lambda number, frame: None

    class Set(train.Callback):
        def after_step(self, run):
            signal.signal(signal.SIGINT, mine)

    try:
        run(lambda: [Press(3, 1)])
        assert signal.getsignal(signal.SIGINT) is before
        run(lambda: [Set()])
        assert signal.getsignal(signal.SIGINT) is mine  # set by the user meanwhile
        run(list)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_outside_the_main_thread_has_the_same_bits():
    found = []
    thread = threading.Thread(target=lambda: found.append(run(plain)))
    thread.start()
    thread.join()
    assert found == [run(plain)]


SCRIPT = """
import os, signal, sys
import numpy as np, chainrule as cr
from chainrule import nn, optim, train
presses, step, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
class Press(train.Callback):
    def after_step(self, run):
        if run.step_number == step:
            for _ in range(presses):
                os.kill(os.getpid(), signal.SIGINT)
generator = np.random.default_rng(0)
x, y = generator.normal(size=(52, 4)).astype("f"), generator.integers(0, 3, 52)
model = nn.Sequential([nn.Dense(6, activation="relu"), nn.Dropout(0.3), nn.Dense(3)])
history = cr.fit(model, (x, y), loss="cross_entropy", epochs=2, batch_size=8, progress="lines", checkpoint=path,
                 resume=path if os.path.exists(path) else None, callbacks=[Press()])
print(history.interrupted, model.variables()["0.weight"].numpy().tobytes().hex())
"""


@pytest.mark.parametrize("presses", [1, 2])
def test_signals_of_the_system(tmp_path, presses):
    def process(presses, step, path):
        done = subprocess.run([sys.executable, "-c", SCRIPT, str(presses), str(step), str(path)], capture_output=True,
                              text=True, check=True, env=os.environ, timeout=120)
        return done.stdout

    whole = process(0, 0, tmp_path / "whole").split()[-1]
    said = process(presses, 9, tmp_path / "run")
    assert ("saved. Go on with" if presses == 1 else "the checkpoint is as it was") in said and "True" in said
    assert process(0, 0, tmp_path / "run").split()[-1] == whole
