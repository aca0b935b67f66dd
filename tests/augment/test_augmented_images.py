# SPDX-License-Identifier: Apache-2.0
"""Augmentation of images: closed forms, inverses, bits of the identity; boxes, masks and keypoints follow by one
matrix."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import augment, errors
from chainrule.augment import geometry, pixels

IMAGES = np.random.default_rng(0).random((5, 12, 10, 3), dtype=np.float32)
BYTES = (IMAGES * 255).astype(np.uint8)
EVERY = (IMAGES, BYTES)

IDENTITIES = [
    augment.Affine(), augment.Rotate(0), augment.Scale(0.0), augment.Shear(0), augment.Translate(0),
    augment.Crop((12, 10)),
    augment.ResizedCrop((12, 10), area=(1, 1), ratio=(10 / 12, 10 / 12)), augment.Brightness(0.0),
    augment.Contrast(0.0),
    augment.Saturation(0.0), augment.Hue(0.0), augment.GaussianNoise(0.0), augment.Blur(0.0),
    augment.Erase((0, 0), probability=1),
    augment.Flip(probability=0), augment.Rotate(40, probability=0), augment.Affine(90, 0.2, 0.3, 20, probability=0.0),
]


@pytest.mark.parametrize("x", EVERY, ids=["float32", "uint8"])
@pytest.mark.parametrize("operation", IDENTITIES, ids=repr)
def test_parameters_of_the_identity_keep_every_bit(operation, x):
    found, _ = augment.Compose([operation]).batch(x, seed=3)
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, x)


def always(kind, **fixed):
    return kind(**fixed, probability=1.0)


@pytest.mark.parametrize("x", EVERY, ids=["float32", "uint8"])
def test_flips_quarter_turns_and_shifts_are_exact(x):
    assert np.array_equal(always(augment.Flip)(x[0]), x[0][:, ::-1])
    assert np.array_equal(always(augment.Flip, axis="vertical")(x[0]), x[0][::-1])
    square = x[0][:10]
    assert np.array_equal(augment.Rotate((90, 90))(square), np.rot90(square, -1))
    assert np.array_equal(augment.Rotate((180, 180))(x[0]), x[0][::-1, ::-1])
    moved = pixels.warp(x, geometry.shift(5, 3, -2), fill=0.0)
    assert np.array_equal(moved[:, :10, 3:], x[:, 2:, :7])
    assert not moved[:, 10:].any() and not moved[:, :, :3].any()


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_a_flip_is_its_own_inverse(axis):
    flip = always(augment.Flip, axis=axis)
    sample = {"image": IMAGES[0], "boxes": [[1.0, 2, 4, 7]], "keypoints": [[3.5, 1]], "masks": IMAGES[0, :, :, 0] > 0.5}
    twice = flip(flip(sample))
    for name in sample:
        np.testing.assert_array_equal(twice[name], sample[name])


def test_warp_is_scipys_linear_interpolation():
    ndimage = pytest.importorskip("scipy.ndimage")
    matrix = geometry.about_centre(geometry.rotation(np.array([23.0])) @ geometry.linear(1, a=1.2, b=0.1), 12, 10)
    inverse = np.linalg.inv(matrix[0])
    # scipy works in (row, column) of pixel centres
    swap = np.array([[0.0, 1], [1, 0]])
    linear = swap @ inverse[:2, :2] @ swap
    offset = swap @ inverse[:2, 2] + linear @ [0.5, 0.5] - 0.5
    found = pixels.warp(IMAGES[:1].astype(np.float64), matrix, fill="edge")[0]
    for channel in range(3):
        expected = ndimage.affine_transform(IMAGES[0, :, :, channel].astype(np.float64), linear, offset, order=1,
                                            mode="nearest")
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-6)


def test_a_turn_and_its_inverse_give_the_image_back():
    y, x = np.mgrid[:40, :40]
    smooth = (np.sin(x / 6) * np.cos(y / 7))[None, :, :, None]
    matrix = geometry.about_centre(geometry.rotation(np.array([17.0])), 40, 40)
    back = pixels.warp(pixels.warp(smooth, matrix, fill="edge"), pixels.inverted(matrix), fill="edge")
    assert np.abs(back - smooth)[:, 10:30, 10:30].max() < 0.02


def test_points_boxes_and_masks_follow_by_the_same_matrix():
    """A bright spot, its mask, its box and its centre end at the same place, where the matrix says."""
    image = np.zeros((40, 40, 1), np.float32)
    image[10:14, 20:26] = 1
    sample = {"image": image, "masks": image[..., 0] > 0, "boxes": [[20.0, 10, 26, 14]], "labels": [7],
              "keypoints": [[23.0, 12, 1]]}
    operation = augment.Affine(degrees=30, translate=0.1, scale=(0.9, 1.3), shear=10)
    for index in range(10):
        found = operation(sample, seed=1, index=index)
        matrix = operation.matrices(augment.Draws(1, 0, np.array([index]), 0), 40, 40)[0]
        np.testing.assert_allclose(found["keypoints"][0], [*(matrix @ [23, 12, 1])[:2], 1])
        corners = np.array([[x, y, 1] for x in (20, 26) for y in (10, 14)]) @ matrix[:2].T
        np.testing.assert_allclose(found["boxes"][0], [*corners.min(0), *corners.max(0)])
        assert found["labels"].tolist() == [7]
        rows, columns = np.nonzero(found["masks"])
        np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], found["keypoints"][0, :2], atol=0.6)
        left, top, right, bottom = found["boxes"][0]
        assert (
            left <= columns.min() + 0.5
            and columns.max() + 0.5 <= right
            and top <= rows.min() + 0.5
            and rows.max() + 0.5 <= bottom
        )
        y, x = np.mgrid[:40, :40]
        bright = found["image"][..., 0] / found["image"].sum()
        np.testing.assert_allclose([((x + 0.5) * bright).sum(), ((y + 0.5) * bright).sum()], found["keypoints"][0, :2],
                                   atol=0.1)


def test_boxes_are_clipped_and_dropped_with_their_labels():
    batch = augment.Batch(IMAGES[:1], boxes=[np.array([[0.0, 0, 2, 2], [1, 1, 9, 9]])], labels=[np.array([4, 5])],
                          keypoints=[np.array([[1.0, 1, 1], [8, 8, 1]])])
    moved = geometry.move(batch, geometry.shift(1, -3, 0))
    np.testing.assert_array_equal(moved.boxes[0], [[0, 1, 6, 9]])
    assert moved.labels[0].tolist() == [5]
    assert moved.keypoints[0][:, 2].tolist() == [0, 1]


def test_masks_of_a_batch_follow():
    masks = (IMAGES[..., 0] > 0.5).astype(np.uint8)
    pipeline = augment.Compose([augment.Flip(), augment.Translate(0.2), augment.Brightness()], targets="masks")
    x, moved = pipeline.batch(np.repeat(masks[..., None], 3, -1).astype(np.float32), masks, seed=5)
    assert np.array_equal(moved > 0, x[..., 0] > 0)


def test_crops_are_windows():
    crop = augment.Crop((6, 5))
    for index in range(20):
        found = crop(IMAGES[0], index=index)
        assert any(np.array_equal(found, IMAGES[0, i:i + 6, j:j + 5]) for i in range(7) for j in range(6))
    places = {crop(IMAGES[0], index=i).tobytes() for i in range(400)}
    assert len(places) == 42
    with pytest.raises(errors.ArgumentError, match="larger than the image"):
        augment.Crop(20)(IMAGES[0])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(7, 5), (24, 31), (12, 10)])
def test_resize_as_pytorch(size, antialias):
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.interpolate(torch.tensor(IMAGES).permute(0, 3, 1, 2), size, mode="bilinear",
                                               antialias=antialias)
    np.testing.assert_allclose(augment.resize(IMAGES, size, antialias), expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def test_resize_as_pillow():
    image = pytest.importorskip("PIL.Image")
    for size in ((5, 4), (25, 30)):
        expected = np.asarray(image.fromarray(BYTES[0]).resize(size[::-1], image.Resampling.BILINEAR))
        assert np.abs(augment.resize(BYTES[:1], size)[0].astype(int) - expected).max() <= 1


def test_colour_by_its_formula():
    x = IMAGES * 0.5 + 0.2
    factor = 1.3
    grey = (x * [0.299, 0.587, 0.114]).sum(-1, keepdims=True)
    fixed = (factor, factor)
    rows = ((augment.Brightness(fixed), factor * x), (augment.Saturation(fixed), grey + factor * (x - grey)),
            (augment.Contrast(fixed), (m := grey.mean((1, 2, 3), keepdims=True)) + factor * (x - m)))
    for operation, expected in rows:
        np.testing.assert_allclose(augment.Compose([operation]).batch(x)[0], np.clip(expected, 0, 1), atol=1e-6)


def test_a_hue_keeps_the_brightness_and_turns_back():
    x = IMAGES * 0.2 + 0.4
    turned = augment.Hue((30, 30))(x[0])
    np.testing.assert_allclose((turned * [0.299, 0.587, 0.114]).sum(-1), (x[0] * [0.299, 0.587, 0.114]).sum(-1),
                               atol=1e-5)
    assert np.abs(turned - x[0]).max() > 0.01
    np.testing.assert_allclose(augment.Hue((-30, -30))(turned), x[0], atol=1e-5)


def test_blur_is_scipys_normal_filter():
    ndimage = pytest.importorskip("scipy.ndimage")
    expected = ndimage.gaussian_filter(IMAGES[0].astype(np.float64), (1.2, 1.2, 0), mode="nearest", radius=(4, 4, 0))
    np.testing.assert_allclose(augment.Blur((1.2, 1.2))(IMAGES[0]), expected, atol=1e-5)


def test_noise_has_its_strength():
    x = np.full((4, 64, 64, 3), 0.5, np.float32)
    noise = augment.Compose([augment.GaussianNoise(0.05)]).batch(x)[0] - 0.5
    assert abs(noise.mean()) < 4 * 0.05 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.05, rel=0.02)


def test_erasing_makes_one_rectangle_inside():
    x = np.ones((200, 20, 24, 1), np.float32)
    holes = augment.Compose([augment.Erase((0.1, 0.1), (1, 1), probability=0.5)]).batch(x)[0] == 0
    areas = holes.sum(axis=(1, 2, 3))
    assert set(areas.tolist()) == {0, 49}
    assert 70 < (areas > 0).sum() < 130
    hole = holes[areas > 0][0, :, :, 0]
    assert hole.sum() == hole.any(0).sum() * hole.any(1).sum()


@pytest.mark.parametrize("make", [lambda: augment.Flip("diagonal"), lambda: augment.Scale((-1, 1)),
                                  lambda: augment.Rotate((5, -5)),
                                  lambda: augment.Rotate(5, fill="mirror")(IMAGES[0]),
                                  lambda: augment.Rotate(5)(IMAGES[0, 0]),
                                  lambda: augment.Compose([3]), lambda: augment.Compose([], targets="labels"),
                                  lambda: augment.Hue(9)(IMAGES[0, :, :, :1]), lambda: augment.Flip(probability=2),
                                  lambda: augment.Flip()({"picture": IMAGES[0]})])
def test_mistakes_are_named(make):
    with pytest.raises(errors.ChainruleError, match="got"):
        make()
