# SPDX-License-Identifier: Apache-2.0
"""The figure that a picture is, and a place for it in a figure of somebody else. Imported when the first picture is
drawn."""

from __future__ import annotations

import io
import os
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Plain

from ..errors import ArgumentError, explain, shown
from ..foundations.files import write_atomically


class Figure(Plain):
    """A figure of matplotlib that belongs to no window, and that notebooks show. What reads files takes it for the file
    that it was written to.

    Attributes:
        path: where it was written, or None.
    """

    def __init__(self, width: float, height: float):
        super().__init__(figsize=(width, height), layout="constrained", dpi=150)
        FigureCanvasAgg(self)
        self.path: Any = None

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=100)
        return stream.getvalue()

    def __fspath__(self) -> str:
        if self.path is None:
            raise ArgumentError(explain("this picture was not written", got=shown(self),
                                        fix="give it a path: path='picture.png', or figure.savefig(path)"))
        return os.fspath(self.path)

    def __str__(self) -> str:
        return repr(self) if self.path is None else os.fspath(self.path)

    def __repr__(self) -> str:
        width, height = self.get_size_inches() * self.dpi
        return f"Figure({width:.0f} x {height:.0f} pixels{f', {os.fspath(self.path)}' if self.path else ''})"


class Place:
    """What a painter takes for its figure where the picture goes into the place of axes: the axes themselves if one
    plot is all it draws,
    a figure below theirs if it needs several.
    """

    def __init__(self, axes: Any):
        self.axes, self.below, self.title = axes, None, None

    def add_subplot(self, *place: Any, **options: Any) -> Any:
        return self._below().add_subplot(*place, **options) if place or options else self.axes

    def subplots(self, rows: int = 1, columns: int = 1, **options: Any) -> Any:
        return self.axes if (rows, columns, options) == (1, 1, {}) else self._below().subplots(rows, columns, **options)

    def add_gridspec(self, *place: Any, **options: Any) -> Any:
        return self._below().add_gridspec(*place, **options)

    def colorbar(self, *args: Any, **options: Any) -> Any:
        return (self.below or self.axes.figure).colorbar(*args, **options)

    def suptitle(self, text: str, **options: Any) -> None:
        self.title = (text, options)
        (self.axes.set_title if self.below is None else self.below.suptitle)(text, **options)

    def set_layout_engine(self, *_: Any, **__: Any) -> None:
        """The figure that the axes are in keeps its own."""

    def _below(self) -> Any:
        if self.below is None:
            figure, box = self.axes.figure, self.axes.get_position()
            spec = (self.axes.get_subplotspec()
                    or figure.add_gridspec(1, 1, left=box.x0, right=box.x1, bottom=box.y0, top=box.y1)[0])
            self.axes.remove()
            self.below = figure.add_subfigure(spec)
            if self.title is not None:
                self.below.suptitle(self.title[0], **self.title[1])
        return self.below


def write(figure: Any, path: Any) -> Any:
    """The path, after the figure was written there as PNG, whole or not at all."""
    return write_atomically(path, lambda stream: figure.savefig(stream, format="png", dpi=150))
