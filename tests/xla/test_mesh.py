# SPDX-License-Identifier: Apache-2.0
"""A mesh of eight devices gives what one device gives, however Variables and batches are cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.foundations.config import BACKENDS

pytest.importorskip(BACKENDS["xla"])

HERE = Path(__file__).parent
EIGHT = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": str(HERE.parents[1]),
         "JAX_PLATFORMS": "cpu"}


def run(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], env=EIGHT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(("network", "meshes"), [
    ("perceptron", ["copies", "fully_sharded", "two axes"]), ("transformer", ["tensor"]),
    pytest.param("transformer", ["copies", "fully_sharded", "sequence"], marks=pytest.mark.slow),
    pytest.param("recurrent", ["copies", "fully_sharded"], marks=pytest.mark.slow),
    pytest.param("residual", ["copies", "fully_sharded"], marks=pytest.mark.slow)])
def test_twenty_steps_are_those_of_one_device(network, meshes):
    found = json.loads(run(str(HERE / "eight_devices.py"), network, *meshes))
    for name, measured in found.items():
        losses, weights, predictions = measured["apart"]
        # twenty BatchNorms over 16 samples amplify rounding
        near, nearly = (1e-5, 1e-4) if network != "residual" else (1e-3, 1e-2)
        assert losses < 1e-5 and weights < near and predictions < nearly, (name, measured)
        assert (measured["cut"] > 0) == (name in ("fully_sharded", "two axes", "tensor")), (name, measured)


def test_a_compiled_function_is_cut_and_communicates():
    code = """
import numpy as np, chainrule as cr
x = np.arange(32, dtype="float32").reshape(16, 2)
w = cr.Variable(np.ones((2, 4), "float32"), name="w")
step = cr.compile(lambda x: cr.sum(cr.exp(x @ w * 0.01)))
alone = float(step(x))
with cr.distribute(data=8):
    there = float(step(x))
    entry = list(step.entries.values())[-1]
    assert entry.backend == "xla" and entry.program.collectives()["all-reduce"] == 1, entry.program.collectives()
    odd = float(step(x[:3]))  # cannot be cut: every device computes it
assert abs(there - alone) < 1e-4 * alone
assert float(step(x)) == alone and list(step.entries.values())[0].backend == "native"
assert abs(odd - float(step(x[:3]))) < 1e-4
with cr.distribute(data=2) as mesh:
    v = cr.Variable(np.zeros((4, 2), "float32"), name="v")
    mesh.place({"v": ("data", None)}, {"v": v})
    move = cr.compile(lambda x: v.assign(v + x))
    move(np.ones((4, 2), "float32"))
    assert len(v._remote.sharding.device_set) == 2
on_one = cr.compile(lambda: cr.sum(v * 2), backend="xla")
assert float(on_one()) == 16.0
np.testing.assert_array_equal(v.numpy(), 1)
"""
    run("-c", code)


def test_too_few_devices_and_wrong_words():
    with pytest.raises(ArgumentError, match="not so many devices"):
        cr.distribute(data=4096)
    for options in ({"data": 0}, {"data": True}, {"model": 1.5}, {"strategy": "copy"}):
        with pytest.raises(ArgumentError):
            cr.distribute(**options)


def test_placements_that_fit_nothing_are_refused():
    model = nn.Dense(4, input_shape=(2,))
    mesh = cr.distribute()
    for patterns, words in (({"wieght": (None, "model")}, "no Variable"),
                            ({"weight": (None, None, "model")}, "fewer axes"),
                            ({"weight": ("modle",)}, "no such axis")):
        with pytest.raises(ArgumentError, match=words):
            mesh.shard(patterns, model)
    with pytest.raises(ArgumentError, match="no mesh"):
        cr.fit(model, (np.ones((4, 2), "float32"), np.ones((4, 4), "float32")), loss="mse",
               shard={"weight": (None, "model")}, progress=False)


def test_a_plan_counts_what_each_device_holds():
    model = nn.Sequential([nn.Dense(8, input_shape=(4,)), nn.Dense(2)])
    bytes_of = lambda *shapes: 4 * sum(int(np.prod(shape)) for shape in shapes)
    whole = cr.mesh.Mesh({"data": 2, "model": 2, "sequence": 1}).plan(model)
    assert (whole.variables, whole.gradients,
            whole.slots) == (bytes_of((4, 8), (8,), (8, 2), (2,)),) * 2 + (2 * bytes_of((4, 8), (8,), (8, 2), (2,)),)
    cut = cr.mesh.Mesh({"data": 2, "model": 2, "sequence": 1}, "fully_sharded").plan(model, slots=0)
    assert cut.bytes == whole.variables // 2 * 2 // 1 and "fully_sharded" in whole.fits(10)
    mesh = cr.mesh.Mesh({"data": 1, "model": 2, "sequence": 1})
    mesh.shard({"0.weight": (None, "model")}, model, optim.Adam(1e-3))
    assert mesh.plan(model, slots=0).variables == bytes_of((4, 4), (8,), (8, 2), (2,))
