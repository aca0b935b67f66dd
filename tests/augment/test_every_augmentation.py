# SPDX-License-Identifier: Apache-2.0
"""Every class of the module, on images of every kind of values: what moves takes along what lies beside, and black and
white are what the data or the user say, or the operation refuses; nothing is clipped silently, nothing stays behind."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import chainrule as cr
from chainrule import augment
from chainrule.errors import ArgumentError

# one example each, which changes every sample; fills that go on beyond the edge, so that they scale with the values
COLOURS = {
    "Brightness": lambda: augment.Brightness(0.3), "Contrast": lambda: augment.Contrast(0.3),
    "Saturation": lambda: augment.Saturation(0.3),
    "Hue": lambda: augment.Hue(20), "GaussianNoise": lambda: augment.GaussianNoise(0.05),
    "Blur": lambda: augment.Blur((0.5, 1.0)),
    "Greyscale": lambda: augment.Greyscale(1.0), "Invert": lambda: augment.Invert(1.0),
    "Solarize": lambda: augment.Solarize(0.6, 1.0),
    "Posterize": lambda: augment.Posterize(4, 1.0), "AutoContrast": lambda: augment.AutoContrast(1.0),
    "Equalize": lambda: augment.Equalize(1.0),
    "Sharpness": lambda: augment.Sharpness(0.5), "ColourJitter": lambda: augment.ColourJitter(0.2, 0.2, 0.2, 10),
    "Erase": lambda: augment.Erase((0.05, 0.1), probability=1.0),
}
MOVES = {
    "Flip": lambda: augment.Flip(probability=1.0), "Affine": lambda: augment.Affine(20, 0.1, 0.1, 5, fill="edge"),
    "Rotate": lambda: augment.Rotate(30, fill="edge"), "Scale": lambda: augment.Scale(0.2, fill="edge"),
    "Shear": lambda: augment.Shear(15, fill="reflect"),
    "Perspective": lambda: augment.Perspective(0.3, fill="edge", probability=1.0),
    "Translate": lambda: augment.Translate(0.2, fill="edge"),
    "Crop": lambda: augment.Crop((32, 32), padding=4, fill="reflect"),
    "ResizedCrop": lambda: augment.ResizedCrop((32, 32), (0.5, 1.0)),
    "Elastic": lambda: augment.Elastic(2.0, 5.0, fill="edge"),
    "OneOf": lambda: augment.OneOf([augment.Rotate(20, fill="edge"), augment.Flip(probability=1.0)]),
}
MIXES = {"MixUp": lambda: augment.MixUp(alpha=1.0), "CutMix": lambda: augment.CutMix(),
         "AugMix": lambda: augment.AugMix(),
         "RandAugment": lambda: augment.RandAugment(2, 0.5)}
SOUND = {"TimeShift": lambda: augment.TimeShift(0.2), "Gain": lambda: augment.Gain(),
         "AddNoise": lambda: augment.AddNoise(), "SpecAugment": lambda: augment.SpecAugment(1, 4, 1, 2)}
WORDS = {"WordDropout": lambda: augment.WordDropout(0.5), "WordDeletion": lambda: augment.WordDeletion(0.3),
         "WordSwap": lambda: augment.WordSwap(2)}
IMAGE_OPERATIONS = COLOURS | MOVES | MIXES
ANY_VALUES = {"Blur", "Greyscale", "Erase", *MOVES, "MixUp", "CutMix"}

GENERATOR = np.random.default_rng(0)
UNIT = (np.rint(GENERATOR.random((6, 32, 32, 3)) * 200 + 20) / 255).astype(np.float32)


def test_every_class_has_its_example():
    classes = {name for name in augment.__all__ if inspect.isclass(kind := getattr(augment, name))
               and issubclass(kind, augment.Augmentation)}
    assert classes - {"Augmentation", "Compose"} == set(IMAGE_OPERATIONS | SOUND | WORDS)


# ---- values

def changed(make, x, value_range=None):
    return augment.Compose([make()], value_range=value_range).batch(x, seed=4)[0]


@pytest.mark.parametrize("name", IMAGE_OPERATIONS)
def test_0_to_255_is_0_to_1_in_another_unit(name):
    make, x = IMAGE_OPERATIONS[name], UNIT
    if name in ("Posterize", "RandAugment", "AugMix"):  # whose tones are shares of 1, or of 256
        x = np.float32(np.floor(UNIT * 16) / 16)
    unit, large = changed(make, x), changed(make, x * 255)
    assert large.dtype == np.float32 and large.max() > 1
    share = np.isclose(large, unit * 255, atol=16 if name == "Posterize" else 0.02).mean()
    assert share == 1 if name not in ("RandAugment", "AugMix", "Equalize") else share > 0.5


@pytest.mark.parametrize("name", sorted(set(IMAGE_OPERATIONS) - {"MixUp", "Posterize", "RandAugment", "AugMix"}))
def test_bytes_are_floats_rounded(name):
    whole = np.rint(UNIT * 255)
    bytes_, floats = (changed(IMAGE_OPERATIONS[name], whole.astype(np.uint8)),
                      changed(IMAGE_OPERATIONS[name], whole.astype(np.float32)))
    assert bytes_.dtype == np.uint8
    assert np.abs(bytes_.astype(int) - floats).max() <= (2.01 if name == "ColourJitter" else 1.01)


@pytest.mark.parametrize("name", IMAGE_OPERATIONS)
def test_values_in_no_known_range_are_refused_or_treated_as_they_are(name):
    standardised = (UNIT - 0.5) * 4
    if name not in ANY_VALUES:
        for x in (standardised, UNIT * 3, UNIT * 4000):
            with pytest.raises(ArgumentError, match=r"(?s)black and white.*values from .*value_range"):
                changed(IMAGE_OPERATIONS[name], x)
        # steps: a value on their edge may go either way
        if name not in ("Posterize", "Equalize", "RandAugment", "AugMix"):
            found = changed(IMAGE_OPERATIONS[name], standardised, value_range=(-2, 2))
            np.testing.assert_allclose(found, (changed(IMAGE_OPERATIONS[name], UNIT) - 0.5) * 4, atol=1e-4)
    elif name != "Erase":
        np.testing.assert_allclose(changed(IMAGE_OPERATIONS[name], standardised),
                                   (changed(IMAGE_OPERATIONS[name], UNIT) - 0.5) * 4, atol=1e-4)


def test_a_stated_range_holds():
    dark = UNIT * 0.5
    np.testing.assert_allclose(changed(COLOURS["Invert"], dark, value_range=(0, 255)), 255 - dark, rtol=1e-6)
    with pytest.raises(ArgumentError, match=r"(?s)leave the range.*0 to 0.1"):
        changed(COLOURS["Invert"], UNIT, value_range=(0, 0.1))
    with pytest.raises(ArgumentError, match="uint8 images go from 0 to 255"):
        changed(COLOURS["Invert"], (UNIT * 255).astype(np.uint8), value_range=(0, 1))
    with pytest.raises(ArgumentError, match="different value_range"):
        augment.Compose([augment.Compose([augment.Invert()], value_range=(0, 1))], value_range=(0, 2))
    assert augment.Compose([augment.Compose([augment.Flip()], targets="masks")]).targets == "masks"


def test_a_value_range_is_that_of_the_data_set_and_not_of_a_dark_batch():
    x = np.concatenate([np.full((4, 8, 8, 1), 0.5, np.float32), np.full((4, 8, 8, 1), 200, np.float32)])
    shown = augment.Augmented(x, np.zeros(8), augment.Invert(1.0))
    np.testing.assert_array_equal(shown.batch([0])[0], np.full((1, 8, 8, 1), 254.5))
    seen = []

    class Noted(augment.Invert):
        def values(self, x, draws, white):
            seen.append(white)
            return super().values(x, draws, white)
    model = cr.nn.Sequential([cr.nn.Flatten(), cr.nn.Dense(1)])
    cr.fit(model, (x, np.zeros((8, 1), np.float32)), loss="mean_squared_error", batch_size=4, shuffle=False,
           augment=Noted(1.0), progress=False, backend="reference")
    assert seen == [255, 255]


@pytest.mark.parametrize("make", [lambda: augment.Erase(fill=0.5, probability=1.0),
                                  lambda: augment.Rotate(30, fill=300),
                                  lambda: augment.Erase(fill=-1, probability=1.0)])
def test_fills_that_bytes_cannot_hold(make):
    with pytest.raises(ArgumentError, match="cannot hold the fill"):
        changed(make, (UNIT * 255).astype(np.uint8))


# ---- what lies beside

def spot(seed):
    """An image with a bright square, its mask, its box and its centre."""
    top, left = np.random.default_rng(seed).integers(8, 19, 2)
    image = np.full((32, 32, 3), 0.2, np.float32)
    image[top:top + 5, left:left + 5] = 0.9
    return {"image": image, "masks": image[..., 0] > 0.5, "boxes": [[left, top, left + 5, top + 5]], "labels": [3],
            "keypoints": [[left + 2.5, top + 2.5, 1.0]]}


def refused(operation):
    return {name for name in ("masks", "boxes", "keypoints") if _refuses(operation, name)}


def _refuses(operation, name):
    sample = spot(0)
    try:
        operation({"image": sample["image"], name: sample[name]})
    except ArgumentError as error:
        return "cannot follow" in str(error) or "mixes masks" in str(error)
    return False


def test_what_is_refused():
    found = {name: refused(make()) for name, make in IMAGE_OPERATIONS.items()}
    everything = {"masks", "boxes", "keypoints"}
    assert {name: what for name, what in found.items() if what} == {
        "MixUp": everything, "AugMix": everything, "CutMix": {"boxes", "keypoints"}, "Elastic": {"boxes", "keypoints"}}


@pytest.mark.parametrize("name", COLOURS)
def test_what_does_not_move_leaves_all_in_place(name):
    for index in range(5):
        sample = spot(index)
        found = COLOURS[name]()(sample, index=index)
        for beside in ("masks", "boxes", "labels", "keypoints"):
            np.testing.assert_array_equal(found[beside], sample[beside])
        if name != "Erase":
            away = np.abs(found["image"] - np.median(found["image"], axis=(0, 1))).sum(-1)
            x, y = (int(v) for v in sample["keypoints"][0][:2])
            assert away[y, x] > 0.8 * away.max()


@pytest.mark.parametrize("name", [*MOVES, "RandAugment"])
def test_a_marked_pixel_moves_with_its_point_mask_and_box(name):
    operation, moved = (MOVES | MIXES)[name](), 0
    for index in range(12):
        sample = {k: v for k, v in spot(index).items() if k not in refused(operation)
                  and (k != "labels" or "boxes" not in refused(operation))}
        found = operation(sample, index=index)
        image = found["image"].mean(-1)
        bright = image > (image.min() + image.max()) / 2
        mask = found["masks"]
        assert name == "RandAugment" or (bright != mask).sum() <= 0.2 * max(mask.sum(), 25), (
            index,
            bright.sum(),
            mask.sum(),
        )
        moved += not np.array_equal(mask, sample["masks"])
        rows, columns = np.nonzero(mask)
        if "keypoints" in sample and len(rows) > 15:
            x, y, visible = found["keypoints"][0]
            inside = 4 < x < 28 and 4 < y < 28
            assert visible == 1 and (not inside or np.abs([columns.mean() + 0.5 - x, rows.mean() + 0.5 - y]).max()
                                     < 0.75)
            left, top, right, bottom = found["boxes"][0]
            assert (
                left - 0.5 <= columns.min()
                and columns.max() + 0.5 <= right + 0.5
                and top - 0.5 <= rows.min()
                and rows.max() <= bottom
            )
    assert moved >= 3


@pytest.mark.parametrize("name", [*MOVES, "CutMix", "MixUp"])
def test_an_image_that_is_its_own_mask_stays_it(name):
    r = np.random.default_rng(1)
    masks = np.kron(r.random((8, 4, 4)) > 0.5, np.ones((8, 8))).astype(np.float32)
    x, found = augment.Compose([IMAGE_OPERATIONS[name]()], targets="masks").batch(masks[..., None], masks, seed=2)
    assert not np.array_equal(x[..., 0], masks)
    if name in ("CutMix", "MixUp", "Flip", "Translate", "Crop"):
        np.testing.assert_array_equal(x[..., 0], found)
    else:
        assert ((x[..., 0] > 0.5) == (found > 0.5)).mean() > 0.95


def test_several_masks_are_pasted_together():
    x = np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3)).astype(np.uint8)
    found, masks = augment.Compose([augment.CutMix()], targets="masks").batch(x, x.copy(), seed=3)
    np.testing.assert_array_equal(found, masks)
    assert not np.array_equal(found, x)


@pytest.mark.parametrize("name", SOUND)
def test_sound_and_what_lies_beside(name):
    signal = np.abs(np.random.default_rng(0).normal(size=(5, 40, 3))).astype(np.float32) + 1
    marks = np.tile(np.arange(1, 41), (5, 1))
    found, moved = augment.Compose([SOUND[name]()], targets="masks").batch(signal, marks, seed=1)
    if name != "TimeShift":
        np.testing.assert_array_equal(moved, marks)
        return
    assert not np.array_equal(moved, marks)
    for i in range(5):
        for t, mark in enumerate(moved[i]):
            np.testing.assert_array_equal(found[i, t], signal[i, mark - 1] if mark else 0)
    with pytest.raises(ArgumentError, match="cannot follow TimeShift"):
        augment.Compose([augment.TimeShift()], targets="keypoints").batch(signal, [[[1, 2]]] * 5)


@pytest.mark.parametrize("name", WORDS)
def test_words_and_their_tags(name):
    words = np.random.default_rng(0).integers(5, 90, (6, 12))
    words[:, 9:] = 0
    found, tags = augment.Compose([WORDS[name]()], targets="masks").batch(words, words.copy(), seed=1)
    assert not np.array_equal(found, words)
    np.testing.assert_array_equal(tags, words if name == "WordDropout" else found)


def test_lists_of_another_length_and_shapes_that_differ_are_told():
    with pytest.raises(cr.errors.ShapeError, match="each image has its own boxes"):
        augment.Compose([augment.Flip()], targets="boxes").batch(UNIT, [[[0, 0, 1, 1]]])
    with pytest.raises(cr.errors.ShapeError, match="cannot change their shape"):
        augment.OneOf([augment.Crop(8), augment.Flip()]).batch(UNIT)
