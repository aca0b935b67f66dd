# SPDX-License-Identifier: Apache-2.0
"""`train --devices`: what is learnt on two devices is what one learns, and what does not fit is told before the work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from chainrule.cli.app import app


def train(folder: Path, *options: str) -> list[float]:
    """The losses of two epochs, in a process of its own: a processor is divided before JAX begins."""
    command = [sys.executable, "-m", "chainrule", "train", "digits", "--epochs", "2", "--model", "mlp", "--hidden",
               "16",
               "--output", str(folder), "--progress", "none", *options]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    return [json.loads(line)["loss"] for line in (folder / "history.jsonl").read_text().splitlines()]


def test_two_devices_learn_what_one_does(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    one, two = train(tmp_path / "one", "--backend", "xla"), train(tmp_path / "two", "--devices", "2")
    np.testing.assert_allclose(two, one, rtol=1e-4)
    assert "devices = 2" in (tmp_path / "two" / "config.toml").read_text()


@pytest.mark.parametrize(("options", "text"), [(["--devices", "2", "--backend", "native"], "belong to the xla backend"),
                                               (["--devices", "0"], "--devices is too small")])
def test_what_does_not_fit(options: list[str], text: str) -> None:
    result = CliRunner().invoke(app, ["train", "digits", *options])
    assert result.exit_code and text in str(result.exception)
