# SPDX-License-Identifier: Apache-2.0
"""What a run folder knows of its data: what was fitted, and which sample was in which part, in `data.safetensors`.

It is written before the first step, so that a run can be measured and gone on with whatever becomes of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import data
from ..errors import ArgumentError, DataError, explain
from ..io.tensors import read_tensors, write_tensors
from .settings import Settings

FILE = "data.safetensors"
FORMAT = "chainrule data of a run 1"


@dataclass(frozen=True)
class Kept:
    """The fitted preprocessing and target of a run, its split as fingerprints, and what was said of the data."""

    preprocess: Any
    target: Any
    split: dict[str, data.Fingerprints]
    name: str
    description: tuple[str, ...]


def keep(folder: Path, dataset: data.Dataset) -> None:
    """Write down what the run must know of its data."""
    arrays = {f"{part}.{kind}": getattr(marks, kind) for part, marks in data.split_of(dataset).items()
              for kind in ("whole", "inputs")}
    write_tensors(folder / FILE, arrays, {"format": FORMAT, "name": dataset.name, "description": dataset.description,
                                          "preprocess": dataset.preprocess.to_config(),
                                          "target": dataset.target.to_config()})


def read_kept(folder: Path) -> Kept:
    """What `keep` wrote; DataError if it is not there or damaged."""
    path = folder / FILE
    if not path.exists():
        raise DataError(explain("this run folder does not say which samples were held out", got=f"no {path}",
                                fix=f"name data to measure on: chainrule evaluate {folder} DATA; or train again: "
                                    f"chainrule train --config {folder}"))
    arrays, header = read_tensors(path, "record of the run's data")
    try:
        if header["format"] != FORMAT:
            raise KeyError(header["format"])
        parts = sorted({name.split(".")[0] for name in arrays})
        split = {part: data.Fingerprints(arrays[f"{part}.whole"], arrays[f"{part}.inputs"]) for part in parts}
        return Kept(data.preprocess_from_config(header["preprocess"]), data.Target.from_config(header["target"]), split,
                    header["name"], tuple(header["description"]))
    except (KeyError, TypeError) as error:
        raise DataError(explain(f"{path} cannot be used", got=repr(error), expected=FORMAT)) from error


def held_out(folder: Path, settings: Settings) -> data.Dataset:
    """The data of the run with at least its test part; its description says what changed."""
    dataset, found = _again(folder, settings)
    if not len(found.rows["test"]):
        raise DataError(explain(f"the data changed: none of the {found.saved['test']:,} samples that were held out is "
                                "there any more",
                                got=f"{settings.source}: {'; '.join(dataset.description)}",
                                fix=f"measure on all samples of a file: chainrule evaluate {folder} "
                                    f"{settings.test or settings.source}"))
    return dataset


def to_go_on(folder: Path, settings: Settings) -> data.Dataset:
    """The data of a run that was interrupted, each sample in its part; ArgumentError if what it learns from is not what
    it was."""
    dataset, found = _again(folder, settings)
    if any(found.gone(part) or found.relabelled[part] for part in found.saved if part != "test"):
        raise ArgumentError(explain("the data changed: the run cannot go on as if they had not",
                                    got="; ".join(dataset.description),
                                    expected="the training and validation samples that it began with, in any order",
                                    fix=f"put the old data back, or train anew: chainrule train --config {folder}"))
    if not len(found.rows["test"]):
        raise DataError(explain("the data changed: no sample of the test part is there any more",
                                got="; ".join(dataset.description)))
    dataset.description = [*read_kept(folder).description, *dataset.description]
    return dataset


def _again(folder: Path, settings: Settings) -> tuple[data.Dataset, data.Assignment]:
    kept = read_kept(folder)
    dataset, found = data.load_again(settings.source, kept.preprocess, kept.target, kept.split, settings.target,
                                     test=settings.test,
                                     dialect=data.Dialect(settings.header, settings.delimiter, settings.decimal,
                                                          settings.encoding))
    dataset.name = kept.name
    return dataset, found
