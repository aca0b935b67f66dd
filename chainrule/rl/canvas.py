# SPDX-License-Identifier: Apache-2.0
"""`Canvas`: shapes on an RGB picture, with smooth edges. NumPy only: a pixel takes as much of a colour as its distance
to the shape's edge says."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE, BLACK, GREY, LIGHT = (255, 255, 255), (35, 35, 40), (130, 135, 145), (222, 226, 232)
RED, GREEN, BLUE = (214, 69, 65), (72, 160, 88), (58, 110, 185)
YELLOW, BROWN, ICE, PURPLE = (238, 190, 60), (150, 105, 70), (214, 234, 248), (140, 90, 170)

DIGITS = ("111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
          "111100111001111", "111100111101111", "111001001001001", "111101111101111", "111101111001111")


class Canvas:
    """A picture of width × height pixels; coordinates are pixels, (x, y) from the upper left corner.

    Attributes:
        pixels: float64 (height, width, 3), 0 to 255.
    """

    def __init__(self, width: int, height: int, colour: Colour = WHITE):
        self.pixels = np.empty((height, width, 3))
        self.pixels[:] = colour
        self._y, self._x = np.mgrid[:height, :width] + 0.5

    def image(self) -> np.ndarray:
        """uint8 (height, width, 3)."""
        return np.rint(self.pixels).astype(np.uint8)

    def circle(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self._paint(np.hypot(self._x - centre[0], self._y - centre[1]) - radius, colour)

    def line(self, start: Point, end: Point, thickness: float, colour: Colour) -> None:
        """A line with round ends."""
        (x, y), (dx, dy) = start, (end[0] - start[0], end[1] - start[1])
        along = np.clip(((self._x - x) * dx + (self._y - y) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        self._paint(np.hypot(self._x - x - along * dx, self._y - y - along * dy) - thickness / 2, colour)

    def path(self, points: Sequence[Point], thickness: float, colour: Colour) -> None:
        """Lines from point to point."""
        for start, end in itertools.pairwise(points):
            self.line(start, end, thickness, colour)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle."""
        off = np.maximum(np.abs(self._x - (left + right) / 2) - (right - left) / 2, np.abs(self._y - (top + bottom) / 2)
                         - (bottom - top) / 2)
        self._paint(off, colour)

    def digits(self, text: str, left: float, top: float, size: float, colour: Colour) -> None:
        """A number in digits of 3 × 5 squares, each of `size` pixels."""
        for place, digit in enumerate(text):
            for i, dot in enumerate(DIGITS[int(digit)]):
                if dot == "1":
                    x, y = left + (4 * place + i % 3) * size, top + i // 3 * size
                    self.rectangle(x, y, x + size, y + size, colour)

    def _paint(self, distance: np.ndarray, colour: Colour) -> None:
        share = np.clip(0.5 - distance, 0, 1)[..., None]
        self.pixels += share * (np.array(colour) - self.pixels)
