# SPDX-License-Identifier: Apache-2.0
"""How training looks: a live bar in a terminal, one plain line per epoch elsewhere, nothing when it should be quiet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, explain

REFRESH = 0.1  # seconds between updates of the bar: the eye needs no more, and the step should not wait


def describe(row: dict[str, Any]) -> str:
    """A row of the history as text: `loss 0.0312  accuracy 99.1 %  validation_loss …`."""
    return "  ".join(_value(name, value) for name, value in row.items() if name not in ("epoch", "seconds"))


def _value(name: str, value: Any) -> str:
    if value is None:
        return f"{name} -"
    proportion = any(word in name for word in ("accuracy", "precision", "recall", "f1", "top_"))
    return f"{name} {value * 100:.1f} %" if proportion else f"{name} {value:.4g}"


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """An epoch begins, with `done` of its `steps` behind it."""

    def advance(self, samples: int, losses: Sequence[float]) -> None:
        """Steps are done, with `samples` in all and one loss each."""

    def finish(self, row: dict[str, Any]) -> None:
        """An epoch is done."""

    def say(self, text: str) -> None:
        """A line of its own."""


class Lines(Quiet):
    """One plain line per epoch, for files and pipes."""

    def start(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        self._head = f"epoch {epoch}/{epochs}"
        self._started, self._samples = time.perf_counter(), 0

    def advance(self, samples: int, losses: Sequence[float]) -> None:
        self._samples += samples

    def finish(self, row: dict[str, Any]) -> None:
        speed = self._samples / max(time.perf_counter() - self._started, 1e-9)
        print(f"{self._head}  {describe(row)}  {speed:,.0f} samples/s", flush=True)

    def say(self, text: str) -> None:
        print(text, flush=True)


class Bar(Quiet):
    """A live bar (rich): steps, loss so far, samples per second, time left; a finished epoch leaves one line."""

    def __init__(self, console: Any):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(),
                                  TextColumn("{task.fields[text]}"), TimeRemainingColumn(), console=console,
                                  transient=True, auto_refresh=False)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._head = f"epoch {epoch}/{epochs}"
        self._task = self._progress.add_task(self._head, total=steps, completed=done, text="")
        self._started = self._shown = time.perf_counter()
        self._steps, self._samples, self._loss = done, 0, 0.0

    def advance(self, samples: int, losses: Sequence[float]) -> None:
        self._samples += samples
        steps, smooth = self._steps, self._loss
        for loss in losses:
            steps += 1
            smooth += (loss - smooth) * (1 / steps if steps < 50 else 0.02)
        self._steps, self._loss = steps, smooth
        now = time.perf_counter()
        if now - self._shown >= REFRESH:
            self._shown = now
            speed = self._samples / (now - self._started)
            self._progress.update(self._task, completed=self._steps,
                                  text=f"loss {self._loss:.4f}  {speed:,.0f} samples/s")
            self._progress.refresh()

    def finish(self, row: dict[str, Any]) -> None:
        speed = self._samples / max(time.perf_counter() - self._started, 1e-9)
        self._progress.console.print(f"[bold]{self._head}[/]  {describe(row)}  [dim]{speed:,.0f} samples/s[/]",
                                     highlight=False)

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)


def reporter(show: bool | str) -> Quiet:
    """The reporter for `progress=`: True chooses by the terminal, "lines" and "bar" are explicit, False is quiet."""
    if show is False:
        return Quiet()
    if show not in (True, "bar", "lines"):
        raise ArgumentError(explain("there is no such progress", got=repr(show),
                                    expected='True, False, "bar" or "lines"'))
    from rich.console import Console

    console = Console()
    if show == "bar" or (show is True and console.is_terminal):
        return Bar(console)
    return Lines()


