# SPDX-License-Identifier: Apache-2.0
"""Model files: what is saved comes back bit for bit; damaged and foreign files are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import errors, io, nn


def model():
    made = nn.Sequential([nn.Conv2D(4, 3, activation="relu", padding="same"), nn.BatchNorm(), nn.MaxPool2D(2),
                          nn.Flatten(), nn.Dropout(0.5), nn.Dense(3)])
    made(np.zeros((1, 6, 6, 2), np.float32))
    return made


def test_round_trip(tmp_path):
    made = model()
    x = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype(np.float32)
    path = cr.save(made, tmp_path / "m.safetensors")
    again = cr.load(path)
    assert {k: v.numpy().tobytes()
            for k, v in again.variables().items()} == {k: v.numpy().tobytes() for k, v in made.variables().items()}
    assert np.array_equal(np.asarray(again(x)), np.asarray(made(x)))


def test_extra_data_travels(tmp_path):
    io.save(model(), tmp_path / "m.safetensors", extra={"names": ["a", "ü"], "x": 0.1})
    assert io.read_model(tmp_path / "m.safetensors")[1] == {"names": ["a", "ü"], "x": 0.1}


def test_unbuilt_model_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match="no weights yet"):
        cr.save(nn.Sequential([nn.Dense(3)]), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b[:-7], lambda b: b"",
                                    lambda b: b"\x80\x04pickle" + b[8:]])
def test_damaged_files_are_named(tmp_path, damage):
    path = cr.save(model(), tmp_path / "m.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(errors.DataError, match=r"m\.safetensors"):
        cr.load(path)


def test_foreign_safetensors_are_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "f.safetensors")
    with pytest.raises(errors.DataError, match="not a model of chainrule"):
        cr.load(tmp_path / "f.safetensors")


def test_missing_file(tmp_path):
    with pytest.raises(errors.DataError, match="no such file"):
        cr.load(tmp_path / "none.safetensors")
