# SPDX-License-Identifier: Apache-2.0
"""idx and npz files: what was written comes back; a damaged file is told with its name and the place."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.data import load, read_idx
from chainrule.errors import ArgumentError, DataError

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx_bytes(array: np.ndarray) -> bytes:
    dtype = array.dtype.newbyteorder(">") if array.dtype.itemsize > 1 else array.dtype
    code = {np.dtype(name): number for name, number in CODES.items()}[dtype]
    header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(dtype).tobytes()


def random(shape, dtype="u1", seed=0):
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


def problem(function, *args, **options) -> str:
    with pytest.raises(DataError) as told:
        function(*args, **options)
    return str(told.value)


@pytest.fixture
def pair(tmp_path):
    images, labels = tmp_path / "a-images-idx3-ubyte", tmp_path / "a-labels-idx1-ubyte"
    images.write_bytes(idx_bytes(random((20, 5, 4))))
    labels.write_bytes(idx_bytes((np.arange(20) % 3).astype("u1")))
    return images, labels


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_comes_back(tmp_path, dtype, zipped):
    array, path = random((3, 4, 5), dtype), tmp_path / "x.idx"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    found = read_idx(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=") and found.flags.writeable


@pytest.mark.parametrize("source", ["one path", "tuple", "target"])
def test_pair_loads(pair, source):
    args = {"one path": (pair[0],), "tuple": (pair,), "target": pair}[source]
    dataset = load(*args)
    assert dataset.x_train.shape == (16, 5, 4, 1) and dataset.x_test.shape == (4, 5, 4, 1)
    assert dataset.class_names == ("0", "1", "2") and dataset.task == "classification"


IDX_MISTAKES = {
    "truncated data": (lambda good: good[:-3], ["ends too early, at byte 413", "397 data bytes", "400 data bytes"]),
    "truncated header": (lambda good: good[:9], ["at byte 9, inside the header", "16 header bytes"]),
    "empty": (lambda good: b"", ["at byte 0"]),
    "wrong magic": (lambda good: b"\1" + good[1:], ["wrong magic in bytes 0 to 3", "0x01000803"]),
    "unknown type": (lambda good: good[:2] + b"\7" + good[3:], ["type code in byte 2", "0x07", "0x08"]),
    "extra bytes": (lambda good: good + b"12", ["extra bytes after the data, from byte 416"]),
    "huge header": (lambda good: good[:4] + b"\xff" * 12 + good[16:], ["at byte 416", "ends too early"]),
    "truncated gzip": (lambda good: gzip.compress(good)[:-12], ["damaged or cut off"]),
    "damaged gzip": (lambda good: gzip.compress(good)[:-8] + bytes(8), ["damaged or cut off after"]),
}


@pytest.mark.parametrize("mistake", IDX_MISTAKES)
def test_bad_idx_names_file_and_place(pair, mistake):
    damage, parts = IDX_MISTAKES[mistake]
    pair[0].write_bytes(damage(pair[0].read_bytes()))
    text = problem(load, pair[0])
    assert all(part in text for part in [str(pair[0]), *parts]), text


def test_counts_of_images_and_labels_differ(pair):
    pair[1].write_bytes(idx_bytes(np.zeros(19, "u1")))
    text = problem(load, pair)
    assert "20 images, 19 labels" in text and str(pair[1]) in text


def test_labels_are_not_beside_the_images(pair):
    pair[1].unlink()
    assert "a-labels-idx1-ubyte" in problem(load, pair[0])


def test_label_outside_the_classes(pair):
    text = problem(load, pair, classes=2)
    assert f"{pair[1]}: item 2 (byte 10): the class '2'" in text and "0..1" in text and "1-based" in text


def test_class_of_the_test_set_never_seen(pair, tmp_path):
    other = tmp_path / "b-images-idx3-ubyte"
    other.write_bytes(pair[0].read_bytes())
    labels = np.arange(20) % 3
    labels[11] = 7
    (tmp_path / "b-labels-idx1-ubyte").write_bytes(idx_bytes(labels.astype("u1")))
    text = problem(load, pair[0], test=other)
    assert "b-labels-idx1-ubyte: item 11" in text and "'7'" in text


def test_folder_of_idx_files(tmp_path):
    for word, size in (("train", 12), ("t10k", 6)):
        (tmp_path / f"{word}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(random((size, 3, 3)))))
        (tmp_path / f"{word}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(random(size, seed=1) % 2)))
    dataset = load(tmp_path)
    assert len(dataset.x_train) == 12 and len(dataset.x_test) == 6


def test_missing_file_suggests_names(tmp_path):
    (tmp_path / "people.csv").write_text("a,b\n1,2\n")
    assert f"did you mean {tmp_path / 'people.csv'}?" in problem(load, tmp_path / "peple.csv")
    assert "no folder" in problem(load, tmp_path / "nowhere" / "x.csv")


# ---- npz


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("X", "Y"), ("train_images", "train_labels"),
                                   ("x_train", "y_train"), ("X_train", "Y_train"), ("data", "target")])
def test_npz_names(tmp_path, names):
    np.savez(tmp_path / "d.npz", **{names[0]: random((10, 6, 6)), names[1]: np.arange(10) % 2})
    dataset = load(tmp_path / "d.npz")
    assert dataset.x_train.shape == (8, 6, 6, 1) and dataset.x_train.dtype == np.uint8


def test_npz_parts_and_class_names(tmp_path):
    parts = {f"{part}_{what}": random((8, 4, 4, 3)) if what == "images" else np.arange(8)[:, None] % 2
             for part in ("train", "val", "test") for what in ("images", "labels")}
    np.savez(tmp_path / "d.npz", class_names=np.array(["cat", "dog"]), **parts)
    dataset = load(tmp_path / "d.npz")
    assert dataset.x_val.shape == (8, 4, 4, 3) and dataset.y_val.shape == (8,)
    assert dataset.target.decode(dataset.y_test[:2]) == ["cat", "dog"]


@pytest.mark.parametrize("y, task, outputs", [
    (np.arange(20) % 3, "classification", 3), (np.arange(20) % 3 == 0, "classification", 2),
    (np.linspace(0, 1, 20), "regression", 1), (np.zeros((20, 2)) + 0.5, "regression", 2),
    (np.eye(4)[np.arange(20) % 4], "classification", 4), (np.array(["a", "b"] * 10), "classification", 2),
    (np.arange(20) % 2 * 2.0 - 1, "classification", 2),
])
def test_npz_task(tmp_path, y, task, outputs):
    np.savez(tmp_path / "d.npz", x=random((20, 5), "f4"), y=y)
    dataset = load(tmp_path / "d.npz")
    assert (dataset.task, dataset.outputs) == (task, outputs)
    assert dataset.y_train.shape == ((16,) if task == "classification" else (16, outputs))


def test_channels_first_images_are_turned(tmp_path):
    x = random((10, 3, 8, 8))
    np.savez(tmp_path / "d.npz", x_train=x, y_train=np.arange(10) % 2, x_test=x, y_test=np.arange(10) % 2)
    dataset = load(tmp_path / "d.npz")
    np.testing.assert_array_equal(dataset.x_train, x.transpose(0, 2, 3, 1))
    assert any("channels last" in line for line in dataset.description)


def spoiled(place, value):
    x = random((20, 3), "f8")
    x[place] = value
    return x


NPZ_MISTAKES = {
    "no names": ({"weights": np.ones(3), "bias": np.ones(2)},
                 ["x and y are not in the file", "weights (3,)", "bias (2,)"]),
    "nan": ({"x": spoiled((17, 2), np.nan), "y": np.arange(20) % 2}, ["x[17, 2] is nan", "1 value"]),
    "infinite": ({"x": spoiled((3, 0), -np.inf), "y": np.arange(20) % 2}, ["x[3, 0] is -inf"]),
    "too large": ({"x": spoiled((3, 1), 1e300), "y": np.arange(20) % 2}, ["x[3, 1] is inf", "float32"]),
    "nan target": ({"x": random((20, 3)), "y": np.r_[np.ones(4), np.nan, np.ones(15)]}, ["y[4] is nan"]),
    "lengths": ({"x": np.ones((20, 3)), "y": np.ones(19)}, ["x (20, 3), y (19,)"]),
    "objects": ({"x": np.array([[1], "a"], object), "y": np.ones(2)}, ["the array x", "objects", "refused"]),
    "texts": ({"x": np.array(["a", "b"]), "y": np.ones(2)}, ["does not hold numbers", "<U1"]),
    "one class": ({"x": np.ones((20, 3)), "y": np.ones(20, int)}, ["all samples have one class, 1"]),
    "many labels": ({"x": np.ones((20, 3)), "y": np.ones((20, 2, 2))}, ["cannot be a target", "(20, 2, 2)"]),
}


@pytest.mark.parametrize("mistake", NPZ_MISTAKES)
def test_bad_npz_names_file_and_place(tmp_path, mistake):
    arrays, parts = NPZ_MISTAKES[mistake]
    np.savez(tmp_path / "d.npz", **arrays)
    text = problem(load, tmp_path / "d.npz")
    assert all(part in text for part in [str(tmp_path / "d.npz"), *parts]), text


@pytest.mark.parametrize("keep", [40, 400, -30])
def test_cut_off_npz(tmp_path, keep):
    np.savez_compressed(tmp_path / "d.npz", x=random((50, 40)), y=np.arange(50) % 2)
    content = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(content[:keep])
    assert f"{tmp_path / 'd.npz'} cannot be read" in problem(load, tmp_path / "d.npz")


def test_npy_is_told_what_to_do(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(3))
    assert "np.savez" in problem(load, tmp_path / "x.npy")


def test_parts_of_other_shape(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=np.ones((4, 3)), y_train=[0, 1, 0, 1], x_test=np.ones((4, 2)),
             y_test=[0, 1, 0, 1])
    assert "train (3,), test (2,)" in problem(load, tmp_path / "d.npz")


def test_target_names_another_array(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=random((10, 3)), age_train=np.linspace(0, 1, 10), y_train=np.arange(10))
    assert load(tmp_path / "d.npz", "age").task == "regression"
    assert "x and size are not in the file" in problem(load, tmp_path / "d.npz", "size")


def test_what_does_not_concern_arrays_is_refused(pair):
    with pytest.raises(ArgumentError, match="concern tables"):
        load(pair, drop=["a"])
    with pytest.raises(ArgumentError, match="no such part"):
        load(pair).inputs("val")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["d.npz", "images-idx3-ubyte.gz", "d.csv", "d.tar.gz", "d"]),
       st.sampled_from([b"", b"PK\x03\x04", b"\0\0\x08\3", b"\x1f\x8b\x08\0", b"1,2\n3,", b'"']),
       st.binary(max_size=600))
def test_any_bytes_are_a_data_error(tmp_path, name, start, rest):
    (tmp_path / name).write_bytes(start + rest)
    try:
        load(tmp_path / name)
    except DataError as error:
        assert name in str(error) or "labels" in str(error)
