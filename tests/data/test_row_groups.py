# SPDX-License-Identifier: Apache-2.0
"""Parquet by row groups: the rows of the whole table, in bounded memory. Oracle: the table as pyarrow reads it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule.data.sources import parquet
from chainrule.errors import DataError

arrow = pytest.importorskip("pyarrow")


def grouped(path, groups=4, rows=25, **columns):
    """A file of several row groups; the table that pyarrow reads from it."""
    import pyarrow.parquet
    pyarrow.parquet.write_table(arrow.table(columns), path, row_group_size=rows)
    assert pyarrow.parquet.ParquetFile(path).metadata.num_row_groups == groups
    return pyarrow.parquet.read_table(path)


def mixed(n=100):
    """Columns of many types, some with values that are missing in one row group alone."""
    generator = np.random.default_rng(0)
    late = lambda values: [None if i == 60 else value for i, value in enumerate(values)]
    words = [f"word{'s' * int(i)}" for i in generator.integers(0, 9, n)]
    numbers = generator.integers(0, 99, n).tolist()
    return {"whole": numbers, "late": late(numbers), "real": generator.normal(size=n),
            "gap": late(generator.normal(size=n).tolist()), "flag": [i % 3 == 0 for i in range(n)],
            "word": words, "hole": late(words), "list": [[float(i), 1.0, 2.0] for i in range(n)],
            "long": [list(range(i % 5)) for i in range(n)], "raw": [b"x" * (i % 4) for i in range(n)],
            "day": np.datetime64("2020-01-01") + np.arange(n)}


def test_rows_of_row_groups_are_those_of_the_whole_table(tmp_path):
    table = grouped(tmp_path / "t.parquet", **mixed())
    source = cr.data.Rows(tmp_path / "t.parquet")
    assert len(source) == 100
    for i in (0, 24, 25, 60, 99):
        row = source[i]
        for name in table.column_names:
            wanted = table.column(name).to_numpy()[i]
            np.testing.assert_array_equal(row[name], wanted, err_msg=name)
    numbers = cr.data.Rows(tmp_path / "t.parquet", columns=["whole", "late", "real", "gap", "flag", "word"])
    picked = np.array([77, 3, 60, 3, 25])
    batch = numbers[picked]
    for name in batch:
        wanted = table.column(name).to_numpy()[picked]
        np.testing.assert_array_equal(batch[name], wanted, err_msg=name)
        assert batch[name].dtype.kind == {"word": "U"}.get(name, wanted.dtype.kind)
    assert batch["late"].dtype == np.float64
    np.testing.assert_array_equal(numbers.leaves[0][20:30:3], table.column("whole").to_numpy()[20:30:3])


def test_labels_of_row_groups_and_their_batches(tmp_path, monkeypatch):
    columns = mixed()
    grouped(tmp_path / "t.parquet", **{name: columns[name] for name in ("whole", "real", "gap")})
    source = cr.data.Rows(tmp_path / "t.parquet", target="whole")
    assert source.labels.tolist() == columns["whole"]
    assert cr.data.Rows(tmp_path / "t.parquet", target="real").labels is None
    wanted = [(x["real"], y) for x, y in cr.data.Loader(source, batch_size=7, seed=1)]
    monkeypatch.setattr(parquet, "MOST", 1)  # one row group is kept
    for options in ({"workers": 0}, {"workers": 3}, {"workers": 2, "processes": True}):
        found = [(x["real"], y) for x, y in cr.data.Loader(cr.data.Rows(tmp_path / "t.parquet", target="whole"),
                                                           batch_size=7, seed=1, **options)]
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])


def test_a_damaged_row_group_names_the_file(tmp_path):
    path = tmp_path / "t.parquet"
    grouped(path, real=np.random.default_rng(0).normal(size=100))
    content = bytearray(path.read_bytes())
    content[4:len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet"):
        [cr.data.Rows(path)[i] for i in range(100)]


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
import chainrule as cr
from chainrule.data.sources import parquet
parquet.MOST = 32 << 20
small, large = sys.argv[1:]
cr.data.Rows(small)[0]  # what reads is loaded
used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (160 << 20), resource.RLIM_INFINITY))
source = cr.data.Rows(large)
total, rows = 0.0, 0
for batch in cr.data.Loader(source, batch_size=50_000, shuffle=False, workers=0):
    total += batch["c0"].sum()
    rows += len(batch["c9"])
print(rows, total)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are those of Linux")
def test_a_table_larger_than_memory_is_read_by_row_groups(tmp_path):
    import pyarrow.parquet
    values = (np.arange(250_000) % 7).astype("float64")
    part = arrow.table({f"c{i}": values for i in range(10)})  # 20 MB each, in a small file
    for name, count in (("small", 1), ("large", 16)):
        with pyarrow.parquet.ParquetWriter(tmp_path / name, part.schema) as writer:
            for _ in range(count):
                writer.write_table(part.slice(0, 10) if name == "small" else part)
        (tmp_path / name).rename(tmp_path / f"{name}.parquet")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "small.parquet"),
                           str(tmp_path / "large.parquet")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4000000", str(16 * values.sum())]
