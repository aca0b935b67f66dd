# SPDX-License-Identifier: Apache-2.0
"""Nested structures (tuples, lists, dicts, None) as flat lists of leaves and back: the only notion of structure.

A structure is described by a hashable `Tree`, so it can be part of a key. Dicts are taken in the order of their keys as
inserted; everything that is not a container is a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .errors import ArgumentError, explain


@dataclass(frozen=True)
class Tree:
    """The shape of a structure: its kind (None for a leaf), its keys and the trees below."""

    kind: Any
    keys: tuple[Any, ...] = ()
    children: tuple[Tree, ...] = ()


LEAF = Tree(None)
EMPTY = Tree(type(None))


def flatten(structure: Any) -> tuple[list[Any], Tree]:
    """The leaves in order, and the tree that `unflatten` needs to put them back."""
    if structure is None:
        return [], EMPTY
    if isinstance(structure, dict):
        return _flatten(dict, tuple(structure), structure.values())
    if isinstance(structure, tuple | list):
        return _flatten(type(structure), (), structure)
    return [structure], LEAF


def _flatten(kind: Any, keys: tuple[Any, ...], items: Iterable[Any]) -> tuple[list[Any], Tree]:
    leaves: list[Any] = []
    children = []
    for item in items:
        below, tree = flatten(item)
        leaves += below
        children.append(tree)
    return leaves, Tree(kind, keys, tuple(children))


def unflatten(tree: Tree, leaves: Iterable[Any]) -> Any:
    """The structure described by `tree` with the given leaves."""
    rest = iter(leaves)
    result = _unflatten(tree, rest)
    if next(rest, rest) is not rest:
        raise ArgumentError(explain("there are more leaves than the structure holds"))
    return result


def _unflatten(tree: Tree, leaves: Iterator[Any]) -> Any:
    if tree == LEAF:
        return next(leaves)
    if tree == EMPTY:
        return None
    items = [_unflatten(child, leaves) for child in tree.children]
    if tree.kind is dict:
        return dict(zip(tree.keys, items, strict=True))
    return tree.kind(*items) if hasattr(tree.kind, "_fields") else tree.kind(items)


def map(function: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """The structure with `function` applied to each leaf (and to the leaves of `others`, which have the same structure)."""
    leaves, tree = flatten(structure)
    columns = []
    for other in others:
        below, shape = flatten(other)
        if shape != tree:
            raise ArgumentError(explain("two structures differ", got=str(shape), expected=str(tree)))
        columns.append(below)
    return unflatten(tree, [function(*row) for row in zip(leaves, *columns, strict=True)])
