# SPDX-License-Identifier: Apache-2.0
"""What lies round an image: zeros, or the image itself continued in one of four ways, as in `numpy.pad`; and cropping.

The ways along one axis of "a b c": reflect (c b) a b c (b a), symmetric (b a) a b c (c b), edge (a a) a b c (c c),
circular (b c) a b c (a b).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError, explain, shown
from ...foundations.names import closest
from ...ops.index import take
from ...ops.movement import pad, slice_axis
from ...ops.padding import places
from ...typing import PaddingLike
from ..core.checks import axis_names, describe, need_rank, origin
from ..core.module import Module

MODES = ("zero", "reflect", "symmetric", "edge", "circular")


def known_mode(mode: str) -> str:
    """The mode, if there is one of this name."""
    if mode not in MODES:
        raise ArgumentError(explain("there is no such padding mode", got=shown(mode), expected=" | ".join(MODES),
                                    fix={"replicate": "use 'edge'", "mirror": "use 'reflect'", "wrap": "use 'circular'",
                                         "constant": "use 'zero'",
                                         "zeros": "use 'zero'"}.get(mode) or closest(mode, MODES)))
    return mode


def pad_spatial(x: Any, padding: Any, mode: str) -> Any:
    """(N, *S, C) with pairs (before, after) of positions added along each spatial axis."""
    if mode == "zero":
        return pad(x, [(0, 0), *padding, (0, 0)])
    for axis, (low, high) in enumerate(padding, 1):
        if low or high:
            x = take(x, _places(x, axis, low, high, mode), axis=axis)
    return x


def _places(x: Any, axis: int, low: int, high: int, mode: str) -> np.ndarray:
    n = x.shape[axis]
    most = {"reflect": n - 1, "edge": max(low, high) if n else 0}.get(mode, n)
    if low > most or high > most:
        word = {"reflect": "reflect", "symmetric": "mirror", "circular": "repeat"}.get(mode, "continue")
        raise ShapeError(explain(f"there are not enough pixels to {word} {low} and {high} of them",
                                 got=describe(x.shape, axis_names(x.ndim - 2)) + origin(x),
                                 expected=f"padding of at most {most}",
                                 fix=f"use ZeroPad{x.ndim - 2}D, or {word} fewer pixels"))
    return places(n, low, high, mode)


def parse_pairs(padding: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """An integer, or one integer or pair (before, after) per axis, as pairs."""
    items = (padding,) * rank if isinstance(padding, int) else tuple(padding) if isinstance(padding, tuple | list) \
        else ()
    pairs = tuple((p, p) if isinstance(p, int) else tuple(p) if isinstance(p, tuple | list) else () for p in items)
    if len(pairs) != rank or not all(len(p) == 2 and all(isinstance(n, int) and n >= 0 for n in p) for p in pairs):
        raise ArgumentError(explain("this is not understood as so many positions before and after", got=shown(padding),
                                    expected=f"an integer, or {rank} integers or pairs"))
    return pairs


class Padding(Module):
    """Positions added round each image.

    Args:
        padding: an integer, or one integer or pair (before, after) for each spatial axis.
    """

    rank, mode = 2, "zero"

    def __init__(self, padding: PaddingLike = 1):
        self.padding = parse_pairs(padding, self.rank)

    def forward(self, x: Any) -> Any:
        need_rank(x, self.rank)
        return pad_spatial(x, self.padding, self.mode)


class Cropping(Module):
    """Positions cut off round each image.

    Args:
        cropping: an integer, or one integer or pair (before, after) for each spatial axis.
    """

    rank = 2

    def __init__(self, cropping: PaddingLike = 1):
        self.cropping = parse_pairs(cropping, self.rank)

    def forward(self, x: Any) -> Any:
        need_rank(x, self.rank)
        for axis, (low, high) in enumerate(self.cropping, 1):
            if low + high >= x.shape[axis]:
                raise ShapeError(explain("nothing is left of the image",
                                         got=describe(x.shape, axis_names(self.rank)) + origin(x),
                                         expected=f"more than {low + high} positions", fix="crop less"))
            x = slice_axis(x, axis, low, x.shape[axis] - high)
        return x


def _made(name: str, base: type[Module], rank: int, mode: str = "zero") -> type[Module]:
    words = "" if base is Cropping else {"zero": "Zeros. ", "reflect": "A mirror on the border pixels. ",
                                         "symmetric": "A mirror behind the border pixels. ",
                                         "edge": "The border pixels again. ", "circular": "The other end. "}[mode]
    x, n = (1, *(4,) * rank, 3), 2 if base is Cropping else 6
    example = f"    >>> nn.{name}(1)(cr.ones({x})).shape\n    {(1, *(n,) * rank, 3)}\n"
    return type(name, (base,),
                {"rank": rank, "mode": mode, "__doc__": f"{words}{(base.__doc__ or '').rstrip()}\n\n{example}",
                 "__module__": __name__})


ZeroPad1D, ZeroPad2D, ZeroPad3D = (_made(f"ZeroPad{n}D", Padding, n) for n in (1, 2, 3))
ReflectPad1D, ReflectPad2D, ReflectPad3D = (_made(f"ReflectPad{n}D", Padding, n, "reflect") for n in (1, 2, 3))
SymmetricPad1D, SymmetricPad2D, SymmetricPad3D = (_made(f"SymmetricPad{n}D", Padding, n, "symmetric")
                                                  for n in (1, 2, 3))
EdgePad1D, EdgePad2D, EdgePad3D = (_made(f"EdgePad{n}D", Padding, n, "edge") for n in (1, 2, 3))
CircularPad1D, CircularPad2D, CircularPad3D = (_made(f"CircularPad{n}D", Padding, n, "circular") for n in (1, 2, 3))
Cropping1D, Cropping2D, Cropping3D = (_made(f"Cropping{n}D", Cropping, n) for n in (1, 2, 3))
