# SPDX-License-Identifier: Apache-2.0
"""`vmap` of each primitive against a loop over the examples: generated from the table of operations.

Each case is mapped over all of its operands, over each one alone, differentiated, and compiled by every backend.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tables.ops import LEAVES, ROWS, Case, apply

import chainrule as cr
from chainrule.batching.rules import NEVER, RULES, STRUCTURAL
from chainrule.ir import REGISTRY
from chainrule.testing import available
from chainrule.testing.backends import assert_same

N = 3
Axes = tuple[int | None, ...]
Use = tuple[Case, np.dtype, Axes, tuple[np.ndarray, ...]]


def patterns(count: int) -> list[Axes]:
    """All operands mapped, and each alone."""
    alone = [tuple(0 if i == k else None for i in range(count)) for k in range(count)] if count > 1 else []
    return [(0,) * count, *alone]


def uses(name: str, dtypes: int = 2) -> Iterator[Use]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for case in ROWS[name].cases:
        for dtype in map(np.dtype, case.dtypes[:dtypes]):
            examples = [case.draw(rng, dtype) for _ in range(N)]
            for axes in patterns(len(examples[0])) if examples[0] else ():
                yield case, dtype, axes, tuple(np.stack(column) if axis == 0 else column[0]
                                               for column, axis in zip(zip(*examples, strict=True), axes, strict=True))


def example(arrays: tuple[np.ndarray, ...], axes: Axes, i: int) -> list[np.ndarray]:
    return [np.asarray(x[i]) if axis == 0 else x for x, axis in zip(arrays, axes, strict=True)]


def one(name: str, case: Case) -> Callable[..., tuple[cr.Tensor, ...]]:
    """The primitive on one example."""
    return lambda *tensors: apply(name, case, tensors)


def compare(name: str, found: object, wanted: list[tuple[np.ndarray, ...]], what: str, dtype: np.dtype) -> None:
    row = ROWS[name]
    columns = [np.stack(column) for column in zip(*wanted, strict=True)]
    values = [np.asarray(y) for y in found]  # type: ignore[attr-defined]
    assert [(y.shape, y.dtype) for y in values] == [(y.shape, y.dtype) for y in columns], what
    if row.canonical is not None:
        values, columns = list(row.canonical(*values)), list(row.canonical(*columns))
    scale = 1e-4 if dtype == np.float64 else 1.0
    for value, expected in zip(values, columns, strict=True):
        assert_same(value, expected, what, row.rtol * scale, 5 * row.atol * scale)


NAMES = [name for name in sorted(ROWS) if name not in NEVER]


def test_every_primitive_has_a_batching_rule() -> None:
    assert set(RULES) | set(STRUCTURAL) | set(NEVER) == set(REGISTRY)
    assert set(LEAVES) <= set(NEVER)


@pytest.mark.parametrize("name", NAMES)
def test_a_mapped_primitive_is_a_loop_over_examples(name: str) -> None:
    for case, dtype, axes, arrays in uses(name):
        what = f"{name} {case.label} {dtype} {[x.shape for x in arrays]} {axes} {case.attrs}"
        found = cr.vmap(one(name, case), in_axes=axes)(*arrays)
        wanted = [tuple(y.numpy() for y in one(name, case)(*map(cr.asarray, example(arrays, axes, i))))
                  for i in range(N)]
        compare(name, found, wanted, what, dtype)


@pytest.mark.parametrize("name", [name for name in NAMES if ROWS[name].gradient and not ROWS[name].canonical])
def test_the_gradient_of_a_mapped_primitive_is_that_of_the_loop(name: str) -> None:
    """Both ways round: the gradient of the batch, and a batch of gradients."""
    for case, dtype, axes, arrays in uses(name):
        floats = tuple(i for i, x in enumerate(arrays) if x.dtype == np.float64)
        if dtype != np.float64 or case.label == "special" or not floats:
            continue
        what = f"{name} {dtype} {[x.shape for x in arrays]} {axes} {case.attrs}"

        def loss(*tensors: cr.Tensor, case: Case = case) -> cr.Tensor:
            parts = [cr.sum(y * y * cr.sin(y)) for y in apply(name, case, tensors) if y.dtype == np.float64]
            return sum(parts, cr.asarray(0.0, dtype="float64"))
        singles = [[g.numpy() for g in cr.grad(loss, floats)(*map(cr.asarray, example(arrays, axes, i)))]
                   for i in range(N)]
        mapped = cr.vmap(cr.grad(loss, floats), in_axes=axes)(*arrays)
        whole = cr.grad(lambda *xs, axes=axes, loss=loss: cr.sum(cr.vmap(loss, in_axes=axes)(*xs)),
                        floats)(*map(cr.asarray, arrays))
        for k, i in enumerate(floats):
            column = np.stack([single[k] for single in singles])
            np.testing.assert_allclose(mapped[k].numpy(), column, rtol=1e-9, atol=1e-9, err_msg=what)
            wanted = column if axes[i] == 0 else column.sum(axis=0)
            np.testing.assert_allclose(whole[k].numpy(), wanted, rtol=1e-9, atol=1e-9, err_msg=what)


@pytest.mark.parametrize("backend", ["reference", "native", "xla"])
@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_mapped_primitive_gives_what_the_loop_gives(name: str, backend: str) -> None:
    if not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    first = ROWS[name].cases[0]
    drawn = [use for use in uses(name, dtypes=1) if use[0] is first or (None not in use[2] and backend != "xla")]
    everything = [x for *_, arrays in drawn for x in arrays]

    def program(*tensors: cr.Tensor) -> list[tuple[cr.Tensor, ...]]:
        rest = iter(tensors)
        return [cr.vmap(one(name, case), in_axes=axes)(*(next(rest) for _ in arrays))
                for case, _, axes, arrays in drawn]

    for (case, dtype, axes, arrays), found in zip(drawn, cr.compile(program, backend=backend)(*everything),
                                                  strict=True):
        wanted = [tuple(y.numpy() for y in one(name, case)(*map(cr.asarray, example(arrays, axes, i))))
                  for i in range(N)]
        compare(name, found, wanted, f"{name} {case.label} {dtype} {[x.shape for x in arrays]} {axes} {case.attrs}",
                dtype)
