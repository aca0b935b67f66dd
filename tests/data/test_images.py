# SPDX-License-Identifier: Apache-2.0
"""Folders and tar files of images: classes and parts from the folders, exact pixels, and what a bad file is told."""

from __future__ import annotations

import io
import json
import sys
import tarfile

import numpy as np
import pytest

from chainrule.data import FeatureScaling, ImageScaling, load, preprocess_from_config
from chainrule.errors import ArgumentError, DataError, MissingExtra

Image = pytest.importorskip("PIL.Image")


def problem(function, *args, **options) -> str:
    with pytest.raises(DataError) as told:
        function(*args, **options)
    return str(told.value)


def picture(seed: int, shape=(6, 5, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def png(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def tree(root, names, shape=(6, 5, 3)):
    """Write one image for each name; the seed is the position."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(picture(seed, shape)))
    return root


FLAT = [f"{label}/{i}.png" for label in ("cat", "dog") for i in range(5)]
SPLIT = [f"{part}/{label}/{i}.png" for part in ("test", "train", "val") for label in ("cat", "dog") for i in range(2)]


def test_flat_folder(tmp_path):
    dataset = load(tree(tmp_path, FLAT))
    assert dataset.x_train.shape == (8, 6, 5, 3) and dataset.x_train.dtype == np.uint8
    assert dataset.class_names == ("cat", "dog") and len(dataset.y_test) == 2
    seen = {array.tobytes() for array in (*dataset.x_train, *dataset.x_test)}
    assert seen == {picture(seed).tobytes() for seed in range(10)}


@pytest.mark.parametrize("above", ["", "photos/2024/"])
def test_parts_and_folders_above(tmp_path, above):
    dataset = load(tree(tmp_path, [above + name for name in SPLIT]))
    np.testing.assert_array_equal(dataset.x_test, [picture(seed) for seed in range(4)])
    np.testing.assert_array_equal(dataset.x_train, [picture(seed) for seed in range(4, 8)])
    assert dataset.y_val.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_is_the_same_as_the_folder(tmp_path, mode):
    folder = tree(tmp_path / "photos", SPLIT)
    with tarfile.open(tmp_path / "photos.tar", mode) as archive:
        archive.add(folder, "photos")
    from_tar, from_folder = load(tmp_path / "photos.tar"), load(folder)
    for name in ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"):
        np.testing.assert_array_equal(getattr(from_tar, name), getattr(from_folder, name))


def test_second_folder_as_test_set(tmp_path):
    dataset = load(tree(tmp_path / "a" / "train", FLAT), test=tree(tmp_path / "b" / "test", FLAT))
    np.testing.assert_array_equal(dataset.x_train, dataset.x_test)


def test_grey_and_colour(tmp_path):
    tree(tmp_path, ["a/1.png", "a/2.png", "b/1.png"], (4, 4))
    assert load(tmp_path, test_fraction=0.34).x_train.shape[1:] == (4, 4, 1)
    (tmp_path / "b" / "2.png").write_bytes(png(picture(0, (4, 4, 3))))
    mixed = load(tmp_path, test_fraction=0.25)
    assert mixed.x_train.shape[1:] == (4, 4, 3)
    assert load(tmp_path, test_fraction=0.25, colour="grey").x_train.shape[1:] == (4, 4, 1)


def test_resize(tmp_path):
    tree(tmp_path, ["a/1.png", "a/2.png", "b/1.png"])
    (tmp_path / "b" / "2.jpg").write_bytes(png(np.full((64, 48, 3), 200, np.uint8), "JPEG"))
    text = problem(load, tmp_path)
    assert "b/2.jpg: 64 x 48" in text and "resize=(6, 5)" in text
    assert load(tmp_path, resize=(8, 9), test_fraction=0.25).feature_shape == (8, 9, 3)
    assert load(tmp_path, resize=7, test_fraction=0.25).feature_shape == (7, 7, 3)


def test_other_files_are_said(tmp_path):
    tree(tmp_path, FLAT)
    (tmp_path / "cat" / "notes.txt").write_text("x")
    (tmp_path / "cat" / "._1.png").write_bytes(b"x")
    assert "2 files that are no images left out" in str(load(tmp_path))


def damage(root, name, content):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)


MISTAKES = {
    "no image": (lambda root: damage(root, "cat/bad.png", b"hello"), ["cat/bad.png: the image cannot be read"]),
    "truncated": (lambda root: damage(root, "cat/cut.png", png(picture(3))[:60]),
                  ["cat/cut.png: the image cannot be read"]),
    "truncated jpeg": (lambda root: damage(root, "dog/cut.jpg", png(picture(3), "JPEG")[:500]), ["dog/cut.jpg"]),
    "empty class": (lambda root: (root / "emu").mkdir(), ["emu: the class folder holds no image"]),
    "outside": (lambda root: damage(root, "lost.png", png(picture(3))),
                ["lost.png: the image does not lie in a class"]),
    "too deep": (lambda root: damage(root, "cat/a/b.png", png(picture(3))), ["cat/a/b.png", "2 folders above it"]),
    "sizes": (lambda root: damage(root, "dog/x.png", png(picture(3, (9, 5, 3)))), ["dog/x.png: 9 x 5", "6 x 5"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_image_names_the_file(tmp_path, mistake):
    spoil, parts = MISTAKES[mistake]
    spoil(tree(tmp_path, FLAT))
    text = problem(load, tmp_path)
    assert all(part in text for part in [str(tmp_path), *parts]) and "_io" not in text, text


def test_folder_without_images(tmp_path):
    assert "no images found" in problem(load, tmp_path)


def test_a_single_image(tmp_path):
    tree(tmp_path, ["a.png"])
    assert "one folder of images per class" in problem(load, tmp_path / "a.png")


def test_class_of_the_test_set_never_seen(tmp_path):
    text = problem(load, tree(tmp_path / "a", FLAT), test=tree(tmp_path / "b", ["cat/1.png", "emu/1.png"]))
    assert "b/emu/1.png: the class 'emu'" in text and "cat, dog" in text


def test_test_images_of_another_size(tmp_path):
    text = problem(load, tree(tmp_path / "a", FLAT), test=tree(tmp_path / "b", FLAT, (7, 5, 3)))
    assert "(7, 5, 3)" in text and "(6, 5, 3)" in text


def tar_with(path, member, content=b""):
    with tarfile.open(path, "w:gz") as archive:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../out/cat/1.png", "/etc/cat/1.png", "a/../../cat/1.png"])
def test_tar_that_leads_outside_is_refused(tmp_path, name):
    text = problem(load, tar_with(tmp_path / "x.tar.gz", tarfile.TarInfo(name), png(picture(1))))
    assert repr(name) in text and "outside the archive" in text


def test_links_in_a_tar_are_refused(tmp_path):
    member = tarfile.TarInfo("cat/1.png")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    assert "a link or device" in problem(load, tar_with(tmp_path / "x.tar.gz", member))


def test_cut_off_tar(tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(tree(tmp_path / "photos", FLAT), "photos")
    content = (tmp_path / "x.tar.gz").read_bytes()
    (tmp_path / "x.tar.gz").write_bytes(content[:len(content) * 2 // 3])
    assert "damaged or cut off after" in problem(load, tmp_path / "x.tar.gz")


def test_missing_pillow_is_one_line(tmp_path, monkeypatch):
    tree(tmp_path, FLAT)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"reading images needs Pillow.*chainrule\[data\]"):
        load(tmp_path)


def test_options_are_checked(tmp_path):
    for options in ({"resize": (3, 0)}, {"resize": (1, 2, 3)}, {"colour": "blue"}):
        with pytest.raises(ArgumentError):
            load(tmp_path, **options)


# ---- scaling


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_image_scaling_agrees_with_numpy(dtype):
    x = picture(0, (50, 7, 6, 3)).astype(dtype)
    scaling = ImageScaling.fit(x)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(scaling.mean, wide.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(scaling.std, wide.std((0, 1, 2)), rtol=1e-12)
    out = scaling.transform(x)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, (wide - scaling.mean) / scaling.std, rtol=1e-5, atol=1e-6)
    again = preprocess_from_config(json.loads(json.dumps(scaling.to_config())))
    np.testing.assert_array_equal(again.transform(x), out)


def test_feature_scaling():
    x = np.random.default_rng(0).normal(3, 5, (100, 4)).astype(np.float32)
    x[:, 2] = 7
    out = FeatureScaling.fit(x).transform(x)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=0), [1, 1, 0, 1], atol=1e-5)
    assert len(FeatureScaling.fit(picture(0, (10, 12))).mean) == 1


def test_scaling_refuses_another_shape():
    scaling = ImageScaling.fit(picture(0, (3, 4, 4, 3)))
    assert "(N, 4, 4, 3)" in problem(scaling.transform, picture(0, (3, 5, 4, 3)))


def test_unknown_preprocessing_is_told():
    assert "unknown kind" in problem(preprocess_from_config, {"kind": "magic"})
