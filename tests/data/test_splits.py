# SPDX-License-Identifier: Apache-2.0
"""Splits and batches: counts and shares in closed form, and the same order again after a restore."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import Batches, Loader, folds, permutation, split
from chainrule.errors import ArgumentError


def test_permutation_is_fixed_for_ever():
    # a change here means that saved runs no longer resume exactly
    assert permutation(10, 0).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert permutation(10, 0, 1).tolist() == [5, 3, 7, 8, 2, 4, 1, 0, 6, 9]
    assert sorted(permutation(1000, 7)) == list(range(1000))


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**64 - 1), st.floats(0.0, 1.0))
def test_split_is_disjoint_and_complete(n, seed, share):
    first, second = split(n, (share, 1 - share), seed)
    assert sorted([*first, *second]) == list(range(n))
    assert abs(len(first) - share * n) <= 1
    np.testing.assert_array_equal(first, split(n, (share, 1 - share), seed)[0])


@settings(deadline=None)
@given(st.lists(st.integers(2, 60), min_size=1, max_size=8), st.integers(0, 1000))
def test_stratified_split_keeps_the_share_of_each_class(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)[permutation(sum(sizes), seed)]
    train, test = split(len(labels), (0.8, 0.2), seed, stratify=labels)
    # half a sample by rounding each class, the rest by rounding all of them together
    for label, size in enumerate(sizes):
        bound = 0.5 + (len(sizes) + 1) / 2 * size / sum(sizes)
        assert abs((labels[test] == label).sum() - 0.2 * size) <= bound
        assert (labels[train] == label).any()


def test_samples_instead_of_their_number_and_one_share_instead_of_two():
    x = np.zeros((10, 3))
    for a, b in ((split(x, (0.8, 0.2)), split(10, (0.8, 0.2))), (split(10, 0.8), split(10, (0.8, 0.2))),
                 (folds(x, 2)[1], folds(10, 2)[1])):
        for mine, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(mine, other)
    with pytest.raises(ArgumentError, match="not a number of samples"):
        split(10.5, 0.8)


def test_counts_instead_of_shares():
    parts = split(10, (7, 2, 1), seed=3)
    assert [len(part) for part in parts] == [7, 2, 1]


@pytest.mark.parametrize("fractions", [(0.8, 0.4), (9, 3), (-0.1, 0.5), ()])
def test_split_refuses_shares_that_do_not_fit(fractions):
    with pytest.raises(ArgumentError, match="fractions of the split"):
        split(10, fractions)


def test_split_refuses_labels_of_another_length():
    with pytest.raises(ArgumentError, match="one entry for each sample"):
        split(np.zeros((6, 2)), np.array([0, 1, 1, 0, 1, 0]))
    with pytest.raises(ArgumentError, match="one label per sample"):
        split(10, (0.5, 0.5), stratify=[0, 1])


def test_an_epoch_has_every_sample_once_and_epochs_differ():
    batches = Batches(np.zeros(103), 10, seed=4)
    first, second = list(batches), list(batches)
    assert len(batches) == 11 and [len(batch) for batch in first] == [10] * 10 + [3]
    assert sorted(np.concatenate(first)) == list(range(103))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()
    assert (batches.epoch, batches.step) == (2, 0)


def test_drop_last_and_no_shuffle():
    assert [batch.tolist() for batch in Batches(7, 3, shuffle=False, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("stop", [0, 1, 5, 6, 9, 12])
def test_restore_goes_on_exactly(stop):
    whole = [batch.tolist() for batch in two_epochs(Batches(50, 8, seed=9))]
    batches, taken, state = Batches(50, 8, seed=9), [], None
    for batch in two_epochs(batches):
        taken.append(batch.tolist())
        if len(taken) == stop:
            state = json.loads(json.dumps(batches.state()))
            break
    resumed = Batches(50, 8, seed=9)
    resumed.restore(state or Batches(50, 8, seed=9).state())
    assert (taken if state else []) + [batch.tolist() for batch in two_epochs(resumed)] == whole


def two_epochs(batches):
    while batches.epoch < 2:
        yield from batches


def test_restore_refuses_other_batches():
    with pytest.raises(ArgumentError, match="other batches") as told:
        Batches(50, 8).restore(Batches(50, 4).state())
    assert "batch_size 4" in str(told.value)


@pytest.mark.parametrize("arrays, size", [((np.zeros(3), np.zeros(4)), 2), (3, 0), (0, 2)])
def test_batches_refuse_what_cannot_be(arrays, size):
    with pytest.raises(ArgumentError):
        Batches(arrays, size)


def test_batches_without_a_full_batch_are_refused():
    with pytest.raises(ArgumentError, match="no batch"):
        Batches(3, 4, drop_last=True)


def test_a_negative_seed_is_refused():
    with pytest.raises(ArgumentError, match="seed"):
        permutation(3, -1)


@pytest.mark.parametrize("seed", [1.5, -1, 2**64, "a", None])
def test_what_is_no_seed_is_told(seed):
    for make in (lambda: permutation(5, seed), lambda: Loader([1, 2, 3], seed=seed)):
        with pytest.raises(ArgumentError, match="the seed cannot be used"):
            make()


def test_what_is_no_place_is_told():
    for thing in (Batches(5, 2), Loader([1, 2, 3])):
        with pytest.raises(ArgumentError, match="no saved place"):
            thing.restore([1, 2])
