# SPDX-License-Identifier: Apache-2.0
"""The embedded digits and well-known files as they are found in the world: sizes, classes, and what is said of them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from chainrule.data import Dataset, digits, load

DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
TEST_SHA256 = "103f45af0f886c6fa8bc6163fb1a6e337569569ac3c4de8208e347eb7321a342"


def test_digits_are_the_published_ones():
    dataset = digits()
    assert dataset.x_train.shape == (1437, 8, 8, 1) and dataset.x_test.shape == (360, 8, 8, 1)
    assert dataset.x_train.dtype == np.uint8 and dataset.x_train.max() == 255
    assert dataset.class_names == tuple("0123456789")
    sizes = np.bincount(np.r_[dataset.y_train, dataset.y_test])
    assert sizes.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(np.bincount(dataset.y_test) - sizes * 360 / 1797).max() <= 1


def test_split_of_the_digits_never_changes():
    content = load("digits", seed=5).x_test.tobytes()
    assert hashlib.sha256(content).hexdigest() == TEST_SHA256


def test_digits_agree_with_scikit_learn():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = source.images.astype(np.uint8), source.target.astype(np.uint8)
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == DIGITS_SHA256
    known = {np.round(image * (255 / 16) + 1e-9).astype(np.uint8).tobytes() for image in images}
    assert all(image.tobytes() in known for image in digits().x_train)


TABLES = {  # name: (target, task, samples, features, outputs)
    "iris.csv": (None, "classification", 150, 4, 3),
    "wine.csv": (None, "classification", 178, 13, 3),
    "titanic.csv": ("survived", "classification", 891, None, 2),
    "penguins.csv": ("species", "classification", 344, None, 3),
    "mpg.csv": ("mpg", "regression", 398, None, 1),
    "winequality-red.csv": (None, "classification", 1599, 11, 6),
    "winequality-white.csv": (None, "classification", 4898, 11, 7),
    "california_housing.csv": (None, "regression", 20640, 8, 1),
    "abalone.csv": (None, "regression", 4177, None, 1),
    "sonar.csv": (None, "classification", 208, 60, 2),
    "banknote_authentication.csv": (None, "classification", 1372, 4, 2),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(shared_data, name):
    target, task, samples, features, outputs = TABLES[name]
    dataset = load(shared_data / "tabular" / name, target)
    check(dataset)
    assert (dataset.task, len(dataset.x_train) + len(dataset.x_test), dataset.outputs) == (task, samples, outputs)
    assert features in (None, dataset.feature_shape[0]) and len(dataset.feature_names) == dataset.feature_shape[0]


def check(dataset: Dataset) -> None:
    for part in ("train", "test"):
        x = dataset.inputs(part)
        assert x.dtype == np.float32 and np.isfinite(x).all() and x.shape[1:] == dataset.feature_shape
    if dataset.task == "classification":
        assert set(np.unique(dataset.y_train)) == set(range(dataset.outputs))


def test_adult(shared_data):
    folder = shared_data / "tabular"
    dataset = load(folder / "adult-train.csv", test=folder / "adult-test.csv")
    check(dataset)
    assert (len(dataset.x_train), len(dataset.x_test)) == (32561, 16281)
    assert dataset.class_names == ("<=50K", ">50K") and (dataset.y_test == 0).mean() == pytest.approx(0.7638, abs=1e-4)
    text = str(dataset)
    assert "column_1: 8 categories" in text and "1,836 missing → own category" in text
    assert "the labels end with a dot" in text


def test_pneumonia(shared_data):
    dataset = load(shared_data / "pneumoniamnist" / "pneumoniamnist.npz")
    check(dataset)
    assert (len(dataset.x_train), len(dataset.x_val), len(dataset.x_test)) == (4708, 524, 624)


def test_mnist(shared_data):
    dataset = load(shared_data / "mnist")
    assert dataset.x_train.shape == (60000, 28, 28, 1) and dataset.x_test.shape == (10000, 28, 28, 1)
    assert dataset.preprocess.mean[0] / 255 == pytest.approx(0.1307, abs=1e-4)
    assert dataset.preprocess.std[0] / 255 == pytest.approx(0.3081, abs=1e-4)
    assert dataset.y_test[:5].tolist() == [7, 2, 1, 0, 4]


def test_cifar_jpegs(shared_data):
    pytest.importorskip("PIL")
    dataset = load(shared_data / "cifar10" / "cifar10_jpg_test.tar.gz")
    assert dataset.x_train.shape == (8000, 32, 32, 3) and len(dataset.class_names) == 10
    assert np.bincount(dataset.y_test).tolist() == [200] * 10
