# SPDX-License-Identifier: Apache-2.0
"""Numbers keep what sets them apart: deep images bit for bit, transparent ones on white, large features and targets
scaled in float64."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest

from chainrule.data import load, load_like, preprocess_from_config, read_image
from chainrule.errors import DataError

Image = pytest.importorskip("PIL.Image")
R = np.random.default_rng(0)


def deep_png(array: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel with 1 (grey), 2 (and alpha), 3 (colours) or 4 channels, written by hand."""
    height, width, channels = array.shape
    chunk = lambda name, body: struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write(kind: str, **options):
    def content(array: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind, **options)
        return buffer.getvalue()
    return content


def folder(root, images, encode, suffix):
    for label, some in zip("ab", np.array_split(np.arange(len(images)), 2), strict=True):
        (root / label).mkdir(parents=True)
        for i in some:
            (root / label / f"{i}.{suffix}").write_bytes(encode(images[i]))
    return root


SIGNED = bytes.fromhex("53010300010000000200")  # TIFF's tag 339: one short, 2
DEEP = {
    "16-bit grey PNG": (R.integers(0, 65536, (4, 5, 6, 1)).astype(np.uint16), deep_png, "png"),
    "10-bit values": (R.integers(0, 1024, (4, 5, 6, 1)).astype(np.uint16), deep_png, "png"),
    "low byte alone": (R.integers(0, 200, (4, 5, 6, 3)).astype(np.uint16), deep_png, "png"),
    "16-bit colour PNG": (R.integers(0, 65536, (4, 5, 6, 3)).astype(np.uint16), deep_png, "png"),
    "float TIFF": (R.normal(size=(4, 5, 6)).astype(np.float32), write("TIFF"), "tif"),
    "16-bit TIFF": (R.integers(0, 65536, (4, 5, 6)).astype(np.uint16), write("TIFF"), "tif"),
    "32-bit TIFF": (R.integers(-2**31, 2**31, (4, 5, 6)).astype(np.int32), write("TIFF"), "tif"),
    "unsigned 32-bit TIFF": (R.integers(0, 2**32, (4, 5, 6)).astype(np.uint32).view(np.int32),
                             lambda array: write("TIFF")(array).replace(SIGNED, SIGNED[:-2] + b"\1\0"), "tif"),
    "16-bit PGM": (R.integers(0, 65536, (4, 5, 6)).astype(np.uint16), write("PPM"), "pgm"),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_images_are_read_bit_for_bit(tmp_path, name):
    images, encode, suffix = DEEP[name]
    wanted = images.view(np.uint32) if name.startswith("unsigned") else images
    wanted = wanted.reshape(4, 5, 6, -1)
    dataset = load(folder(tmp_path, images, encode, suffix), test_fraction=0.5)
    assert dataset.x_train.dtype == wanted.dtype
    rows = {image.tobytes() for image in (*dataset.x_train, *dataset.x_test)}
    assert rows == {image.tobytes() for image in wanted}
    x = dataset.x_train.astype(np.float64)
    np.testing.assert_allclose(dataset.inputs("train"), (x - x.mean((0, 1, 2))) / x.std((0, 1, 2)), rtol=1e-5,
                               atol=1e-6)
    assert str(dataset.x_train.dtype) in str(dataset)


def test_deep_images_are_resized_and_coloured_at_their_depth(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(np.full((6, 6, 3), (100, 200, 400), np.uint16)))
    grey = read_image(path, (3, 3, 1))
    assert grey.dtype == np.uint16 and np.all(grey == round(0.299 * 100 + 0.587 * 200 + 0.114 * 400))
    path.write_bytes(deep_png(np.full((6, 6, 1), 700, np.uint16)))
    assert np.all(read_image(path, (4, 8, 3)) == 700)


def test_eight_and_sixteen_bits_are_one_scale(tmp_path):
    bytes_ = R.integers(0, 256, (4, 3, 3)).astype(np.uint8)
    folder(tmp_path, bytes_, write("PNG"), "png")
    (tmp_path / "a" / "0.png").write_bytes(deep_png(bytes_[0][..., None].astype(np.uint16) * 257))
    dataset = load(tmp_path, test_fraction=0.5)
    seen = {image.tobytes() for image in (*dataset.x_train, *dataset.x_test)}
    assert seen == {(image.astype(np.uint16) * 257).tobytes() for image in bytes_}
    assert "8 and of 16 bits" in str(dataset)


def test_float_and_byte_images_have_no_common_scale(tmp_path):
    folder(tmp_path, R.random((4, 3, 3)).astype(np.float32), write("TIFF"), "tif")
    (tmp_path / "b" / "2.tif").write_bytes(write("TIFF")(np.zeros((3, 3), np.uint8)))
    with pytest.raises(DataError, match=r"2\.tif: the image has pixels of another kind"):
        load(tmp_path, test_fraction=0.5)


def test_a_test_folder_of_another_depth_is_brought_to_that_of_training(tmp_path):
    bytes_ = R.integers(0, 256, (4, 3, 3)).astype(np.uint8)
    train = folder(tmp_path / "train", bytes_, write("PNG"), "png")
    test = folder(tmp_path / "test", bytes_[..., None].astype(np.uint16) * 257, deep_png, "png")
    dataset = load(train, test=test)
    np.testing.assert_array_equal(dataset.x_train, dataset.x_test)
    x, _ = load_like(test, preprocess_from_config(dataset.preprocess.to_config()), dataset.target)
    np.testing.assert_array_equal(x, dataset.inputs("train"))


GROUNDS = {
    "RGBA": np.dstack([np.zeros((4, 4, 3), np.uint8), np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)]),
    "LA": np.dstack([np.zeros((4, 4), np.uint8), np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)]),
}


@pytest.mark.parametrize("mode", GROUNDS)
def test_transparent_pixels_lie_on_white(tmp_path, mode):
    folder(tmp_path, [GROUNDS[mode]] * 4, write("PNG"), "png")
    dataset = load(tmp_path, test_fraction=0.5)
    np.testing.assert_array_equal(dataset.x_train[0, ..., 0], 255 - GROUNDS[mode][..., -1])
    assert "4 images with transparent pixels laid on white" in str(dataset)


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_pixels_of_sixteen_bits_lie_on_white(tmp_path, channels):
    pixels = R.integers(0, 65536, (4, 5, 6, channels)).astype(np.uint16)
    dataset = load(folder(tmp_path, pixels, deep_png, "png"), test_fraction=0.5)
    share = pixels[..., -1:] / 65535
    wanted = np.rint(pixels[..., :-1] * share + 65535 * (1 - share)).astype(np.uint16)
    assert {i.tobytes() for i in (*dataset.x_train, *dataset.x_test)} == {i.tobytes() for i in wanted}


def test_a_palette_with_a_transparent_colour_lies_on_white(tmp_path):
    image = Image.new("P", (4, 4))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    pixels = read_image(tmp_path / "a.png")
    assert pixels[0, 0].tolist() == [10, 20, 30] and pixels[1:].min() == 255


def test_images_that_are_all_one_value_are_told(tmp_path):
    folder(tmp_path, np.full((4, 3, 3), 7, np.uint8), write("PNG"), "png")
    with pytest.raises(DataError, match="all the same"):
        load(tmp_path, test_fraction=0.5)


def test_links_to_folders_and_files_are_followed(tmp_path):
    images = R.integers(0, 256, (6, 3, 3)).astype(np.uint8)
    real = folder(tmp_path / "real", images, write("PNG"), "png")
    (tmp_path / "links").mkdir()
    for label in "ab":
        os.symlink(real / label, tmp_path / "links" / label)
    np.testing.assert_array_equal(load(tmp_path / "links").x_train, load(real).x_train)
    os.symlink(tmp_path / "links", real / "a" / "back")
    with pytest.raises(DataError, match="leads back"):
        load(tmp_path / "links")


# ---- arrays

BIG = {
    "times in seconds": 1.7e9 + np.arange(40.0),
    "times in nanoseconds": 1_700_000_000_000_000_000 + np.arange(40) * 1000,
    "identifiers": 2**40 + np.arange(40),
    "tiny": 1e-30 * np.arange(40.0),
    "below float32": 1e-60 * np.arange(40.0),
    "a small spread": 1 + 1e-9 * np.arange(40.0),
}


@pytest.mark.parametrize("name", BIG)
def test_features_are_scaled_from_their_own_range(tmp_path, name):
    column = BIG[name]
    np.savez(tmp_path / "t.npz", x=column[:, None], y=np.arange(40) % 2)
    inputs = load(tmp_path / "t.npz").inputs("train")
    assert inputs.dtype == np.float32 and len(np.unique(inputs)) == len(inputs)
    assert abs(inputs.mean()) < 1e-2 and abs(inputs.std() - 1) < 1e-3  # the mean itself is rounded to float64


@pytest.mark.parametrize("name", ["times in seconds", "a small spread"])
@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_targets_keep_what_sets_them_apart(tmp_path, name, suffix):
    y, path = BIG[name].astype(np.float64), tmp_path / f"t.{suffix}"
    if suffix == "npz":
        np.savez(path, x=np.arange(40.0)[:, None], y=y)
    else:
        path.write_text("x,y\n" + "".join(f"{i},{value!r}\n" for i, value in enumerate(y.tolist())))
    dataset = load(path, task="regression")
    standardised = (dataset.y_train - dataset.target.mean) / dataset.target.std
    assert len(np.unique(standardised.astype(np.float32))) == len(standardised) == 32


def test_whole_numbers_that_float64_cannot_tell_apart_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=(2**60 + np.arange(40))[:, None], y=np.arange(40) % 2)
    with pytest.raises(DataError, match="feature 0 differ by less than float64"):
        load(tmp_path / "t.npz")
    (tmp_path / "t.csv").write_text("id,x,y\n" + "".join(f"{2**60 + i},{i},{i % 2}\n" for i in range(40)))
    dataset = load(tmp_path / "t.csv")
    assert dataset.feature_names == ("x",) and "column id: " in str(dataset)


def test_constant_features_are_named(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.stack([np.arange(40.0), np.full(40, 3e-20)], 1), y=np.arange(40) % 2)
    dataset = load(tmp_path / "t.npz")
    assert "1 feature with one value in all of the training set: 1" in str(dataset)
    assert np.ptp(dataset.inputs("train")[:, 1]) == 0


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint64, np.float32, bool])
def test_labels_of_every_dtype_become_class_numbers(tmp_path, dtype):
    y = (np.arange(250) % (2 if dtype is bool else 120)).astype(dtype)
    np.savez(tmp_path / "t.npz", x=np.arange(250.0)[:, None], y=y)
    dataset = load(tmp_path / "t.npz", task="classification")
    assert dataset.y_train.dtype == np.int64 and len(dataset.class_names) == y.max() + 1
    assert set(dataset.y_train.tolist()) | set(dataset.y_test.tolist()) == set(y.astype(int).tolist())


def tiff(array: np.ndarray, order: str) -> bytes:
    """A TIFF of 16 bits per channel (H, W, 3), uncompressed, in either byte order, written by hand."""
    height, width, channels = array.shape
    start = 8 + 2 + 12 * 9 + 4
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, start), (259, 3, 1, 1), (262, 3, 1, 2),
               (273, 4, 1, start + 6), (277, 3, 1, channels),
               (278, 4, 1, height), (279, 4, 1, array.nbytes)]
    pack = lambda kind, value: struct.pack(order + ("HH" if kind == 3 else "I"),
                                           *((value, 0) if kind == 3 else (value,)))
    body = b"".join(struct.pack(order + "HHI", tag, kind, number)
                    + (pack(kind, value) if number == 1 else struct.pack(order + "I", value))
                    for tag, kind, number, value in entries)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    return head + body + bytes(4) + struct.pack(order + "HHH", 16, 16, 16) + array.astype(order + "u2").tobytes()


@pytest.mark.parametrize("order", "<>")
def test_colour_tiffs_of_sixteen_bits(tmp_path, order):
    pixels = R.integers(0, 65536, (5, 6, 3)).astype(np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(pixels, order))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


def test_float32_inputs_are_scaled_in_float32_where_that_is_fine_enough():
    x = R.normal(size=(50, 3)).astype(np.float32) + np.float32([0, 3, 1e4])
    scaling = preprocess_from_config({"kind": "features", "mean": [0, 3, 1e4], "std": [1, 1, 1], "feature_shape": [3],
                                      "dtype": "float32"})
    np.testing.assert_allclose(scaling.transform(x), x.astype(np.float64) - [0, 3, 1e4], rtol=1e-7)
