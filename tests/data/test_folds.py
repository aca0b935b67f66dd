# SPDX-License-Identifier: Apache-2.0
"""Folds, groups, time and duplicates: disjoint and complete, by sets; planted duplicates are found."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import data
from chainrule.errors import ArgumentError, ShapeError


@given(n=st.integers(2, 90), k=st.integers(2, 9), seed=st.integers(0, 99))
def test_every_sample_is_tested_once(n, k, seed):
    if k > n:
        return
    pairs = data.folds(n, k, seed)
    assert sorted(np.concatenate([test for _, test in pairs]).tolist()) == list(range(n))
    for train, test in pairs:
        assert sorted([*train, *test]) == list(range(n))
        assert n // k <= len(test) <= -(-n // k)


def test_folds_keep_the_share_of_each_class():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    for _, test in data.folds(100, 5, stratify=y):
        np.testing.assert_allclose(np.bincount(y[test], minlength=3), [12, 6, 2], atol=1)


@given(seed=st.integers(0, 999))
def test_groups_stay_together(seed):
    groups = np.random.default_rng(seed).integers(0, 12, 80)
    for train, test in data.folds(80, 3, seed, groups=groups):
        assert not set(groups[train]) & set(groups[test])
        assert len(train) + len(test) == 80
    train, test = data.split_groups(groups, (0.7, 0.3), seed)
    assert not set(groups[train]) & set(groups[test]) and len(train) + len(test) == 80
    assert 0.5 < len(train) / 80 < 0.9


def test_time_runs_one_way():
    for train, test in data.time_folds(103, 4, gap=2):
        assert train.max() + 2 < test.min() and train.min() == 0
    assert data.time_folds(103, 4)[-1][1].max() == 102
    train, validation, test = data.split_time(100, (0.6, 0.2, 0.2), gap=3)
    assert (train.max(), validation.min(), validation.max(), test.min(), test.max()) == (59, 63, 79, 83, 99)


def test_splits_are_disjoint_by_hash_and_planted_duplicates_are_reported():
    x = np.random.default_rng(0).random((200, 4, 4, 1), dtype=np.float32)
    train, test = data.split(200, (0.8, 0.2), seed=1)
    hashes = [{hashlib.sha256(sample.tobytes()).digest() for sample in x[part]} for part in (train, test)]
    assert not hashes[0] & hashes[1]
    assert str(data.duplicates(train=x[train], test=x[test])) == "no duplicates"
    planted = x[test].copy()
    planted[[3, 17]] = x[train][[40, 8]]
    planted[5] = planted[6]
    found = data.duplicates(train=x[train], test=planted)
    assert set(found.across) == {(("train", 40), ("test", 3)), (("train", 8), ("test", 17))}
    assert len(found.groups) == 3 and "train[40] = test[3]" in str(found)
    noisy = x[train][:3] + np.float32(1e-6)
    assert len(data.duplicates(decimals=3, train=x[train], test=noisy).across) >= 2
    assert data.duplicates(a=["x", "y"], b=["y"]).across == ((("a", 1), ("b", 0)),)


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: data.folds(3, 4), ArgumentError, "no folds"),
    (lambda: data.folds(4, 2, stratify=[0, 1, 0, 1], groups=[0, 1, 0, 1]), ArgumentError, "not both"),
    (lambda: data.folds(4, 2, groups=[0, 1]), ShapeError, "one label per sample"),
    (lambda: data.split_groups([0, 0, 0], (0.5, 0.5)), ArgumentError, "fewer groups"),
    (lambda: data.split_groups([0, 1, 2], (0.9, 0.5)), ArgumentError, "at most 1"),
    (lambda: data.time_folds(5, 5), ArgumentError, "no folds"),
    (lambda: data.split_time(10, (0.6, 0.6)), ArgumentError, "time cannot"),
])
def test_mistakes_are_told(make, kind, text):
    with pytest.raises(kind, match=text):
        make()
