# SPDX-License-Identifier: Apache-2.0
"""Sources: each gives what a plain reading of the same files gives, one by one and many at once, and composes."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, BoundsError, DataError, MissingExtra

PIL = pytest.importorskip("PIL.Image")


def picture(seed: int, size: tuple[int, int] = (12, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(12):
        folder = tmp_path / "photos" / ("cat", "dog", "owl")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        PIL.fromarray(picture(i)).save(folder / f"{i:02}.png")
    return tmp_path / "photos"


def test_images_are_decoded_with_their_class(photos):
    source = cr.data.ImageFolder(photos)
    assert len(source) == 12 and source.class_names == ("cat", "dog", "owl")
    image, label = source[0]
    assert (image == picture(0)).all() and image.dtype == np.uint8 and label == 0
    images, labels = source[[4, -1]]
    assert images.shape == (2, 12, 10, 3) and labels.tolist() == [source.labels[4], 2]
    assert cr.data.ImageFolder(photos, size=6, colour="grey")[3][0].shape == (6, 6, 1)


def test_a_folder_without_classes_gives_images_alone(photos):
    assert cr.data.ImageFolder(photos / "cat")[0].shape == (12, 10, 3)


def test_part_folders_are_not_classes(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        PIL.fromarray(picture(0)).save(tmp_path / part / "a" / "1.png")
    with pytest.raises(DataError, match="parts, not classes"):
        cr.data.ImageFolder(tmp_path)
    assert len(cr.data.ImageFolder(tmp_path / "train", classes=["a", "b"])) == 1


def test_a_corrupt_image_names_itself_and_its_number(photos):
    (photos / "dog" / "01.png").write_bytes(b"\x89PNG no more")
    source = cr.data.ImageFolder(photos)
    broken = next(i for i in range(12) if source.where(i).endswith("dog/01.png"))
    with pytest.raises(DataError, match=r"dog/01\.png"):
        source[broken]
    with pytest.raises(DataError, match=rf"sample {broken} .*dog/01\.png"):
        list(cr.data.Loader(source, 4, workers=2))


def test_jpegs_are_decoded_as_pillow_decodes_them(tmp_path):
    for i, (mode, options) in enumerate(
        [
            ("RGB", {}),
            ("L", {}),
            ("RGB", {"progressive": True}),
            ("CMYK", {}),
            ("RGB", {"subsampling": 0}),
            ("RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}),
        ]
    ):
        file = tmp_path / f"{i}.jpg"
        PIL.fromarray(picture(i, (33, 47))).convert(mode).save(file, quality=80, **options)
        from PIL import ImageOps
        expected = np.asarray(ImageOps.exif_transpose(PIL.open(file)).convert("RGB"))
        assert (cr.data.ImageFolder(tmp_path)[i] == expected).all()
        assert (cr.data.read_image(file) == expected).all()
    whole = (tmp_path / "0.jpg").read_bytes()
    for cut in (3, 40, 200, len(whole) // 2):
        (tmp_path / "0.jpg").write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"0\.jpg"):
            cr.data.ImageFolder(tmp_path)[0]


def test_sounds_are_read_and_brought_to_one_length(tmp_path):
    for i, name in enumerate(("no", "yes")):
        (tmp_path / name).mkdir()
        cr.data.write_sound(tmp_path / name / "1.wav", np.full((30 + 20 * i, 1), 0.5), 8000)
    source = cr.data.AudioFolder(tmp_path, length=40)
    sounds, labels = source[[0, 1]]
    assert sounds.shape == (2, 40, 1) and labels.tolist() == [0, 1] and source.rate == 8000
    assert sounds[0, 29, 0] == 0.5 and sounds[0, 30, 0] == 0 and sounds[1, 39, 0] == 0.5
    cr.data.write_sound(tmp_path / "yes" / "2.wav", np.zeros((9, 1)), 16000)
    with pytest.raises(DataError, match="another rate"):
        cr.data.AudioFolder(tmp_path, length=40)[2]


@pytest.mark.parametrize("text", ["a\nbb\n\nccc\n", "a\r\nbb\r\n\r\nccc", "é\n" * 5, "\n", "one"])
def test_lines_are_those_of_python(tmp_path, text):
    (tmp_path / "t.txt").write_bytes(text.encode())
    source = cr.data.TextLines(tmp_path / "t.txt")
    assert [source[i] for i in range(len(source))] == text.splitlines()


def test_lines_of_several_files_and_of_changed_ones(tmp_path):
    (tmp_path / "a").write_text("1\n2\n")
    (tmp_path / "b").write_text("3")
    source = cr.data.TextLines([tmp_path / "a", tmp_path / "b"])
    assert source[[0, 1, 2]].tolist() == ["1", "2", "3"] and source.where(2).endswith("b:1")
    (tmp_path / "b").write_text("45")
    with pytest.raises(DataError, match="changed"):
        source[2]
    (tmp_path / "b").write_bytes(b"\xff\n")
    with pytest.raises(DataError, match=r"b:1"):
        cr.data.TextLines(tmp_path / "b")[0]
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(DataError, match="no lines"):
        cr.data.TextLines(tmp_path / "b")


def test_rows_of_csv_parquet_and_arrow_are_the_same(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet
    (tmp_path / "t.csv").write_text("age,city,income\n20,north,1.5\n31,south,\n42,north,2\n")
    table = arrow.table({"age": [20.0, 31.0, 42.0], "city": ["north", "south", "north"], "income": [1.5, None, 2.0]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with arrow.OSFile(str(tmp_path / "t.arrow"), "wb") as file, arrow.ipc.new_file(file, table.schema) as writer:
        writer.write(table)
    for name in ("t.csv", "t.parquet", "t.arrow"):
        row, city = cr.data.Rows(tmp_path / name, target="city")[1]
        assert row["age"] == 31 and np.isnan(row["income"]) and city == "south" and list(row) == ["age", "income"]
        assert cr.data.Rows(tmp_path / name, columns=["age"])[[0, 2]]["age"].tolist() == [20, 42]
    with pytest.raises(DataError, match="did you mean 'age'"):
        cr.data.Rows(tmp_path / "t.csv", columns=["aeg"])
    for given in (table, table.to_batches()[0]):
        assert cr.data.as_source(given)[2]["age"] == 42


def test_columns_of_arrow_files_stay_where_they_are(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    values = np.random.default_rng(0).normal(size=300_000)
    parts = [arrow.table({"a": part, "b": np.arange(len(part), dtype=np.int32)})
             for part in np.split(values, [100_000, 100_000, 250_000])]
    with arrow.OSFile(str(tmp_path / "t.arrow"), "wb") as file, arrow.ipc.new_file(file, parts[0].schema) as writer:
        for part in parts:
            writer.write(part)
    before = arrow.total_allocated_bytes()
    source = cr.data.Rows(tmp_path / "t.arrow")
    assert len(source) == 300_000 and arrow.total_allocated_bytes() - before < 100_000
    chosen = np.array([299_999, 0, 99_999, 100_000, 250_000, 5, 5])
    assert (source[chosen]["a"]
            == values[chosen]).all() and source[250_000]["b"] == 0 and source[249_999]["a"] == values[249_999]


def test_data_frames_are_sources():
    pandas = pytest.importorskip("pandas")
    source = cr.data.as_source(pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}, index=[7, 8, 9]))
    assert source[1] == {"a": 2, "b": "y"}
    batch = next(iter(cr.data.Loader(source, 2, shuffle=False)))
    assert batch["a"].tolist() == [1, 2] and batch["b"].tolist() == ["x", "y"]
    column = cr.data.as_source(pandas.DataFrame({"a": pandas.array([1, None, 3], dtype="Int64")}))[[0, 1, 2]]["a"]
    assert column[[0, 2]].tolist() == [1, 3] and np.isnan(column[1])


def test_data_sets_of_pytorch_are_sources():
    torch = pytest.importorskip("torch")
    from torch.utils.data import Subset, TensorDataset
    x = torch.arange(20.0).reshape(10, 2)
    plain = TensorDataset(x, torch.arange(10))
    for given in (plain, Subset(plain, list(range(10)))):
        batches = list(cr.data.Loader(given, 4, shuffle=False))
        assert (np.concatenate([b[0] for b in batches]) == x.numpy()).all() and batches[0][1].dtype == np.int64


def test_many_at_once_are_asked_for_at_once():
    class Table:
        asked: list = []

        def __len__(self):
            return 5

        def __getitem__(self, i):
            return {"ids": [i, i + 1], "name": f"n{i}"}

        def __getitems__(self, indices):
            self.asked.append(indices)
            return [self[i] for i in indices]

    batch = next(iter(cr.data.Loader(Table(), 3, shuffle=False, workers=0)))
    assert (
        Table.asked == [[0, 1, 2]]
        and batch["ids"].tolist() == [[0, 1], [1, 2], [2, 3]]
        and batch["name"].tolist() == ["n0", "n1", "n2"]
    )


def test_mapped_arrays_and_windows(tmp_path):
    tokens = np.arange(1000, dtype=np.uint16)
    tokens.tofile(tmp_path / "t.bin")
    np.save(tmp_path / "t.npy", tokens.reshape(250, 4))
    source = cr.data.Memmap(tmp_path / "t.bin", "uint16", window=8, stride=5, targets=True)
    x, y = cr.data.pack(tokens, 8, 5)
    assert len(source) == len(x)
    for i in (0, 3, len(source) - 1):
        assert (source[i][0] == x[i]).all() and (source[i][1] == y[i]).all()
    batch = source[np.array([3, 0, 7])]
    assert (batch[0] == x[[3, 0, 7]]).all() and (batch[1] == y[[3, 0, 7]]).all()
    rows = cr.data.Memmap(tmp_path / "t.npy")
    assert rows[3].tolist() == [12, 13, 14, 15] and len(rows) == 250
    assert cr.data.Memmap(tmp_path / "t.npy", window=3)[[1]].tolist() == tokens[12:24].reshape(1, 3, 4).tolist()
    with pytest.raises(DataError, match="dtype must be told"):
        cr.data.Memmap(tmp_path / "t.bin")
    with pytest.raises(DataError, match="not of this size"):
        cr.data.Memmap(tmp_path / "t.bin", "uint16", (3, 5))
    with pytest.raises(DataError, match="too short"):
        cr.data.Memmap(tmp_path / "t.bin", "uint16", window=5000)


def shard(path: Path, samples: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in samples.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def png(seed: int) -> bytes:
    out = io.BytesIO()
    PIL.fromarray(picture(seed)).save(out, "PNG")
    return out.getvalue()


def test_tar_shards_give_samples_by_number(tmp_path):
    for k in range(2):
        shard(tmp_path / f"s-{k:03}.tar", {f"a/{k}{i}.{ext}": content for i in range(3) for ext, content in
                                          (("png", png(10 * k + i)), ("cls", str(i).encode()),
                                           ("json", json.dumps({"w": i}).encode()))})
    source = cr.data.TarShards(str(tmp_path / "s-{000..001}.tar"))
    assert (
        len(source) == 6 and source[4]["__key__"] == "a/11" and source[4]["cls"] == 1 and source[4]["json"] == {"w": 1}
    )
    pairs = cr.data.TarShards(str(tmp_path / "s-*.tar"), fields=("jpg;png", "cls"))
    assert (pairs[5][0] == picture(12)).all() and pairs[5][1] == 2
    with pytest.raises(DataError, match="has no txt"):
        cr.data.TarShards(tmp_path / "s-000.tar", fields=("txt",))[0]
    content = (tmp_path / "s-000.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[:700])
    with pytest.raises(DataError, match=r"cut\.tar"):
        cr.data.TarShards(tmp_path / "cut.tar")
    import gzip
    (tmp_path / "p.tar.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="packed"):
        cr.data.TarShards(tmp_path / "p.tar.gz")


def test_functions_compose():
    x, y = np.arange(10.0), np.arange(10)
    source = cr.data.as_source((x, y))
    doubled = cr.data.map(source, lambda s: (2 * s[0], s[1]))
    assert doubled[3] == (6.0, 3)
    even = cr.data.filter(doubled, lambda s: s[1] % 2 == 0)
    assert [s[1] for s in (even[i] for i in range(len(even)))] == [0, 2, 4, 6, 8]
    both = cr.data.concat(even, source.subset([9, -2]))
    assert [both[i][0] for i in range(len(both))] == [0, 4, 8, 12, 16, 9, 8] and len(both) == 7
    mixed = cr.data.shuffle(source, seed=3)
    assert (
        sorted(mixed[i][1] for i in range(10)) == list(range(10))
        and mixed[0] == cr.data.shuffle(source, 3)[0] != source[0]
    )
    assert (mixed.labels == [mixed[i][1] for i in range(10)]).all()
    assert cr.data.subset(source, slice(2, 5))[[0, 1, 2]][1].tolist() == [2, 3, 4]
    assert len(cr.data.subset(source, y > 6)) == 3
    with pytest.raises(BoundsError):
        cr.data.subset(source, [10])
    with pytest.raises(BoundsError):
        source[10]
    with pytest.raises(DataError, match="sample 4 "):
        cr.data.filter(source, lambda s: 1 / (s[1] - 4))
    with pytest.raises(ArgumentError, match="a source and a function"):
        cr.data.map(source, source)


def test_sources_side_by_side(photos):
    images = cr.data.ImageFolder(photos, size=4)
    for given, picked in (((images, np.arange(12)), lambda s: (s[0][0], s[1])),
                          (({"a": images}, np.arange(12)), lambda s: (s[0]["a"][0], s[1]))):
        source = cr.data.as_source(given)
        image, number = picked(source[5])
        assert (image == images[5][0]).all() and number == 5 and source.where(5) == images.where(5)
    assert (cr.data.as_source((images, np.arange(12))).labels == np.arange(12)).all()
    with pytest.raises(ArgumentError, match="different lengths"):
        cr.data.as_source((images, np.arange(11)))


def test_tensors_are_arrays():
    x = cr.asarray(np.arange(12.0).reshape(6, 2))
    batch = next(iter(cr.data.Loader((x, {"n": list(range(6))}), 4, shuffle=False)))
    assert (
        type(batch[0]) is np.ndarray
        and batch[0].tolist() == np.arange(8.0).reshape(4, 2).tolist()
        and batch[1]["n"].tolist() == [0, 1, 2, 3]
    )


def test_sparse_matrices_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    for given in (sparse.eye_array(4).tocsr(), (sparse.csr_matrix(np.eye(4)), np.arange(4))):
        with pytest.raises(ArgumentError, match="toarray"):
            cr.data.as_source(given)


def test_a_mapped_file_that_became_shorter_is_told(tmp_path):
    np.arange(100_000, dtype=np.int32).tofile(tmp_path / "t.bin")
    source = cr.data.Memmap(tmp_path / "t.bin", "int32", window=10)
    os.truncate(tmp_path / "t.bin", 5000)
    for read in (lambda: source[9000], lambda: source[[3, 9000]], lambda: list(cr.data.Loader(source, 8))):
        with pytest.raises(DataError, match=r"t\.bin.*shorter"):
            read()


def test_a_path_alone_is_refused():
    with pytest.raises(ArgumentError, match="ImageFolder"):
        cr.data.Loader("photos/", 4)


def test_what_is_missing_is_named(photos, monkeypatch, tmp_path):
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    for module, make in (("PIL", lambda: cr.data.ImageFolder(photos)),
                         ("soundfile", lambda: cr.data.AudioFolder(tmp_path)),
                         ("pyarrow", lambda: cr.data.Rows(_touched(tmp_path / "t.parquet")))):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtra, match=r"pip install 'chainrule\[data\]'"):
            make()


def _touched(path: Path) -> Path:
    path.write_bytes(b"PAR1")
    return path
