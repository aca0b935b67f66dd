# SPDX-License-Identifier: Apache-2.0
"""Two trainings never write to one checkpoint, or to one log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError

pytest.importorskip("fcntl")
X, Y = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2), np.arange(8) % 2
REFUSED = "another training is writing into this file"
OTHER = """
import sys
import numpy as np, chainrule as cr
from chainrule import nn

class Wait(cr.train.Callback):
    def after_step(self, run):
        print("learning", flush=True)
        sys.stdin.readline()

x = np.zeros((8, 2), np.float32)
cr.fit(nn.Dense(2), (x, np.zeros(8, int)), loss="cross_entropy", batch_size=8, checkpoint="run", callbacks=[Wait()],
       progress=False, backend="reference")
"""


def train(**options):
    return cr.fit(nn.Dense(2), (X, Y), loss="cross_entropy", batch_size=4, progress=False, backend="reference",
                  **options)


@pytest.fixture
def other(tmp_path):
    """A process that is in the middle of a training whose checkpoint is tmp_path/run."""
    with subprocess.Popen([sys.executable, "-c", OTHER], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout.readline() == "learning\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_has_ended(other, tmp_path):
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(ArgumentError, match=REFUSED):
        train(checkpoint=tmp_path / "run")
    with pytest.raises(ArgumentError, match=REFUSED):
        train(callbacks=[cr.train.Checkpoint(tmp_path / "run")])
    (tmp_path / "link").symlink_to("run")
    with pytest.raises(ArgumentError, match=REFUSED):
        train(checkpoint=tmp_path / "link")
    assert (tmp_path / "run").read_bytes() == before
    other.communicate("\n")
    assert other.returncode == 0
    train(checkpoint=tmp_path / "run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "run"]


def test_a_killed_process_holds_nothing(other, tmp_path):
    other.kill()
    other.wait()
    train(checkpoint=tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("log", [cr.train.json_log, cr.train.csv_log])
def test_a_log_belongs_to_one_run_as_well(log, tmp_path):
    path = tmp_path / "log"
    with pytest.raises(ArgumentError, match=REFUSED):
        train(callbacks=[log(path), Act(lambda: train(callbacks=[log(path)]))])
    train(callbacks=[log(path)])
    assert [p.name for p in tmp_path.iterdir()] == ["log"] and path.read_text().count("loss") == 1


class Act(cr.train.Callback):
    def __init__(self, act):
        self.act = act

    def after_step(self, run):
        self.act()


def test_within_one_process_and_after_an_error(tmp_path: Path):
    place = tmp_path / "made" / "run"
    with pytest.raises(ArgumentError, match=REFUSED):
        train(checkpoint=place, callbacks=[Act(lambda: train(checkpoint=place))])
    with pytest.raises(ZeroDivisionError):
        train(checkpoint=place, callbacks=[Act(lambda: 1 / 0)])
    assert [p.name for p in place.parent.iterdir()] == ["run"]
    train(checkpoint=place, callbacks=[Act(lambda: train(checkpoint=tmp_path / "else"))], resume=place)
