# SPDX-License-Identifier: Apache-2.0
"""One training run: data, network, fit, evaluation; everything lands in a run folder.

    model.safetensors   weights, architecture, preprocessing, class names
    data.safetensors    fitted preprocessing, and which sample is in which part
    config.toml         all settings, as given and as chosen
    history.jsonl       one JSON object per epoch
    checkpoint.safetensors   the whole run after its last epoch, to go on from
    result.json         the measured values with their intervals
    *.png               learning curves, confusion matrix, most confident mistakes
"""

from __future__ import annotations

import contextlib
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, data, io, random, train
from ..errors import ArgumentError, DataError, explain
from ..foundations.files import alone
from ..mesh import distribute
from . import kept, recipe, report
from .ends import told
from .settings import Settings, check

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Finished:
    """What a run gave: its folder, the history and the measured values (None when it was interrupted)."""

    folder: Path
    history: Any
    result: Any


def train_run(settings: Settings, output: Path | None, *, resume: Path | None = None, progress: bool | str = True,
              say: Any = print) -> Finished:
    """Train, evaluate and write the run folder; `resume` goes on in a folder that was interrupted."""
    started = time.perf_counter()
    check_writable(resume or output or Path("runs"))
    dataset = load(settings) if resume is None else kept.to_go_on(resume, settings)
    say("\n".join([*dataset.description, *([] if settings.class_weight else imbalance(dataset))]))
    settings = check(recipe.choose(settings, dataset))
    for line in recipe.class_weight_line(settings, dataset):
        say(line)
    folder = resume or new_folder(output, dataset.name)
    with alone(folder, "wait until it is done, or choose another --output"):
        try:
            return _train(settings, dataset, folder, resume is not None, progress, say, started)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                print(f"nobody reads the output any more; go on with: chainrule train --resume {folder}",
                      file=sys.stderr)
                raise
            raise told(error, str(folder)) from error


def _train(settings: Settings, dataset: data.Dataset, folder: Path, resumed: bool, progress: bool | str, say: Any,
           started: float) -> Finished:
    if not resumed:
        if (folder / "config.toml").exists():
            raise _taken(folder)
        kept.keep(folder, dataset)
    random.seed(settings.seed)
    model = recipe.build(settings, dataset)
    settings.write(folder / "config.toml", version=__version__, python=platform.python_version(), numpy=np.__version__)
    say(f"\n{_sentence(settings, model)}; run folder {folder}\n")
    if resumed and not (folder / CHECKPOINT).exists():
        say("the run was ended before its first checkpoint: it begins again\n")
    with distribute(data=settings.devices) if settings.devices > 1 else contextlib.nullcontext():
        history = _fit(settings, dataset, model, folder, resumed, progress)
    io.save(model, folder / "model.safetensors", extra=_extra(dataset))
    if history.interrupted:
        say(f"go on with: chainrule train --resume {folder}")
        return Finished(folder, history, None)
    result = report.report(model, dataset, history, folder, settings.backend)
    say(f"\n{report.summary_lines(result, dataset)}\ndone in {time.perf_counter() - started:.1f} s; see {folder}")
    return Finished(folder, history, result)


def load(settings: Settings) -> data.Dataset:
    """The data of a new run; the split is a function of the data alone, so that runs with other seeds are measured on
    the same samples."""
    return data.load(settings.source, settings.target, test=settings.test, drop=settings.drop, resize=settings.resize,
                     task=settings.task, categorical=settings.categorical, header=settings.header,
                     delimiter=settings.delimiter, decimal=settings.decimal, encoding=settings.encoding,
                     missing=settings.missing, val_fraction=settings.validation_fraction)


UNEQUAL = 3  # times as many samples in the largest class as in the smallest: worth a word


def imbalance(dataset: data.Dataset) -> list[str]:
    """A line on classes of very different sizes, and what guessing the largest would score; nothing for equal ones."""
    if dataset.task != "classification":
        return []
    sizes = np.bincount(dataset.y_train, minlength=len(dataset.class_names))
    if 2 * len(sizes) > sizes.sum():
        return [f"{len(sizes):,} classes for {sizes.sum():,} training samples: there is hardly anything to learn of "
                "each; is it another column, --target NAME?"]
    if sizes.max() < UNEQUAL * max(sizes.min(), 1):
        return []
    large, small = (dataset.class_names[int(i)] for i in (sizes.argmax(), sizes.argmin()))
    return [f"classes of unequal size: {large} has {sizes.max() / sizes.sum() * 100:.1f} % of the training samples, "
            f"{small} {sizes.min() / sizes.sum() * 100:.1f} %; "
            f"always saying {large} would have that accuracy: look at f1_macro and at the confusion matrix, or let all "
            "classes count the same: --class-weight balanced"]


def _fit(settings: Settings, dataset: data.Dataset, model: Any, folder: Path, resumed: bool,
         progress: bool | str) -> Any:
    steps = recipe.steps(settings, len(dataset.x_train))
    checkpoint = folder / CHECKPOINT
    callbacks: list[Any] = [train.json_log(folder / "history.jsonl")]
    if settings.patience is not None and dataset.x_val is not None:
        callbacks.append(train.EarlyStopping(patience=settings.patience))
    validation = None if dataset.x_val is None else (dataset.inputs("val"), recipe.targets(dataset, "val"))
    return train.fit(model, (dataset.inputs("train"), recipe.targets(dataset, "train")), loss=recipe.loss_name(dataset),
                     optimizer=recipe.optimizer(settings, steps), epochs=settings.epochs,
                     batch_size=settings.batch_size, validation=validation,
                     class_weight=recipe.class_weight(settings, dataset), metrics=recipe.metric_names(dataset),
                     seed=settings.seed, callbacks=callbacks, checkpoint=checkpoint, resume=checkpoint if resumed
                     and checkpoint.exists() else None, progress=progress, backend=settings.backend)


def _extra(dataset: data.Dataset) -> dict[str, Any]:
    return {"task": dataset.task, "preprocess": dataset.preprocess.to_config(), "target": dataset.target.to_config(),
            "feature_shape": list(dataset.feature_shape), "name": dataset.name}


def _sentence(settings: Settings, model: Any) -> str:
    count = sum(v.size for v in model.parameters().values())
    return (f"{settings.model} with {count:,} parameters, {settings.epochs} epochs in batches of "
            f"{settings.batch_size}, "
            f"learning rate {settings.learning_rate:g}, seed {settings.seed}")


def new_folder(output: Path | None, name: str) -> Path:
    """`output`, which must not hold a run yet, or the next free `runs/<name>-<number>`; it is made."""
    if output is not None:
        if (output / "config.toml").exists():
            raise _taken(output)
        output.mkdir(parents=True, exist_ok=True)
        return output
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in name.split(".")[0])[:100] or "run"
    for number in range(1, 100_000):
        folder = Path("runs") / f"{stem}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise ArgumentError(explain("there are too many runs", got="runs/", fix="clean up, or give --output"))


def _taken(output: Path) -> ArgumentError:
    return ArgumentError(explain("the output folder holds a run already", got=str(output),
                                 fix=f"choose another --output, or go on with --resume {output}"))


def check_writable(path: Path) -> None:
    """DataError if no file could be written into the folder `path`, which may not be there yet: before any work is
    done."""
    above = path
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise DataError(explain("a file lies where a folder is expected", got=str(above),
                                fix="choose another --output"))
    try:
        with tempfile.TemporaryFile(dir=above) as probe:
            probe.write(b"x")
            probe.flush()
    except OSError as error:
        raise told(error, str(above)) from error
