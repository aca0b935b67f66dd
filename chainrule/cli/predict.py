# SPDX-License-Identifier: Apache-2.0
"""A saved model used on files: whatever names them, a batch at a time, told line by line or written as one table.

The table has the columns id, prediction and, for classes, probability_<class> for every class of the model, in its
order.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import data
from ..data import images
from ..data.files import existing, fault, sniff
from ..data.table import MISSING
from ..errors import ArgumentError, MissingExtra, explain
from ..foundations.files import write_atomically
from ..train.saved import SavedRun
from .run import check_writable

STDIN = "-"
Samples = tuple[list[str], np.ndarray]  # an id for each network input
TABLE_SUFFIXES = (".csv", ".jsonl", ".parquet")


def predict_run(run: Path, files: Sequence[str], *, output: Path | None, top: int | None, batch_size: int,
                backend: str | None, say: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Predict every sample of the files; `say` gets a line for each, unless `output` gets them all; `tell` gets
    remarks."""
    write = None if output is None else writer(output)
    saved = SavedRun(run)
    if top is not None and saved.target.task == "regression":
        raise ArgumentError(explain("--top concerns classes, and this model predicts numbers", got=f"--top {top}",
                                    fix="leave it out"))
    found = _predicted(saved, files, batch_size, backend, tell)
    if write is None or output is None:
        for ids, values in found:
            for name, row in zip(ids, values, strict=True):
                say(f"{name}\t{_describe(row, saved.target, top or 1)}")
        return
    count = 0

    def counted() -> Iterator[Samples]:
        nonlocal count
        for ids, values in found:
            count += len(ids)
            yield ids, values
    write_atomically(output, lambda stream: write(stream, saved.target, counted()))
    tell(f"{count:,} predictions written to {output}")


def _predicted(saved: SavedRun, files: Sequence[str], batch_size: int, backend: str | None,
               tell: Callable[[str], None]) -> Iterator[Samples]:
    for ids, inputs in _gathered(_inputs(saved, files, batch_size, tell), batch_size):
        yield ids, saved.outputs(inputs, backend, batch_size)


def _gathered(pieces: Iterable[Samples], size: int) -> Iterator[Samples]:
    """The same samples in pieces of `size`, so that many small files are as fast as one large one."""
    ids: list[str] = []
    waiting: list[np.ndarray] = []
    for names, inputs in pieces:
        ids, waiting = [*ids, *names], [*waiting, inputs]
        while len(ids) >= size:
            joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            yield ids[:size], joined[:size]
            ids, waiting = ids[size:], [joined[size:]]
    if ids:
        yield ids, np.concatenate(waiting)


def _describe(row: np.ndarray, target: Any, top: int) -> str:
    if target.task == "regression":
        return "\t".join(f"{value:.6g}" for value in row)
    best = np.argsort(-row, kind="stable")[:top]
    return "\t".join(f"{target.class_names[i]}\t{row[i] * 100:.1f} %" for i in best)


# ---- from names to inputs


def _inputs(saved: SavedRun, files: Sequence[str], size: int, tell: Callable[[str], None]) -> Iterator[Samples]:
    with tempfile.TemporaryDirectory() as room:
        paths = _paths(saved, files, Path(room))
        while block := list(islice(paths, size)):
            if all(images.is_image(path) for _, path in block):
                yield [name for name, _ in block], saved.inputs([path for _, path in block])
                continue
            for name, path in block:
                yield from _one_file(saved, name, path, tell)


def _paths(saved: SavedRun, files: Sequence[str], room: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of everything that the user named; folders give the images below them, in order."""
    for name in files:
        if name == STDIN:
            yield from _standard_input(saved, room)
        elif existing(name).is_dir():
            below = [path for path in sorted(Path(name).rglob("*")) if images.is_image(path) and path.is_file()]
            if not below:
                raise fault(f"{name}: the folder holds no images", fix="name files, or a folder of images")
            yield from ((str(path), path) for path in below)
        else:
            yield name, Path(name)


def _standard_input(saved: SavedRun, room: Path) -> Iterator[tuple[str, Path]]:
    """What comes in: rows for a model of tables; else an array or an image, or names of files, one a line."""
    content, path = sys.stdin.buffer.read(), room / "standard-input"
    if not content.strip():
        raise fault("standard input is empty", expected="rows, an array, an image, or names of files, one a line")
    path.write_bytes(content)
    if isinstance(saved.preprocess, data.TablePreprocess) or sniff(path) != "table":
        yield STDIN, path
        return
    names = [line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    yield from _paths(saved, [name for name in names if name != STDIN], room)


def _one_file(saved: SavedRun, name: str, path: Path, tell: Callable[[str], None]) -> Iterator[Samples]:
    inputs = read_inputs(saved, name, path, tell)
    yield [name] if len(inputs) == 1 and name != STDIN else [f"{name}[{i}]" for i in range(len(inputs))], inputs


def read_inputs(saved: SavedRun, name: str, path: Path, tell: Callable[[str], None]) -> np.ndarray:
    """The network inputs in one file; `tell` gets what its table has that the training data had not."""
    if not isinstance(saved.preprocess, data.TablePreprocess):
        return saved.inputs(path)
    if (kind := sniff(existing(path))) != "table":
        raise fault(f"{name}: a model of tables predicts rows", got=f"a file of kind {kind}",
                    expected=f".csv with {', '.join(saved.preprocess.used)}")
    words = saved.preprocess.missing
    table = data.read_table(path, missing=None if words == MISSING else sorted(words))
    for note in saved.preprocess.unseen(table):
        tell(f"{name}: {note}")
    return saved.inputs(table)


# ---- one table


def writer(output: Path) -> Callable[[BinaryIO, Any, Iterable[Samples]], None]:
    """What writes a file of this suffix; an error for one that cannot be written, before any work is done."""
    suffix = output.suffix.lower()
    if suffix not in WRITERS:
        raise ArgumentError(explain("predictions cannot be written like this", got=str(output),
                                    expected=", ".join(TABLE_SUFFIXES)))
    if output.is_dir():
        raise ArgumentError(explain("a folder lies where the file would be written", got=str(output)))
    check_writable(output.absolute().parent)
    if suffix == ".parquet":
        _arrow()
    return WRITERS[suffix]


def columns(target: Any, outputs: int) -> list[str]:
    """The names of the columns of a table of predictions."""
    if target.task == "regression":
        return ["id", *(["prediction"] if outputs == 1 else [f"prediction_{i}" for i in range(outputs)])]
    return ["id", "prediction", *(f"probability_{name}" for name in target.class_names)]


def _records(target: Any, ids: list[str], values: np.ndarray) -> Iterator[list[Any]]:
    numbers = values.astype(np.float64).tolist()
    if target.task == "regression":
        yield from ([name, *row] for name, row in zip(ids, numbers, strict=True))
        return
    best = values.argmax(axis=1)
    yield from ([name, target.class_names[i], *row] for name, i, row in zip(ids, best, numbers, strict=True))


def _write_csv(stream: BinaryIO, target: Any, found: Iterable[Samples]) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    table = csv.writer(text, lineterminator="\n")
    for number, (ids, values) in enumerate(found):
        if number == 0:
            table.writerow(columns(target, values.shape[1]))
        table.writerows(_records(target, ids, values))
    text.detach()


def _write_jsonl(stream: BinaryIO, target: Any, found: Iterable[Samples]) -> None:
    for ids, values in found:
        names = columns(target, values.shape[1])
        for record in _records(target, ids, values):
            stream.write((json.dumps(dict(zip(names, record, strict=True)), ensure_ascii=False) + "\n").encode())


def _write_parquet(stream: BinaryIO, target: Any, found: Iterable[Samples]) -> None:
    arrow, parquet = _arrow()
    table = None
    for ids, values in found:
        names = columns(target, values.shape[1])
        held = dict(zip(names, map(list, zip(*_records(target, ids, values), strict=True)), strict=True))
        piece = arrow.table({name: arrow.array(column) for name, column in held.items()})
        table = table or parquet.ParquetWriter(stream, piece.schema)
        table.write_table(piece)
    if table is not None:
        table.close()


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("writing .parquet files", "pyarrow", "data") from error
    return pyarrow, pyarrow.parquet


WRITERS: dict[str, Callable[[BinaryIO, Any, Iterable[Samples]],
                            None]] = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
