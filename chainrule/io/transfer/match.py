# SPDX-License-Identifier: Apache-2.0
"""Which layer of another model is which of ours: by its name, and what is left by shape and order.

A layer is a group of arrays. Names are believed where they have words, or where the numbers in them are the same on
both sides: the 2 of one Sequential is not the 2 of another that counts its activations. Among layers of one shape words
such as "query" and "key" come before the order; where a file is sorted by names, so that its order says nothing, layers
that differ in other words are left open.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .names import concept, natural, skeleton, split

Shape = tuple[int, ...]


@dataclass
class Layer:
    """The arrays of a layer: role -> (name, shape)."""

    path: str
    arrays: dict[str, tuple[str, Shape]] = field(default_factory=dict)

    def signature(self) -> tuple[tuple[int, Shape], ...]:
        """What is the same however the axes lie and whatever the arrays are called."""
        return tuple(sorted((math.prod(shape), tuple(sorted(n for n in shape if n != 1)))
                            for _, shape in self.arrays.values()))


def layers(shapes: Mapping[str, Shape]) -> list[Layer]:
    """The layers of a dict of arrays, in its order."""
    found: dict[str, Layer] = {}
    for name, shape in shapes.items():
        path, role = split(name)
        found.setdefault(path, Layer(path)).arrays[role] = (name, shape)
    return list(found.values())


def without_prefix(ours: list[Layer], theirs: list[Layer]) -> list[Layer]:
    """Their layers without the first words of their paths, if more of them have our names then."""
    known = {layer.path for layer in ours}
    starts = {"", *(".".join(layer.path.split(".")[:i]) + "." for layer in theirs for i in (1, 2, 3)
                    if layer.path.count(".") >= i)}
    count = lambda start: (sum(layer.path.removeprefix(start) in known for layer in theirs
                               if layer.path.startswith(start)), -len(start))
    best = max(sorted(starts), key=count)
    return [Layer(layer.path.removeprefix(best), layer.arrays) for layer in theirs] if best else theirs


def pairs(ours: list[Layer], theirs: list[Layer]) -> tuple[list[tuple[Layer, Layer]], list[str]]:
    """(pairs of layers, and a sentence for each that stayed open because nothing tells which is which)."""
    theirs = without_prefix(ours, theirs)
    by_path, trusted = {layer.path: layer for layer in theirs}, _trusted(ours, theirs)
    made = [(layer, by_path[layer.path]) for layer in ours if layer.path in by_path and trusted(layer.path)]
    done = {id(layer) for pair in made for layer in pair}
    rest, open_ = _by_order([layer for layer in ours if id(layer) not in done],
                            [layer for layer in theirs if id(layer) not in done])
    done |= {id(layer) for pair in rest for layer in pair}
    left = ([] if open_ else _of_other_extents([layer for layer in ours if id(layer) not in done],
                                               [layer for layer in theirs if id(layer) not in done]))
    return made + rest + left, open_


def _of_other_extents(ours: list[Layer], theirs: list[Layer]) -> list[tuple[Layer, Layer]]:
    """Layers of the same kinds of arrays, with other extents: a head for other classes. They are paired to be told of,
    as long as they are few."""
    kind = lambda layer: tuple(sorted(len(shape) for _, shape in layer.arrays.values()))
    a, b = ([(layer, [kind(other) for other in found].count(kind(layer))) for layer in found]
            for found in (ours, theirs))
    return [(mine, other) for mine, n in a for other, m in b if n == m == 1 and kind(mine) == kind(other)]


def _trusted(ours: list[Layer], theirs: list[Layer]) -> Callable[[str], bool]:
    """Whether a path may be taken for the same on both sides."""
    a, b = _numbers(ours), _numbers(theirs)
    every = {layer.path for layer in ours} == {layer.path for layer in theirs}

    def trusted(path: str) -> bool:
        parts = path.split(".")
        places = [".".join(parts[:i]) for i, part in enumerate(parts) if part.isdecimal()]
        return every or all(_alike(sorted(a[place]), sorted(b[place])) for place in places)
    return trusted


def _alike(a: list[int], b: list[int]) -> bool:
    """Whether one list of numbers is the other, or its beginning."""
    return a[:len(b)] == b[:len(a)]


def _numbers(found: list[Layer]) -> dict[str, set[int]]:
    """Path of a list of layers -> the numbers in it that have arrays."""
    numbers = defaultdict(set)
    for layer in found:
        parts = layer.path.split(".")
        for i, part in enumerate(parts):
            if part.isdecimal():
                numbers[".".join(parts[:i])].add(int(part))
    return numbers


def _by_order(ours: list[Layer], theirs: list[Layer]) -> tuple[list[tuple[Layer, Layer]], list[str]]:
    paths = [layer.path for layer in theirs]
    is_sorted = len(paths) > 2 and paths == sorted(paths)
    theirs = sorted(theirs, key=lambda layer: natural(layer.path)) if is_sorted else theirs
    a, b = _classes(ours), _classes(theirs)
    made, open_ = [], []
    for signature in a:
        mine, others = a[signature], b.get(signature, [])
        for left, right in _by_concept(mine, others):
            if len(left) != len(right):
                continue
            if is_sorted and not all(_follows(one, other)
                                     for one, other in itertools.pairwise(layer.path for layer in right)):
                open_.append(f"{', '.join(layer.path for layer in left[:4])} could each be "
                             f"{', '.join(layer.path for layer in right[:4])}")
                continue
            made += zip(left, right, strict=True)
    return made, open_


def _classes(found: list[Layer]) -> dict[tuple, list[Layer]]:
    made = defaultdict(list)
    for layer in found:
        made[layer.signature()].append(layer)
    return dict(made)


def _by_concept(ours: list[Layer], theirs: list[Layer]) -> list[tuple[list[Layer], list[Layer]]]:
    """The layers of one shape by what their words say, if both sides say the same."""
    a, b = defaultdict(list), defaultdict(list)
    for found, layers_ in ((a, ours), (b, theirs)):
        for layer in layers_:
            found[concept(layer.path)].append(layer)
    if {word: len(found) for word, found in a.items()} != {word: len(found) for word, found in b.items()}:
        return [(ours, theirs)]
    return [(found, b[word]) for word, found in a.items()]


def _follows(a: str, b: str) -> bool:
    """Whether b comes after a in the model as it does in a sorted file: by a number, or as a layer of the same name in
    a block after one outside of it."""
    first, second = a.split("."), b.split(".")
    words = next(((x, y) for x, y in zip(first, second, strict=False) if x != y), ("", ""))
    return (skeleton(words[0]) == skeleton(words[1])
            or (len(first) != len(second) and skeleton(first[-1]) == skeleton(second[-1])))
