# SPDX-License-Identifier: Apache-2.0
"""The commands and their help."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import ArgumentError, ChainruleError, explain
from .ends import Command, silence, told
from .settings import Settings, check, check_backend, option, read_settings
from .words import in_own_words

app = typer.Typer(help="Deep learning on the machine you have: train, evaluate and use networks on your own files.",
                  no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


def run() -> None:
    """Run the command that the arguments name; `ends` lists the exit statuses."""
    try:
        app()
    except ChainruleError as error:
        _tell(f"[bold red]error:[/] {_escaped(str(error))}")
        _leave(1)
    except OSError as error:
        _tell(f"[bold red]error:[/] {_escaped(str(told(error)))}")
        _leave(1)
    except Exception as error:
        if os.environ.get("CHAINRULE_DEBUG", "0") not in ("", "0"):
            raise
        _tell("[bold red]error:[/] a fault of chainrule's own, please report it: "
              f"{_escaped(f'{type(error).__name__}: {error}')}\n"
              "  fix       CHAINRULE_DEBUG=1 shows where it happened")
        _leave(70)


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):
        Console(stderr=True).print(text, highlight=False, soft_wrap=True)


def _leave(status: int) -> None:
    try:
        sys.stdout.flush()
    except OSError:
        silence(sys.stdout)
    sys.exit(status)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(in_own_words(text))


Source = Annotated[str, typer.Argument(help="digits (embedded), a .npz with x and y, an idx file or a folder of them, "
                                            "a .csv, a folder of images with one folder per class, or an environment "
                                            "for an agent, such as CartPole-v1", show_default=True)]


@app.command(cls=Command)
def train(
    context: typer.Context,
    source: Source = "digits",
    target: Annotated[str | None, typer.Option(help="CSV: the column to predict (default: the last); .npz: the array "
                                                    "of targets; idx: the file of labels")] = None,
    test: Annotated[str | None, typer.Option(help="a second file or folder to test on (default: the source's own test "
                                                  "part, or a fifth set aside)")] = None,
    drop: Annotated[list[str] | None,
                    typer.Option(help="CSV: a column to leave out; may be given several times")] = None,
    categorical: Annotated[list[str] | None,
                           typer.Option(help="CSV: a column of numbers that are names; may be given several "
                                             "times")] = None,
    task: Annotated[str | None, typer.Option(help="classification or regression (default: by the targets)")] = None,
    header: Annotated[bool | None,
                      typer.Option("--header/--no-header",
                                   help="CSV: whether the first line names the columns (default: found out)")] = None,
    delimiter: Annotated[str | None, typer.Option(help="CSV: the character between columns (default: found "
                                                       "out)")] = None,
    decimal: Annotated[str | None, typer.Option(help="CSV: . or , (default: found out)")] = None,
    encoding: Annotated[str | None, typer.Option(help="CSV: such as utf-8 or cp1252 (default: found out)")] = None,
    missing: Annotated[list[str] | None,
                       typer.Option(help="CSV: a word that means that there is no value (default: ?, NA, NaN, null and "
                                         "the like); may be given several times")] = None,
    resize: Annotated[int | None, typer.Option(help="images: scale all to this many pixels square")] = None,
    model: Annotated[str, typer.Option(help="auto, cnn or mlp")] = "auto",
    hidden: Annotated[list[int] | None,
                      typer.Option(help="units of a hidden layer; several times for several layers")] = None,
    dropout: Annotated[float | None, typer.Option(help="dropout rate")] = None,
    epochs: Annotated[int | None, typer.Option(help="passes over the training data")] = None,
    batch_size: Annotated[int | None, typer.Option(help="samples per step")] = None,
    learning_rate: Annotated[float | None,
                             typer.Option(help="peak of the schedule (warm-up, then cosine decay)")] = None,
    weight_decay: Annotated[float, typer.Option(help="decoupled weight decay of AdamW")] = 0.01,
    class_weight: Annotated[list[str] | None,
                            typer.Option(help="what the samples of a class count in training: balanced (all classes "
                                              "the same), or LABEL=WEIGHT, several times for several classes (others "
                                              "count 1)")] = None,
    validation_fraction: Annotated[float, typer.Option(help="share of the training data to validate on after each "
                                                            "epoch; 0 for none")] = 0.1,
    patience: Annotated[int | None, typer.Option(help="stop early after this many epochs without a better validation "
                                                      "loss, and keep the best weights")] = None,
    agent: Annotated[str | None, typer.Option(help="environments: ppo, a2c, reinforce, dqn, sac or td3 (default: ppo, "
                                                   "and sac for continuous actions)")] = None,
    steps: Annotated[int | None, typer.Option(help="environments: steps of learning, over all copies")] = None,
    copies: Annotated[int | None, typer.Option(help="environments: how many copies the agent learns in at "
                                                    "once")] = None,
    seed: Annotated[int, typer.Option(help="of weights, order and dropout: the same seed gives the same bits; the test "
                                           "part is the same for all seeds")] = 0,
    backend: Annotated[str | None, typer.Option(help="native, reference or xla")] = None,
    devices: Annotated[int, typer.Option(help="devices of the xla backend along which batches are cut (data parallel); "
                                              "1 for none")] = 1,
    output: Annotated[Path | None, typer.Option(help="run folder (default: runs/<name>-<number>)")] = None,
    config: Annotated[Path | None,
                      typer.Option(help="run again with the settings of this config.toml or run folder; what is given "
                                        "beside it replaces them")] = None,
    resume: Annotated[Path | None,
                      typer.Option(help="go on with the interrupted run in this folder; only --backend, --devices, "
                                        "--epochs and --progress may be given beside it")] = None,
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

      chainrule train defects.csv --class-weight balanced

      chainrule train CartPole-v1 --agent ppo --steps 200000

    Exit status: 0 done, or ended by Ctrl-C and kept; 1 the files or settings cannot be used; 2 the command cannot be
    understood; 130 Ctrl-C before there was anything to keep; 141 nobody reads the output any more.
    """
    from . import agents
    from .run import train_run

    given = _given(context)
    show = _progress(progress)
    if _is_of_an_agent(source, resume, config, given):
        _train_agent(given, output, config, resume, show)
        return
    if alone := [name for name in ("agent", "steps", "copies") if name in given]:
        raise ArgumentError(explain(f"{option(alone[0])} belongs to an agent in an environment", got=source,
                                    expected=", ".join(agents.ENVIRONMENTS), fix="chainrule train CartPole-v1"))
    if resume is not None:
        _only(given, {"resume", "backend", "devices", "epochs", "progress"},
              "--resume goes on with the settings of the run")
        settings = read_settings(_config_file(resume))
    else:
        settings = Settings() if config is None else read_settings(_config_file(config))
    settings = replace(settings, **{name: value for name, value in given.items() if name in FIELDS})
    train_run(check(settings), output, resume=resume, progress=show, say=_say)


def _is_of_an_agent(source: str, resume: Path | None, config: Path | None, given: dict[str, Any]) -> bool:
    from .agents import is_agent_run, is_environment

    earlier = resume or config
    return is_environment(source) if earlier is None or "source" in given else is_agent_run(earlier)


def _train_agent(given: dict[str, Any], output: Path | None, config: Path | None, resume: Path | None,
                 show: bool | str) -> None:
    from .agents import OPTIONS, AgentSettings, read_agent_settings, train_agent

    if resume is not None:
        _only(given, {"resume", "backend", "progress"}, "--resume goes on with the settings of the run")
    _only(given, OPTIONS | {"config", "resume"}, "an agent in an environment has no such setting")
    earlier = resume or config
    settings = AgentSettings("") if earlier is None else read_agent_settings(earlier)
    changed = {name: value for name, value in given.items() if name in {field.name for field in fields(AgentSettings)}}
    train_agent(replace(settings, **changed), output, resume=resume, progress=show, say=_say)


FIELDS = {field.name for field in fields(Settings)}


def _config_file(path: Path) -> Path:
    return path / "config.toml" if path.is_dir() else path


def _given(context: typer.Context) -> dict[str, Any]:
    """The arguments that stand on the command line, by name; lists as tuples."""
    found = {name: value for name, value in context.params.items() if context.get_parameter_source(name).name
             == "COMMANDLINE"}  # type: ignore[union-attr]
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _only(given: dict[str, Any], allowed: set[str], why: str) -> None:
    other = [name if name == "source" else option(name) for name in given if name not in allowed]
    if other:
        raise ArgumentError(explain(why, got=" ".join(other),
                                    expected=", ".join(option(name) for name in sorted(allowed)),
                                    fix="leave it out, or begin anew: chainrule train --config RUN"))


def _progress(word: str) -> bool | str:
    if word not in ("auto", "bar", "lines", "none"):
        raise typer.BadParameter(f"{word!r} is none of auto, bar, lines, none", param_hint="--progress")
    return {"auto": True, "none": False}.get(word, word)


def _say(text: str) -> None:
    typer.echo(in_own_words(text))


@app.command(cls=Command)
def evaluate(
    run: Annotated[Path, typer.Argument(help="a run folder")],
    source: Annotated[str | None, typer.Argument(help="other data to measure on; all of its samples are used (default: "
                                                      "the test part of the run's own)")] = None,
    target: Annotated[str | None, typer.Option(help="CSV: the target column; .npz: the array of targets; idx: the file "
                                                    "of labels")] = None,
    backend: Annotated[str | None, typer.Option(help="native, reference or xla")] = None,
) -> None:
    """Measure a saved model on held-out data, with 95 % intervals.

    The run knows its samples by what they hold: if its file has changed, the samples that were held out are measured as
    far as they are still there, and what changed is said.
    """
    from . import agents
    from .use import evaluate_run

    check_backend(backend)
    if agents.is_agent_run(run):
        if source is not None or target is not None or backend is not None:
            raise ArgumentError(explain("an agent is evaluated in its own environment",
                                        got=f"{source or option('target' if target else 'backend')}",
                                        fix=f"chainrule evaluate {run}"))
        _say(agents.evaluate_agent(run))
        return
    if target is not None and source is None:
        raise ArgumentError(explain("--target belongs to other data, and none are named", got=f"--target {target}",
                                    fix=f"chainrule evaluate {run} DATA --target {target}"))
    _say(evaluate_run(run, source, target, backend))


@app.command(cls=Command)
def predict(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="a run folder")],
    files: Annotated[list[str], typer.Argument(help="images, folders of images, .npy, .npz or idx arrays of inputs, "
                                                    ".csv rows; - for standard input: rows, an array, an image, or "
                                                    "names of files, one a line")],
    output: Annotated[Path | None,
                      typer.Option("--output", "-o",
                                   help="write a .csv, .jsonl or .parquet file: id, prediction and the probability of "
                                        "each class")] = None,
    top: Annotated[int, typer.Option(help="how many classes to show")] = 1,
    batch_size: Annotated[int, typer.Option(help="samples at a time")] = 256,
    backend: Annotated[str | None, typer.Option(help="native, reference or xla")] = None,
) -> None:
    """Use a saved model on files; one line per sample: file, prediction, confidence.

    Examples:

      chainrule predict runs/photos-001 cat.jpg

      chainrule predict runs/photos-001 photos/ -o predictions.csv

      chainrule predict runs/people-001 - < people.csv

    Exit status: 0 done; 1 a file cannot be used (then no output file is written); 2 the command cannot be understood;
    141 nobody reads the output any more.
    """
    from .predict import predict_run

    check_backend(backend)
    for name, value in (("top", top), ("batch_size", batch_size)):
        if value < 1:
            raise ArgumentError(explain(f"{option(name)} is too small", got=str(value), expected="at least 1"))
    if output is not None and "top" in _given(context):
        raise ArgumentError(explain("--top concerns what is shown; a file gets the probabilities of all classes",
                                    got=f"--top {top} -o {output}", fix="leave out one of the two"))
    predict_run(run, files, output=output, top=top if "top" in _given(context) else None, batch_size=batch_size,
                backend=backend, say=_say, tell=_note)


@app.command(cls=Command)
def export(
    run: Annotated[Path, typer.Argument(help="a run folder")],
    path: Annotated[Path, typer.Argument(help="the file to write; its suffix says of which kind: .onnx")],
    fixed: Annotated[bool, typer.Option("--fixed", help="for batches of two alone; by default the batch may have any "
                                                        "size, where the kind of file allows it")] = False,
) -> None:
    """Write a saved model as a file for another program.

    The file takes what the network takes, after preprocessing, and gives the probability of each class, or numbers in
    their own unit.

    Example:

      chainrule export runs/digits-001 digits.onnx
    """
    from .ship import export_run

    _say(export_run(run, path, not fixed))


@app.command(cls=Command)
def serve(
    runs: Annotated[list[str], typer.Argument(help="run folders or saved models, each as PATH or NAME=PATH")],
    host: Annotated[str, typer.Option(help="address to listen at; the default is reached from this machine "
                                           "alone")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for a free one")] = 8000,
    batch: Annotated[int, typer.Option(help="rows that are computed together, of several requests")] = 64,
    delay: Annotated[float, typer.Option(help="seconds that a request waits for others to be computed with; 0: only "
                                              "while the model is busy")] = 0.0,
    timeout: Annotated[float, typer.Option(help="seconds that a request may take")] = 30.0,
    max_bytes: Annotated[int, typer.Option(help="largest body of a request")] = 64 * 2**20,
) -> None:
    """Serve saved models by HTTP: the Open Inference Protocol (version 2), files, metrics, and a page to try them.

    Examples:

      chainrule serve runs/digits-001 --port 8000

      chainrule serve digits=runs/digits-001 people=runs/people-003

      curl -F file=@seven.png http://127.0.0.1:8000/v2/models/digits-001/files

    Exit status: 0 ended by Ctrl-C or SIGTERM, which let requests in work end; 1 a model or an address cannot be used; 2
    the command cannot be understood.
    """
    from .serve import serve_runs

    serve_runs(runs, host, port, batch=batch, delay=delay, timeout=timeout, max_bytes=max_bytes)


@app.command(cls=Command)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead of lines")] = False,
) -> None:
    """Show what a bug report needs: versions, processor, threads, the cache of compiled code, backends and extras.

    Each backend that is installed compiles a small function, whose result is compared with NumPy's.

    Exit status: 0 the default backend computes; 1 it does not.
    """
    import json

    from .doctor import environment, is_well, text_of

    found = environment()
    typer.echo(json.dumps(found, indent=2) if as_json else text_of(found))
    if not is_well(found):
        raise typer.Exit(1)


@app.command(cls=Command)
def play(
    run: Annotated[Path, typer.Argument(help="the run folder of an agent")],
    gif: Annotated[Path | None, typer.Option(help="write the episode as an animated GIF (needs Pillow)")] = None,
    seed: Annotated[int, typer.Option(help="of the episode's start: the same seed gives the same episode")] = 0,
    steps: Annotated[int | None, typer.Option(help="stop after this many (default: the end of the episode)")] = None,
) -> None:
    """Play one episode with a saved agent.

    Examples:

      chainrule play runs/CartPole-v1-001 --gif balance.gif

    Exit status: 0 done; 1 the run cannot be used; 2 the command cannot be understood.
    """
    from .agents import play_agent

    _say(play_agent(run, gif, seed, steps))


def _note(text: str) -> None:
    typer.echo(in_own_words(text), err=True)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="print the version and leave")] = False) -> None:
    """Deep learning on the machine you have: train, evaluate and use networks on your own files."""
    if show:
        from .. import __version__

        typer.echo(f"chainrule {__version__}")
        raise typer.Exit
