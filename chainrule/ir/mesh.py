# SPDX-License-Identifier: Apache-2.0
"""Meshes of devices, and where Variables lie on them: what a backend with several devices is told.

A placement names for each axis of an array the axis of the mesh along which it is cut, or None. It never changes what a
program computes: the backend's partitioner (GSPMD) puts in the communication that the placements make necessary.
"""

from __future__ import annotations

import fnmatch
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ArgumentError, explain, shown
from .variable import Variable

Placement = tuple[str | None, ...]
BATCH, TIME = "data", "sequence"  # the axes of a mesh along which batches are cut: samples, and steps of sequences


class Mesh:
    """Named axes of devices; a context within which compiled functions run on all of them.

    Args:
        axes: name → how many devices.
        everywhere: whether a Variable without a placement of its own is cut along "data" (fully sharded), not copied to
            every device.
    """

    current: Mesh | None = None

    def __init__(self, axes: Mapping[str, int], everywhere: bool = False):
        self.axes, self.everywhere = dict(axes), everywhere
        self.version = 0  # grows with every placement, for programs are made for placements
        # by identity: == of Variables is elementwise
        self._placed: dict[int, tuple[weakref.ref[Variable], Placement]] = {}
        self._before: list[Mesh | None] = []

    def __enter__(self) -> Mesh:
        self._before.append(Mesh.current)
        Mesh.current = self
        return self

    def __exit__(self, *_: Any) -> None:
        Mesh.current = self._before.pop()

    def place(self, patterns: Mapping[str, Placement], variables: Mapping[str, Variable]) -> set[str]:
        """Give the Variables that patterns name their placements, and their optimiser's slots ("0.weight.first") the
        same; the patterns that fit.

        Raises ArgumentError for a placement that the Variable's shape does not allow.
        """
        used = set()
        for name, variable in variables.items():
            for pattern, placement in patterns.items():
                if _names(pattern, name, variable, placement):
                    self._put(variable, self._checked(name, variable, tuple(placement)))
                    used.add(pattern)
                    break
        self.version += 1
        return used

    def of(self, variable: Variable) -> Placement:
        """Where a Variable lies."""
        _, placement = self._placed.get(id(variable), (None, None))
        if placement is None:
            placement = self._spread(variable.shape) if self.everywhere else ()
        return placement

    def _put(self, variable: Variable, placement: Placement) -> None:
        place, placed = id(variable), self._placed
        placed[place] = weakref.ref(variable, lambda _: placed.pop(place, None)), placement

    def of_batch(self, shape: tuple[int, ...]) -> Placement:
        """Where an argument of a program lies: cut along its first axes, where these can be cut."""
        names = (BATCH, TIME) if len(shape) > 1 else (BATCH,)
        return tuple([name if self._cuts(name, extent) else None for name, extent in zip(names, shape, strict=False)])

    def __reduce__(self) -> Any:
        """A mesh of the same axes; placements belong to the Variables of this process."""
        return type(self), self._arguments()

    def _arguments(self) -> tuple[Any, ...]:
        return self.axes, self.everywhere

    def _cuts(self, name: str, extent: int) -> bool:
        return self.axes.get(name, 1) > 1 and extent > 0 and extent % self.axes[name] == 0

    def _spread(self, shape: tuple[int, ...]) -> Placement:
        """Along the longest axis that can be cut."""
        fits = [i for i, extent in enumerate(shape) if self._cuts(BATCH, extent)]
        if not fits:
            return ()
        longest = max(fits, key=lambda i: shape[i])
        return tuple([BATCH if i == longest else None for i in range(len(shape))])

    def _checked(self, name: str, variable: Variable, placement: Placement) -> Placement:
        if len(placement) > variable.ndim:
            raise ArgumentError(explain(f"{name} has fewer axes than its placement",
                                        got=f"{placement} for {variable.shape}",
                                        fix="one name of an axis of the mesh, or None, for each axis"))
        for axis, extent in zip(placement, variable.shape, strict=False):
            if axis is not None and axis not in self.axes:
                raise ArgumentError(explain("the mesh has no such axis", got=shown(axis),
                                            expected=" | ".join(self.axes)))
            if axis is not None and extent % self.axes[axis]:
                raise ArgumentError(explain(f"{name} cannot be cut into equal parts",
                                            got=f"an axis of {extent:,} on {self.axes[axis]} devices ({axis})",
                                            fix="another axis, or None"))
        return placement


def _names(pattern: str, name: str, variable: Variable, placement: Placement) -> bool:
    """Whether a pattern names a Variable, or the parameter to which a slot of this shape belongs."""
    slot = fnmatch.fnmatchcase(name.rpartition(".")[0], pattern) and variable.ndim == len(placement)
    return slot or fnmatch.fnmatchcase(name, pattern)


def fitting(pattern: str, placement: Placement, variables: Mapping[str, Variable]) -> list[Variable]:
    """The Variables that a pattern names."""
    return [variable for name, variable in variables.items() if _names(pattern, name, variable, placement)]


def refuse_unused(patterns: Iterable[str], used: set[str], names: Iterable[str]) -> None:
    """ArgumentError for a pattern that names nothing."""
    for pattern in patterns:
        if pattern not in used:
            raise ArgumentError(explain("no Variable has a name like this", got=pattern,
                                        expected=", ".join(list(names)[:8])))
