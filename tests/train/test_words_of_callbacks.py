# SPDX-License-Identifier: Apache-2.0
"""Callbacks in the words of other libraries, checkpoints that cannot be written, and damaged journals of a search."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train, tuning
from chainrule.errors import ArgumentError, DataError

X, Y = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32), np.arange(8) % 2


def fit(**options):
    return cr.fit(nn.Sequential([nn.Dense(2)]), (X, Y), loss="cross_entropy", progress=False, backend="reference",
                  **options)


@pytest.mark.parametrize(("name", "ours"), [("on_epoch_end", "after_epoch"), ("on_train_begin", "begin"),
                                            ("on_batch_end", "after_step")])
def test_a_method_that_nobody_would_call_is_told(name, ours):
    kinds = [type("Mine", (base,), {name: lambda self, *arguments: None}) for base in (train.Callback, object)]
    for kind in kinds:
        with pytest.raises(ArgumentError, match=rf"(?s){name}.*def {ours}\("):
            fit(callbacks=[kind()])


@pytest.mark.parametrize(("make", "text"), [
    (lambda: train.EarlyStopping(mode="max"), "direction comes from the metric"),
    (lambda: optim.Plateau(mode="max"), "direction comes from the metric"),
    (lambda: train.EarlyStopping(restore_best_weights=True), "restore_best=True"),
    (lambda: train.Checkpoint("c", save_best_only=True), "keeps the best"),
    (lambda: train.EarlyStopping(patiense=3), "patience"), (lambda: optim.Plateau(min_lr=1e-5), "least=")])
def test_an_argument_of_another_library_is_told(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


def test_a_checkpoint_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []

    class Count(train.Callback):
        def after_step(self, run):
            steps.append(run.step_number)

    with pytest.raises(DataError, match="cannot be written"):
        fit(checkpoint=tmp_path / "file" / "c", callbacks=[Count()])
    assert not steps


def test_damaged_journals_are_told(tmp_path):
    path, space = tmp_path / "journal", {"a": tuning.uniform(0.0, 1.0)}
    search = lambda: tuning.tune(lambda trial: trial["a"], space, 3, method="random", repeats=1, journal=path)
    search()
    whole = path.read_bytes()
    lines = whole.split(b"\n")[:-1]
    generator = np.random.default_rng(0)
    damaged = [b"\n".join([*lines[:1], line, *lines[1:], b""])
               for line in (b"[]", b"1", b'{"kind": 3}', b'{"kind": "end", "number": 0}', b"\xff\xfe", b"[" * 100_000)]
    damaged.append(b"\n".join([*lines[:1], *lines[2:], b""]))  # a trial that was not started
    for _ in range(60):
        content = bytearray(whole)
        content[generator.integers(len(content))] = generator.integers(256)
        damaged.append(bytes(content))
    for content in damaged:
        path.write_bytes(content)
        try:
            search()
        except (DataError, ArgumentError) as error:
            assert str(error)
