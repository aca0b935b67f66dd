# SPDX-License-Identifier: Apache-2.0
"""`einsum`. Oracle: np.einsum, over written and over random index strings."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ShapeError
from chainrule.testing import available, check_gradient

EXTENT = dict(zip("abcdefgh", (2, 3, 4, 2, 1, 3, 2, 5), strict=True))
WRITTEN = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("bik,bkj->bij", [(2, 3, 4), (2, 4, 5)]),
    ("ii", [(3, 3)]), ("ii->i", [(3, 3)]), ("iij->ji", [(3, 3, 2)]), ("iii->i", [(3, 3, 3)]), ("ij->ji", [(2, 3)]),
    ("ji", [(2, 3)]),
    ("ij->", [(2, 3)]), ("i,j->ij", [(2,), (3,)]), ("i,i->", [(3,), (3,)]), ("i,i->i", [(3,), (3,)]),
    ("ij,ij->ij", [(2, 3), (2, 3)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]), ("...ij,...jk->...ik", [(5, 1, 2, 3), (6, 3, 4)]),
    ("...i->...", [(2, 3)]),
    ("i...,i...->...", [(3, 2), (3, 2)]), ("i...j->j...i", [(2, 3, 4)]), ("...", [(2, 3)]),
    ("...,...", [(2, 1), (1, 3)]),
    ("i...", [(2, 3)]), ("...ii->...i", [(2, 3, 3)]), ("bqhd,bkhd->bhqk", [(2, 3, 2, 4), (2, 5, 2, 4)]),
    ("bhqk,bkhd->bqhd", [(2, 2, 3, 5), (2, 5, 2, 4)]), ("ab,bc,cd,de->ae", [(2, 3), (3, 4), (4, 5), (5, 2)]),
    ("ij,jk,ki->", [(2, 3), (3, 4), (4, 2)]), ("ij,ik,il->jkl", [(2, 3), (2, 4), (2, 5)]),
    ("ij,kl->", [(2, 3), (4, 5)]),
    ("ij,j,j", [(2, 3), (3,), (3,)]), ("ij,ij->i", [(1, 3), (2, 3)]), ("ij,ij->j", [(1, 3), (2, 1)]),
    (" i j , j k -> i k ", [(2, 3), (3, 4)]),
    ("zyx->xzy", [(2, 3, 4)]), (",->", [(), ()]), (",i->i", [(), (3,)]), ("ij,j->i", [(2, 0), (0,)]),
]


def compare(text, arrays) -> None:
    wanted = np.einsum(text, *arrays)
    np.testing.assert_allclose(cr.einsum(text, *map(cr.asarray, arrays)), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("text", "shapes"), WRITTEN)
def test_written_strings(text, shapes) -> None:
    rng = np.random.default_rng(1)
    compare(text, [rng.normal(size=shape) for shape in shapes])


def drawn(seed: int) -> tuple[str, list[np.ndarray]]:
    """A random string and its operands."""
    rng = np.random.default_rng(seed)
    terms = ["".join(rng.choice(list(EXTENT), rng.integers(0, 4))) for _ in range(rng.integers(1, 5))]
    known = sorted(set("".join(terms)))
    output = "".join(rng.permutation(known)[:rng.integers(0, len(known) + 1)])
    return (",".join(terms) + ("->" + output if seed % 3 else ""),
            [rng.normal(size=[EXTENT[c] for c in term]) for term in terms])


@pytest.mark.parametrize("seed", range(180))
def test_random_strings(seed) -> None:
    compare(*drawn(seed))


@pytest.mark.parametrize("seed", range(180))
def test_gradients_of_random_strings(seed) -> None:
    """Of the second order too, where operands meet."""
    text, arrays = drawn(seed)
    check_gradient(lambda *xs: cr.einsum(text, *xs), *arrays, order=2, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("backend", ["reference", "native", "xla"])
@pytest.mark.parametrize("part", range(4))
def test_random_strings_compiled(part, backend) -> None:
    """Fifteen strings in one program, in float32 and float64; values and gradients are those of PyTorch."""
    torch = pytest.importorskip("torch")
    if not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    cases = [drawn(seed) for seed in range(15 * part, 15 * part + 15)]
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        arrays = [x.astype(dtype) for _, xs in cases for x in xs]

        def everything(*tensors: cr.Tensor) -> list[tuple[cr.Tensor, tuple[cr.Tensor, ...]]]:
            rest = iter(tensors)
            return [cr.value_and_grad(lambda *xs, t=text: cr.sum(cr.sin(cr.einsum(t, *xs))),
                                      tuple(range(len(xs))))(*(next(rest) for _ in xs))
                    for text, xs in cases]
        found, rest = cr.compile(everything, backend=backend)(*arrays), iter(arrays)
        for (text, xs), (value, grads) in zip(cases, found, strict=True):
            leaves = [torch.tensor(next(rest), requires_grad=True) for _ in xs]
            wanted = torch.einsum(text, *leaves).sin().sum()
            np.testing.assert_allclose(value, wanted.item(), rtol=10 * tolerance, atol=10 * tolerance)
            for g, slope in zip(grads, torch.autograd.grad(wanted, leaves), strict=True):
                np.testing.assert_allclose(g, slope.numpy(), rtol=10 * tolerance, atol=100 * tolerance, err_msg=text)


@pytest.mark.parametrize("seed", range(20))
def test_random_strings_with_dots(seed) -> None:
    rng = np.random.default_rng(1000 + seed)
    lead = [int(n) for n in rng.integers(1, 4, rng.integers(0, 3))]
    terms, arrays = [], []
    for _ in range(rng.integers(1, 4)):
        letters = "".join(rng.permutation(list("abc"))[:rng.integers(0, 3)])
        own = [n if rng.random() < 0.7 else 1 for n in lead[rng.integers(0, len(lead) + 1):]]
        dots = "..." if own or rng.random() < 0.5 else ""
        place = int(rng.integers(0, len(letters) + 1)) if dots else len(letters)
        terms.append(letters[:place] + dots + letters[place:])
        arrays.append(rng.normal(size=[*(EXTENT[c] for c in letters[:place]), *own,
                                       *(EXTENT[c] for c in letters[place:])]))
    compare(",".join(terms), arrays)


@pytest.mark.parametrize(("text", "shapes"), [WRITTEN[i] for i in (0, 2, 4, 5, 14, 23, 25, 26, 30)])
def test_einsum_is_differentiable_and_compiled_to_the_same_bits(text, shapes) -> None:
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=shape) for shape in shapes]
    check_gradient(lambda *xs: cr.einsum(text, *xs), *arrays)
    compiled = cr.compile(lambda *xs: cr.einsum(text, *xs), backend="reference")(*arrays)
    np.testing.assert_array_equal(compiled, cr.einsum(text, *arrays))


def test_the_order_of_a_chain_is_chosen_by_cost() -> None:
    shapes = [(100, 2), (2, 100), (100, 2)]
    graph = cr.compile(lambda a, b, c: cr.einsum("ij,jk,kl->il", a, b, c), backend="reference").lower(
        *(np.ones(shape, "f4") for shape in shapes)).graph
    assert (100, 100) not in [node.type.shape for node in graph.nodes]


def test_dtypes_are_promoted() -> None:
    assert cr.einsum("i,i->i", cr.ones(2), cr.ones(2, dtype=cr.float64)).dtype == cr.float64
    assert cr.einsum("i,i", cr.asarray([1, 2]), cr.asarray([3, 4])).item() == 11


@pytest.mark.parametrize(("text", "shapes", "error"), [
    ("ij,jk->ik", [(2, 3)], ArgumentError), ("ij->ik", [(2, 3)], ArgumentError), ("ij->ii", [(2, 3)], ArgumentError),
    ("i1->i", [(2, 3)], ArgumentError), ("ijk->i", [(2, 3)], ShapeError), ("i->i", [(2, 3)], ShapeError),
    ("ii->i", [(2, 3)], ShapeError),
    ("ij,jk->ik", [(2, 3), (4, 5)], ShapeError), ("i.j->i", [(2, 3)], ArgumentError),
])
def test_strings_that_do_not_work_are_told(text, shapes, error) -> None:
    with pytest.raises(error, match="einsum"):
        cr.einsum(text, *(cr.zeros(shape) for shape in shapes))
