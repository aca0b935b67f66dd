# SPDX-License-Identifier: Apache-2.0
"""Windows that overlap and are padded: pooling and its gradient natively and by their meaning, and what the residues
cover."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import check

from chainrule.compiler.transform import gradients
from chainrule.native.nest.overlap import residues_of
from chainrule.ops import reduce as R
from chainrule.ops.pool import avg_pool, max_pool

WINDOWS = {  # image, kernel, stride, padding, dilation
    "3 by 2": ((9, 8, 5), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "no padding": ((11, 10, 20), (3, 3), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    "5 by 3": ((12, 13, 3), (5, 5), (3, 3), ((2, 2), (2, 1)), (1, 1)),
    "dilation": ((12, 13, 33), (3, 3), (2, 2), ((1, 0), (1, 1)), (2, 2)),
    "dilation by the stride": ((12, 11, 4), (3, 3), (2, 2), ((0, 0), (2, 2)), (1, 2)),
    "one axis overlaps": ((9, 8, 17), (3, 2), (2, 2), ((1, 1), (0, 0)), (1, 1)),
    "gaps along one axis": ((9, 10, 17), (3, 1), (2, 3), ((1, 1), (0, 0)), (1, 1)),
    "stride 1": ((7, 6, 16), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "signal": ((30, 6), (5,), (2,), ((2, 2),), (1,)),
    "volume": ((5, 6, 7, 3), (3, 2, 3), (2, 1, 2), ((1, 1), (0, 0), (1, 1)), (1, 1, 1)),
}  # fmt: skip


def arrays(image: tuple[int, ...], function) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (2, *image)).astype("float32")  # many equal elements
    return x, rng.standard_normal(np.asarray(function(x)).shape).astype("float32")


@pytest.mark.parametrize("name", WINDOWS)
def test_maxima(name: str) -> None:
    image, *window, dilation = WINDOWS[name]
    pool = lambda x: max_pool(x, *window, dilation)
    x, g = arrays(image, pool)
    check(lambda x, g: [pool(x), *gradients(R.sum(pool(x) * g), [x])], x, g, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, window in WINDOWS.items() if set(window[-1]) == {1}])
def test_means(name: str) -> None:
    image, *window, _ = WINDOWS[name]
    pool = lambda x: avg_pool(x, *window)
    x, g = arrays(image, pool)
    check(lambda x, g: [pool(x), *gradients(R.sum(pool(x) * g), [x])], x, g, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_the_bits(threads: int) -> None:
    image, *window, dilation = WINDOWS["3 by 2"]
    x, g = arrays(image, lambda x: max_pool(x, *window, dilation))
    function = lambda x, g: gradients(R.sum(max_pool(x, *window, dilation) * g), [x])
    results = [check(function, x, g, threads=n)([x, g])[0].tobytes() for n in (1, threads)]
    assert results[0] == results[1]


@pytest.mark.parametrize(("begin", "extent", "kernel", "stride", "dilation"), [
    (0, 9, 3, 2, 1), (1, 13, 5, 3, 2), (2, 12, 4, 2, 3), (3, 8, 3, 4, 2), (0, 3, 2, 5, 1), (5, 2, 3, 2, 1)])
def test_residues_have_each_pair_of_position_and_tap_once(begin: int, extent: int, kernel: int, stride: int,
                                                          dilation: int) -> None:
    found = [(q * r.step + r.first, r.tap + j * r.tap_step, q + r.window - j * r.window_step)
             for r in residues_of(begin, extent, kernel, stride, dilation) for q in range(r.positions)
             for j in range(r.taps)]
    windows = {(p, t): divmod(begin + p - t * dilation, stride) for p in range(extent) for t in range(kernel)}
    assert sorted(found) == sorted((p, t, window) for (p, t), (window, rest) in windows.items() if rest == 0)
