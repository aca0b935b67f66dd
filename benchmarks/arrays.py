# SPDX-License-Identifier: Apache-2.0
"""Array programs beside NumPy: chains, products with a vector, elementary functions, reductions, order, movements,
integers.

    python -m benchmarks.arrays [part of a row's name …] [--rounds 15]

Both sides are in one process and take turns; a cell is the best of the rounds, in milliseconds. NumPy uses its own
threads in products only (unset OPENBLAS_CORETYPE and its kin: they hold its products to old processors). The last
columns are NumPy ÷ ours and the bytes that must move, inputs and outputs once, by our time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr

Row = tuple[Callable[..., Any], Callable[..., Any], tuple[np.ndarray, ...]]


def chain(module: Any) -> Callable[..., Any]:
    """Ten operations on every element."""
    return lambda x, y: module.sqrt(module.abs(x * 2.0 + y)) * x - y * y + module.maximum(x, y) * 0.5


def along(module: Any, name: str, axis: int) -> Callable[..., Any]:
    """A function along one axis."""
    return lambda x: getattr(module, name)(x, axis=axis)


def numbers(*shape: int, seed: int = 0, low: float = -3.0) -> np.ndarray:
    """Evenly spread float32."""
    return np.random.default_rng(seed).uniform(low, 3.0, shape).astype(np.float32)


def rows() -> dict[str, Row]:
    """(ours, NumPy's, arguments) by name."""
    million, ten = (numbers(10**6), numbers(10**6, seed=1)), (numbers(10**7), numbers(10**7, seed=1))
    square, vector = numbers(4096, 4096), numbers(4096)
    positive, table = numbers(10**6, low=0.1), numbers(1000, 1000)
    whole, small = (np.random.default_rng(2).integers(-1000, 1000, 10**6, dtype="int32"),
                    np.random.default_rng(3).integers(1, 50, 10**6, dtype="int32"))
    places, mask = np.random.default_rng(4).integers(0, 1000, 1000), positive > 1.5
    both = lambda name: (getattr(cr, name),
                         getattr(np, name.replace("a", "arc", 1) if name in ("asin", "asinh", "atanh", "atan2")
                                 else name))
    return {
        "ten operations, 10^7": (chain(cr), chain(np), ten),
        "dot product, 10^6": (cr.matmul, np.matmul, million),
        "matrix times vector, 4096": (cr.matmul, np.matmul, (square, vector)),
        "vector times matrix, 4096": (lambda a, v: cr.matmul(v, a), lambda a, v: v @ a, (square, vector)),
        "sum of a matrix, 4096": (cr.sum, np.sum, (square,)),
        "exp, 10^6": (*both("exp"), million[:1]),
        "tanh, 10^6": (*both("tanh"), million[:1]),
        "sin, 10^6": (*both("sin"), million[:1]),
        "log, 10^6": (*both("log"), (positive,)),
        "log2, 10^6": (*both("log2"), (positive,)),
        **{f"{name}, 10^6": (*both(name), million[:1]) for name in ("tan", "sinh", "asinh")},
        **{f"{name}, 10^6": (*both(name), (million[0] / np.float32(3.1),)) for name in ("asin", "atanh")},
        "x ** y, 10^6": (lambda x, y: x ** y, np.power, (positive, million[1])),
        "x ** y in float64, 10^6": (lambda x, y: x ** y, np.power,
                                    (positive.astype("float64"), million[1].astype("float64"))),
        "atan2, 10^6": (*both("atan2"), million),
        **{f"{name} along axis {axis}, 1000 x 1000": (along(cr, name, axis), along(np, name, axis), (table,))
           for name in ("sum", "var", "max", "argmax", "cumulative_sum") for axis in (0, 1)},
        "maximum of all, 10^6": (*both("max"), million[:1]),
        "where, 10^6": (*both("where"), (mask, *million)),
        "matrix + row, 1000 x 1000": (*both("add"), (table, table[0].copy())),
        "x // y, int32, 10^6": (*both("floor_divide"), (whole, small)),
        "x ** 2, int32, 10^6": (lambda x: x ** 2, lambda x: x ** 2, (whole,)),
        "cast from int64, 10^6": (lambda x: cr.astype(x, "float32"), lambda x: x.astype("float32"),
                                  (whole.astype("int64"),)),
        "transpose, 1000 x 1000": (cr.matrix_transpose, lambda x: np.ascontiguousarray(x.T), (table,)),
        "rows by position, 1000 x 1000": (lambda x, i: cr.take(x, i, axis=0), lambda x, i: np.take(x, i, axis=0),
                                          (table, places)),
        "elements by position, 1000 x 1000": (cr.take_along_axis, lambda x, i: np.take_along_axis(x, i, axis=-1),
                                              (table, np.tile(places, (1000, 1)))),
        "sort, 10^6": (*both("sort"), million[:1]),
        "sort in float64, 10^6": (*both("sort"), (million[0].astype("float64"),)),
        "sort of rows, 1000 x 1000": (along(cr, "sort", 1), along(np, "sort", 1), (table,)),
        "stable order, 1000 x 1000": (lambda x: cr.argsort(x, axis=1), lambda x: np.argsort(x, axis=1, stable=True),
                                      (numbers(1000, 1000),)),
    }


def best(row: Row, rounds: int) -> tuple[float, float, int]:
    """(our seconds, NumPy's, bytes)."""
    ours, theirs, arguments = cr.compile(row[0]), row[1], row[2]
    result = np.asarray(ours(*arguments))
    np.testing.assert_allclose(result, theirs(*arguments), rtol=2e-3, atol=2e-3)
    found = [float("inf")] * 2
    for _ in range(rounds):
        for side, function in enumerate((ours, theirs)):
            start = time.perf_counter()
            function(*arguments)
            found[side] = min(found[side], time.perf_counter() - start)
    return *found, sum(x.nbytes for x in arguments) + result.nbytes


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"{'':38}{'ours ms':>10}{'NumPy ms':>10}{'ratio':>8}{'GB/s':>8}")
    for name, row in rows().items():
        if options.names and not any(part in name for part in options.names):
            continue
        ours, theirs, moved = best(row, options.rounds)
        print(f"{name:38}{ours * 1e3:10.3f}{theirs * 1e3:10.3f}{theirs / ours:8.2f}{moved / ours / 1e9:8.1f}",
              flush=True)


if __name__ == "__main__":
    main()
