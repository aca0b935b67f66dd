# SPDX-License-Identifier: Apache-2.0
"""`chainrule train ENVIRONMENT`, `evaluate` and `play`: a run folder that can be used again, and mistakes in words."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import chainrule as cr
from chainrule.cli.app import app
from chainrule.errors import ChainruleError


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, ChainruleError):
        return 1, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.output + result.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("agents") / "run"
    status, said = call("train", "CartPole-v1", "--agent", "a2c", "--steps", "2048", "--copies", "8", "--hidden", "8",
                        "--learning-rate", "0.002", "--seed", "3", "--output", folder, "--progress", "none")
    assert status == 0 and "A2C" in said and "return" in said
    return folder


def test_the_run_folder_holds_the_agent_and_its_settings(run):
    assert {path.name for path in run.iterdir()} >= {"agent.safetensors", "config.toml", "history.jsonl", "result.json",
                                                     "learning_curves.png"}
    agent = cr.load(run / "agent.safetensors")
    assert isinstance(agent, cr.rl.A2C) and agent.hidden == (8,) and agent.learning_rate == 0.002
    direct = cr.rl.A2C(hidden=(8,), learning_rate=0.002)
    direct.fit(cr.rl.make("CartPole-v1", batch=8), 2048, seed=3, progress=False)
    for name, variable in direct.variables().items():
        np.testing.assert_array_equal(agent.variables()[name].numpy(), variable.numpy(), err_msg=name)
    result = json.loads((run / "result.json").read_text())["return"]
    assert result["low"] <= result["value"] <= result["high"]


def test_it_is_evaluated_played_and_run_again(run, tmp_path):
    value = json.loads((run / "result.json").read_text())["return"]["value"]
    status, said = call("evaluate", run)
    assert status == 0 and f"{value:.4g}" in said and "475" in said
    status, said = call("play", run, "--seed", "4")
    assert status == 0 and f"{len(cr.rl.play(cr.load(run / 'agent.safetensors'), 'CartPole-v1', seed=4))} steps" in said
    assert call("train", "--config", run, "--output", tmp_path / "b", "--progress", "none")[0] == 0
    assert (tmp_path / "b" / "agent.safetensors").read_bytes() == (run / "agent.safetensors").read_bytes()
    assert call("train", "--resume", tmp_path / "b", "--progress", "none")[0] == 0
    assert (tmp_path / "b" / "agent.safetensors").read_bytes() == (run / "agent.safetensors").read_bytes()


def test_a_gif_is_written(run, tmp_path):
    image = pytest.importorskip("PIL.Image")
    assert call("play", run, "--gif", tmp_path / "a.gif", "--steps", "5")[0] == 0
    with image.open(tmp_path / "a.gif") as gif:
        assert 2 <= gif.n_frames <= 6


@pytest.mark.parametrize(("arguments", "word"), [
    (("train", "CartPole-v7"), "CartPole-v1"), (("train", "CartPole-v1", "--epochs", "3"), "--epochs"),
    (("train", "digits", "--steps", "3"), "--steps"),
    (("train", "CartPole-v1", "--agent", "poo"), "ppo"), (("train", "CartPole-v1", "--steps", "0"), "--steps"),
    (("train", "CartPole-v1", "--copies", "0"), "--copies"),
    (("train", "CartPole-v1", "--hidden", "0"), "--hidden"),
    (("train", "CartPole-v1", "--learning-rate", "-1"), "--learning-rate"),
    (("train", "CartPole-v1", "--seed", "-1"), "--seed"),
    (("train", "Pendulum-v1", "--agent", "dqn"), "Discrete"), (("train", "CartPole-v1", "--agent", "sac"), "PPO"),
    (("train", "CartPole-v1", "--backend", "cuda"), "backend"),
    (("play", "absent"), "no run of an agent"),
])
def test_mistakes_are_told_before_anything_is_written(arguments, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = call(*arguments)
    assert status in (1, 2) and word in said and not list(tmp_path.iterdir())


def test_what_belongs_to_data_is_refused_for_an_agent(run):
    assert "its own environment" in call("evaluate", run, "digits")[1]
    assert "--resume" in call("train", "--resume", run, "--steps", "5")[1]
