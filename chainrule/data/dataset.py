# SPDX-License-Identifier: Apache-2.0
"""The user's data, whatever its form, as one Dataset: `load` finds the reader, splits, encodes and says what it did.

A source comes in (a word, a file, a folder); training, test and perhaps validation arrays go out, with the fitted
preprocessing and target, which are plain data and belong into the saved model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from . import arrays, embedded, idx, images
from .files import count, existing, fault, sniff
from .parts import Part, Parts
from .preprocess import ImageScaling, Scaling, TablePreprocess, constant_features, fit_array, fit_table
from .splits import split
from .table import (
    MISSING,
    MISSING_TARGET,
    Dialect,
    Table,
    column_label,
    find_column,
    is_missing,
    parse_number,
    read_dialect,
    read_like,
)
from .target import Target, class_sizes, fit_target

DIGITS = "digits"
FEW = 20
Source = str | os.PathLike | tuple | list


@dataclass
class Dataset:
    """Arrays for training and testing, and all that is known of them.

    What it holds, with names by part (x_train, x_test, …):

        x_*            images (N, H, W, C) of the files' depth: uint8, uint16, int32, uint32 or float32; vectors (N, f)
                       as float32 or uint8, float64 where float32 is too coarse; tables already encoded float32
        y_*            class numbers int64 (N,), or float32 (N, outputs) in their own unit for regression (float64 where
                       float32 is too coarse)
        task           "classification" or "regression"
        class_names    names by class number; empty for regression
        feature_names  of tables, else empty
        feature_shape  the shape of one input of the network
        preprocess     fitted: `transform` makes network inputs of raw rows or arrays
        target         fitted: `decode` makes class names of class numbers; `mean` and `std` of regression targets
        description    lines that say what was found and done
        encoded        whether x_* are network inputs already (tables); otherwise `inputs` scales them

    >>> digits = cr.data.digits()
    >>> digits
    Dataset('digits': train 1,437, test 360 samples of shape (8, 8, 1), 10 classes)
    >>> digits.inputs("test").shape
    (360, 8, 8, 1)
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    preprocess: TablePreprocess | Scaling
    target: Target
    x_val: np.ndarray | None = None
    y_val: np.ndarray | None = None
    feature_names: tuple[str, ...] = ()
    description: list[str] = field(default_factory=list)
    encoded: bool = False

    @property
    def task(self) -> str:
        """What is to be learnt: "classification" or "regression"."""
        return self.target.task

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by class number; empty for regression."""
        return self.target.class_names

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """The shape of one input of the network."""
        return tuple(self.x_train.shape[1:])

    @property
    def outputs(self) -> int:
        """How many numbers a network must return: the classes, or the targets of a regression."""
        return len(self.class_names) or self.y_train.shape[1]

    def inputs(self, part: str = "train", indices: np.ndarray | slice | None = None) -> np.ndarray:
        """Network inputs, float32 (N, *feature_shape), of "train", "test" or "val", all or those of `indices`."""
        x = getattr(self, f"x_{part}", None)
        if x is None:
            raise ArgumentError(explain("the data set has no such part", got=repr(part),
                                        expected='"train", "test" or "val"', fix="load(..., val_fraction=0.1)" if part
                                        == "val" else None))
        x = x if indices is None else x[indices]
        return x if self.encoded else self.preprocess.transform(x)

    def __str__(self) -> str:
        return "\n".join(self.description)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{part} {len(x):,}" for part in ("train", "val", "test")
                          if (x := getattr(self, f"x_{part}")) is not None)
        what = f"{len(self.class_names)} classes" if self.task == "classification" else "regression"
        return f"Dataset({self.name!r}: {sizes} samples of shape {self.feature_shape}, {what})"


def load(source: Source, target: str | int | os.PathLike | None = None, *, test: Source | None = None,
         task: str | None = None, classes: int | Sequence[str] | None = None, header: bool | None = None,
         categorical: Sequence[str | int] = (), drop: Sequence[str | int] = (),
         resize: int | tuple[int, int] | None = None, colour: str | None = None,
         test_fraction: float = 0.2, val_fraction: float = 0.0, seed: int = 0, delimiter: str | None = None,
         decimal: str | None = None, encoding: str | None = None, missing: Sequence[Any] | None = None) -> Dataset:
    """Read a data set in any of these forms:

        "digits"                     the embedded handwritten digits
        "data.npz"                   x and y (or x_train …, images and labels, train_images …); `target` names another y
        "train-images-idx3-ubyte"    idx, plain or gzip, labels beside it, as `target`, or both as a tuple
        "mnist/"                     a folder with the four MNIST files
        "people.csv"                 a table; `target` is the name or index of a column, the last one if not given
        "photos/", "photos.tar.gz"   images, one folder per class, with train/ and test/ (val/) above them or not

    `test` is a second source of the same form; without one, and if the source has no test part, `test_fraction` of the
    samples are set aside, each class in its share (`seed`). `val_fraction` sets aside a part of the training data too.
    `task` and `classes` override what `target.fit_target` decides: numbers with a fraction or more than 20 values are
    regression. `header`, `categorical`, `drop` concern tables, and so do `delimiter`, `decimal` ("." or ","),
    `encoding` and `missing` (the words that mean that there is no value, besides the empty cell; ?, NA, NaN, null and
    the like unless told, where in a target of names every word is a class); what is not told is found out on the whole
    file. `resize` and `colour` ("grey", "rgb") concern images.
    Raises DataError that names the file and the place; MissingExtra if images need Pillow and it is not there.

    >>> from pathlib import Path
    >>> rows = [f"{i},{'red' if i % 2 else 'blue'},{'big' if i > 9 else 'small'}\\n" for i in range(20)]
    >>> size = Path("table.csv").write_text("size,colour,label\\n" + "".join(rows))
    >>> data = cr.data.load("table.csv", target="label")
    >>> data.task, data.class_names, data.x_train.shape
    ('classification', ('big', 'small'), (16, 4))
    """
    _refuse_without_effect(source, {"target": target, "test": test, "header": header, "delimiter": delimiter,
                                    "decimal": decimal,
                                    "encoding": encoding, "missing": missing, "resize": resize, "colour": colour})
    if isinstance(source, str) and source == DIGITS:
        parts, name = embedded.read_digits(), DIGITS
    else:
        pictures, dialect = images.pictures_from(resize, colour), Dialect(header, delimiter, decimal, encoding, missing)
        parts, name = _read(source, target, pictures, dialect), _name(source)
        if test is not None:
            _add_test(parts, test, pictures, dialect)
    return _assemble(name, parts, task, classes, {"categorical": categorical, "drop": drop},
                     (test_fraction, val_fraction), seed)


TABLES, IMAGES = frozenset({"table"}), frozenset({"images", "tar"})
# what an option concerns; all but the embedded digits, if it does not stand here
CONCERNS = {"target": frozenset({"table", "npz", "idx"}), "resize": IMAGES, "colour": IMAGES, "header": TABLES,
            "delimiter": TABLES, "decimal": TABLES,
            "encoding": TABLES, "missing": TABLES}
KINDS = {"table": "a table", "npz": "an .npz file", "idx": "an idx file", "images": "a folder of images",
         "tar": "images in a tar file",
         "idx folder": "a folder of idx files", "pair": "a pair of idx files", "digits": "the embedded digits"}


def _refuse_without_effect(source: Source, options: dict[str, Any]) -> None:
    """ArgumentError for the first option that would change nothing for a source of this kind."""
    given = {name: value for name, value in options.items() if value is not None}
    kind = _kind(source) if given else ""
    for name, value in given.items():
        if kind in KINDS and kind not in CONCERNS.get(name, KINDS.keys() - {"digits"}):
            concerned = ", ".join(KINDS[k] for k in KINDS if k in CONCERNS.get(name, KINDS.keys() - {"digits"}))
            raise ArgumentError(explain(f"{name} has no effect on {KINDS[kind]}", got=f"{name}={value!r}",
                                        expected=f"{concerned}", fix="leave it out"))


def _kind(source: Source) -> str:
    if isinstance(source, tuple | list):
        return "pair"
    if isinstance(source, str) and source == DIGITS:
        return "digits"
    path = existing(source)
    if path.is_dir():
        return "idx folder" if idx.is_idx_folder(path) else "images"
    return sniff(path)


def load_digits() -> Dataset:
    """The embedded digits: 1,437 training and 360 test images (N, 8, 8, 1) uint8 of 0..255, always the same split.

    >>> digits = cr.data.digits()
    >>> digits.x_train.shape, digits.class_names
    ((1437, 8, 8, 1), ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9'))
    """
    return load(DIGITS)


def load_like(source: Source, preprocess: TablePreprocess | Scaling, fitted: Target,
              target: str | int | os.PathLike | None = None,
              ) -> tuple[np.ndarray, np.ndarray]:
    """(network inputs, encoded targets) of another source, as a fitted preprocessing and target expect them.

    The test part of the source if it has one, else all of it. Raises DataError where the data do not fit.

    >>> digits = cr.data.digits()
    >>> x, y = cr.data.load_like("digits", digits.preprocess, digits.target)
    >>> x.shape, y.shape
    ((360, 8, 8, 1), (360,))
    """
    part = (parts := read_parts(source, preprocess, target)).test or parts.train
    return preprocess.transform(part.x), fitted.encode(part.y, part.where)


def read_parts(source: Source, preprocess: TablePreprocess | Scaling, target: Any = None, *, test: Source | None = None,
               told: Dialect | None = None) -> Parts:
    """The parts of a source, read in the form that a fitted preprocessing expects; nothing is fitted or set aside."""
    if isinstance(source, str) and source == DIGITS:
        return embedded.read_digits()
    shape = preprocess.feature_shape
    pictures = images.pictures_from(shape[:2] if len(shape) == 3 else None, _colour(shape), _depth(preprocess))
    column = preprocess.target if isinstance(preprocess, TablePreprocess) and target is None else target
    words = (sorted(preprocess.missing) if isinstance(preprocess, TablePreprocess) and preprocess.missing != MISSING
             else None)
    dialect = replace(told or Dialect(), missing=words)
    parts = _read(source, column, pictures, dialect)
    if test is not None:
        _add_test(parts, test, pictures, dialect)
    return parts


def _colour(shape: tuple[int, ...]) -> str | None:
    return {1: "grey", 3: "rgb"}.get(shape[-1]) if len(shape) == 3 else None


def _depth(preprocess: TablePreprocess | Scaling) -> str | None:
    """The depth that images need for a fitted preprocessing; None for all else."""
    return (preprocess.dtype or "uint8") if isinstance(preprocess, ImageScaling) else None


def read_image(path: str | os.PathLike, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> np.ndarray:
    """One image file (H, W, C): as it is, or scaled and converted to grey or RGB to have the given shape.

    The dtype is that of the file (uint8, or uint16, int32, uint32, float32 for deeper ones) unless `dtype` asks for
    another: between 8 and 16 bits, v to 257 v; DataError for what has no common scale.

    >>> from PIL import Image
    >>> Image.new("RGB", (4, 3), (255, 0, 0)).save("red.png")
    >>> cr.data.read_image("red.png").shape
    (3, 4, 3)
    """
    colour = _colour(shape) if shape else None
    return images.read_file(existing(path), images.pictures_from(shape and shape[:2], colour, dtype))


# ---- which reader


def _read(source: Source, target: Any, pictures: images.Pictures, dialect: Dialect) -> Parts:
    if isinstance(source, tuple | list):
        if not 1 <= len(source) <= 2:
            raise fault("a pair of idx files is expected", got=f"{len(source)} files", expected="(images, labels)")
        return _read_pair(*source)
    path = existing(source)
    if path.is_dir():
        return idx.read_folder(path) if idx.is_idx_folder(path) else images.read_folder(path, pictures)
    kind = sniff(path)
    if kind == "npz":
        return arrays.read_npz(path, None if target is None else str(target))
    if kind == "tar":
        return images.read_tar(path, pictures)
    if kind == "idx":
        return _read_pair(path, target)
    if kind == "table":
        return _read_table(path, target, dialect)
    raise fault(f"{path}: a single {kind} file cannot be loaded as a data set", fix=_ADVICE.get(kind))


_ADVICE = {"npy": "put both arrays into one file: np.savez(path, x=..., y=...)",
           "parquet": "write it as CSV: pandas.read_parquet(path).to_csv(..., index=False)",
           "image": "name the folder that holds one folder of images per class",
           "sound": "read each with data.read_sound, and train on arrays: cr.fit(model, (x, y))"}


def _read_pair(image_file: Any, label_file: Any = None) -> Parts:
    part = idx.read_pair(image_file, label_file)
    shape = " x ".join(map(str, part.x.shape[1:]))
    return Parts(part, notes=[f"{part.origin}: {count(len(part), 'sample')} of {shape}"])


def _name(source: Source) -> str:
    return Path(source[0] if isinstance(source, tuple | list) else source).name


def _add_test(parts: Parts, source: Source, pictures: images.Pictures, dialect: Dialect) -> None:
    """Read a second source as the test part; its own parts, if it has any, are taken together as one."""
    if isinstance(parts.train.x, Table):
        table = read_like(_one(source), parts.train.x.names, parts.train.x.header, dialect)
        other = Parts(_table_part(table, parts.train.x.target, parts.notes))
        parts.notes += [f"test set: {table.notes[0]}"]
    else:
        depth = str(parts.train.x.dtype) if isinstance(parts.train.x, np.ndarray) and parts.train.x.ndim == 4 else None
        other = _read(source, None, replace(pictures, dtype=depth), dialect)
        parts.notes.append(f"test set: {len(other.test or other.train):,} samples of {source}")
    parts.test = other.test or other.train
    if isinstance(parts.train.x, np.ndarray) and (
            not isinstance(parts.test.x, np.ndarray) or parts.test.x.shape[1:] != parts.train.x.shape[1:]):
        raise fault("training and test data differ in form", got=f"{parts.test.origin}: {_form(parts.test.x)}",
                    expected=f"{_form(parts.train.x)}, as in {parts.train.origin}")


def _one(source: Source) -> Path:
    """The path of a source that is one file."""
    if isinstance(source, tuple | list):
        raise fault("a table is one file", got=f"{len(source)} of them")
    return Path(source)


def _form(x: Any) -> str:
    return f"samples of shape {x.shape[1:]}" if isinstance(x, np.ndarray) else "a table"


# ---- tables


def _read_table(path: Path, target: Any, dialect: Dialect) -> Parts:
    table = read_dialect(path, dialect)
    column = find_column(table, -1 if target is None else target)
    if len(table.names) < 2:
        raise fault(f"{path}: the table has one column only", got=table.names[0],
                    expected="columns separated by ',', ';', tab or '|', and a target column")
    notes = list(table.notes)
    notes.append(f"target: {column_label(table.names[column])}" + (" (the last one)" if target is None else ""))
    return Parts(_table_part(table, column, notes), notes=notes)


def _table_part(table: Table, column: int, notes: list[str]) -> Part:
    table.target = column
    texts = table.column(column)
    words, note = _target_words(texts, table)
    notes += note
    known = [row for row, text in enumerate(texts) if not is_missing(text, words)]
    if not known:
        raise fault(f"{table.path}: the target {column_label(table.names[column])} has no values")
    if len(known) < len(texts):
        notes.append(f"{count(len(texts) - len(known), 'row')} without a target left out ({Path(table.path).name})")
        table = table.take(known)
        texts = table.column(column)
    return Part(table, np.array(texts), table.path, lambda row: table.place(row, column))


def _target_words(texts: list[str], table: Table) -> tuple[frozenset[str], list[str]]:
    """The words that mean that a target is missing, if they are not told: beside names, each word may be a name."""
    if table.missing != MISSING:
        return table.missing, []
    other = {text for text in texts if text.lower() not in MISSING_TARGET}
    if all(parse_number(text, table.decimal) is not None for text in other):
        return MISSING_TARGET, []
    names = sorted({text for text in texts if text and text.lower() in MISSING_TARGET})
    return frozenset({""}), [f"{', '.join(map(repr, names))} taken for {'a class' if len(names) == 1 else 'classes'}: "
                             f"if these rows have no class, load(..., missing={names})"] if names else []


# ---- from parts to a Dataset


def _assemble(name: str, parts: Parts, task: str | None, classes: int | Sequence[str] | None,
              options: dict[str, Any], fractions: tuple[float, float], seed: int) -> Dataset:
    decimal = getattr(parts.train.x, "decimal", ".")
    target = fit_target(parts.train.y, parts.train.where, task, parts.class_names if classes is None else classes,
                        decimal)
    _set_aside(parts, target, fractions, seed)
    if target.task == "regression":
        target = fit_target(parts.train.y, parts.train.where, "regression", decimal=decimal)
    y = {part: target.encode(found.y, found.where) for part, found in parts.items()}
    notes = [*parts.notes, _describe_target(target, y["train"]), *_label_notes(parts, target)]
    if isinstance(parts.train.x, Table):
        return _from_tables(name, parts, target, y, notes, options)
    if any(len(columns) for columns in options.values()):
        raise ArgumentError(explain("categorical and drop concern tables", got=f"{parts.train.origin}: no table"))
    scaling = fit_array(parts.train.x)
    found = {part: found.x for part, found in parts.items()}
    return Dataset(name, found["train"], y["train"], found["test"], y["test"], scaling, target, found.get("val"),
                   y.get("val"), description=[*notes, *constant_features(found["train"]), scaling.describe()])


def _from_tables(name: str, parts: Parts, target: Target, y: dict[str, np.ndarray], notes: list[str],
                 options: dict[str, Any]) -> Dataset:
    table = parts.train.x
    preprocess, more = fit_table(table, table.target, **options)
    more += _giveaways(table, y["train"], target)
    x = {part: preprocess.transform(found.x) for part, found in parts.items()}
    return Dataset(name, x["train"], y["train"], x["test"], y["test"], preprocess, target, x.get("val"), y.get("val"),
                   preprocess.feature_names, [*notes, *more], encoded=True)


def _giveaways(table: Table, codes: np.ndarray, target: Target) -> list[str]:
    """Columns of few values that each go with one class: they may give the answer away."""
    notes = []
    for i, name in enumerate(table.names):
        texts = table.column(i)
        if i == table.target or target.task == "regression" or not 1 < len(set(texts)) <= FEW:
            continue
        if len(set(zip(texts, codes.tolist(), strict=True))) == len(set(texts)):
            notes.append(f"{column_label(name)}: each of its values goes with one class: "
                         "if it is not known beforehand, leave it out (drop)")
    return notes


def _set_aside(parts: Parts, target: Target, fractions: tuple[float, float], seed: int) -> None:
    """Split off what is not there: the test part if there is none, the validation part if it is asked for."""
    for word, fraction in (("test", fractions[0]), ("val", fractions[1])):
        if getattr(parts, word) is not None or (word == "val" and fraction == 0):
            continue
        train = parts.train
        labels = target.encode(train.y, train.where) if target.task == "classification" else None
        keep, aside = split(len(train), (1 - fraction, fraction), seed, labels)
        if not len(keep) or not len(aside):
            raise fault(f"{train.origin}: too few samples to set a {word} part aside",
                        got=f"{count(len(train), 'sample')}, {word}_fraction {fraction}")
        parts.train, part = train.take(keep), train.take(aside)
        setattr(parts, word, part)
        how = "" if labels is None else ", each class in its share"
        parts.notes.append(f"{word} part: {len(aside):,} of {len(train):,} samples set aside with seed {seed}{how}")


def _describe_target(target: Target, y: np.ndarray) -> str:
    if target.task == "classification":
        return (f"classification into {count(len(target.class_names), 'class', 'classes')}: "
                f"{class_sizes(target.class_names, y)}")
    shown = f"{float(y.min()):.4g} to {float(y.max()):.4g}, mean {target.mean[0]:.4g}, spread {target.std[0]:.4g}"
    return f"regression of {count(y.shape[1], 'number')}: {shown}"


def _label_notes(parts: Parts, target: Target) -> list[str]:
    notes = []
    if target.values and target.values == target.class_names and all(v.lstrip("-").isdigit() for v in target.values) \
            and target.values != tuple(map(str, range(len(target.values)))):
        notes.append(f"labels {', '.join(target.values[:10])} become class numbers 0 to {len(target.values) - 1}")
    notes += [f"{part.origin}: the labels end with a dot, read without it" for _, part in parts.items()
              if target.dotted(part.y)]
    return notes
