# SPDX-License-Identifier: Apache-2.0
"""The commands and their help."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import ChainruleError
from .settings import Settings, check, read_settings

app = typer.Typer(help="Deep learning on the machine you have: train, evaluate and use networks on your own files.",
                  no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


def run() -> None:
    """Run the command that the arguments name."""
    try:
        app()
    except ChainruleError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)


def _escaped(text: str) -> str:
    from rich.markup import escape

    lines = [line for line in text.splitlines() if not line.startswith("  at  ")]  # the line would be our own
    return escape("\n".join(lines))


Source = Annotated[str, typer.Argument(help="digits (embedded), a .npz with x and y, an idx file or a folder of them, a .csv, or a folder of images with one folder per class", show_default=True)]


@app.command()
def train(
    source: Source = "digits",
    target: Annotated[str | None, typer.Option(help="CSV: the column to predict (default: the last); idx: the file of labels")] = None,
    test: Annotated[str | None, typer.Option(help="a second file or folder to test on (default: the source's own test part, or a fifth set aside)")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="CSV: a column to leave out; may be given several times")] = None,
    resize: Annotated[int | None, typer.Option(help="images: scale all to this many pixels square")] = None,
    model: Annotated[str, typer.Option(help="auto, cnn or mlp")] = "auto",
    hidden: Annotated[list[int] | None, typer.Option(help="units of a hidden layer; several times for several layers")] = None,
    dropout: Annotated[float | None, typer.Option(help="dropout rate")] = None,
    epochs: Annotated[int | None, typer.Option(help="passes over the training data")] = None,
    batch_size: Annotated[int | None, typer.Option(help="samples per step")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="peak of the schedule (warm-up, then cosine decay)")] = None,
    weight_decay: Annotated[float, typer.Option(help="decoupled weight decay of AdamW")] = 0.01,
    validation_fraction: Annotated[float, typer.Option(help="share of the training data to validate on after each epoch; 0 for none")] = 0.1,
    patience: Annotated[int | None, typer.Option(help="stop early after this many epochs without a better validation loss, and keep the best weights")] = None,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bits")] = 0,
    backend: Annotated[str | None, typer.Option(help="native, reference or xla")] = None,
    output: Annotated[Path | None, typer.Option(help="run folder (default: runs/<name>-<number>)")] = None,
    config: Annotated[Path | None, typer.Option(help="run again with the settings of this config.toml; source and options above are taken from it")] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with the interrupted run in this folder")] = None,
    progress: Annotated[str, typer.Option(help="auto, bar, lines or none")] = "auto",
) -> None:
    """Train a network on your data and write a run folder.

    [bold]chainrule train digits[/] trains a small CNN on 1,797 embedded handwritten digits in seconds.

    The run folder gets model.safetensors, config.toml (to run it again), history.jsonl, result.json and pictures of the
    learning curves, the confusion matrix and the most confident mistakes. Ctrl-C keeps the run; --resume goes on.

    Examples:

      chainrule train digits --epochs 10 --learning-rate 0.001

      chainrule train people.csv --target income --test people-test.csv

      chainrule train photos/ --resize 64 --model cnn
    """
    from .run import train_run

    settings = Settings(source, target, test, tuple(drop or ()), resize, validation_fraction, model, tuple(hidden or ()), dropout, epochs,
                        batch_size, learning_rate, weight_decay, patience, seed, backend)
    if config is not None or resume is not None:
        settings = read_settings(_config_file(config or resume))
        settings = replace(settings, **_given(epochs=epochs, backend=backend))
    train_run(check(settings), output, resume=resume, progress=_progress(progress), say=_say)


def _config_file(path: Path | None) -> Path:
    assert path is not None
    return path / "config.toml" if path.is_dir() else path


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _progress(word: str) -> bool | str:
    if word not in ("auto", "bar", "lines", "none"):
        raise typer.BadParameter(f"{word!r} is none of auto, bar, lines, none", param_hint="--progress")
    return {"auto": True, "none": False}.get(word, word)


def _say(text: str) -> None:
    typer.echo(text)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="a run folder")],
    source: Annotated[str | None, typer.Argument(help="other data to measure on; all of its samples are used (default: the test part of the run's own)")] = None,
    target: Annotated[str | None, typer.Option(help="CSV: the target column; idx: the file of labels")] = None,
    backend: Annotated[str | None, typer.Option(help="native, reference or xla")] = None,
) -> None:
    """Measure a saved model on held-out data, with 95 % intervals."""
    from .use import evaluate_run

    _say(evaluate_run(run, source, target, backend))


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="a run folder")],
    files: Annotated[list[Path], typer.Argument(help="images (PNG, JPEG), .npy arrays of inputs, or .csv rows")],
    top: Annotated[int, typer.Option(help="how many classes to show")] = 1,
    backend: Annotated[str | None, typer.Option(help="native, reference or xla")] = None,
) -> None:
    """Use a saved model on files; one line per sample: file, prediction, confidence."""
    from .use import predict_files

    for line in predict_files(run, files, top, backend):
        _say(line)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="print the version and leave")] = False) -> None:
    """Deep learning on the machine you have: train, evaluate and use networks on your own files."""
    if show:
        from .. import __version__

        typer.echo(f"chainrule {__version__}")
        raise typer.Exit
