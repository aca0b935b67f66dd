# SPDX-License-Identifier: Apache-2.0
"""Tones and perspectives against Pillow, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import augment
from chainrule.augment.draws import Draws
from chainrule.augment.geometry import homographies, mapped
from chainrule.errors import ArgumentError

GENERATOR = np.random.default_rng(0)
BYTES = np.clip(GENERATOR.normal(110, 40, (3, 20, 24, 3)) + np.linspace(0, 60, 24)[:, None], 20, 240).astype(np.uint8)
FLOATS = BYTES.astype(np.float32) / 255
ROWS = {
    "grey": (augment.Greyscale(1.0), lambda im, ops, en: im.convert("L").convert("RGB"), 1),
    "invert": (augment.Invert(1.0), lambda im, ops, en: ops.invert(im), 0),
    "solarize": (augment.Solarize(128 / 255, 1.0), lambda im, ops, en: ops.solarize(im, 128), 0),
    "posterize": (augment.Posterize(3, 1.0), lambda im, ops, en: ops.posterize(im, 3), 0),
    "stretch": (augment.AutoContrast(1.0), lambda im, ops, en: ops.autocontrast(im), 1),
    "equalize": (augment.Equalize(1.0), lambda im, ops, en: ops.equalize(im), 0),
    "sharper": (augment.Sharpness((1.8, 1.8)), lambda im, ops, en: en.Sharpness(im).enhance(1.8), 1),
    "softer": (augment.Sharpness((0.3, 0.3)), lambda im, ops, en: en.Sharpness(im).enhance(0.3), 1),
}


@pytest.mark.parametrize("name", ROWS)
def test_as_pillow(name):
    image, ops, enhance = (pytest.importorskip(f"PIL.{part}") for part in ("Image", "ImageOps", "ImageEnhance"))
    operation, theirs, tolerance = ROWS[name]
    found = augment.Compose([operation]).batch(BYTES)[0]
    assert found.dtype == np.uint8
    for mine, x in zip(found, BYTES, strict=True):
        expected = np.asarray(theirs(image.fromarray(x), ops, enhance))
        assert np.abs(mine.astype(int) - expected).max() <= tolerance
    floats = augment.Compose([operation]).batch(FLOATS)[0]
    assert floats.dtype == np.float32 and 0 <= floats.min() <= floats.max() <= 1
    if name != "posterize":  # whose tones of floats are shares of 1, not of 256
        assert np.abs(floats * 255 - found).max() <= 1.01


def test_a_perspective_is_pillows_and_boxes_and_points_follow():
    image = pytest.importorskip("PIL.Image")
    smooth = np.linspace(0, 200, 40)[:, None, None] + np.linspace(0, 50, 50)[:, None] * np.ones(3)
    smooth = smooth.astype(np.float32)
    operation = augment.Perspective(0.4, fill="edge", probability=1.0)
    matrix = operation.matrices(augment.Draws(0, 0, np.array([3]), 0), 40, 50)[0]
    found = operation({"image": smooth, "keypoints": [[25, 20], [0, 0]], "boxes": [[10, 10, 20, 20]]}, index=3)
    inverse = np.linalg.inv(matrix)
    inverse /= inverse[2, 2]
    for channel in range(3):
        expected = np.asarray(
            image.fromarray(smooth[..., channel]).transform(
                (50, 40), image.Transform.PERSPECTIVE, inverse.ravel()[:8], image.Resampling.BILINEAR
            )
        )
        inside = expected != 0  # Pillow leaves black what lies outside
        assert inside.mean() > 0.4
        assert np.abs(found["image"][..., channel] - expected)[inside].max() < 0.05
    homogeneous = matrix @ [25, 20, 1]
    np.testing.assert_allclose(found["keypoints"][0], homogeneous[:2] / homogeneous[2], atol=1e-4)
    corners = mapped(np.array([[10, 10], [20, 10], [20, 20], [10, 20.0]]), matrix)
    np.testing.assert_allclose(found["boxes"][0], [*corners.min(0), *corners.max(0)], atol=1e-9)


def test_four_points_go_where_they_should():
    old, new = (np.array([[0, 0], [4, 0], [4, 3], [0, 3.0]]),
                GENERATOR.random((5, 4, 2)) + [[0, 0], [4, 0], [4, 3], [0, 3]])
    for matrix, points in zip(homographies(old, new), new, strict=True):
        np.testing.assert_allclose(mapped(old, matrix), points, atol=1e-12)
    np.testing.assert_allclose(homographies(old, old[None])[0], np.eye(3), atol=1e-12)


def test_mixtures_change_every_sample_in_its_own_way():
    for operation in (augment.RandAugment(2, 0.5), augment.ColourJitter(0.3, 0.3, 0.3, 10)):
        found = operation.batch(BYTES[[0, 0, 0]], seed=1)[0]
        assert len({x.tobytes() for x in found}) == 3
        np.testing.assert_array_equal(operation(BYTES[0], seed=1, index=2), found[2])
    still = augment.ColourJitter(0, 0, 0).batch(BYTES)[0]
    np.testing.assert_array_equal(still, BYTES)


@pytest.mark.parametrize("images", [BYTES, FLOATS])
def test_a_mixture_is_the_image_and_its_copies_by_shares(images, monkeypatch):
    """By the definition, from the same draws; numbers of different operations never overlap."""
    operation, indices = augment.AugMix(3, 2, 0.5), np.arange(len(images))
    spans, white = [], (0.0, 255.0 if images.dtype == np.uint8 else 1.0)

    def noted(self, batch, draws):
        first = draws.used
        found = original(self, batch, draws)
        spans.append((first, draws.used))
        return found
    original = augment.Augmentation.run
    found = operation.batch(images, seed=4)[0]
    draws = Draws(4, 0, indices, 0)
    shares = operation._shares(draws)[..., None, None, None]
    monkeypatch.setattr(augment.Augmentation, "run", noted)
    copies = [operation._copy(augment.Batch(images, value_range=white), draws, chain).x.astype(np.float64)
              for chain in range(3)]
    expected = shares[:, 0] * images + sum(shares[:, 1 + i] * copies[i] for i in range(3))
    np.testing.assert_allclose(found, expected, atol=0.51 if images.dtype == np.uint8 else 1e-6)
    assert found.dtype == images.dtype and all(np.any(copy != images, axis=(1, 2, 3)).all() for copy in copies)
    assert all(end - start <= 8 and start >= draws.used for start, end in spans) and max(end for _, end in spans) <= 256


def test_the_shares_of_a_mixture_have_their_distribution():
    """m even in [0, 1); the rest by weights with a mean of 1/3 and a variance of 1/18."""
    shares = augment.AugMix()._shares(Draws(0, 0, np.arange(20000), 0))
    m, weights = shares[:, 0], shares[:, 1:] / (1 - shares[:, :1])
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose([m.mean(), m.var()], [1 / 2, 1 / 12], atol=0.005)
    np.testing.assert_allclose(weights.mean(0), 1 / 3, atol=0.005)
    np.testing.assert_allclose(weights.var(0), 1 / 18, atol=0.002)


@pytest.mark.parametrize("make", [lambda: augment.AugMix(0), lambda: augment.AugMix(6, 5),
                                  lambda: augment.AugMix(strength=2), lambda: augment.Posterize(0),
                                  lambda: augment.Posterize(2.5), lambda: augment.Solarize("a"),
                                  lambda: augment.RandAugment(0),
                                  lambda: augment.RandAugment(2, 3), lambda: augment.Perspective(2)])
def test_mistakes_are_told(make):
    with pytest.raises(ArgumentError):
        make()
