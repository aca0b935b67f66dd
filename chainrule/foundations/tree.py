# SPDX-License-Identifier: Apache-2.0
"""Nested structures (tuples, lists, dicts and other mappings, dataclasses, namespaces, None) as flat lists of leaves
and back:
the only notion of structure.

A structure is described by a hashable `Tree`, so it can be part of a key. Dicts are taken in the order of their keys as
inserted; everything that is not a container is a leaf. So is a frozen dataclass that holds no array: it is a value.
"""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ..errors import ArgumentError, explain


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
    if type(structure) in PLAIN_DICTS:
        return _flatten(dict, tuple(structure), structure.values())
    if isinstance(structure, tuple | list):
        return _flatten(type(structure), (), structure)
    return _flatten_object(structure) if _is_container(structure) else ([structure], LEAF)


PLAIN_DICTS = (dict, OrderedDict, defaultdict)


def _is_container(x: Any) -> bool:
    return isinstance(x, deque | Mapping | SimpleNamespace | Namespace) or (
        dataclasses.is_dataclass(x) and not isinstance(x, type)
        and not type(x).__module__.startswith(__name__.partition(".")[0] + "."))


def _flatten_object(x: Any) -> tuple[list[Any], Tree]:
    if isinstance(x, deque):
        return _flatten(deque, (), x)
    if isinstance(x, Mapping):
        return _flatten(type(x), tuple(x), x.values())
    held = dict(getattr(x, "__dict__", {}))
    if dataclasses.is_dataclass(x):
        held = {field.name: getattr(x, field.name) for field in dataclasses.fields(x) if hasattr(x, field.name)} | held
    leaves, tree = _flatten(type(x), tuple(held), held.values())
    value = (type(x).__hash__ not in (None, object.__hash__)
             and not any(hasattr(type(leaf), "__array__") for leaf in leaves))
    return ([x], LEAF) if value else (leaves, tree)


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
    if issubclass(tree.kind, tuple | list | deque):
        return tree.kind(*items) if hasattr(tree.kind, "_fields") else tree.kind(items)
    return _unflatten_object(tree.kind, dict(zip(tree.keys, items, strict=True)))


def _unflatten_object(kind: Any, held: dict[Any, Any]) -> Any:
    if issubclass(kind, Mapping):
        return kind(held)
    made = kind() if issubclass(kind, SimpleNamespace | Namespace) else object.__new__(kind)
    for name, value in held.items():
        object.__setattr__(made, name, value)
    return made


def paths(structure: Any, prefix: str = "") -> list[str]:
    """A name for each leaf: "image", "0", "parts.left"; the name of a structure that is one leaf is `prefix`."""
    return _paths(flatten(structure)[1], prefix)


def _paths(tree: Tree, prefix: str) -> list[str]:
    if tree == LEAF:
        return [prefix]
    keys = tree.keys or getattr(tree.kind, "_fields", None) or range(len(tree.children))
    return [path for key, child in zip(keys, tree.children, strict=True)
            for path in _paths(child, f"{prefix}.{key}" if prefix else str(key))]


def map(function: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """The structure with `function` applied to each leaf (and to the leaves of `others`, which have the same
    structure)."""
    leaves, tree = flatten(structure)
    columns = []
    for other in others:
        below, shape = flatten(other)
        if shape != tree:
            raise ArgumentError(explain("two structures differ", got=str(shape), expected=str(tree)))
        columns.append(below)
    return unflatten(tree, [function(*row) for row in zip(leaves, *columns, strict=True)])
