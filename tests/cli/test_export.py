# SPDX-License-Identifier: Apache-2.0
"""`chainrule export`: what the run says, from a file."""

from __future__ import annotations

import numpy as np
import pytest
from shipping.onnx_runs import run, session
from typer.testing import CliRunner

import chainrule as cr
from chainrule.cli.app import app


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    done = CliRunner().invoke(app, ["train", "digits", "--epochs", "1", "--model", "mlp", "--hidden", "8", "--output",
                                    str(folder), "--progress", "none"])
    assert done.exit_code == 0, done.output
    return folder


def test_a_run_becomes_a_file(trained, tmp_path):
    done = CliRunner().invoke(app, ["export", str(trained), str(tmp_path / "digits.onnx")])
    assert done.exit_code == 0, done.output
    assert "probabilities of 10 classes" in done.output
    saved = cr.load(trained)
    x = np.random.default_rng(0).standard_normal((5, *saved.feature_shape)).astype("float32")
    np.testing.assert_allclose(run(session(tmp_path / "digits.onnx"), [x])[0], saved.outputs(x), rtol=1e-4, atol=1e-6)
