# SPDX-License-Identifier: Apache-2.0
"""One stage written in parts that nest their loops differently: several vectors of results side by side, then the rest.
"""

from __future__ import annotations

import numpy as np
import pytest
from native_check import compare, graph_of

from chainrule.ops import elementwise as E
from chainrule.ops import reduce as R


@pytest.mark.parametrize("rows", [16, 32, 40, 47, 130])
@pytest.mark.parametrize("columns", [1, 4, 7])
def test_reductions_of_rows_with_an_operand_per_column(rows: int, columns: int) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, columns)).astype("float32")
    b = generator.standard_normal(columns).astype("float32")
    for reduction in (R.max, R.sum):
        arrays = [x, b]
        compare(graph_of(lambda x, b, reduction=reduction: reduction(E.add(x, b), axis=1), arrays), arrays)
