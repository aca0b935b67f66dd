# SPDX-License-Identifier: Apache-2.0
"""Nested structures as lists of leaves, with a name for each."""

from __future__ import annotations

from argparse import Namespace
from typing import NamedTuple

from chainrule.foundations import tree as trees


def test_paths_are_the_names_of_leaves():
    class Pair(NamedTuple):
        left: object
        right: object
    nested = {"a": (1, [2, 3]), "b": Pair(4, {"c": 5}), "d": None, "e": Namespace(f=6), "g": {}}
    assert trees.paths(nested) == ["a.0", "a.1.0", "a.1.1", "b.left", "b.right.c", "e.f"]
    assert len(trees.paths(nested)) == len(trees.flatten(nested)[0])
    assert trees.paths(7) == [""] and trees.paths(7, "x") == ["x"] and trees.paths((1, 2), "x") == ["x.0", "x.1"]
