# SPDX-License-Identifier: Apache-2.0
"""Sources on real files: photos, recordings, a text, tables; and shards that are made of the photos."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest

import chainrule as cr
from chainrule import augment


def test_photos_from_a_folder_and_from_a_shard(shared_data, tmp_path):
    pytest.importorskip("PIL")
    folder = cr.data.ImageFolder(shared_data / "bccd" / "JPEGImages", size=(48, 64))
    assert len(folder) == 364 and folder[0].shape == (48, 64, 3)
    few = folder.subset(range(0, 364, 20))
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for i in range(len(few)):
            archive.add(few.where(i), f"{i:03}.jpg")
    shard = cr.data.TarShards(tmp_path / "s.tar", fields=("jpg",), size=(48, 64))
    pipeline = augment.Compose([augment.Crop((48, 64), padding=4), augment.Flip()])
    with cr.data.Loader(few, 5, augment=pipeline,
                        seed=2) as a, cr.data.Loader(shard.map(lambda sample: sample[0]), 5, augment=pipeline, seed=2,
                                                     workers=0) as b:
        assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_recordings_in_buckets(shared_data):
    sounds = cr.data.AudioFolder(shared_data / "free-spoken-digits" / "recordings")
    few = sounds.subset(range(0, len(sounds), 50))
    with cr.data.Loader(few, 8, buckets=3, seed=0) as loader:
        batches = list(loader)
    assert sounds.rate == 8000 and sum(len(b.lengths) for b in batches) == len(few) == 60
    assert all(b.values.shape[1] >= b.lengths.max() and not b.values[i, n:].any() for b in batches
               for i, n in enumerate(b.lengths))


def test_a_text_by_line(shared_data):
    path = shared_data / "tiny-shakespeare" / "input.txt"
    source, lines = cr.data.TextLines(path), path.read_text(encoding="utf-8").splitlines()
    assert len(source) == len(lines) == 40000
    assert all(source[i] == lines[i] for i in range(0, 40000, 997))


def test_tables(shared_data):
    table = cr.data.Rows(shared_data / "tabular" / "california_housing.csv")
    assert len(table) == 20640
    pytest.importorskip("pyarrow")
    other = cr.data.Rows(shared_data / "tabular" / "california_housing.parquet", columns=list(table[0]))
    for i in (0, 777, 20639):
        assert all(np.isclose(float(table[i][name]), float(other[i][name]), equal_nan=True) for name in table[0]
                   if isinstance(table[i][name], float))
