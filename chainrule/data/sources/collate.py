# SPDX-License-Identifier: Apache-2.0
"""From samples to a batch: nested samples of one structure come in, the same structure with one row per sample goes
out.

Numbers become arrays (B,), arrays (B, *shape), texts arrays of texts (B,). Whole numbers of Python are int64, others
float32, as everywhere here; NumPy's keep their types. A list of numbers is an array; any other list is structure, as a
tuple is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError, explain, shown
from ...foundations.tree import LEAF, Tree, flatten, unflatten
from ...typing import ArrayLike

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


class Ragged(NamedTuple):
    """Sequences of different lengths in one array: `values` (B, longest, ...) with zeros behind each, `lengths` (B,)
    int64.

    >>> batch = cr.data.Ragged(np.zeros((2, 4)), np.array([4, 2]))
    >>> batch.values.shape, batch.lengths
    ((2, 4), array([4, 2]))
    """

    values: np.ndarray
    lengths: np.ndarray


class Kind(NamedTuple):
    """What samples must have in common: structure, and dtype and shape of each leaf."""

    tree: Tree
    dtypes: tuple[np.dtype, ...]
    shapes: tuple[tuple[int, ...], ...]

    def said(self) -> str:
        """In words, for a message."""
        leaves = [f"{dtype} {shape}" if shape else str(dtype)
                  for dtype, shape in zip(self.dtypes, self.shapes, strict=True)]
        return _words(self.tree, iter(leaves))


def _words(tree: Tree, leaves: Any) -> str:
    if tree == LEAF:
        return next(leaves)
    inner = [_words(child, leaves) for child in tree.children]
    if tree.keys:
        return "{" + ", ".join(f"{key!r}: {text}" for key, text in zip(tree.keys, inner, strict=True)) + "}"
    return "(" + ", ".join(inner) + ")" if inner else "None"


def spread(sample: Any) -> tuple[list[np.ndarray], Tree]:
    """The leaves of a sample as arrays, and its structure."""
    kind = type(sample)
    if kind is np.ndarray and sample.dtype != object:
        return [sample], LEAF
    if kind is dict or isinstance(sample, tuple) or (kind is list and not _is_numbers(sample)):
        leaves: list[np.ndarray] = []
        children = []
        for item in sample.values() if kind is dict else sample:
            below, tree = spread(item)
            leaves += below
            children.append(tree)
        return leaves, Tree(kind, tuple(sample) if kind is dict else (), tuple(children))
    if kind is list or isinstance(sample, np.generic):
        return [_array(sample)], LEAF
    below, tree = flatten(sample)
    return [_array(leaf) for leaf in below], tree


def _is_numbers(items: list[Any]) -> bool:
    """Whether a list stands for an array of numbers, as rows of data sets of tokens do."""
    while items and isinstance(items[0], list):
        items = items[0]
    return (bool(items) and isinstance(items[0], bool | int | float | np.number | np.bool_)
            and all(isinstance(x, int | float | np.number | np.bool_) for x in items))


def _array(leaf: Any) -> np.ndarray:
    if isinstance(leaf, np.generic):
        return np.asarray(leaf)
    if isinstance(leaf, bytes):
        return np.array(leaf, object)
    try:
        array = leaf.numpy() if hasattr(leaf, "numpy") and not hasattr(leaf, "__array__") else np.asarray(leaf)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _no_array(leaf) from error
    if array.dtype == object and not isinstance(leaf, np.ndarray):
        raise _no_array(leaf)
    return (array.astype(np.float32) if array.dtype == np.float64 and isinstance(leaf, float | list)
            and not isinstance(leaf, np.floating) else array)


def _no_array(leaf: Any) -> DataError:
    return DataError(explain("a sample holds what is neither number, text nor array",
                             got=f"{type(leaf).__name__} {shown(leaf)}",
                             expected="arrays, numbers, texts, nested in dicts and tuples",
                             fix="make it one by data.map(source, function), or give the Loader your own "
                                 "collate=function"))


def kind_of(leaves: Sequence[np.ndarray], tree: Tree) -> Kind:
    """What this sample has in common with others."""
    return Kind(tree, tuple(text_free(x.dtype) for x in leaves), tuple(x.shape for x in leaves))


def text_free(dtype: np.dtype) -> np.dtype:
    """Texts of any length have one type."""
    return np.dtype("U") if dtype.kind == "U" else dtype


def collate(samples: Sequence[Any], indices: ArrayLike | None = None, allocate: Allocate = np.empty,
            ragged: Sequence[bool] | None = None, length: int | None = None, where: Callable[[int], str | None]
            | None = None) -> Any:
    """The samples as one batch; DataError that names the sample of another structure, dtype or shape.

    Args:
        indices: their numbers in the source, for messages.
        allocate: makes the arrays of the batch, as `np.empty` does.
        ragged: of each leaf, whether its first axis has another length in each sample: it becomes a `Ragged`.
        length: of the padded arrays; None: of the longest.
        where: says where a sample lies.

    >>> x, y = cr.data.collate([(np.zeros(3), 0), (np.ones(3), 1)])
    >>> x.shape, y
    ((2, 3), array([0, 1]))
    """
    rows, trees = zip(*map(spread, samples), strict=True)
    _check(rows, trees, indices, ragged, where)
    columns = [list(column) for column in zip(*rows, strict=True)]
    ragged = ragged or [False] * len(columns)
    leaves = [_pad(column, allocate, length) if loose else stack(column, allocate)
              for column, loose in zip(columns, ragged, strict=True)]
    return unflatten(trees[0], leaves)


def stack(column: Sequence[np.ndarray], allocate: Allocate = np.empty) -> np.ndarray:
    """Arrays of one shape and dtype as rows of one array."""
    if column[0].dtype.kind == "U":
        return np.array(column)
    out = allocate((len(column), *column[0].shape), column[0].dtype)
    for i, leaf in enumerate(column):
        out[i] = leaf
    return out


def _pad(column: Sequence[np.ndarray], allocate: Allocate, length: int | None) -> Ragged:
    lengths = np.array([len(leaf) for leaf in column], np.int64)
    out = allocate((len(column), int(lengths.max()) if length is None else length, *column[0].shape[1:]),
                   column[0].dtype)
    for i, leaf in enumerate(column):
        out[i, :len(leaf)] = leaf
        out[i, len(leaf):] = 0
    return Ragged(out, lengths)


def _check(rows: Any, trees: Any, indices: Any, ragged: Any, where: Any) -> None:
    first, tree = rows[0], trees[0]
    for row, other in zip(rows, trees, strict=True):
        if other != tree or any(a.shape != b.shape or a.dtype is not b.dtype for a, b in zip(row, first, strict=True)):
            break
    else:
        return
    kinds = [_loosened(kind_of(row, other), ragged) for row, other in zip(rows, trees, strict=True)]
    common, _ = Counter(kinds).most_common(1)[0]
    for i, kind in enumerate(kinds):
        if kind != common:
            raise differs(kind, common, i if indices is None else int(indices[i]), where)


def _loosened(kind: Kind, ragged: Sequence[bool] | None) -> Kind:
    """The same with the lengths of what may be of any length left out."""
    if ragged is None or len(ragged) != len(kind.shapes):
        return kind
    shapes = tuple((-1, *shape[1:]) if loose and shape else shape
                   for shape, loose in zip(kind.shapes, ragged, strict=True))
    return Kind(kind.tree, kind.dtypes, shapes)


def differs(kind: Kind, common: Kind, index: int, where: Callable[[int], str | None] | None = None) -> DataError:
    """The error for a sample that is of another kind than the others."""
    what = "structure" if kind.tree != common.tree else "dtype" if kind.dtypes != common.dtypes else "shape"
    place = where(index) if where else None
    fix = {"structure": "data.map(source, function) can give all samples one structure",
           "dtype": "data.map(source, function) can bring all samples to one dtype",
           "shape": "ImageFolder(..., size=), data.map(source, function) to bring them to one shape, or Loader(..., "
                    "buckets=) for sequences of different lengths"}
    return DataError(explain(f"sample {index:,}{f' ({place})' if place else ''} has another {what} than the others",
                             got=kind.said(), expected=common.said(), fix=fix[what]))
