# SPDX-License-Identifier: Apache-2.0
"""Random programs by every backend. Oracle: the interpreter on the graph before any pass."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.compile import lower, optimise
from chainrule.ir import graph_text, verify
from chainrule.ir.graph import interpret
from chainrule.testing import available, random_graph
from chainrule.testing.backends import assert_same


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
    texts = [[graph_text(verify(random_graph(seed)[0])) for seed in range(20)] for _ in range(2)]
    assert texts[0] == texts[1] and len(set(texts[0])) == 20
    a, b = random_graph(3)[1], random_graph(3)[1]
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
