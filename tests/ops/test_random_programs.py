# SPDX-License-Identifier: Apache-2.0
"""Random programs by every backend. Oracle: the interpreter on the graph before any pass."""

from __future__ import annotations

import numpy as np
import pytest
from exact_programs import exact_program

import chainrule as cr
from chainrule.compiler.compile import lower, optimise
from chainrule.ir import Graph, Tensor, graph_text, verify
from chainrule.ir.graph import inline, interpret
from chainrule.testing import available, random_graph
from chainrule.testing.backends import assert_same
from chainrule.trace import capture, read_call


def check_exact(seed: int, size: int = 14, backend: str = "native") -> None:
    """A backend gives exact values to the bit, and those that were rounded nearly."""
    graph, arrays, off = exact_program(seed, size)
    with np.errstate(all="ignore"):
        wanted = interpret(graph, [x.copy() for x in arrays])
    for value, want, loose in zip(lower(optimise(graph), backend)(arrays), wanted, off, strict=True):
        size_ = max(1.0, np.abs(want[np.isfinite(want)]).max(initial=0.0)) if loose else 0.0
        assert_same(value, want, f"seed {seed}\n{graph_text(graph)}", loose, loose * size_)


@pytest.mark.parametrize("seed", range(14))
def test_all_words_in_all_dtypes(seed: int) -> None:
    if not available("native"):
        pytest.skip("needs llvmlite")
    check_exact(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500, 50))
def test_many_programs_of_all_words(seed: int) -> None:
    for number in range(seed, seed + 50):
        check_exact(number, 30 if number % 5 == 0 else 14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(20))
def test_native_gives_what_numpy_gives(seed: int, dtype: str) -> None:
    if not available("native"):
        pytest.skip("needs llvmlite")
    graph, arrays = random_graph(1000 + seed, size=16, dtype=dtype)
    scale = 1.0 if dtype == "float32" else 1e-6
    for value, wanted in zip(lower(optimise(graph), "native")(arrays), interpret(graph, arrays), strict=True):
        assert_same(value, wanted, f"seed {seed}\n{graph_text(graph)}", 1e-4 * scale, 1e-5 * scale)


def test_a_seed_is_a_program() -> None:
    assert graph_text(exact_program(7)[0]) == graph_text(verify(exact_program(7)[0]))
    texts = [[graph_text(verify(random_graph(seed)[0])) for seed in range(20)] for _ in range(2)]
    assert texts[0] == texts[1] and len(set(texts[0])) == 20
    a, b = random_graph(3)[1], random_graph(3)[1]
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def gradient_program(seed: int) -> tuple[Graph, list[np.ndarray]]:
    """The gradients of a random program with respect to its inputs, and operands."""
    graph, arrays = random_graph(seed, size=12)

    def loss(*inputs: Tensor) -> Tensor:
        outputs = [Tensor(node) for node in inline(graph, [x.node for x in inputs])]
        return sum((cr.sum(cr.tanh(y)) for y in outputs), cr.asarray(0.0))
    return verify(capture(cr.grad(loss, (0, 1, 2)), read_call(tuple(arrays), {})).graph), arrays


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_gradients_are_what_numpy_gives(backend: str) -> None:
    """Many programs that live for one call each."""
    if not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    for seed in range(40, 60 if backend == "native" else 46):
        graph, arrays = gradient_program(seed)
        for value, wanted in zip(lower(optimise(graph), backend)(arrays), interpret(graph, arrays), strict=True):
            scale = 1 + np.abs(wanted).max(initial=0)
            assert_same(value / scale, wanted / scale, f"seed {seed}", 1e-3, 1e-4)
