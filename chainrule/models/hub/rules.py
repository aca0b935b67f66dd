# SPDX-License-Identifier: Apache-2.0
"""Rules: our name of a parameter as a pattern, the name of the array in the file, and how one becomes the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ... import nn
from ...errors import DataError, explain

Array = np.ndarray


class Turn:
    """How an array of the file becomes ours, and back: as it is."""

    def ours(self, array: Array) -> Array:
        """The array as we have it."""
        return array

    def theirs(self, array: Array, before: Array | None) -> Array:
        """The array as it is in the file; `before` is what other parameters made of it so far."""
        return array


class Turned(Turn):
    """(out, in) there, (in, out) here."""

    def ours(self, array: Array) -> Array:
        """Transposed."""
        return array.T

    def theirs(self, array: Array, before: Array | None) -> Array:
        """Transposed."""
        return array.T


class Part(Turn):
    """One of several that lie side by side along the last axis there."""

    def __init__(self, place: int, count: int):
        self.place, self.count = place, count

    def ours(self, array: Array) -> Array:
        """The part."""
        return np.split(array, self.count, axis=-1)[self.place]

    def theirs(self, array: Array, before: Array | None) -> Array:
        """The parts so far and this one."""
        return array if before is None else np.concatenate([before, array], axis=-1)


SAME, TURNED = Turn(), Turned()


class Rule(NamedTuple):
    """See the module."""

    pattern: str
    source: str
    turn: Turn = SAME


def dense(ours: str, theirs: str) -> list[Rule]:
    """A Dense and its weight (out, in) in the file."""
    return [Rule(ours + r"\.weight", theirs + ".weight", TURNED), Rule(ours + r"\.bias", theirs + ".bias")]


def source(name: str, rules: list[Rule]) -> tuple[str, Turn]:
    """(name in the file, turn) of one of our parameters."""
    for rule in rules:
        if found := re.fullmatch(rule.pattern, name):
            return found.expand(rule.source), rule.turn
    return name, SAME


def fill(model: nn.Module, arrays: Mapping[str, Array], rules: list[Rule], ignored: str, place: Any) -> None:
    """Give each parameter its array; nothing is changed if anything does not fit."""
    values, faults, used = {}, [], set[str]()
    for name, variable in model.parameters().items():
        theirs, turn = source(name, rules)
        if theirs not in arrays:
            faults.append(f"missing: {theirs} (for {name})")
            continue
        used.add(theirs)
        array = arrays[theirs]
        value = turn.ours(array)
        if value.shape != variable.shape:
            faults.append(f"another shape: {theirs} {array.shape} (for {name} {variable.shape})")
        values[name] = value.astype(variable.dtype)
    faults += [f"left over: {name}" for name in sorted(set(arrays) - used) if not re.search(ignored, name)]
    if faults:
        raise DataError(explain("the weights do not fit the model that config.json describes",
                                got="; ".join(faults[:12]) + ("; …" if len(faults) > 12 else ""),
                                expected=f"{len(values)} arrays in {place}"))
    for name, variable in model.parameters().items():
        variable.assign(values[name])


def arrays_of(model: nn.Module, rules: list[Rule]) -> dict[str, Array]:
    """The arrays of a file for the parameters of a model, frozen or not."""
    made: dict[str, Array] = {}
    for name, variable in model.variables().items():
        if variable.dtype.kind == "f":
            theirs, turn = source(name, rules)
            made[theirs] = turn.theirs(variable.numpy(), made.get(theirs))
    return {name: np.ascontiguousarray(array) for name, array in made.items()}
