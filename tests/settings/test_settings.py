# SPDX-License-Identifier: Apache-2.0
"""Typed settings: round trips through TOML and JSON, changes from a command line, mistakes, and a run from its file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn, optim, settings
from chainrule.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Model:
    hidden: tuple[int, ...] = (16,)
    activation: Literal["relu", "tanh"] = "relu"
    dropout: float | None = None


@dataclass(frozen=True)
class Config:
    name: str = "run"
    epochs: int = 2
    learning_rate: float = 1e-2
    shuffle: bool = True
    limits: dict[str, float] = field(default_factory=dict)
    size: tuple[int, float] = (1, 0.5)
    model: Model = Model()


texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
floats = st.floats(allow_nan=False)
configs = st.builds(Config, texts, st.integers(-2**60, 2**60), floats, st.booleans(),
                    st.dictionaries(texts, floats, max_size=3), st.tuples(st.integers(-9, 9), floats),
                    st.builds(Model, st.lists(st.integers(1, 99), max_size=4).map(tuple),
                              st.sampled_from(["relu", "tanh"]), st.none() | floats))


@given(config=configs)
def test_files_give_the_record_back(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("s")
    assert settings.read(Config, settings.write(config, folder / "c.toml")) == config
    finite = all(map(math.isfinite, (config.learning_rate, config.size[1], config.model.dropout or 0,
                                     *config.limits.values())))
    if finite:
        assert settings.read(Config, settings.write(config, folder / "c.json")) == config


def test_changes_as_on_a_command_line():
    changed = settings.override(Config(model=Model(dropout=0.5)),
                                ["learning_rate=1", "model.hidden=[64, 32]", "name=first try", "shuffle=false",
                                 "model.dropout=none"])
    assert changed == Config(name="first try", learning_rate=1.0, shuffle=False, model=Model((64, 32)))
    assert isinstance(changed.learning_rate, float)


@pytest.mark.parametrize(("make", "text"), [
    (lambda: settings.override(Config(), ["learning_rat=1"]), "did you mean 'learning_rate'"),
    (lambda: settings.override(Config(), ["model.hiden=[1]"]), "did you mean 'hidden'"),
    (lambda: settings.override(Config(), ["epochs=1.5"]), "expected  int"),
    (lambda: settings.override(Config(), ["epochs=none"]), "cannot be None"),
    (lambda: settings.override(Config(), ["model.activation=sigmoid"]), "relu"),
    (lambda: settings.override(Config(), ["shuffle=1"]), "expected  bool"),
    (lambda: settings.override(Config(), ["epochs"]), "name=value"),
    (lambda: settings.override(Config(), ["model.hidden=[1, true]"]), r"model\.hidden\[1\]"),
])
def test_mistakes_are_told(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


def test_damaged_files_are_named(tmp_path):
    for name, content, text in (("a.toml", "epochs = ", "not a TOML"), ("b.json", "{", "not a JSON"),
                                ("c.toml", "epoch = 3", "did you mean 'epochs'"), ("d.json", "[1]", "no settings")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=text):
            settings.read(Config, tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        settings.read(Config, tmp_path / "e.toml")


def test_a_run_is_repeated_from_its_file(tmp_path):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, 4)).astype(np.float32), generator.integers(0, 3, 64)

    def run(config):
        model = nn.Sequential([*[nn.Dense(n, activation=config.model.activation) for n in config.model.hidden],
                               nn.Dropout(config.model.dropout or 0.0), nn.Dense(3)])
        cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(config.learning_rate), epochs=config.epochs,
               shuffle=config.shuffle, progress=False, backend="reference")
        return np.concatenate([v.numpy().ravel() for v in model.parameters().values()])
    first = Config(epochs=3, model=Model((8, 8), "tanh", 0.25))
    np.testing.assert_array_equal(run(settings.read(Config, settings.write(first, tmp_path / "config.toml"))),
                                  run(first))
