# SPDX-License-Identifier: Apache-2.0
"""`chainrule doctor`: what a bug report needs, and an exit status that tells whether programs compute."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import chainrule
from chainrule.cli import doctor
from chainrule.cli.app import app


def call(*arguments):
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_json_holds_what_is_here():
    done = call("--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["chainrule"]["version"] == chainrule.__version__ and found["python"]["numpy"] == np.__version__
    assert tuple(found) == doctor.SECTIONS
    assert all(text.startswith(("works", "needs")) for text in found["backends"].values()), found["backends"]


def test_lines_have_every_section():
    done = call()
    assert done.exit_code == 0
    assert [line for line in done.stdout.splitlines() if not line.startswith(" ")] == list(doctor.SECTIONS)


@pytest.mark.parametrize("folder", ["off", "absent/below"])
def test_a_cache_that_is_not_there(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE", folder if folder == "off" else str(tmp_path / folder))
    cache = doctor.environment()["cache"]
    assert ("none" in cache["folder"]) == (folder == "off")
    assert folder == "off" or cache["may be written"] == "yes"


def test_a_backend_that_computes_wrongly_is_told(monkeypatch):
    monkeypatch.setattr("chainrule.compiler.compile.compile", lambda function, backend: lambda x: x)
    done = call("--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["backends"]["native"].startswith("wrong by")


def test_a_backend_that_fails_is_told(monkeypatch):
    def compile(function, backend):
        raise RuntimeError("no room")
    monkeypatch.setattr("chainrule.compiler.compile.compile", compile)
    assert doctor.environment()["backends"]["reference"] == "fails: RuntimeError: no room"
