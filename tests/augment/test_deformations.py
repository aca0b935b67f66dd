# SPDX-License-Identifier: Apache-2.0
"""Choices, elastic deformation and handedness, against SciPy, counts and real digits."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import augment, nn, train
from chainrule.augment import Draws
from chainrule.errors import ArgumentError

IMAGES = np.random.default_rng(0).random((60, 14, 12, 2), dtype=np.float32)


def test_one_of_applies_one_operation_to_each_sample():
    pipeline = augment.Compose([augment.OneOf([augment.Flip(probability=1.0), augment.Flip("vertical", probability=1.0),
                                               augment.Rotate((90, 90))], probability=0.8)])
    square = IMAGES[:, :12]
    out, _ = pipeline.batch(square, seed=3)
    results = [square, square[:, :, ::-1], square[:, ::-1], np.rot90(square, -1, (1, 2))]
    kinds = [next(k for k, r in enumerate(results) if np.array_equal(out[i], r[i])) for i in range(60)]
    counts = np.bincount(kinds, minlength=4)
    assert (counts[1:] >= 8).all() and 4 <= counts[0] <= 22
    np.testing.assert_array_equal(pipeline(square[7], seed=3, index=7), out[7])
    with pytest.raises(ArgumentError, match="choose from"):
        augment.OneOf([augment.MixUp(3)])


def test_elastic_deformation_is_scipys_linear_interpolation():
    ndimage = pytest.importorskip("scipy.ndimage")
    elastic = augment.Elastic(2.0, 3.0, fill="edge")
    out, _ = augment.Compose([elastic]).batch(IMAGES, seed=5, indices=np.arange(60))
    down, right = elastic.displacements(Draws(5, 0, np.arange(60), 0), 14, 12)
    for i in (0, 31):
        places = np.stack([np.arange(14)[:, None] + down[i], np.arange(12) + right[i]])
        expected = np.stack([ndimage.map_coordinates(IMAGES[i, ..., c], places, order=1, mode="nearest")
                             for c in range(2)], -1)
        np.testing.assert_allclose(out[i], expected, atol=1e-5)
    np.testing.assert_array_equal(elastic(IMAGES[31], seed=5, index=31), out[31])


def test_displacements_have_their_strength_and_neighbours_move_alike():
    down, right = augment.Elastic(2.0, 4.0).displacements(Draws(0, 0, np.arange(200), 0), 28, 28)
    for d in (down, right):
        assert d[:, 10:18, 10:18].std() == pytest.approx(2.0, rel=0.1)
        assert np.abs(np.diff(d, axis=1)).mean() < 0.5
    assert abs(np.corrcoef(down.ravel(), right.ravel())[0, 1]) < 0.1


def test_masks_follow_and_no_strength_keeps_every_bit():
    np.testing.assert_array_equal(augment.Elastic(0.0)(IMAGES[0]), IMAGES[0])
    sample = {"image": IMAGES[0], "masks": (IMAGES[0, ..., 0] > 0.5).astype(np.uint8)}
    moved = augment.Elastic(3.0, 2.0)(sample, seed=1)
    assert set(np.unique(moved["masks"])) <= {0, 1} and not np.array_equal(moved["masks"], sample["masks"])
    with pytest.raises(ArgumentError, match="boxes and keypoints"):
        augment.Elastic()({"image": IMAGES[0], "boxes": [[0, 0, 3, 3]]})
    with pytest.raises(ArgumentError, match="deformed"):
        augment.Elastic(smoothness=0)


def digits():
    found = pytest.importorskip("sklearn.datasets").load_digits()
    return (found.images / 16).astype(np.float32)[..., None], found.target


def test_digits_have_a_handedness_and_symmetric_pictures_have_none():
    x, y = digits()
    assert augment.handedness(x, y).matters and "changes what they mean" in str(augment.handedness(x, y))
    both = np.concatenate([x[:400], x[:400, :, ::-1]])  # each with its mirror image, as photographs of cats come
    assert not augment.handedness(both, np.concatenate([y[:400], y[:400]])).matters


def test_the_doctor_warns_of_flipped_digits():
    x, y = digits()
    for flip, kinds in ((augment.Flip(), ["flipped samples mean something else"]), (augment.Translate(0.1), [])):
        doctor = train.Doctor()
        cr.fit(nn.Sequential([nn.Flatten(), nn.Dense(16, activation="relu"), nn.Dense(10)]), (x[:300], y[:300]),
               loss="cross_entropy", epochs=1, augment=augment.Compose([flip]), callbacks=[doctor], progress=False,
               backend="reference")
        assert [kind for kind in doctor.findings.kinds if "flipped" in kind] == kinds
