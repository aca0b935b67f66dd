# SPDX-License-Identifier: Apache-2.0
"""`data.cache`: the same samples from a file, used again by its key, whole or not there at all."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, DataError


class Counted:
    def __init__(self, make, size=20):
        self.make, self.size, self.read = make, size, 0

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        self.read += 1
        return self.make(i)


KINDS = {
    "images": lambda i: (np.full((5, 7, 3), i, np.uint8), i % 3),
    "numbers": lambda i: np.float32(i),
    "odd sizes": lambda i: {"a": np.full((3,), i, np.uint8), "b": np.arange(i, dtype=np.float64).reshape(-1, 1),
                            "c": i / 2},
    "texts": lambda i: (f"é{i}" * i, bytes(range(i)), [i, i + 1]),
    "nested": lambda i: {"x": (np.ones((2, 2)) * i, None), "y": {"z": True}},
    "no elements": lambda i: (np.zeros((0, 3)), i),
}


def equal(a, b) -> bool:
    (left, shape), (right, other) = cr.data.sources.collate.spread(a), cr.data.sources.collate.spread(b)
    return (shape == other and all(p.shape == q.shape and p.dtype == q.dtype and (p == q).all()
                                   for p, q in zip(left, right, strict=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_samples_come_back_as_they_were(kind, tmp_path):
    source = Counted(KINDS[kind])
    kept = cr.data.cache(source, tmp_path / "c", key="1")
    assert source.read == 20 and all(equal(kept[i], KINDS[kind](i)) for i in range(20))
    again = cr.data.cache(source, tmp_path / "c", key="1")
    assert source.read == 20 and all(equal(again[i], KINDS[kind](i)) for i in range(20))
    if kind in ("images", "numbers", "nested"):
        for options in ({"workers": 0}, {"workers": 2}, {"workers": 2, "processes": True}):
            with cr.data.Loader(kept, 6, seed=1,
                                **options) as a, cr.data.Loader([KINDS[kind](i) for i in range(20)], 6, seed=1) as b:
                assert all(equal(p, q) for p, q in zip(a, b, strict=True))
    assert equal(pickle.loads(pickle.dumps(kept))[7], KINDS[kind](7))
    assert os.listdir(tmp_path) == ["c"]


def test_another_key_or_length_makes_it_anew(tmp_path):
    source = Counted(KINDS["images"])
    cr.data.cache(source, tmp_path / "c", key="1")
    cr.data.cache(source, tmp_path / "c", key="2")
    assert source.read == 40
    source.size = 10
    assert len(cr.data.cache(source, tmp_path / "c", key="2")) == 10 and source.read == 50


def test_files_and_arrays_have_a_key_of_their_own(tmp_path):
    (tmp_path / "t").write_text("a\nb\n")
    kept = cr.data.TextLines(tmp_path / "t").cache(tmp_path / "c")
    assert kept[[0, 1]].tolist() == ["a", "b"]
    (tmp_path / "t").write_text("a\nc\n")
    os.utime(tmp_path / "t", ns=(1, 1))
    assert cr.data.TextLines(tmp_path / "t").cache(tmp_path / "c")[1] == "c"
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    assert (
        cr.data.Rows(tmp_path / "t.csv").cache(tmp_path / "r")[1]
        == cr.data.Rows(tmp_path / "t.csv").cache(tmp_path / "r")[1]
        == {"a": 2.0, "b": "y"}
    )
    x = np.arange(6.0)
    cr.data.cache((x, x), tmp_path / "d")
    x[3] = 7
    assert cr.data.cache((x, x), tmp_path / "d")[3] == (7, 7)


def test_functions_need_a_key(tmp_path):
    mapped = cr.data.map(np.arange(4), lambda v: v + 1)
    for source in (mapped, mapped.subset([1, 2]), cr.data.concat(np.arange(3), mapped), [1, 2, 3]):
        with pytest.raises(ArgumentError, match="say a key"):
            cr.data.cache(source, tmp_path / "c")
    assert cr.data.cache(mapped, tmp_path / "c", key="v1")[3] == 4


def test_a_sample_that_cannot_be_read_leaves_the_old_cache(tmp_path):
    cr.data.cache([1, 2, 3], tmp_path / "c", key="1")
    before = (tmp_path / "c").read_bytes()
    bad = Counted(lambda i: i // (i - 5))
    with pytest.raises(DataError, match="sample 5 cannot be read"):
        cr.data.cache(bad, tmp_path / "c", key="2")
    with pytest.raises(DataError, match="sample 5 has another dtype"):
        cr.data.cache(Counted(lambda i: i if i != 5 else "five"), tmp_path / "c", key="2")
    assert (tmp_path / "c").read_bytes() == before and os.listdir(tmp_path) == ["c"]


def test_damaged_caches_and_other_files_are_refused(tmp_path):
    cr.data.cache(Counted(KINDS["images"]), tmp_path / "c", key="1")
    whole = (tmp_path / "c").read_bytes()
    for damaged in (whole[:-1], whole[:50], whole[200:], whole[:-60] + b"0" + whole[-59:], b"", b"my own notes"):
        (tmp_path / "c").write_bytes(damaged)
        with pytest.raises(DataError, match="cache"):
            cr.data.cache(Counted(KINDS["images"]), tmp_path / "c", key="1")
        assert (tmp_path / "c").read_bytes() == damaged


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_leaves_nothing_behind(tmp_path):
    program = f"""
import resource, signal, numpy as np, chainrule as cr
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    cr.data.cache([np.zeros(20_000, np.uint8)] * 9, {str(tmp_path / 'c')!r}, key="1")
except cr.errors.DataError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "the disk is full" in said and os.listdir(tmp_path) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
def test_mapped_arrays_are_never_copied_whole(tmp_path):
    # 400 MB, of which nothing is written
    large = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (400, 1 << 20))
    large[7, 7] = 5
    del large
    program = f"""
import resource, numpy as np, chainrule as cr
x = np.load({str(tmp_path / 'x.npy')!r}, mmap_mode="r")
for source in (cr.data.Memmap({str(tmp_path / 'x.npy')!r}), cr.data.as_source((x, np.arange(400))),
               cr.data.as_source(x).subset(range(300)).shuffle(1)):
    with cr.data.Loader(source, 4, workers=2, seed=0) as loader:
        next(iter(loader))
        now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (150 << 20), resource.RLIM_INFINITY))
        seen = sum(len(b[0] if isinstance(b, tuple) else b) for b in loader)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(seen)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          check=True).stdout.split() == ["396", "396", "296"]
