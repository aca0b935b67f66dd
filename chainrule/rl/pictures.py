# SPDX-License-Identifier: Apache-2.0
"""What the built-in environments look like: a function of the state of one copy (name → number) for each, which gives
uint8 (height, width, 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .canvas import BLACK, BLUE, BROWN, GREEN, GREY, ICE, LIGHT, PURPLE, RED, WHITE, YELLOW, Canvas, Colour

Numbers = Mapping[str, Any]
CELL = 40  # pixels


def cart_pole(state: Numbers) -> np.ndarray:
    """The cart on its track, and the pole."""
    canvas, middle, scale = Canvas(400, 260), 190.0, 400 / 4.8
    x = 200 + scale * float(state["x"])
    angle = float(state["angle"])
    canvas.line((0, middle), (400, middle), 2, GREY)
    canvas.rectangle(x - 28, middle - 16, x + 28, middle + 16, BLACK)
    canvas.line((x, middle - 10), (x + 2 * 0.5 * scale * 1.4 * math.sin(angle), middle - 10 - 2 * 0.5 * scale * 1.4
                                   * math.cos(angle)), 10, BROWN)
    canvas.circle((x, middle - 10), 5, PURPLE)
    return canvas.image()


def mountain_car(state: Numbers, goal: float) -> np.ndarray:
    """The hill sin(3x), the car and the flag at the goal."""
    canvas, scale = Canvas(400, 260), 400 / 1.8
    place = lambda x: ((x + 1.2) * scale, 220 - 150 * (0.45 * math.sin(3 * x) + 0.55))
    canvas.path([place(x) for x in np.linspace(-1.2, 0.6, 60)], 3, BLACK)
    foot = place(goal)
    canvas.line(foot, (foot[0], foot[1] - 40), 2, BLACK)
    canvas.rectangle(foot[0], foot[1] - 40, foot[0] + 18, foot[1] - 28, YELLOW)
    x = float(state["position"])
    (left, top), slope = place(x), 150 * 0.45 * 3 * math.cos(3 * x) / scale
    along = np.array([1.0, -slope]) / math.hypot(1, slope)
    up = np.array([along[1], -along[0]])
    centre = np.array([left, top])
    ends = [tuple(centre + up * 16 + along * way) for way in (-14, 14)]
    canvas.line(ends[0], ends[1], 14, BLUE)
    for way in (-11, 11):
        canvas.circle(tuple(centre + up * 7 + along * way), 6, GREY)
    return canvas.image()


def acrobot(state: Numbers) -> np.ndarray:
    """Both links, and the line above which the end has to come."""
    canvas, scale = Canvas(300, 300), 62.0
    first, both = float(state["angle1"]), float(state["angle1"]) + float(state["angle2"])
    joint = (150 + scale * math.sin(first), 150 + scale * math.cos(first))
    end = (joint[0] + scale * math.sin(both), joint[1] + scale * math.cos(both))
    canvas.line((0, 150 - scale), (300, 150 - scale), 2, GREY)
    canvas.line((150, 150), joint, 12, BLUE)
    canvas.line(joint, end, 12, GREEN)
    for point in ((150.0, 150.0), joint):
        canvas.circle(point, 7, YELLOW)
    return canvas.image()


def pendulum(state: Numbers) -> np.ndarray:
    """The rod; upright is an angle of 0."""
    canvas, angle = Canvas(300, 300), float(state["angle"])
    canvas.line((150, 150), (150 - 110 * math.sin(angle), 150 - 110 * math.cos(angle)), 20, RED)
    canvas.circle((150, 150), 6, BLACK)
    return canvas.image()


GROUND: dict[str, Colour] = {"G": GREEN, "H": BLUE, "X": RED, "#": GREY, "S": YELLOW}


def grid(drawing: Sequence[str], state: Numbers, free: Colour = ICE) -> np.ndarray:
    """The cells of a drawing, and where the agent is."""
    canvas = Canvas(CELL * len(drawing[0]), CELL * len(drawing), WHITE)
    for row, line in enumerate(drawing):
        for column, letter in enumerate(line):
            _cell(canvas, row, column, GROUND.get(letter, free))
    row, column = divmod(int(state["state"]), len(drawing[0]))
    canvas.circle(((column + 0.5) * CELL, (row + 0.5) * CELL), 0.3 * CELL, BLACK)
    return canvas.image()


def _cell(canvas: Canvas, row: int, column: int, colour: Colour) -> None:
    canvas.rectangle(column * CELL + 1, row * CELL + 1, (column + 1) * CELL - 1, (row + 1) * CELL - 1, colour)


def taxi(state: Numbers, places: Sequence[tuple[int, int]], walls: frozenset[tuple[int, int]]) -> np.ndarray:
    """The town: four coloured places, walls, the taxi (yellow, green with a passenger), the passenger (a dot), the
    hotel (a ring)."""
    row, column, passenger, hotel = map(int, np.unravel_index(int(state["state"]), (5, 5, 5, 4)))
    canvas, centre = Canvas(5 * CELL, 5 * CELL), lambda place: ((place[1] + 0.5) * CELL, (place[0] + 0.5) * CELL)
    for r in range(5):
        for c in range(5):
            _cell(canvas, r, c, LIGHT)
    for place, colour in zip(places, (RED, GREEN, YELLOW, BLUE), strict=True):
        _cell(canvas, *place, colour)
    for r, c in walls:
        canvas.line(((c + 1) * CELL, r * CELL + 2), ((c + 1) * CELL, (r + 1) * CELL - 2), 5, BLACK)
    canvas.circle(centre(places[hotel]), 0.42 * CELL, PURPLE)
    canvas.circle(centre(places[hotel]), 0.32 * CELL, WHITE)
    x, y = centre((row, column))
    canvas.rectangle(x - 13, y - 9, x + 13, y + 9, BLACK)
    canvas.rectangle(x - 11, y - 7, x + 11, y + 7, GREEN if passenger == 4 else YELLOW)
    if passenger < 4:
        canvas.circle(centre(places[passenger]), 0.14 * CELL, BLACK)
    return canvas.image()


def blackjack(state: Numbers) -> np.ndarray:
    """The dealer's card above, the player's sum below, and a mark for an ace that counts 11."""
    canvas = Canvas(200, 200, GREEN)
    best = int(state["player"]) + (10 if state["ace"] and int(state["player"]) + 10 <= 21 else 0)
    for top, number, colour in ((18, int(state["shown"]), BLACK), (108, best, BLUE)):
        canvas.rectangle(65, top, 135, top + 74, WHITE)
        text = str(number)
        canvas.digits(text, round(100 - (4 * len(text) - 1) * 3.5), top + 20, 7, colour)
    if best != int(state["player"]):
        canvas.circle((150, 120), 9, YELLOW)
    return canvas.image()


def channels(observation: np.ndarray) -> np.ndarray:
    """An image observation (height, width, channels) of zeros and ones: a colour for each channel, the last one above.
    """
    colours = (WHITE, RED, YELLOW, GREEN, BLUE, PURPLE, BROWN)
    picture = np.zeros((*observation.shape[:2], 3), np.uint8) + np.array(BLACK, np.uint8)
    for i in range(observation.shape[2]):
        picture[observation[..., i] > 0] = colours[i % len(colours)]
    return np.kron(picture, np.ones((20, 20, 1), np.uint8))
