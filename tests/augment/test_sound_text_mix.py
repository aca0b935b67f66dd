# SPDX-License-Identifier: Apache-2.0
"""Sound, text and mixing: closed forms and counts."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import augment, errors

SIGNAL = np.random.default_rng(0).standard_normal((50, 400)).astype(np.float32)
SPECTRA = np.ones((50, 40, 20), np.float32)
WORDS = "the cat sat on the mat and slept".split()


def test_time_shift_moves_whole_steps():
    for wrap in (True, False):
        found = augment.Compose([augment.TimeShift(0.05, wrap=wrap)]).batch(SIGNAL)[0]
        for old, new in zip(SIGNAL, found, strict=True):
            shifts = [s for s in range(-20, 21) if np.array_equal(np.roll(old, s) * (wrap or _kept(s)), new)]
            assert len(shifts) == 1


def _kept(shift):
    place = np.arange(400) - shift
    return ((place >= 0) & (place < 400)).astype(np.float32)


def test_gain_in_decibels():
    np.testing.assert_allclose(augment.Gain((20, 20))(SIGNAL[0]), 10 * SIGNAL[0], rtol=1e-6)
    np.testing.assert_array_equal(augment.Gain(0)(SIGNAL[0]), SIGNAL[0])


def test_noise_has_the_wanted_ratio():
    noise = augment.Compose([augment.AddNoise((10, 10))]).batch(SIGNAL)[0] - SIGNAL
    ratio = 10 * np.log10((SIGNAL**2).sum() / (noise**2).sum())
    assert ratio == pytest.approx(10, abs=0.2)


def test_spec_augment_hides_bands():
    found = augment.Compose([augment.SpecAugment(1, 10, 1, 5)]).batch(SPECTRA)[0] == 0
    times, frequencies = found.all(axis=2), found.all(axis=1)
    np.testing.assert_array_equal(found, times[:, :, None] | frequencies[:, None, :])
    assert times.sum(1).max() == 10 and frequencies.sum(1).max() == 5
    assert (np.abs(np.diff(times.astype(int), axis=1)).sum(1) <= 2).all()
    np.testing.assert_array_equal(augment.SpecAugment(0, 0, 0, 0)(SPECTRA[0]), SPECTRA[0])


def test_words_are_dropped_deleted_and_swapped():
    dropped = augment.WordDropout(0.5, unknown="<unk>")(WORDS, seed=1)
    assert len(dropped) == len(WORDS) and "<unk>" in dropped
    assert all(new in (old, "<unk>") for old, new in zip(WORDS, dropped, strict=True))
    deleted = augment.WordDeletion(0.4)(WORDS, seed=3)
    assert 0 < len(deleted) < len(WORDS)
    rest = iter(WORDS)
    assert all(word in rest for word in deleted)
    swapped = augment.WordSwap(1)(WORDS, seed=2)
    assert sorted(swapped) == sorted(WORDS)
    assert sum(a != b for a, b in zip(WORDS, swapped, strict=True)) in (0, 2)
    for operation in (augment.WordDropout(0.0), augment.WordDeletion(0.0), augment.WordSwap(0)):
        assert operation(WORDS) == WORDS


def test_rates_and_padding_of_token_ids():
    tokens = np.where(np.arange(60) < 50, 5, 0)[None].repeat(400, 0)
    dropped = augment.Compose([augment.WordDropout(0.3, unknown=1)]).batch(tokens)[0]
    assert not dropped[:, 50:].any()
    assert (dropped == 1).mean() * 60 / 50 == pytest.approx(0.3, abs=0.02)
    deleted = augment.Compose([augment.WordDeletion(0.3)]).batch(tokens)[0]
    assert (deleted == 5).sum() / 20_000 == pytest.approx(0.7, abs=0.02)
    assert (np.diff((deleted == 5).astype(int), axis=1) <= 0).all()
    none_left = augment.Compose([augment.WordDeletion(1.0)]).batch(tokens)[0]
    assert ((none_left == 5).sum(1) == 1).all()


def test_mixup_is_the_convex_combination():
    x, y = np.eye(40, dtype=np.float32), np.arange(40) % 3
    mixed, targets = augment.Compose([augment.MixUp(3, alpha=1.0)]).batch(x, y, seed=9)
    for i in range(40):
        share, partner = mixed[i, i], np.argmax(np.where(np.arange(40) == i, 0, mixed[i]))
        assert share >= 0.5 and partner != i
        expected = share * np.eye(3)[y[i]] + (1 - share) * np.eye(3)[y[partner]]
        np.testing.assert_allclose(targets[i], expected, atol=1e-6)
        np.testing.assert_allclose(mixed[i], share * x[i] + (1 - share) * x[partner], atol=1e-6)
    assert (targets.argmax(1) == y).all()


def test_the_loss_of_mixed_targets_is_the_mixed_loss():
    from chainrule import losses
    logits = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    y = np.array([0, 1, 2, 2, 1, 0])
    x, targets = augment.Compose([augment.MixUp(3, alpha=1.0)]).batch(np.eye(6, dtype=np.float32), y)
    found = losses.cross_entropy(logits, targets, reduction="none").numpy()
    each = np.stack([losses.cross_entropy(logits, np.full(6, c), reduction="none").numpy() for c in range(3)], axis=1)
    np.testing.assert_allclose(found, (x @ np.eye(3)[y] * each).sum(1), atol=1e-6)


def test_cutmix_mixes_targets_by_the_area():
    x = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None, None], (8, 16, 16, 1))
    mixed, targets = augment.Compose([augment.CutMix(8)]).batch(x, np.arange(8), seed=1)
    for i in range(8):
        shares = np.bincount(mixed[i].astype(int).ravel(), minlength=8) / 256
        np.testing.assert_allclose(targets[i], shares, atol=1e-6)
        assert shares[i] >= 0.45


def test_mixing_needs_what_it_needs():
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(errors.ArgumentError, match="number of classes"):
        augment.Compose([augment.MixUp()]).batch(x, np.arange(4))
    with pytest.raises(errors.BoundsError, match="0 to 2"):
        augment.Compose([augment.MixUp(3)]).batch(x, np.arange(4))
    with pytest.raises(errors.ArgumentError, match="floating point"):
        augment.Compose([augment.MixUp(4)]).batch(x.astype(np.uint8), np.arange(4))
    numbers = np.linspace(0, 1, 4, dtype=np.float32)
    assert augment.Compose([augment.MixUp()]).batch(x, numbers)[1].shape == (4,)
